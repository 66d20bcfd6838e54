//! Where the words of a generation's ledgers begin, as far as records of it are left.
//!
//! With all segments that is the base. Where the first ones were retired, it is for each shard the
//! oldest snapshot that nothing below is needed for.

use m2_core::AccountImage;
use m2_core::record::{Key, KeyState};
use m2_journal::names::{SegmentName, SnapshotName};
use m2_journal::recover::found;

use super::disk::ReadOnly;
use super::open::Generation;
use crate::output::Failure;

/// What a shard's ledgers held at one point.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Start {
    /// Of the own stream, everything but incoming legs is in the words below.
    pub(crate) appended: u64,
    /// By stream: incoming legs are in the words below.
    pub(crate) applied: Vec<u64>,
    /// By number.
    pub(crate) accounts: Vec<AccountImage>,
    pub(crate) keys: Vec<(Key, KeyState)>,
    /// `None`: it is the base.
    pub(crate) snapshot: Option<SnapshotName>,
}

/// By shard: where its words begin with these segments, by stream; `None` where no snapshot is good and
/// late enough.
///
/// # Errors
///
/// When a file cannot be read.
pub(crate) fn starts(
    disk: &mut ReadOnly,
    generation: &Generation,
    segments: &[Vec<SegmentName>],
) -> Result<Vec<Option<Start>>, Failure> {
    let firsts = &found::first_positions(disk, segments)?[..];
    let mut starts = Vec::with_capacity(generation.base.shards);
    for shard in 0..generation.base.shards {
        starts.push(match firsts.iter().all(|first| *first == 0) {
            true => Some(from_base(generation, shard)),
            false => from_snapshots(disk, generation, shard, firsts)?,
        });
    }
    Ok(starts)
}

fn from_base(generation: &Generation, shard: usize) -> Start {
    let base = &generation.base;
    let is_own = |account: &&m2_journal::image::Account| usize::from(account.shard.0) == shard;
    let own = base.accounts.iter().filter(is_own);
    let of_own = |(_, state): &&(Key, KeyState)| {
        let account = &base.accounts[state.account.0 as usize];
        usize::from(account.shard.0) == shard
    };
    Start {
        appended: 0,
        applied: vec![0; base.shards],
        accounts: own.map(|account| account.image).collect(),
        keys: base.keys.iter().filter(of_own).copied().collect(),
        snapshot: None,
    }
}

fn from_snapshots(
    disk: &mut ReadOnly,
    generation: &Generation,
    shard: usize,
    firsts: &[u64],
) -> Result<Option<Start>, Failure> {
    for name in &generation.snapshots[shard] {
        let Ok(image) = found::read_snapshot(disk, &generation.base, *name)? else { continue };
        let is_late = image.appended >= firsts[shard]
            && image.applied.iter().zip(firsts).all(|(applied, first)| applied >= first);
        if is_late {
            return Ok(Some(Start {
                appended: image.appended,
                applied: image.applied,
                accounts: image.accounts,
                keys: image.keys,
                snapshot: Some(*name),
            }));
        }
    }
    Ok(None)
}

//! What the journal was given and never will be durable: it goes to the log, record by record, and to a
//! spill file on another disk if one is configured, which the next start takes in.
//!
//! Invariant: by stream, these are all records that were added, but for those that were spilled.

use std::path::PathBuf;

use m2_core::{Record, ShardId};
use m2_journal::spill::{self, Owner};
use m2_journal::{Block, Files, Lost, record};

use crate::log::hex;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Unwritten {
    owner: Owner,
    folder: Option<PathBuf>,
    streams: Vec<OfStream>,
}

#[derive(Debug, Default)]
struct OfStream {
    /// Of the first that is kept.
    position: u64,
    /// Records below stand in the log.
    logged: u64,
    /// It was told that they cannot be spilled.
    complained: bool,
    blocks: Vec<Block>,
}

impl Unwritten {
    /// For the streams of a generation, with the folder for what is spilled.
    pub(super) fn new(owner: Owner, folder: Option<PathBuf>) -> Self {
        let streams = (0..owner.shards).map(|_| OfStream::default()).collect();
        Self { owner, folder, streams }
    }

    /// Records of a stream that follow those that were added before.
    pub(super) fn add(&mut self, stream: usize, lost: Lost) {
        let of = &mut self.streams[stream];
        if of.blocks.is_empty() {
            (of.position, of.blocks) = (lost.position, lost.blocks);
        } else {
            of.blocks.extend(lost.blocks);
        }
    }

    /// Logs and spills what was added.
    pub(super) fn spill(&mut self) {
        for (number, of) in self.streams.iter_mut().enumerate() {
            if of.blocks.is_empty() {
                continue;
            }
            let id = ShardId(u16::try_from(number).expect("a few"));
            let spilled = self.folder.as_ref().map(|folder| {
                spill::write(&mut Files::new(folder), &self.owner, id, of.position, &of.blocks)
                    .map(|files| (folder, files))
            });
            // Told once, tried until it succeeds.
            let records = log(of.position, &of.blocks, of.logged);
            of.logged = of.position + records;
            match spilled {
                Some(Ok((folder, files))) => {
                    for file in files {
                        let file = folder.join(file);
                        let file = file.display();
                        tracing::error!(%file, records, "spilled: the next start takes them in");
                    }
                }
                Some(Err(error)) => {
                    if !core::mem::replace(&mut of.complained, true) {
                        tracing::error!(%error, records, "cannot be spilled: they stand in this log alone");
                    }
                    continue;
                }
                None => {
                    tracing::error!(records, "there is no `spill`: they stand in this log alone");
                }
            }
            of.blocks.clear();
            of.position += records;
        }
    }
}

/// Tells each record from a position on; how many there are in all.
fn log(position: u64, blocks: &[Block], from: u64) -> u64 {
    let (mut rest, mut records) = (blocks, 0);
    while let Ok((record, count)) = record::decode(rest) {
        let position = position + records;
        match record {
            _ if position < from => {}
            Record::Pair(pair) => tracing::error!(
                position,
                account_in = pair.account_in.0,
                amount_in = pair.amount_in,
                account_out = pair.account_out.0,
                amount_out = pair.amount_out,
                condition = %hex(&pair.condition_head),
                "a fulfilled packet is not in the journal"
            ),
            other => tracing::error!(position, record = ?other, "a record is not in the journal"),
        }
        records += 1;
        rest = &rest[count..];
    }
    records
}

#[cfg(test)]
mod tests {
    use m2_core::{AccountId, Key};
    use m2_core::{KeyRecord, MoneyRecord};
    use m2_journal::Hash;
    use m2_journal::image::JournalId;

    use super::*;

    fn frozen(number: u8) -> Record {
        let key = Key([number; 16]);
        Record::Frozen(KeyRecord { account: AccountId(0), key, amount: 5, at_ms: 1 })
    }

    #[test]
    fn what_is_not_durable_is_spilled_once_and_whole() {
        let folder = std::env::temp_dir().join(format!("m2-unwritten-{}", std::process::id()));
        let (journal, base) = (JournalId([1; 16]), Hash([2; 32]));
        let owner = Owner { journal, generation: 7, shards: 1, base };
        let mut unwritten = Unwritten::new(owner, Some(folder.clone()));
        let applied = vec![1; 20].into();
        let long =
            MoneyRecord { account: AccountId(0), key: Key([9; 16]), amount: 1, at_ms: 1, applied };
        let mut blocks = Vec::new();
        for record in [Record::Credited(long), frozen(1), frozen(2)] {
            record::encode(&record, &mut blocks);
        }
        let last = blocks[blocks.len() - 1];
        unwritten.add(
            0,
            Lost { position: 1, blocks: blocks.split_off(record::block_count(&blocks[0])) },
        );
        unwritten.spill();
        unwritten.add(0, Lost { position: 3, blocks: Vec::new() });
        unwritten.spill();
        unwritten.add(0, Lost { position: 3, blocks: vec![last] });
        unwritten.spill();
        let read = spill::read(&mut Files::new(&folder), &owner).unwrap();
        let found: Vec<_> = read.iter().map(|it| (it.position, it.blocks.len())).collect();
        assert_eq!(found, [(1, 2), (3, 1)]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Goal: what cannot be spilled now is kept, and goes with what comes later. Method: a file where the
    /// folder should be.
    #[test]
    fn what_could_not_be_spilled_goes_with_the_next() {
        let folder =
            std::env::temp_dir().join(format!("m2-unwritten-later-{}", std::process::id()));
        std::fs::write(&folder, "in the way").unwrap();
        let (journal, base) = (JournalId([1; 16]), Hash([2; 32]));
        let owner = Owner { journal, generation: 7, shards: 1, base };
        let mut unwritten = Unwritten::new(owner, Some(folder.clone()));
        let mut blocks = Vec::new();
        (1..4).for_each(|number| record::encode(&frozen(number), &mut blocks));
        unwritten.add(0, Lost { position: 5, blocks: blocks[..2].to_vec() });
        unwritten.spill();
        std::fs::remove_file(&folder).unwrap();
        unwritten.add(0, Lost { position: 7, blocks: blocks[2..].to_vec() });
        unwritten.spill();
        let read = spill::read(&mut Files::new(&folder), &owner).unwrap();
        let found: Vec<_> = read.iter().map(|it| (it.position, it.blocks.clone())).collect();
        assert_eq!(found, [(5, blocks)]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

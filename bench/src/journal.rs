//! Journals to measure: pairs between accounts, written as the process writes them, in a folder or
//! nowhere, with books kept beside them so that what is replayed can be verified.

use std::time::{Duration, Instant};

use m2_core::ledger::Words;
use m2_core::record::{PairRecord, Record};
use m2_core::{AccountId, Durability, ShardId};
use m2_journal::image::ConfiguredLimits;
use m2_journal::recover::{Entry, Options, Recovered, begin_generation, recover};
use m2_journal::{Block, Files, Op, Settings, Storage, Writer, perform, record};

/// One shard and its stream.
pub const SHARD: ShardId = ShardId(0);

/// Records that come while a commit is under way: two million a second, and a flush of 4 ms.
pub const GROUP: usize = 8_192;

/// Pairs between so many accounts, each pair of another two of them.
#[derive(Debug)]
pub struct Pairs {
    accounts: u32,
    state: u64,
    decided: u64,
    /// What the ledgers must come to.
    pub words: Vec<Words>,
}

impl Pairs {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(accounts: u32) -> Self {
        Self { accounts, state: 1, decided: 0, words: vec![Words::default(); accounts as usize] }
    }

    /// The accounts, as a configuration says them.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |number| Entry {
            shard: SHARD,
            name: format!("account-{number}"),
            asset_code: "USD".into(),
            asset_scale: 9,
            limits: ConfiguredLimits { balance_max: u64::MAX, payable_max: u64::MAX },
        };
        (0..self.accounts).map(entry).collect()
    }

    /// The next pair, entered in the books.
    pub fn next_pair(&mut self) -> PairRecord {
        // Knuth's MMIX generator; its high bits are chance enough.
        self.state =
            self.state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let chance = self.state >> 16;
        let account = |bits: u64| u32::try_from(bits % u64::from(self.accounts)).unwrap_or(0);
        let (account_in, account_out) = (account(chance), account(chance >> 20));
        self.decided += 1;
        let amount_in = chance & 0xffff;
        self.words[account_in as usize].commit_in(amount_in);
        self.words[account_out as usize].commit_out(amount_in);
        let mut condition_head = [0; 16];
        condition_head[..8].copy_from_slice(&self.state.to_le_bytes());
        PairRecord {
            amount_in,
            amount_out: amount_in,
            decided_at_ms: 1_790_000_000_000 + self.decided / 2_000,
            condition_head,
            account_in: AccountId(account_in),
            account_out: AccountId(account_out),
            rate_version: 1,
            durability: Durability::Sync,
        }
    }
}

/// A new generation in a folder.
///
/// # Panics
///
/// If the folder cannot be written.
#[must_use]
pub fn begin(files: &mut Files, pairs: &Pairs, settings: Settings) -> Writer {
    let recovered = recover(files, &Options::default(), &mut |_| {}).expect("nothing is damaged");
    begin_generation(files, &recovered, &pairs.entries(), 1, settings).expect("it can be written")
}

/// Appends `count` pairs, group by group, and does what the writer asks for after each. How many bytes
/// each commit had, and how long its write and flush took.
///
/// # Panics
///
/// If a request fails.
pub fn write(
    writer: &mut Writer,
    pairs: &mut Pairs,
    count: usize,
    mut disk: Option<&mut Files>,
) -> Vec<(usize, Duration)> {
    let mut commits = Vec::with_capacity(count / GROUP + 1);
    let mut left = count;
    let mut block: Vec<Block> = Vec::with_capacity(1);
    while left > 0 {
        let group = left.min(GROUP);
        for _ in 0..group {
            block.clear();
            record::encode(&Record::Pair(pairs.next_pair()), &mut block);
            writer.append(0, SHARD, &block);
        }
        left -= group;
        while let Some((id, op)) = writer.next_op(0) {
            let started = Instant::now();
            if let Some(disk) = disk.as_deref_mut() {
                perform(disk, &op).expect("the disk writes");
            }
            if let Op::Commit { bytes, .. } = op {
                commits.push((bytes.len(), started.elapsed()));
            }
            writer.done(0, id, Ok(()));
            writer.delivered(SHARD, SHARD, writer.durable(SHARD));
        }
    }
    commits
}

/// Replays a journal and compares every word with the books.
///
/// # Panics
///
/// If a word differs or a record is missing.
pub fn replay(storage: &mut impl Storage, pairs: &Pairs, count: usize) -> Recovered {
    let recovered = m2_journal::recover::inspect(
        storage,
        &Options { listed_max: 0, ..Options::default() },
        &mut |_| {},
    )
    .expect("nothing is damaged");
    assert_eq!(recovered.records, count as u64);
    for (account, words) in recovered.accounts.iter().zip(&pairs.words) {
        assert_eq!(account.image.words, *words);
    }
    recovered
}

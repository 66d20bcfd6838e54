//! The books of the simulation: what each account must look like, by what was seen at links and by
//! the rules in `docs/protocol.md`, kept without a look into the core.

use std::collections::HashMap;

use m2_core::ledger::Words;
use m2_core::{Key, Limits, RateLimit, Record};

use crate::plan::AccountPlan;
use crate::tariff::Tariff;

/// One account of one switch.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) plan: AccountPlan,
    pub(crate) asset: u16,
    pub(crate) balance_max: i128,
    pub(crate) payable_max: i128,
    pub(crate) words: Words,
    pub(crate) count_in: u32,
    pub(crate) count_out: u32,
    pub(crate) packets: Option<Tokens>,
    pub(crate) amount: Option<Tokens>,
    pub(crate) own: Tokens,
    /// The epoch of its live connection.
    pub(crate) live: Option<u32>,
    /// Its connections by epoch, from 1.
    pub(crate) wires: Vec<usize>,
    /// Fulfilled from it and to it, the record not durable; fulfilled from it, not given.
    pub(crate) unrecorded_in: Sum,
    pub(crate) unrecorded_out: Sum,
    pub(crate) withheld: Sum,
    /// Packets whose FULFILL may go and waits for room.
    pub(crate) backlog: Vec<usize>,
    /// What every packet, credit, reversal and settled payment has changed: equation 1.
    pub(crate) position: i128,
}

impl Account {
    pub(crate) fn new(plan: AccountPlan, asset: u16, mono_ns: u64) -> Self {
        let Limits { balance_max, payable_max, packets, amount, .. } = plan.limits;
        let own = RateLimit { per_s: 100, burst: 100 };
        Self {
            balance_max: i128::from(balance_max),
            payable_max: i128::from(payable_max),
            packets: packets.map(|limit| Tokens::new(limit, mono_ns)),
            amount: amount.map(|limit| Tokens::new(limit, mono_ns)),
            own: Tokens::new(own, mono_ns),
            plan,
            asset,
            words: Words::default(),
            count_in: 0,
            count_out: 0,
            live: None,
            wires: Vec::new(),
            unrecorded_in: Sum::default(),
            unrecorded_out: Sum::default(),
            withheld: Sum::default(),
            backlog: Vec::new(),
            position: 0,
        }
    }

    /// A payment to us: what is owed first, the rest is paid ahead.
    pub(crate) fn credit(&mut self, amount: i128) {
        self.position -= amount;
        let owed = amount.min(self.words.balance.max(0));
        self.words.balance -= owed;
        self.words.prepaid += amount - owed;
    }

    /// Owed to us: what is paid ahead first.
    pub(crate) fn owe(&mut self, amount: i128) {
        self.position += amount;
        let ahead = amount.min(self.words.prepaid);
        self.words.prepaid -= ahead;
        self.words.balance += amount - ahead;
    }

    pub(crate) fn is_past_limit(&self) -> bool {
        let Words { balance, held_in, held_out, frozen, prepaid } = self.words;
        balance - prepaid + held_in > self.balance_max
            || held_out - balance + frozen > self.payable_max
    }
}

/// How many, and how much.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) value: u128,
}

impl Sum {
    pub(crate) fn add(&mut self, amount: u64) {
        self.count += 1;
        self.value += u128::from(amount);
    }

    pub(crate) fn sub(&mut self, amount: u64) {
        self.count -= 1;
        self.value -= u128::from(amount);
    }
}

/// So many a second, so many at once: counted in parts of a token that a nanosecond brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens {
    limit: RateLimit,
    parts: u128,
    at_ns: u64,
}

const PARTS: u128 = 1_000_000_000;

impl Tokens {
    fn new(limit: RateLimit, at_ns: u64) -> Self {
        Self { limit, parts: u128::from(limit.burst) * PARTS, at_ns }
    }

    pub(crate) fn has(&self, count: u64, now_ns: u64) -> bool {
        self.at(now_ns) >= u128::from(count) * PARTS
    }

    pub(crate) fn take(&mut self, count: u64, now_ns: u64) {
        self.parts = self.at(now_ns) - u128::from(count) * PARTS;
        self.at_ns = now_ns;
    }

    fn at(&self, now_ns: u64) -> u128 {
        let come = u128::from(now_ns - self.at_ns) * u128::from(self.limit.per_s);
        (self.parts + come).min(u128::from(self.limit.burst) * PARTS)
    }
}

/// Where addresses lead, by the longest prefix that ends at a dot.
#[derive(Debug, Default)]
pub(crate) struct Ways(pub(crate) HashMap<String, u32>);

impl Ways {
    pub(crate) fn next_hop(&self, address: &[u8]) -> Option<u32> {
        let mut prefix = core::str::from_utf8(address).expect("addresses are ASCII");
        loop {
            if let Some(account) = self.0.get(prefix) {
                return Some(*account);
            }
            prefix = prefix.rsplit_once('.')?.0;
        }
    }
}

/// What one switch is known to be.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its first shard, among all shards of the network.
    pub(crate) first_core: usize,
    pub(crate) accounts: Vec<Account>,
    pub(crate) skew_ms: i64,
    /// By version, from 1.
    pub(crate) tariffs: Vec<Tariff>,
    pub(crate) ways: Vec<Ways>,
    /// Until when its journal makes nothing durable, on the clock of the simulation.
    pub(crate) journal_stuck_until: u64,
    /// It never will again.
    pub(crate) journal_is_lost: bool,
    /// Keys and accounts of amounts that are frozen.
    pub(crate) frozen: Vec<(Key, u32)>,
}

/// What a shard has written, record by record.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    /// A fulfilled packet.
    Pair(usize),
    /// A late FULFILL for a packet.
    Late(usize),
    /// What happened outside of packets.
    Other(Record),
}

/// A packet's stay at one switch, from its hold until its answer is taken.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) tag: u32,
    pub(crate) switch: usize,
    pub(crate) core_in: usize,
    pub(crate) core_out: usize,
    pub(crate) account_in: u32,
    pub(crate) epoch_in: u32,
    pub(crate) wire_in: usize,
    pub(crate) id_in: u32,
    pub(crate) amount_in: u64,
    pub(crate) account_out: u32,
    pub(crate) epoch_out: u32,
    pub(crate) wire_out: usize,
    pub(crate) id_out: u32,
    pub(crate) amount_out: u64,
    pub(crate) version: u32,
    pub(crate) condition: [u8; 32],
    pub(crate) expires_at_ms: u64,
    /// When it was held, and when its time is up, as its shards read the monotonic clock.
    pub(crate) held_ns: u64,
    pub(crate) deadline_ns: u64,
    pub(crate) decided_at_ms: u64,
    /// Of its record, if it was fulfilled and leaves one.
    pub(crate) position: Option<u64>,
    /// The PREPARE as it must leave but for amount and expiry; empty when it has.
    pub(crate) packet: Vec<u8>,
    pub(crate) state: State,
    /// A late FULFILL for it may still become evidence.
    pub(crate) wants_evidence: bool,
}

/// Where a packet is in a switch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Held for its sender, and on its way to the outgoing half.
    Forwarding,
    /// At the next hop.
    Flying,
    /// Decided; the answer is on its way to the incoming half.
    Answering(Ending),
    /// Fulfilled and counted; the FULFILL waits for its record.
    Withheld(Vec<u8>),
    /// It waits for its record no longer, but for room in its link's egress.
    LetGo(Vec<u8>),
    /// Answered.
    Done,
}

/// How a packet ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    Fulfilled(Vec<u8>),
    Rejected(Vec<u8>),
    Refused(m2_core::Refusal),
}

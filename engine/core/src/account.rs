//! One peer's account: its ledger, its limits, its link, its counters.

use core::num::NonZeroU32;

use m2_codec::address::Address;

use crate::bucket::Bucket;
use crate::counters::AccountCounters;
use crate::gate::LegIn;
use crate::ids::{AccountId, AssetIndex, ConnectionId, Now, ShardId};
use crate::ledger::{Ledger, Words};
use crate::limits;
use crate::withheld::{Backlog, Legs};

/// What the peer is to us (RFC 34). Only a child is told its address by IL-DCP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// It gives us our address.
    Parent,
    /// Neither above nor below us.
    Peer,
    /// It takes its address from us.
    Child,
}

/// What a FULFILL to the peer waits for: how much of what it then owes us a crash may forget.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Durability {
    /// Nothing: its record is durable first, or its time is nearly up.
    #[default]
    Sync,
    /// As much as the configured bounds in milliseconds and bytes allow.
    Async,
    /// Everything: pairs of its PREPAREs have no record.
    None,
}

/// How much may pass a second, and how much at once after a pause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// Packets, or units of the account, a second.
    pub per_s: u64,
    /// Packets, or units, at once.
    pub burst: u64,
}

/// What binds one account. Amounts are units of the account's asset scale.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most the peer may come to owe us. 0: no PREPARE of it with an amount.
    pub balance_max: u64,
    /// The most we may come to owe the peer. 0: no PREPARE to it with an amount.
    pub payable_max: u64,
    /// The largest PREPARE from the peer, inclusive (F08 above).
    pub packet_amount_max: u64,
    /// Requests from the peer, whatever they are (T05 beyond).
    pub packets: Option<RateLimit>,
    /// Money in PREPAREs from the peer, fulfilled or not (T04 beyond).
    pub amount: Option<RateLimit>,
    /// PREPAREs without an answer, in each direction (T03 beyond).
    pub in_flight_packets_max: u32,
    /// Money in PREPAREs without an answer, in each direction (T04 beyond).
    pub in_flight_value_max: Option<u64>,
}

/// When what we owe a peer is paid by itself, in units of the account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settle {
    /// Once we owe so much; more than `to`.
    pub threshold: u64,
    /// What we go on owing.
    pub to: u64,
}

/// An account as the configuration states it.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// The next free number: accounts are added in order.
    pub id: AccountId,
    /// Which shard owns the account: its ledger, its links, the slots toward it.
    pub shard: ShardId,
    /// What the peer is to us.
    pub relation: Relation,
    /// The account's asset and scale, in the list that the rates were built from.
    pub asset: AssetIndex,
    /// Told to a child by IL-DCP.
    pub asset_code: String,
    /// Told to a child by IL-DCP.
    pub asset_scale: u8,
    /// What stands behind our own address in the address of a child. Must make a valid address.
    pub ildcp_segment: String,
    /// Of its own PREPAREs.
    pub durability: Durability,
    /// What binds the account.
    pub limits: Limits,
    /// Absent where only an order pays the peer.
    pub settle: Option<Settle>,
}

/// An account at one moment, for operators and tests.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AccountView {
    /// All words of the ledger.
    pub words: Words,
    /// PREPAREs from the peer without an answer.
    pub in_flight_in: u32,
    /// PREPAREs to the peer without an answer.
    pub in_flight_out: u32,
    /// PREPAREs from the peer that were fulfilled and whose record is not durable: what it owes us
    /// for them a crash would forget.
    pub unrecorded_in: Legs,
    /// PREPAREs to the peer that it has fulfilled and whose record is not durable.
    pub unrecorded_out: Legs,
    /// PREPAREs from the peer whose FULFILL waits for its record, or for room in the link's egress.
    pub withheld: Legs,
    /// It has a link now.
    pub connected: bool,
    /// What has happened on it since the start.
    pub counters: AccountCounters,
}

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) config: AccountConfig,
    /// What a child is told by IL-DCP.
    pub(crate) child_address: Option<Address>,
    pub(crate) ledger: Ledger,
    /// PREPAREs from the peer, from their hold until their answer is given.
    pub(crate) in_flight_in: u32,
    /// Slots toward the peer.
    pub(crate) in_flight_out: u32,
    /// See [`AccountView`].
    pub(crate) unrecorded_in: Legs,
    pub(crate) unrecorded_out: Legs,
    pub(crate) withheld: Legs,
    pub(crate) backlog: Backlog,
    pub(crate) packets: Option<Bucket>,
    pub(crate) amount: Option<Bucket>,
    /// Requests that we answer ourselves.
    pub(crate) own_answers: Bucket,
    pub(crate) link: Option<NonZeroU32>,
    /// It stands on the list of those to be paid.
    pub(crate) is_listed: bool,
    epoch: u32,
    /// When the log is next told that its credit is used up.
    pub(crate) exhaustion_told_again_ns: u64,
    pub(crate) counters: AccountCounters,
}

impl Account {
    pub(crate) fn new(config: AccountConfig, own_address: &Address, now_ns: u64) -> Self {
        let is_child = config.relation == Relation::Child;
        let child_address = is_child.then(|| {
            own_address.child(&config.ildcp_segment).expect("segments are checked when configured")
        });
        let own = u64::from(limits::OWN_ANSWERS_PER_S);
        let Limits { balance_max, payable_max, packets, amount, .. } = config.limits;
        let mut ledger = Ledger::new(config.id, balance_max, payable_max);
        if let Some(Settle { threshold, to }) = config.settle {
            assert!(threshold > to, "a threshold at or below its goal pays for ever");
            ledger.set_threshold(threshold);
        }
        Self {
            ledger,
            in_flight_in: 0,
            in_flight_out: 0,
            unrecorded_in: Legs::default(),
            unrecorded_out: Legs::default(),
            withheld: Legs::default(),
            backlog: Backlog::default(),
            packets: packets.map(|limit| Bucket::new(limit, now_ns)),
            amount: amount.map(|limit| Bucket::new(limit, now_ns)),
            own_answers: Bucket::new(RateLimit { per_s: own, burst: own }, now_ns),
            link: None,
            is_listed: false,
            child_address,
            epoch: 0,
            exhaustion_told_again_ns: 0,
            counters: AccountCounters::default(),
            config,
        }
    }

    /// A new connection. Requests of an older one are not taken any more; its answers to what left
    /// on it still count. Epochs come round after 2^32 connections, when no packet of the first is
    /// left.
    pub(crate) fn link_up(&mut self) -> ConnectionId {
        self.epoch = self.epoch.wrapping_add(1).max(1);
        let epoch = NonZeroU32::new(self.epoch).expect("it is 1 or more");
        self.link = Some(epoch);
        ConnectionId { account: self.config.id, epoch }
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.link.map(|epoch| ConnectionId { account: self.config.id, epoch })
    }

    pub(crate) fn is_live(&self, connection: ConnectionId) -> bool {
        self.link == Some(connection.epoch)
    }

    /// Takes one packet out of the account's bucket, if it has one. A connection that is no longer the
    /// account's takes nothing: its requests are not looked at.
    pub(crate) fn may_send_packet(&mut self, connection: ConnectionId, now: Now) -> bool {
        self.is_live(connection)
            && self.packets.as_mut().is_none_or(|bucket| bucket.try_take(1, now.mono_ns))
    }

    /// A FULFILL that was withheld has been given, or has nobody to go to.
    pub(crate) fn given(&mut self, leg: &LegIn) {
        self.in_flight_in -= 1;
        self.withheld.sub(leg.amount);
    }

    pub(crate) fn view(&self) -> AccountView {
        AccountView {
            words: self.ledger.words(),
            in_flight_in: self.in_flight_in,
            in_flight_out: self.in_flight_out,
            unrecorded_in: self.unrecorded_in,
            unrecorded_out: self.unrecorded_out,
            withheld: self.withheld,
            connected: self.link.is_some(),
            counters: self.counters,
        }
    }
}

//! What outlives the process: rows in tables, each a JSON text under a name.
//!
//! All rows that one event changes are committed together, and what the event makes the process do is
//! given out by [`Staged::commit`] and nowhere else. So nothing leaves the process that is not on disk,
//! and a crash between any two steps finds the rows of one step whole or not at all.

use serde::{Deserialize, Serialize};

use crate::chain::{Agreement, Bytes, Call, ChannelId, Key, OnChain, Signed, SignedClaim, Terms};
use crate::event::Effect;

/// Which kind of row.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// By name of the account.
    Accounts,
    /// By key: frozen amounts.
    Keys,
    /// By id.
    Channels,
    /// By number: what the switch has to hear of.
    Orders,
    /// By number: transactions that are not final.
    Transactions,
    /// By chain: what it has cost.
    Costs,
}

impl Table {
    /// Each.
    pub const ALL: [Self; 6] =
        [Self::Accounts, Self::Keys, Self::Channels, Self::Orders, Self::Transactions, Self::Costs];

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Keys => "keys",
            Self::Channels => "channels",
            Self::Orders => "orders",
            Self::Transactions => "transactions",
            Self::Costs => "costs",
        }
    }
}

/// A row as it is to be from now on; without a value it is gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Write {
    /// Where.
    pub table: Table,
    /// Its name in the table.
    pub name: String,
    /// JSON.
    pub value: Option<String>,
}

/// Where rows are kept.
pub trait Store {
    /// Why it failed.
    type Error;

    /// Makes all of these durable, or none.
    ///
    /// # Errors
    ///
    /// When they are not durable: then the process has to end, as what it knows is ahead of its rows.
    fn commit(&mut self, writes: &[Write]) -> Result<(), Self::Error>;
}

/// What an event comes to, before it is durable.
#[derive(Debug)]
#[must_use = "what it changed is to be durable before the next event"]
pub struct Staged {
    pub(crate) writes: Vec<Write>,
    pub(crate) effects: Vec<Effect>,
}

impl Staged {
    /// Both as one: what came later is what a row will be.
    pub fn and(mut self, later: Self) -> Self {
        for write in later.writes {
            let same = |it: &Write| it.table == write.table && it.name == write.name;
            match self.writes.iter_mut().find(|it| same(it)) {
                Some(before) => *before = write,
                None => self.writes.push(write),
            }
        }
        self.effects.extend(later.effects);
        self
    }

    /// Makes it durable, and gives out what to do now.
    ///
    /// # Errors
    ///
    /// As the store says. Nothing may be done then.
    pub fn commit<S: Store>(self, store: &mut S) -> Result<Vec<Effect>, S::Error> {
        if !self.writes.is_empty() {
            store.commit(&self.writes)?;
        }
        Ok(self.effects)
    }
}

/// What is kept of an account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct AccountRow {
    /// In what all of this is counted: chain and contract, token, peer and scales.
    pub(crate) basis: String,
    /// Units of the account: of all keys that are kept no longer.
    pub(crate) sum_past: u128,
    /// Units of the token: what the peer has of us in channels that are over.
    pub(crate) paid_past: u128,
    /// Units of the token: what was credited in channels that are over.
    pub(crate) got_past: u128,
    /// Units of the account: what the switch was told to credit, less what it was told to reverse.
    pub(crate) credited: u128,
    /// Channels that we have opened so far.
    pub(crate) opened: u64,
    /// Reversals so far.
    pub(crate) reversals: u64,
    /// Why it is paused, if it is.
    pub(crate) paused: Option<String>,
    /// Our store lacks something that was given: nothing is paid until an operator has looked.
    pub(crate) behind: bool,
    /// An operator has: it is paid again once its channels are over.
    pub(crate) resuming: bool,
}

impl AccountRow {
    /// Nothing was ever paid, credited or opened.
    pub(crate) fn is_blank(&self) -> bool {
        let Self { sum_past, paid_past, got_past, credited, opened, behind, .. } = *self;
        [sum_past, paid_past, got_past, credited, opened.into()] == [0; 5] && !behind
    }
}

/// What has become of a frozen amount.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum KeyState {
    /// It is to be paid.
    Open,
    /// The peer holds a claim that pays it.
    Settled,
    /// An operator has taken it back.
    Cancelled,
}

/// A frozen amount.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct KeyRow {
    pub(crate) account: String,
    /// Units of the account.
    pub(crate) amount: u128,
    /// Units of the account: of all its keys up to this one, cancelled ones left out.
    pub(crate) sum: u128,
    pub(crate) state: KeyState,
    /// When it came into this state: milliseconds since 1970.
    pub(crate) at_ms: u64,
}

/// A payment channel.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ChannelRow {
    pub(crate) account: String,
    /// There if it is ours to open.
    pub(crate) terms: Option<Terms>,
    /// Which of its parties we are.
    pub(crate) ours: usize,
    /// As it was seen final last.
    pub(crate) seen: Option<OnChain>,
    /// At which height that was: what an older block shows is not believed.
    pub(crate) seen_at: u64,
    /// What our deposit is to be, in all.
    pub(crate) want_deposit: u128,
    /// The highest claim that we have signed.
    pub(crate) given: Option<SignedClaim>,
    /// The total that the peer says it holds.
    pub(crate) acked: u128,
    /// The highest claim that we hold.
    pub(crate) best: Option<SignedClaim>,
    /// What of it was credited.
    pub(crate) credited: u128,
    /// An operator wants it redeemed, worth the fee or not.
    pub(crate) redeem_now: bool,
    pub(crate) ending: Option<Ending>,
    /// Nothing is added to the channel until this has run out.
    pub(crate) agreed: Option<Agreed>,
    /// It is over, and counted in the row of its account.
    pub(crate) over: bool,
}

impl ChannelRow {
    /// Nothing of it was seen, given or taken.
    pub(crate) fn new(account: String, ours: usize) -> Self {
        Self {
            account,
            terms: None,
            ours,
            seen: None,
            seen_at: 0,
            want_deposit: 0,
            given: None,
            acked: 0,
            best: None,
            credited: 0,
            redeem_now: false,
            ending: None,
            agreed: None,
            over: false,
        }
    }
}

/// How an operator wants a channel to end.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Ending {
    /// At once, by an agreement with the peer.
    Together,
    /// By a close whose window has to pass.
    Alone,
}

/// An agreement on a channel's end.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Agreed {
    pub(crate) agreement: Agreement,
    pub(crate) ours: Bytes,
    pub(crate) theirs: Option<Bytes>,
    /// We asked for it, and send it to the chain.
    pub(crate) asked: bool,
    /// Until when it may be prolonged at most, by the chain's clock.
    pub(crate) bound_s: u64,
    /// Until when one of these totals that we have signed may be executed: seconds, by the chain's clock.
    pub(crate) hold_until_s: u64,
}

/// What the switch has to be told until it says that it is recorded.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Order {
    /// The peer paid us: units of the account.
    Credit {
        /// Names the payment.
        key: Key,
        /// How much.
        amount: u64,
    },
    /// A payment of the peer proved void: units of the account.
    Reverse {
        /// Names the reversal.
        key: Key,
        /// How much.
        amount: u64,
    },
    /// What was frozen under this key has reached the peer.
    Settled {
        /// Of the frozen amount.
        key: Key,
    },
    /// It never will.
    Cancelled {
        /// Of the frozen amount.
        key: Key,
    },
    /// No new packets of this account.
    Pause,
}

/// See [`Order`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct OrderRow {
    pub(crate) account: String,
    pub(crate) order: Order,
}

/// What a transaction is for. In the order of their urgency where nothing else decides.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Job {
    /// Redeem what a channel would lose that is closing.
    Answer(ChannelId),
    /// End a channel as agreed, before the agreement runs out.
    CloseTogether(ChannelId),
    /// Ask for a channel's end.
    Close(ChannelId),
    /// Let deposits be taken.
    Approve(crate::chain::Token),
    /// Open a channel.
    Open(ChannelId),
    /// Raise a deposit.
    Deposit(ChannelId),
    /// End a channel whose window has passed.
    Settle(ChannelId),
    /// Redeem what is worth it.
    Redeem(ChannelId),
    /// Take what the contract owes us.
    Collect(crate::chain::Token),
}

/// A transaction that is not final.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TransactionRow {
    /// In the configuration, by name: `eip155:8453/0x...`.
    pub(crate) chain: String,
    pub(crate) nonce: u64,
    pub(crate) call: Call,
    pub(crate) jobs: Vec<Job>,
    /// All that bid for its nonce, the latest last.
    pub(crate) attempts: Vec<Signed>,
    /// From this attempt on they do nothing but take the nonce, as the call would fail.
    pub(crate) void_from: Option<usize>,
}

/// What transactions have cost. Money in the chain's smallest unit.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Costs {
    /// The lowest nonce that none of our transactions has used up for good.
    pub nonce_floor: u64,
    /// That are final and did what they were to do.
    pub succeeded: u64,
    /// That are final and failed.
    pub failed: u64,
    /// Whose nonce another transaction has taken.
    pub lost: u64,
    /// Claims that were redeemed.
    pub claims: u64,
    /// All gas.
    pub gas: u64,
    /// What it cost.
    pub money: u128,
}

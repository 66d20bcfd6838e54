//! The lines of `dump --json`, written and read: the one format that two operators exchange.
//!
//! ```text
//!   {"type":"dump", ...}         first: what it is a dump of
//!   {"type":"record", ...}       one for each record
//!   {"type":"stream", ...}       one for each stream that was read
//!   {"type":"account", ...}      one for each account: what it stands for, and its position
//!   {"type":"end", ...}          last: a dump without it was cut short
//! ```
//!
//! Amounts are strings of decimal digits, bytes are hex digits in lower case. A line says nothing else
//! than its fields: an unknown one is no line of ours.

use m2_core::AccountId;
use m2_core::record::Record;
use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::filter::{Kind, at_ms, condition_head};
use crate::output::hex;
use crate::time;

/// Version of these lines. Another one is not read.
pub(crate) const DUMP_VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    Dump(DumpLine),
    Record(RecordLine),
    Stream(StreamLine),
    Account(AccountLine),
    End(EndLine),
}

/// What the dump is of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct DumpLine {
    pub(crate) version: u32,
    pub(crate) generations: Vec<u32>,
    /// Only its records are there.
    pub(crate) account: Option<AccountName>,
    /// What belongs to other accounts was left out.
    pub(crate) for_peer: bool,
    pub(crate) from_ms: Option<u64>,
    pub(crate) to_ms: Option<u64>,
    /// Other records were left out, by kind, condition or stream.
    pub(crate) is_partial: bool,
}

/// An account by its number and its name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct AccountName {
    pub(crate) number: u32,
    pub(crate) name: String,
}

/// A record and where it stands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct RecordLine {
    pub(crate) generation: u32,
    pub(crate) stream: u16,
    pub(crate) position: u64,
    pub(crate) at: String,
    pub(crate) at_ms: u64,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What a record says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum What {
    Pair {
        account_in: AccountName,
        amount_in: String,
        account_out: AccountName,
        amount_out: String,
        condition_head: String,
        rate_version: u32,
        durability: String,
    },
    /// One leg of a pair, for the peer of this account.
    Leg {
        account: AccountName,
        direction: Direction,
        amount: String,
        condition_head: String,
    },
    LateFulfill {
        account: AccountName,
        epoch: u32,
        request_id: u32,
        fulfillment: String,
        condition_head: String,
    },
    Limits {
        account: AccountName,
        balance_max: String,
        payable_max: String,
    },
    Frozen {
        account: AccountName,
        key: String,
        amount: String,
    },
    Settled {
        account: AccountName,
        key: String,
        amount: String,
    },
    Cancelled {
        account: AccountName,
        key: String,
        amount: String,
    },
    Credited {
        account: AccountName,
        key: String,
        amount: String,
        applied: Vec<u64>,
    },
    Reversed {
        account: AccountName,
        key: String,
        amount: String,
        applied: Vec<u64>,
    },
}

/// Which way the PREPARE went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// A stream that was read, up to where it could be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct StreamLine {
    pub(crate) generation: u32,
    pub(crate) stream: u16,
    /// Position of the first record that was left.
    pub(crate) from: u64,
    /// Position after the last.
    pub(crate) to: u64,
    pub(crate) first_at_ms: Option<u64>,
    pub(crate) last_at_ms: Option<u64>,
}

/// An account, and where it stood before the first and after the last record of the dump.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct AccountLine {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) asset_code: String,
    pub(crate) asset_scale: u8,
    /// `balance - prepaid - frozen`; `null` where the records that it takes are gone.
    pub(crate) position_before: Option<String>,
    pub(crate) position_after: Option<String>,
}

/// The last line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct EndLine {
    pub(crate) records: u64,
    /// Damage that ended a stream early: sentences.
    pub(crate) damage: Vec<String>,
}

impl AccountName {
    /// As the directory has it.
    pub(crate) fn of(directory: &Directory, account: AccountId) -> Self {
        Self { number: account.0, name: directory.name(account) }
    }
}

impl Line {
    /// The lines of a record: one, but two where both legs of a pair are of the account that it is
    /// told to the peer of.
    pub(crate) fn of(
        (generation, stream, position): (u32, u16, u64),
        record: &Record,
        directory: &Directory,
        for_peer: Option<AccountId>,
    ) -> Vec<Self> {
        let line = |what| {
            let at_ms = at_ms(record);
            let at = time::text(at_ms);
            Self::Record(RecordLine { generation, stream, position, at, at_ms, what })
        };
        match for_peer {
            None => vec![line(What::of(record, directory))],
            Some(account) => {
                What::for_peer(record, directory, account).into_iter().map(line).collect()
            }
        }
    }
}

impl What {
    fn of(record: &Record, directory: &Directory) -> Self {
        let name = |account| AccountName::of(directory, account);
        let head = condition_head(record).map(|head| hex(&head)).unwrap_or_default();
        match record {
            Record::Pair(pair) => Self::Pair {
                account_in: name(pair.account_in),
                amount_in: pair.amount_in.to_string(),
                account_out: name(pair.account_out),
                amount_out: pair.amount_out.to_string(),
                condition_head: head,
                rate_version: pair.rate_version,
                durability: durability(pair.durability).into(),
            },
            Record::LateFulfill(late) => Self::LateFulfill {
                account: name(late.connection.account),
                epoch: late.connection.epoch.get(),
                request_id: late.request_id,
                fulfillment: hex(&late.fulfillment),
                condition_head: head,
            },
            Record::Limits(limits) => Self::Limits {
                account: name(limits.account),
                balance_max: limits.balance_max.to_string(),
                payable_max: limits.payable_max.to_string(),
            },
            Record::Frozen(keyed) | Record::Settled(keyed) | Record::Cancelled(keyed) => {
                let (account, key) = (name(keyed.account), hex(&keyed.key.0));
                let amount = keyed.amount.to_string();
                match record {
                    Record::Frozen(_) => Self::Frozen { account, key, amount },
                    Record::Settled(_) => Self::Settled { account, key, amount },
                    _ => Self::Cancelled { account, key, amount },
                }
            }
            Record::Credited(money) | Record::Reversed(money) => {
                let (account, key) = (name(money.account), hex(&money.key.0));
                let (amount, applied) = (money.amount.to_string(), money.applied.to_vec());
                match record {
                    Record::Credited(_) => Self::Credited { account, key, amount, applied },
                    _ => Self::Reversed { account, key, amount, applied },
                }
            }
        }
    }

    /// What the peer of an account may know: nothing of other accounts. Limits are ours alone.
    fn for_peer(record: &Record, directory: &Directory, account: AccountId) -> Vec<Self> {
        match record {
            Record::Limits(_) => Vec::new(),
            Record::Pair(pair) => {
                let leg = |direction, amount: u64| Self::Leg {
                    account: AccountName::of(directory, account),
                    direction,
                    amount: amount.to_string(),
                    condition_head: hex(&pair.condition_head),
                };
                let incoming = leg(Direction::In, pair.amount_in);
                let outgoing = leg(Direction::Out, pair.amount_out);
                let both = [(pair.account_in, incoming), (pair.account_out, outgoing)];
                let own = both.into_iter().filter(|(of, _)| *of == account);
                own.map(|(_, leg)| leg).collect()
            }
            _ => vec![Self::of(record, directory)],
        }
    }

    /// Which kind of record it is of.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Pair { .. } | Self::Leg { .. } => Kind::Pair,
            Self::LateFulfill { .. } => Kind::LateFulfill,
            Self::Limits { .. } => Kind::Limits,
            Self::Frozen { .. } => Kind::Frozen,
            Self::Settled { .. } => Kind::Settled,
            Self::Cancelled { .. } => Kind::Cancelled,
            Self::Credited { .. } => Kind::Credited,
            Self::Reversed { .. } => Kind::Reversed,
        }
    }

    /// In words, for people.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Pair { account_in, amount_in, account_out, amount_out, .. } => {
                let (from, to) = (&account_in.name, &account_out.name);
                format!("{from} {amount_in} -> {to} {amount_out}{}", self.tail())
            }
            Self::Leg { account, direction, amount, .. } => {
                let way = if *direction == Direction::In { "from" } else { "to" };
                format!("{way} {} {amount}{}", account.name, self.tail())
            }
            Self::LateFulfill { account, epoch, request_id, .. } => format!(
                "from {}, connection {epoch}, request {request_id}{}",
                account.name,
                self.tail()
            ),
            Self::Limits { account, balance_max, payable_max } => {
                format!("{}: balance_max {balance_max}, payable_max {payable_max}", account.name)
            }
            Self::Frozen { account, key, amount }
            | Self::Settled { account, key, amount }
            | Self::Cancelled { account, key, amount }
            | Self::Credited { account, key, amount, .. }
            | Self::Reversed { account, key, amount, .. } => {
                format!("{} {amount}, key {key}", account.name)
            }
        }
    }

    fn tail(&self) -> String {
        match self {
            Self::Pair { condition_head, rate_version, durability, .. } => {
                format!(", condition {condition_head}, rates {rate_version}, {durability}")
            }
            Self::Leg { condition_head, .. } => format!(", condition {condition_head}"),
            Self::LateFulfill { condition_head, fulfillment, .. } => {
                format!(", condition {condition_head}, fulfillment {fulfillment}")
            }
            _ => String::new(),
        }
    }
}

fn durability(durability: m2_core::Durability) -> &'static str {
    match durability {
        m2_core::Durability::Sync => "sync",
        m2_core::Durability::Async => "async",
        // Its pairs have no record.
        m2_core::Durability::None => "none",
    }
}

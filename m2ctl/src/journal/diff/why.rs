//! Why one side has a packet that the other has not.
//!
//! The FULFILL goes from R, who has the packet as incoming, to S, who has it as outgoing. R records it
//! first and lets it go then; S records it when it comes in time. So, of a packet that
//!
//! - only R has, the FULFILL came late or never, or S ended before its record was durable;
//! - only S has, R let the FULFILL go before its record was durable, and ended.

use super::super::positions::Window;
use super::packets::Which;
use super::source::{Life, Side};
use crate::time;

/// An explanation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// It lies where the window begins or ends, or where one side's records do.
    Edge { of: Which },
    /// The other side got the FULFILL too late, and kept it as evidence.
    Late { at: Which },
    /// A process ended about then.
    Ended { at: Which, life: Life, next_ms: Option<u64> },
    /// Nothing that is in the records explains it.
    Unknown { only_receiver: bool },
    /// Both sides have it, with other amounts.
    Amounts,
    /// A payment that only one side counts, yet.
    UnderWay { paid_by: Which },
    /// A payment was reversed on one side.
    Reversed { at: Which },
}

impl Why {
    /// One word for it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Edge { .. } => "edge",
            Self::Late { .. } => "late",
            Self::Ended { .. } => "ended",
            Self::Unknown { .. } => "unexplained",
            Self::Amounts => "amounts",
            Self::UnderWay { .. } => "payment_under_way",
            Self::Reversed { .. } => "reversed",
        }
    }

    /// Whether the records explain it.
    pub(super) fn is_explained(&self) -> bool {
        !matches!(self, Self::Unknown { .. } | Self::Amounts)
    }

    /// In words.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Edge { of } => {
                format!("it lies where what is known of the side {} begins or ends", of.word())
            }
            Self::Late { at } => format!(
                "its FULFILL came too late {}, where it is kept as evidence: the receiver's side \
                 has delivered and is not owed",
                at.word()
            ),
            Self::Ended { at, life, next_ms } => {
                let until = next_ms.map_or_else(String::new, |next| {
                    format!(" and the next one began by {}", time::text(next))
                });
                format!(
                    "generation {} {} ended behind {}{until}: it was in flight, or its record was \
                     not durable yet",
                    life.generation,
                    at.word(),
                    time::text(life.last_ms)
                )
            }
            Self::Unknown { only_receiver: true } => {
                "no record explains it: a FULFILL that was lost with its connection, or refused"
                    .into()
            }
            Self::Unknown { only_receiver: false } => {
                "no record explains it: a FULFILL that was let go without a record, by an account \
                 without durability or a journal that failed"
                    .into()
            }
            Self::Amounts => "the same packet, and another amount".into(),
            Self::UnderWay { paid_by } => format!(
                "a payment by the side {}: under way, or counted under another amount",
                paid_by.word()
            ),
            Self::Reversed { at } => {
                format!("a payment was found void {}, and counts on the other side", at.word())
            }
        }
    }
}

/// What explains a packet that only one side has.
pub(super) struct Judge<'a> {
    pub(super) here: &'a Side,
    pub(super) there: &'a Side,
    pub(super) window: Window,
    /// How long a packet may be on its way, and clocks be apart.
    pub(super) slack_ms: u64,
}

impl Judge<'_> {
    fn side(&self, which: Which) -> &Side {
        match which {
            Which::Here => self.here,
            Which::There => self.there,
        }
    }

    /// `has`: who has it. `is_incoming`: as an incoming leg. `is_late`: the other has it as evidence.
    pub(super) fn judge(&self, has: Which, is_incoming: bool, at_ms: u64, is_late: bool) -> Why {
        let lacks = has.other();
        if is_late {
            return Why::Late { at: lacks };
        }
        if let Some(of) = self.edge(lacks, at_ms) {
            return Why::Edge { of };
        }
        // Of the receiver's side the process may have ended before it let the FULFILL go.
        let both = [Some(lacks), Some(has).filter(|_| is_incoming)];
        for at in both.into_iter().flatten() {
            if let Some((life, next_ms)) = self.ended(at, at_ms) {
                return Why::Ended { at, life, next_ms };
            }
        }
        Why::Unknown { only_receiver: is_incoming }
    }

    /// Whether it lies at an edge of the window, or outside of the side's records.
    fn edge(&self, lacks: Which, at_ms: u64) -> Option<Which> {
        let near = |edge: u64| edge.abs_diff(at_ms) <= self.slack_ms;
        let Window { from_ms, to_ms } = self.window;
        if from_ms.is_some_and(near) || to_ms.is_some_and(near) {
            return Some(lacks);
        }
        let Side { lives, begins_late, .. } = self.side(lacks);
        let first = lives.iter().map(|life| life.first_ms).min();
        let last = lives.iter().map(|life| life.last_ms).max();
        let is_outside = first.zip(last).is_none_or(|(first, last)| {
            let is_near_first = at_ms <= first.saturating_add(self.slack_ms);
            at_ms < first
                || (*begins_late && is_near_first)
                || at_ms.saturating_add(self.slack_ms) >= last
        });
        is_outside.then_some(lacks)
    }

    /// The generation that may have ended about then: between its last record and the first of the
    /// next one.
    fn ended(&self, at: Which, at_ms: u64) -> Option<(Life, Option<u64>)> {
        let lives = &self.side(at).lives;
        let mut pairs = lives.iter().zip(lives.iter().skip(1).map(Some).chain([None]));
        let (life, next) = pairs.find(|(life, next)| {
            let is_after = at_ms.saturating_add(self.slack_ms) >= life.last_ms;
            let limit = next.map(|next| next.first_ms.saturating_add(self.slack_ms));
            is_after && limit.is_some_and(|limit| at_ms <= limit)
        })?;
        Some((*life, next.map(|next| next.first_ms)))
    }
}

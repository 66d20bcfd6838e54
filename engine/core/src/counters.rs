//! What has happened since the start, counted. Nothing is decided by a counter.

use m2_codec::ilp::ErrorCode;

use crate::refusal::Refusal;

/// Counts for one account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AccountCounters {
    /// Requests from the peer, also unparsable ones.
    pub requests_in: u64,
    /// PREPAREs sent to the peer.
    pub prepares_out: u64,
    /// FULFILLs of the peer that counted.
    pub fulfills_in: u64,
    /// PREPAREs of the peer that were fulfilled.
    pub fulfills_out: u64,
    /// REJECTs of the peer that were passed on.
    pub rejects_in: u64,
    /// REJECTs given to the peer, ours and passed on.
    pub rejects_out: u64,
    /// PREPAREs to the peer that expired without an answer.
    pub expired: u64,
    /// FULFILLs of the peer that did not open their condition.
    pub wrong_fulfillments: u64,
    /// FULFILLs of the peer that came too late.
    pub late_fulfills: u64,
    /// Answers of the peer that fit no packet in flight on its connection.
    pub unmatched_answers: u64,
    /// FULFILLs that the peer's lost connection never got.
    pub undelivered_fulfills: u64,
    /// Units of fulfilled PREPAREs from the peer.
    pub amount_fulfilled_in: u128,
    /// Units of fulfilled PREPAREs to the peer.
    pub amount_fulfilled_out: u128,
}

/// What a pair of assets has moved, and what rounding has kept of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PairTotal {
    /// Units of the first asset that came in.
    pub amount_in: u128,
    /// Units of the second that went out.
    pub amount_out: u128,
    /// Whole units of the second that rounding kept.
    pub remainder_whole: u128,
    /// Parts of a further unit, in `remainder_den`ths.
    pub remainder_num: u128,
    /// See `remainder_num`.
    pub remainder_den: u64,
    /// How often a change of rates dropped a part of a unit that was left over.
    pub fractions_dropped: u64,
}

/// Counts for the whole switch.
#[derive(Clone, Debug)]
pub struct Counters {
    refusals: [u64; Refusal::COUNT],
    /// Requests on a connection that is no longer its account's.
    pub requests_stale: u64,
    /// `peer.*` requests that we fulfilled.
    pub own_fulfills: u64,
    /// Answers whose request id no slot has now.
    pub answers_unknown: u64,
    /// Answers on another connection than their PREPARE left on.
    pub answers_foreign: u64,
    /// Second answers, and rejects that came too late.
    pub answers_duplicate: u64,
    /// FULFILLs that came too late and hash right.
    pub late_fulfills: u64,
    /// Late FULFILLs that found no free record.
    pub late_fulfills_unrecorded: u64,
    /// FULFILLs whose sender's connection was gone.
    pub undelivered_fulfills: u64,
    /// FULFILLs given before their record was durable, as their time was nearly up.
    pub fulfills_graced: u64,
    /// FULFILLs given without a durable record, as the journal had failed.
    pub fulfills_unrecorded: u64,
    /// Pairs that were fulfilled.
    pub pairs_fulfilled: u64,
    /// Records taken out of the core.
    pub records: u64,
    /// Notices that did not fit between two drains.
    pub notices_lost: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            refusals: [0; Refusal::COUNT],
            requests_stale: 0,
            own_fulfills: 0,
            answers_unknown: 0,
            answers_foreign: 0,
            answers_duplicate: 0,
            late_fulfills: 0,
            late_fulfills_unrecorded: 0,
            undelivered_fulfills: 0,
            fulfills_graced: 0,
            fulfills_unrecorded: 0,
            pairs_fulfilled: 0,
            records: 0,
            notices_lost: 0,
        }
    }
}

impl Counters {
    /// How often each refusal was answered: its name, its error code, the count.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, ErrorCode, u64)> + '_ {
        Refusal::names().zip(self.refusals).map(|((name, code), count)| (name, code, count))
    }

    pub(crate) fn count(&mut self, refusal: &Refusal) {
        self.refusals[refusal.index()] += 1;
    }
}

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

impl PairTotal {
    /// Adds what another shard has moved. Parts of a unit add up where both have the same rates; while
    /// one has newer rates than the other, the other's parts are left out and counted as dropped.
    pub fn merge(&mut self, other: &Self) {
        let &Self {
            amount_in,
            amount_out,
            remainder_whole,
            remainder_num,
            remainder_den,
            fractions_dropped,
        } = other;
        self.amount_in += amount_in;
        self.amount_out += amount_out;
        self.remainder_whole += remainder_whole;
        self.fractions_dropped += fractions_dropped;
        if self.remainder_den == 0 {
            (self.remainder_num, self.remainder_den) = (remainder_num, remainder_den);
        } else if remainder_den == self.remainder_den {
            let num = self.remainder_num + remainder_num;
            self.remainder_whole += num / u128::from(remainder_den);
            self.remainder_num = num % u128::from(remainder_den);
        } else {
            self.fractions_dropped += u64::from(remainder_num != 0);
        }
    }
}

/// Counts for a shard, or for the whole switch.
#[derive(Clone, Debug, Eq, PartialEq)]
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

    /// Adds what has happened on another shard.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            refusals,
            requests_stale,
            own_fulfills,
            answers_unknown,
            answers_foreign,
            answers_duplicate,
            late_fulfills,
            late_fulfills_unrecorded,
            undelivered_fulfills,
            fulfills_graced,
            fulfills_unrecorded,
            pairs_fulfilled,
            records,
            notices_lost,
        } = other;
        for (sum, more) in self.refusals.iter_mut().zip(refusals) {
            *sum += more;
        }
        self.requests_stale += requests_stale;
        self.own_fulfills += own_fulfills;
        self.answers_unknown += answers_unknown;
        self.answers_foreign += answers_foreign;
        self.answers_duplicate += answers_duplicate;
        self.late_fulfills += late_fulfills;
        self.late_fulfills_unrecorded += late_fulfills_unrecorded;
        self.undelivered_fulfills += undelivered_fulfills;
        self.fulfills_graced += fulfills_graced;
        self.fulfills_unrecorded += fulfills_unrecorded;
        self.pairs_fulfilled += pairs_fulfilled;
        self.records += records;
        self.notices_lost += notices_lost;
    }

    pub(crate) fn count(&mut self, refusal: &Refusal) {
        self.refusals[refusal.index()] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of which no two are alike: those of a shard are these, times its factor.
    fn counters(factor: u64) -> Counters {
        let mut refusals = [0; Refusal::COUNT];
        for (count, number) in refusals.iter_mut().zip(100..) {
            *count = number * factor;
        }
        Counters {
            refusals,
            requests_stale: factor,
            own_fulfills: 2 * factor,
            answers_unknown: 3 * factor,
            answers_foreign: 4 * factor,
            answers_duplicate: 5 * factor,
            late_fulfills: 6 * factor,
            late_fulfills_unrecorded: 7 * factor,
            undelivered_fulfills: 8 * factor,
            fulfills_graced: 9 * factor,
            fulfills_unrecorded: 10 * factor,
            pairs_fulfilled: 11 * factor,
            records: 12 * factor,
            notices_lost: 13 * factor,
        }
    }

    #[test]
    fn every_count_of_every_shard_adds_up() {
        let mut sum = Counters::default();
        for factor in [1, 10, 1_000] {
            sum.merge(&counters(factor));
        }
        assert_eq!(sum, counters(1_011));
    }

    fn total(factor: u128, remainder_num: u128, remainder_den: u64) -> PairTotal {
        PairTotal {
            amount_in: factor,
            amount_out: 2 * factor,
            remainder_whole: 3 * factor,
            remainder_num,
            remainder_den,
            fractions_dropped: 4,
        }
    }

    #[test]
    fn parts_of_a_unit_become_whole_ones_when_shards_add_up() {
        let mut sum = PairTotal::default();
        for (factor, num) in [(1, 4), (10, 4), (100, 3)] {
            sum.merge(&total(factor, num, 5));
        }
        let expected =
            PairTotal { remainder_whole: 3 * 111 + 2, fractions_dropped: 12, ..total(111, 1, 5) };
        assert_eq!(sum, expected);
    }

    #[test]
    fn parts_at_other_rates_are_left_out_and_told() {
        let mut sum = total(1, 4, 5);
        sum.merge(&total(1, 6, 7));
        assert_eq!(sum, PairTotal { fractions_dropped: 9, ..total(2, 4, 5) });
        sum.merge(&total(1, 0, 7));
        assert_eq!(sum, PairTotal { fractions_dropped: 13, ..total(3, 4, 5) });
    }
}

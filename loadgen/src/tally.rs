//! What a run counts while it goes on.
//!
//! Invariant: every PREPARE sent is answered once or still in flight, and every answer is counted
//! under its kind exactly once.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::limits;
use crate::payload::Kind;
use crate::report::{Missed, Strays};
use crate::sender::{Outcome, Sent, Stray};

/// Length of the window behind the live line's percentiles, in nanoseconds.
const RECENT_NS: u64 = 1_000_000_000;

/// Counts of one kind of packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct KindTally {
    /// Sent.
    pub sent: u64,
    /// Came back as it should.
    pub as_expected: u64,
    /// Came back otherwise.
    pub otherwise: u64,
}

/// Sums of one flow, from the sender's checked preimages.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowTally {
    /// What they paid, in the sender's units.
    pub paid: u128,
    /// What the receiver must have been given for it, in its units.
    pub owed: u128,
}

/// When something was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// Nanoseconds since the start.
    pub now_ns: u64,
    /// Milliseconds since 1970.
    pub utc_ms: u64,
    /// Whether packets were still being sent.
    pub while_sending: bool,
}

/// All counts of a run.
#[derive(Debug)]
pub struct Tally {
    /// By kind, in the order of [`Kind::ALL`].
    pub kinds: [KindTally; Kind::ALL.len()],
    /// By flow, in the order of the workload.
    pub flows: Vec<FlowTally>,
    /// PREPAREs that were never sent.
    pub missed: Missed,
    /// PREPAREs sent more than [`limits::SEND_LATE_NS`] after their time.
    pub sent_late: u64,
    /// The longest that one was sent after its time.
    pub send_lag_max_ns: u64,
    /// PREPAREs sent.
    pub sent: u64,
    /// PREPAREs answered.
    pub answered: u64,
    /// PREPAREs whose preimage was checked and right.
    pub fulfilled: u64,
    /// PREPAREs rejected.
    pub rejected: u64,
    /// Answered while packets were being sent.
    pub answered_while_sending: u64,
    /// Fulfilled while packets were being sent.
    pub fulfilled_while_sending: u64,
    /// By code.
    pub rejects: BTreeMap<[u8; 3], u64>,
    /// What came back as it should not have.
    pub surprises: BTreeMap<(Kind, Outcome), u64>,
    /// Answers at the wrong time, or to nothing.
    pub strays: Strays,
    /// From the scheduled time. Packets left to expire are not in it: theirs is their expiry.
    pub latency: Histogram<u64>,
    /// From the time of sending, for the same packets.
    pub service: Histogram<u64>,
    recent: Recent,
}

/// Latencies of this second, and of the last whole one for the live line.
#[derive(Debug)]
struct Recent {
    filling: Histogram<u64>,
    whole: Histogram<u64>,
    filled_at_ns: u64,
}

impl Tally {
    /// Nothing counted.
    #[must_use]
    pub fn new(flow_count: usize) -> Self {
        let histogram = |digits| {
            Histogram::new_with_bounds(1, limits::LATENCY_NS_MAX, digits)
                .expect("the bounds and the digits are in range")
        };
        Self {
            kinds: [KindTally::default(); Kind::ALL.len()],
            flows: vec![FlowTally::default(); flow_count],
            missed: Missed::default(),
            sent_late: 0,
            send_lag_max_ns: 0,
            sent: 0,
            answered: 0,
            fulfilled: 0,
            rejected: 0,
            answered_while_sending: 0,
            fulfilled_while_sending: 0,
            rejects: BTreeMap::new(),
            surprises: BTreeMap::new(),
            strays: Strays::default(),
            latency: histogram(3),
            service: histogram(3),
            recent: Recent { filling: histogram(2), whole: histogram(2), filled_at_ns: RECENT_NS },
        }
    }

    /// A PREPARE was handed to its link.
    pub fn sent(&mut self, sent: &Sent) {
        self.sent += 1;
        self.kinds[sent.header.kind.index()].sent += 1;
        let lag_ns = sent.sent_ns.saturating_sub(sent.scheduled_ns);
        self.send_lag_max_ns = self.send_lag_max_ns.max(lag_ns);
        self.sent_late += u64::from(lag_ns > limits::SEND_LATE_NS);
    }

    /// An answer belongs to no PREPARE in flight.
    pub fn stray(&mut self, stray: Stray) {
        match stray {
            Stray::Duplicate => self.strays.duplicate += 1,
            Stray::Unexpected => self.strays.unexpected += 1,
        }
    }

    /// A PREPARE was answered. `owed` is what its receiver gets if it was paid.
    pub fn answered(&mut self, sent: &Sent, outcome: Outcome, owed: u64, at: Answered) {
        self.answered += 1;
        self.answered_while_sending += u64::from(at.while_sending);
        let late = at.utc_ms >= sent.expires_at_ms;
        if outcome.is_paid() {
            self.paid(sent, owed, at.while_sending);
            self.strays.late_fulfills += u64::from(late);
        } else {
            self.strays.late_others += u64::from(late);
        }
        self.count_reject(outcome);
        self.count_kind(sent.header.kind, outcome);
        if sent.header.kind != Kind::Expired {
            self.record(sent, at.now_ns);
        }
    }

    /// Makes this second the last whole one, once it is over.
    pub fn turn_recent(&mut self, now_ns: u64) {
        if now_ns < self.recent.filled_at_ns {
            return;
        }
        let Recent { filling, whole, filled_at_ns } = &mut self.recent;
        std::mem::swap(filling, whole);
        filling.reset();
        *filled_at_ns = (now_ns / RECENT_NS + 1) * RECENT_NS;
    }

    /// Latencies of the last whole second; before its end, those of the first.
    #[must_use]
    pub fn recent(&self) -> &Histogram<u64> {
        if self.recent.whole.is_empty() { &self.recent.filling } else { &self.recent.whole }
    }

    fn paid(&mut self, sent: &Sent, owed: u64, while_sending: bool) {
        self.fulfilled += 1;
        self.fulfilled_while_sending += u64::from(while_sending);
        let flow = &mut self.flows[usize::from(sent.header.flow)];
        flow.paid += u128::from(sent.header.amount);
        flow.owed += u128::from(owed);
    }

    fn count_reject(&mut self, outcome: Outcome) {
        let code = match outcome {
            Outcome::Rejected(code) => code,
            Outcome::RejectedWithOtherData => *b"F99",
            _ => return,
        };
        self.rejected += 1;
        *self.rejects.entry(code).or_insert(0) += 1;
    }

    fn count_kind(&mut self, kind: Kind, outcome: Outcome) {
        if outcome.is_expected(kind) {
            self.kinds[kind.index()].as_expected += 1;
        } else {
            self.kinds[kind.index()].otherwise += 1;
            *self.surprises.entry((kind, outcome)).or_insert(0) += 1;
        }
    }

    fn record(&mut self, sent: &Sent, now_ns: u64) {
        let latency_ns = now_ns.saturating_sub(sent.scheduled_ns);
        self.latency.saturating_record(latency_ns);
        self.service.saturating_record(now_ns.saturating_sub(sent.sent_ns));
        self.recent.filling.saturating_record(latency_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::Header;

    fn sent(kind: Kind) -> Sent {
        let header =
            Header { kind, flow: 1, run: 1, sequence: 1, amount: 10, expires_at_ms: 1_000 };
        let (scheduled_ns, sent_ns) = (5_000_000, 6_500_000);
        Sent { header, scheduled_ns, sent_ns, expires_at_ms: 1_000, condition: [0; 32] }
    }

    const IN_TIME: Answered = Answered { now_ns: 8_000_000, utc_ms: 999, while_sending: true };

    #[test]
    fn a_paid_packet_is_in_the_books_of_its_flow() {
        let mut tally = Tally::new(2);
        tally.sent(&sent(Kind::Fulfilled));
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, IN_TIME);
        assert_eq!((tally.flows[1].paid, tally.flows[1].owed), (10, 25));
        assert_eq!((tally.fulfilled, tally.answered, tally.kinds[0].as_expected), (1, 1, 1));
    }

    #[test]
    fn a_preimage_pays_whatever_else_is_wrong_and_a_wrong_one_never_does() {
        let mut tally = Tally::new(2);
        let packet = sent(Kind::Fulfilled);
        tally.answered(&packet, Outcome::FulfilledWithOtherData, 25, IN_TIME);
        assert_eq!((tally.flows[1].paid, tally.kinds[0].otherwise), (10, 1));
        tally.answered(&packet, Outcome::WrongPreimage, 25, IN_TIME);
        tally.answered(&packet, Outcome::Malformed, 25, IN_TIME);
        tally.answered(&packet, Outcome::Rejected(*b"T04"), 25, IN_TIME);
        assert_eq!((tally.flows[1].paid, tally.flows[1].owed), (10, 25));
        assert_eq!(tally.surprises.values().sum::<u64>(), 4);
        assert_eq!(tally.rejects[b"T04"], 1);
    }

    #[test]
    fn latency_counts_from_the_schedule_and_service_from_sending() {
        let mut tally = Tally::new(2);
        tally.sent(&sent(Kind::Fulfilled));
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, IN_TIME);
        assert!(tally.latency.equivalent(tally.latency.max(), 3_000_000));
        assert!(tally.service.equivalent(tally.service.max(), 1_500_000));
        assert_eq!((tally.sent_late, tally.send_lag_max_ns), (1, 1_500_000));
    }

    #[test]
    fn packets_left_to_expire_are_not_among_the_latencies() {
        let mut tally = Tally::new(2);
        tally.answered(&sent(Kind::Expired), Outcome::Rejected(*b"R00"), 25, IN_TIME);
        assert_eq!((tally.latency.len(), tally.service.len()), (0, 0));
        assert_eq!(tally.kinds[Kind::Expired.index()].as_expected, 1);
    }

    #[test]
    fn an_answer_at_its_expiry_is_late() {
        let mut tally = Tally::new(2);
        let at = Answered { utc_ms: 1_000, ..IN_TIME };
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, at);
        tally.answered(&sent(Kind::Expired), Outcome::Rejected(*b"R00"), 25, at);
        assert_eq!((tally.strays.late_fulfills, tally.strays.late_others), (1, 1));
    }

    #[test]
    fn the_live_line_sees_the_last_whole_second() {
        let mut tally = Tally::new(2);
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, IN_TIME);
        assert_eq!(tally.recent().len(), 1);
        tally.turn_recent(999_999_999);
        tally.turn_recent(1_000_000_000);
        assert_eq!(tally.recent().len(), 1);
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, IN_TIME);
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, IN_TIME);
        assert_eq!(tally.recent().len(), 1);
        tally.turn_recent(2_000_000_000);
        assert_eq!(tally.recent().len(), 2);
    }
}

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

/// Length of a second, in nanoseconds: what [`Tally::second`] is about.
const SECOND_NS: u64 = 1_000_000_000;

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
    /// How long the generator did not look at its links though it was to, in nanoseconds: the sum of
    /// all absences longer than [`limits::ABSENCE_NS_MIN`].
    pub absent_ns: u64,
    /// The longest of them.
    pub absent_max_ns: u64,
    /// When it looks again at the latest.
    looks_ns: u64,
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
    /// Whole only after [`Tally::finish`].
    pub latency: Histogram<u64>,
    /// From the time of sending, for the same packets. Whole only after [`Tally::finish`].
    pub service: Histogram<u64>,
    /// Where latencies are counted first: one histogram is written for each packet, not three.
    filling: Second,
    whole: Second,
}

/// Latencies of the answers of one second.
#[derive(Clone, Debug)]
pub struct Second {
    /// When it began, in nanoseconds after the start.
    pub begin_ns: u64,
    /// When it ended, or the run did.
    pub end_ns: u64,
    /// From the scheduled time, in nanoseconds.
    pub latency: Histogram<u64>,
    /// From the time of sending, in nanoseconds.
    pub service: Histogram<u64>,
}

impl Second {
    pub(crate) fn new(begin_ns: u64) -> Self {
        let end_ns = begin_ns + SECOND_NS;
        Self { begin_ns, end_ns, latency: histogram(), service: histogram() }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, limits::LATENCY_NS_MAX, 3)
        .expect("the bounds and the digits are in range")
}

impl Tally {
    /// Nothing counted.
    #[must_use]
    pub fn new(flow_count: usize) -> Self {
        Self {
            kinds: [KindTally::default(); Kind::ALL.len()],
            flows: vec![FlowTally::default(); flow_count],
            missed: Missed::default(),
            sent_late: 0,
            send_lag_max_ns: 0,
            absent_ns: 0,
            absent_max_ns: 0,
            looks_ns: 0,
            sent: 0,
            answered: 0,
            fulfilled: 0,
            rejected: 0,
            answered_while_sending: 0,
            fulfilled_while_sending: 0,
            rejects: BTreeMap::new(),
            surprises: BTreeMap::new(),
            strays: Strays::default(),
            latency: histogram(),
            service: histogram(),
            filling: Second::new(0),
            whole: Second::new(0),
        }
    }

    /// A PREPARE was handed to its link, so long after its time.
    #[inline]
    pub fn sent(&mut self, kind: Kind, lag_ns: u64) {
        self.sent += 1;
        self.kinds[kind.index()].sent += 1;
        self.send_lag_max_ns = self.send_lag_max_ns.max(lag_ns);
        self.sent_late += u64::from(lag_ns > limits::SEND_LATE_NS);
    }

    /// The generator looked at everything, and goes to sleep for so long at most.
    #[inline]
    pub fn looked(&mut self, now_ns: u64, sleep_ns: u64) {
        let absent_ns = now_ns.saturating_sub(self.looks_ns);
        if absent_ns >= limits::ABSENCE_NS_MIN {
            self.absent_ns += absent_ns;
            self.absent_max_ns = self.absent_max_ns.max(absent_ns);
        }
        self.looks_ns = now_ns + sleep_ns;
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

    /// Ends a second when its time is over. True if it did: [`Tally::second`] is then that one.
    #[inline]
    pub fn turn_second(&mut self, now_ns: u64) -> bool {
        if now_ns < self.filling.end_ns {
            return false;
        }
        self.end_second(now_ns / SECOND_NS * SECOND_NS);
        true
    }

    /// The run is over: what the last second began is folded in too, and is what
    /// [`Tally::second`] gives.
    pub fn finish(&mut self, now_ns: u64) {
        self.end_second(now_ns.max(self.filling.begin_ns));
    }

    /// The last whole second. Before its end it is empty.
    #[must_use]
    pub fn second(&self) -> &Second {
        &self.whole
    }

    #[cold]
    fn end_second(&mut self, end_ns: u64) {
        let Self { filling, whole, latency, service, .. } = self;
        filling.end_ns = end_ns;
        latency.add(&filling.latency).expect("the bounds are the same");
        service.add(&filling.service).expect("the bounds are the same");
        std::mem::swap(filling, whole);
        filling.latency.reset();
        filling.service.reset();
        (filling.begin_ns, filling.end_ns) = (end_ns, end_ns + SECOND_NS);
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
        self.filling.latency.saturating_record(now_ns.saturating_sub(sent.scheduled_ns));
        self.filling.service.saturating_record(now_ns.saturating_sub(sent.sent_ns));
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
        Sent { header, scheduled_ns, sent_ns, expires_at_ms: 1_000, fulfillment: [0; 32] }
    }

    const IN_TIME: Answered = Answered { now_ns: 8_000_000, utc_ms: 999, while_sending: true };

    #[test]
    fn a_paid_packet_is_in_the_books_of_its_flow() {
        let mut tally = Tally::new(2);
        tally.sent(Kind::Fulfilled, 1_500_000);
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
        tally.sent(Kind::Fulfilled, 1_500_000);
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, IN_TIME);
        tally.finish(9_000_000);
        assert!(tally.latency.equivalent(tally.latency.max(), 3_000_000));
        assert!(tally.service.equivalent(tally.service.max(), 1_500_000));
        assert_eq!((tally.sent_late, tally.send_lag_max_ns), (1, 1_500_000));
    }

    #[test]
    fn packets_left_to_expire_are_not_among_the_latencies() {
        let mut tally = Tally::new(2);
        tally.answered(&sent(Kind::Expired), Outcome::Rejected(*b"R00"), 25, IN_TIME);
        tally.finish(9_000_000);
        assert_eq!((tally.latency.len(), tally.service.len()), (0, 0));
        assert_eq!(tally.kinds[Kind::Expired.index()].as_expected, 1);
    }

    #[test]
    fn a_look_that_comes_late_is_an_absence_and_a_sleep_is_none() {
        let mut tally = Tally::new(2);
        let ms = 1_000_000;
        for (now_ns, sleep_ns) in [(0, 50), (40, 0), (40, 100), (140, 0), (141, 30), (1_171, 0)] {
            tally.looked(now_ns * ms, sleep_ns * ms);
        }
        // Woken after 40 of 50, then slept 100 of 100, was busy for 1, and slept 1,030 where it was 30.
        assert_eq!((tally.absent_ns, tally.absent_max_ns), (1_001 * ms, 1_000 * ms));
    }

    #[test]
    fn an_answer_at_its_expiry_is_late() {
        let mut tally = Tally::new(2);
        let at = Answered { utc_ms: 1_000, ..IN_TIME };
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, at);
        tally.answered(&sent(Kind::Expired), Outcome::Rejected(*b"R00"), 25, at);
        assert_eq!((tally.strays.late_fulfills, tally.strays.late_others), (1, 1));
    }

    fn answer(tally: &mut Tally) {
        tally.answered(&sent(Kind::Fulfilled), Outcome::Fulfilled, 25, IN_TIME);
    }

    #[test]
    fn the_live_line_sees_the_last_whole_second() {
        let mut tally = Tally::new(2);
        answer(&mut tally);
        assert!(!tally.turn_second(999_999_999));
        assert!(tally.turn_second(1_000_000_000));
        assert_eq!(tally.second().latency.len(), 1);
        answer(&mut tally);
        answer(&mut tally);
        assert_eq!(tally.second().latency.len(), 1);
        assert!(tally.turn_second(2_000_000_000));
        assert_eq!(tally.second().latency.len(), 2);
    }

    #[test]
    fn every_latency_is_in_one_second_and_in_the_whole() {
        let mut tally = Tally::new(2);
        let (mut counts, mut ends) = (Vec::new(), Vec::new());
        for (answers, now_ns) in [(2, 1_000_000_001), (0, 2_500_000_000), (3, 4_100_000_000)] {
            (0..answers).for_each(|_| answer(&mut tally));
            assert!(tally.turn_second(now_ns));
            counts.push(tally.second().latency.len());
            ends.push((tally.second().begin_ns, tally.second().end_ns));
        }
        answer(&mut tally);
        tally.finish(4_200_000_000);
        counts.push(tally.second().service.len());
        ends.push((tally.second().begin_ns, tally.second().end_ns));
        assert_eq!(counts, [2, 0, 3, 1]);
        assert_eq!((tally.latency.len(), tally.service.len()), (6, 6));
        // A second in which nobody looked is one with the next.
        let tenths: Vec<(u64, u64)> =
            ends.iter().map(|(begin, end)| (begin / 100_000_000, end / 100_000_000)).collect();
        assert_eq!(tenths, [(0, 10), (10, 20), (20, 40), (40, 42)]);
    }
}

//! What a receiver answers, one packet at a time.

use m2_codec::ilp::put_prepare;

use super::*;
use crate::inband::{Answer, Book, Purpose, Question};
use crate::limits;
use crate::payload::{Fulfillment, Proof, condition};

const NOW_MS: u64 = 1_795_000_000_000;
const BOB: &[u8] = b"test.m2m.bob";

fn bob() -> Destinations {
    Destinations::own(std::str::from_utf8(BOB).unwrap().parse().unwrap())
}

fn terms() -> Terms {
    let flow = Flow { from: 0, to: 1, num: 5, den: 2 };
    Terms {
        run: 77,
        fulfiller: Fulfiller::new(1, Fulfillment::Stream),
        filling: Filling::new(1),
        flows: vec![flow],
        direct: false,
    }
}

/// A PREPARE as the connector delivers it, with each property open to spoiling.
struct Delivered {
    header: Header,
    destination: &'static [u8],
    amount: u64,
    expires_at_ms: u64,
    flipped_data: Option<usize>,
    flipped_condition: bool,
}

fn delivered(kind: Kind) -> Delivered {
    let header =
        Header { kind, flow: 0, run: 77, sequence: 5, amount: 11, expires_at_ms: NOW_MS + 5_000 };
    Delivered {
        header,
        destination: BOB,
        amount: 27,
        expires_at_ms: NOW_MS + 4_000,
        flipped_data: None,
        flipped_condition: false,
    }
}

fn receive(delivered: &Delivered) -> (Reply<'static>, Received) {
    let (terms, mut data) = (terms(), Vec::new());
    terms.filling.put_data(&mut data, &delivered.header, 50);
    let mut condition = terms.fulfiller.proof(&data).condition;
    if let Some(index) = delivered.flipped_data {
        data[index] ^= 1;
    }
    condition[31] ^= u8::from(delivered.flipped_condition);
    let mut packet = Vec::new();
    let expires_at = timestamp::write(delivered.expires_at_ms);
    let (amount, destination) = (delivered.amount, delivered.destination);
    put_prepare(&mut packet, amount, &expires_at, &condition, destination, &data);
    let mut receiver = Receiver::new(Some(bob()), 1);
    // A reply points into the packet that it answers.
    let reply = receiver.receive(packet.leak(), NOW_MS, &terms, &mut timestamp::Cache::new());
    (reply, receiver.received)
}

/// What a packet of this kind is fulfilled with.
fn proof(kind: Kind) -> Proof {
    let (terms, mut data) = (terms(), Vec::new());
    terms.filling.put_data(&mut data, &delivered(kind).header, 50);
    terms.fulfiller.proof(&data)
}

#[test]
fn a_fulfilled_packet_is_counted_with_the_amount_received() {
    let (reply, received) = receive(&delivered(Kind::Fulfilled));
    let fulfillment = proof(Kind::Fulfilled).fulfillment;
    let data = delivered(Kind::Fulfilled).header.to_bytes();
    assert_eq!(reply, Reply::Fulfill { fulfillment, data: &data });
    assert_eq!((received.fulfilled, received.fulfilled_amounts), (1, vec![27]));
}

#[test]
fn the_other_kinds_are_answered_as_the_sender_wished_and_pay_nothing() {
    let (reply, received) = receive(&delivered(Kind::Rejected));
    let Reply::Reject { code, data, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(code, ErrorCode::F99_APPLICATION_ERROR);
    assert_eq!(data, delivered(Kind::Rejected).header.to_bytes());
    assert_eq!(received.fulfilled_amounts, [0]);

    let (reply, received) = receive(&delivered(Kind::WrongFulfillment));
    let Reply::Fulfill { fulfillment, .. } = reply else { panic!("{reply:?}") };
    assert_ne!(condition(&fulfillment), proof(Kind::WrongFulfillment).condition);
    assert_eq!(received.fulfilled_amounts, [0]);

    let (reply, received) = receive(&delivered(Kind::Expired));
    assert_eq!(reply, Reply::Silence);
    assert_eq!((received.prepares, received.faults), (1, [0; 8]));
}

#[test]
fn each_fault_is_named_and_answered_with_f00() {
    let good = || delivered(Kind::Fulfilled);
    let other_run = Header { run: 78, ..good().header };
    let other_flow = Header { flow: 1, ..good().header };
    for (fault, spoiled) in [
        (Fault::Stranger, Delivered { header: other_run, ..good() }),
        (Fault::Stranger, Delivered { header: other_flow, ..good() }),
        (Fault::Stranger, Delivered { flipped_data: Some(0), ..good() }),
        (Fault::Destination, Delivered { destination: b"test.m2m.bo", ..good() }),
        (Fault::DataOrCondition, Delivered { flipped_data: Some(15), ..good() }),
        (Fault::DataOrCondition, Delivered { flipped_data: Some(49), ..good() }),
        (Fault::DataOrCondition, Delivered { flipped_condition: true, ..good() }),
        (Fault::Amount, Delivered { amount: 28, ..good() }),
        (Fault::Amount, Delivered { amount: 26, ..good() }),
        (Fault::ExpiryNotShortened, Delivered { expires_at_ms: NOW_MS + 5_000, ..good() }),
        (Fault::ExpiryPast, Delivered { expires_at_ms: NOW_MS, ..good() }),
        (Fault::Unroutable, delivered(Kind::Unroutable)),
    ] {
        let (reply, received) = receive(&spoiled);
        let (code, message) = (ErrorCode::F00_BAD_REQUEST, fault.name());
        assert_eq!(reply, Reply::Reject { code, message, data: b"" });
        assert_eq!(received.faults[fault as usize], 1, "{fault:?}");
        assert_eq!(received.fulfilled_amounts, [0]);
    }
}

/// A PREPARE with this data, to bob.
fn prepare(data: &[u8], condition: &[u8; 32], amount: u64) -> Vec<u8> {
    let (mut packet, expires_at) = (Vec::new(), timestamp::write(NOW_MS + 4_000));
    put_prepare(&mut packet, amount, &expires_at, condition, BOB, data);
    packet
}

/// A packet of this run, as it should arrive.
fn packet_of(run: u32) -> Vec<u8> {
    let (terms, mut data) = (terms(), Vec::new());
    let header = Header { run, ..delivered(Kind::Fulfilled).header };
    terms.filling.put_data(&mut data, &header, 50);
    prepare(&data, &terms.fulfiller.proof(&data).condition, 27)
}

fn give<'p>(receiver: &mut Receiver, packet: &'p [u8]) -> Reply<'p> {
    receiver.receive(packet, NOW_MS, &terms(), &mut timestamp::Cache::new())
}

fn ask(receiver: &mut Receiver, purpose: Purpose, run: u32) -> Option<Book> {
    let (key, question) = (Key::new(1), Question { purpose, flow: 0, run, nonce: 5 });
    match give(receiver, &prepare(&question.to_bytes(&key), &[7; 32], 1)) {
        Reply::Books(answer) => Answer::read(&answer[..], &key, &question).map(|it| it.book),
        _ => None,
    }
}

#[test]
fn each_run_of_many_has_a_book_that_is_told_to_who_asks() {
    let mut receiver = Receiver::of_many_runs(Some(bob()), 1, Key::new(1));
    assert_eq!(ask(&mut receiver, Purpose::Hello, 77), Some(Book::default()));
    assert_eq!((receiver.runs().count(), receiver.take_asked()), (0, None));
    // Two senders at the same time.
    for run in [77, 78, 77, 78, 78] {
        assert!(matches!(give(&mut receiver, &packet_of(run)), Reply::Fulfill { .. }));
    }
    assert!(!receiver.was_asked(78, 0));
    let book = |fulfilled| Some(Book { fulfilled, amount: u128::from(fulfilled) * 27 });
    assert_eq!(ask(&mut receiver, Purpose::Books, 78), book(3));
    assert_eq!((receiver.take_asked(), receiver.take_asked()), (Some(78), None));
    assert!(receiver.was_asked(78, 0) && !receiver.was_asked(77, 0));
    assert_eq!(ask(&mut receiver, Purpose::Books, 77), book(2));
    assert_eq!(ask(&mut receiver, Purpose::Books, 77), book(2));
    assert_eq!(receiver.runs().collect::<Vec<_>>(), [77, 78]);
    assert_eq!(receiver.book(78).map(|received| received.prepares), Some(3));
    // A run of which nothing arrived has a book too, once it is asked for.
    assert_eq!(ask(&mut receiver, Purpose::Books, 79), Some(Book::default()));
    assert_eq!(receiver.runs().collect::<Vec<_>>(), [77, 78, 79]);
}

#[test]
fn the_books_of_the_oldest_run_go_when_there_are_too_many() {
    let mut receiver = Receiver::of_many_runs(Some(bob()), 1, Key::new(1));
    let last = u32::try_from(limits::RUNS_KEPT_MAX).unwrap();
    for run in 0..=last {
        let _ = give(&mut receiver, &packet_of(run));
    }
    assert_eq!(receiver.runs().count(), limits::RUNS_KEPT_MAX);
    assert!(receiver.book(0).is_none());
    assert!((1..=last).all(|run| receiver.book(run).is_some_and(|it| it.fulfilled == 1)));
}

#[test]
fn a_stranger_opens_no_book_and_a_question_of_another_seed_says_so() {
    let mut receiver = Receiver::of_many_runs(Some(bob()), 1, Key::new(1));
    let mut changed = packet_of(77);
    *changed.last_mut().unwrap() ^= 1;
    let _ = give(&mut receiver, &changed);
    let _ = give(&mut receiver, &prepare(b"no header", &[7; 32], 1));
    let _ = give(&mut receiver, b"\x0d\x00");
    assert_eq!(receiver.runs().count(), 0);
    assert_eq!(faults_outside(&receiver), [(Fault::Malformed, 1), (Fault::Stranger, 1), CHANGED]);

    let question = Question { purpose: Purpose::Books, flow: 0, run: 77, nonce: 5 };
    let other = prepare(&question.to_bytes(&Key::new(2)), &[7; 32], 1);
    let Reply::Reject { message, .. } = give(&mut receiver, &other) else { panic!() };
    assert_eq!(message, OTHER_SEED);
    let no_flow = Question { flow: 1, ..question };
    let no_flow = prepare(&no_flow.to_bytes(&Key::new(1)), &[7; 32], 1);
    assert!(matches!(give(&mut receiver, &no_flow), Reply::Reject { .. }));
    assert_eq!(receiver.runs().count(), 0);
}

/// One packet with changed data.
const CHANGED: (Fault, u64) = (Fault::DataOrCondition, 1);

/// A packet of this run whose data changed on the way.
fn changed_packet_of(run: u32) -> Vec<u8> {
    let mut packet = packet_of(run);
    *packet.last_mut().unwrap() ^= 1;
    packet
}

fn faults_in(book: &Received) -> Vec<(Fault, u64)> {
    let count = |fault: Fault| (fault, book.faults[fault as usize]);
    Fault::ALL.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
}

fn faults_outside(receiver: &Receiver) -> Vec<(Fault, u64)> {
    faults_in(receiver.outside().unwrap())
}

#[test]
fn a_fault_before_the_first_packet_that_is_accepted_stays_counted() {
    let mut receiver = Receiver::of_many_runs(Some(bob()), 1, Key::new(1));
    let _ = give(&mut receiver, &changed_packet_of(77));
    for _ in 0..3 {
        assert!(matches!(give(&mut receiver, &packet_of(77)), Reply::Fulfill { .. }));
    }
    assert_eq!(
        (faults_outside(&receiver), receiver.outside().unwrap().prepares),
        (vec![CHANGED], 1)
    );
    assert_eq!(receiver.book(77).map(|book| (book.prepares, book.fulfilled)), Some((3, 3)));
    assert_eq!(faults_in(receiver.book(77).unwrap()), []);
}

#[test]
fn a_run_of_faults_only_has_a_book_where_its_sender_had_asked_for_us() {
    let mut receiver = Receiver::of_many_runs(Some(bob()), 1, Key::new(1));
    assert_eq!(ask(&mut receiver, Purpose::Hello, 77), Some(Book::default()));
    for run in [77, 78, 77] {
        let Reply::Reject { code, .. } = give(&mut receiver, &changed_packet_of(run)) else {
            panic!()
        };
        assert_eq!(code, ErrorCode::F00_BAD_REQUEST);
    }
    assert_eq!(receiver.runs().collect::<Vec<_>>(), [77]);
    assert_eq!(ask(&mut receiver, Purpose::Books, 77), Some(Book::default()));
    assert_eq!(faults_in(receiver.book(77).unwrap()), [(Fault::DataOrCondition, 2)]);
    assert_eq!(faults_outside(&receiver), [CHANGED]);
}

#[test]
fn a_fault_is_in_the_book_of_its_own_run_whichever_is_open() {
    let mut receiver = Receiver::of_many_runs(Some(bob()), 1, Key::new(1));
    for run in [77, 78] {
        let _ = give(&mut receiver, &packet_of(run));
    }
    // The book of 78 is open.
    let _ = give(&mut receiver, &changed_packet_of(77));
    for run in [78, 77, 78, 78] {
        let _ = give(&mut receiver, &packet_of(run));
    }
    let _ = give(&mut receiver, b"\x0d\x00");
    assert_eq!(faults_in(receiver.book(77).unwrap()), [CHANGED]);
    assert_eq!(faults_in(receiver.book(78).unwrap()), []);
    assert_eq!(receiver.book(77).map(|book| (book.prepares, book.fulfilled)), Some((3, 2)));
    assert_eq!(receiver.book(78).map(|book| (book.prepares, book.fulfilled)), Some((4, 4)));
    assert_eq!(faults_outside(&receiver), [(Fault::Malformed, 1)]);
}

#[test]
fn a_receiver_of_one_run_answers_no_question() {
    let mut receiver = Receiver::new(Some(bob()), 1);
    assert_eq!(ask(&mut receiver, Purpose::Hello, 77), None);
    assert_eq!(receiver.received.faults[Fault::Stranger as usize], 1);
}

#[test]
fn bytes_that_are_no_prepare_are_a_fault_too() {
    let mut receiver = Receiver::new(Some(bob()), 1);
    let _ = receiver.receive(b"\x0d\x00", NOW_MS, &terms(), &mut timestamp::Cache::new());
    assert_eq!(receiver.received.faults[Fault::Malformed as usize], 1);
}

//! The ring against a twin without `unsafe`: one mutex around a queue of messages, each with a copy of
//! its packet. Then two threads, a million messages, and every byte checked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use m2_accel::{Consumer, Producer, ring};
use proptest::prelude::*;

/// A packet's place among the bytes, as the ring's documentation has it.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    len: usize,
}

/// The same API, and the same rooms, without a line of `unsafe`.
struct Twin {
    places: usize,
    bytes: usize,
    queue: Mutex<VecDeque<(u32, Vec<u8>)>>,
    /// Of the packets that were not given back: pushed, published or popped.
    spans: VecDeque<Span>,
    next: usize,
    pushed: VecDeque<(u32, Vec<u8>)>,
    popped: usize,
}

impl Twin {
    fn new(places: usize, bytes: usize) -> Self {
        let (queue, spans, pushed) = (Mutex::default(), VecDeque::new(), VecDeque::new());
        Self { places, bytes, queue, spans, next: 0, pushed, popped: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(u32, Vec<u8>)>> {
        self.queue.lock().expect("nobody panics with it")
    }

    fn start(&self, len: usize) -> usize {
        let end = (self.next / self.bytes + 1) * self.bytes;
        if self.next + len <= end { self.next } else { end }
    }

    fn has_room(&self, len: usize) -> bool {
        let start = self.start(len);
        let oldest = self.spans.front().map_or(start, |span| span.start);
        self.spans.len() < self.places && len <= self.bytes && start + len <= oldest + self.bytes
    }

    fn push(&mut self, item: u32, packet: &[u8]) {
        let span = Span { start: self.start(packet.len()), len: packet.len() };
        self.next = span.start + span.len;
        self.spans.push_back(span);
        self.pushed.push_back((item, packet.to_vec()));
    }

    fn publish(&mut self) -> bool {
        let any = !self.pushed.is_empty();
        let pushed = core::mem::take(&mut self.pushed);
        self.lock().extend(pushed);
        any
    }

    fn pop(&mut self) -> Option<(u32, Vec<u8>)> {
        if self.popped >= 32 {
            self.release();
        }
        let next = self.lock().pop_front();
        match next {
            Some(_) => self.popped += 1,
            None => self.release(),
        }
        next
    }

    fn release(&mut self) {
        self.spans.drain(..self.popped);
        self.popped = 0;
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(usize, u8),
    Publish,
    Pop,
    PopAll,
    Release,
}

fn steps(bytes: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..=bytes / 3, any::<u8>()).prop_map(|(len, byte)| Step::Push(len, byte)),
        1 => (0..=bytes + 1, any::<u8>()).prop_map(|(len, byte)| Step::Push(len, byte)),
        3 => Just(Step::Publish),
        5 => Just(Step::Pop),
        1 => Just(Step::PopAll),
        1 => Just(Step::Release),
    ];
    prop::collection::vec(step, 1..600)
}

/// Both do a step; everything that can be seen of them has to be the same.
fn both(
    step: Step,
    number: u32,
    producer: &mut Producer<Box<u32>>,
    consumer: &mut Consumer<Box<u32>>,
    twin: &mut Twin,
) -> Result<(), TestCaseError> {
    match step {
        Step::Push(len, byte) => {
            prop_assert_eq!(producer.has_room(len), twin.has_room(len));
            if twin.has_room(len) {
                let packet: Vec<u8> =
                    (0_u8..251).cycle().map(|index| byte ^ index).take(len).collect();
                producer.push(Box::new(number), &packet);
                twin.push(number, &packet);
            }
        }
        Step::Publish => prop_assert_eq!(producer.publish(), twin.publish()),
        Step::Pop | Step::PopAll => loop {
            let popped = consumer.pop().map(|(item, packet)| (*item, packet.to_vec()));
            let is_last = popped.is_none() || matches!(step, Step::Pop);
            prop_assert_eq!(popped, twin.pop());
            if is_last {
                break;
            }
        },
        Step::Release => {
            consumer.release();
            twin.release();
        }
    }
    prop_assert_eq!(consumer.is_empty(), twin.is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn any_steps_show_what_the_twin_shows(
        (places, bytes, steps) in (0_u32..8, 0_u32..10).prop_flat_map(|(places, bytes)| {
            (Just(1 << places), Just(1 << bytes), steps(1 << bytes))
        }),
    ) {
        let (mut producer, mut consumer) = ring(places, bytes);
        let mut twin = Twin::new(places, bytes);
        for (number, step) in (0..).zip(steps) {
            both(step, number, &mut producer, &mut consumer, &mut twin)?;
        }
    }
}

/// Goal: across threads nothing is lost, mixed up, seen twice or overwritten early. Method: a million
/// messages of every short length through a small ring; each byte follows from the number.
#[test]
fn a_million_messages_arrive_whole_and_in_order() {
    const MESSAGES: u64 = 1_000_000;
    let (mut producer, mut consumer) = ring(64, 4_096);
    let sending = thread::spawn(move || {
        let mut packet = [0; 300];
        for number in 0..MESSAGES {
            let len = packet_len(number);
            packet[..len].fill(packet_byte(number));
            while !producer.has_room(len) {
                producer.publish();
                thread::yield_now();
            }
            producer.push(number, &packet[..len]);
            if number % 7 == 0 {
                producer.publish();
            }
        }
        producer.publish();
    });
    let mut expected = 0;
    while expected < MESSAGES {
        let Some((number, packet)) = consumer.pop() else {
            thread::yield_now();
            continue;
        };
        assert_eq!(number, expected);
        assert_eq!(packet.len(), packet_len(number));
        assert!(packet.iter().all(|byte| *byte == packet_byte(number)), "message {number}");
        // The bytes are ours to write to, as forwarding does.
        packet.fill(0xee);
        expected += 1;
    }
    sending.join().unwrap();
    assert!(consumer.is_abandoned() && consumer.pop().is_none());
}

fn packet_len(number: u64) -> usize {
    usize::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).expect("32 bits") % 301
}

fn packet_byte(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

#[test]
fn nothing_is_seen_before_it_is_published() {
    let (mut producer, mut consumer) = ring(4, 64);
    producer.push(1, b"one");
    assert!(consumer.is_empty() && consumer.pop().is_none());
    assert!(producer.publish());
    assert!(!producer.publish(), "nothing new");
    assert!(!consumer.is_empty());
    assert_eq!(consumer.pop(), Some((1, &mut b"one".to_owned()[..])));
}

#[test]
fn places_come_back_in_chunks_of_32_when_released_and_when_all_were_popped() {
    let (mut producer, mut consumer) = ring(64, 64);
    let mut fill = |count: u32| (0..count).for_each(|number| producer.push(number, &[]));
    fill(64);
    let mut has_room = || {
        producer.publish();
        producer.has_room(0)
    };
    assert!(!has_room());
    (0..32).for_each(|_| assert!(consumer.pop().is_some()));
    assert!(!has_room(), "the 32nd is still in use");
    assert!(consumer.pop().is_some());
    assert!(has_room());
    (0..31).for_each(|_| assert!(consumer.pop().is_some()));
    assert!(consumer.is_empty());
    (0..32).for_each(|number| producer.push(number, &[]));
    assert!(!producer.has_room(0));
    assert!(consumer.pop().is_none());
    assert!(producer.has_room(0));
}

/// However long it is and wherever the last one ended: a packet that fits the buffer fits an empty ring.
#[test]
fn an_empty_ring_has_room_for_any_packet_that_its_bytes_can_hold() {
    for shift in 0..16 {
        let (mut producer, mut consumer) = ring(2, 16);
        for len in [shift, 16, 16, 1, 16] {
            assert!(producer.has_room(len), "{len} after {shift}");
            producer.push((), &vec![7; len]);
            producer.publish();
            assert_eq!(consumer.pop(), Some(((), &mut vec![7; len][..])));
            consumer.release();
        }
        assert!(!producer.has_room(17));
    }
}

#[test]
fn items_that_nobody_popped_are_dropped_once() {
    let item = Arc::new(());
    for (popped, publishes) in [(0, true), (3, true), (5, true), (0, false)] {
        let (mut producer, mut consumer) = ring(8, 8);
        (0..5).for_each(|_| producer.push(Arc::clone(&item), &[1]));
        assert!(!publishes || producer.publish());
        producer.push(Arc::clone(&item), &[1]);
        (0..popped).for_each(|_| assert!(consumer.pop().is_some()));
        assert_eq!(Arc::strong_count(&item), 1 + 6 - popped);
        drop(consumer);
        assert!(producer.is_abandoned());
        drop(producer);
        assert_eq!(Arc::strong_count(&item), 1);
    }
}

#[test]
fn what_was_published_outlives_its_producer() {
    let (mut producer, mut consumer) = ring(4, 8);
    producer.push("published", b"12");
    producer.publish();
    producer.push("never published", b"34");
    assert!(!consumer.is_abandoned() && !producer.is_abandoned());
    drop(producer);
    assert!(consumer.is_abandoned());
    assert_eq!(consumer.pop(), Some(("published", &mut b"12".to_owned()[..])));
    assert!(consumer.pop().is_none());
}

#[test]
#[should_panic = "no room was made sure of"]
fn a_push_without_room_is_a_fault_of_the_caller() {
    let (mut producer, _consumer) = ring(4, 8);
    producer.push((), &[0; 9]);
}

#[test]
#[should_panic = "3 places, 8 bytes"]
fn places_are_a_power_of_two() {
    let _ = ring::<()>(3, 8);
}

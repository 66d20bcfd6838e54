//! The ring and the flag of who sleeps, in every order in which two threads can do what they do, as
//! far as the memory model permits it and with up to three preemptions:
//! `RUSTFLAGS="--cfg loom" cargo test -p m2-accel --test loom`, which is the part `loom` of
//! `cargo xtask test`. Loom fails where a cell is used by two at once, where what one wrote is not
//! sure to be seen by the other, where something is leaked, and where everybody sleeps.

#![cfg(loom)]

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use m2_accel::{Consumer, Producer, SleepFlag, ring};

fn every_order(scene: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(scene);
}

/// A message that loom watches: one that is read without having been seen written is told.
fn message(number: u8) -> (Arc<u8>, [u8; 2]) {
    (Arc::new(number), [number, number ^ 0xff])
}

fn push(producer: &mut Producer<Arc<u8>>, number: u8) {
    while !producer.has_room(2) {
        thread::yield_now();
    }
    let (item, packet) = message(number);
    producer.push(item, &packet);
}

fn pop(consumer: &mut Consumer<Arc<u8>>, number: u8) {
    loop {
        if let Some((item, packet)) = consumer.pop() {
            let expected = message(number);
            assert_eq!((*item, &*packet), (*expected.0, &expected.1[..]));
            packet.fill(0);
            return;
        }
        thread::yield_now();
    }
}

/// Two places, and more bytes than they need: the third message stands where the first did.
#[test]
fn messages_and_packets_survive_the_end_of_the_ring() {
    every_order(|| {
        let (mut producer, mut consumer) = ring(2, 8);
        let sending = thread::spawn(move || {
            for number in 0..3 {
                push(&mut producer, number);
                assert!(producer.publish());
            }
        });
        (0..3).for_each(|number| pop(&mut consumer, number));
        sending.join().unwrap();
        assert!(consumer.pop().is_none() && consumer.is_abandoned());
    });
}

/// As above, with the bytes as what is short, a packet that skips the end, and two published together.
#[test]
fn bytes_are_given_out_again_only_when_they_were_given_back() {
    every_order(|| {
        let (mut producer, mut consumer) = ring(4, 4);
        let sending = thread::spawn(move || {
            producer.push(0_u8, &[1]);
            producer.push(1, &[2, 3]);
            producer.publish();
            // One byte is left before the end, and the first two are in use.
            while !producer.has_room(2) {
                thread::yield_now();
            }
            producer.push(2, &[4, 5]);
            producer.publish();
        });
        for (number, expected) in [(0, &[1][..]), (1, &[2, 3]), (2, &[4, 5])] {
            loop {
                if let Some((item, packet)) = consumer.pop() {
                    assert_eq!((item, &*packet), (number, expected));
                    break;
                }
                thread::yield_now();
            }
            consumer.release();
        }
        sending.join().unwrap();
    });
}

#[test]
fn whoever_is_left_alone_learns_it_and_nothing_is_leaked() {
    every_order(|| {
        let (mut producer, mut consumer) = ring(2, 4);
        let sending = thread::spawn(move || {
            push(&mut producer, 0);
            producer.publish();
            push(&mut producer, 1);
            producer.is_abandoned()
        });
        // It may see that the producer is gone: then what was published is there, the rest is not.
        if consumer.is_abandoned() {
            assert!(consumer.pop().is_some_and(|(item, _)| *item == 0));
            assert!(consumer.pop().is_none());
        }
        drop(consumer);
        sending.join().unwrap();
    });
}

#[test]
fn a_producer_learns_that_its_consumer_is_gone() {
    every_order(|| {
        let (mut producer, consumer) = ring(2, 4);
        let leaving = thread::spawn(move || drop(consumer));
        push(&mut producer, 0);
        producer.publish();
        leaving.join().unwrap();
        assert!(producer.is_abandoned());
    });
}

/// What a consumer sleeps on, as an eventfd does: a wake-up that came before the sleep ends it at once.
#[derive(Default)]
struct Event {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Event {
    fn set(&self) {
        *self.is_set.lock().expect("nobody panics with it") = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut is_set = self.is_set.lock().expect("nobody panics with it");
        while !*is_set {
            is_set = self.changed.wait(is_set).expect("nobody panics with it");
        }
        *is_set = false;
    }
}

#[derive(Default)]
struct Bed {
    flag: SleepFlag,
    event: Event,
}

/// Goal: no wake-up is lost. Method: a consumer that sleeps whenever it finds nothing; if one is lost it
/// sleeps for ever, which loom tells as a deadlock.
#[test]
fn whoever_sleeps_is_woken() {
    every_order(|| {
        let (mut producer, mut consumer) = ring(2, 4);
        let bed = Arc::new(Bed::default());
        let theirs = Arc::clone(&bed);
        let sending = thread::spawn(move || {
            for number in 0..2 {
                let (item, packet) = message(number);
                producer.push(item, &packet);
                producer.publish();
                if theirs.flag.take_sleeping() {
                    theirs.event.set();
                }
            }
        });
        let mut expected = 0;
        while expected < 2 {
            if let Some((item, _)) = consumer.pop() {
                assert_eq!(*item, expected);
                expected += 1;
                continue;
            }
            bed.flag.begin_sleep();
            if consumer.is_empty() {
                bed.event.wait();
            }
            bed.flag.end_sleep();
        }
        sending.join().unwrap();
    });
}

#[test]
fn of_two_producers_one_wakes() {
    every_order(|| {
        let flag = Arc::new(SleepFlag::default());
        flag.begin_sleep();
        let theirs = Arc::clone(&flag);
        let other = thread::spawn(move || theirs.take_sleeping());
        let ours = flag.take_sleeping();
        assert!(ours ^ other.join().unwrap());
    });
}

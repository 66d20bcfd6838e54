//! The switch under load, killed without a word at random moments, started again over what it left, with
//! one shard, two and three in turn: its ledgers against the books of both ends.
//!
//! SIGKILL leaves what the kernel was given, so this tries the order of things and the
//! replay; what the power takes is tried by the simulation (`m2-sim crash`).

#![allow(clippy::unwrap_used)] // test code, though not inside of a test

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use m2_codec::btp::FrameType;
use m2_codec::ilp::{self, PrepareRepr};
use serde_json::json;
use support::*;

const ROUNDS: u64 = 300;
const WINDOW: u32 = 64;

/// What one end has counted: packets and units.
#[derive(Clone, Copy, Debug, Default)]
struct Book {
    packets: u64,
    units: u64,
}

/// Preimages nobody has used: a number and zeros. The receiver knows them by the amount, which is the
/// number as well.
fn preimage_of(number: u64) -> [u8; 32] {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn packet(number: u64) -> Vec<u8> {
    PrepareRepr {
        amount: number,
        expires_at_ms: now_ms() + 10_000,
        condition: m2_core::sha256_of_32(&preimage_of(number)),
        destination: "test.m2m.bob".parse().unwrap(),
        data: Vec::new(),
    }
    .encode()
}

/// Pays until the connection ends. What counts as paid is what a FULFILL proves.
fn send(mut peer: Peer, numbers: &AtomicU64) -> Book {
    let mut book = Book::default();
    let mut asked = HashMap::new();
    let mut next_id = 0;
    let mut is_up = true;
    loop {
        while is_up && asked.len() < WINDOW as usize {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let mut frame = Vec::new();
            m2_codec::btp::put_ilp(&mut frame, FrameType::Message, next_id, &packet(number));
            // What has come before the end is read all the same.
            is_up = peer.try_send(&frame).is_ok();
            asked.insert(next_id, number);
            next_id += 1;
        }
        let Next::Frame(got) = peer.next() else { return book };
        let number = asked.remove(&got.request_id).expect("an answer to what was asked");
        if ilp::packet_type(&got.packet) == Some(ilp::PacketType::Fulfill) {
            assert_eq!(got.fulfillment(), preimage_of(number));
            book.packets += 1;
            book.units += number;
        }
    }
}

/// Fulfils until the connection ends. What counts as earned is every FULFILL that was sent.
fn receive(mut peer: Peer) -> Book {
    let mut book = Book::default();
    while let Next::Frame(got) = peer.next() {
        let amount = amount_of(&got.packet);
        let mut answer = Vec::new();
        ilp::put_fulfill(&mut answer, &preimage_of(amount), b"");
        let mut frame = Vec::new();
        m2_codec::btp::put_ilp(&mut frame, FrameType::Response, got.request_id, &answer);
        book.packets += 1;
        book.units += amount;
        if peer.try_send(&frame).is_err() {
            break;
        }
    }
    book
}

fn balance(switch: &Switch, name: &str) -> i128 {
    switch.account(name, "balance").as_str().unwrap().parse().unwrap()
}

/// What the switch listed at its start as recorded and perhaps never delivered, of alice's packets.
fn perhaps_undelivered(switch: &Switch) -> u64 {
    let journal = switch.ask(&json!({ "cmd": "journal" }));
    let listed = &journal["recovered"]["perhaps_undelivered"]["alice"]["value"];
    listed.as_str().map_or(0, |value| value.parse().unwrap())
}

struct Round {
    paid: Book,
    earned: Book,
    recovered: i128,
    listed: u64,
}

/// One life: both ends pay and earn until the switch is killed; then it is started again, with another
/// number of shards.
fn live_and_die(switch: &mut Switch, numbers: &AtomicU64, round: u64) -> Round {
    let life = Duration::from_micros(round * 7919 % 20_000);
    switch.set_shards([2, 3, 1][usize::try_from(round % 3).unwrap()]);
    let before = balance(switch, "alice");
    let (alice, bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    let (paid, earned) = thread::scope(|scope| {
        let earning = scope.spawn(|| receive(bob));
        let paying = scope.spawn(|| send(alice, numbers));
        thread::sleep(life);
        switch.kill_and_restart();
        (paying.join().unwrap(), earning.join().unwrap())
    });
    let after = balance(switch, "alice");
    assert_eq!(after, -balance(switch, "bob"), "both legs or neither");
    Round { paid, earned, recovered: after - before, listed: perhaps_undelivered(switch) }
}

fn tables(durability: &str) -> String {
    let durability = format!("name = \"alice\"\ndurability = \"{durability}\"");
    let wide = ACCOUNTS.replace("1000000000", "1000000000000000");
    wide.replace("name = \"alice\"", &durability)
}

#[test]
fn a_sync_debt_that_was_acknowledged_outlives_every_kill() {
    let mut switch = Switch::start_with("", "", &tables("sync"));
    let numbers = AtomicU64::new(1);
    let mut packets = 0;
    for round in 0..ROUNDS {
        let Round { paid, earned, recovered, listed } = live_and_die(&mut switch, &numbers, round);
        let told = format!("round {round}: {paid:?}, {earned:?}, {recovered}, {listed} listed");
        assert!(recovered >= i128::from(paid.units), "a debt was forgotten: {told}");
        assert!(recovered <= i128::from(earned.units), "a debt was made up: {told}");
        let unseen = recovered - i128::from(paid.units);
        assert!(unseen <= i128::from(listed), "a difference is not listed: {told}");
        packets += paid.packets;
    }
    assert!(packets > 50 * ROUNDS, "the switch was under load: {packets} packets");
}

#[test]
fn async_debts_are_lost_within_their_bound_alone() {
    let mut switch = Switch::start_with("", "", &tables("async"));
    let numbers = AtomicU64::new(1);
    for round in 0..ROUNDS / 4 {
        let Round { paid, earned, recovered, .. } = live_and_die(&mut switch, &numbers, round);
        assert!(recovered <= i128::from(earned.units), "a debt was made up in round {round}");
        let lost = i128::from(paid.units) - recovered;
        // async_bytes by default: 16,384 records, none of more units than the last.
        let bound = 16_384 * i128::from(numbers.load(Ordering::Relaxed));
        assert!(lost <= bound, "{lost} lost in round {round}");
    }
}

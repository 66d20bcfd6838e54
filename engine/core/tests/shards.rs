//! Two halves on two shards: what one shard does alone, several do together, whatever waits in the
//! rings between them.

mod support;

use m2_codec::ilp::ErrorCode;
use m2_core::ledger::Words;
use m2_core::{AccountId, ConnectionId, Limits, PairRecord, Record, ResponseBody, Rings};
use support::*;

fn two() -> Shards {
    Shards::new(&config(), &[(USD, limits()), (XRP, limits())])
}

/// A PREPARE of Alice to Bob that has left: the id it left with.
fn forwarded(shards: &mut Shards, amount: u64) -> u32 {
    let packet = prepare("test.bob", amount, PREIMAGE, shards.now.utc_ms + 10_000);
    shards.request(Shards::link(ALICE), 41, packet);
    shards.carry_forwards();
    match shards.sent()[..] {
        [Sent::Prepare { to, id, .. }] if to == Shards::link(BOB) => id,
        ref sent => panic!("not forwarded: {sent:?}"),
    }
}

fn held_in(amount: i128) -> Words {
    Words { held_in: amount, ..Words::default() }
}

fn held_out(amount: i128) -> Words {
    Words { held_out: amount, ..Words::default() }
}

#[test]
fn money_is_held_from_the_first_half_to_the_last() {
    let mut shards = two();
    shards.request(Shards::link(ALICE), 41, usual("test.bob", 10));
    assert_eq!(shards.words(), [held_in(10), Words::default()], "in a Forward");
    let in_flight = |shards: &Shards| [0, 1].map(|at| shards.switches[at].in_flight());
    assert_eq!(in_flight(&shards), [1, 0]);
    let (_, forward, _) = &shards.egress[0].forwards[0];
    assert_eq!((forward.account_in(), forward.amount_in()), (ALICE, 10));
    assert_eq!((forward.account_out(), forward.amount_out()), (BOB, 25));

    shards.carry_forwards();
    assert_eq!(shards.words(), [held_in(10), held_out(25)], "in a slot");
    assert_eq!(in_flight(&shards), [1, 0], "counted once");
    let sums = shards.switches[1].slot_sums();
    assert_eq!((sums[0].count_in, sums[0].amount_in), (1, 10));
    assert_eq!((sums[1].count_out, sums[1].amount_out), (1, 25));
    let [Sent::Prepare { to, id, packet }] = &shards.sent()[..] else { panic!("one PREPARE") };
    assert_eq!(*to, Shards::link(BOB));
    assert_eq!(read_prepare(packet).amount(), 25);

    shards.response(Shards::link(BOB), *id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    let owed = Words { balance: -25, ..Words::default() };
    assert_eq!(shards.words(), [held_in(10), owed], "in an Answer");
    assert_eq!(in_flight(&shards), [1, 0]);
    let (_, answer, _) = &shards.egress[1].answers[0];
    assert_eq!((answer.account_in(), answer.amount_in(), answer.is_fulfilled()), (ALICE, 10, true));

    shards.carry_answers();
    assert_eq!(shards.words(), [Words { balance: 10, ..Words::default() }, owed]);
    assert_eq!(in_flight(&shards), [0, 0]);
    let wanted = Sent::Answer { to: Shards::link(ALICE), id: 41, packet: fulfill(PREIMAGE) };
    assert_eq!(shards.sent(), [wanted]);
    let mut records = Vec::new();
    shards
        .switches
        .iter_mut()
        .for_each(|switch| switch.drain_records(usize::MAX, |one| records.push(one)));
    let [Record::Pair(PairRecord { account_in, account_out, amount_in, amount_out, .. })] =
        records[..]
    else {
        panic!("one record for both legs: {records:?}");
    };
    assert_eq!((account_in, amount_in, account_out, amount_out), (ALICE, 10, BOB, 25));
}

#[test]
fn however_a_packet_fails_both_holds_are_released_and_its_sender_hears_why() {
    type End = fn(&mut Shards, u32);
    let ends: [(End, ErrorCode); 5] = [
        (
            |shards, id| {
                let bytes = reject(ErrorCode::F99_APPLICATION_ERROR);
                shards.response(Shards::link(BOB), id, ResponseBody::Packet(&bytes));
            },
            ErrorCode::F99_APPLICATION_ERROR,
        ),
        (
            |shards, id| {
                let bytes = fulfill([1; 32]);
                shards.response(Shards::link(BOB), id, ResponseBody::Packet(&bytes));
            },
            ErrorCode::F05_WRONG_CONDITION,
        ),
        (
            |shards, _| {
                shards.advance_ms(9_000);
                shards.tick();
            },
            ErrorCode::R00_TRANSFER_TIMED_OUT,
        ),
        (
            |shards, id| {
                let egress = &mut shards.egress[1];
                shards.switches[1].unsent(shards.now, Shards::link(BOB), id, egress);
            },
            ErrorCode::T01_PEER_UNREACHABLE,
        ),
        (
            |shards, id| shards.response(Shards::link(BOB), id, ResponseBody::Empty),
            ErrorCode::T01_PEER_UNREACHABLE,
        ),
    ];
    let mut shards = two();
    for (end, code) in ends {
        let id = forwarded(&mut shards, 10);
        end(&mut shards, id);
        assert_eq!(shards.words()[1], Words::default());
        assert_eq!(shards.words()[0], held_in(10), "until the Answer is taken");
        shards.carry_answers();
        assert_eq!(only_reject(&shards.sent(), Shards::link(ALICE), 41).code, code);
        assert_eq!(shards.words(), [Words::default(); 2]);
    }
}

#[test]
fn a_refusal_of_the_other_shard_comes_back_to_the_sender() {
    let mut shards = two();
    shards.switches[1].link_down(Shards::link(BOB));
    shards.request(Shards::link(ALICE), 41, usual("test.bob", 10));
    shards.carry();
    let seen = only_reject(&shards.sent(), Shards::link(ALICE), 41);
    assert_eq!((seen.code, &seen.triggered_by[..]), (ErrorCode::T01_PEER_UNREACHABLE, OWN_ADDRESS));
    assert_eq!(shards.words(), [Words::default(); 2]);
}

#[test]
fn a_reject_passes_from_shard_to_shard_byte_for_byte() {
    let mut shards = two();
    let id = forwarded(&mut shards, 10);
    let bytes = reject(ErrorCode::F99_APPLICATION_ERROR);
    shards.response(Shards::link(BOB), id, ResponseBody::Packet(&bytes));
    shards.carry_answers();
    let wanted = Sent::Answer { to: Shards::link(ALICE), id: 41, packet: bytes };
    assert_eq!(shards.sent(), [wanted]);
}

#[test]
fn full_rings_refuse_before_anything_is_held() {
    let rings = Rings { answers: 2, ..Rings::for_slots(64) };
    let config = m2_core::SwitchConfig { rings, ..config() };
    let mut shards = Shards::new(&config, &[(USD, limits()), (XRP, limits())]);
    shards.egress[0].forwards_max = 0;
    shards.request(Shards::link(ALICE), 41, usual("test.bob", 10));
    let seen = only_reject(&shards.sent(), Shards::link(ALICE), 41);
    assert_eq!(
        (seen.code, &seen.message[..]),
        (ErrorCode::T03_CONNECTOR_BUSY, "connector is busy.")
    );
    assert_eq!(shards.words(), [Words::default(); 2]);

    shards.egress[0].forwards_max = 64;
    let first = forwarded(&mut shards, 10);
    let _second = forwarded(&mut shards, 10);
    let third = |shards: &mut Shards| {
        shards.request(Shards::link(ALICE), 41, usual("test.bob", 10));
        shards.sent()
    };
    let seen = only_reject(&third(&mut shards), Shards::link(ALICE), 41);
    assert_eq!(seen.message, "connector is busy with answers.");
    assert_eq!(shards.words()[0], held_in(20));
    // A place is free when its answer is taken, not when it is given.
    shards.response(Shards::link(BOB), first, ResponseBody::Packet(&fulfill(PREIMAGE)));
    let seen = only_reject(&third(&mut shards), Shards::link(ALICE), 41);
    assert_eq!(seen.message, "connector is busy with answers.");
    shards.carry_answers();
    shards.sent();
    assert_eq!(third(&mut shards), [], "a Forward has left");
}

#[test]
fn a_full_ring_toward_one_shard_stops_no_packet_to_another() {
    let rings = Rings { answers: 1, ..Rings::for_slots(64) };
    let config = m2_core::SwitchConfig { rings, ..config() };
    let mut shards = Shards::new(&config, &[(USD, limits()), (XRP, limits()), (USD, limits())]);
    let _ = forwarded(&mut shards, 10);
    shards.request(Shards::link(ALICE), 42, usual("test.carol", 10));
    shards.carry_forwards();
    assert!(matches!(shards.sent()[..], [Sent::Prepare { to, .. }] if to == Shards::link(CAROL)));
}

#[test]
fn the_rates_of_the_shard_that_took_the_packet_hold() {
    let mut shards = two();
    shards.switches[0].set_rates(rates(2));
    // 7/2 of 11 is 38 and a half; the next hop's shard still has 5/2.
    let id = forwarded(&mut shards, 11);
    shards.switches[0].set_rates(rates(3));
    shards.response(Shards::link(BOB), id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    shards.carry_answers();
    assert_eq!(shards.words()[1].balance, -38);
    let total = shards.switches[0].pair_total(USD, XRP);
    assert_eq!((total.amount_in, total.amount_out, total.fractions_dropped), (11, 38, 1));
    assert_eq!(shards.switches[1].pair_total(USD, XRP), nothing_moved());
}

fn nothing_moved() -> m2_core::PairTotal {
    m2_core::PairTotal { remainder_den: 2, ..m2_core::PairTotal::default() }
}

#[test]
fn an_answer_that_waited_between_shards_goes_to_no_newer_connection() {
    let mut shards = two();
    let id = forwarded(&mut shards, 10);
    shards.response(Shards::link(BOB), id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    shards.switches[0].link_down(Shards::link(ALICE));
    shards.switches[0].link_up(ALICE);
    shards.carry_answers();
    assert_eq!(shards.sent(), []);
    assert_eq!(shards.words()[0].balance, 10);
    assert_eq!(shards.switches[0].counters().undelivered_fulfills, 1);
}

#[test]
fn an_echo_goes_through_the_shard_of_its_source() {
    let mut shards = two();
    let data = [b"ECHOECHOECHOECHO\0\x08".as_slice(), b"test.bob"].concat();
    let packet = prepare_with_data(OWN_ADDRESS, 10, PREIMAGE, START.utc_ms + 10_000, &data);
    shards.request(Shards::link(ALICE), 41, packet);
    shards.carry_forwards();
    let [Sent::Prepare { to, packet, .. }] = &shards.sent()[..] else { panic!("one PREPARE") };
    assert_eq!(*to, Shards::link(BOB));
    let echoed = read_prepare(packet);
    assert_eq!((echoed.destination(), echoed.amount()), (&b"test.bob"[..], 25));
    assert_eq!(echoed.data(), b"ECHOECHOECHOECHO\x01");
}

#[test]
#[should_panic = "an account is touched on its own shard"]
fn a_ledger_cannot_be_touched_on_another_shard() {
    let _ = two().switches[1].credit(START, ALICE, m2_core::Key([1; 16]), 5);
}

/// Steps of a linear congruential generator (Knuth, MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        let mixed = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = mixed.wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let count = u32::try_from(of.len()).expect("short lists");
        of[self.below(count) as usize]
    }
}

/// Goal: two halves on two shards decide as on one. Method: 2,000 histories of 60 steps on both, with
/// rings that are emptied after each step; what leaves, but for ids, and every word must be equal.
#[test]
fn one_shard_and_several_decide_alike() {
    let small = Limits { balance_max: 150, payable_max: 300, in_flight_packets_max: 6, ..limits() };
    let accounts = [(USD, small), (XRP, small), (USD, small)];
    let mut fulfilled = 0;
    for seed in 0..2_000 {
        let mut dice = Dice(seed);
        let mut one = World::with(config(), &accounts);
        let mut many = Shards::new(&config(), &accounts);
        // Where each forwarded packet went, with its id on either side.
        let mut left: Vec<(ConnectionId, u32, u32)> = Vec::new();
        for _ in 0..60 {
            let sent = step(&mut dice, &mut one, &mut many, &left);
            for pair in sent {
                left.extend(same_but_for_ids(pair));
            }
            assert_eq!(one.words(), many.words(), "seed {seed}");
        }
        fulfilled += one.switch.counters().pairs_fulfilled;
    }
    assert!(fulfilled > 3_000, "{fulfilled} fulfilled");
}

/// One step on both; what left, side by side.
fn step(
    dice: &mut Dice,
    one: &mut World,
    many: &mut Shards,
    left: &[(ConnectionId, u32, u32)],
) -> Vec<(Sent, Sent)> {
    let account = AccountId(dice.below(3));
    let link = Shards::link(account);
    let sent = match dice.below(10) {
        0..4 => {
            let to = dice.pick(&["test.alice", "test.bob", "test.carol", "test.nobody"]);
            let amount = dice.pick(&[0, 1, 7, 20, 60, u64::MAX]);
            let expires_at_ms = one.now.utc_ms + dice.pick(&[900, 1_999, 2_000, 9_000]);
            let packet = prepare(to, amount, PREIMAGE, expires_at_ms);
            many.request(link, 5, packet.clone());
            one.request(link, 5, packet)
        }
        4..9 if !left.is_empty() => {
            let (to, id_one, id_many) = dice.pick(&left[left.len().saturating_sub(6)..]);
            let packet = match dice.below(4) {
                0 => reject(ErrorCode::F99_APPLICATION_ERROR),
                1 => fulfill([1; 32]),
                _ => fulfill(PREIMAGE),
            };
            many.response(to, id_many, ResponseBody::Packet(&packet));
            one.response(to, id_one, ResponseBody::Packet(&packet))
        }
        _ => {
            let ms = dice.below(1_500).into();
            one.advance_ms(ms);
            many.advance_ms(ms);
            many.tick();
            one.tick()
        }
    };
    many.carry();
    let mut sent = sent;
    let mut sent_many = many.sent();
    let key = |sent: &Sent| match sent {
        Sent::Prepare { to, packet, .. } => (0, to.account, 0, packet.clone()),
        Sent::Answer { to, id, packet } => (1, to.account, *id, packet.clone()),
    };
    sent.sort_by_key(key);
    sent_many.sort_by_key(key);
    assert_eq!(sent.len(), sent_many.len(), "{sent:?} {sent_many:?}");
    sent.into_iter().zip(sent_many).collect()
}

/// Both are one packet; a PREPARE's connection and ids.
fn same_but_for_ids(pair: (Sent, Sent)) -> Option<(ConnectionId, u32, u32)> {
    match pair {
        (
            Sent::Prepare { to, id: id_one, packet },
            Sent::Prepare { to: to_many, id: id_many, packet: packet_many },
        ) => {
            assert_eq!((to, packet), (to_many, packet_many));
            Some((to, id_one, id_many))
        }
        (one, many) => {
            assert_eq!(one, many);
            None
        }
    }
}

//! Credits, reversals, frozen amounts and limits: what is told twice counts once, what cannot be
//! recorded does not happen, and a shard begins again where an image of it was taken.

mod support;

use m2_core::ledger::Words;
use m2_core::{
    AccountId, Key, KeyError, KeyKind, KeyOutcome, KeyRecord, KeyState, LimitsRecord, MoneyRecord,
    NoRecord, Record, ResponseBody, Switch, SwitchConfig,
};
use support::*;

const KEY: Key = Key([7; 16]);
const OTHER: Key = Key([8; 16]);

fn records(switch: &mut Switch) -> Vec<Record> {
    let mut records = Vec::new();
    switch.drain_records(usize::MAX, |record| records.push(record));
    records
}

fn state(account: AccountId, amount: u128, kind: KeyKind) -> KeyState {
    KeyState { account, amount, kind }
}

/// A PREPARE of `amount` from Alice to Bob that was fulfilled: we owe Bob 5/2 of it.
fn paid(world: &mut World, amount: u64) {
    let (bob, id, _) = world.forwarded(ALICE, usual("test.bob", amount));
    world.response(bob, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
}

#[test]
fn a_credit_told_twice_counts_once_and_leaves_one_record() {
    let mut world = World::new();
    paid(&mut world, 10);
    records(&mut world.switch);
    let now = world.now;
    let credit = |world: &mut World, amount| world.switch.credit(now, ALICE, KEY, amount);
    assert_eq!(credit(&mut world, 30), Ok(KeyOutcome::New));
    assert_eq!(world.words()[0], Words { prepaid: 20, ..Words::default() });
    assert_eq!(credit(&mut world, 30), Ok(KeyOutcome::Known));
    assert_eq!(world.words()[0], Words { prepaid: 20, ..Words::default() });
    let record = MoneyRecord {
        account: ALICE,
        key: KEY,
        amount: 30,
        at_ms: now.utc_ms,
        applied: [1].into(),
    };
    assert_eq!(records(&mut world.switch), [Record::Credited(record)]);
}

#[test]
fn a_key_stands_for_one_thing_alone() {
    let mut world = World::new();
    let now = world.now;
    let switch = &mut world.switch;
    assert_eq!(switch.credit(now, ALICE, KEY, 30), Ok(KeyOutcome::New));
    let differs = KeyError::Differs { known: state(ALICE, 30, KeyKind::Credited) };
    assert_eq!(switch.credit(now, ALICE, KEY, 31), Err(differs));
    assert_eq!(switch.credit(now, CAROL, KEY, 30), Err(differs));
    assert_eq!(switch.reverse(now, ALICE, KEY, 30), Err(differs));
    assert_eq!(switch.freeze(now, ALICE, KEY, 1, 0), Err(differs));
    assert_eq!(switch.settled(now, KEY), Err(differs));
    assert_eq!(switch.cancelled(now, KEY), Err(differs));
    assert_eq!(switch.settled(now, OTHER), Err(KeyError::Unknown));
    assert_eq!(records(switch).len(), 1);
    assert_eq!(world.words()[0], Words { prepaid: 30, ..Words::default() });
    assert_eq!(world.words()[2], Words::default());
    assert!(differs.to_string().contains("30 units of account 0"));
}

#[test]
fn a_frozen_amount_ends_once() {
    let mut world = World::new();
    paid(&mut world, 100);
    let now = world.now;
    let switch = &mut world.switch;
    records(switch);
    assert_eq!(switch.freeze(now, BOB, KEY, 251, 50), Ok(None));
    assert_eq!(switch.freeze(now, BOB, KEY, 250, 50), Ok(Some(200)));
    assert_eq!(switch.freeze(now, BOB, KEY, 1, 0), Ok(Some(200)), "the amount of this key");
    assert_eq!(switch.freeze(now, BOB, OTHER, 50, 0), Ok(Some(50)));
    assert_eq!(switch.settled(now, KEY), Ok(KeyOutcome::New));
    assert_eq!(switch.settled(now, KEY), Ok(KeyOutcome::Known));
    let differs = KeyError::Differs { known: state(BOB, 200, KeyKind::Settled) };
    assert_eq!(switch.cancelled(now, KEY), Err(differs));
    assert_eq!(switch.freeze(now, BOB, KEY, 1, 0), Err(differs));
    assert_eq!(switch.cancelled(now, OTHER), Ok(KeyOutcome::New));
    assert_eq!(switch.cancelled(now, OTHER), Ok(KeyOutcome::Known));
    let record = |key, amount| KeyRecord { account: BOB, key, amount, at_ms: now.utc_ms };
    assert_eq!(
        records(switch),
        [
            Record::Frozen(record(KEY, 200)),
            Record::Frozen(record(OTHER, 50)),
            Record::Settled(record(KEY, 200)),
            Record::Cancelled(record(OTHER, 50)),
        ]
    );
    assert_eq!(world.words()[1], Words { balance: -50, ..Words::default() });
}

#[test]
fn without_room_for_a_record_nothing_changes() {
    let rings = m2_core::Rings { records: 1, ..m2_core::Rings::for_slots(64) };
    let mut world = World::with(
        SwitchConfig { rings, ..config() },
        &[(USD, limits()), (XRP, limits()), (USD, limits())],
    );
    let now = world.now;
    paid(&mut world, 100);
    records(&mut world.switch);
    assert_eq!(world.switch.freeze(now, BOB, KEY, 250, 100), Ok(Some(150)));
    let image = world.switch.image();
    let switch = &mut world.switch;
    assert_eq!(switch.credit(now, ALICE, OTHER, 30), Err(KeyError::NoRecord));
    assert_eq!(switch.reverse(now, ALICE, OTHER, 30), Err(KeyError::NoRecord));
    assert_eq!(switch.freeze(now, BOB, OTHER, 1, 0), Err(KeyError::NoRecord));
    assert_eq!(switch.settled(now, KEY), Err(KeyError::NoRecord));
    assert_eq!(switch.cancelled(now, KEY), Err(KeyError::NoRecord));
    assert_eq!(switch.set_limits(now, ALICE, 1, 2), Err(NoRecord));
    assert_eq!(switch.image(), image, "no word, no key, no limit");
    records(switch);
    assert_eq!(switch.settled(now, KEY), Ok(KeyOutcome::New));
}

#[test]
fn new_limits_leave_a_record() {
    let mut world = World::new();
    let now = world.now;
    world.switch.set_limits(now, BOB, 3, 4).unwrap();
    let at_ms = now.utc_ms;
    let record = LimitsRecord { account: BOB, balance_max: 3, payable_max: 4, at_ms };
    assert_eq!(records(&mut world.switch), [Record::Limits(record)]);
    let image = world.switch.image();
    assert_eq!((image.accounts[1].balance_max, image.accounts[1].payable_max), (3, 4));
}

#[test]
fn records_are_taken_out_a_few_at_a_time_and_the_rest_keep_their_places() {
    let rings = m2_core::Rings { records: 3, ..m2_core::Rings::for_slots(64) };
    let accounts = [(USD, limits()), (XRP, limits())];
    let mut world = World::with(SwitchConfig { rings, ..config() }, &accounts);
    for _ in 0..3 {
        paid(&mut world, 10);
    }
    let mut seen = Vec::new();
    world.switch.drain_records(2, |record| seen.push(record));
    assert_eq!((seen.len(), world.switch.positions().appended), (2, 3));
    paid(&mut world, 10);
    paid(&mut world, 10);
    let refused = world.refused(ALICE, usual("test.bob", 10));
    assert_eq!(refused.message, "connector is busy with records.");
    world.switch.drain_records(usize::MAX, |record| seen.push(record));
    assert_eq!((seen.len(), world.switch.positions().appended), (5, 5));
}

#[test]
fn a_switch_that_was_restored_has_what_its_image_had() {
    let mut world = World::new();
    paid(&mut world, 100);
    world.credit(ALICE, 130);
    let now = world.now;
    assert_eq!(world.switch.freeze(now, BOB, KEY, 200, 20), Ok(Some(230)));
    // What is held survives no restart.
    world.forwarded(ALICE, usual("test.bob", 10));
    let before = world.switch.image();
    assert_eq!(before.accounts[0].words, Words { prepaid: 30, ..Words::default() });
    let bob = Words { balance: -20, frozen: 230, ..Words::default() };
    assert_eq!(before.accounts[1].words, bob);
    assert_eq!((before.appended, &before.applied[..]), (3, &[1][..]));

    let mut again = World::new();
    for account in &before.accounts {
        again.switch.restore(account.account, account.words);
    }
    for (key, state) in &before.keys {
        again.switch.restore_key(*key, *state);
    }
    let after = again.switch.image();
    assert_eq!((&after.accounts, &after.keys), (&before.accounts, &before.keys));
    assert_eq!((after.appended, &after.applied[..]), (0, &[0][..]), "a generation of its own");
    let (key, credited) = before.keys[0];
    let amount = u64::try_from(credited.amount).unwrap();
    assert_eq!(again.switch.credit(now, ALICE, key, amount), Ok(KeyOutcome::Known));
    assert_eq!(again.switch.settled(now, KEY), Ok(KeyOutcome::New));
    assert_eq!(again.words()[1], Words { balance: -20, ..Words::default() });
}

#[test]
#[should_panic = "a switch is restored before it takes a packet"]
fn a_switch_that_has_begun_cannot_be_restored() {
    let mut world = World::new();
    world.forwarded(ALICE, usual("test.bob", 10));
    world.switch.restore(ALICE, Words::default());
}

#[test]
#[should_panic = "no hold survives a restart"]
fn what_was_held_cannot_be_restored() {
    World::new().switch.restore(ALICE, Words { held_in: 1, ..Words::default() });
}

/// Goal: an image is of one moment, and says which. Method: an `Answer` between two shards is in one
/// leg's words and not in the other's; positions tell.
#[test]
fn positions_tell_which_legs_an_image_has() {
    let mut shards = Shards::new(&config(), &[(USD, limits()), (XRP, limits())]);
    shards.request(Shards::link(ALICE), 41, usual("test.bob", 10));
    shards.carry_forwards();
    let [Sent::Prepare { id, .. }] = shards.sent()[..] else { panic!("one PREPARE leaves") };
    shards.response(Shards::link(BOB), id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    let [alice, bob] = [0, 1].map(|shard| shards.switches[shard].image());
    assert_eq!((alice.appended, &alice.applied[..]), (0, &[0, 0][..]));
    assert_eq!((bob.appended, &bob.applied[..]), (1, &[0, 0][..]));
    assert_eq!((alice.accounts.len(), bob.accounts.len()), (1, 1));
    assert_eq!(alice.accounts[0].words, Words::default());
    assert_eq!(bob.accounts[0].words, Words { balance: -25, ..Words::default() });

    shards.carry_answers();
    let alice = shards.switches[0].image();
    assert_eq!((alice.appended, &alice.applied[..]), (0, &[0, 1][..]));
    assert_eq!(alice.accounts[0].words, Words { balance: 10, ..Words::default() });
    let now = shards.now;
    shards.switches[0].credit(now, ALICE, KEY, 4).unwrap();
    let record = MoneyRecord {
        account: ALICE,
        key: KEY,
        amount: 4,
        at_ms: now.utc_ms,
        applied: [0, 1].into(),
    };
    assert_eq!(records(&mut shards.switches[0]), [Record::Credited(record)]);
}

#[test]
fn a_shard_without_accounts_has_a_stream_all_the_same() {
    let config = SwitchConfig { shards: 3, ..config() };
    let mut world = World::with(config, &[(USD, limits()), (XRP, limits())]);
    let now = world.now;
    world.switch.credit(now, ALICE, KEY, 30).unwrap();
    let [Record::Credited(record)] = &records(&mut world.switch)[..] else { panic!("a credit") };
    assert_eq!(*record.applied, [0; 3]);
    assert_eq!(world.switch.image().applied, [0; 3]);
    assert_eq!(world.switch.positions().given, [0; 3]);
    world.switch.durable(m2_core::ShardId(2), 7, &mut world.egress);
}

//! Credits, reversals, frozen amounts and limits: what is told twice counts once, what cannot be
//! recorded does not happen, and a shard begins again where an image of it was taken.

mod support;

use m2_core::ledger::Words;
use m2_core::{
    AccountId, Intent, Key, KeyError, KeyKind, KeyNews, KeyOutcome, KeyRecord, KeyState,
    LimitsRecord, MoneyRecord, NoRecord, Record, ResponseBody, Settle, Switch, SwitchConfig,
};
use support::*;

const KEY: Key = Key([7; 16]);
const OTHER: Key = Key([8; 16]);

fn records(switch: &mut Switch) -> Vec<Record> {
    let mut records = Vec::new();
    switch.drain_records(usize::MAX, |record| records.push(record));
    records
}

fn news(switch: &mut Switch) -> Vec<KeyNews> {
    let mut all = Vec::new();
    switch.drain_key_news(|one| all.push(one));
    all
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
    let outstanding = KeyError::Outstanding { amount: 200 };
    assert_eq!(switch.freeze(now, BOB, OTHER, 50, 0), Err(outstanding), "one at a time");
    assert_eq!(switch.settled(now, KEY), Ok(KeyOutcome::New));
    assert_eq!(switch.freeze(now, BOB, OTHER, 50, 0), Ok(Some(50)));
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
            Record::Settled(record(KEY, 200)),
            Record::Frozen(record(OTHER, 50)),
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
    world.switch.drain_key_news(drop);
    let image = world.switch.image();
    let switch = &mut world.switch;
    assert_eq!(switch.credit(now, ALICE, OTHER, 30), Err(KeyError::NoRecord));
    assert_eq!(switch.reverse(now, ALICE, OTHER, 30), Err(KeyError::NoRecord));
    assert_eq!(switch.settled(now, KEY), Err(KeyError::NoRecord));
    assert_eq!(switch.cancelled(now, KEY), Err(KeyError::NoRecord));
    assert_eq!(switch.set_limits(now, ALICE, 1, 2), Err(NoRecord));
    assert_eq!(switch.image(), image, "no word, no key, no limit");
    assert_eq!(news(switch), []);
    records(switch);
    assert_eq!(switch.settled(now, KEY), Ok(KeyOutcome::New));
    let image = switch.image();
    assert_eq!(switch.freeze(now, BOB, OTHER, 1, 0), Err(KeyError::NoRecord));
    assert_eq!(switch.image(), image);
    assert_eq!(news(switch), [KeyNews::Ended(KEY)]);
}

/// Bob is paid by itself.
fn settling(rings: m2_core::Rings, settle: Settle) -> World {
    let accounts = [(USD, limits(), None), (XRP, limits(), Some(settle)), (USD, limits(), None)];
    World::settling(SwitchConfig { rings, ..config() }, &accounts)
}

/// Freezes what is due under keys of a number that counts up.
fn freeze_due(world: &mut World) -> Vec<KeyNews> {
    world.switch.drain_key_news(drop);
    let now = world.now;
    let (keys, switch) = (&mut world.keys, &mut world.switch);
    switch.freeze_due(now, || {
        *keys += 1;
        Key([*keys; 16])
    });
    news(switch)
}

const SETTLE: Settle = Settle { threshold: 250, to: 50 };

#[test]
fn at_the_threshold_what_is_beyond_the_goal_is_frozen_under_a_key_of_its_own() {
    let mut world = settling(m2_core::Rings::for_slots(64), SETTLE);
    // 5 for 2: 247 are owed after this.
    paid(&mut world, 99);
    assert!(!world.switch.has_due());
    assert_eq!(freeze_due(&mut world), []);
    assert_eq!(world.words()[1], Words { balance: -247, ..Words::default() });
    paid(&mut world, 2);
    assert!(world.switch.has_due());
    let [KeyNews::Frozen(intent)] = &freeze_due(&mut world)[..] else { panic!("one is frozen") };
    assert_eq!((intent.account, intent.amount, &intent.rests_on[..]), (BOB, 202, &[3][..]));
    assert_eq!(world.words()[1], Words { balance: -50, frozen: 202, ..Words::default() });
    let record = KeyRecord { account: BOB, key: intent.key, amount: 202, at_ms: world.now.utc_ms };
    assert_eq!(records(&mut world.switch).pop(), Some(Record::Frozen(record)));
    assert!(!world.switch.has_due());
}

#[test]
fn one_amount_is_outstanding_and_its_end_lets_the_next_be_frozen() {
    let mut world = settling(m2_core::Rings::for_slots(64), SETTLE);
    paid(&mut world, 100);
    let [KeyNews::Frozen(first)] = &freeze_due(&mut world)[..] else { panic!("one is frozen") };
    paid(&mut world, 100);
    assert!(!world.switch.has_due(), "another is being paid");
    assert_eq!(freeze_due(&mut world), []);
    assert_eq!(world.words()[1], Words { balance: -300, frozen: 200, ..Words::default() });
    world.switch.settled(world.now, first.key).unwrap();
    let [KeyNews::Frozen(second)] = &freeze_due(&mut world)[..] else { panic!("one is frozen") };
    assert_eq!(second.amount, 250);
    // What is owed again is due again.
    world.switch.cancelled(world.now, second.key).unwrap();
    let [KeyNews::Frozen(third)] = &freeze_due(&mut world)[..] else { panic!("one is frozen") };
    assert!(third.amount == 250 && third.key != second.key);
}

#[test]
fn what_finds_no_room_stays_due() {
    let mut world =
        settling(m2_core::Rings { records: 1, ..m2_core::Rings::for_slots(64) }, SETTLE);
    paid(&mut world, 100);
    let image = world.switch.image();
    assert_eq!(freeze_due(&mut world), []);
    assert_eq!(world.switch.image(), image, "its pair's record has the only place");
    assert!(world.switch.has_due());
    records(&mut world.switch);
    assert_eq!(freeze_due(&mut world).len(), 1);
    assert!(!world.switch.has_due());
}

#[test]
fn what_is_owed_less_by_then_is_not_frozen() {
    let mut world = settling(m2_core::Rings::for_slots(64), SETTLE);
    paid(&mut world, 100);
    // Bob sends us as much as we owe it.
    let (alice, id, _) = world.forwarded(BOB, usual("test.alice", 5));
    world.response(alice, id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    assert!(world.switch.has_due());
    assert_eq!(freeze_due(&mut world), []);
    assert!(!world.switch.has_due());
    paid(&mut world, 2);
    assert_eq!(freeze_due(&mut world).len(), 1, "it is noted anew");
}

#[test]
fn a_restart_looks_at_the_threshold() {
    let owed = Words { balance: -250, ..Words::default() };
    let mut world = settling(m2_core::Rings::for_slots(64), SETTLE);
    world.switch.restore(BOB, owed);
    let [KeyNews::Frozen(intent)] = &freeze_due(&mut world)[..] else { panic!("one is frozen") };
    assert_eq!(intent.amount, 200);

    let mut world = settling(m2_core::Rings::for_slots(64), SETTLE);
    world.switch.restore(BOB, Words { frozen: 7, ..owed });
    world.switch.restore_key(KEY, state(BOB, 7, KeyKind::Frozen));
    assert_eq!(freeze_due(&mut world), [], "the one from before is still being paid");
    world.switch.settled(world.now, KEY).unwrap();
    assert_eq!(freeze_due(&mut world).len(), 1);
}

/// Goal: an intent tells every record that it rests on. Method: Alice has an incoming leg in Bob's
/// stream, and of the stream of her own shard nothing but the freeze.
#[test]
fn an_intent_rests_on_its_freeze_and_on_the_legs_that_its_ledger_holds() {
    let mut shards = Shards::new(&config(), &[(USD, limits()), (XRP, limits())]);
    shards.request(Shards::link(ALICE), 41, usual("test.bob", 10));
    shards.carry_forwards();
    let [Sent::Prepare { id, .. }] = shards.sent()[..] else { panic!("one PREPARE leaves") };
    shards.response(Shards::link(BOB), id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    let now = shards.now;
    // Bob's ledger has its own leg, and the record of it stands in its own stream.
    assert_eq!(shards.switches[1].freeze(now, BOB, KEY, 1, 0), Ok(Some(25)));
    let intent =
        |rests_on, amount, account, key| KeyNews::Frozen(Intent { account, key, amount, rests_on });
    let rests_on: Box<[u64]> = [0, 2].into();
    assert_eq!(news(&mut shards.switches[1]), [intent(rests_on, 25, BOB, KEY)]);
    shards.carry_answers();
    shards.request(Shards::link(BOB), 42, usual("test.alice", 100));
    shards.carry_forwards();
    let [.., Sent::Prepare { id, .. }] = shards.sent()[..] else { panic!("one PREPARE leaves") };
    shards.response(Shards::link(ALICE), id, ResponseBody::Packet(&fulfill(PREIMAGE)));
    // Alice owes us 10 for the first, and we owe it 40 for the second.
    assert_eq!(shards.switches[0].freeze(now, ALICE, OTHER, 1, 0), Ok(Some(30)));
    let rests_on: Box<[u64]> = [2, 1].into();
    assert_eq!(news(&mut shards.switches[0]), [intent(rests_on, 30, ALICE, OTHER)]);
}

#[test]
#[should_panic = "a threshold at or below its goal pays for ever"]
fn a_threshold_at_its_goal_is_no_threshold() {
    let _ = settling(m2_core::Rings::for_slots(64), Settle { threshold: 5, to: 5 });
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

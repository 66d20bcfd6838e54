//! Any order of events, against a plain model: a list of packets and five words an account.
//!
//! Goal: no order of PREPARE, FULFILL, REJECT, expiry, wrong fulfillment, foreign or duplicate
//! answer, lost link, credit, reversal, freeze, threshold, changed limit or step of the wall clock makes or
//! loses a unit, passes a limit at a hold, or answers twice. Method: random histories (small
//! amounts, small limits, six slots) run through the switch and through the model; after every
//! event both must have sent the same and have every word the same. The model recomputes what is
//! held from its list each time, and knows positions only as sums of what was fulfilled, credited,
//! reversed and settled. A failing history is shrunk and printed.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../support/mod.rs"]
mod support;

mod history;
mod plain;

use std::collections::{BTreeMap, HashSet};

use history::{ACCOUNTS, Ask, Event, On, Reply, Says, event};
use m2_codec::ilp::{ErrorCode, Fulfill, Reject};
use m2_core::ledger::Words;
use m2_core::{
    AccountId, ConnectionId, Intent, Key, KeyError, KeyNews, KeyOutcome, Limits, NoRecord, Record,
    Request, Response, ResponseBody, Switch,
};
use plain::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use support::*;

/// The switch and its model side by side.
struct Pair {
    world: World,
    model: Model,
    /// Keys told of so far.
    keys: u128,
    /// Key, account, amount.
    frozen: Vec<(Key, usize, i128)>,
    /// Amounts that were frozen as a threshold was reached.
    due_count: u64,
}

impl Pair {
    fn new(reflect: bool) -> Self {
        let mut config = config();
        config.reflect = reflect;
        config.in_flight_slots = SLOTS;
        config.rings = RINGS;
        config.hold_ms_max = u32::try_from(HOLD_MS_MAX).unwrap();
        let limits = Limits {
            balance_max: 120,
            payable_max: 120,
            packet_amount_max: PACKET_AMOUNT_MAX,
            in_flight_packets_max: u32::try_from(IN_FLIGHT_MAX).unwrap(),
            in_flight_value_max: Some(u64::try_from(VALUE_MAX).unwrap()),
            ..limits()
        };
        let accounts = [(USD, None), (XRP, Some(SETTLE[0])), (USD, Some(SETTLE[1])), (XRP, None)];
        let accounts = accounts.map(|(asset, settle)| (asset, limits, settle));
        let world = World::settling(config, &accounts);
        let links = (0..ACCOUNTS).map(|number| Some(world.link(AccountId(number)))).collect();
        let model = Model {
            packets: Vec::new(),
            words: vec![Words::default(); ACCOUNTS as usize],
            positions: vec![0; ACCOUNTS as usize],
            limits: vec![(120, 120); ACCOUNTS as usize],
            links,
            full: HashSet::new(),
            draining: false,
            records_waiting: 0,
            unmatched: 0,
            late: 0,
            undelivered: 0,
            reflect,
            rate_version: 1,
            pairs: BTreeMap::new(),
            now: START,
            next_id: 0,
        };
        Self { world, model, keys: 0, frozen: Vec::new(), due_count: 0 }
    }

    fn step(&mut self, event: &Event) -> Result<(), TestCaseError> {
        self.model.now = self.world.now;
        let expected = match event {
            Event::Prepares(asks) => self.prepares(asks),
            Event::Answers(replies) => self.answers(replies),
            Event::Unsent { nth } => self.unsent(*nth),
            Event::Advance { ms, tick } => self.advance(*ms, *tick),
            other => {
                self.quiet(other);
                Vec::new()
            }
        };
        self.compare_sent(expected, matches!(event, Event::Advance { .. }))?;
        self.world.check_changes();
        self.compare_words()
    }

    fn prepares(&mut self, asks: &[Ask]) -> Vec<Expected> {
        let mut waiting: Vec<Forward> = Vec::new();
        let mut expected = Vec::new();
        let mut packets = Vec::new();
        for ask in asks {
            let Some(from) = self.model.links[ask.from as usize] else { continue };
            self.model.next_id += 1;
            let id = self.model.next_id;
            let preimage = [u8::try_from(id % 251).unwrap(); 32];
            let to = format!("test.{}.x", NAMES[ask.to as usize]);
            let expires_at_ms = self.world.now.utc_ms + ask.expires_in_ms;
            packets.push((from, id, prepare(&to, ask.amount, preimage, expires_at_ms)));
            match self.model.refuses_in(ask, &waiting) {
                Err(code) => expected.push(Expected::Reject { to: key(from), id, code }),
                Ok((amount_out, lasts_ms)) => waiting.push(Forward {
                    from,
                    id_in: id,
                    to: ask.to,
                    amount_in: ask.amount,
                    amount_out,
                    lasts_ms,
                    preimage,
                }),
            }
        }
        let mut refused = Vec::new();
        for forward in waiting {
            match self.model.refuses_out(&forward) {
                Err(code) => {
                    refused.push(Expected::Reject {
                        to: key(forward.from),
                        id: forward.id_in,
                        code,
                    });
                }
                Ok(to) => {
                    expected.push(Expected::Prepare {
                        to: key(to),
                        amount: forward.amount_out,
                        expires_at_ms: self.world.now.utc_ms + forward.lasts_ms,
                        preimage_byte: forward.preimage[0],
                    });
                    self.model.packets.push(Packet {
                        from: forward.from,
                        id_in: forward.id_in,
                        to,
                        id_out: 0,
                        amount_in: forward.amount_in,
                        amount_out: forward.amount_out,
                        rate_version: self.model.rate_version,
                        deadline_ns: self.world.now.mono_ns + forward.lasts_ms * 1_000_000,
                        preimage: forward.preimage,
                        state: State::InFlight,
                    });
                }
            }
        }
        expected.extend(refused);
        let batch: Vec<_> = packets
            .iter()
            .map(|(connection, request_id, packet)| Request {
                connection: *connection,
                request_id: *request_id,
                packet,
            })
            .collect();
        self.world.switch.requests(self.world.now, &batch, &mut self.world.egress);
        // The model learns under which ids the switch sent them on.
        let ids = self.world.egress.sent.iter().filter_map(|sent| match sent {
            Sent::Prepare { id, .. } => Some(*id),
            Sent::Answer { .. } => None,
        });
        let ids: Vec<u32> = ids.collect();
        let first = self.model.packets.len().saturating_sub(ids.len());
        for (packet, id) in self.model.packets[first..].iter_mut().zip(ids) {
            packet.id_out = id;
        }
        expected
    }

    fn answers(&mut self, replies: &[Reply]) -> Vec<Expected> {
        let mut bodies = Vec::new();
        let mut expected = Vec::new();
        for reply in replies {
            let count = self.model.packets.len();
            if count == 0 {
                continue;
            }
            // Mostly the newest, where packets in flight are.
            let nth = count - 1 - reply.nth % count;
            let packet = &self.model.packets[nth];
            let on = match reply.on {
                On::ItsConnection => Some(packet.to),
                On::NewestConnection => self.model.links[packet.to.account.index()],
                On::AnotherAccount => {
                    self.model.links[(packet.to.account.0 as usize + 1) % ACCOUNTS as usize]
                }
            };
            let Some(on) = on else { continue };
            let body = match reply.says {
                Says::Fulfill => fulfill(packet.preimage),
                Says::Reject => reject(ErrorCode::F99_APPLICATION_ERROR),
                Says::WrongFulfill => fulfill([255; 32]),
                Says::Garbage => vec![13, 5],
            };
            bodies.push((on, packet.id_out, body));
            expected.extend(self.model.answer(nth, reply.says, on));
        }
        let batch: Vec<_> = bodies
            .iter()
            .map(|(connection, request_id, body)| Response {
                connection: *connection,
                request_id: *request_id,
                body: ResponseBody::Packet(body),
            })
            .collect();
        self.world.switch.responses(self.world.now, &batch, &mut self.world.egress);
        expected
    }

    fn unsent(&mut self, nth: usize) -> Vec<Expected> {
        let count = self.model.packets.len();
        if count == 0 {
            return Vec::new();
        }
        let nth = count - 1 - nth % count;
        let packet = self.model.packets[nth].clone();
        self.world.switch.unsent(self.world.now, packet.to, packet.id_out, &mut self.world.egress);
        if packet.state != State::InFlight {
            return Vec::new();
        }
        let code = if self.model.now.mono_ns >= packet.deadline_ns {
            ErrorCode::R00_TRANSFER_TIMED_OUT
        } else {
            ErrorCode::T01_PEER_UNREACHABLE
        };
        // Nobody can know the preimage of what never left: no evidence is wanted.
        self.model.end(nth, code, true).into_iter().collect()
    }

    fn advance(&mut self, ms: u64, tick: bool) -> Vec<Expected> {
        self.world.advance_ms(ms);
        self.model.now = self.world.now;
        if !tick {
            return Vec::new();
        }
        self.world.switch.tick(self.world.now, &mut self.world.egress);
        let now_ns = self.world.now.mono_ns;
        let due = |packet: &Packet| packet.state == State::InFlight && packet.deadline_ns <= now_ns;
        let due: Vec<usize> =
            (0..self.model.packets.len()).filter(|nth| due(&self.model.packets[*nth])).collect();
        due.into_iter()
            .filter_map(|nth| self.model.end(nth, ErrorCode::R00_TRANSFER_TIMED_OUT, false))
            .collect()
    }

    /// Events that send nothing.
    fn quiet(&mut self, event: &Event) {
        let (world, model) = (&mut self.world, &mut self.model);
        match *event {
            Event::ClockStep { ms } => {
                world.now.utc_ms = world.now.utc_ms.checked_add_signed(ms).unwrap();
            }
            Event::LinkDown { account } => {
                if let Some(link) = model.links[account as usize].take() {
                    world.switch.link_down(link);
                }
            }
            Event::LinkUp { account } => {
                model.links[account as usize] = Some(world.switch.link_up(AccountId(account)));
            }
            Event::EgressFull { account, full } => {
                if full {
                    model.full.insert(account);
                    world.egress.full.insert(AccountId(account));
                } else {
                    model.full.remove(&account);
                    world.egress.full.remove(&AccountId(account));
                }
            }
            Event::Draining(draining) => {
                model.draining = draining;
                world.switch.set_draining(draining);
            }
            Event::SetLimits { account, balance_max, payable_max } => {
                let has_room = model.has_record_room();
                let (now, account_id) = (world.now, AccountId(account));
                let set = world.switch.set_limits(now, account_id, balance_max, payable_max);
                assert_eq!(set, if has_room { Ok(()) } else { Err(NoRecord) });
                if has_room {
                    model.records_waiting += 1;
                    model.limits[account as usize] = (balance_max.into(), payable_max.into());
                }
            }
            Event::SetRates => {
                model.rate_version += 1;
                world.switch.set_rates(rates(model.rate_version));
            }
            Event::DrainRecords => {
                let mut count = 0;
                world.switch.drain_records(usize::MAX, |_: Record| count += 1);
                assert_eq!(count, model.records_waiting);
                model.records_waiting = 0;
            }
            Event::FreezeDue => self.freeze_due(),
            _ => self.money(event),
        }
    }

    /// Events that move money outside the packet path: each needs a record, and changes nothing if
    /// none is free.
    fn money(&mut self, event: &Event) {
        let has_room = self.model.has_record_room();
        let key = self.new_key();
        let (world, model) = (&mut self.world, &mut self.model);
        let (switch, now) = (&mut world.switch, world.now);
        let wanted = if has_room { Ok(KeyOutcome::New) } else { Err(KeyError::NoRecord) };
        match *event {
            Event::Credit { account, amount } => {
                assert_eq!(switch.credit(now, AccountId(account), key, amount), wanted);
                if has_room {
                    model.records_waiting += 1;
                    let words = &mut model.words[account as usize];
                    let paid = i128::from(amount).min(words.balance.max(0));
                    words.balance -= paid;
                    words.prepaid += i128::from(amount) - paid;
                    model.positions[account as usize] -= i128::from(amount);
                }
            }
            Event::Reverse { account, amount } => {
                assert_eq!(switch.reverse(now, AccountId(account), key, amount), wanted);
                if has_room {
                    model.records_waiting += 1;
                    let words = &mut model.words[account as usize];
                    let undone = i128::from(amount).min(words.prepaid);
                    words.prepaid -= undone;
                    words.balance += i128::from(amount) - undone;
                    model.positions[account as usize] += i128::from(amount);
                }
            }
            Event::Freeze { account, threshold } => {
                let words = &mut model.words[account as usize];
                let goal = threshold / 2;
                let amount = -words.balance - i128::from(goal);
                let is_due = -words.balance >= i128::from(threshold);
                let frozen = switch.freeze(now, AccountId(account), key, threshold, goal);
                let outstanding = words.frozen.unsigned_abs();
                let wanted = match (is_due, has_room) {
                    _ if outstanding > 0 => Err(KeyError::Outstanding { amount: outstanding }),
                    (false, _) => Ok(None),
                    (true, true) => Ok(Some(amount.unsigned_abs())),
                    (true, false) => Err(KeyError::NoRecord),
                };
                assert_eq!(frozen, wanted);
                if frozen.is_ok_and(|frozen| frozen.is_some()) {
                    model.records_waiting += 1;
                    words.balance += amount;
                    words.frozen += amount;
                    self.frozen.push((key, account as usize, amount));
                }
            }
            Event::EndFrozen { nth, settled } if !self.frozen.is_empty() => {
                let nth = nth % self.frozen.len();
                let (key, account, amount) = self.frozen[nth];
                let end = if settled { Switch::settled } else { Switch::cancelled };
                assert_eq!(end(switch, now, key), wanted);
                if has_room {
                    self.frozen.swap_remove(nth);
                    model.records_waiting += 1;
                    model.words[account].frozen -= amount;
                    let to = if settled {
                        &mut model.positions[account]
                    } else {
                        &mut model.words[account].balance
                    };
                    *to += if settled { amount } else { -amount };
                    assert_eq!(end(switch, now, key), Ok(KeyOutcome::Known));
                }
            }
            _ => {}
        }
    }

    /// What has come to a threshold is frozen, as far as there is room, and nothing else is.
    fn freeze_due(&mut self) {
        let Self { world, model, keys, frozen, due_count } = self;
        world.switch.drain_key_news(drop);
        world.switch.freeze_due(world.now, || {
            *keys += 1;
            Key(keys.to_be_bytes())
        });
        world.switch.drain_key_news(|news| {
            let KeyNews::Frozen(Intent { account, key, amount, .. }) = news else {
                panic!("nothing has ended: {news:?}")
            };
            let account = account.0 as usize;
            *due_count += 1;
            assert!(model.has_record_room(), "there was room for its record");
            assert_eq!(model.due(account), Some(amount.cast_signed()));
            model.records_waiting += 1;
            model.words[account].balance += amount.cast_signed();
            model.words[account].frozen += amount.cast_signed();
            frozen.push((key, account, amount.cast_signed()));
        });
        let is_any_due = (0..ACCOUNTS as usize).any(|account| model.due(account).is_some());
        assert!(!is_any_due || !model.has_record_room(), "one that is due was not frozen");
        // Without room nothing is looked at, and one that is due no more stays listed.
        let has_due = world.switch.has_due();
        assert!(has_due == is_any_due || (has_due && !model.has_record_room()));
    }

    fn new_key(&mut self) -> Key {
        self.keys += 1;
        Key(self.keys.to_be_bytes())
    }

    fn compare_sent(
        &mut self,
        mut expected: Vec<Expected>,
        any_order: bool,
    ) -> Result<(), TestCaseError> {
        let sent = std::mem::take(&mut self.world.egress.sent);
        let mut seen: Vec<Expected> = sent.iter().map(seen).collect();
        // The answers have an order of their own, and the PREPAREs; between the two there is none.
        seen.sort_by_key(|sent| matches!(sent, Expected::Prepare { .. }));
        expected.sort_by_key(|sent| matches!(sent, Expected::Prepare { .. }));
        if any_order {
            seen.sort_by_key(|sent| format!("{sent:?}"));
            expected.sort_by_key(|sent| format!("{sent:?}"));
        }
        prop_assert_eq!(seen, expected);
        Ok(())
    }

    fn compare_words(&self) -> Result<(), TestCaseError> {
        let (switch, model) = (&self.world.switch, &self.model);
        let words = self.world.words();
        prop_assert_eq!(&words, &model.words());
        for (account, words) in (0..).zip(&words) {
            prop_assert_eq!(words.position(), model.positions[account as usize]);
            let view = switch.account_view(AccountId(account));
            let flying = |of: fn(&Packet) -> ConnectionId| {
                model.in_flight().filter(|packet| of(packet).account.0 == account).count()
            };
            prop_assert_eq!(view.in_flight_in as usize, flying(|packet| packet.from));
            prop_assert_eq!(view.in_flight_out as usize, flying(|packet| packet.to));
        }
        prop_assert_eq!(switch.in_flight() as usize, model.in_flight().count());
        let counters = switch.counters();
        let unmatched =
            counters.answers_unknown + counters.answers_foreign + counters.answers_duplicate;
        prop_assert_eq!(unmatched, model.unmatched);
        prop_assert_eq!(counters.late_fulfills, model.late);
        prop_assert_eq!(counters.undelivered_fulfills, model.undelivered);
        self.compare_pairs()
    }

    /// What each direction moved, and what rounding kept of it: whole units by version of the rates.
    fn compare_pairs(&self) -> Result<(), TestCaseError> {
        for (direction, (from, to)) in [(USD, XRP), (XRP, USD)].into_iter().enumerate() {
            let (mut amount_in, mut amount_out, mut kept) = (0, 0, 0);
            let of_direction = self.model.pairs.iter().filter(|pair| pair.0.1 == direction);
            for ((version, _), moved) in of_direction {
                let xrp = u128::from(xrp_for_two(*version));
                let (num, den) = if direction == 0 { (xrp, 2) } else { (2, xrp) };
                amount_in += moved.0;
                amount_out += moved.1;
                kept += (moved.0 * num - moved.1 * den) / den;
            }
            let total = self.world.switch.pair_total(from, to);
            prop_assert_eq!((total.amount_in, total.amount_out), (amount_in, amount_out));
            prop_assert_eq!(total.remainder_whole, kept);
        }
        Ok(())
    }
}

/// What was sent, in the model's terms.
fn seen(sent: &Sent) -> Expected {
    match sent {
        Sent::Prepare { to, packet, .. } => {
            let prepare = read_prepare(packet);
            let opens = |byte: &u8| m2_core::sha256_of_32(&[*byte; 32]) == *prepare.condition();
            Expected::Prepare {
                to: key(*to),
                amount: prepare.amount(),
                expires_at_ms: prepare.expires_at_ms(),
                preimage_byte: (0..251).find(opens).expect("a condition of the test's own"),
            }
        }
        Sent::Answer { to, id, packet } => match Fulfill::new_checked(packet) {
            Ok(_) => Expected::Fulfill { to: key(*to), id: *id },
            Err(_) => {
                let code =
                    Reject::new_checked(packet).expect("an answer is one or the other").code();
                Expected::Reject { to: key(*to), id: *id, code }
            }
        },
    }
}

/// Every refusal that these histories can bring about must have been.
const REACHED: &[&str] = &[
    "ExpiredOnArrival",
    "PacketAmount",
    "BackToSender",
    "ConvertedTooSmall",
    "ExpiryTooShort",
    "Draining",
    "CountInFull",
    "ValueInFull",
    "ForwardRingFull",
    "AnswerRingFull",
    "CreditExhausted",
    "LinkDown",
    "EgressBusy",
    "CountOutFull",
    "ValueOutFull",
    "NoSlot",
    "NoRecord",
    "PayableExceeded",
    "WrongFulfillment",
    "MalformedAnswer",
    "NotSent",
    "TimedOut",
];

#[test]
fn any_history_leaves_the_switch_and_the_model_with_the_same_money() {
    let config = Config { cases: 6_000, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let reached = std::cell::RefCell::new(BTreeMap::<&str, u64>::new());
    let histories = (any::<bool>(), prop::collection::vec(event(), 1..120));
    let result = runner.run(&histories, |(reflect, history)| {
        let mut pair = Pair::new(reflect);
        for event in &history {
            pair.step(event)?;
        }
        let mut reached = reached.borrow_mut();
        for (name, _, count) in pair.world.switch.counters().refusals() {
            *reached.entry(name).or_default() += count;
        }
        *reached.entry("frozen by itself").or_default() += pair.due_count;
        let counters = pair.world.switch.counters();
        *reached.entry("fulfilled").or_default() += counters.pairs_fulfilled;
        *reached.entry("late").or_default() += counters.late_fulfills;
        *reached.entry("undelivered").or_default() += counters.undelivered_fulfills;
        *reached.entry("foreign").or_default() += counters.answers_foreign;
        *reached.entry("unknown").or_default() += counters.answers_unknown;
        *reached.entry("duplicate").or_default() += counters.answers_duplicate;
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => panic!("{reason}\nhistory: {history:#?}"),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
    let reached = reached.into_inner();
    println!("{reached:#?}");
    let others =
        ["fulfilled", "late", "undelivered", "foreign", "unknown", "duplicate", "frozen by itself"];
    for name in REACHED.iter().chain(&others) {
        assert!(reached[name] >= 10, "{name} hardly occurred: {}", reached[name]);
    }
}

//! Single rules of the core, each with as few events as it takes: what the simulation comes to only by chance.

#![allow(clippy::unwrap_used)] // every function here is a test's

use m2_settlement::chain::{
    Agreement, Bytes, Call, ChannelId, ChannelSight, ChannelState, Claim, Draft, Fee, Head,
    Included, Key, OnChain, Party, Question, SendError, Side, Sight, SignError, Signed,
    SignedClaim, Token, TokenSight, TxHash,
};
use m2_settlement::config::{AccountConfig, ChainConfig, Config};
use m2_settlement::event::{Effect, Event, Notice, Now, Wish};
use m2_settlement::rows::{Order, Store, Write};
use m2_settlement::scale::Scales;
use m2_settlement::settlement::Settlement;
use m2_settlement::wire::{Message, Place, Reason};

const US: Party = Party([1; 32]);
const PEER: Party = Party([2; 32]);
const TOKEN: Token = Token([3; 32]);
const CHANNEL: ChannelId = ChannelId([4; 32]);
const START_MS: u64 = 1_800_000_000_000;
const START_S: u64 = START_MS / 1_000;

#[derive(Default)]
struct Rows(Vec<Write>);

impl Store for Rows {
    type Error = ();

    fn commit(&mut self, writes: &[Write]) -> Result<(), ()> {
        for write in writes {
            self.0.retain(|it| (it.table, &it.name) != (write.table, &write.name));
            self.0.extend(write.value.is_some().then(|| write.clone()));
        }
        Ok(())
    }
}

fn config() -> Config {
    Config {
        chains: vec![ChainConfig {
            place: place(),
            us: US,
            look_ms: 1_000,
            batch_ms: 0,
            send_again_ms: 5_000,
            replace_ms: 10_000,
            fee_most: 1_000,
        }],
        accounts: vec![AccountConfig {
            name: "bob".into(),
            chain: 0,
            token: TOKEN,
            scales: Scales::new(6, 6).unwrap(),
            peer: PEER,
            window_s: 3_600,
            window_s_min: 3_600,
            deposit: 0,
            redeem_min: 10,
            redeem_margin_s: 300,
        }],
    }
}

fn place() -> Place {
    Place { chain: "sim:1".into(), contract: vec![5; 20] }
}

fn open(deposit: u128) -> OnChain {
    OnChain {
        parties: [PEER, US],
        token: TOKEN,
        window_s: 3_600,
        state: ChannelState::Open,
        closes_at_s: 0,
        sides: [Side { deposit, ..Side::default() }, Side::default()],
    }
}

/// One process, with what it was told last.
struct Bench {
    settlement: Settlement,
    rows: Rows,
    now: Now,
    sight: Sight,
    looks: Vec<Question>,
    drafts: Vec<(u64, Draft)>,
    sends: Vec<(u64, usize)>,
    answers: Vec<Message>,
    orders: Vec<(u64, Order)>,
    alarms: Vec<String>,
    claims: Vec<Claim>,
    agreements: Vec<Agreement>,
}

impl Bench {
    fn new(rows: Rows) -> Self {
        let settlement = restored(config(), &rows).unwrap();
        let head = Head { number: 100, time_s: START_S };
        let fee = Fee { most: 20, tip: 1 };
        let tokens = vec![(TOKEN, TokenSight { balance: 1 << 100, allowance: u128::MAX, owed: 0 })];
        let sight = Sight { latest: head, last_final: head, fee, tokens, ..Sight::default() };
        Self {
            settlement,
            rows,
            now: Now(START_MS),
            sight,
            looks: Vec::new(),
            drafts: Vec::new(),
            sends: Vec::new(),
            answers: Vec::new(),
            orders: Vec::new(),
            alarms: Vec::new(),
            claims: Vec::new(),
            agreements: Vec::new(),
        }
    }

    fn feed(&mut self, event: Event) {
        let staged = self.settlement.step(self.now, event);
        for effect in staged.commit(&mut self.rows).unwrap() {
            match effect {
                Effect::Look { question, .. } => self.looks.push(question),
                Effect::Sign { draft, content, .. } => self.drafts.push((draft, content)),
                Effect::Send { transaction, attempt, .. } => {
                    self.sends.push((transaction, attempt))
                }
                Effect::Answer { message, .. } => self.answers.push(message),
                Effect::Order { number, order, .. } => self.orders.push((number, order)),
                Effect::SignClaim { claim, .. } => self.claims.push(claim),
                Effect::SignAgreement { agreement, .. } => self.agreements.push(agreement),
                Effect::Tell(Notice::Alarm { text, .. }) => self.alarms.push(text),
                _ => {}
            }
        }
    }

    /// Time passes, and the chain shows what stands in `sight` of the channel.
    fn look(&mut self, latest: Option<OnChain>, last_final: Option<OnChain>) {
        self.now.0 += 2_000;
        self.feed(Event::Tick);
        let question = self.looks.pop().unwrap_or_default();
        let mut sight = self.sight.clone();
        sight.channels = vec![(CHANNEL, ChannelSight { latest, last_final })];
        self.feed(Event::Seen { chain: 0, sight: Ok(Box::new((question, sight))) });
        self.sight.latest.number += 1;
        self.sight.last_final.number += 1;
    }

    fn claim(&mut self, total: u128) -> Message {
        let claim = Claim { channel: CHANNEL, total };
        let signed = SignedClaim { claim, signature: Bytes(vec![7; 65]) };
        let message = Ok(Message::Claim { place: place(), signed });
        self.feed(Event::Said { account: "bob".into(), token: 1, message, signer: Some(PEER) });
        self.answers.pop().unwrap()
    }

    /// The peer's channel with this deposit is known.
    fn with_channel(deposit: u128) -> Self {
        let mut bench = Self::new(Rows::default());
        bench.feed(Event::SwitchUp);
        bench.look(None, None);
        assert!(is(&bench.claim(1), Reason::UnknownChannel));
        bench.look(Some(open(deposit)), Some(open(deposit)));
        bench
    }

    /// The next draft is signed.
    fn sign(&mut self) -> Draft {
        let (draft, content) = self.drafts.pop().expect("something is to be signed");
        let hash = TxHash([u8::try_from(draft).unwrap(); 32]);
        let signed =
            Signed { bytes: Bytes(vec![u8::try_from(draft).unwrap()]), hash, fee: content.fee };
        self.feed(Event::Signed { chain: 0, draft, signed: Ok(signed) });
        content
    }

    fn sent(&mut self, result: Result<(), SendError>) {
        let (transaction, attempt) = self.sends.pop().expect("something was sent");
        self.feed(Event::Sent { transaction, attempt, result });
    }
}

fn restored(
    config: Config,
    rows: &Rows,
) -> Result<Settlement, m2_settlement::settlement::RestoreError> {
    let id_of = Box::new(|_: usize, terms: &m2_settlement::chain::Terms| {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&terms.salt[..8]);
        ChannelId(id)
    });
    Settlement::restore(config, id_of, 1, rows.0.clone())
}

fn is(message: &Message, wanted: Reason) -> bool {
    matches!(message, Message::Refused { reason, .. } if *reason == wanted)
}

fn closing(deposit: u128, closes_at_s: u64) -> OnChain {
    OnChain { state: ChannelState::Closing, closes_at_s, ..open(deposit) }
}

#[test]
fn a_higher_claim_of_a_closing_channel_does_not_wait_for_a_lower_one_to_be_final() {
    let mut bench = Bench::with_channel(1_000);
    assert_eq!(bench.claim(20), Message::Taken { channel: CHANNEL, total: 20 });
    let Call::Redeem { claims } = bench.sign().call else { panic!() };
    assert_eq!(claims[0].claim.total, 20);
    bench.sent(Ok(()));
    assert_eq!(bench.claim(900), Message::Taken { channel: CHANNEL, total: 900 });
    let close = || Some(closing(1_000, START_S + 2_000));
    bench.look(close(), Some(open(1_000)));
    let Call::Redeem { claims } = bench.sign().call else { panic!("it waits") };
    assert_eq!(claims[0].claim.total, 900);
    assert!(is(&bench.claim(901), Reason::Closing), "each would need a transaction of its own");
}

#[test]
fn a_claim_is_credited_as_far_as_a_deposit_is_final() {
    let mut bench = Bench::with_channel(100);
    bench.look(Some(open(500)), Some(open(100)));
    assert_eq!(bench.claim(300), Message::Taken { channel: CHANNEL, total: 300 });
    let credits = |bench: &Bench| -> u64 {
        let amount = |order: &Order| match order {
            Order::Credit { amount, .. } => *amount,
            _ => 0,
        };
        bench.orders.iter().map(|(_, order)| amount(order)).sum()
    };
    assert_eq!(credits(&bench), 100);
    bench.look(Some(open(500)), Some(open(500)));
    assert_eq!(credits(&bench), 300);
    assert!(is(&bench.claim(501), Reason::OverDeposit));
    assert!(is(&bench.claim(299), Reason::Lower));
    assert_eq!(bench.claim(300), Message::Taken { channel: CHANNEL, total: 300 });
    assert_eq!(credits(&bench), 300, "replayed, it credits nothing");
}

#[test]
fn a_claim_that_closes_too_soon_or_was_not_seen_for_long_is_refused() {
    let mut bench = Bench::with_channel(100);
    let soon = closing(100, bench.now.0 / 1_000 + 200);
    bench.look(Some(soon), Some(open(100)));
    assert!(is(&bench.claim(50), Reason::Closing));
    let mut bench = Bench::with_channel(100);
    bench.now.0 += 3_600 * 500 + 1;
    assert!(is(&bench.claim(50), Reason::Blind));
}

#[test]
fn nodes_that_stand_still_show_no_close_however_often_they_answer() {
    let mut bench = Bench::with_channel(100);
    let (latest, last_final) = (bench.sight.latest, bench.sight.last_final);
    for turn in 0..1_000 {
        // Two of them, one a block behind the other.
        bench.sight.latest = Head { number: latest.number + turn % 2, ..latest };
        bench.sight.last_final = last_final;
        bench.look(Some(open(100)), Some(open(100)));
    }
    assert!(is(&bench.claim(50), Reason::Blind));
    bench.sight.latest.number = latest.number + 2;
    bench.look(Some(open(100)), Some(open(100)));
    assert_eq!(bench.claim(50), Message::Taken { channel: CHANNEL, total: 50 });
}

#[test]
fn what_an_older_final_block_shows_takes_nothing_back() {
    let mut bench = Bench::with_channel(100);
    bench.claim(100);
    bench.look(Some(open(100)), Some(open(100)));
    bench.sight.last_final.number -= 50;
    bench.look(Some(open(100)), None);
    assert_eq!(bench.settlement.counters().reversals, 0);
    bench.sight.last_final.number += 50;
    bench.look(Some(open(100)), None);
    assert_eq!(bench.settlement.counters().reversals, 1, "but a newer one does");
    let is_reversed =
        |(_, order): &(u64, Order)| matches!(order, Order::Reverse { amount: 100, .. });
    assert!(bench.orders.iter().any(is_reversed));
    assert!(bench.orders.iter().any(|(_, order)| *order == Order::Pause));
}

#[test]
fn bids_go_up_to_the_most_that_is_offered_and_not_beyond() {
    let mut bench = Bench::with_channel(1_000);
    bench.claim(900);
    bench.look(Some(open(1_000)), Some(open(1_000)));
    let mut most = bench.sign().fee.most;
    bench.sent(Ok(()));
    bench.sight.fee = Fee { most: 5_000, tip: 1 };
    for _ in 0..200 {
        bench.look(Some(open(1_000)), Some(open(1_000)));
        if !bench.drafts.is_empty() {
            let fee = bench.sign().fee;
            assert!(fee.most > most && fee.most <= 1_000, "{fee:?}");
            most = fee.most;
            bench.sent(Ok(()));
        }
    }
    assert_eq!(most, 1_000);
    assert!(bench.alarms.iter().any(|text| text.contains("fee_most")), "{:?}", bench.alarms);
}

#[test]
fn a_call_that_can_do_nothing_any_more_does_not_hold_up_those_behind_it() {
    let mut bench = Bench::with_channel(1_000);
    bench.claim(900);
    bench.look(Some(open(1_000)), Some(open(1_000)));
    let first = bench.sign();
    bench.sent(Ok(()));
    let mut filled = None;
    for _ in 0..60 {
        bench.look(Some(open(1_000)), Some(open(1_000)));
        if !bench.sends.is_empty() {
            bench.sent(Ok(()));
        }
        if let Some((draft, content)) = bench.drafts.pop() {
            if content.call == Call::Nothing {
                filled = Some(content);
                bench.drafts.push((draft, filled.clone().unwrap()));
                break;
            }
            let signed = Err(SignError::WouldFail("NothingNew".into()));
            bench.feed(Event::Signed { chain: 0, draft, signed });
        }
    }
    let filler = filled.expect("its nonce is taken by something that does nothing");
    assert_eq!(filler.nonce, first.nonce);
    assert!(filler.fee.most > first.fee.most);
    bench.sign();
    // It is final: what was to be done is wanted again, under the next nonce.
    let (_, attempts) = bench.sends.last().copied().unwrap();
    assert_eq!(attempts, 1);
    let view = bench.settlement.view(bench.now);
    let hash: TxHash = view.transactions[0].hashes[1].parse().unwrap();
    let included = Included { is_final: true, succeeded: true, cost: 1, gas: 1 };
    bench.sight.transactions = vec![(hash, included)];
    (bench.sight.nonce_final, bench.sight.nonce_latest) = (first.nonce + 1, first.nonce + 1);
    for _ in 0..60 {
        bench.look(Some(open(1_000)), Some(open(1_000)));
    }
    let (_, again) = bench.drafts.last().expect("the claim is still to be redeemed");
    assert!(matches!(&again.call, Call::Redeem { claims } if claims[0].claim.total == 900));
    assert_eq!(again.nonce, first.nonce + 1);
}

#[test]
fn a_store_that_was_begun_on_another_token_scale_or_peer_is_refused() {
    let bench = Bench::with_channel(100);
    type Change = fn(&mut AccountConfig);
    let changes: [Change; 3] = [
        |account| account.token = Token([8; 32]),
        |account| account.scales = Scales::new(6, 18).unwrap(),
        |account| account.peer = Party([8; 32]),
    ];
    assert!(restored(config(), &bench.rows).is_ok());
    for change in changes {
        let mut other = config();
        change(&mut other.accounts[0]);
        let error = restored(other, &bench.rows).err().unwrap().to_string();
        assert!(error.contains("it was begun on"), "{error}");
    }
    let mut none = config();
    none.accounts.clear();
    let error = restored(none, &bench.rows).err().unwrap().to_string();
    assert!(error.contains("put it back into the configuration"), "{error}");
}

#[test]
fn a_store_that_lacks_what_the_chain_has_paid_settles_nothing_until_somebody_has_looked() {
    let mut bench = Bench::with_channel(100);
    let mut paid = open(100);
    paid.sides[1] = Side { deposit: 500, redeemed: 50, withdrawn: 0 };
    bench.look(Some(paid.clone()), Some(paid.clone()));
    bench.feed(Event::Frozen { account: "bob".into(), key: Key([1; 16]), amount: 40 });
    let settled = |bench: &Bench| {
        bench.orders.iter().any(|(_, order)| matches!(order, Order::Settled { .. }))
    };
    bench.look(Some(paid.clone()), Some(paid.clone()));
    assert!(!settled(&bench));
    assert!(bench.alarms.iter().any(|text| text.contains("not the latest")), "{:?}", bench.alarms);
    let error = bench.settlement.may_cancel(Key([1; 16])).unwrap_err();
    assert!(error.contains("may pay the key"), "{error}");
    // An operator goes on: the channel ends, and what the chain has paid then counts.
    bench.feed(Event::Operator(Wish::Resume { account: "bob".into() }));
    bench.look(Some(paid.clone()), Some(paid.clone()));
    assert_eq!(bench.sign().call, Call::Close { channel: CHANNEL });
    assert!(!settled(&bench) && bench.claims.is_empty());
    paid.state = ChannelState::Settled;
    bench.look(Some(paid.clone()), Some(paid));
    assert!(settled(&bench), "what the chain has paid counts");
}

#[test]
fn a_channel_that_was_over_before_an_old_store_looked_pays_nothing_new() {
    let mut bench = Bench::with_channel(100);
    let mut over = open(100);
    over.state = ChannelState::Settled;
    over.sides[1] = Side { deposit: 50, redeemed: 50, withdrawn: 0 };
    bench.look(Some(over.clone()), Some(over.clone()));
    bench.feed(Event::Frozen { account: "bob".into(), key: Key([1; 16]), amount: 40 });
    bench.look(Some(over.clone()), Some(over));
    let settled =
        |bench: &Bench| bench.orders.iter().any(|(_, it)| matches!(it, Order::Settled { .. }));
    assert!(!settled(&bench));
    assert!(bench.alarms.iter().any(|text| text.contains("not the latest")), "{:?}", bench.alarms);
    bench.feed(Event::Operator(Wish::Resume { account: "bob".into() }));
    assert!(settled(&bench), "no channel is left to end: what the chain has paid counts");
}

#[test]
fn a_frozen_amount_is_taken_back_only_while_no_claim_pays_any_of_it() {
    let mut bench = Bench::with_channel(100);
    let mut ours = open(100);
    ours.sides[1].deposit = 1_000;
    bench.look(Some(ours.clone()), Some(ours));
    let key = Key([1; 16]);
    bench.feed(Event::Frozen { account: "bob".into(), key, amount: 40 });
    let error = bench.settlement.may_cancel(key).unwrap_err();
    assert!(error.contains("a claim that was signed"), "one is being signed: {error}");
    let claim = Claim { channel: CHANNEL, total: 40 };
    bench.feed(Event::ClaimSigned { claim, signature: Err(SignError::Signer("gone".into())) });
    assert_eq!(bench.settlement.may_cancel(key), Ok(()));
    bench.feed(Event::Operator(Wish::Cancel { key }));
    assert!(bench.orders.iter().any(|(_, order)| *order == Order::Cancelled { key }));
    assert!(bench.settlement.may_cancel(key).unwrap_err().contains("has ended"));
}

#[test]
fn nothing_is_added_to_a_channel_while_an_agreement_on_its_end_may_be_executed() {
    let mut bench = Bench::with_channel(100);
    let mut ours = open(100);
    ours.sides[1].deposit = 1_000;
    let look = |bench: &mut Bench| bench.look(Some(ours.clone()), Some(ours.clone()));
    look(&mut bench);
    assert_eq!(bench.claim(30), Message::Taken { channel: CHANNEL, total: 30 });
    let valid_until_s = START_S + 900;
    let end = |first_paid, valid_until_s| {
        let agreement = Agreement { channel: CHANNEL, first_paid, second_paid: 0, valid_until_s };
        let message = Message::Close { place: place(), agreement, signature: Bytes(vec![1]) };
        let account = "bob".to_owned();
        Event::Said { account, token: 2, message: Ok(message), signer: Some(PEER) }
    };
    bench.feed(end(29, valid_until_s));
    assert!(is(&bench.answers.pop().unwrap(), Reason::Differs), "less than we hold");
    bench.feed(end(30, START_S + 1));
    assert!(is(&bench.answers.pop().unwrap(), Reason::Differs), "it runs out too soon");
    bench.feed(end(30, START_S + 100_000));
    assert!(is(&bench.answers.pop().unwrap(), Reason::Differs), "it would hold for too long");
    bench.feed(end(30, valid_until_s));
    let agreement = bench.agreements.pop().expect("what is so is signed");
    bench.feed(Event::AgreementSigned { agreement, signature: Ok(Bytes(vec![2])) });
    assert_eq!(bench.answers.pop(), Some(Message::Agreed { signature: Bytes(vec![2]) }));
    assert!(is(&bench.claim(40), Reason::Agreed));
    bench.feed(Event::Frozen { account: "bob".into(), key: Key([1; 16]), amount: 40 });
    look(&mut bench);
    assert_eq!(bench.claims, [], "it is paid elsewhere, or later");
    (bench.sight.latest.time_s, bench.sight.last_final.time_s) = (valid_until_s + 9, valid_until_s);
    look(&mut bench);
    assert!(is(&bench.claim(40), Reason::Agreed), "it may still be in a block that is not final");
    bench.sight.last_final.time_s = valid_until_s + 1;
    look(&mut bench);
    assert_eq!(bench.claim(40), Message::Taken { channel: CHANNEL, total: 40 });
}

#[test]
fn amounts_that_are_none_of_either_scale_are_refused_and_told() {
    let mut bench = Bench::with_channel(u128::MAX);
    assert!(is(&bench.claim(u128::MAX), Reason::Overflow));
    assert_eq!(bench.claim(1), Message::Taken { channel: CHANNEL, total: 1 }, "others go on");
    for key in [1, 2] {
        let (account, key) = ("bob".to_owned(), Key([key; 16]));
        bench.feed(Event::Frozen { account, key, amount: u128::MAX });
    }
    assert!(bench.alarms.iter().any(|text| text.contains("is no amount")), "{:?}", bench.alarms);
}

#[test]
fn a_peer_that_pays_a_unit_at_a_time_is_credited_together_behind_a_thousand_keys() {
    let mut bench = Bench::with_channel(5_000);
    let mut sum = 0;
    let mut keys = 0;
    for total in 1..=3_000 {
        assert_eq!(bench.claim(total), Message::Taken { channel: CHANNEL, total });
        while let Some((number, order)) = bench.orders.pop() {
            let Order::Credit { amount, .. } = order else { panic!("{order:?}") };
            (sum, keys) = (sum + amount, keys + 1);
            bench.feed(Event::Ordered { order: number, result: Ok(()) });
        }
    }
    assert_eq!((sum, keys), (1_000, 1_000));
    for _ in 0..31 {
        bench.look(Some(open(5_000)), Some(open(5_000)));
    }
    let [(_, Order::Credit { amount, .. })] = bench.orders[..] else {
        panic!("{:?}", bench.orders)
    };
    assert_eq!(sum + amount, 3_000, "a minute later nothing is missing");
}

#[test]
fn credits_beyond_what_an_order_can_say_are_several_and_come_to_the_total() {
    let most = u128::from(u64::MAX);
    let deposit = most * 40 + 7;
    let mut bench = Bench::with_channel(deposit);
    assert_eq!(bench.claim(deposit), Message::Taken { channel: CHANNEL, total: deposit });
    let mut sum = 0_u128;
    while let Some((number, order)) = bench.orders.pop() {
        let Order::Credit { amount, .. } = order else { panic!("{order:?}") };
        assert!(bench.orders.len() < 32, "no more are under way than the switch takes");
        sum += u128::from(amount);
        bench.feed(Event::Ordered { order: number, result: Ok(()) });
    }
    assert_eq!(sum, deposit);
}

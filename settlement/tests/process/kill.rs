//! Whoever is killed, wherever, and comes again: everything frozen is paid once.

use crate::node::tools;
use crate::scene::{Scene, Setup, UNIT};
use crate::switch::Victim;
use serde_json::json;

/// Rounds of a life: in each both owe something, and somebody falls on the way.
const ROUNDS: u64 = 6;

/// The same for one seed, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }
}

/// A life with falls at lines that the seed chooses, and of settlement processes also at blocks.
async fn live(seed: u64, victims: &[Victim]) {
    let Some(tools) = tools() else { return };
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut scene = Scene::new(&tools, Setup::default()).await;
    let mut owed = [0_u128; 2];
    for _ in 0..ROUNDS {
        let lines = usize::try_from(1 + random.below(8)).unwrap();
        let victim = victims[usize::try_from(random.below(victims.len() as u64)).unwrap()];
        scene.switches.fault(lines, random.below(2) == 0, victim);
        for side in 0..2 {
            let amount = 1 + u128::from(random.below(6_000_000_000));
            owed[side] += amount;
            scene.switches.owe(side, ["bob", "alice"][side], amount);
        }
        let given = owed.map(|owed| owed / UNIT);
        let (mut block, falls_at) = (0, random.below(12));
        scene
            .until("what is owed is paid", |scene| {
                block += 1;
                if let (true, Victim::Settle(side)) = (block == falls_at, victim) {
                    scene.raise(Victim::Settle(side));
                }
                (0..2).all(|side| {
                    let book = scene.switches.book(side, ["bob", "alice"][side]);
                    let is_paid = book.frozen.is_none() && book.owed == 0;
                    is_paid && book.credited() == given[1 - side] * UNIT
                })
            })
            .await;
    }
    // The end as well.
    scene.until("both are there again", |scene| scene.are_there()).await;
    scene.does(0, &json!({ "cmd": "close", "account": "bob", "how": "together" }));
    let lines = usize::try_from(1 + random.below(4)).unwrap();
    scene.switches.fault(lines, random.below(2) == 0, victims[0]);
    scene.until("every channel is over", Scene::are_over).await;
    scene.switches.no_fault();
    scene.until_paid().await;
    scene.judge(owed.map(|owed| owed / UNIT)).await;
}

#[tokio::test]
async fn settlement_processes_that_are_killed_anywhere_pay_everything_once() {
    for seed in [1, 20_261_130] {
        live(seed, &[Victim::Settle(0), Victim::Settle(1)]).await;
    }
}

#[tokio::test]
async fn switches_that_are_killed_anywhere_hear_of_everything_once() {
    for seed in [7, 1_000_003] {
        live(seed, &[Victim::Switch(0), Victim::Switch(1)]).await;
    }
}

#[tokio::test]
async fn all_four_that_are_killed_anywhere_meet_again() {
    let all = [Victim::Settle(0), Victim::Switch(1), Victim::Settle(1), Victim::Switch(0)];
    live(99, &all).await;
}

#[tokio::test]
async fn whoever_falls_at_a_line_and_comes_when_more_is_owed_pays_and_credits_once() {
    let Some(tools) = tools() else { return };
    let mut scene = Scene::new(&tools, Setup::default()).await;
    let mut owed = 0;
    let (payer, payee) = (Victim::Settle(0), Victim::Settle(1));
    for (kind, victim) in [
        ("frozen", payer),
        ("send", payer),
        ("message", payee),
        ("credit", payee),
        ("answer", payee),
        ("reply", payee),
        ("reply", payer),
        ("settled", payer),
        ("credit", Victim::Switch(1)),
        ("settled", Victim::Switch(0)),
    ] {
        for before in [true, false] {
            scene.switches.fault_at(kind, before, victim);
            scene.raises = false;
            owed += 1_000 * UNIT;
            scene.switches.owe(0, "bob", 1_000 * UNIT);
            scene
                .until("somebody falls", |scene| {
                    let fallen = scene.switches.fallen();
                    assert!(fallen.is_none() || fallen == Some(victim));
                    fallen.is_some()
                })
                .await;
            // What it comes back to is not what it has left.
            owed += 2_000 * UNIT;
            scene.switches.owe(0, "bob", 2_000 * UNIT);
            if kind == "credit" && victim == payee {
                let given = (owed / UNIT).to_string();
                scene
                    .until("the payer has given more", |scene| {
                        scene.account(0, "bob")["given"] == given
                    })
                    .await;
            }
            scene.raise(victim);
            scene.raises = true;
            println!("fell at {kind}, before: {before}: {victim:?}");
            scene.until_paid_in_all([owed / UNIT, 0]).await;
        }
    }
    scene.until("both are there again", |scene| scene.are_there()).await;
    scene.end_together_and_judge([owed / UNIT, 0]).await;
}

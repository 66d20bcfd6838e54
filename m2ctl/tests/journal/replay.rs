//! `m2ctl journal replay`.

use fastrand::Rng;
use m2_core::record::Key;
use m2_journal::Retention;
use m2_journal::recover::{Options, begin_generation, recover};
use serde_json::{Value, json};

use crate::support::{BEGAN_MS, Disk, Folder, Switch, flip, random_journal, run, settings, settle};
use crate::world::World;

fn replayed(folder: &Folder, arguments: &[&str]) -> Vec<Value> {
    let ran = run("replay", folder.path(), &[&["--json"], arguments].concat());
    assert_eq!(ran.status, 0, "{ran:#?}");
    let lines = ran.lines();
    assert_eq!(lines[0]["type"], "replay");
    lines
}

fn balance(lines: &[Value], account: usize) -> (String, String, String) {
    let line = &lines[1 + account];
    let word = |name: &str| line[name].as_str().unwrap().to_owned();
    (word("balance"), word("prepaid"), word("frozen"))
}

fn words(balance: i128, prepaid: i128, frozen: i128) -> (String, String, String) {
    (balance.to_string(), prepaid.to_string(), frozen.to_string())
}

/// A credit, of which it matters what came before it.
fn with_a_credit() -> Folder {
    let folder = Folder::new();
    let mut switch = Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]);
    switch.pair(("alice", 100), ("bob", 99), [1; 16]);
    switch.pair(("alice", 50), ("bob", 49), [2; 16]);
    switch.credit("alice", Key([1; 16]), 200);
    switch.pair(("alice", 30), ("bob", 29), [3; 16]);
    switch.stop();
    let mut switch = Switch::start(folder.path(), &[("alice", 0), ("bob", 1)]);
    switch.now_ms += 1_000;
    switch.pair(("alice", 5), ("bob", 5), [4; 16]);
    switch.stop();
    folder
}

#[test]
fn the_words_are_told_as_of_any_moment() {
    let folder = with_a_credit();
    let at = |ms: u64| {
        let moment = (BEGAN_MS + ms).to_string();
        let lines = replayed(&folder, &["--until", &moment]);
        (lines[0]["generation"].as_u64().unwrap(), balance(&lines, 0))
    };
    assert_eq!(at(0), (1, words(0, 0, 0)));
    assert_eq!(at(1), (1, words(100, 0, 0)));
    assert_eq!(at(2), (1, words(150, 0, 0)));
    assert_eq!(at(3), (1, words(0, 50, 0)));
    assert_eq!(at(4), (1, words(0, 20, 0)));
    // Between both generations nothing happened.
    assert_eq!(at(1_000), (1, words(0, 20, 0)));
    assert_eq!(at(1_001), (2, words(0, 15, 0)));
    let all = replayed(&folder, &[]);
    assert_eq!((&all[0]["generation"], balance(&all, 0)), (&2.into(), words(0, 15, 0)));
    let first = replayed(&folder, &["--generation", "1"]);
    assert_eq!(balance(&first, 0), words(0, 20, 0));
}

#[test]
fn the_words_are_told_as_of_positions() {
    let folder = with_a_credit();
    let at = |until: &[&str]| {
        let until: Vec<_> = until.iter().flat_map(|it| ["--until", it]).collect();
        let lines = replayed(&folder, &[&["--generation", "1"], &until[..]].concat());
        (lines[0].clone(), balance(&lines, 0))
    };
    // Of stream 1 the first two; of stream 0 what was decided by then, which is nothing.
    assert_eq!(at(&["1:2"]).1, words(150, 0, 0));
    assert_eq!(at(&["1:3"]).1, words(0, 20, 0));
    assert_eq!(at(&["1:0"]).1, words(0, 0, 0));
    // The credit names legs that are left out: it comes behind those that are there.
    assert_eq!(at(&["0:1", "1:1"]).1, words(0, 100, 0));
    assert_eq!(at(&["0:1"]).1, words(0, 50, 0));
    for wrong in [["--until", "1:9"], ["--until", "7:0"]] {
        let ran = run("replay", folder.path(), &wrong);
        assert_eq!(ran.status, 2, "{ran:#?}");
    }
    let ran = run("replay", folder.path(), &["--until", "1:0", "--until", "5"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("one moment, or positions of streams"), "{ran:#?}");
}

/// Any history, up to any position of each stream, is what its books say.
#[test]
fn up_to_any_positions_the_words_are_those_of_the_books() {
    for seed in 0..25 {
        let rng = &mut Rng::with_seed(seed);
        let folder = Folder::new();
        random_journal(rng, folder.path(), Retention::Keep);
        let mut files = Disk::new(folder.path());
        let recovered = recover(&mut files, &Options::default(), &mut |_| {}).unwrap();
        let mut world = World::new(rng, &recovered);
        let (entries, shards) = (world.entries(), world.shards);
        let mut writer =
            begin_generation(&mut files, &recovered, &entries, shards, settings()).unwrap();
        for _ in 0..rng.usize(..800) {
            match rng.u8(..40) {
                0 => {
                    writer.snapshot(world.image(rng.usize(..shards)));
                }
                1..=30 => world.act(rng, &mut writer),
                _ => settle(&mut files, &mut writer, world.now_ns()),
            }
        }
        writer.finish();
        settle(&mut files, &mut writer, world.now_ns());
        let ends: Vec<_> = world.appended.iter().map(|end| rng.u64(..=*end)).collect();
        let until: Vec<_> =
            ends.iter().enumerate().map(|(at, end)| format!("{at}:{end}")).collect();
        let until: Vec<_> = until.iter().flat_map(|it| ["--until", it]).collect();
        let lines = replayed(&folder, &until);
        let books = world.expected(&ends);
        for (index, image) in books.images.iter().enumerate() {
            let expected = words(image.words.balance, image.words.prepaid, image.words.frozen);
            assert_eq!(balance(&lines, index), expected, "seed {seed}, account {index}");
            let limit = image.balance_max.to_string();
            assert_eq!(lines[1 + index]["balance_max"], limit, "seed {seed}, account {index}");
        }
        let keys = lines.iter().filter(|line| line["type"] == "key").count();
        assert_eq!(keys, books.keys.len(), "seed {seed}");
    }
}

#[test]
fn a_person_gets_a_table() {
    let folder = with_a_credit();
    let ran = run("replay", folder.path(), &[]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    let row: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(row, ["0", "alice", "USD/9", "0", "0", "15", "0", "1000000", "1000000"]);
    assert!(ran.stdout.contains("generation 2, 2 streams, which end with records 0, 1"));
    assert!(ran.stdout.contains("1 key, of which 0 frozen"), "{ran:#?}");
    // The FULFILL of the last pair was never handed out.
    assert!(ran.stdout.contains("1 FULFILL of 5: perhaps not delivered to alice"), "{ran:#?}");
    let lines = replayed(&folder, &[]);
    let perhaps = json!({
        "type": "perhaps_undelivered", "account": 0, "packets": 1, "amount": "5",
    });
    assert_eq!(lines.last(), Some(&perhaps));
}

#[test]
fn damage_is_told_and_nothing_else() {
    let folder = with_a_credit();
    let segment = folder.file("generation-00000002/stream-001-00000001.m2j");
    flip(&segment, 4096 + 140, 3);
    let ran = run("replay", folder.path(), &[]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{ran:#?}");
    assert!(ran.stderr.contains("is damaged at byte 4096"), "{ran:#?}");
    // The generation before it is whole.
    let first = replayed(&folder, &["--generation", "1"]);
    assert_eq!(balance(&first, 0), words(0, 20, 0));
}

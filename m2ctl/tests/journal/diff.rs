//! `m2ctl journal diff`: two switches with a link between them, and what each can lack.

use std::fs;
use std::path::{Path, PathBuf};

use m2_core::record::{Key, LateFulfill, Record};
use m2_core::{AccountId, ConnectionId, sha256_of_32};
use serde_json::Value;

use crate::support::{Folder, Ran, Switch, journal, run, write};

/// Our account for them is `them`, their account for us is `us`; each has somebody else behind.
pub(crate) struct Link {
    here: Folder,
    there: Folder,
    ours: Switch,
    theirs: Switch,
    packets: u8,
}

const OURS: [(&str, u16); 2] = [("them", 0), ("sender", 1)];
const THEIRS: [(&str, u16); 3] = [("receiver", 0), ("us", 1), ("other", 2)];

/// What becomes of a packet.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Recorded {
    Both,
    Here,
    There,
}

impl Link {
    pub(crate) fn new() -> Self {
        let (here, there) = (Folder::new(), Folder::new());
        let ours = Switch::start(here.path(), &OURS);
        let theirs = Switch::start(there.path(), &THEIRS);
        Self { here, there, ours, theirs, packets: 0 }
    }

    /// Time goes on for both: theirs is 3 ms ahead.
    fn later(&mut self, ms: u64) {
        self.ours.now_ms += ms;
        self.theirs.now_ms = self.ours.now_ms + 3;
    }

    /// A packet from us to them.
    pub(crate) fn out(&mut self, amount: u64, recorded: Recorded) -> [u8; 16] {
        self.packets += 1;
        let condition = [self.packets; 16];
        self.later(10);
        if recorded != Recorded::There {
            self.ours.pair(("sender", amount + 1), ("them", amount), condition);
        }
        if recorded != Recorded::Here {
            self.theirs.pair(("us", amount), ("receiver", amount - 1), condition);
        }
        condition
    }

    /// A packet from them to us.
    fn incoming(&mut self, amount: u64, recorded: Recorded) -> [u8; 16] {
        self.packets += 1;
        let condition = [self.packets; 16];
        self.later(10);
        if recorded != Recorded::There {
            self.ours.pair(("them", amount), ("sender", amount - 1), condition);
        }
        if recorded != Recorded::Here {
            self.theirs.pair(("other", amount + 1), ("us", amount), condition);
        }
        condition
    }

    fn traffic(&mut self) {
        for number in 0..20 {
            self.out(100 + number, Recorded::Both);
            self.incoming(50 + number, Recorded::Both);
        }
    }

    pub(crate) fn stop(self) -> (Folder, Folder) {
        self.ours.stop();
        self.theirs.stop();
        (self.here, self.there)
    }
}

fn diff(here: &Path, there: &Path, arguments: &[&str]) -> Ran {
    let (here, there) = (here.to_str().unwrap(), there.to_str().unwrap());
    let sides = ["diff", here, "--account", "them", there, "--account", "us"];
    journal(sides.iter().chain(arguments).copied())
}

/// Status, differences, and the summary. Packets are a second on their way at most.
fn compared(here: &Path, there: &Path) -> (i32, Vec<Value>, Value) {
    let ran = diff(here, there, &["--json", "--in-flight-ms", "1000"]);
    let mut lines = ran.lines();
    let summary = lines.pop().unwrap_or_else(|| panic!("{ran:#?}"));
    assert_eq!(summary["type"], "summary");
    (ran.status, lines, summary)
}

/// The dump that each operator would send.
fn dump(folder: &Folder, account: &str) -> PathBuf {
    let ran = run("dump", folder.path(), &["--json", "--account", account, "--for-peer"]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    let path = folder.file("dump.jsonl");
    write(&path, &ran.stdout);
    path
}

#[test]
fn two_sides_that_agree_are_told_so_from_folders_and_from_dumps() {
    let mut link = Link::new();
    link.traffic();
    let (here, there) = link.stop();
    let (ours, theirs) = (dump(&here, "them"), dump(&there, "us"));
    let (ours, theirs) = (ours.as_path(), theirs.as_path());
    for (one, other) in
        [(here.path(), there.path()), (ours, theirs), (here.path(), theirs), (ours, there.path())]
    {
        let (status, differences, summary) = compared(one, other);
        assert_eq!((status, differences.len()), (0, 0), "{summary:#}");
        assert_eq!(summary["packets_matched"], 40);
        assert_eq!(summary["sum_after"], "0");
        assert_eq!(summary["sum_agrees"], true);
        assert_eq!(summary["there_behind_here_ms_least"], 3);
        assert_eq!(summary["there_behind_here_ms_most"], 3);
    }
    let ran = diff(here.path(), there.path(), &[]);
    assert_eq!(ran.status, 0, "{ran:#?}");
    assert!(ran.stdout.contains("matched      40 packets (there 3 to 3 ms later than here)"));
    assert!(ran.stdout.contains("after        here -1000, there 1000: together 0"), "{ran:#?}");
}

#[test]
fn what_only_one_side_has_is_named_and_summed() {
    let mut link = Link::new();
    link.traffic();
    link.later(5_000);
    let lost = link.incoming(700, Recorded::Here);
    let unrecorded = link.out(30, Recorded::Here);
    link.later(5_000);
    link.traffic();
    let (here, there) = link.stop();
    let (status, differences, summary) = compared(here.path(), there.path());
    assert_eq!((status, differences.len()), (1, 2), "{summary:#}");
    let [one, other] = &differences[..] else { unreachable!() };
    assert_eq!(one["condition_head"], hex(lost));
    assert_eq!((&one["has"], &one["direction_here"]), (&"only_here".into(), &"in".into()));
    assert_eq!((&one["adds_to_sum"], &one["amount_here"]), (&"700".into(), &"700".into()));
    assert_eq!((&one["why"], &one["explained"]), (&"unexplained".into(), &false.into()));
    assert!(one["explanation"].as_str().unwrap().contains("lost with its connection"), "{one}");
    assert_eq!(other["condition_head"], hex(unrecorded));
    assert_eq!((&other["direction_here"], &other["adds_to_sum"]), (&"out".into(), &"-30".into()));
    assert!(other["explanation"].as_str().unwrap().contains("without a record"), "{other}");
    assert_eq!(
        (&summary["sum_after"], &summary["sum_of_differences"]),
        (&"670".into(), &"670".into())
    );
    assert_eq!((&summary["sum_agrees"], &summary["unexplained"]), (&true.into(), &2.into()));
    // From there it looks the same, the other way round.
    let ran =
        journal(["diff", there.path().to_str().unwrap(), "--account", "us"].into_iter().chain([
            here.path().to_str().unwrap(),
            "--account",
            "them",
            "--json",
            "--in-flight-ms",
            "1000",
        ]));
    let lines = ran.lines();
    assert_eq!((ran.status, lines.len()), (1, 3));
    assert_eq!(
        (&lines[0]["has"], &lines[0]["direction_here"]),
        (&"only_there".into(), &"out".into())
    );
    assert_eq!(lines[2]["sum_after"], "670");
}

#[test]
fn a_fulfill_that_came_too_late_is_explained_by_its_evidence() {
    let mut link = Link::new();
    link.traffic();
    link.later(5_000);
    // They delivered to us and told so too late: we kept the evidence and owe nothing.
    let condition = sha256_of_32(&[9; 32]);
    link.theirs.pair(("us", 40), ("receiver", 39), *condition.first_chunk().unwrap());
    let late = LateFulfill {
        connection: ConnectionId { account: AccountId(0), epoch: 1.try_into().unwrap() },
        request_id: 1,
        came_at_ms: link.ours.now_ms,
        fulfillment: [9; 32],
    };
    link.ours.append("them", &Record::LateFulfill(late));
    link.later(5_000);
    link.traffic();
    let (here, there) = link.stop();
    let (status, differences, summary) = compared(here.path(), there.path());
    assert_eq!((status, differences.len()), (1, 1), "{summary:#}");
    assert_eq!(differences[0]["why"], "late", "{differences:#?}");
    assert_eq!(differences[0]["has"], "only_there");
    assert_eq!((&summary["late_fulfills"], &summary["unexplained"]), (&1.into(), &0.into()));
}

#[test]
fn what_was_in_flight_when_a_process_ended_is_explained_by_that() {
    let mut link = Link::new();
    link.traffic();
    // We had let a FULFILL go whose record was not durable; one was on its way to us.
    link.incoming(700, Recorded::There);
    link.out(30, Recorded::There);
    let Link { here, there, ours, theirs, packets } = link;
    let now_ms = ours.now_ms;
    ours.stop();
    let ours = Switch::start(here.path(), &OURS);
    let mut link = Link { here, there, ours, theirs, packets };
    link.ours.now_ms = now_ms;
    link.later(60_000);
    link.traffic();
    let (here, there) = link.stop();
    let (status, differences, summary) = compared(here.path(), there.path());
    assert_eq!((status, differences.len()), (1, 2), "{summary:#}");
    for difference in &differences {
        assert_eq!(difference["why"], "ended", "{difference}");
        let words = difference["explanation"].as_str().unwrap();
        assert!(words.starts_with("generation 1 here ended behind 2026-11-21T18:40:"), "{words}");
    }
    assert_eq!((&summary["unexplained"], &summary["sum_agrees"]), (&0.into(), &true.into()));
    assert_eq!(summary["sum_after"], (30 - 700).to_string());
}

#[test]
fn the_same_packet_with_another_amount_is_one_difference() {
    let mut link = Link::new();
    link.traffic();
    link.later(10);
    link.ours.pair(("sender", 10), ("them", 9), [200; 16]);
    link.theirs.pair(("us", 8), ("receiver", 7), [200; 16]);
    let (here, there) = link.stop();
    let (status, differences, summary) = compared(here.path(), there.path());
    assert_eq!((status, differences.len()), (1, 1), "{summary:#}");
    assert_eq!(
        (&differences[0]["has"], &differences[0]["why"]),
        (&"both".into(), &"amounts".into())
    );
    assert_eq!(differences[0]["adds_to_sum"], "-1");
    assert_eq!(summary["sum_after"], "-1");
}

/// One condition many times, as a test with a fixed fulfillment has it.
#[test]
fn a_condition_that_repeats_is_counted() {
    let mut link = Link::new();
    link.traffic();
    for number in 0..30 {
        link.later(1);
        link.ours.pair(("sender", 5), ("them", 5 + number % 3), [77; 16]);
        if number != 7 {
            link.theirs.pair(("us", 5 + number % 3), ("receiver", 5), [77; 16]);
        }
    }
    let (here, there) = link.stop();
    let (status, differences, summary) = compared(here.path(), there.path());
    assert_eq!((status, differences.len()), (1, 1), "{summary:#}");
    assert_eq!(
        (&differences[0]["amount_here"], &summary["packets_matched"]),
        (&"6".into(), &69.into())
    );
}

#[test]
fn payments_are_matched_by_key_or_amount() {
    let mut link = Link::new();
    link.traffic();
    let pay = |switch: &mut Switch, name: &str, key: u8, amount: u128| {
        switch.keyed(Record::Frozen, name, Key([key; 16]), amount);
        switch.keyed(Record::Settled, name, Key([key; 16]), amount);
    };
    // We pay them: by the same key, and by another.
    pay(&mut link.ours, "them", 1, 300);
    link.theirs.credit("us", Key([1; 16]), 300);
    pay(&mut link.ours, "them", 2, 200);
    link.theirs.credit("us", Key([42; 16]), 200);
    // They have not seen this one yet; this one they found void.
    pay(&mut link.ours, "them", 3, 100);
    pay(&mut link.ours, "them", 4, 55);
    link.theirs.credit("us", Key([4; 16]), 55);
    link.theirs.reverse("us", Key([5; 16]), 55);
    // Frozen is not paid.
    link.ours.keyed(Record::Frozen, "them", Key([6; 16]), 10);
    let (here, there) = link.stop();
    let (status, differences, summary) = compared(here.path(), there.path());
    assert_eq!((status, differences.len()), (1, 2), "{summary:#}");
    assert_eq!(
        (&summary["payments_matched_by_key"], &summary["payments_matched_by_amount"]),
        (&2.into(), &1.into())
    );
    let find = |of: &str| differences.iter().find(|it| it["of"] == of).unwrap();
    let payment = find("payment");
    assert_eq!(
        (&payment["why"], &payment["has"]),
        (&"payment_under_way".into(), &"only_here".into())
    );
    assert_eq!(
        (&payment["adds_to_sum"], &payment["key_here"]),
        (&"100".into(), &hex([3; 16]).into())
    );
    let reversal = find("reversal");
    assert_eq!((&reversal["why"], &reversal["has"]), (&"reversed".into(), &"only_there".into()));
    assert_eq!(reversal["adds_to_sum"], "55");
    assert_eq!((&summary["sum_after"], &summary["sum_agrees"]), (&"155".into(), &true.into()));
    assert_eq!(summary["here"]["frozen_amount"], "10");
    let ran = diff(here.path(), there.path(), &[]);
    assert!(ran.stdout.contains("payment, paid by the side here, only here: here 100"), "{ran:#?}");
}

#[test]
fn a_window_is_compared_alone_and_its_edges_explain() {
    let mut link = Link::new();
    link.traffic();
    let from = link.ours.now_ms + 1;
    link.out(30, Recorded::Here);
    link.later(10_000);
    link.out(31, Recorded::Here);
    link.later(10_000);
    link.traffic();
    let (here, there) = link.stop();
    let ran =
        run("dump", there.path(), &["--json", "--account", "us", "--from", &from.to_string()]);
    let theirs = there.file("dump.jsonl");
    write(&theirs, &ran.stdout);
    let (status, differences, summary) = compared(here.path(), &theirs);
    // The last packet before the window is in it by their clock.
    assert_eq!((status, differences.len()), (1, 3), "{summary:#}");
    let whys: Vec<_> = differences.iter().map(|it| it["why"].as_str().unwrap()).collect();
    assert_eq!(whys, ["edge", "edge", "unexplained"], "{differences:#?}");
    assert_eq!(summary["from_ms"], from);
    assert_eq!((&summary["sum_before"], &summary["sum_after"]), (&"69".into(), &"-61".into()));
    assert_eq!(
        (&summary["sum_of_differences"], &summary["sum_agrees"]),
        (&"-130".into(), &true.into())
    );
    assert_eq!(summary["packets_matched"], 40);
    // The same window asked for, of dumps that have more.
    let all = dump(&there, "us");
    let ran =
        diff(here.path(), &all, &["--json", "--in-flight-ms", "1000", "--from", &from.to_string()]);
    assert_eq!(ran.lines().pop().unwrap(), summary, "{ran:#?}");
}

#[test]
fn a_position_that_no_record_explains_is_told() {
    let mut link = Link::new();
    link.traffic();
    let (here, there) = link.stop();
    let path = dump(&there, "us");
    let text = fs::read_to_string(&path).unwrap();
    write(&path, &text.replace(r#""position_after":"1000""#, r#""position_after":"1001""#));
    let (status, differences, _) = compared(here.path(), &path);
    assert_eq!((status, differences.len()), (1, 0));
    let ran = diff(here.path(), &path, &[]);
    assert!(ran.stderr.contains("contradicts itself"), "{ran:#?}");
}

#[test]
fn what_is_no_dump_is_refused_with_its_line() {
    let mut link = Link::new();
    link.traffic();
    let (here, there) = link.stop();
    let path = dump(&there, "us");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let refused = |text: &str, sentence: &str| {
        write(&path, text);
        let ran = diff(here.path(), &path, &[]);
        assert_eq!(ran.status, 2, "{ran:#?}");
        assert!(ran.stderr.contains(sentence), "{sentence}: {ran:#?}");
    };
    refused("", "it is empty");
    refused("hello\n", "line 1: it is no line that `dump --json` writes");
    refused(lines[1], "line 1: it does not end");
    refused(&whole[..whole.len() - 10], "it does not end");
    refused(&(lines[..lines.len() - 1].join("\n") + "\n"), "it was cut short");
    refused(&(lines[1..].join("\n") + "\n"), "its first line is not that of `dump --json`");
    refused(&format!("{whole}{whole}"), "it goes on behind its end");
    refused(&whole.replace(r#""version":1"#, r#""version":2"#), "a dump of version 2");
    refused(
        &whole.replace(r#""is_partial":false"#, r#""is_partial":true"#),
        "records were left out",
    );
    refused(&whole.replace(r#""name":"us""#, r#""name":"you""#), "no account in it is called us");
    refused(&whole.replacen(r#""amount":"100""#, r#""amount":"ten""#, 1), "line 2: it says what");
    let long = format!("{}\n", " ".repeat(2 << 20));
    refused(&long, "line 1: it does not end");
    // Any line torn anywhere.
    for cut in (0..whole.len()).step_by(97) {
        write(&path, &whole[..cut]);
        assert_eq!(diff(here.path(), &path, &[]).status, 2, "{cut} bytes");
    }
}

#[test]
fn sides_that_cannot_be_are_told() {
    let mut link = Link::new();
    link.out(1, Recorded::Both);
    let (here, there) = link.stop();
    let (here, there) = (here.path().to_str().unwrap(), there.path().to_str().unwrap());
    let ran = journal(["diff", here, "--account", "them", there]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("--account twice"), "{ran:#?}");
    let ran = journal(["diff", here, "--account", "them", there, "--account", "nobody"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("no account is called nobody; there are receiver, us, other"));
    let ran = journal(["diff", here, "--account", "them", "nowhere", "--account", "us"]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("nowhere cannot be read"), "{ran:#?}");
    // The wrong account: nothing fits.
    let ran = journal(["diff", here, "--account", "them", there, "--account", "other"]);
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains("differences  1"), "{ran:#?}");
}

fn hex(head: [u8; 16]) -> String {
    head.iter().map(|byte| format!("{byte:02x}")).collect()
}

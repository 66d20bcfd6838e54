//! Whether the journal is the one that belongs to the file: emptied, switched off, in the way, with
//! accounts that the file no longer has.

#![allow(clippy::unwrap_used)] // test code, though not inside of a test

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use support::*;

/// Writes the switch's configuration anew.
fn rewrite(switch: &Switch, change: impl FnOnce(String) -> String) {
    let file = switch.folder().join("switch.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, change(text)).unwrap();
}

fn check(file: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_m2-switch");
    Command::new(program).args(["check", "--config"]).arg(file).output().unwrap()
}

fn in_journal(text: &str, line: &str) -> String {
    text.replacen("[journal]", &format!("[journal]\n{line}"), 1)
}

#[test]
fn a_journal_that_must_exist_and_is_gone_stops_the_start() {
    let mut switch = Switch::start_with_journal("");
    assert!(switch.log().contains("no journal is here: all balances begin at 0"), "told once");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    pay(&mut alice, &mut bob, "test.m2m.bob", 7);
    switch.kill();
    rewrite(&switch, |text| in_journal(&text, "must_exist = true"));
    switch.restart();
    assert_eq!(switch.account("alice", "balance"), "7");
    assert!(!switch.log().contains("all balances begin at 0"), "{}", switch.log());
    switch.kill();
    let journal = switch.folder().join("journal");
    std::fs::rename(&journal, switch.folder().join("elsewhere")).unwrap();
    let (status, told) = switch.fail_to_start();
    assert_eq!(status, Some(2));
    assert!(told.contains("holds nothing, and must_exist = true"), "{told}");
    assert!(!journal.exists(), "nothing is made where the disk should be");
    std::fs::rename(switch.folder().join("elsewhere"), &journal).unwrap();
    switch.restart();
    assert_eq!(switch.account("alice", "balance"), "7");
}

#[test]
fn balances_are_not_forgotten_because_nothing_is_recorded_any_more() {
    let mut switch = Switch::start_with_journal("");
    switch.kill();
    rewrite(&switch, |text| text.replace("[[accounts]]", "[[accounts]]\ndurability = \"none\""));
    let program = env!("CARGO_BIN_EXE_m2-switch");
    let run = || {
        let file = switch.folder().join("switch.toml");
        let mut run = Command::new(program);
        run.args(["run", "--accept-loss", "--config"]).arg(file).output().unwrap()
    };
    let output = run();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("holds the balances of an earlier start"), "{told}");
}

#[test]
fn an_account_that_the_file_no_longer_has_is_told_with_what_it_is_owed() {
    let mut switch = Switch::start_with_journal("");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    pay(&mut alice, &mut bob, "test.m2m.bob", 7);
    switch.kill();
    rewrite(&switch, |text| text.replace("name = \"bob\"", "name = \"bert\""));
    switch.restart();
    let log = switch.log();
    let line = log.lines().find(|line| line.contains("is not configured")).unwrap();
    for words in ["account=\"bob\"", "asset=USD/9", "balance=-7", "frozen=0", "prepaid=0"] {
        assert!(line.contains(words), "{words} is not in: {line}");
    }
    assert!(!log.contains("the file's limits are new"), "{log}");
    assert_eq!(switch.account("bert", "balance"), "0");
    assert_eq!(switch.account("bob", "balance"), "-7");
}

#[test]
fn check_refuses_what_run_cannot_make_and_warns_of_a_spill_beside_the_journal() {
    let folder = Folder::new();
    let file = folder.path().join("switch.toml");
    let write = |journal: &str| {
        let text = format!(
            "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n\
             [journal]\n{journal}\n[[listen]]\ntransport = \"unix\"\npath = \"b\"\n{ACCOUNTS}"
        );
        std::fs::write(&file, text).unwrap();
    };
    std::fs::write(folder.path().join("taken"), "a file").unwrap();
    for (keys, what) in [
        ("path = \"taken/deep\"", "the journal"),
        ("path = \"journal\"\nspill = \"taken\"", "the spill folder"),
    ] {
        write(keys);
        let output = check(&file);
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8_lossy(&output.stderr);
        let wanted = format!("{what} {}", folder.path().join("taken").display());
        assert!(told.contains(&wanted) && told.contains("taken is no folder"), "{told}");
    }
    write("must_exist = true");
    let output = check(&file);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("holds nothing, and must_exist = true"), "{told}");
    write("path = \"journal\"\nspill = \"spill\"");
    let output = check(&file);
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("is on the same disk as the journal"), "{told}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was made");
    write("path = \"journal\"\nspill = \"/dev/shm/m2-spill\"");
    let told = check(&file).stdout;
    assert!(!String::from_utf8_lossy(&told).contains("same disk"));
}

#[test]
fn commits_are_told_when_nothing_happens_any_more() {
    let switch = Switch::start_with_journal("");
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    for _ in 0..3 {
        pay(&mut alice, &mut bob, "test.m2m.bob", 1);
    }
    let journal = || switch.ask(&json!({ "cmd": "journal" }));
    wait("all commits are told", || journal()["commits"] == 3);
    assert!(journal()["commit_us"]["max"].as_u64().unwrap() > 0);
}

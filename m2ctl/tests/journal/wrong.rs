//! What a user gets wrong, and what a disk holds that is no journal.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fastrand::Rng;
use m2_journal::Retention;

use crate::support::{Folder, Switch, files_of, journal, random_journal, run};

/// Every command that takes a folder, with what it needs besides.
const COMMANDS: [(&str, &[&str]); 6] = [
    ("ls", &[]),
    ("verify", &[]),
    ("dump", &["--json"]),
    ("replay", &[]),
    ("cut", &["--stream", "0", "--position", "0"]),
    ("diff", &[]),
];

fn each(folder: &Folder, mut check: impl FnMut(&str, crate::support::Ran)) {
    for (name, arguments) in COMMANDS {
        let path = folder.path().to_str().unwrap();
        let more: Vec<_> = match name {
            "diff" => vec![path, "--account", "0", "--account", "0"],
            _ => arguments.to_vec(),
        };
        check(name, run(name, folder.path(), &more));
    }
}

#[test]
fn a_folder_that_is_no_journal_is_told_by_every_command() {
    let folder = Folder::new();
    each(&folder, |name, ran| {
        assert_eq!(ran.status, 2, "{name}: {ran:#?}");
        assert!(ran.stderr.contains("is no journal: no folder generation-..."), "{name}: {ran:#?}");
    });
    fs::write(folder.file("generation-00000001"), "a file").unwrap();
    fs::create_dir(folder.file("generation-1")).unwrap();
    each(&folder, |name, ran| assert_eq!(ran.status, 2, "{name}: {ran:#?}"));
    let nowhere = folder.file("nowhere");
    let ran = run("verify", &nowhere, &[]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("cannot be read: No such file"), "{ran:#?}");
    let ran = run("verify", &folder.file("generation-00000001"), &[]);
    assert_eq!(ran.status, 2, "{ran:#?}");
}

#[test]
fn a_generation_without_anything_in_it_is_damage() {
    let folder = Folder::new();
    fs::create_dir(folder.file("generation-00000001")).unwrap();
    each(&folder, |name, ran| {
        let expected = i32::from(name != "ls");
        assert_eq!(ran.status, expected, "{name}: {ran:#?}");
    });
}

#[test]
fn a_command_line_that_cannot_be_used_has_status_2() {
    for arguments in [
        &["verify"][..],
        &["verify", "x", "--threads", "0"],
        &["verify", "x", "--generation", "one"],
        &["dump", "x", "--from", "yesterday"],
        &["dump", "x", "--condition", "abc"],
        &["dump", "x", "--kind", "pears"],
        &["dump", "x", "--stream", "70000"],
        &["replay", "x", "--until", "1:2:3"],
        &["cut", "x", "--stream", "0"],
        &["diff", "x", "--account", "a"],
        &["launch"],
        &[],
    ] {
        let ran = journal(arguments);
        assert_eq!(ran.status, 2, "{ran:#?}");
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn every_command_has_help_with_its_options() {
    for (name, _) in COMMANDS {
        let ran = journal([name, "--help"]);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        assert!(ran.stdout.contains("--json"), "{name}: {ran:#?}");
    }
    let ran = journal(["--help"]);
    assert!(ran.stdout.contains("Exit status of each: 0 nothing is wrong"), "{ran:#?}");
}

#[test]
fn what_may_not_be_read_is_told() {
    let folder = Folder::new();
    let mut switch = Switch::start(folder.path(), &[("alice", 0)]);
    switch.pair(("alice", 1), ("alice", 1), [1; 16]);
    switch.stop();
    let segment = folder.file("generation-00000001/stream-000-00000001.m2j");
    fs::set_permissions(&segment, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&segment).is_ok() {
        // Whoever may read everything cannot try this.
        return;
    }
    each(&folder, |name, ran| {
        assert_eq!(ran.status, 2, "{name}: {ran:#?}");
        assert!(ran.stderr.contains("Permission denied"), "{name}: {ran:#?}");
    });
}

/// Whatever bytes there are, no command panics, and each ends with one of its three statuses.
#[test]
fn any_bytes_are_a_sentence_and_never_a_panic() {
    for seed in 0..12 {
        let rng = &mut Rng::with_seed(seed);
        let folder = Folder::new();
        random_journal(rng, folder.path(), Retention::Keep);
        let files = files_of(folder.path());
        for _ in 0..rng.usize(1..4) {
            let file = &files[rng.usize(..files.len())];
            let mut bytes = fs::read(file).unwrap();
            match rng.u8(..4) {
                0 => bytes.truncate(rng.usize(..=bytes.len())),
                1 => bytes = (0..rng.usize(..9_000)).map(|_| rng.u8(..)).collect(),
                2 => bytes.extend((0..rng.usize(..9_000)).map(|_| rng.u8(..))),
                _ => {
                    // A head and its reserved bytes are where lengths and counts stand.
                    for _ in 0..rng.usize(1..20) {
                        let at = rng.usize(..bytes.len().clamp(1, 400));
                        bytes[at] = rng.u8(..);
                    }
                    if rng.bool() && bytes.len() >= 64 {
                        seal_again(&mut bytes);
                    }
                }
            }
            fs::write(file, bytes).unwrap();
        }
        if rng.u8(..5) == 0 {
            fs::remove_file(&files[rng.usize(..files.len())]).unwrap();
        }
        each(&folder, |name, ran| {
            assert!((0..=2).contains(&ran.status), "seed {seed}, {name}: {ran:#?}");
            // One account compared with itself differs.
            let is_told = ran.status == 0 || name == "diff" || !ran.stderr.is_empty();
            assert!(is_told, "seed {seed}, {name}: {ran:#?}");
        });
    }
}

/// A right hash over wrong bytes: only what they say is left to find.
fn seal_again(bytes: &mut [u8]) {
    use m2_journal::hash::{Hash, seal};
    let is_image = bytes[32..35] == *b"M2S";
    let len = if is_image { bytes.len() } else { bytes.len().min(4096) };
    seal(&mut bytes[..len], &Hash::NONE);
}

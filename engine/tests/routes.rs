//! Routes of a file, and their replacement while packets flow.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use m2_codec::ilp::ErrorCode;
use serde_json::{Value, json};
use support::{Folder, Peer, Switch, preimage, prepare};

/// Packets on their way at once.
const VECTOR: u32 = 32;
/// How often routes are replaced while they are.
const RELOADS: usize = 300;

/// A switch whose route file lies in a folder of its own.
struct Routed {
    switch: Switch,
    folder: Folder,
}

impl Routed {
    fn start(routes: &str) -> Self {
        let folder = Folder::new();
        let file = folder.path().join("routes.txt");
        fs::write(&file, routes).unwrap();
        let account = |name: &str| {
            format!(
                "[[accounts]]\nname = \"{name}\"\nrelation = \"child\"\nasset = \"USD/9\"\n\
                 token = \"{name}-secret\"\ndurability = \"none\"\nbalance_max = 1000000000\n\
                 payable_max = 1000000000\n"
            )
        };
        let tables = format!(
            "[routes]\nfile = {file:?}\n[[assets]]\ncode = \"USD\"\nscale = 9\n{}{}",
            account("alice"),
            account("bob")
        );
        Self { switch: Switch::start_with("", "", &tables), folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("routes.txt")
    }

    /// Another route file, there at once as a whole, and what the order to read it is answered.
    fn reload(&self, routes: &str) -> Value {
        let made = self.folder.path().join("made.txt");
        fs::write(&made, routes).unwrap();
        fs::rename(&made, self.file()).unwrap();
        self.switch.ask(&json!({ "cmd": "reload_routes" }))
    }
}

/// `test.far` with so many others around it.
fn set(count: usize, far: &str) -> String {
    let mut lines = format!("{far}\n");
    (0..count).for_each(|number| writeln!(lines, "test.other{number}.x alice").unwrap());
    lines
}

/// One vector of packets of one unit to `test.far`, each fulfilled.
#[track_caller]
fn pay_vector(alice: &mut Peer, bob: &mut Peer) {
    let packet = prepare("test.far.away", 1, 3);
    (0..VECTOR).for_each(|request_id| alice.send_prepare(request_id, &packet));
    for _ in 0..VECTOR {
        bob.fulfill_next(&preimage(3));
    }
    for request_id in 0..VECTOR {
        let answer = alice.frame();
        assert_eq!((answer.request_id, answer.fulfillment()), (request_id, preimage(3)));
    }
}

#[track_caller]
fn assert_unreachable(alice: &mut Peer) {
    alice.send_prepare(9, &prepare("test.far.away", 1, 3));
    assert_eq!(alice.frame().reject_code(), ErrorCode::F02_UNREACHABLE);
}

#[test]
fn routes_are_replaced_under_packets_and_every_packet_is_answered_right() {
    let routed = Routed::start(&set(10, "test.far bob"));
    let switch = &routed.switch;
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("ws", "bob"));
    let done = AtomicBool::new(false);
    let vectors = std::thread::scope(|scope| {
        scope.spawn(|| {
            let [few, many] = [(10, "test.far bob"), (1_000, "test.far.away bob\ntest.far alice")];
            for (count, far) in [few, many].into_iter().cycle().take(RELOADS) {
                let told = routed.reload(&set(count, far));
                // Two stand with the accounts, as children.
                let routes = count + far.lines().count() + 2;
                assert_eq!(
                    (&told["ok"], &told["routes"]),
                    (&json!(true), &json!(routes)),
                    "{told}"
                );
                assert!(told["bytes"].as_u64().unwrap() >= 128 * routes as u64, "{told}");
            }
            done.store(true, Ordering::Release);
        });
        let mut vectors = 0_u64;
        while !done.load(Ordering::Acquire) {
            pay_vector(&mut alice, &mut bob);
            vectors += 1;
        }
        vectors
    });
    pay_vector(&mut alice, &mut bob);
    let paid = ((vectors + 1) * u64::from(VECTOR)).to_string();
    assert_eq!(switch.account("alice", "balance"), paid);
    assert_eq!(switch.account("bob", "balance"), format!("-{paid}"));

    assert_eq!(routed.reload("test.farther bob\n")["routes"], 3);
    assert_unreachable(&mut alice);
}

#[test]
fn a_route_file_that_is_wrong_changes_nothing_and_is_told_with_its_line() {
    let routed = Routed::start("test.far bob\n");
    let switch = &routed.switch;
    let (mut alice, mut bob) = (switch.peer("tcp", "alice"), switch.peer("tcp", "bob"));
    let told = routed.reload("test.far alice\ntest.farther carol\n");
    assert_eq!(told["ok"], false);
    let error = told["error"].as_str().unwrap();
    let place = format!("{}:2: there is no account \"carol\"", routed.file().display());
    assert!(error.starts_with(&place), "{error}");
    pay_vector(&mut alice, &mut bob);

    fs::remove_file(routed.file()).unwrap();
    let told = switch.ask(&json!({ "cmd": "reload_routes" }));
    assert!(told["error"].as_str().unwrap().contains("cannot be read"), "{told}");
    pay_vector(&mut alice, &mut bob);
    assert_eq!(routed.reload("")["ok"], true);
    assert_unreachable(&mut alice);
}

#[test]
fn a_switch_without_a_route_file_says_what_to_write() {
    let told = Switch::start("", "").ask(&json!({ "cmd": "reload_routes" }));
    assert!(told["error"].as_str().unwrap().contains("add [routes] with file = "), "{told}");
}

#[test]
fn a_route_file_that_is_wrong_is_refused_at_the_start_and_by_check() {
    let folder = Folder::new();
    let config = "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n\
        [routes]\nfile = \"routes.txt\"\n[[listen]]\ntransport = \"unix\"\npath = \"b\"\n\
        [[assets]]\ncode = \"USD\"\nscale = 9\n[[accounts]]\nname = \"alice\"\nrelation = \"child\"\n\
        asset = \"USD/9\"\ntoken = \"a\"\n";
    fs::write(folder.path().join("switch.toml"), config).unwrap();
    fs::write(folder.path().join("routes.txt"), "test.a alice\ntest.b bob\n").unwrap();
    for command in ["check", "run"] {
        let mut switch = Command::new(env!("CARGO_BIN_EXE_m2-switch"));
        let output = switch.args([command, "--config"]).arg(folder.path().join("switch.toml"));
        let output = output.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8(output.stderr).unwrap();
        let place = format!("{}:2: ", folder.path().join("routes.txt").display());
        assert!(told.contains(&place) && told.contains("no account \"bob\""), "{told}");
    }
}

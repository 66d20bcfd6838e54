//! Who connects, packets between sockets, and links that come and go, once more: with io_uring where
//! the tests in their own files have epoll. And where it is not permitted.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one
#![allow(clippy::duplicate_mod)] // each of those files has a support of its own

#[path = "auth.rs"]
mod auth;
#[path = "forwarding.rs"]
mod forwarding;
#[path = "links.rs"]
mod links;
mod support;

use std::collections::BTreeMap;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use support::{ACCOUNTS, Next, Switch, pay, preimage, prepare};

#[test]
fn sigterm_finishes_what_is_in_flight_and_closes_in_order() {
    let mut switch = Switch::start("", "");
    let mut alice = switch.peer("ws", "alice");
    let mut bob = switch.peer("ws", "bob");
    alice.send_prepare(1, &prepare("test.m2m.bob", 5, 1));
    let forwarded = bob.frame();
    switch.signal("-TERM");
    switch.wait_for_log("stopping");
    let mut fulfill = Vec::new();
    m2_codec::ilp::put_fulfill(&mut fulfill, &preimage(1), b"");
    bob.send_response(forwarded.request_id, &fulfill);
    assert_eq!(alice.frame().fulfillment(), preimage(1));
    assert_eq!(alice.until_end(), [Next::Close(1001)]);
    assert_eq!(bob.until_end(), [Next::Close(1001)]);
    drop((alice, bob));
    assert_eq!(switch.wait_for_exit().code(), Some(0));
}

#[test]
fn what_moves_the_bytes_is_told_with_its_reason() {
    let switch = Switch::start("", "");
    switch.wait_for_log("io = \"io_uring\" chosen: it is configured");
    let switch = Switch::start_with("io = \"auto\"", "", ACCOUNTS);
    switch.wait_for_log(" chosen: 8 echoes take ");
    pay(&mut switch.peer("ws", "alice"), &mut switch.peer("tcp", "bob"), "test.m2m.bob", 1);
}

/// What is started within has no io_uring, as in a container that denies it.
fn without_io_uring(start: impl FnOnce() + Send) {
    // The number of io_uring_setup, on every architecture.
    let denied = BTreeMap::from([(425, Vec::new())]);
    let (allow, deny) = (SeccompAction::Allow, SeccompAction::Errno(1));
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(denied, allow, deny, arch).unwrap();
    let program = BpfProgram::try_from(filter).unwrap();
    // A thread of its own takes the filter, and hands it on to what it starts, to its end.
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            apply_filter(&program).unwrap();
            start();
        });
        thread.join().unwrap();
    });
}

#[test]
fn where_io_uring_is_not_permitted_the_switch_says_so_and_runs_on() {
    without_io_uring(|| {
        let switch = Switch::start_with("io = \"auto\"", "", ACCOUNTS);
        switch.wait_for_log("io = \"epoll\" chosen: io_uring is not permitted (Operation not");
        pay(&mut switch.peer("ws", "alice"), &mut switch.peer("tcp", "bob"), "test.m2m.bob", 1);
    });
}

#[test]
fn io_uring_that_is_wanted_and_not_permitted_is_refused_with_a_sentence() {
    let switch = Switch::start("", "");
    let file = switch.folder().join("switch.toml");
    drop(switch.peer("unix", "alice"));
    without_io_uring(|| {
        for command in ["check", "run"] {
            let mut refused = Command::new(env!("CARGO_BIN_EXE_m2-switch"));
            let output = refused.args([command, "--config"]).arg(&file).output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            let told = String::from_utf8(output.stderr).unwrap();
            let words = "io_uring is not permitted (Operation not permitted (os error 1)): write \
                         io = \"auto\" or io = \"epoll\" in [switch]";
            assert!(told.contains(words), "{told}");
        }
    });
}

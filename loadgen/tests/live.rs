//! The binary's screen and lines, on a terminal and a pipe: what they show, and that nobody who
//! does not read them holds up a run.

#![allow(clippy::unwrap_used)] // every function here is a test's

mod peer;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use peer::generator::{finish, load, workload, write_workload};
use peer::{Faults, Peer, Transport};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, Winsize, tcflow, tcsetwinsize};
use serde_json::Value;

/// Both sides of a terminal of 80 by 24.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size).unwrap();
    (File::from(ours), File::from(theirs))
}

/// A run of two seconds with this as its standard error; its status and report.
fn run(stderr: impl Into<Stdio>, variables: &[(&str, &str)]) -> (i32, Value) {
    let peer = Peer::start(Transport::Unix, Faults::default());
    let mix = "[mix]\nfulfilled = 900\nrejected = 100\n";
    let path = write_workload(&peer.folder, &workload(&peer, mix));
    let mut command = load();
    command.args(["--json", "--seconds", "2", "--workload"]).arg(path);
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    let mut child = command.stderr(stderr).spawn().unwrap();
    // What the command held would keep a terminal open.
    drop(command);
    let give_up = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > give_up {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the run waits for whoever reads its standard error");
        }
        thread::sleep(Duration::from_millis(10));
    }
    finish(child)
}

fn assert_whole(status: i32, report: &Value) {
    assert_eq!((status, &report["answered"]), (0, &4_000.into()), "{report:#}");
}

/// Everything that is written to a terminal until nobody holds it open.
fn read_all(mut terminal: File) -> JoinHandle<String> {
    thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        // A terminal that was closed at the other end is an error, not an end.
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(all).unwrap()
    })
}

#[test]
fn a_terminal_that_is_stopped_does_not_hold_up_the_run() {
    let (ours, theirs) = terminal();
    // What ^S does.
    tcflow(&theirs, Action::OOff).unwrap();
    let (status, report) = run(theirs.try_clone().unwrap(), &[]);
    assert_whole(status, &report);
    drop(ours);
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_up_the_run() {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let len = fcntl_setpipe_size(&theirs, 4096).unwrap();
    let mut theirs = File::from(theirs);
    theirs.write_all(&vec![b'.'; len]).unwrap();
    let (status, report) = run(theirs, &[]);
    assert_whole(status, &report);
    drop(ours);
}

#[test]
fn the_screen_of_a_terminal_is_drawn_over_and_gone_at_the_end() {
    let (ours, theirs) = terminal();
    let reader = read_all(ours);
    let (status, report) = run(theirs, &[]);
    let screen = reader.join().unwrap();
    assert_whole(status, &report);
    for word in ["offered", "fulfilled", "rejected", "F99 ", "in flight", "missed", "own cpu"] {
        assert!(screen.contains(word), "{word} is not in {screen:?}");
    }
    assert!(screen.contains("last second p50 "), "{screen:?}");
    assert!(screen.contains("\x1b[8A") && screen.ends_with("\x1b[8A\x1b[J"), "{screen:?}");
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let (ours, theirs) = terminal();
    let reader = read_all(ours);
    let (status, report) = run(theirs, &[("TERM", "dumb")]);
    let lines = reader.join().unwrap();
    assert_whole(status, &report);
    assert!(!lines.contains('\x1b'), "{lines:?}");
    assert!(lines.lines().all(|line| line.contains(" offered  ")), "{lines:?}");
    assert!((1..=4).contains(&lines.lines().count()), "{lines:?}");
}

//! The programs that the demo starts, and how each of them ends.
//!
//! A child stands in a process group of its own, so that Ctrl-C at a terminal reaches this process
//! alone: it is passed on as one SIGTERM to the whole group, and no child gets two of them.
//!
//! Invariant: a [`Running`] that is dropped before its end takes its whole group with it.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::Result;

/// How often an end or a signal is looked for.
const POLL: Duration = Duration::from_millis(10);

/// What a child that is no longer wanted gets between SIGTERM and SIGKILL. A generator waits 2 s for
/// answers, and as long again for the books.
const END_MAX: Duration = Duration::from_secs(5);

/// Whether a signal has asked this process to end.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP end nothing by themselves: who waits, looks here.
    pub(crate) fn watch() -> Result<Self> {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&seen))
                .map_err(|error| format!("no handler for signal {signal}: {error}"))?;
        }
        Ok(Self(seen))
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Acquire) {
            true => Err("interrupted by a signal".into()),
            false => Ok(()),
        }
    }
}

/// A child and its group. Ended when dropped before its end.
pub(super) struct Running {
    name: &'static str,
    child: Child,
    end_max: Duration,
}

impl Running {
    pub(super) fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let child = command
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Self { name, child, end_max: END_MAX })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it prints, once, if it was started so.
    pub(super) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Its status, if it has ended.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(|error| format!("waiting for {}: {error}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// When a signal comes first.
    pub(super) fn wait(&mut self, interrupt: &Interrupt) -> Result<ExitStatus> {
        loop {
            interrupt.check()?;
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// SIGTERM, and the status it ends with.
    ///
    /// # Errors
    ///
    /// When it takes longer than `max`, or a signal comes first.
    pub(super) fn stop(&mut self, max: Duration, interrupt: &Interrupt) -> Result<ExitStatus> {
        self.signal(Signal::TERM);
        let give_up = Instant::now() + max;
        loop {
            interrupt.check()?;
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= give_up {
                let waited_s = max.as_secs();
                return Err(format!("{} still runs {waited_s} s after SIGTERM", self.name));
            }
            thread::sleep(POLL);
        }
    }

    /// To the whole group. One that is gone needs no signal.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.signal(Signal::TERM);
        let give_up = Instant::now() + self.end_max;
        while !self.has_ended() && Instant::now() < give_up {
            thread::sleep(POLL);
        }
        // Also what the child started, and left behind.
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use rustix::process::test_kill_process_group;

    use super::*;

    /// A shell and a child of its own, both up once the first line is there.
    fn started(script: &str) -> (Running, Pid) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut running = Running::start("sh", &mut command).unwrap();
        running.end_max = Duration::from_millis(200);
        let mut line = String::new();
        BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        let group = Pid::from_child(&running.child);
        assert!(test_kill_process_group(group).is_ok());
        (running, group)
    }

    /// A killed process is one until its parent, or init, has taken notice.
    #[track_caller]
    fn assert_gone(group: Pid) {
        let give_up = Instant::now() + Duration::from_secs(10);
        while test_kill_process_group(group).is_ok() {
            assert!(Instant::now() < give_up, "a process of the group is left");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn a_child_that_is_dropped_ends_with_all_that_it_started() {
        let (running, group) = started("sleep 600 & echo up; wait");
        drop(running);
        assert_gone(group);
    }

    #[test]
    fn a_child_that_is_deaf_to_sigterm_is_killed_with_all_that_it_started() {
        let (running, group) = started("trap '' TERM; sleep 600 & echo up; wait");
        let begun = Instant::now();
        drop(running);
        assert!(begun.elapsed() >= Duration::from_millis(200));
        assert_gone(group);
    }

    #[test]
    fn a_signal_ends_the_waiting_and_not_the_child() {
        let interrupt = Interrupt(Arc::new(AtomicBool::new(true)));
        let (mut running, group) = started("echo up; exec sleep 600");
        assert!(running.wait(&interrupt).is_err());
        assert!(test_kill_process_group(group).is_ok());
        drop(running);
        assert_gone(group);
    }

    #[test]
    fn stopping_gives_the_status_or_says_who_still_runs() {
        let interrupt = Interrupt(Arc::new(AtomicBool::new(false)));
        let (mut running, _) = started("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done");
        assert_eq!(running.stop(END_MAX, &interrupt).unwrap().code(), Some(7));
        let (mut running, _) = started("trap '' TERM; echo up; exec sleep 600");
        let error = running.stop(Duration::ZERO, &interrupt).unwrap_err();
        assert_eq!(error, "sh still runs 0 s after SIGTERM");
    }
}

//! What a run looks like while it goes on: a screen on a terminal, one line a second elsewhere. It
//! goes to standard error; the report alone is on standard output.
//!
//! ```text
//!  the thread that sends                    a thread of its own
//!  show(moment) --try_lock--> [ slot ] --> takes the newest --> writes, and may wait as long as
//!  second(..)     wakes it                                      the terminal likes
//! ```
//!
//! Invariant: the thread that sends never waits for whoever reads standard error. A moment that
//! nobody has taken is replaced by the next; where the slot is being looked at, this one is skipped.

mod drawer;
mod screen;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, Thread};
use std::time::Duration;

use crate::interval_log::IntervalLog;
use crate::report::Missed;
use crate::tally::{Second, Tally};
use drawer::{Drawer, Slot};

/// Time between two drawings on a terminal, in nanoseconds.
const TERMINAL_NS: u64 = 200_000_000;
/// Time between two lines elsewhere, in nanoseconds.
const LINES_NS: u64 = 1_000_000_000;
/// How long the end of a run waits for the screen to be cleared. One that takes nothing (`^S`, a
/// pipe that nobody reads) is left as it is.
const LEAVE: Duration = Duration::from_millis(250);
/// Codes of rejection that are shown, the most frequent.
const REJECTS_MAX: usize = 6;

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Nanoseconds since the start.
    pub elapsed_ns: u64,
    /// When sending ends, in nanoseconds after the start.
    pub planned_ns: u64,
    /// How long the PREPARE that is next has been due, in nanoseconds.
    pub behind_ns: u64,
    /// PREPAREs sent so far.
    pub sent: u64,
    /// Of them fulfilled.
    pub fulfilled: u64,
    /// Of them rejected.
    pub rejected: u64,
    /// The most frequent codes of rejection; a count of 0 is none.
    pub rejects: [([u8; 3], u64); REJECTS_MAX],
    /// PREPAREs without an answer.
    pub in_flight: u64,
    /// Sends missed so far.
    pub missed: Missed,
    /// Latencies of the last whole second, if there were any.
    pub recent: Option<Recent>,
}

/// Latencies of one second, from the scheduled time, in nanoseconds.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Recent {
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

impl Moment {
    /// What is counted, without where the run stands in its schedule.
    #[must_use]
    pub fn of(tally: &Tally) -> Self {
        let mut rejects = [([0; 3], 0); REJECTS_MAX];
        for (&code, &count) in &tally.rejects {
            let place = rejects.iter().position(|&(_, shown)| count > shown);
            if let Some(place) = place {
                rejects[place..].rotate_right(1);
                rejects[place] = (code, count);
            }
        }
        Self {
            sent: tally.sent,
            fulfilled: tally.fulfilled,
            rejected: tally.rejected,
            rejects,
            missed: tally.missed,
            ..Self::default()
        }
    }

    fn offered(&self) -> u64 {
        self.sent + self.missed.total()
    }
}

/// How a run is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// Some lines, drawn over; colours unless NO_COLOR is set.
    Terminal {
        colour: bool,
    },
    Lines,
    Quiet,
}

impl Form {
    fn choose(quiet: bool, terminal: bool, no_color: bool) -> Self {
        match (quiet, terminal) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Terminal { colour: !no_color },
            (false, false) => Self::Lines,
        }
    }
}

/// The thread that sends shows here where it stands.
#[derive(Debug)]
pub struct Live {
    form: Form,
    next_ns: u64,
    recent: Option<Recent>,
    slot: Arc<Slot>,
    drawer: Option<Thread>,
    log: Option<IntervalLog>,
}

impl Live {
    /// A screen or lines, as this process's standard error and environment ask for.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_terminal = std::io::stderr().is_terminal() && !is_dumb;
        Self::with(Form::choose(quiet, is_terminal, is_set("NO_COLOR")))
    }

    /// Where no thread can be had, nothing is shown.
    fn with(form: Form) -> Self {
        let slot = Arc::new(Slot::default());
        let drawer = Drawer::to_stderr(form, Arc::clone(&slot));
        let start = |drawer: Drawer<_>| {
            let thread = Builder::new().name("screen".to_owned()).spawn(move || drawer.run());
            thread.ok().map(|handle| handle.thread().clone())
        };
        let drawer = drawer.ok().and_then(start);
        Self { form, next_ns: 0, recent: None, slot, drawer, log: None }
    }

    /// When the next moment is due, in nanoseconds after the start.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        if self.form == Form::Quiet { u64::MAX } else { self.next_ns }
    }

    /// Hands over where the run stands.
    pub fn show(&mut self, moment: &Moment) {
        self.next_ns = self.due_after(moment.elapsed_ns);
        self.slot.offer(Moment { recent: self.recent, ..*moment });
        self.wake();
    }

    /// Writes each second of the next run to a log as well.
    pub fn log_to(&mut self, log: IntervalLog) {
        self.log = Some(log);
    }

    /// Gives the log back.
    pub fn take_log(&mut self) -> Option<IntervalLog> {
        self.log.take()
    }

    /// A second is over, or the run.
    pub fn second(&mut self, second: &Second) {
        if let Some(log) = &mut self.log {
            log.second(second);
        }
        let latency = &second.latency;
        self.recent = (!latency.is_empty()).then(|| Recent {
            p50_ns: latency.value_at_quantile(0.5),
            p99_ns: latency.value_at_quantile(0.99),
            max_ns: latency.max(),
        });
    }

    /// Says something once, on a line of its own, also in a quiet run.
    pub fn note(&self, words: &str) {
        self.slot.note(format!("m2-load: {words}\n"));
        self.wake();
    }

    /// The run is over: clears the screen, so that what follows begins where it began.
    pub fn finish(&mut self) {
        (self.next_ns, self.recent) = (0, None);
        if self.drawer.is_some() {
            self.slot.leave();
            self.wake();
            self.slot.wait_until_left(LEAVE);
        }
    }

    fn wake(&self) {
        if let Some(drawer) = &self.drawer {
            drawer.unpark();
        }
    }

    fn due_after(&self, elapsed_ns: u64) -> u64 {
        let period_ns = if self.form == Form::Lines { LINES_NS } else { TERMINAL_NS };
        (elapsed_ns / period_ns + 1) * period_ns
    }
}

impl Drop for Live {
    /// The thread ends by itself, or with the process where the terminal holds it.
    fn drop(&mut self) {
        self.slot.closed.store(true, Ordering::Release);
        self.wake();
    }
}

#[cfg(test)]
mod tests;

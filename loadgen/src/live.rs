//! What a run looks like while it goes on: one line that is written over on a terminal, one line
//! a second elsewhere. It goes to standard error; the report alone is on standard output.

use std::io::{IsTerminal as _, Write as _};

use crate::report::{duration, grouped};

/// Time between two writings on a terminal, in nanoseconds.
const TERMINAL_NS: u64 = 200_000_000;
/// Time between two lines elsewhere, in nanoseconds.
const LINES_NS: u64 = 1_000_000_000;

/// What a line says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Nanoseconds since the start.
    pub elapsed_ns: u64,
    /// PREPAREs sent so far.
    pub sent: u64,
    /// Of them fulfilled.
    pub fulfilled: u64,
    /// Of them rejected.
    pub rejected: u64,
    /// Of them without an answer.
    pub in_flight: u64,
    /// Sends missed so far.
    pub missed: u64,
    /// Latency of the last whole second's answers, if there were any.
    pub p50_ns: Option<u64>,
    /// The same.
    pub p99_ns: Option<u64>,
}

/// Where lines go, and when the next is due.
#[derive(Debug)]
pub struct Live {
    form: Form,
    next_ns: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    /// One line, written over; colours unless NO_COLOR is set.
    Terminal {
        colour: bool,
    },
    Lines,
    Quiet,
}

impl Live {
    /// Lines as this process's standard error and environment ask for.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::with(quiet, std::io::stderr().is_terminal(), no_color)
    }

    fn with(quiet: bool, terminal: bool, no_color: bool) -> Self {
        let form = match (quiet, terminal) {
            (true, _) => Form::Quiet,
            (false, true) => Form::Terminal { colour: !no_color },
            (false, false) => Form::Lines,
        };
        Self { form, next_ns: 0 }
    }

    /// When the next line is due, in nanoseconds after the start.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        if self.form == Form::Quiet { u64::MAX } else { self.next_ns }
    }

    /// Writes a line. A standard error that is gone is no reason to stop a run.
    pub fn show(&mut self, moment: &Moment) {
        self.next_ns = self.due_after(moment.elapsed_ns);
        let _ = std::io::stderr().write_all(self.line(moment).as_bytes());
    }

    /// Says something once, on a line of its own.
    pub fn note(&self, words: &str) {
        self.finish();
        let _ = writeln!(std::io::stderr(), "m2-load: {words}");
    }

    /// Leaves the terminal's line, so that what follows begins on its own.
    pub fn finish(&self) {
        if matches!(self.form, Form::Terminal { .. }) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }

    fn due_after(&self, elapsed_ns: u64) -> u64 {
        let period_ns = if self.form == Form::Lines { LINES_NS } else { TERMINAL_NS };
        (elapsed_ns / period_ns + 1) * period_ns
    }

    fn line(&self, moment: &Moment) -> String {
        let latency = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
        let tenths = moment.elapsed_ns / 100_000_000;
        let text = format!(
            "{}.{} s  {} sent  {} fulfilled  {} rejected  {} in flight  p50 {}  p99 {}",
            tenths / 10,
            tenths % 10,
            grouped(moment.sent),
            grouped(moment.fulfilled),
            grouped(moment.rejected),
            grouped(moment.in_flight),
            latency(moment.p50_ns),
            latency(moment.p99_ns)
        );
        let missed = format!("  {} MISSED", grouped(moment.missed));
        match self.form {
            Form::Quiet => String::new(),
            Form::Lines if moment.missed == 0 => format!("{text}\n"),
            Form::Lines => format!("{text}{missed}\n"),
            Form::Terminal { .. } if moment.missed == 0 => format!("\r{text}\x1b[K"),
            Form::Terminal { colour: false } => format!("\r{text}{missed}\x1b[K"),
            Form::Terminal { colour: true } => format!("\r{text}\x1b[31m{missed}\x1b[0m\x1b[K"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Moment = Moment {
        elapsed_ns: 2_345_000_000,
        sent: 46_900,
        fulfilled: 42_000,
        rejected: 4_000,
        in_flight: 900,
        missed: 3,
        p50_ns: Some(84_000),
        p99_ns: Some(1_250_000),
    };

    #[test]
    fn a_line_elsewhere_has_no_control_characters() {
        let line = Live::with(false, false, false).line(&MOMENT);
        assert_eq!(
            line,
            "2.3 s  46,900 sent  42,000 fulfilled  4,000 rejected  900 in flight  p50 84.0 us  \
             p99 1.25 ms  3 MISSED\n"
        );
    }

    #[test]
    fn a_second_without_an_answer_has_no_latency() {
        let moment = Moment { p50_ns: None, p99_ns: None, ..MOMENT };
        let line = Live::with(false, false, false).line(&moment);
        assert!(line.contains("  p50 -  p99 -  "), "{line}");
    }

    #[test]
    fn a_terminal_line_is_written_over_and_coloured_unless_no_color_is_set() {
        let coloured = Live::with(false, true, false).line(&MOMENT);
        assert!(coloured.starts_with('\r') && !coloured.contains('\n'));
        assert!(coloured.contains("\x1b[31m"));
        let plain = Live::with(false, true, true).line(&MOMENT);
        assert!(plain.contains("3 MISSED") && !plain.contains("\x1b[31m"));
    }

    #[test]
    fn a_quiet_run_writes_nothing_and_is_never_due() {
        let live = Live::with(true, true, false);
        assert_eq!((live.next_ns(), live.line(&MOMENT)), (u64::MAX, String::new()));
    }

    #[test]
    fn the_next_line_is_due_on_the_clock_not_after_the_last() {
        let (lines, terminal) = (Live::with(false, false, false), Live::with(false, true, true));
        assert_eq!(lines.due_after(MOMENT.elapsed_ns), 3_000_000_000);
        assert_eq!(lines.due_after(3_000_000_000), 4_000_000_000);
        assert_eq!(terminal.due_after(MOMENT.elapsed_ns), 2_400_000_000);
    }
}

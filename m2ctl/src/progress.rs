//! How far a long reading is, for whoever waits in front of a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks: long enough to cost nothing, short enough to end soon.
const LOOK: Duration = Duration::from_millis(20);

/// Between two lines.
const LINE: Duration = Duration::from_millis(250);

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Progress {
    verb: &'static str,
    total: u64,
}

impl Progress {
    /// Of so many bytes. `verb` stands behind them: `verified`.
    pub(crate) fn of_bytes(verb: &'static str, total: u64) -> Self {
        Self { verb, total }
    }

    /// Does `work`, which counts bytes in `done`; meanwhile a line on standard error says how far it
    /// is, if that is a terminal.
    pub(crate) fn during<T>(&self, done: &AtomicU64, work: impl FnOnce() -> T) -> T {
        if !io::stderr().is_terminal() {
            return work();
        }
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| self.tell(done, &is_over));
            let result = work();
            is_over.store(true, Ordering::Relaxed);
            result
        })
    }

    fn tell(&self, done: &AtomicU64, is_over: &AtomicBool) {
        let began = Instant::now();
        let mut told = 0;
        while !is_over.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
            let due = began.elapsed().as_millis() / LINE.as_millis();
            if due > told {
                told = due;
                let line = self.line(done.load(Ordering::Relaxed), began.elapsed());
                let _ = write!(io::stderr(), "\r\x1b[K{line}");
            }
        }
        if told > 0 {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn line(&self, done: u64, took: Duration) -> String {
        let percent = u128::from(done.min(self.total)) * 100 / u128::from(self.total.max(1));
        let rate = u128::from(done) * 1_000 / took.as_millis().max(1);
        let mib = |bytes: u128| bytes >> 20;
        format!(
            "{} {} of {} MiB ({percent} %), {} MiB/s",
            self.verb,
            mib(done.into()),
            mib(self.total.into()),
            mib(rate)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        let progress = Progress::of_bytes("verified", 64 << 20);
        let line = progress.line(16 << 20, Duration::from_secs(2));
        assert_eq!(line, "verified 16 of 64 MiB (25 %), 8 MiB/s");
        assert_eq!(
            Progress::of_bytes("read", 0).line(0, Duration::ZERO),
            "read 0 of 0 MiB (0 %), 0 MiB/s"
        );
    }
}

//! The thread that draws, and the slot where it finds what.
//!
//! Invariant: it writes only while it holds no lock.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;
use rustix::time::{ClockId, clock_gettime};

use super::screen::{self, Rates, Size};
use super::{Form, Moment};

/// Rates and CPU time are those of at least so long a time.
const RATES_OVER: Duration = Duration::from_millis(950);

/// What is to be drawn.
#[derive(Debug, Default)]
struct News {
    moment: Option<Moment>,
    note: Option<String>,
    leave: bool,
}

/// Between the thread that sends and the one that draws.
#[derive(Debug, Default)]
pub(super) struct Slot {
    news: Mutex<News>,
    left: Condvar,
    pub(super) closed: AtomicBool,
}

impl Slot {
    /// Puts a moment there, unless the drawer is just looking.
    pub(super) fn offer(&self, moment: Moment) {
        if let Ok(mut news) = self.news.try_lock() {
            news.moment = Some(moment);
        }
    }

    /// Puts a note there, behind one that was not taken yet.
    pub(super) fn note(&self, words: String) {
        self.lock().note.get_or_insert_default().push_str(&words);
    }

    pub(super) fn leave(&self) {
        self.lock().leave = true;
    }

    /// Waits until the drawer has left the screen, or for so long.
    pub(super) fn wait_until_left(&self, at_most: Duration) {
        let _ = self.left.wait_timeout_while(self.lock(), at_most, |news| news.leave);
    }

    /// The drawer alone holds it for more than a copy: never, as it writes without it.
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> News {
        let mut news = self.lock();
        News { moment: news.moment.take(), note: news.note.take(), leave: news.leave }
    }

    fn has_left(&self) {
        self.lock().leave = false;
        self.left.notify_all();
    }
}

/// What the thread that draws owns.
pub(super) struct Drawer<W> {
    form: Form,
    slot: Arc<Slot>,
    out: W,
    /// Lines that stand on the terminal above the cursor's, if anything does.
    drawn: Option<usize>,
    earlier: Option<Earlier>,
    rates: Rates,
}

/// What rates are counted from.
struct Earlier {
    moment: Moment,
    at: Instant,
    cpu: Duration,
}

impl Drawer<File> {
    /// One that writes to standard error, past the lock that others take to write there: who
    /// complains while the terminal stands still must not wait for us.
    pub(super) fn to_stderr(form: Form, slot: Arc<Slot>) -> io::Result<Self> {
        let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self::new(form, slot, out))
    }
}

impl<W: Write + AsFd> Drawer<W> {
    fn new(form: Form, slot: Arc<Slot>, out: W) -> Self {
        Self { form, slot, out, drawn: None, earlier: None, rates: Rates::default() }
    }

    /// Draws until nobody shows anything any more. A standard error that is gone is no reason to
    /// stop a run: what cannot be written is not.
    pub(super) fn run(mut self) {
        loop {
            let closed = self.slot.closed.load(Ordering::Acquire);
            let News { moment, note, leave } = self.slot.take();
            if let Some(note) = note {
                self.write(&note);
            }
            match moment {
                Some(moment) if !leave || self.form == Form::Lines => self.draw(&moment),
                _ => {}
            }
            if leave {
                self.write("");
                self.earlier = None;
                self.slot.has_left();
            } else if closed {
                return;
            } else {
                thread::park();
            }
        }
    }

    fn draw(&mut self, moment: &Moment) {
        self.count_rates(moment);
        let size = tcgetwinsize(&self.out).map_or(Size::USUAL, Size::from);
        let text = screen::text(self.form, size, moment, &self.rates);
        let before = self.drawn.map_or_else(String::new, screen::over);
        let stays = matches!(self.form, Form::Terminal { .. });
        self.drawn = stays.then(|| text.matches('\n').count());
        let _ = self.out.write_all((before + &text).as_bytes());
    }

    /// Writes where the screen stood, which is gone then.
    fn write(&mut self, words: &str) {
        let before = self.drawn.take().map_or_else(String::new, screen::clear);
        let _ = self.out.write_all((before + words).as_bytes());
    }

    fn count_rates(&mut self, moment: &Moment) {
        let now = Earlier { moment: *moment, at: Instant::now(), cpu: own_cpu() };
        let Some(earlier) = &self.earlier else {
            self.earlier = Some(now);
            return;
        };
        if now.at - earlier.at >= RATES_OVER {
            self.rates = Rates::between(
                &earlier.moment,
                moment,
                now.cpu.saturating_sub(earlier.cpu),
                now.at - earlier.at,
            );
            self.earlier = Some(now);
        }
    }
}

fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

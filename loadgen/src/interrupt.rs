//! SIGINT and SIGTERM while packets are sent: the first asks the run to end, the second ends the
//! process where it stands.
//!
//! A process that makes several runs has one flag for all: a signal that comes between two of them
//! ends the next one before it has sent anything.
//!
//! Invariant: who is woken by the pipe finds the flag set, as the flag is set first.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Exit status of a run that a signal ended: what a shell gives for SIGINT, for both signals.
pub const STATUS_INTERRUPTED: u8 = 130;

/// Whether a signal has come, and a descriptor that becomes readable when one does.
#[derive(Debug)]
pub struct Interrupt {
    seen: Arc<AtomicBool>,
    wake: UnixStream,
    /// Kept, as an end that is gone makes the other readable.
    write: UnixStream,
}

/// The handlers are the process's, so that they are set once.
static WATCHED: Mutex<Option<Interrupt>> = Mutex::new(None);

impl Interrupt {
    /// From now on the first signal is ours to see. Until then it ends the process, as there is
    /// nothing to report yet.
    ///
    /// # Errors
    ///
    /// When the kernel gives no pair of sockets, or takes no handler.
    pub fn watch() -> io::Result<Self> {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        let interrupt = match watched.take() {
            Some(interrupt) => interrupt,
            None => Self::register()?,
        };
        watched.insert(interrupt).try_clone()
    }

    fn try_clone(&self) -> io::Result<Self> {
        let (seen, wake) = (Arc::clone(&self.seen), self.wake.try_clone()?);
        Ok(Self { seen, wake, write: self.write.try_clone()? })
    }

    fn register() -> io::Result<Self> {
        let seen = Arc::new(AtomicBool::new(false));
        let (wake, write) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT] {
            // In this order: a signal that finds the flag set was the second.
            let status = STATUS_INTERRUPTED.into();
            flag::register_conditional_shutdown(signal, status, Arc::clone(&seen))?;
            flag::register(signal, Arc::clone(&seen))?;
            low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { seen, wake, write })
    }

    /// One that no signal ends: for a thread that another one waits for.
    ///
    /// # Errors
    ///
    /// When the kernel gives no pair of sockets.
    pub fn never() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        Ok(Self { seen: Arc::default(), wake, write })
    }

    /// Whether a signal has come.
    #[must_use]
    pub fn seen(&self) -> bool {
        self.seen.load(Ordering::Acquire)
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

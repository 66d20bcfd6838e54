//! The whole map: which thread runs what, what joins it to which, and what each line does when it is
//! full.
//!
//! ```text
//!   main, signals         control (monoio)                     shard 0 (epoll)
//!   parses, binds,        accepts, dials, handshakes,          links, packets, ledgers,
//!   starts; waits for     authenticates, control socket,       timers: the core
//!   signals, stops        log
//!
//!   signals -- Shutdown ------------------------------------->  inbox        waits
//!   control -- Link ----------------------------------------->  inbox        refuses: connection closed
//!   control -- Ask, SetDraining ----------------------------->  inbox        refuses: operator told
//!   shard ---- answer to one Ask ---------->  control           room for it made by the Ask
//!   shard ---- Event ---------------------->  control           drops: counted as events_lost
//!   shard ---- link is up or down --------->  control           a word an account: nothing to fill
//!   anyone --- wake ----------------------------------------->  eventfd      merges
//!   anyone --- nudge ---------------------->  socket pair       drops: a nudge is already there
//!   resolver - addresses of one name ------>  control           room for them made by the dial
//! ```
//!
//! A resolver is a thread that lives for one look-up; so is the one that logs a signal's line. No thread waits for another's lock, and the
//! shard waits for nobody. A panic on any thread ends the process.

use core::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::bounded;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::bind::{self, Sockets};
use crate::config::{Config, Problems};
use crate::control::{self, Bound};
use crate::limits::{EVENTS_LEN, INBOX_LEN, SIGNAL_LOG_PATIENCE};
use crate::shard::message::{Board, ToShard};
use crate::shard::wake::{Nudge, shard_wake, wake};
use crate::shard::{self, NS_PER_MS, Settings, Shard};
use crate::{assemble, log};

/// Exit status when a second signal cuts the ending short.
const STATUS_CUT_SHORT: i32 = 3;

/// What keeps a switch from starting.
#[derive(Debug)]
pub enum StartError {
    /// An address or a path of the configuration cannot be had.
    Configuration(Problems),
    /// The system has no descriptor or thread left.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(problems) => write!(f, "{problems}"),
            Self::System(error) => write!(f, "m2-switch cannot start: {error}"),
        }
    }
}

impl core::error::Error for StartError {}

impl<E: Into<io::Error>> From<E> for StartError {
    fn from(error: E) -> Self {
        Self::System(error.into())
    }
}

/// Runs the switch until a signal ends it.
///
/// # Errors
///
/// What keeps it from starting; no socket file of ours is left then.
pub fn run(config: Config) -> Result<(), StartError> {
    log::start(config.log);
    // Before anything is bound: a signal while we start is one to stop in order, too.
    let signals = Signals::new([SIGTERM, SIGINT])?;
    let Sockets { bound, control_socket, files } =
        bind::all(&config).map_err(StartError::Configuration)?;
    let config = Arc::new(config);

    let (to_shard, inbox) = bounded(INBOX_LEN);
    let (events_in, events) = bounded(EVENTS_LEN);
    let (nudge, nudged) = Nudge::pair()?;
    let shard_wake = Arc::new(shard_wake()?);
    let board = Arc::new(Board::new(config.accounts.len()));
    let stopping = Arc::new(AtomicBool::new(false));
    let shard_ended = Arc::new(AtomicBool::new(false));

    let switch = assemble::switch(&config, shard::now());
    let joints = shard::Joints {
        inbox,
        wake: Arc::clone(&shard_wake),
        events: events_in,
        nudge: nudge.clone(),
        board: Arc::clone(&board),
    };
    let shard = Shard::new(switch, config.assets.len(), settings(&config), joints)?;
    let joints = control::Joints {
        to_shard: to_shard.clone(),
        shard_wake: Arc::clone(&shard_wake),
        events,
        nudged,
        nudge: nudge.clone(),
        board,
        stopping: Arc::clone(&stopping),
        shard_ended: Arc::clone(&shard_ended),
    };

    let (signals_end, signals_thread) = {
        let (wake_up, nudge) = (Arc::clone(&shard_wake), nudge.clone());
        on_signals(signals, move || {
            stopping.store(true, Ordering::Release);
            // The shard takes messages whatever else it does, so this waits for moments only.
            to_shard.send(ToShard::Shutdown).expect("the shard lives until it is told to end");
            wake(&wake_up);
            nudge.send();
        })?
    };
    tell_ready(&config, &bound);
    let shard_thread = thread::Builder::new().name("shard-0".into()).spawn(move || {
        shard.run();
        shard_ended.store(true, Ordering::Release);
        nudge.send();
    })?;
    let control_thread = thread::Builder::new()
        .name("control".into())
        .spawn(move || control::run(config, bound, control_socket, joints))?;

    shard_thread.join().expect("a panic ends the process before this");
    control_thread.join().expect("a panic ends the process before this");
    signals_end.close();
    signals_thread.join().expect("a panic ends the process before this");
    drop(files);
    tracing::info!("stopped");
    Ok(())
}

/// Stops at the first signal, ends the process at the second. A thread of its own, which waits for
/// nobody, so that a second signal works however stuck the others are.
fn on_signals(
    mut signals: Signals,
    stop: impl FnOnce() + Send + 'static,
) -> io::Result<(Handle, JoinHandle<()>)> {
    let end = signals.handle();
    let mut stop = Some(stop);
    let thread = thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let signal = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
            if let Some(stop) = stop.take() {
                stop();
                tell(move || tracing::info!(signal, "stopping: no new packet is taken"));
            } else {
                tell(move || {
                    tracing::warn!(
                        signal,
                        "a second signal: ending at once with exit status {STATUS_CUT_SHORT}; \
                         packets in flight are left without an answer"
                    );
                });
                std::process::exit(STATUS_CUT_SHORT);
            }
        }
    })?;
    Ok((end, thread))
}

/// Logs, but waits only so long for whoever reads the log.
fn tell(log: impl FnOnce() + Send + 'static) {
    let is_told = Arc::new(AtomicBool::new(false));
    let (told, waiting) = (Arc::clone(&is_told), thread::current());
    let teller = thread::Builder::new().name("log".into()).spawn(move || {
        log();
        told.store(true, Ordering::Release);
        waiting.unpark();
    });
    let deadline = Instant::now() + SIGNAL_LOG_PATIENCE;
    while teller.is_ok() && !is_told.load(Ordering::Acquire) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

fn settings(config: &Config) -> Settings {
    let ns = |ms: u32| u64::from(ms) * NS_PER_MS;
    Settings {
        egress_bytes_max: config.connection.egress_bytes_max as usize,
        bad_frames_max: config.connection.bad_frames_max,
        ping_ns: ns(config.connection.ping_ms),
        close_ns: ns(config.connection.close_ms),
        spin_ns: u64::from(config.switch.spin_us) * 1_000,
        shutdown_ns: ns(config.switch.shutdown_ms),
    }
}

fn tell_ready(config: &Config, bound: &[Bound]) {
    let listen: Vec<String> =
        bound.iter().map(|it| format!("{} {}", it.transport.word(), it.address)).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = config.switch.address.as_str(),
        accounts = config.accounts.len(),
        listen = listen.join(", "),
        control_socket = %config.switch.control_socket.display(),
        "ready"
    );
    tracing::warn!("there is no journal: balances do not survive a restart");
}

//! The whole map: which thread runs what, what joins it to which, and what each line does when it is
//! full.
//!
//! ```text
//!   main                  control (monoio)                     shard 0 (epoll)
//!   parses, binds,        accepts, dials, handshakes,          links, packets, ledgers,
//!   starts, waits for     authenticates, control socket,       timers: the core
//!   signals               log
//!
//!   main ----- Shutdown ------------------------------------->  inbox        waits
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
//! A resolver is a thread that lives for one look-up. No thread waits for another's lock, and the
//! shard waits for nobody. A panic on any thread ends the process.

use core::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::bounded;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::bind::{self, Sockets};
use crate::config::{Config, Problems};
use crate::control::{self, Bound};
use crate::limits::{EVENTS_LEN, INBOX_LEN};
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
    // Before any thread: signals are for main, and nothing may be lost while starting.
    let mut signals = signals()?;
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

    tell_ready(&config, &bound);
    let shard_thread = {
        let nudge = nudge.clone();
        thread::Builder::new().name("shard-0".into()).spawn(move || {
            shard.run();
            shard_ended.store(true, Ordering::Release);
            nudge.send();
        })?
    };
    let handle = signals.handle();
    let control_thread = thread::Builder::new().name("control".into()).spawn(move || {
        control::run(config, bound, control_socket, joints);
        handle.close();
    })?;

    for signal in signals.forever() {
        if !stopping.swap(true, Ordering::AcqRel) {
            // The shard takes messages whatever else it does, so this waits for moments only.
            to_shard.send(ToShard::Shutdown).expect("the shard lives until it is told to end");
            wake(&shard_wake);
            nudge.send();
            // Last, as whoever reads the log may not.
            let signal = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
            tracing::info!(signal, "stopping: no new packet is taken");
        }
    }
    shard_thread.join().expect("a panic ends the process before this");
    control_thread.join().expect("a panic ends the process before this");
    drop(files);
    tracing::info!("stopped");
    Ok(())
}

/// The first signal is for us to see; the second ends the process where it stands, whatever we do.
fn signals() -> io::Result<Signals> {
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        let status = STATUS_CUT_SHORT;
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&seen))?;
        signal_hook::flag::register(signal, Arc::clone(&seen))?;
    }
    Signals::new([SIGTERM, SIGINT])
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

//! The whole map: which thread runs what, what joins it to which, and what each line does when it is
//! full.
//!
//! ```text
//!   main, signals         control (monoio)               shard 0 (epoll)          journal (io_uring)
//!   parses, binds,        accepts, dials, handshakes,    links, packets,          batches, flushes;
//!   recovers, starts;     authenticates, control         ledgers, timers:         journal-files:
//!   stops                 socket, log                    the core                 segments, snapshots
//!
//!   signals -- Shutdown ------------------------------------->  inbox        waits
//!   control -- Link ----------------------------------------->  inbox        refuses: connection closed
//!   control -- Ask, SetDraining ----------------------------->  inbox        refuses: operator told
//!   shard ---- answer to one Ask ---------->  control           room for it made by the Ask
//!   shard ---- Event ---------------------->  control           drops: counted as events_lost
//!   shard ---- link is up or down --------->  control           a word an account: nothing to fill
//!   shard ---- records -------------------->  journal           kept in the core: then PREPAREs get T03
//!   shard ---- image for a snapshot ------->  journal           drops: the next is as good
//!   journal -- durable, health, wishes ---->  shard             words: nothing to fill
//!   journal -- Event ---------------------->  control           drops: the health stands in `status`
//!   journal -- files to make or retire ---->  journal-files     waits
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
use m2_core::Durability;
use m2_journal::Health;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::{Handle, Signals};

use crate::bind::{self, Sockets};
use crate::clock::{self, NS_PER_MS};
use crate::config::{Config, Problems};
use crate::control::{self, Bound};
use crate::limits::{EVENTS_LEN, INBOX_LEN, SIGNAL_LOG_PATIENCE};
use crate::shard::message::{Board, ToShard};
use crate::shard::wake::{Nudge, shard_wake, wake};
use crate::shard::{self, Settings, Shard};
use crate::{assemble, journal, log};

/// Exit status when a second signal cuts the ending short.
const STATUS_CUT_SHORT: i32 = 3;

/// What keeps a switch from starting.
#[derive(Debug)]
pub enum StartError {
    /// An address or a path of the configuration cannot be had.
    Configuration(Problems),
    /// The journal cannot be opened, or is damaged.
    Journal(String),
    /// The system has no descriptor or thread left.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(problems) => write!(f, "{problems}"),
            Self::Journal(sentence) => write!(f, "m2-switch cannot start: {sentence}"),
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

/// How a switch ended that had started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// A signal stopped it: what was in flight has been answered, or was given its time.
    InOrder,
    /// The journal's disk failed: what could not be recorded was told.
    JournalFailed,
}

/// Runs the switch until a signal, or the end of its journal, ends it.
///
/// # Errors
///
/// What keeps it from starting; no socket file of ours is left then.
pub fn run(mut config: Config) -> Result<Ending, StartError> {
    log::start(config.log);
    // Before anything is bound: a signal while we start is one to stop in order, too.
    let signals = Signals::new([SIGTERM, SIGINT])?;
    // A file that may not grow is an error of its write, as any other, and no reason to die at once.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let Sockets { bound, control_socket, files } =
        bind::all(&config).map_err(StartError::Configuration)?;

    let (to_shard, inbox) = bounded(INBOX_LEN);
    let (events_in, events) = bounded(EVENTS_LEN);
    let (nudge, nudged) = Nudge::pair()?;
    let shard_wake = Arc::new(shard_wake()?);
    let stopping = Arc::new(AtomicBool::new(false));
    let shard_ended = Arc::new(AtomicBool::new(false));

    let (signals_end, signals_thread) = {
        let (to_shard, wake_up) = (to_shard.clone(), Arc::clone(&shard_wake));
        let (nudge, stopping) = (nudge.clone(), Arc::clone(&stopping));
        on_signals(signals, move || {
            stopping.store(true, Ordering::Release);
            // The shard takes messages whatever else it does; before it starts there is room.
            to_shard.send(ToShard::Shutdown).expect("the shard lives until it is told to end");
            wake(&wake_up);
            nudge.send();
        })?
    };
    // The journal may be long, or nobody read what we tell of it: signals are heard meanwhile.
    let opened = journal::open(&mut config)?;
    let config = Arc::new(config);
    let mut switch = assemble::switch(&config, clock::now());
    let board = Arc::new(Board::new(config.accounts.len()));
    let mut journal = None;
    let mut recorder = None;
    let mut words = None;
    let recovered = opened.as_ref().map(|opened| opened.recovered());
    if let Some(opened) = opened {
        opened.restore(&mut switch);
        let shard_wakes = vec![Arc::clone(&shard_wake)];
        let (running, mut joints) =
            opened.start(&config, shard_wakes, events_in.clone(), nudge.clone())?;
        words = Some(running.words());
        recorder = joints.pop();
        journal = Some(running);
    }
    let joints = shard::Joints {
        inbox,
        wake: Arc::clone(&shard_wake),
        events: events_in,
        nudge: nudge.clone(),
        board: Arc::clone(&board),
        recorder,
    };
    #[cfg_attr(not(feature = "forwarder"), expect(unused_mut))]
    let mut shard = Shard::new(switch, config.assets.len(), settings(&config), joints)?;
    #[cfg(feature = "forwarder")]
    if config.forwards {
        shard.set_forwarding(&config).map_err(io::Error::other)?;
        tracing::error!("NO SWITCH: a forwarder for benches. IT KEEPS NO BOOKS and checks nothing");
    }
    let joints = control::Joints {
        to_shard: to_shard.clone(),
        shard_wake: Arc::clone(&shard_wake),
        events,
        nudged,
        nudge: nudge.clone(),
        board,
        words,
        recovered,
        stopping: Arc::clone(&stopping),
        shard_ended: Arc::clone(&shard_ended),
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
    let health = journal.map(journal::Running::end);
    control_thread.join().expect("a panic ends the process before this");
    signals_end.close();
    signals_thread.join().expect("a panic ends the process before this");
    drop(files);
    if health == Some(Health::Failed) {
        tracing::error!("stopped, as the journal has failed");
        return Ok(Ending::JournalFailed);
    }
    tracing::info!("stopped");
    Ok(Ending::InOrder)
}

/// Runs the forwarder until a signal ends it: a switch in everything but the core, with nothing to record.
///
/// # Errors
///
/// What keeps it from starting, a configuration with routes that it cannot go by among it.
#[cfg(feature = "forwarder")]
pub fn forward(mut config: Config) -> Result<(), StartError> {
    config.forwards = true;
    config.accounts.iter_mut().for_each(|account| account.durability = Durability::None);
    run(config).map(drop)
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
                // What was acknowledged before its record was durable gets this much time.
                journal::last_words::wait();
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
    if config.accounts.iter().all(|account| account.durability == Durability::None) {
        tracing::warn!("nothing is recorded: balances do not survive a restart");
    }
}

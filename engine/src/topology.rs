//! The whole map: which thread runs what, what joins it to which, and what each line does when it is
//! full.
//!
//! ```text
//!   main, signals        control (monoio)          shard-0 ... shard-N (io/)     journal (io_uring)
//!   parses, binds,       accepts, dials, hand-     each its accounts' links,     batches, flushes,
//!   recovers, starts;    shakes, authenticates,    packets, ledgers, timers:     a stream a shard;
//!   stops                control socket, log       a core; on a core of its own  journal-files:
//!                                                  where `cores` says so         segments, snapshots
//!
//!   signals -- Shutdown to each shard -------------------->  inbox       waits
//!   control -- Link to its account's shard --------------->  inbox       refuses: connection closed
//!   control -- Order to its account's shard -------------->  inbox       refuses: operator told
//!   control -- Ask, SetDraining to each shard ------------>  inbox       refuses: operator told
//!   routes --- Routes to each shard ---------------------->  inbox       waits
//!   shard ---- the routes before ------------->  routes                  room for them made by Routes
//!   routes --- what it came to --------------->  control                 room for it made by the order
//!   shard ---- answer to one Ask or Order ---->  control                 room for it made by who asked
//!   shard ---- Event ------------------------->  control                 drops: counted as events_lost
//!   shard ---- Keys, TalkReply, TalkMessage -->  control                 kept: then messages of peers get T00
//!   control -- Talk to its account's shard --------------->  inbox       refuses: `reply` says so, or time is up
//!   shard ---- link is up or down ------------>  control                 a word an account: nothing to fill
//!   shard ---- accounts as they are ---------->  any reader              words under a sequence: nothing to fill
//!   shard ---- Forward, PREPARE -------------->  each other shard        refuses: PREPARE gets T03
//!   shard ---- Answer, FULFILL or REJECT ----->  each other shard        waits: place reserved, bytes in sockets
//!   shard ---- bell -------------------------->  each other shard        eventfd, if it sleeps: merges
//!   shard ---- how far it is at the end ------>  each other shard        a word a shard: nothing to fill
//!   shard ---- records ----------------------->  journal                 kept in the core: then PREPAREs get T03
//!   shard ---- image for a snapshot ---------->  journal                 drops: the next is as good
//!   journal -- durable, health, wishes ------->  each shard              words: nothing to fill
//!   journal -- Event ------------------------->  control                 drops: the health stands in `status`
//!   journal -- files to make or retire ------->  journal-files           waits
//!   anyone --- wake -------------------------->  a shard                 eventfd: merges
//!   anyone --- nudge ------------------------->  control                 drops: a nudge is already there
//!   resolver - addresses of one name --------->  control                 room for them made by the dial
//! ```
//!
//! N shards have N x (N - 1) rings of Forwards and as many of Answers (`shard/crossing.rs`). What waits
//! with an Answer's bytes is a link that is not received from: never a shard, which always takes what is
//! in its rings. A resolver is a thread that lives for one look-up; so is the one that logs a signal's
//! line, and `routes` lives for one reading of the route file. No thread waits for another's lock, and a
//! shard waits for nobody but, at its end, for the other shards (`shard/ending.rs`). A panic on any thread
//! ends the process.

use core::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};
use m2_core::{AccountId, Durability, ShardId, Switch};
use m2_journal::Health;
use m2_published::Publisher;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::{Handle, Signals};

use crate::bind::{self, Sockets};
use crate::clock::{self, NS_PER_MS};
use crate::config::{Config, Problems};
use crate::control::{self, Bound};
use crate::io::BackEnd;
use crate::io::choose::{self, Choice, Reason};
use crate::limits::{EVENTS_LEN, INBOX_LEN, SIGNAL_LOG_PATIENCE};
use crate::shard::crossing;
use crate::shard::ending::Endings;
use crate::shard::message::{Board, Event, Mailbox, ToShard};
use crate::shard::wake::{Nudge, shard_wake, wake};
use crate::shard::{self, Settings, Shard, recorder};
use crate::{assemble, journal, log, pin, routes};

/// Exit status when a second signal cuts the ending short.
const STATUS_CUT_SHORT: i32 = 3;

/// What keeps a switch from starting.
#[derive(Debug)]
pub enum StartError {
    /// An address or a path of the configuration cannot be had.
    Configuration(Problems),
    /// The journal cannot be opened, or is damaged.
    Journal(String),
    /// The kernel does not permit what is to move bytes.
    Io(String),
    /// The system has no descriptor or thread left.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(problems) => write!(f, "{problems}"),
            Self::Journal(sentence) | Self::Io(sentence) => {
                write!(f, "m2-switch cannot start: {sentence}")
            }
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
    pin::refuse(&config).map_err(StartError::Configuration)?;
    let choice = choose::choose(config.switch.io).map_err(StartError::Io)?;
    let Sockets { bound, control_socket, settlement_socket, files } =
        bind::all(&config).map_err(StartError::Configuration)?;

    let Doors { mailboxes, inboxes } = doors(config.switch.shards)?;
    let (events_in, events) = bounded(EVENTS_LEN * mailboxes.len());
    let (nudge, nudged) = Nudge::pair()?;
    let stopping = Arc::new(AtomicBool::new(false));
    let shards_ended = Arc::new(AtomicBool::new(false));

    let (signals_end, signals_thread) = {
        let mailboxes = mailboxes.clone();
        let (nudge, stopping) = (nudge.clone(), Arc::clone(&stopping));
        on_signals(signals, move || {
            stopping.store(true, Ordering::Release);
            mailboxes.iter().for_each(shut_down);
            nudge.send();
        })?
    };
    // The journal may be long, or nobody read what we tell of it: signals are heard meanwhile.
    let opened = journal::open(&mut config)?;
    let routes = Arc::new(routes::load(&config).map_err(StartError::Configuration)?);
    let config = Arc::new(config);
    let mut switches = assemble::switches(&config, &routes, clock::now());
    drop(routes);
    let wakes: Vec<_> = mailboxes.iter().map(|it| Arc::clone(&it.wake)).collect();
    let board = Arc::new(Board::new(config.accounts.len()));
    let shard_count = usize::from(config.switch.shards);
    let (published, publishers) = m2_published::published(config.accounts.len(), shard_count);
    let mut journal = None;
    let mut recorders = Vec::new();
    let mut words = None;
    let recovered = opened.as_ref().map(|opened| opened.recovered());
    if let Some(opened) = opened {
        opened.restore(&config, &mut switches);
        let (running, joints) =
            opened.start(&config, wakes.clone(), events_in.clone(), nudge.clone())?;
        words = Some(running.words());
        recorders = joints;
        journal = Some(running);
    }
    let shards = Shards {
        switches,
        inboxes,
        wakes,
        recorders,
        events: events_in,
        nudge: nudge.clone(),
        board: Arc::clone(&board),
        publishers,
        ended: Arc::clone(&shards_ended),
    };
    let joints = control::Joints {
        shards: mailboxes,
        events,
        nudged,
        nudge,
        board,
        published,
        words,
        recovered,
        stopping: Arc::clone(&stopping),
        shards_ended,
    };

    tell_choice(&choice);
    #[cfg_attr(not(feature = "forwarder"), expect(unused_mut))]
    let mut shards = shards.join(&config, choice.back_end)?;
    #[cfg(feature = "forwarder")]
    if config.forwards {
        shards.set_forwarding(&config).map_err(io::Error::other)?;
    }
    tell_ready(&config, &bound);
    let shard_threads = spawn(shards, &config)?;
    let control_thread = thread::Builder::new()
        .name("control".into())
        .spawn(move || control::run(config, bound, control_socket, settlement_socket, joints))?;

    for shard in shard_threads {
        shard.join().expect("a panic ends the process before this");
    }
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

/// Both ends of what shards are told through, by shard.
struct Doors {
    mailboxes: Vec<Mailbox>,
    inboxes: Vec<Receiver<ToShard>>,
}

fn doors(shards: u16) -> io::Result<Doors> {
    let mut doors = Doors { mailboxes: Vec::new(), inboxes: Vec::new() };
    for _ in 0..shards {
        let (to_shard, inbox) = bounded(INBOX_LEN);
        doors.mailboxes.push(Mailbox { to_shard, wake: Arc::new(shard_wake()?) });
        doors.inboxes.push(inbox);
    }
    Ok(doors)
}

/// Tells a shard to end in order.
fn shut_down(shard: &Mailbox) {
    // It takes messages whatever else it does; before it starts there is room. One that has ended, as
    // the journal failed, need not be told.
    let _ = shard.to_shard.send(ToShard::Shutdown);
    wake(&shard.wake);
}

/// What the shards are made of, by shard.
struct Shards {
    switches: Vec<Switch>,
    inboxes: Vec<Receiver<ToShard>>,
    wakes: Vec<Arc<OwnedFd>>,
    /// Empty where nothing is recorded.
    recorders: Vec<recorder::Joints>,
    events: Sender<Event>,
    nudge: Nudge,
    board: Arc<Board>,
    publishers: Vec<Publisher>,
    /// Set by the last one that ends.
    ended: Arc<AtomicBool>,
}

/// Shards that are joined to each other, and what their threads tell when they end.
struct Joined {
    shards: Vec<Shard>,
    nudge: Nudge,
    ended: Arc<AtomicBool>,
}

impl Shards {
    /// Joins the shards by rings.
    fn join(self, config: &Config, back_end: BackEnd) -> Result<Joined, StartError> {
        let Self { switches, inboxes, wakes, recorders, events, nudge, board, publishers, ended } =
            self;
        let ids = (0_u32..).map(AccountId).take(config.accounts.len());
        let owners: Arc<[ShardId]> = ids.map(|id| config.shard_of(id)).collect();
        let crossings = crossing::between(&wakes);
        let endings = Arc::new(Endings::new(wakes.clone()));
        let mut recorders = recorders.into_iter();
        let parts = switches.into_iter().zip(inboxes).zip(wakes).zip(crossings).zip(publishers);
        let mut shards = Vec::new();
        for (id, ((((switch, inbox), wake), crossing), publisher)) in (0..).map(ShardId).zip(parts)
        {
            let joints = shard::Joints {
                shard: id,
                owners: Arc::clone(&owners),
                inbox,
                wake,
                events: events.clone(),
                nudge: nudge.clone(),
                board: Arc::clone(&board),
                publisher,
                endings: Arc::clone(&endings),
                recorder: recorders.next(),
            };
            let settings = settings(config);
            shards.push(Shard::new(
                switch,
                config.assets.len(),
                settings,
                joints,
                crossing,
                back_end,
            )?);
        }
        Ok(Joined { shards, nudge, ended })
    }
}

#[cfg(feature = "forwarder")]
impl Joined {
    /// Makes a forwarder of the one shard that there is.
    fn set_forwarding(&mut self, config: &Config) -> Result<(), String> {
        let [shard] = &mut self.shards[..] else {
            return Err(
                "the forwarder has one shard: remove `shards` from the configuration".into()
            );
        };
        shard.set_forwarding(config)?;
        tracing::error!("NO SWITCH: a forwarder for benches. IT KEEPS NO BOOKS and checks nothing");
        Ok(())
    }
}

/// A thread for each shard, on its core if it has one.
fn spawn(joined: Joined, config: &Config) -> io::Result<Vec<JoinHandle<()>>> {
    let Joined { shards, nudge, ended } = joined;
    let left = Arc::new(AtomicUsize::new(shards.len()));
    let mut threads = Vec::new();
    for (number, shard) in shards.into_iter().enumerate() {
        let core = config.switch.cores.as_ref().map(|cores| cores[number]);
        let (nudge, ended, left) = (nudge.clone(), Arc::clone(&ended), Arc::clone(&left));
        let run = move || {
            if let Some(core) = core
                && let Err(error) = pin::this_thread(core)
            {
                tracing::warn!(shard = number, core, %error, "the shard cannot stay on its core");
            }
            shard.run();
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                ended.store(true, Ordering::Release);
                nudge.send();
            }
        };
        threads.push(thread::Builder::new().name(format!("shard-{number}")).spawn(run)?);
    }
    Ok(threads)
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

/// What moves the bytes of links, and why.
fn tell_choice(Choice { back_end, reason }: &Choice) {
    let io = back_end.word();
    match reason {
        Reason::NotPermitted(_) => tracing::warn!("io = \"{io}\" chosen: {reason}"),
        _ => tracing::info!("io = \"{io}\" chosen: {reason}"),
    }
}

fn tell_ready(config: &Config, bound: &[Bound]) {
    let listen: Vec<String> =
        bound.iter().map(|it| format!("{} {}", it.transport.word(), it.address)).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = config.switch.address.as_str(),
        accounts = config.accounts.len(),
        shards = config.switch.shards,
        listen = listen.join(", "),
        control_socket = %config.switch.control_socket.display(),
        "ready"
    );
    let is_anyone_paid = config.accounts.iter().any(|account| account.settle.is_some());
    if is_anyone_paid && config.switch.settlement_socket.is_none() {
        tracing::warn!(
            "nobody hears what is to be paid: there is a settle_threshold, and no settlement_socket"
        );
    }
    if config.accounts.iter().all(|account| account.durability == Durability::None) {
        tracing::warn!("nothing is recorded: balances do not survive a restart");
    }
}

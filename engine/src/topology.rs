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

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_channel::bounded;
use rustix::fs::Mode;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{Config, Listen, ListenAddress};
use crate::control::{self, Bound, Listener};
use crate::limits::{BIND_PATIENCE, BIND_REST, EVENTS_LEN, INBOX_LEN};
use crate::shard::message::{Board, ToShard};
use crate::shard::wake::{Nudge, shard_wake, wake};
use crate::shard::{self, NS_PER_MS, Settings, Shard};
use crate::{assemble, log};

/// Exit status when a second signal cuts the ending short.
const STATUS_CUT_SHORT: i32 = 3;

/// Runs the switch until a signal ends it.
///
/// # Errors
///
/// What keeps it from starting: an address that is taken, no descriptor left.
pub fn run(config: Config) -> io::Result<()> {
    log::start(config.log);
    // Before any thread: signals are for main, and nothing may be lost while starting.
    let mut signals = signals()?;
    let bound = config.listen.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
    let control_path = config.switch.control_socket.clone();
    let control_socket = patiently(|| bind_unix(&control_path, Some(0o600)))?;
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

    let paths: Vec<PathBuf> = unix_paths(&config).chain([control_path]).collect();
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
    paths.iter().for_each(|path| drop(std::fs::remove_file(path)));
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

fn unix_paths(config: &Config) -> impl Iterator<Item = PathBuf> + '_ {
    config.listen.iter().filter_map(|listen| match &listen.address {
        ListenAddress::Path(path) => Some(path.clone()),
        ListenAddress::Socket(_) => None,
    })
}

fn bind(listen: &Listen) -> io::Result<Bound> {
    let named = |error: io::Error| {
        let text = format!("cannot listen (line {} of the configuration): {error}", listen.line);
        io::Error::new(error.kind(), text)
    };
    let (address, listener) = match &listen.address {
        ListenAddress::Socket(address) => {
            let listener = patiently(|| std::net::TcpListener::bind(address)).map_err(named)?;
            (listener.local_addr()?.to_string(), Listener::Tcp(listener))
        }
        ListenAddress::Path(path) => {
            (path.display().to_string(), Listener::Unix(patiently(|| bind_unix(path, None))?))
        }
    };
    Ok(Bound { transport: listen.transport, address, listener })
}

/// Tries for a moment when an address is taken: of a process that was killed, the kernel takes its
/// io_uring down behind its back, and the listeners with it.
fn patiently<T>(mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        match bind() {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && began.elapsed() < BIND_PATIENCE =>
            {
                thread::sleep(BIND_REST);
            }
            bound => return bound,
        }
    }
}

/// Binds a Unix socket, over one that a process left behind, but not over one that is in use.
fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot listen at {}: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(named)?;
    }
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        if UnixStream::connect(path).is_ok() {
            return Err(named(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens there",
            )));
        }
        std::fs::remove_file(path).map_err(named)?;
    }
    // Made with its mode and not changed to it: nobody else can connect in between.
    let before = mode.map(|mode| rustix::process::umask(Mode::from_raw_mode(!mode & 0o777)));
    let listener = UnixListener::bind(path).map_err(named);
    if let Some(before) = before {
        rustix::process::umask(before);
    }
    let listener = listener?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(named)?;
    }
    Ok(listener)
}

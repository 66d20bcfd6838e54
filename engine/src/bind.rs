//! Binding every address and path of the configuration: all of them, or none is left behind.
//!
//! The kernel frees a TCP address with its socket, but the file of a Unix socket stays until someone
//! unlinks it. So each file that we make is at once in [`SocketFiles`], which unlinks it when it is
//! dropped: at the end, and where a later address cannot be had.

use core::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use rustix::fs::Mode;

use crate::config::{Config, ListenAddress, Problem, Problems};
use crate::control::{Bound, Listener};
use crate::limits::{BIND_PATIENCE, BIND_REST};

/// The control socket and the settlement socket are for their owner alone.
const CONTROL_MODE: u32 = 0o600;

/// Everything that is bound.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) bound: Vec<Bound>,
    pub(crate) control_socket: UnixListener,
    pub(crate) settlement_socket: Option<UnixListener>,
    pub(crate) files: SocketFiles,
}

/// Files of Unix sockets that we made, unlinked when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct SocketFiles(Vec<PathBuf>);

impl Drop for SocketFiles {
    fn drop(&mut self) {
        // One that somebody else unlinked is as gone as it should be.
        self.0.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}

/// Binds everything that the configuration names.
///
/// # Errors
///
/// The first that cannot be had, with its line.
pub(crate) fn all(config: &Config) -> Result<Sockets, Problems> {
    let mut files = SocketFiles::default();
    let mut bound = Vec::with_capacity(config.listen.len());
    for listen in &config.listen {
        let (address, listener) = match &listen.address {
            ListenAddress::Socket(address) => {
                tcp(*address).map(|(real, listener)| (real, Listener::Tcp(listener)))
            }
            ListenAddress::Path(path) => unix(path, None, &mut files)
                .map(|listener| (path.display().to_string(), Listener::Unix(listener))),
        }
        .map_err(|text| problem(config, listen.line, text))?;
        bound.push(Bound { transport: listen.transport, address, listener });
    }
    let switch = &config.switch;
    let control_socket = unix(&switch.control_socket, Some(CONTROL_MODE), &mut files)
        .map_err(|text| problem(config, switch.control_socket_line, text))?;
    let settlement_socket = match &switch.settlement_socket {
        Some(path) => Some(
            unix(path, Some(CONTROL_MODE), &mut files)
                .map_err(|text| problem(config, switch.settlement_socket_line, text))?,
        ),
        None => None,
    };
    Ok(Sockets { bound, control_socket, settlement_socket, files })
}

fn problem(config: &Config, line: usize, text: String) -> Problems {
    Problems { file: config.file.clone(), list: vec![Problem { line: Some(line), text }] }
}

fn tcp(address: std::net::SocketAddr) -> Result<(String, TcpListener), String> {
    patiently(|| TcpListener::bind(address))
        .and_then(|listener| Ok((listener.local_addr()?.to_string(), listener)))
        .map_err(|error| format!("cannot listen on {address}: {error}"))
}

fn unix(path: &Path, mode: Option<u32>, files: &mut SocketFiles) -> Result<UnixListener, String> {
    let listener = patiently(|| bind_unix(path, mode))
        .map_err(|error| format!("cannot listen at {}: {error}", path.display()))?;
    files.0.push(path.to_owned());
    if let Some(mode) = mode {
        // Where the folder has a default ACL, the umask was not asked.
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| format!("cannot have {} for us alone: {error}", path.display()))?;
    }
    Ok(listener)
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

/// Binds a Unix socket, over one that a process left behind, but not over one that is in use, and
/// over nothing else.
fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .map_err(|error| because(&error, format_args!("its folder cannot be made: {error}")))?;
    }
    if let Ok(found) = fs::symlink_metadata(path) {
        make_room(path, found.file_type())?;
    }
    // Made with its mode and not changed to it: nobody else can connect in between.
    let before = mode.map(|mode| rustix::process::umask(Mode::from_raw_mode(!mode & 0o777)));
    let listener = UnixListener::bind(path);
    if let Some(before) = before {
        rustix::process::umask(before);
    }
    listener
}

fn make_room(path: &Path, found: fs::FileType) -> io::Result<()> {
    if !found.is_socket() {
        let what = match found {
            found if found.is_dir() => "a folder",
            found if found.is_file() => "a regular file",
            _ => "something else than a socket",
        };
        let text = format!("{what} stands there: move it away, or write another path");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    fs::remove_file(path).map_err(|error| {
        because(&error, format_args!("a socket left behind there cannot be removed: {error}"))
    })
}

fn because(error: &io::Error, text: fmt::Arguments<'_>) -> io::Error {
    io::Error::new(error.kind(), text.to_string())
}

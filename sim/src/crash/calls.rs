//! A request of the writer, performed one call of the disk at a time, so that anything may happen
//! between two of them.
//!
//! [`m2_journal::perform`] itself says which call comes next: it is run from its beginning for each
//! step, is told of the calls before what they returned, makes one, and is stopped at the one after.

use std::io;

use m2_journal::{Entry, Op, OpId, Storage, perform};

use super::disk::{Disk, Flush};
use crate::dice::mix;

/// What a call has returned.
type Returned = Result<(), io::ErrorKind>;

/// One request, part of whose calls have been made.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) id: OpId,
    pub(crate) op: Op,
    past: Vec<Returned>,
    /// Begun by the last step.
    flush: Option<Flush>,
    /// Set once there is no call left.
    pub(crate) ended: Option<Returned>,
}

/// What a call is made to do instead of succeeding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The disk is full: part of a write is there.
    Full(u64),
    /// A write or a flush fails: part of it is there.
    Broken(u64),
}

/// What the next step of a request does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// A call that changes what is seen, or the second half of a flush.
    Call(String),
    /// The first half of a flush.
    Flush(String),
    /// It is to be told to the writer.
    Done,
}

impl Running {
    pub(crate) fn new(id: OpId, op: Op) -> Self {
        Self { id, op, past: Vec::new(), flush: None, ended: None }
    }

    /// Makes the next call, or the next half of a flush; what it was.
    pub(crate) fn step(&mut self, disk: &mut Disk, fault: Option<Fault>) -> Next {
        assert!(self.ended.is_none(), "a request that has ended has no call left");
        let Self { op, past, flush, .. } = self;
        let told = past.len();
        let mut player =
            Player { disk, past, told, at: 0, fault, flush, did: None, is_stopped: false };
        let result = perform(&mut player, op);
        let Player { did, is_stopped, .. } = player;
        if !is_stopped {
            self.ended = Some(result.map_err(|error| error.kind()));
        }
        did.unwrap_or(Next::Done)
    }
}

/// A storage that plays what was, lets one call through, and stops there.
struct Player<'a> {
    disk: &'a mut Disk,
    past: &'a mut Vec<Returned>,
    /// How many calls were made before this step.
    told: usize,
    at: usize,
    fault: Option<Fault>,
    flush: &'a mut Option<Flush>,
    did: Option<Next>,
    is_stopped: bool,
}

impl Player<'_> {
    fn call(
        &mut self,
        name: impl FnOnce() -> String,
        run: impl FnOnce(&mut Disk, Option<Fault>) -> io::Result<()>,
    ) -> io::Result<()> {
        let at = self.at;
        self.at += 1;
        if at < self.told {
            return self.past[at].map_err(io::Error::from);
        }
        if self.did.is_some() {
            return self.stop();
        }
        self.did = Some(Next::Call(name()));
        let returned = run(self.disk, self.fault).map_err(|error| error.kind());
        self.past.push(returned);
        returned.map_err(io::Error::from)
    }

    /// Two steps: what is written between them, the flush does not cover.
    fn flush(&mut self, path: &str, is_folder: bool) -> io::Result<()> {
        let is_begun = self.flush.is_some();
        if self.at >= self.told && self.did.is_none() && !is_begun {
            self.did = Some(Next::Flush(format!("flush {path}/ begins")));
            return match self.disk.begin_flush(path, is_folder) {
                Ok(flush) => {
                    *self.flush = Some(flush);
                    self.stop()
                }
                Err(error) => {
                    self.at += 1;
                    self.past.push(Err(error.kind()));
                    Err(error)
                }
            };
        }
        let begun =
            if self.at >= self.told && self.did.is_none() { self.flush.take() } else { None };
        self.call(
            || format!("flush {path} ends"),
            |disk, fault| {
                let flush = begun.expect("the step before began it");
                match fault {
                    None => {
                        disk.end_flush(flush);
                        Ok(())
                    }
                    Some(Fault::Full(salt) | Fault::Broken(salt)) => {
                        disk.fail_flush(flush, salt);
                        Err(io::Error::other("injected"))
                    }
                }
            },
        )
    }

    fn stop(&mut self) -> io::Result<()> {
        self.is_stopped = true;
        Err(io::Error::other("stopped"))
    }
}

/// Performs a change, or a part of it and then fails.
fn write(
    disk: &mut Disk,
    fault: Option<Fault>,
    path: &str,
    offset: u64,
    bytes: &[u8],
) -> io::Result<()> {
    let (salt, kind) = match fault {
        None => return disk.write_at(path, offset, bytes),
        Some(Fault::Full(salt)) => (salt, io::ErrorKind::StorageFull),
        Some(Fault::Broken(salt)) => (salt, io::ErrorKind::Other),
    };
    let len = usize::try_from(mix(salt, 1) % (bytes.len() as u64 + 1)).expect("at most a length");
    disk.write_at(path, offset, &bytes[..len])?;
    Err(kind.into())
}

fn or_fail(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        None => Ok(()),
        Some(_) => Err(io::ErrorKind::Other.into()),
    }
}

impl Storage for Player<'_> {
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        unreachable!("a request reads nothing: list {folder}")
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        unreachable!("a request reads nothing: len {path}")
    }

    fn read_at(&mut self, path: &str, _offset: u64, _buffer: &mut [u8]) -> io::Result<usize> {
        unreachable!("a request reads nothing: read {path}")
    }

    fn create_folder(&mut self, path: &str) -> io::Result<()> {
        self.call(
            || format!("create folder {path}"),
            |disk, fault| or_fail(fault).and_then(|()| disk.create_folder(path)),
        )
    }

    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call(
            || format!("write {path} {offset} {}", bytes.len()),
            |disk, fault| write(disk, fault, path, offset, bytes),
        )
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.call(
            || format!("truncate {path} {len}"),
            |disk, fault| or_fail(fault).and_then(|()| disk.truncate(path, len)),
        )
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        self.flush(path, false)
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        self.flush(path, true)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.call(
            || format!("rename {from} {to}"),
            |disk, fault| or_fail(fault).and_then(|()| disk.rename(from, to)),
        )
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.call(
            || format!("remove {path}"),
            |disk, fault| or_fail(fault).and_then(|()| disk.remove(path)),
        )
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.call(
            || format!("remove folder {path}"),
            |disk, fault| or_fail(fault).and_then(|()| disk.remove_folder(path)),
        )
    }
}

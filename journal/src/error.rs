//! Why a journal cannot be read: the disk, or what is on it. Each is one sentence that says where and
//! what can be done.

use core::fmt;
use std::io::{self, ErrorKind};

use crate::fault::Fault;
use crate::layout::FORMAT_VERSION;
use crate::names::SnapshotName;

/// What keeps a journal from being read.
#[derive(Debug)]
pub enum Error {
    /// The disk would not.
    Io {
        /// Which file or folder.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// What is on the disk is not what was written.
    Damage(Damage),
}

/// What is on the disk is not what was written, below what had been flushed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Which file.
    pub file: String,
    /// At which byte.
    pub offset: u64,
    /// What is wrong there.
    pub fault: Fault,
    /// What can be done.
    pub choices: Choices,
}

/// What can be done about a damaged file, besides restoring it from a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choices {
    /// Nothing: without it there is no beginning.
    Restore,
    /// The stream can be cut there: records from the position up are forgotten, those below
    /// `flushed` were promised to last.
    Cut {
        /// Whose records.
        stream: u16,
        /// The first that cannot be read.
        position: u64,
        /// All below had been flushed.
        flushed: u64,
        /// All below is in good snapshots, which can be begun from only while the stream can be read
        /// behind them.
        held: u64,
    },
    /// Nobody knows how much of the stream had been flushed: it can be cut where what can be read ends,
    /// which forgets nothing that is there and writes down anew that this is all.
    Mark {
        /// Which stream.
        stream: u16,
        /// How many records of it can be read.
        position: u64,
    },
    /// A snapshot is damaged, and nothing stands in for it: records between the one before it, or the
    /// base, and those that are left were retired.
    Snapshot {
        /// Another snapshot of the shard that is damaged as well: the newest of those.
        also: Option<SnapshotName>,
        /// The stream whose records are not all there.
        stream: u16,
        /// The first record of it that is.
        first: u64,
    },
}

impl Error {
    /// For `map_err`.
    pub(crate) fn io(path: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { path: path.to_owned(), error }
    }

    /// A file is where a folder should be, or a folder where a file should be.
    pub(crate) fn wrong_kind(path: &str, is_folder: bool) -> Self {
        let kind = if is_folder { ErrorKind::IsADirectory } else { ErrorKind::NotADirectory };
        Self::Io { path: path.to_owned(), error: kind.into() }
    }

    /// Damage that leaves no choice.
    pub(crate) fn damage(file: &str, offset: u64, fault: Fault) -> Self {
        Self::Damage(Damage { file: file.to_owned(), offset, fault, choices: Choices::Restore })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } if path.is_empty() => {
                write_io(f, "the journal's folder", error)
            }
            Self::Io { path, error } => write_io(f, path, error),
            Self::Damage(damage) => damage.fmt(f),
        }
    }
}

/// Where, what, and what to do about it.
fn write_io(f: &mut fmt::Formatter<'_>, at: &str, error: &io::Error) -> fmt::Result {
    match error.kind() {
        ErrorKind::IsADirectory => write!(
            f,
            "{at} is a folder, where a file should be: move it elsewhere, and restore the file from a \
             copy if there was one"
        ),
        ErrorKind::NotADirectory => {
            write!(f, "{at}: a file is where a folder should be: move it elsewhere")
        }
        ErrorKind::DirectoryNotEmpty => {
            write!(
                f,
                "{at} has something in it that the journal did not put there: move it elsewhere"
            )
        }
        ErrorKind::NotFound => {
            write!(f, "{at} is missing: see who else writes here, and restore it from a copy")
        }
        ErrorKind::PermissionDenied => write!(
            f,
            "{at} cannot be read or written ({error}): give whoever runs this the right to it and to \
             all that is beside it"
        ),
        ErrorKind::ReadOnlyFilesystem => {
            write!(f, "{at} cannot be written ({error}): mount this disk for writing")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            write!(f, "{at} cannot be written ({error}): make room on this disk")
        }
        _ => write!(
            f,
            "{at} cannot be read or written ({error}): see what the system's log says of this disk"
        ),
    }
}

impl core::error::Error for Error {}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, fault, choices } = self;
        if let Fault::Version(found) = fault {
            return write!(
                f,
                "{file} is written in format {found} of the journal and this program reads format \
                 {FORMAT_VERSION}: start the version that wrote it"
            );
        }
        write!(f, "{file} is damaged at byte {offset} ({fault})")?;
        match choices {
            Choices::Restore => f.write_str(": restore the file from a copy"),
            Choices::Cut { stream, position, flushed, held } => {
                write!(
                    f,
                    ", and with it records of stream {stream} from {position} on, of which those below \
                     {flushed} had been flushed"
                )?;
                if held > position {
                    write!(
                        f,
                        " and those below {held} are in good snapshots, which a cut sets aside"
                    )?;
                }
                f.write_str(
                    ": restore the file from a copy, or cut the stream there with `m2ctl journal cut`, \
                     which says how many records it forgets",
                )
            }
            Choices::Mark { stream, position } => write!(
                f,
                ", and with it what it said of stream {stream}, of which {position} records can be read: \
                 restore the file from a copy, or say that these are all with `m2ctl journal cut \
                 --stream {stream} --position {position}`, which writes it anew"
            ),
            Choices::Snapshot { also, stream, first } => {
                if let Some(also) = also {
                    write!(f, ", as is {}", also.path())?;
                }
                write!(
                    f,
                    ", and no older snapshot can stand in for it, as the records of stream {stream} \
                     below {first} were retired: restore a snapshot of this shard from a copy, or the \
                     retired segments from `archive`"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use m2_core::ShardId;

    use super::*;

    #[test]
    fn damage_is_one_sentence_that_names_file_offset_and_choices() {
        let cut = Choices::Cut { stream: 2, position: 70, flushed: 90, held: 70 };
        let file = "generation-00000001/stream-002-00000001.m2j".to_owned();
        let damage = Damage { file, offset: 8192, fault: Fault::Hash, choices: cut };
        assert_eq!(
            damage.to_string(),
            "generation-00000001/stream-002-00000001.m2j is damaged at byte 8192 (the hash does not \
             fit the bytes), and with it records of stream 2 from 70 on, of which those below 90 had \
             been flushed: restore the file from a copy, or cut the stream there with `m2ctl journal \
             cut`, which says how many records it forgets"
        );
        let cut = Choices::Cut { stream: 2, position: 70, flushed: 90, held: 80 };
        let held = Damage { choices: cut, ..damage };
        assert!(
            held.to_string().contains(
                "those below 90 had been flushed and those below 80 are in good snapshots, which a cut \
                 sets aside: restore"
            ),
            "{held}"
        );
        let snapshot = |number| SnapshotName { generation: 1, shard: ShardId(0), number };
        let choices = Choices::Snapshot { also: Some(snapshot(8)), stream: 2, first: 640 };
        let damage = Damage { file: snapshot(9).path(), offset: 0, fault: Fault::Hash, choices };
        assert_eq!(
            damage.to_string(),
            "generation-00000001/shard-000-00000009.m2s is damaged at byte 0 (the hash does not fit \
             the bytes), as is generation-00000001/shard-000-00000008.m2s, and no older snapshot can \
             stand in for it, as the records of stream 2 below 640 were retired: restore a snapshot of \
             this shard from a copy, or the retired segments from `archive`"
        );
        let choices = Choices::Mark { stream: 2, position: 70 };
        let file = "generation-00000001/stream-002.flushed".to_owned();
        let damage = Damage { file, offset: 0, fault: Fault::Missing, choices };
        assert_eq!(
            damage.to_string(),
            "generation-00000001/stream-002.flushed is damaged at byte 0 (the file is missing), and \
             with it what it said of stream 2, of which 70 records can be read: restore the file from a \
             copy, or say that these are all with `m2ctl journal cut --stream 2 --position 70`, which \
             writes it anew"
        );
        let error = Error::damage("generation-00000001/base.m2s", 0, Fault::Version(7));
        assert_eq!(
            error.to_string(),
            "generation-00000001/base.m2s is written in format 7 of the journal and this program \
             reads format 1: start the version that wrote it"
        );
    }
}

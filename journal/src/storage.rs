//! What the journal needs of a disk: few calls, synchronous, by path relative to the journal's folder.

use std::io;

/// What a folder holds under one name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    /// Without the folder.
    pub name: String,
    /// It is a folder itself.
    pub is_folder: bool,
}

/// A disk. [`crate::Files`] is the real one; the simulator's keeps after a crash what was flushed,
/// and of the rest whatever it likes.
///
/// Paths are relative to the journal's folder, with `/` between names; the folder itself is `""`.
/// Every call may fail; after a failed flush nothing is known about what it should have covered.
pub trait Storage {
    /// What a folder holds, sorted by name.
    ///
    /// # Errors
    ///
    /// As the system tells; [`io::ErrorKind::NotFound`] if there is no such folder.
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>>;

    /// Bytes of a file.
    ///
    /// # Errors
    ///
    /// As the system tells; [`io::ErrorKind::NotFound`] if there is no such file.
    fn len(&mut self, path: &str) -> io::Result<u64>;

    /// Reads until `buffer` is full or the file ends; tells how many bytes.
    ///
    /// # Errors
    ///
    /// As the system tells; [`io::ErrorKind::NotFound`] if there is no such file.
    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes a folder and those above it, for good: their names are flushed. One that is there stays.
    ///
    /// # Errors
    ///
    /// As the system tells.
    fn create_folder(&mut self, path: &str) -> io::Result<()>;

    /// Writes all of `bytes`; makes the file if there is none.
    ///
    /// # Errors
    ///
    /// As the system tells. Any part of the bytes may have been written then.
    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or lengthens a file to `len` bytes.
    ///
    /// # Errors
    ///
    /// As the system tells.
    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()>;

    /// Returns once the bytes and the length of a file are on the disk for good.
    ///
    /// # Errors
    ///
    /// As the system tells. Whatever was written since the last flush may be lost then, even if it
    /// can be read.
    fn sync_data(&mut self, path: &str) -> io::Result<()>;

    /// Returns once the names in a folder are on the disk for good.
    ///
    /// # Errors
    ///
    /// As the system tells.
    fn sync_folder(&mut self, path: &str) -> io::Result<()>;

    /// Gives a file or folder another name, replacing a file of that name.
    ///
    /// # Errors
    ///
    /// As the system tells.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// As the system tells; [`io::ErrorKind::NotFound`] if there is no such file.
    fn remove(&mut self, path: &str) -> io::Result<()>;

    /// Removes a folder that is empty.
    ///
    /// # Errors
    ///
    /// As the system tells.
    fn remove_folder(&mut self, path: &str) -> io::Result<()>;
}

/// The folder that holds `path`.
#[must_use]
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

//! A journal's folder that is only read, with what was moved to its archive laid under it.
//!
//! Invariant: every call that would change something fails, and no file is opened for writing.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use m2_journal::names::ARCHIVE;
use m2_journal::{Entry, Storage};

/// Open files that are kept: a scan turns to the next one and does not come back.
const OPEN_MAX: usize = 4;

/// See the head of the file. Each thread has its own.
#[derive(Debug)]
pub(crate) struct ReadOnly {
    root: PathBuf,
    open: Vec<(String, File)>,
}

impl ReadOnly {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), open: Vec::new() }
    }

    /// What the system knows of a file.
    pub(crate) fn metadata(&self, path: &str) -> io::Result<Metadata> {
        self.try_both(path, |path| fs::metadata(path))
    }

    /// In the folder, or else in its archive: a switch moves files there while we read.
    fn try_both<T>(&self, path: &str, call: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        match call(&self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                call(&self.root.join(ARCHIVE).join(path))
            }
            done => done,
        }
    }

    fn file(&mut self, path: &str) -> io::Result<&File> {
        if let Some(index) = self.open.iter().position(|(name, _)| name == path) {
            return Ok(&self.open[index].1);
        }
        let file = self.try_both(path, open)?;
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push((path.to_owned(), file));
        Ok(&self.open.last().expect("it was just pushed").1)
    }
}

/// To open a pipe would be to wait for somebody at its other end.
fn open(path: &Path) -> io::Result<File> {
    let there = fs::metadata(path)?;
    if !there.is_file() && !there.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(path)
}

fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A name that is no text is no name of ours.
        if let Ok(name) = entry.file_name().into_string() {
            entries.push(Entry { name, is_folder: entry.file_type()?.is_dir() });
        }
    }
    Ok(entries)
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "this journal is only read"))
}

impl Storage for ReadOnly {
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        let here = entries(&self.root.join(folder));
        let archived = entries(&self.root.join(ARCHIVE).join(folder));
        let mut all = match (here, archived) {
            (Ok(here), Ok(archived)) => [here, archived].concat(),
            (Err(error), Ok(archived)) if error.kind() == io::ErrorKind::NotFound => archived,
            (here, _) => here?,
        };
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        Ok(self.metadata(path)?.len())
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file(path)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn create_folder(&mut self, _: &str) -> io::Result<()> {
        refused()
    }

    fn write_at(&mut self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        refused()
    }

    fn truncate(&mut self, _: &str, _: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&mut self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync_folder(&mut self, _: &str) -> io::Result<()> {
        refused()
    }

    fn rename(&mut self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&mut self, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove_folder(&mut self, _: &str) -> io::Result<()> {
        refused()
    }
}

//! A disk for tests: files in memory, each with what was flushed of it; a call may be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::storage::{Entry, Storage, folder_of};

/// Every call is written down, so that a test can see the order of writes and flushes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
    pub(crate) calls: Vec<String>,
    /// Bytes that all files together may have.
    pub(crate) room: Option<usize>,
}

fn absent() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Memory {
    /// Bytes of all files.
    pub(crate) fn taken(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    fn file(&mut self, path: &str) -> io::Result<&mut Vec<u8>> {
        self.files.get_mut(path).ok_or_else(absent)
    }
}

impl Storage for Memory {
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        if !folder.is_empty() && !self.folders.contains(folder) {
            return Err(absent());
        }
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let name = |path: &String| {
            let rest = path.strip_prefix(&prefix)?;
            (!rest.contains('/')).then(|| rest.to_owned())
        };
        let files = self.files.keys().filter_map(name);
        let mut entries: Vec<_> = files.map(|name| Entry { name, is_folder: false }).collect();
        let folders = self.folders.iter().filter_map(name);
        entries.extend(folders.map(|name| Entry { name, is_folder: true }));
        entries.sort();
        Ok(entries)
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        Ok(self.file(path)?.len() as u64)
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.file(path)?;
        let from = file.len().min(usize::try_from(offset).unwrap());
        let count = buffer.len().min(file.len() - from);
        buffer[..count].copy_from_slice(&file[from..from + count]);
        Ok(count)
    }

    fn create_folder(&mut self, path: &str) -> io::Result<()> {
        let mut at = path;
        while !at.is_empty() {
            self.folders.insert(at.to_owned());
            at = folder_of(at);
        }
        Ok(())
    }

    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.calls.push(format!("write {path} {offset} {}", bytes.len()));
        let folder = folder_of(path);
        if !folder.is_empty() && !self.folders.contains(folder) {
            return Err(absent());
        }
        let (from, taken) = (usize::try_from(offset).unwrap(), self.taken());
        let file = self.files.entry(path.to_owned()).or_default();
        let more = (from + bytes.len()).saturating_sub(file.len());
        if let Some(left) = self.room.map(|room| room - taken).filter(|left| *left < more) {
            // A disk takes what it can.
            file.resize(file.len() + left, 0);
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.resize(file.len().max(from + bytes.len()), 0);
        file[from..from + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.calls.push(format!("truncate {path} {len}"));
        self.file(path)?.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        self.calls.push(format!("sync {path}"));
        self.file(path).map(drop)
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        self.calls.push(format!("sync folder {path}"));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.calls.push(format!("rename {from} {to}"));
        if let Some(bytes) = self.files.remove(from) {
            self.files.insert(to.to_owned(), bytes);
            return Ok(());
        }
        if !self.folders.remove(from) {
            return Err(absent());
        }
        self.folders.insert(to.to_owned());
        let below = format!("{from}/");
        let moved: Vec<_> =
            self.files.keys().filter(|path| path.starts_with(&below)).cloned().collect();
        for path in moved {
            let bytes = self.files.remove(&path).unwrap();
            self.files.insert(format!("{to}/{}", &path[below.len()..]), bytes);
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.calls.push(format!("remove {path}"));
        self.files.remove(path).map(drop).ok_or_else(absent)
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.calls.push(format!("remove folder {path}"));
        if self.folders.remove(path) { Ok(()) } else { Err(absent()) }
    }
}

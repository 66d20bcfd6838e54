//! A disk whose power goes after so many calls that change it.

use std::io;

use m2_journal::{Entry, Storage};

use super::disk::Disk;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Fused {
    disk: Disk,
    left: Option<u64>,
    /// It was one call too many; whatever is asked since then fails.
    pub(crate) is_burnt: bool,
}

impl Fused {
    pub(crate) fn new(disk: Disk, left: Option<u64>) -> Self {
        Self { disk, left, is_burnt: false }
    }

    pub(crate) fn into_disk(self) -> Disk {
        self.disk
    }

    fn change(&mut self) -> io::Result<&mut Disk> {
        if self.left == Some(0) {
            self.is_burnt = true;
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.read()
    }

    fn read(&mut self) -> io::Result<&mut Disk> {
        if self.is_burnt { Err(io::Error::other("the power is gone")) } else { Ok(&mut self.disk) }
    }
}

impl Storage for Fused {
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        self.read()?.list(folder)
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        self.read()?.len(path)
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read()?.read_at(path, offset, buffer)
    }

    fn create_folder(&mut self, path: &str) -> io::Result<()> {
        self.change()?.create_folder(path)
    }

    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change()?.write_at(path, offset, bytes)
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.change()?.truncate(path, len)
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        self.change()?.sync_data(path)
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        self.change()?.sync_folder(path)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.change()?.rename(from, to)
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.change()?.remove(path)
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.change()?.remove_folder(path)
    }
}

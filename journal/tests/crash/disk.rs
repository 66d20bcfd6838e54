//! A disk that keeps after a crash what was flushed, and of the rest whatever chance likes: of each
//! write any sectors, in any order; of each name the old state or the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use fastrand::Rng;
use m2_journal::{Entry, Storage};

/// No disk writes less at once.
const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node {
    File(usize),
    Folder(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    /// What everybody reads.
    live: Vec<u8>,
    /// What a crash leaves for certain.
    kept: Vec<u8>,
    /// What came since.
    changes: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
struct Folder {
    live: BTreeMap<String, Node>,
    kept: BTreeMap<String, Node>,
}

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    files: Vec<File>,
    folders: Vec<Folder>,
    /// Calls until the power goes; none while it stays.
    fuse: Option<u32>,
    /// Flushes until one fails.
    bad_flush: Option<u32>,
}

fn apply(content: &mut Vec<u8>, change: &Change, mut takes: impl FnMut() -> bool) {
    match change {
        Change::Len(len) if takes() => content.resize(*len, 0),
        Change::Len(_) => {}
        Change::Write { offset, bytes } => {
            for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                let from = offset + index * SECTOR;
                if takes() {
                    content.resize(content.len().max(from + sector.len()), 0);
                    content[from..from + sector.len()].copy_from_slice(sector);
                }
            }
        }
    }
}

fn absent() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { files: Vec::new(), folders: vec![Folder::default()], fuse: None, bad_flush: None }
    }

    /// The power goes after so many calls.
    pub(crate) fn light(&mut self, calls: u32) {
        self.fuse = Some(calls);
    }

    /// A flush fails after so many: what it should have covered can be read until the power goes, and
    /// no later flush covers it, for the kernel takes it for written.
    pub(crate) fn spoil(&mut self, flushes: u32) {
        self.bad_flush = Some(flushes);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.fuse == Some(0)
    }

    /// What is left when the power comes back.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        for file in &mut self.files {
            let mut changes = std::mem::take(&mut file.changes);
            rng.shuffle(&mut changes);
            let how = rng.u8(..4);
            for change in &changes {
                apply(&mut file.kept, change, || match how {
                    0 => true,
                    1 => false,
                    _ => rng.bool(),
                });
            }
            file.live = file.kept.clone();
        }
        for folder in &mut self.folders {
            let names: BTreeSet<_> =
                folder.live.keys().chain(folder.kept.keys()).cloned().collect();
            for name in names {
                if rng.bool() {
                    match folder.live.get(&name) {
                        Some(node) => folder.kept.insert(name, *node),
                        None => folder.kept.remove(&name),
                    };
                }
            }
            folder.live = folder.kept.clone();
        }
        self.restart();
    }

    /// Only the process has died: what was written can be read, and may still be lost later.
    pub(crate) fn restart(&mut self) {
        (self.fuse, self.bad_flush) = (None, None);
    }

    /// Every file by its path, for tests that change one.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let mut open = vec![(String::new(), 0)];
        while let Some((prefix, folder)) = open.pop() {
            for (name, node) in &self.folders[folder].live {
                match node {
                    Node::File(_) => paths.push(format!("{prefix}{name}")),
                    Node::Folder(inner) => open.push((format!("{prefix}{name}/"), *inner)),
                }
            }
        }
        paths.sort();
        paths
    }

    /// The bytes of a file, which is there.
    pub(crate) fn bytes(&mut self, path: &str) -> &mut Vec<u8> {
        let file = self.file(path).unwrap();
        &mut self.files[file].live
    }

    fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(calls) => {
                *calls -= 1;
                if *calls == 0 { Err(io::Error::other("the power goes")) } else { Ok(()) }
            }
            None => Ok(()),
        }
    }

    fn folder(&self, path: &str) -> io::Result<usize> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(0, |at: usize, name| {
            match self.folders[at].live.get(name) {
                Some(Node::Folder(folder)) => Ok(*folder),
                _ => Err(absent()),
            }
        })
    }

    fn parent<'a>(&self, path: &'a str) -> io::Result<(usize, &'a str)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.folder(folder)?, name))
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        let (folder, name) = self.parent(path)?;
        match self.folders[folder].live.get(name) {
            Some(Node::File(file)) => Ok(*file),
            _ => Err(absent()),
        }
    }

    fn change(&mut self, file: usize, change: Change) {
        let file = &mut self.files[file];
        apply(&mut file.live, &change, || true);
        file.changes.push(change);
    }
}

impl Storage for Disk {
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        let live = &self.folders[self.folder(folder)?].live;
        let entry = |(name, node): (&String, &Node)| Entry {
            name: name.clone(),
            is_folder: matches!(node, Node::Folder(_)),
        };
        Ok(live.iter().map(entry).collect())
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        Ok(self.files[self.file(path)?].live.len() as u64)
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let live = &self.files[self.file(path)?].live;
        let from = live.len().min(usize::try_from(offset).unwrap());
        let count = buffer.len().min(live.len() - from);
        buffer[..count].copy_from_slice(&live[from..from + count]);
        Ok(count)
    }

    fn create_folder(&mut self, path: &str) -> io::Result<()> {
        self.burn()?;
        let mut at = 0;
        for name in path.split('/') {
            let fresh = Node::Folder(self.folders.len());
            let node = *self.folders[at].live.entry(name.to_owned()).or_insert(fresh);
            self.folders[at].kept.insert(name.to_owned(), node);
            if node == fresh {
                self.folders.push(Folder::default());
            }
            let Node::Folder(inner) = node else { return Err(absent()) };
            at = inner;
        }
        Ok(())
    }

    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // The power may go while it is written.
        let burnt = self.burn();
        if self.fuse == Some(0) && burnt.is_err() && self.file(path).is_err() {
            return burnt;
        }
        let file = match self.file(path) {
            Ok(file) => file,
            Err(_) => {
                let (folder, name) = self.parent(path)?;
                self.files.push(File::default());
                let file = self.files.len() - 1;
                self.folders[folder].live.insert(name.to_owned(), Node::File(file));
                file
            }
        };
        let offset = usize::try_from(offset).unwrap();
        self.change(file, Change::Write { offset, bytes: bytes.to_vec() });
        burnt
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.burn()?;
        let file = self.file(path)?;
        self.change(file, Change::Len(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        self.burn()?;
        let file = self.file(path)?;
        let file = &mut self.files[file];
        let changes = std::mem::take(&mut file.changes);
        match &mut self.bad_flush {
            Some(0) => {
                self.bad_flush = None;
                return Err(io::Error::other("a flush fails"));
            }
            Some(flushes) => *flushes -= 1,
            None => {}
        }
        changes.iter().for_each(|change| apply(&mut file.kept, change, || true));
        Ok(())
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        self.burn()?;
        let folder = self.folder(path)?;
        let folder = &mut self.folders[folder];
        folder.kept = folder.live.clone();
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.burn()?;
        let (folder, name) = self.parent(from)?;
        let (into, new_name) = self.parent(to)?;
        let node = self.folders[folder].live.remove(name).ok_or_else(absent)?;
        self.folders[into].live.insert(new_name.to_owned(), node);
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.burn()?;
        self.file(path)?;
        let (folder, name) = self.parent(path)?;
        self.folders[folder].live.remove(name).map(drop).ok_or_else(absent)
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.burn()?;
        assert!(self.folders[self.folder(path)?].live.is_empty(), "it is empty: {path}");
        let (folder, name) = self.parent(path)?;
        self.folders[folder].live.remove(name).map(drop).ok_or_else(absent)
    }
}

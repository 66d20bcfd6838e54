//! A disk that keeps what completed flushes cover, and of the rest whatever it likes.
//!
//! ```text
//!   write, truncate --> seen by reads --flush of the file--> durable: survives a power cut
//!   create, rename, remove --> seen   --flush of the folder--> durable
//! ```
//!
//! A power cut keeps of each sector of 512 bytes some version since the last flush, of each length
//! likewise, and of the changes of names any subset. What was written under a name that is lost is
//! lost. A process that is killed loses nothing that it wrote; what it has under way lands before the
//! next one reads, or never (`direct.rs` of the journal).
//!
//! Nothing is kinder here than a real disk may be: a flush of a file does not keep its name, one of a
//! folder not the folder's own, and a flush that fails has kept some of it and forgets the rest: it
//! is still read as it was written, and no later flush saves it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use fastrand::Rng;
use m2_journal::{Entry, Storage};

use crate::dice::mix;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

/// What a folder has under a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node {
    File(usize),
    Folder(usize),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    seen: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

/// A change of a file since it was made.
#[derive(Clone, Debug)]
enum Change {
    Bytes { offset: usize, bytes: Rc<[u8]> },
    Len(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    seen: Rc<Vec<u8>>,
    durable: Rc<Vec<u8>>,
    /// Not flushed: which moment, what.
    pending: Vec<(u64, Change)>,
}

/// A change of names that no flush has kept yet; what is in it is kept together.
#[derive(Clone, Debug)]
struct NameChange {
    moment: u64,
    sets: Vec<(usize, String, Option<Node>)>,
    /// Kept only if that one is: a file that moves to another folder is not lost on the way.
    only_with: Option<u64>,
}

/// A flush that has begun: what it will have covered when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flush {
    File { file: usize, before: u64 },
    Folder { folder: usize, before: u64 },
}

/// What a power cut keeps of all that was not flushed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Luck {
    /// Nothing.
    Nothing,
    /// Everything.
    Everything,
    /// Of each sector any version, of the names any subset.
    Sectors(u64),
    /// Each write or none of it, by chance; names likewise.
    Writes(u64),
    /// What came before some moment; what came in it is torn.
    Until(u64, u64),
    /// Nothing of names and all bytes, or the other way round.
    Names(bool),
}

impl Luck {
    pub(crate) fn of(dice: &mut Rng, disk: &Disk) -> Self {
        let salt = dice.u64(..);
        match dice.u32(..8) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 | 3 => Self::Sectors(salt),
            4 => Self::Writes(salt),
            5 => Self::Names(salt.is_multiple_of(2)),
            _ => {
                let first = disk.oldest_pending().unwrap_or(disk.moment);
                Self::Until(dice.u64(first..=disk.moment), salt)
            }
        }
    }

    /// Of the `count` changes that touch a sector or a length, how many of the first are kept.
    fn kept(self, file: usize, place: u64, moments: &[u64]) -> usize {
        let count = moments.len();
        let keeps = |wanted: &dyn Fn(u64) -> bool| {
            moments.iter().rposition(|moment| wanted(*moment)).map_or(0, |last| last + 1)
        };
        match self {
            Self::Nothing | Self::Names(true) => 0,
            Self::Everything | Self::Names(false) => count,
            Self::Sectors(salt) => {
                let number = mix(mix(salt, file as u64), place);
                usize::try_from(number % (count as u64 + 1)).expect("at most a length")
            }
            Self::Writes(salt) => keeps(&|moment| mix(salt, moment).is_multiple_of(2)),
            Self::Until(until, salt) => keeps(&|moment| {
                moment < until || moment == until && mix(mix(salt, moment), place).is_multiple_of(2)
            }),
        }
    }

    fn keeps_name(self, moment: u64) -> bool {
        match self {
            Self::Nothing | Self::Names(false) => false,
            Self::Everything | Self::Names(true) => true,
            Self::Sectors(salt) | Self::Writes(salt) => mix(salt, moment).is_multiple_of(2),
            Self::Until(until, _) => moment < until,
        }
    }
}

/// See the head of the file.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    files: Vec<File>,
    /// The first is the journal's own.
    folders: Vec<Folder>,
    names: Vec<NameChange>,
    /// Changes so far.
    moment: u64,
    /// Flushes that have ended so far.
    flushes: u64,
    /// A flush says that it has ended well, and nothing is durable by it.
    pub(crate) is_lying: bool,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            folders: vec![Folder::default()],
            names: Vec::new(),
            moment: 0,
            flushes: 0,
            is_lying: false,
        }
    }
}

impl Disk {
    /// The power goes, and comes again.
    pub(crate) fn cut_power(&mut self, luck: Luck) {
        for (number, file) in self.files.iter_mut().enumerate() {
            file.cut_power(number, luck);
        }
        let mut kept = BTreeSet::new();
        let waiting: BTreeSet<u64> = self.names.iter().map(|change| change.moment).collect();
        for NameChange { moment, sets, only_with } in self.names.drain(..) {
            let has_other = only_with.is_none_or(|it| kept.contains(&it) || !waiting.contains(&it));
            if has_other && luck.keeps_name(moment) {
                kept.insert(moment);
                for (folder, name, node) in sets {
                    set(&mut self.folders[folder].durable, name, node);
                }
            }
        }
        for folder in &mut self.folders {
            folder.seen = folder.durable.clone();
        }
    }

    /// A flush begins: it will cover what was done before now.
    pub(crate) fn begin_flush(&self, path: &str, is_folder: bool) -> io::Result<Flush> {
        let before = self.moment;
        match (self.find(path)?, is_folder) {
            (Node::File(file), false) => Ok(Flush::File { file, before }),
            (Node::Folder(folder), true) => Ok(Flush::Folder { folder, before }),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A flush ends well.
    pub(crate) fn end_flush(&mut self, flush: Flush) {
        self.flushes += 1;
        match flush {
            _ if self.is_lying => {}
            Flush::File { file, before } => self.files[file].flush(before),
            Flush::Folder { folder, before } => {
                let durable = &mut self.folders[folder].durable;
                for change in self.names.iter_mut().filter(|change| change.moment <= before) {
                    for (_, name, node) in change.sets.extract_if(.., |(of, ..)| *of == folder) {
                        set(durable, name, node);
                    }
                }
                self.names.retain(|change| !change.sets.is_empty());
            }
        }
    }

    /// A flush fails: some of what it should have covered is kept, the rest never will be.
    pub(crate) fn fail_flush(&mut self, flush: Flush, salt: u64) {
        self.flushes += 1;
        match flush {
            Flush::File { file, before } => {
                self.files[file].fail_flush(file, before, Luck::Sectors(salt));
            }
            // The next one may do better.
            Flush::Folder { .. } => {}
        }
    }

    /// Flips a bit of a durable byte.
    pub(crate) fn damage(&mut self, path: &str, offset: usize, bit: u32) {
        let Ok(Node::File(file)) = self.find(path) else { panic!("{path} is no file") };
        let file = &mut self.files[file];
        for bytes in [&mut file.seen, &mut file.durable] {
            if let Some(byte) = Rc::make_mut(bytes).get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// All files with their paths, as they are seen.
    pub(crate) fn paths(&self) -> Vec<(String, u64)> {
        let mut paths = Vec::new();
        let mut folders = vec![(String::new(), 0)];
        while let Some((prefix, folder)) = folders.pop() {
            for (name, node) in &self.folders[folder].seen {
                match node {
                    Node::File(file) => {
                        let len = self.files[*file].seen.len() as u64;
                        paths.push((format!("{prefix}{name}"), len));
                    }
                    Node::Folder(folder) => folders.push((format!("{prefix}{name}/"), *folder)),
                }
            }
        }
        paths.sort();
        paths
    }

    /// All files with what is read from them.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let bytes = |path: &str| match self.find(path) {
            Ok(Node::File(file)) => self.files[file].seen.to_vec(),
            _ => unreachable!("paths() has files"),
        };
        self.paths().into_iter().map(|(path, _)| (path.clone(), bytes(&path))).collect()
    }

    /// Another number: something has changed, be it only what is durable.
    pub(crate) fn version(&self) -> u64 {
        self.moment + self.flushes
    }

    fn oldest_pending(&self) -> Option<u64> {
        let files = self.files.iter().filter_map(|file| Some(file.pending.first()?.0));
        files.chain(self.names.iter().map(|change| change.moment)).min()
    }

    fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    fn find(&self, path: &str) -> io::Result<Node> {
        let mut at = Node::Folder(0);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Folder(folder) = at else { return Err(absent()) };
            at = *self.folders[folder].seen.get(name).ok_or_else(absent)?;
        }
        Ok(at)
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        match self.find(path)? {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// The folder that a path stands in, and its last name.
    fn place<'a>(&self, path: &'a str) -> io::Result<(usize, &'a str)> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.find(above)? {
            Node::Folder(folder) => Ok((folder, name)),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn change_names(
        &mut self,
        sets: Vec<(usize, String, Option<Node>)>,
        only_with: Option<u64>,
    ) -> u64 {
        let moment = self.next_moment();
        for (folder, name, node) in &sets {
            set(&mut self.folders[*folder].seen, name.clone(), *node);
        }
        self.names.push(NameChange { moment, sets, only_with });
        moment
    }

    fn change(&mut self, file: usize, change: Change) {
        let moment = self.next_moment();
        let file = &mut self.files[file];
        apply(Rc::make_mut(&mut file.seen), &change);
        file.pending.push((moment, change));
    }
}

impl File {
    fn flush(&mut self, before: u64) {
        let count = self.pending.partition_point(|(moment, _)| *moment <= before);
        for (_, change) in self.pending.drain(..count) {
            apply(Rc::make_mut(&mut self.durable), &change);
        }
    }

    fn fail_flush(&mut self, number: usize, before: u64, luck: Luck) {
        let count = self.pending.partition_point(|(moment, _)| *moment <= before);
        let later = self.pending.split_off(count);
        self.durable = Rc::new(self.after(number, luck));
        self.pending = later;
    }

    fn cut_power(&mut self, number: usize, luck: Luck) {
        if !self.pending.is_empty() {
            self.durable = Rc::new(self.after(number, luck));
            self.pending.clear();
        }
        self.seen = Rc::clone(&self.durable);
    }

    /// What is durable once luck has chosen among what is pending.
    fn after(&self, number: usize, luck: Luck) -> Vec<u8> {
        let mut bytes = self.durable.to_vec();
        let mut lens = vec![bytes.len()];
        let mut moments = Vec::new();
        let mut touched: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (moment, change) in &self.pending {
            let before = *lens.last().expect("there is one from the start");
            let (from, to, len) = match change {
                Change::Bytes { offset, bytes } => {
                    let end = offset + bytes.len();
                    (*offset, end, before.max(end))
                }
                Change::Len(len) => (*len.min(&before), before, *len),
            };
            lens.push(len);
            moments.push(*moment);
            for sector in from / SECTOR..to.div_ceil(SECTOR) {
                touched.entry(sector).or_default().push(*moment);
            }
        }
        let longest = lens.iter().copied().max().expect("there is one from the start");
        bytes.resize(longest, 0);
        for (sector, touched) in touched {
            let kept = luck.kept(number, sector as u64, &touched);
            let Some(last) = kept.checked_sub(1).map(|last| touched[last]) else { continue };
            let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(longest));
            for (_, change) in self.pending.iter().take_while(|(moment, _)| *moment <= last) {
                apply_within(&mut bytes, change, from, to);
            }
        }
        bytes.truncate(lens[luck.kept(number, u64::MAX, &moments)]);
        bytes
    }
}

fn absent() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn set(names: &mut BTreeMap<String, Node>, name: String, node: Option<Node>) {
    match node {
        Some(node) => names.insert(name, node),
        None => names.remove(&name),
    };
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Bytes { offset, bytes } => {
            let end = offset + bytes.len();
            file.resize(file.len().max(end), 0);
            file[*offset..end].copy_from_slice(bytes);
        }
        Change::Len(len) => file.resize(*len, 0),
    }
}

/// Applies what a change does to the bytes from `from` to `to`, which are all there.
fn apply_within(file: &mut [u8], change: &Change, from: usize, to: usize) {
    match change {
        Change::Bytes { offset, bytes } => {
            let (start, end) = (from.max(*offset), to.min(offset + bytes.len()));
            if start < end {
                file[start..end].copy_from_slice(&bytes[start - offset..end - offset]);
            }
        }
        Change::Len(len) if *len < to => file[from.max(*len)..to].fill(0),
        Change::Len(_) => {}
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("files here are small")
}

impl Storage for Disk {
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        let Node::Folder(folder) = self.find(folder)? else { return Err(absent()) };
        let entry = |(name, node): (&String, &Node)| Entry {
            name: name.clone(),
            is_folder: matches!(node, Node::Folder(_)),
        };
        Ok(self.folders[folder].seen.iter().map(entry).collect())
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        Ok(self.files[self.file(path)?].seen.len() as u64)
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = &self.files[self.file(path)?].seen;
        let from = bytes.len().min(index(offset));
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn create_folder(&mut self, path: &str) -> io::Result<()> {
        let mut above = 0;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            above = match self.folders[above].seen.get(name) {
                Some(Node::Folder(folder)) => *folder,
                Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    let number = self.folders.len();
                    self.folders.push(Folder::default());
                    let node = Some(Node::Folder(number));
                    self.change_names(vec![(above, name.to_owned(), node)], None);
                    number
                }
            };
        }
        Ok(())
    }

    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = match self.file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (folder, name) = self.place(path)?;
                let number = self.files.len();
                self.files.push(File::default());
                let node = Some(Node::File(number));
                self.change_names(vec![(folder, name.to_owned(), node)], None);
                number
            }
            file => file?,
        };
        self.change(file, Change::Bytes { offset: index(offset), bytes: bytes.into() });
        Ok(())
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        let file = self.file(path)?;
        self.change(file, Change::Len(index(len)));
        Ok(())
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        let flush = self.begin_flush(path, false)?;
        self.end_flush(flush);
        Ok(())
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        let flush = self.begin_flush(path, true)?;
        self.end_flush(flush);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let node = self.find(from)?;
        let (old_folder, old_name) = self.place(from)?;
        let (new_folder, new_name) = self.place(to)?;
        let gone = (old_folder, old_name.to_owned(), None);
        let there = (new_folder, new_name.to_owned(), Some(node));
        if old_folder == new_folder {
            self.change_names(vec![gone, there], None);
        } else {
            let moved = self.change_names(vec![there], None);
            self.change_names(vec![gone], Some(moved));
        }
        Ok(())
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.file(path)?;
        let (folder, name) = self.place(path)?;
        self.change_names(vec![(folder, name.to_owned(), None)], None);
        Ok(())
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        let Node::Folder(number) = self.find(path)? else { return Err(absent()) };
        if !self.folders[number].seen.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (folder, name) = self.place(path)?;
        self.change_names(vec![(folder, name.to_owned(), None)], None);
        Ok(())
    }
}

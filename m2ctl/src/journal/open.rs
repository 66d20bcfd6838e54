//! A journal that is looked at: its folder, its generations, whether somebody writes it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use m2_core::ShardId;
use m2_journal::batch::Stream;
use m2_journal::image::Base;
use m2_journal::names::{self, LOCK, SegmentName, SnapshotName};
use m2_journal::recover::found;
use m2_journal::spill::{self, Owner, Spilled};
use m2_journal::{Fault, Hash};

use super::disk::ReadOnly;
use crate::output::Failure;

/// A folder with at least one generation in it.
#[derive(Debug)]
pub(crate) struct Journal {
    root: PathBuf,
    /// Where a switch puts records that the journal's disk could not take.
    spill: Option<PathBuf>,
    /// Oldest first. Never empty.
    pub(crate) generations: Vec<u32>,
}

/// What the folder of a generation holds.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) number: u32,
    pub(crate) base: Base,
    pub(crate) base_hash: Hash,
    /// By stream, in order.
    pub(crate) segments: Vec<Vec<SegmentName>>,
    /// By shard, in order.
    pub(crate) snapshots: Vec<Vec<SnapshotName>>,
    /// The base of the generation that was begun behind it, if it can be read: where the streams
    /// must end, and what the words must come to.
    pub(crate) next: Option<Base>,
    /// Records that stand in spill files, by stream and position; none if no folder was named.
    pub(crate) spilled: Vec<Spilled>,
}

impl Journal {
    /// Looks at the folder.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no journal.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let named = path.display();
        if let Err(error) = fs::read_dir(path) {
            return Err(Failure::Unusable(format!("{named} cannot be read: {error}")));
        }
        let generations = found::generations(&mut ReadOnly::new(path))?;
        if generations.is_empty() {
            return Err(Failure::Unusable(format!(
                "{named} is no journal: no folder generation-... is in it; name the folder that is \
                 configured as the switch's journal"
            )));
        }
        Ok(Self { root: path.to_owned(), spill: None, generations })
    }

    /// The same, with the folder that is configured as its spill.
    ///
    /// # Errors
    ///
    /// When that cannot be read.
    pub(crate) fn with_spill(self, spill: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = spill
            && let Err(error) = fs::read_dir(path)
        {
            return Err(Failure::Unusable(format!("{} cannot be read: {error}", path.display())));
        }
        Ok(Self { spill: spill.map(Path::to_owned), ..self })
    }

    /// Whether a folder of spilled records was named.
    pub(crate) fn has_spill(&self) -> bool {
        self.spill.is_some()
    }

    /// What was spilled of a generation, by stream and position.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or is damaged.
    fn spilled(&self, owner: &Owner) -> Result<Vec<Spilled>, Failure> {
        let Some(folder) = &self.spill else { return Ok(Vec::new()) };
        let mut disk = ReadOnly::new(folder);
        let mut spilled = spill::read(&mut disk, owner)?;
        spilled.extend(spill::read_taken_in(&mut disk, owner)?);
        spilled.sort_by_key(|it| (it.stream, it.position));
        Ok(spilled)
    }

    /// To read from.
    pub(crate) fn disk(&self) -> ReadOnly {
        ReadOnly::new(&self.root)
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The generations that a command is about: all, or the one that the user named.
    ///
    /// # Errors
    ///
    /// When there is no such generation.
    pub(crate) fn chosen(&self, named: Option<u32>) -> Result<Vec<u32>, Failure> {
        let Some(named) = named else { return Ok(self.generations.clone()) };
        if self.generations.contains(&named) {
            return Ok(vec![named]);
        }
        let there: Vec<_> = self.generations.iter().map(u32::to_string).collect();
        let there = there.join(", ");
        Err(Failure::Unusable(format!(
            "there is no generation {named} in {}: it has {there}",
            self.root.display()
        )))
    }

    /// The newest, which is the one that a running switch writes and a start recovers from.
    pub(crate) fn newest(&self) -> u32 {
        *self.generations.last().expect("there is one at least")
    }

    /// What a generation holds now.
    ///
    /// # Errors
    ///
    /// When its base cannot be read.
    pub(crate) fn generation(&self, number: u32) -> Result<Generation, Failure> {
        let mut disk = self.disk();
        let (base, base_hash) = found::read_base(&mut disk, number)?
            .map_err(|fault| damage(&names::base(number), fault))?;
        let (segments, snapshots) = found::list(&mut disk, &base)?;
        let next = number.checked_add(1).filter(|next| self.generations.contains(next));
        let next = match next {
            Some(next) => found::read_base(&mut disk, next)?.ok().map(|(base, _)| base),
            None => None,
        };
        let spilled = self.spilled(&Owner::new(&base, base_hash))?;
        Ok(Generation { number, base, base_hash, segments, snapshots, next, spilled })
    }

    /// As [`Self::generation`]; `None` if it is an older one without a base, which is the first file
    /// that goes when a generation is retired.
    ///
    /// # Errors
    ///
    /// As [`Self::generation`].
    pub(crate) fn generation_unless_retired(
        &self,
        number: u32,
    ) -> Result<Option<Generation>, Failure> {
        let base = self.disk().metadata(&names::base(number));
        let is_gone = base.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if is_gone && number != self.newest() {
            Ok(None)
        } else {
            self.generation(number).map(Some)
        }
    }

    /// Whether somebody holds the lock that a switch takes before it writes.
    pub(crate) fn is_running(&self) -> bool {
        let Ok(lock) = fs::metadata(self.root.join(LOCK)) else { return false };
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        holds(&locks, lock.dev(), lock.ino())
    }
}

impl Generation {
    /// What its batches must say of the stream that they are in.
    pub(crate) fn stream(&self, stream: usize) -> Stream {
        let id = ShardId(u16::try_from(stream).expect("SHARDS_MAX is less"));
        Stream { generation: self.number, id, shards: self.base.shards }
    }

    /// All of its streams.
    pub(crate) fn streams(&self) -> impl Iterator<Item = Stream> {
        (0..self.base.shards).map(|stream| self.stream(stream))
    }
}

/// Damage to a file that cannot be read at all.
pub(crate) fn damage(file: &str, fault: Fault) -> Failure {
    Failure::Damage(format!("{file} is damaged ({fault}): restore the file from a copy"))
}

/// Whether a line of `/proc/locks` is a lock on this file: `1: FLOCK  ADVISORY  WRITE 77 fd:00:9 0 EOF`.
fn holds(locks: &str, dev: u64, ino: u64) -> bool {
    // As the kernel puts both parts of a device number together.
    let major = (dev >> 8 & 0xfff) | (dev >> 32 & !0xfff);
    let minor = (dev & 0xff) | (dev >> 12 & !0xff);
    let file = format!("{major:02x}:{minor:02x}:{ino}");
    // A line with an arrow is of somebody who waits.
    let held =
        |line: &str| !line.contains("->") && line.split_whitespace().any(|word| word == file);
    locks.lines().any(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_found_among_those_of_others() {
        let locks = "1: POSIX  ADVISORY  WRITE 700 fe:01:131 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 812 103:05:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 813 103:05:78 0 EOF\n";
        let dev = 0x03 << 8 | 0x05 | 0x100 << 8;
        assert!(holds(locks, dev, 77));
        assert!(!holds(locks, dev, 78), "that one only waits");
        assert!(holds(locks, 0xfe << 8 | 1, 131));
        assert!(!holds(locks, 0xfe << 8 | 1, 77));
        assert!(!holds("", dev, 77));
    }

    #[test]
    fn our_own_lock_is_seen() {
        let folder = std::env::temp_dir().join(format!("m2ctl-lock-{}", std::process::id()));
        fs::create_dir_all(folder.join("generation-00000001")).unwrap();
        let journal = Journal::open(&folder).unwrap();
        assert!(!journal.is_running());
        let lock = fs::File::create(folder.join(LOCK)).unwrap();
        assert!(!journal.is_running());
        lock.lock().unwrap();
        assert!(journal.is_running());
        drop(lock);
        assert!(!journal.is_running());
        fs::remove_dir_all(&folder).unwrap();
    }
}

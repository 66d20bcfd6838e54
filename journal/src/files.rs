//! A journal in a folder of the file system.
//!
//! Whole pages are written around the page cache where the file system lets us: nobody reads them
//! before the next start, and to copy them costs more than all else that a commit does. A flush covers
//! them as it covers others.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::direct;
use crate::names;
use crate::storage::{Entry, Storage};

/// Open files that are kept: a segment and a `.flushed` of each of a few shards.
const OPEN_MAX: usize = 16;

/// The real disk. Relative paths begin at the journal's folder.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    /// Used last, last.
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    path: String,
    file: File,
    /// The file system takes pages around its cache.
    takes_direct: bool,
    is_direct: bool,
}

impl Open {
    /// Writes whole pages around the cache, unless something is in the way of that.
    fn write_direct(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.is_direct {
            self.is_direct = direct::set(&self.file, true).is_ok();
        }
        match self.file.write_all_at(bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && self.is_direct => {
                self.takes_direct = false;
                self.cached()?.write_all_at(bytes, offset)
            }
            done => done,
        }
    }

    /// The file, to be read and written through the cache.
    fn cached(&mut self) -> io::Result<&File> {
        if self.is_direct {
            direct::set(&self.file, false)?;
            self.is_direct = false;
        }
        Ok(&self.file)
    }
}

impl Files {
    /// The journal in this folder, which need not be there yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), open: Vec::new() }
    }

    /// The journal's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Waits until no write of a process that is gone is under way to a segment of this generation. Called
    /// before it is read, by whoever has the journal's lock. `tell` gets each path that it waits for.
    ///
    /// # Errors
    ///
    /// As the system tells.
    pub fn wait_for_writes(
        &mut self,
        generation: u32,
        mut tell: impl FnMut(&Path),
    ) -> io::Result<()> {
        let folder = names::folder(generation);
        for Entry { name, is_folder } in self.list(&folder)? {
            let path = self.path(&format!("{folder}/{name}"));
            if !is_folder && check_is_file(&path).is_ok() {
                direct::wait_for_writes(&File::open(&path)?, || tell(&path))?;
            }
        }
        Ok(())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The file, open for reading, and for writing where that is allowed.
    fn open(&mut self, path: &str, create: bool) -> io::Result<&mut Open> {
        let open = match self.open.iter().position(|open| open.path == path) {
            Some(index) => self.open.remove(index),
            None => {
                let file = self.open_file(path, create)?;
                let takes_direct = direct::is_possible(&file);
                Open { path: path.to_owned(), file, takes_direct, is_direct: false }
            }
        };
        if self.open.len() >= OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push(open);
        Ok(self.open.last_mut().expect("it was just pushed"))
    }

    fn open_file(&self, path: &str, create: bool) -> io::Result<File> {
        let path = self.path(path);
        check_is_file(&path)?;
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create(create).truncate(false).open(&path) {
            // Who only reads a journal needs no right to write it.
            Err(error) if !create && is_refused(&error) => File::open(&path),
            opened => opened,
        }
    }

    /// What is renamed or removed is not written through an old name.
    fn forget(&mut self, path: &str) {
        let below = format!("{path}/");
        self.open.retain(|open| open.path != path && !open.path.starts_with(&below));
    }
}

/// As `create_dir_all`, with each new name flushed.
fn create_folder(path: &Path) -> io::Result<()> {
    let above = match path.parent() {
        _ if path.is_dir() => return Ok(()),
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    create_folder(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}

/// To open a pipe would be to wait for somebody at its other end.
fn check_is_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() && !there.is_dir() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
        }
        _ => Ok(()),
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

impl Storage for Files {
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            let entry = entry?;
            // A name that is no text is no name of ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_folder: entry.file_type()?.is_dir() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(path))?.len())
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.open(path, false)?.cached()?;
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

    fn create_folder(&mut self, path: &str) -> io::Result<()> {
        create_folder(&self.path(path))
    }

    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let open = self.open(path, true)?;
        match open.takes_direct && direct::is_whole_pages(bytes, offset) {
            true => open.write_direct(bytes, offset),
            false => open.cached()?.write_all_at(bytes, offset),
        }
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.open(path, false)?.file.set_len(len)
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        self.open(path, false)?.file.sync_data()
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.forget(path);
        fs::remove_file(self.path(path))
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.path(path))
    }
}

#[cfg(test)]
mod tests {
    use m2_core::ShardId;

    use super::*;
    use crate::hash::Hash;
    use crate::memory::Memory;
    use crate::names::SegmentName;
    use crate::op::{Op, perform};
    use crate::pages::Pages;
    use crate::record::kind;
    use crate::writer::{Settings, Writer};

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = format!("m2-journal-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(folder))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write_some(storage: &mut impl Storage) {
        storage.create_folder(&names::folder(1)).unwrap();
        let settings = Settings { segment_bytes: 16 << 10, ..Settings::default() };
        let settings = Settings { reserve_bytes: 4096, ..settings };
        let mut writer = Writer::new(1, 2, Hash::NONE, settings);
        for number in 0..40 {
            let mut block = [0; 64];
            (block[0], block[8]) = (kind::PAIR, number);
            writer.append(0, ShardId(0), &[block]);
            writer.append(0, ShardId(u16::from(number) % 2), &[block]);
            while let Some((id, op)) = writer.next_op(0) {
                writer.done(0, id, perform(storage, &op));
            }
        }
    }

    #[test]
    fn a_folder_holds_the_very_bytes_that_memory_does() {
        let folder = Folder::new("same");
        let (mut files, mut memory) = (Files::new(&folder.0), Memory::default());
        write_some(&mut files);
        write_some(&mut memory);
        let entries = memory.list(&names::folder(1)).unwrap();
        assert_eq!(files.list(&names::folder(1)).unwrap(), entries);
        assert!(entries.len() > 20);
        for Entry { name, .. } in entries {
            let path = format!("{}/{name}", names::folder(1));
            let expected = &memory.files[&path];
            assert_eq!(files.len(&path).unwrap(), expected.len() as u64);
            let mut bytes = vec![1; expected.len() + 10];
            assert_eq!(files.read_at(&path, 0, &mut bytes).unwrap(), expected.len());
            assert_eq!(&bytes[..expected.len()], expected);
        }
    }

    /// Whether the page cache has the page: only from there is a read served that must not wait.
    fn is_cached(path: &Path, offset: u64) -> bool {
        let mut page = [0; 4096];
        let mut buffers = [io::IoSliceMut::new(&mut page)];
        let file = File::open(path).unwrap();
        // Else the first look that misses has its neighbours read.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random).unwrap();
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        match rustix::io::preadv2(&file, &mut buffers, offset, flags) {
            Ok(count) => count > 0,
            Err(rustix::io::Errno::AGAIN) => false,
            Err(error) => panic!("this kernel cannot tell what is cached: {error}"),
        }
    }

    #[test]
    fn a_write_that_outlives_its_process_is_waited_for() {
        let folder = Folder::new("waited");
        let mut files = Files::new(&folder.0);
        files.create_folder(&names::folder(1)).unwrap();
        let segment = SegmentName { generation: 1, stream: ShardId(0), number: 1 };
        files.write_at(&segment.path(), 0, &[0; 4096]).unwrap();
        files.wait_for_writes(1, |path| panic!("nobody writes {path:?}")).unwrap();
        // As long as a request has the descriptor, so long its lock is held.
        let writing = File::options().write(true).open(folder.0.join(segment.path())).unwrap();
        writing.try_lock().unwrap();
        let landed = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut told = 0;
                files.wait_for_writes(1, |_| told += 1).unwrap();
                assert_eq!(told, 1);
                landed.load(std::sync::atomic::Ordering::SeqCst)
            });
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!reading.is_finished(), "it reads what may still change");
            landed.store(true, std::sync::atomic::Ordering::SeqCst);
            drop(writing);
            assert!(reading.join().unwrap());
        });
    }

    #[test]
    fn segments_are_prepared_and_filled_around_the_page_cache() {
        // A folder for temporary files may be in memory; what cargo builds is on a disk.
        let built = std::env::current_exe().unwrap();
        let name = format!("direct-{}", std::process::id());
        let folder = Folder(built.parent().unwrap().join(name));
        let mut files = Files::new(&folder.0);
        files.create_folder(&names::folder(1)).unwrap();
        let segment = SegmentName { generation: 1, stream: ShardId(0), number: 1 };
        let path = folder.0.join(segment.path());
        perform(&mut files, &Op::Prepare { segment, len: 1 << 20 }).unwrap();
        assert!(
            direct::is_possible(&File::open(&path).unwrap()),
            "this test needs cargo's target folder on ext4, XFS or F2FS, and Linux 6.1"
        );
        let page = Pages::from(&[1; 4096][..]);
        perform(&mut files, &Op::Open { segment, page }).unwrap();
        let bytes = Pages::from(&[2; 8192][..]);
        perform(&mut files, &Op::Commit { segment, offset: 4096, bytes: bytes.into() }).unwrap();
        assert!([0, 4096, 8192, 1 << 19].iter().all(|at| !is_cached(&path, *at)));
        // What is no page of its own goes where it always went.
        files.write_at(&segment.path(), 100, &[3; 4096]).unwrap();
        assert!(is_cached(&path, 0) && is_cached(&path, 4096));
        let mut expected = [vec![1; 4096], vec![2; 8192], vec![0; (1 << 20) - 12288]].concat();
        expected[100..4196].fill(3);
        assert_eq!(fs::read(&path).unwrap(), expected);
    }

    #[test]
    fn what_was_renamed_or_removed_is_not_reached_by_its_old_name() {
        let folder = Folder::new("names");
        let mut files = Files::new(&folder.0);
        let absent = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::NotFound);
        files.create_folder("a/b").unwrap();
        files.write_at("a/b/one", 2, b"x").unwrap();
        files.sync_data("a/b/one").unwrap();
        files.rename("a/b", "a/c").unwrap();
        files.sync_folder("a").unwrap();
        absent(files.read_at("a/b/one", 0, &mut [0; 4]).unwrap_err());
        let mut bytes = [9; 4];
        assert_eq!(files.read_at("a/c/one", 0, &mut bytes).unwrap(), 3);
        assert_eq!(bytes, [0, 0, b'x', 9]);
        files.truncate("a/c/one", 1).unwrap();
        assert_eq!(files.len("a/c/one").unwrap(), 1);
        files.write_at("a/c/two", 0, b"yy").unwrap();
        files.rename("a/c/two", "a/c/one").unwrap();
        assert_eq!(files.read_at("a/c/one", 0, &mut bytes).unwrap(), 2);
        files.remove("a/c/one").unwrap();
        absent(files.read_at("a/c/one", 0, &mut bytes).unwrap_err());
        absent(files.remove("a/c/one").unwrap_err());
        absent(files.list("a/b").unwrap_err());
        files.remove_folder("a/c").unwrap();
        assert_eq!(files.list("a").unwrap(), []);
    }
}

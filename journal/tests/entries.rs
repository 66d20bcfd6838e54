//! Whatever stands in the journal's folder, and whatever the system says of it: an error is a sentence
//! that says where, what, and what to do.

#![allow(clippy::unwrap_used)] // every function here is a test's

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use m2_core::{AccountId, AccountImage, ShardId, ShardImage};
use m2_journal::image::ConfiguredLimits;
use m2_journal::recover::{self, Options, begin_generation, recover};
use m2_journal::{Entry, Error, Files, Retention, Settings, Storage, perform, record};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("m2-entries-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entries() -> [recover::Entry; 1] {
    [recover::Entry {
        shard: ShardId(0),
        name: "alice".into(),
        asset_code: "USD".into(),
        asset_scale: 9,
        limits: ConfiguredLimits::default(),
    }]
}

/// A start: all that is there is read, and a new generation stands.
fn start(storage: &mut impl Storage) -> Result<m2_journal::Writer, Error> {
    let recovered = recover(storage, &Options::default(), &mut |_| {})?;
    let settings = Settings {
        segment_bytes: 16 << 10,
        reserve_bytes: 0,
        retention: Retention::Delete,
        ..Settings::default()
    };
    begin_generation(storage, &recovered, &entries(), 1, settings)
}

/// A journal of two segments and a snapshot.
fn write(folder: &Folder) {
    let mut files = Files::new(&folder.0);
    let mut writer = start(&mut files).unwrap();
    for number in 0..4 {
        let limits = m2_core::LimitsRecord {
            account: AccountId(0),
            balance_max: number,
            payable_max: 0,
            at_ms: 1,
        };
        let mut blocks = Vec::new();
        record::encode(&m2_core::Record::Limits(limits), &mut blocks);
        writer.append(0, ShardId(0), &blocks);
        while let Some((id, op)) = writer.next_op(1 << 40) {
            writer.done(0, id, perform(&mut files, &op));
        }
    }
    let words = m2_core::ledger::Words::default();
    let account = AccountImage { account: AccountId(0), words, balance_max: 3, payable_max: 0 };
    writer.snapshot(ShardImage {
        shard: ShardId(0),
        appended: 4,
        applied: vec![4],
        accounts: vec![account],
        keys: Vec::new(),
    });
    while let Some((id, op)) = writer.next_op(0) {
        writer.done(0, id, perform(&mut files, &op));
    }
}

/// Says where, and what can be done, in one line.
#[track_caller]
fn check(error: &Error, place: &str) {
    let sentence = error.to_string();
    assert!(sentence.contains(place), "{place}: {sentence}");
    let choices =
        ["move it elsewhere", "restore", "give whoever", "mount", "make room", "see what"];
    assert!(choices.iter().any(|choice| sentence.contains(choice)), "{sentence}");
    assert!(!sentence.contains('\n'), "{sentence}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_named() {
    let whole = Folder::new("whole");
    write(&whole);
    let names = fs::read_dir(whole.path("generation-00000001")).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let folder = Folder::new("as-folder");
        copy(&whole.0, &folder.0);
        let path = format!("generation-00000001/{name}");
        fs::remove_file(folder.path(&path)).unwrap();
        fs::create_dir(folder.path(&path)).unwrap();
        let error = start(&mut Files::new(&folder.0)).unwrap_err();
        check(&error, &path);
        assert!(error.to_string().contains("is a folder"), "{error}");
    }
}

#[test]
fn a_file_in_the_place_of_a_folder_is_named_or_replaced() {
    for (path, is_named) in [
        ("generation-00000001", true),
        ("generation-00000007", true),
        ("generation-00000002.tmp", false),
    ] {
        let folder = Folder::new("as-file");
        write(&folder);
        let _ = fs::remove_dir_all(folder.path(path));
        fs::write(folder.path(path), "a file").unwrap();
        match start(&mut Files::new(&folder.0)) {
            Err(error) if is_named => check(&error, path),
            outcome => {
                outcome.unwrap();
                assert!(!is_named && folder.path("generation-00000002/base.m2s").is_file());
            }
        }
    }
}

#[test]
fn what_is_not_ours_is_left_alone_or_named() {
    let folder = Folder::new("others");
    write(&folder);
    for path in ["notes", "generation-00000001/notes", "generation-1", "x.tmp"] {
        fs::create_dir(folder.path(path)).unwrap();
    }
    fs::write(folder.path("generation-00000001/readme"), "a file").unwrap();
    let inside = "generation-00000002.tmp/inside";
    fs::create_dir_all(folder.path(inside)).unwrap();
    let mut files = Files::new(&folder.0);
    check(&start(&mut files).unwrap_err(), inside);
    fs::remove_dir(folder.path(inside)).unwrap();
    let mut writer = start(&mut files).unwrap();
    // The generation before goes; what is in it that is not the journal's keeps its folder.
    while let Some((id, op)) = writer.next_op(0) {
        writer.done(0, id, perform(&mut files, &op));
    }
    let left = fs::read_dir(folder.path("generation-00000001")).unwrap();
    let left: Vec<_> = left.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, ["notes", "readme"]);
    let complaint = writer.complaint().unwrap();
    assert!(complaint.contains("generation-00000001 stays: notes in it"), "{complaint}");
}

/// Goal: whatever keeps a snapshot from being read, what stands in for a damaged one stands in for it; and
/// no start waits for somebody at the other end of a pipe.
#[test]
fn a_snapshot_that_cannot_be_read_is_told_and_done_without() {
    let folder = Folder::new("pipe");
    write(&folder);
    let snapshot = "generation-00000001/shard-000-00000001.m2s";
    fs::remove_file(folder.path(snapshot)).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path(snapshot)).status();
    assert!(made.unwrap().success());
    let mut files = Files::new(&folder.0);
    let recovered = recover(&mut files, &Options::default(), &mut |_| {}).unwrap();
    assert_eq!(recovered.records, 4);
    let note = recovered.notes[0].to_string();
    assert!(note.contains(snapshot) && note.contains("it cannot be read"), "{note}");
}

/// A disk one of whose calls fails.
struct Refusing {
    files: Files,
    /// Calls until then.
    left: u32,
    kind: ErrorKind,
    /// What that call was about.
    refused: Option<String>,
}

impl Refusing {
    fn call<T>(
        &mut self,
        path: &str,
        call: impl FnOnce(&mut Files) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.left == 0 && self.refused.is_none() {
            self.refused = Some(path.to_owned());
            return Err(self.kind.into());
        }
        self.left = self.left.saturating_sub(1);
        call(&mut self.files)
    }
}

impl Storage for Refusing {
    fn list(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        self.call(folder, |files| files.list(folder))
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        self.call(path, |files| files.len(path))
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(path, |files| files.read_at(path, offset, buffer))
    }

    fn create_folder(&mut self, path: &str) -> io::Result<()> {
        self.call(path, |files| files.create_folder(path))
    }

    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.call(path, |files| files.write_at(path, offset, bytes))
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.call(path, |files| files.truncate(path, len))
    }

    fn sync_data(&mut self, path: &str) -> io::Result<()> {
        self.call(path, |files| files.sync_data(path))
    }

    fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        self.call(path, |files| files.sync_folder(path))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.call(from, |files| files.rename(from, to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.call(path, |files| files.remove(path))
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.call(path, |files| files.remove_folder(path))
    }
}

/// Goal: no call of a start ends in the system's words alone. Method: each call in turn fails in each
/// way that a system has; what can be lived with is no error.
#[test]
fn any_call_that_fails_is_told_with_its_place_and_what_to_do() {
    let whole = Folder::new("calls");
    write(&whole);
    let mut errors = 0;
    for kind in [
        ErrorKind::PermissionDenied,
        ErrorKind::NotFound,
        ErrorKind::IsADirectory,
        ErrorKind::NotADirectory,
        ErrorKind::StorageFull,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::Other,
    ] {
        for left in 0.. {
            let folder = Folder::new("refusing");
            copy(&whole.0, &folder.0);
            let files = Files::new(&folder.0);
            let mut disk = Refusing { files, left, kind, refused: None };
            let outcome = start(&mut disk);
            let Some(path) = &disk.refused else { break };
            if let Err(error) = outcome {
                let place = match &path[..] {
                    // A folder that is said to be missing has no journal, until one is begun in it.
                    "" if kind == ErrorKind::NotFound => "",
                    "" => "the journal's folder",
                    path => path.split(['/', '.']).next().unwrap(),
                };
                check(&error, place);
                errors += 1;
            } else {
                let is_lived_with = kind == ErrorKind::NotFound || path.contains("/shard-");
                assert!(is_lived_with, "{path}: only what is missing, or a snapshot");
            }
        }
    }
    assert!(errors > 100, "{errors} calls");
}

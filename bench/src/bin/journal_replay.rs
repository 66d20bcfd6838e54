//! `cargo xtask bench journal_replay`: records written and replayed by one core, without a process.
//!
//! A replay from the page cache beside the same bytes only read and hashed, which it cannot pass; a
//! cold one beside the same files only read, cold; a writer whose requests nobody performs; one whose
//! commits are flushed, each waited for, beside the disk alone with the same writes.

use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use m2_bench::alternate::{alternate, pin};
use m2_bench::journal::{Pairs, begin, replay, write};
use m2_journal::{Files, Hash, Retention, Settings, Storage, Writer, names};
use rustix::fs::{Advice, fadvise};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RECORDS: usize = 4 << 20;

fn settings() -> Settings {
    Settings { retention: Retention::Keep, ..Settings::default() }
}

fn main() {
    pin();
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/bench-journal".into());
    let few = measure(&folder, 64);
    let many = measure(&folder, 10_000);
    println!("{}", json!({ "records": RECORDS, "accounts_64": few, "accounts_10000": many }));
}

fn measure(folder: &str, accounts: u32) -> Value {
    let _ = std::fs::remove_dir_all(folder);
    let mut pairs = Pairs::new(accounts);
    let mut files = Files::new(folder);
    let mut writer = begin(&mut files, &pairs, settings());
    let started = Instant::now();
    let commits = write(&mut writer, &mut pairs, RECORDS, Some(&mut files));
    let written_s = started.elapsed().as_secs_f64();
    drop(writer);
    let alone = disk_alone(folder, &commits);

    let segments = segments(&mut files);
    let operations = RECORDS as u64;
    let mut reader = Files::new(folder);
    let (warm, bound, ratio) = alternate(
        operations,
        || drop(replay(&mut files, &pairs, RECORDS)),
        || read_and_hash(&mut reader, &segments),
    );
    let cold_s = cold(folder, &segments, || drop(replay(&mut Files::new(folder), &pairs, RECORDS)));
    let disk_s = cold(folder, &segments, || read_all(&mut Files::new(folder), &segments));

    let (append, encode, _) = alternate(
        operations,
        || {
            let mut writer = Writer::new(1, 1, Hash::NONE, settings());
            let _ = write(&mut writer, &mut Pairs::new(accounts), RECORDS, None);
        },
        || {
            let mut pairs = Pairs::new(accounts);
            for _ in 0..RECORDS {
                std::hint::black_box(pairs.next_pair());
            }
        },
    );
    let mib = |seconds: f64| f64::from(u32::try_from((RECORDS * 64) >> 20).unwrap_or(0)) / seconds;
    println!("{accounts} accounts, {RECORDS} records");
    println!("replay, warm  {warm} ns a record = {:.1} M/s", 1_000.0 / warm.median);
    println!("read and hash {bound} ns a record; replay / that: {ratio}");
    println!("replay, cold  {:.0} MiB/s; the disk {:.0} MiB/s", mib(cold_s), mib(disk_s));
    println!("writer        {append} ns a record, of which {encode} make the pair");
    let (commit, disk) = (Flushes::of(&commits), Flushes::of(&alone));
    println!("written, each commit waited for: {:.2} M/s", 1e-6 * RECORDS as f64 / written_s);
    println!("a commit      {commit}");
    println!("the disk      {disk}: the same writes, and nothing else");
    let _ = std::fs::remove_dir_all(folder);
    json!({
        "replay_warm": warm.to_json("ns_per_record"),
        "read_and_hash": bound.to_json("ns_per_record"),
        "replay_over_read_and_hash": ratio.to_json("ratio"),
        "replay_cold_mib_per_s": mib(cold_s).round(),
        "disk_cold_mib_per_s": mib(disk_s).round(),
        "writer_in_memory": append.to_json("ns_per_record"),
        "written_records_per_s": (RECORDS as f64 / written_s).round(),
        "commit": commit.to_json(),
        "disk_alone": disk.to_json(),
    })
}

/// How long writes took, each with its flush.
struct Flushes {
    count: usize,
    mean_bytes: usize,
    p50_us: u128,
    p99_us: u128,
    max_us: u128,
}

impl Flushes {
    fn of(commits: &[(usize, Duration)]) -> Self {
        let mut took: Vec<_> = commits.iter().map(|(_, took)| took.as_micros()).collect();
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        let mean_bytes = commits.iter().map(|(bytes, _)| bytes).sum::<usize>() / commits.len();
        let (p50_us, p99_us, max_us) = (at(50), at(99), at(100));
        Self { count: commits.len(), mean_bytes, p50_us, p99_us, max_us }
    }

    fn to_json(&self) -> Value {
        let Self { count, mean_bytes, .. } = self;
        let us = [self.p50_us, self.p99_us, self.max_us].map(|us| u64::try_from(us).unwrap_or(0));
        json!({ "count": count, "mean_bytes": mean_bytes, "p50_us": us[0], "p99_us": us[1], "max_us": us[2] })
    }
}

impl core::fmt::Display for Flushes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { count, mean_bytes, p50_us, p99_us, max_us } = self;
        write!(f, "p50 {p50_us} us, p99 {p99_us}, longest {max_us}; {count} of {mean_bytes} bytes")
    }
}

/// The same writes, each with its flush, to a file that has its blocks.
fn disk_alone(folder: &str, commits: &[(usize, Duration)]) -> Vec<(usize, Duration)> {
    let path = format!("{folder}/alone");
    let bytes: usize = commits.iter().map(|(bytes, _)| bytes).sum();
    std::fs::write(&path, vec![0; bytes]).expect("there is room");
    let file = std::fs::File::options().write(true).open(&path).expect("it was just written");
    file.sync_all().expect("it can be flushed");
    let longest = commits.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0);
    let (page, mut offset) = (vec![0x5a; longest], 0);
    let flush = |(bytes, _): &(usize, Duration)| {
        let started = Instant::now();
        file.write_all_at(&page[..*bytes], offset).expect("the disk writes");
        file.sync_data().expect("the disk flushes");
        offset += *bytes as u64;
        (*bytes, started.elapsed())
    };
    let alone = commits.iter().map(flush).collect();
    std::fs::remove_file(&path).expect("it is ours");
    alone
}

fn segments(files: &mut Files) -> Vec<String> {
    let folder = names::folder(1);
    let entries = files.list(&folder).expect("it was just written");
    let names = entries.into_iter().filter(|entry| entry.name.ends_with(".m2j"));
    names.map(|entry| format!("{folder}/{}", entry.name)).collect()
}

fn pieces(files: &mut Files, segments: &[String], mut each: impl FnMut(&[u8])) {
    let mut piece = vec![0; 512 << 10];
    for segment in segments {
        let mut offset = 0;
        loop {
            let filled = files.read_at(segment, offset, &mut piece).expect("it can be read");
            if filled == 0 {
                break;
            }
            each(&piece[..filled]);
            offset += filled as u64;
        }
    }
}

fn read_and_hash(files: &mut Files, segments: &[String]) {
    let mut any = 0;
    pieces(files, segments, |piece| {
        for batch in piece.chunks(256 << 10) {
            any ^= blake3::hash(batch).as_bytes()[0];
        }
    });
    std::hint::black_box(any);
}

fn read_all(files: &mut Files, segments: &[String]) {
    pieces(files, segments, |piece| {
        std::hint::black_box(piece[0]);
    });
}

/// Seconds of a run, after the files were dropped from the page cache.
fn cold(folder: &str, segments: &[String], run: impl FnOnce()) -> f64 {
    for segment in segments {
        let file = std::fs::File::open(format!("{folder}/{segment}")).expect("it is there");
        file.sync_all().expect("it can be flushed");
        fadvise(&file, 0, None, Advice::DontNeed).expect("advice may be given");
    }
    let started = Instant::now();
    run();
    started.elapsed().as_secs_f64()
}

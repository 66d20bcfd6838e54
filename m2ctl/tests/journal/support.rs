//! Real journals in folders of their own, and the real binary on them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use fastrand::Rng;
use m2_core::record::{Key, KeyRecord, LimitsRecord, MoneyRecord, PairRecord, Record};
use m2_core::{AccountId, Durability, ShardId, ShardImage};
use m2_journal::image::ConfiguredLimits;
use m2_journal::recover::{
    Entry, Options, Recovered, begin_generation, found, recover, recover_spilled,
};
use m2_journal::spill::{self, Owner};
use m2_journal::{Files, Retention, Settings, Storage, Writer, perform, record};
use serde_json::Value;

use crate::world::World;

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("m2ctl-test-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path below it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a run of the binary ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let status = output.status.code().expect("no signal, so no abort either");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Self { status, stdout: text(output.stdout), stderr: text(output.stderr) };
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        ran
    }

    /// Standard output as one JSON object.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as one JSON object a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// `m2ctl journal ...`
pub(crate) fn journal<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_m2ctl"));
    command.arg("journal").args(arguments).stdin(Stdio::null());
    Ran::of(command.output().unwrap())
}

/// `m2ctl journal NAME PATH ...`
pub(crate) fn run(name: &str, path: &Path, arguments: &[&str]) -> Ran {
    let path = path.to_str().unwrap();
    journal([name, path].into_iter().chain(arguments.iter().copied()))
}

/// Small segments, so that few records fill several.
pub(crate) fn settings() -> Settings {
    Settings {
        segment_bytes: 32 << 10,
        reserve_bytes: 4 << 10,
        retention: Retention::Keep,
        ..Settings::default()
    }
}

/// Files that nobody flushes: these tests lose no power.
pub(crate) struct Disk(Files);

impl Disk {
    pub(crate) fn new(path: &Path) -> Self {
        Self(Files::new(path))
    }
}

impl Storage for Disk {
    fn list(&mut self, folder: &str) -> io::Result<Vec<m2_journal::Entry>> {
        self.0.list(folder)
    }

    fn len(&mut self, path: &str) -> io::Result<u64> {
        self.0.len(path)
    }

    fn read_at(&mut self, path: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(path, offset, buffer)
    }

    fn create_folder(&mut self, path: &str) -> io::Result<()> {
        self.0.create_folder(path)
    }

    fn write_at(&mut self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(path, offset, bytes)
    }

    fn truncate(&mut self, path: &str, len: u64) -> io::Result<()> {
        self.0.truncate(path, len)
    }

    fn sync_data(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.0.remove_folder(path)
    }
}

/// Performs all that the writer asks for.
pub(crate) fn settle(files: &mut Disk, writer: &mut Writer, now_ns: u64) {
    while let Some((id, op)) = writer.next_op(now_ns) {
        writer.done(now_ns, id, perform(files, &op));
    }
}

/// A switch as far as a journal sees one: it writes the records that it is told, one after another.
pub(crate) struct Switch {
    files: Disk,
    writer: Writer,
    entries: Vec<Entry>,
    appended: Vec<u64>,
    next_key: u8,
    pub(crate) now_ms: u64,
}

/// 2026-11-21T18:40:00Z.
pub(crate) const BEGAN_MS: u64 = 1_795_286_400_000;

impl Switch {
    /// Recovers what is there and begins a new generation. Each account is a name and a shard.
    pub(crate) fn start(path: &Path, accounts: &[(&str, u16)]) -> Self {
        Self::start_with(path, accounts, None)
    }

    /// As a start that takes in what was spilled.
    pub(crate) fn start_with(path: &Path, accounts: &[(&str, u16)], spill: Option<&Path>) -> Self {
        let mut files = Disk::new(path);
        let newest = found::generations(&mut files).unwrap().pop();
        let owner = newest.map(|newest| Owner::read(&mut files, newest).unwrap());
        let spilled = spill.zip(owner).map_or_else(Vec::new, |(spill, owner)| {
            spill::read(&mut Disk::new(spill), &owner).unwrap()
        });
        let recovered =
            recover_spilled(&mut files, &Options::default(), &spilled, &mut |_| {}).unwrap();
        let entry = |(name, shard): &(&str, u16)| Entry {
            shard: ShardId(*shard),
            name: (*name).into(),
            asset_code: "USD".into(),
            asset_scale: 9,
            limits: ConfiguredLimits { balance_max: 1_000_000, payable_max: 1_000_000 },
        };
        let mut entries: Vec<_> = accounts.iter().map(entry).collect();
        for known in &recovered.accounts[entries.len().min(recovered.accounts.len())..] {
            // Numbers are never given up.
            entries.push(entry(&(known.name.as_str(), 0)));
        }
        let shards = accounts.iter().map(|(_, shard)| usize::from(*shard) + 1).max().unwrap_or(1);
        let writer =
            begin_generation(&mut files, &recovered, &entries, shards, settings()).unwrap();
        Self { files, writer, entries, appended: vec![0; shards], next_key: 0, now_ms: BEGAN_MS }
    }

    fn id(&self, name: &str) -> AccountId {
        let at = self.entries.iter().position(|entry| entry.name == name);
        AccountId(u32::try_from(at.unwrap()).unwrap())
    }

    /// A key that was not used before, with its first byte different for each.
    pub(crate) fn key(&mut self) -> Key {
        self.next_key += 1;
        Key([self.next_key; 16])
    }

    /// Appends a record of this account's shard.
    pub(crate) fn append(&mut self, name: &str, record: &Record) -> u64 {
        let shard = self.entries[self.id(name).0 as usize].shard;
        let mut blocks = Vec::new();
        record::encode(record, &mut blocks);
        self.writer.append(self.now_ms * 1_000_000, shard, &blocks);
        let appended = &mut self.appended[usize::from(shard.0)];
        *appended += 1;
        *appended - 1
    }

    /// A fulfilled pair, a millisecond later than what came before; its position.
    pub(crate) fn pair(
        &mut self,
        from: (&str, u64),
        to: (&str, u64),
        condition_head: [u8; 16],
    ) -> u64 {
        self.now_ms += 1;
        let record = Record::Pair(PairRecord {
            amount_in: from.1,
            amount_out: to.1,
            decided_at_ms: self.now_ms,
            condition_head,
            account_in: self.id(from.0),
            account_out: self.id(to.0),
            rate_version: 3,
            durability: Durability::Sync,
        });
        self.append(to.0, &record)
    }

    /// The peer paid us, and everything so far is in its ledger.
    pub(crate) fn credit(&mut self, name: &str, key: Key, amount: u64) {
        self.money(Record::Credited, name, key, amount);
    }

    /// A payment of the peer proved void.
    pub(crate) fn reverse(&mut self, name: &str, key: Key, amount: u64) {
        self.money(Record::Reversed, name, key, amount);
    }

    /// The peer paid, and the account's shard has never been told of another's stream.
    pub(crate) fn credit_untold(&mut self, name: &str, key: Key, amount: u64) {
        self.now_ms += 1;
        let account = self.id(name);
        let applied = vec![0; self.appended.len()].into();
        let money = MoneyRecord { account, key, amount, at_ms: self.now_ms, applied };
        self.append(name, &Record::Credited(money));
    }

    fn money(&mut self, kind: fn(MoneyRecord) -> Record, name: &str, key: Key, amount: u64) {
        self.now_ms += 1;
        let (account, at_ms) = (self.id(name), self.now_ms);
        let applied = self.appended.clone().into();
        let record = kind(MoneyRecord { account, key, amount, at_ms, applied });
        self.append(name, &record);
    }

    /// `kind`: what becomes of the amount.
    pub(crate) fn keyed(
        &mut self,
        kind: fn(KeyRecord) -> Record,
        name: &str,
        key: Key,
        amount: u128,
    ) {
        self.now_ms += 1;
        let (account, at_ms) = (self.id(name), self.now_ms);
        let record = kind(KeyRecord { account, key, amount, at_ms });
        self.append(name, &record);
    }

    pub(crate) fn limits(&mut self, name: &str, balance_max: u64, payable_max: u64) {
        self.now_ms += 1;
        let (account, at_ms) = (self.id(name), self.now_ms);
        let record = Record::Limits(LimitsRecord { account, balance_max, payable_max, at_ms });
        self.append(name, &record);
    }

    /// A snapshot of every shard, which had applied everything.
    pub(crate) fn snapshot(&mut self) {
        self.settle();
        for shard in 0..self.appended.len() {
            let shard = ShardId(u16::try_from(shard).unwrap());
            let recovered = self.recovered();
            let own = recovered.accounts.iter().filter(|account| account.shard == shard);
            let is_own = |account: AccountId| self.entries[account.0 as usize].shard == shard;
            let image = ShardImage {
                shard,
                appended: self.appended[usize::from(shard.0)],
                applied: self.appended.clone(),
                accounts: own.map(|account| account.image).collect(),
                keys: recovered
                    .keys
                    .iter()
                    .filter(|(_, state)| is_own(state.account))
                    .copied()
                    .collect(),
            };
            assert!(self.writer.snapshot(image), "the one before is written");
            self.settle();
        }
    }

    /// What a start would come to now.
    pub(crate) fn recovered(&mut self) -> Recovered {
        m2_journal::recover::inspect(&mut self.files, &Options::default(), &mut |_| {}).unwrap()
    }

    /// The disk fails: a pair like this goes to a spill file instead.
    pub(crate) fn spill_pair(&mut self, folder: &Path, from: (&str, u64), to: (&str, u64)) {
        let record = Record::Pair(PairRecord {
            amount_in: from.1,
            amount_out: to.1,
            decided_at_ms: self.now_ms + 1,
            condition_head: [0x51; 16],
            account_in: self.id(from.0),
            account_out: self.id(to.0),
            rate_version: 3,
            durability: Durability::Sync,
        });
        let mut blocks = Vec::new();
        record::encode(&record, &mut blocks);
        let id = self.entries[self.id(to.0).0 as usize].shard;
        let generation = self.recovered().generation;
        let owner = Owner::read(&mut self.files, generation).unwrap();
        let position = self.appended[usize::from(id.0)];
        spill::write(&mut Disk::new(folder), &owner, id, position, &blocks).unwrap();
    }

    /// Everything so far is durable.
    pub(crate) fn settle(&mut self) {
        settle(&mut self.files, &mut self.writer, self.now_ms * 1_000_000);
    }

    /// The process ends well.
    pub(crate) fn stop(mut self) {
        self.writer.finish();
        self.settle();
        assert!(self.writer.is_finished());
    }
}

/// Several generations of any shape, each ended well or left as it is; what they come to.
pub(crate) fn random_journal(rng: &mut Rng, path: &Path, retention: Retention) -> Recovered {
    let mut files = Disk::new(path);
    let generations = rng.usize(1..4);
    for _ in 0..generations {
        let recovered = recover(&mut files, &Options::default(), &mut |_| {}).unwrap();
        let mut world = World::new(rng, &recovered);
        let segment_bytes = 16_384 + rng.u64(..3) * 16_384;
        let settings = Settings { segment_bytes, retention, ..settings() };
        let (entries, shards) = (world.entries(), world.shards);
        let mut writer =
            begin_generation(&mut files, &recovered, &entries, shards, settings).unwrap();
        for _ in 0..rng.usize(..1_500) {
            match rng.u8(..40) {
                0 => {
                    writer.snapshot(world.image(rng.usize(..shards)));
                }
                1..=20 => world.act(rng, &mut writer),
                _ => settle(&mut files, &mut writer, world.now_ns()),
            }
        }
        if rng.bool() {
            writer.finish();
        }
        settle(&mut files, &mut writer, world.now_ns());
    }
    m2_journal::recover::inspect(&mut files, &Options::default(), &mut |_| {}).unwrap()
}

/// Every file of the generations in a folder, or of one.
pub(crate) fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(files_of(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

/// Changes one bit of a file, or changes it back.
pub(crate) fn flip(path: &Path, offset: u64, bit: u8) {
    change_byte(path, offset, |byte| byte ^ 1 << bit);
}

/// Changes one byte of a file.
pub(crate) fn change_byte(path: &Path, offset: u64, change: impl FnOnce(u8) -> u8) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[change(byte[0])], offset).unwrap();
}

/// Writes a file whole.
pub(crate) fn write(path: &Path, text: &str) {
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

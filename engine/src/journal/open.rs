//! From a folder to a running journal: locked, recovered, a new generation begun, the threads started.
//!
//! Invariant: a switch takes no packet before the base of its generation is on the disk for good.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use m2_core::ledger::Words as LedgerWords;
use m2_core::{AccountId, AccountImage, Asset, Limits, ShardId, Switch};
use m2_journal::image::{ConfiguredLimits, JournalId};
use m2_journal::limits::{ASYNC_PARTS, BLOCK_LEN, RESERVE_BYTES_DEFAULT};
use m2_journal::recover::{self, Entry, Options, Progress, Recovered, begin_generation, found};
use m2_journal::spill::{self, Owner, Spilled};
use m2_journal::{Files, Health, Retention, Settings, Writer, names};
use rtrb::RingBuffer;

use super::disk::{Blocking, Disk};
use super::files::FilesThread;
use super::last_words;
use super::presence;
use super::thread::{Joints, Thread};
use super::unwritten::Unwritten;
use super::uring::Uring;
use super::words::Words;
use crate::adopt::{Known, adopt};
use crate::config::{Config, JournalIo, JournalSection, Problem, Problems};
use crate::limits::{
    DOZE_MAX, END_LOOK, JOURNAL_END_PATIENCE, JOURNAL_RING_LEN, RECOVERY_TOLD_EVERY,
    ROOM_LOOKS_MAX, UNDELIVERED_LISTED_MAX, UNDELIVERED_LOGGED_MAX,
};
use crate::shard::message::Event;
use crate::shard::recorder;
use crate::shard::wake::{Nudge, shard_wake};
use crate::topology::StartError;

/// In the journal's folder: where the spill folder is, and in another line which journal this is.
const SPILL_NOTE: &str = "spill-folder";
/// In the spill folder: that it is one, and of which journal.
const SPILL_MARK: &str = "m2-spill";

/// A journal that was read, and whose next generation stands on the disk.
pub(crate) struct Opened {
    recovered: Arc<Recovered>,
    writer: Writer,
    /// The generation that the writer writes.
    owner: Owner,
    /// Held for as long as this process has the journal.
    lock: File,
}

/// The journal's threads.
pub(crate) struct Running {
    words: Arc<Words>,
    wake: Arc<OwnedFd>,
    thread: JoinHandle<Health>,
    lock: File,
}

/// Opens the journal of a configuration: afterwards its accounts stand in the order of their numbers.
/// `None` if no account has anything recorded.
///
/// # Errors
///
/// When the folder cannot be had, something in it is damaged, or an account is in another asset than it
/// was.
pub(crate) fn open(config: &mut Config) -> Result<Option<Opened>, StartError> {
    let section = config.journal.clone();
    presence::refuse(config)?;
    if !presence::is_wanted(config) {
        return Ok(None);
    }
    let lock = lock(config)?;
    let mut storage = Files::new(&section.path);
    let newest = newest(&section, &mut storage)?;
    settle(&section, &mut storage, newest.as_ref())?;
    let journal = newest.map_or_else(new_journal, |newest| newest.journal);
    spill_is_there(&section, journal)?;
    let spilled = spilled(&section, newest.as_ref())?;
    let mut recovered = read(&section, &mut storage, &spilled)?;
    recovered.journal = journal;
    adopt(config, &known(&recovered)).map_err(StartError::Configuration)?;
    tell(config, &mut storage, &recovered)?;
    let entries = entries(config);
    let settings = settings(config);
    let shards = usize::from(config.switch.shards);
    let mut writer = begin_generation(&mut storage, &recovered, &entries, shards, settings)
        .map_err(|error| StartError::Journal(sentence(&section, &error)))?;
    let owner = Owner::read(&mut storage, recovered.generation + 1)
        .map_err(|error| StartError::Journal(sentence(&section, &error)))?;
    // Not before a base says which journal it is: whatever ends this start, the next one makes no other.
    mark_spill(&section, journal)?;
    make_room(&section, &mut storage, &mut writer)?;
    keep_limits(config, &recovered);
    // Only now do they stand in the journal.
    put_aside(&section, &recovered.spilled)?;
    Ok(Some(Opened { recovered: Arc::new(recovered), writer, owner, lock }))
}

/// One process has a journal at a time.
fn lock(config: &Config) -> Result<File, StartError> {
    let JournalSection { path, line, .. } = &config.journal;
    let complaint = |text: String| {
        let list = vec![Problem { line: Some(*line), text }];
        StartError::Configuration(Problems { file: config.file.clone(), list })
    };
    let shown = path.display();
    make_folder(path)
        .map_err(|error| complaint(format!("the journal {shown} cannot be made: {error}")))?;
    let file =
        File::options().write(true).create(true).truncate(false).open(path.join(names::LOCK));
    let file =
        file.map_err(|error| complaint(format!("the journal {shown} cannot be written: {error}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(complaint(format!(
            "the journal {shown} is another process's: stop that one, or write another path"
        ))),
        Err(TryLockError::Error(error)) => {
            Err(complaint(format!("the journal {shown} cannot be locked: {error}")))
        }
    }
}

/// A folder that is there for good: each that had to be made stands in the one above it.
fn make_folder(path: &Path) -> io::Result<()> {
    let mut made: Vec<_> = path.ancestors().take_while(|it| !it.exists()).collect();
    fs::create_dir_all(path)?;
    while let Some(folder) = made.pop() {
        let above = folder.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(above.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn read(
    section: &JournalSection,
    storage: &mut Files,
    spilled: &[Spilled],
) -> Result<Recovered, StartError> {
    let options = Options { listed_max: UNDELIVERED_LISTED_MAX, ..Options::default() };
    let began = Instant::now();
    let mut told = began;
    let mut progress = |at: Progress| {
        if told.elapsed() >= RECOVERY_TOLD_EVERY {
            told = Instant::now();
            let percent = at.bytes_done * 100 / at.bytes_total.max(1);
            tracing::info!(percent, records = at.records, "the journal is being read");
        }
    };
    let recovered = recover::recover_spilled(storage, &options, spilled, &mut progress)
        .map_err(|error| StartError::Journal(place_and_sentence(section, spilled, &error)))?;
    for (file, records) in &recovered.spilled {
        tracing::warn!(file, records, "spilled records were taken in");
    }
    let took = began.elapsed();
    tracing::info!(
        path = %section.path.display(),
        generation = recovered.generation,
        accounts = recovered.accounts.len(),
        records = recovered.records,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        around_page_cache = is_direct(section),
        "journal read"
    );
    if recovered.generation == 0 {
        tracing::warn!(
            path = %section.path.display(),
            "no journal is here: all balances begin at 0. must_exist = true refuses such a start from \
             now on, so that a folder that is not mounted is not taken for a new one"
        );
    }
    Ok(recovered)
}

/// Whether the disk takes pages around its cache. It does the same slower where it does not.
fn is_direct(section: &JournalSection) -> bool {
    File::open(section.path.join(names::LOCK))
        .is_ok_and(|file| m2_journal::direct::is_possible(&file))
}

/// The newest generation, if there is one.
fn newest(section: &JournalSection, storage: &mut Files) -> Result<Option<Owner>, StartError> {
    let newest = found::generations(storage)
        .and_then(|all| all.last().map(|newest| Owner::read(storage, *newest)).transpose());
    newest.map_err(|error| StartError::Journal(sentence(section, &error)))
}

/// Tells a journal that begins from all others.
fn new_journal() -> JournalId {
    let mut id = JournalId::NONE;
    getrandom::fill(&mut id.0).expect("the system has random bytes");
    id
}

/// A process that was killed may have left writes that the disk has not done yet: they land before anything
/// is read of what it left.
fn settle(
    section: &JournalSection,
    storage: &mut Files,
    newest: Option<&Owner>,
) -> Result<(), StartError> {
    let Some(newest) = newest else { return Ok(()) };
    let tell = |file: &Path| {
        tracing::warn!(
            file = %file.display(),
            "a process that is gone still has a write at the disk: the start waits for it"
        );
    };
    storage.wait_for_writes(newest.generation, tell).map_err(|error| {
        let path = section.path.display();
        StartError::Journal(format!(
            "the journal {path}: a segment cannot be locked, to wait for what is still written to it: {error}"
        ))
    })
}

/// A folder for spilled records that an earlier start had must still be there, as it may have some; and
/// one that another journal has is none of ours.
fn spill_is_there(section: &JournalSection, journal: JournalId) -> Result<(), StartError> {
    let refuse = |text: String| Err(StartError::Journal(text));
    let note = section.path.join(SPILL_NOTE);
    let mark = section.spill.as_ref().map(|spill| spill.join(SPILL_MARK));
    let marked = mark.as_deref().map(text_of).transpose()?.flatten();
    if let Some(noted) = text_of(&note)? {
        let noted = noted.trim_end();
        let (before, of) = noted.rsplit_once('\n').unwrap_or((noted, "nothing"));
        let note = note.display();
        if of != journal.to_string() {
            return refuse(format!(
                "{note} says where journal {of} has its spill folder ({before}), and this is journal \
                 {journal}: restore what belongs together; if nothing in that folder counts, remove {note}"
            ));
        }
        if marked.is_none() {
            return refuse(format!(
                "the spill folder {before} is not where the last start had it, and may hold records that \
                 the journal lacks: mount it or name it as `spill`; if nothing in it counts, remove {note}"
            ));
        }
    }
    let Some(spill) = &section.spill else { return Ok(()) };
    let shown = spill.display();
    if let (Some(mark), Some(marked)) = (&mark, marked)
        && marked != mark_of(journal)
    {
        return refuse(format!(
            "the spill folder {shown} is another journal's (\"{}\"), and this is journal {journal}: give \
             each journal a folder of its own; if that journal is no more and nothing in the folder \
             counts, remove {}",
            marked.trim_end(),
            mark.display()
        ));
    }
    make_folder(spill).map_err(|error| {
        StartError::Journal(format!("the spill folder {shown} cannot be made: {error}"))
    })
}

/// What a file says, if it is there.
fn text_of(file: &Path) -> Result<Option<String>, StartError> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(StartError::Journal(format!("{} cannot be read: {error}", file.display())))
        }
    }
}

fn mark_of(journal: JournalId) -> String {
    format!("records that journal {journal} could not take\n")
}

/// Marks the spill folder as this journal's, and notes in the journal's where it is.
fn mark_spill(section: &JournalSection, journal: JournalId) -> Result<(), StartError> {
    let Some(spill) = &section.spill else { return Ok(()) };
    let note = format!("{}\n{journal}\n", spill.display());
    for (folder, file, text) in
        [(spill, SPILL_MARK, mark_of(journal)), (&section.path, SPILL_NOTE, note)]
    {
        write_changed(folder, file, &text).map_err(|error| {
            let file = folder.join(file);
            StartError::Journal(format!("{} cannot be written: {error}", file.display()))
        })?;
    }
    Ok(())
}

/// Writes a file whole, unless it says the same already.
fn write_changed(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    if fs::read(folder.join(file)).is_ok_and(|was| was == text.as_bytes()) {
        return Ok(());
    }
    m2_journal::write_whole(&mut Files::new(folder), file, text.as_bytes())
}

/// What an earlier end could only spill: the journal's newest generation has not got it.
fn spilled(section: &JournalSection, newest: Option<&Owner>) -> Result<Vec<Spilled>, StartError> {
    let (Some(folder), Some(newest)) = (&section.spill, newest) else { return Ok(Vec::new()) };
    let mut files = Files::new(folder);
    let read = spill::of_others(&mut files, newest).and_then(|others| {
        for file in others {
            tracing::warn!(
                file,
                "this spill file is another journal's, or of another generation than the newest: it is \
                 left alone"
            );
        }
        spill::read(&mut files, newest)
    });
    read.map_err(|error| StartError::Journal(format!("the spill {}: {error}", folder.display())))
}

/// What is wrong, in the journal's folder or in that of the spill.
fn place_and_sentence(
    section: &JournalSection,
    spilled: &[Spilled],
    error: &m2_journal::Error,
) -> String {
    let is_spill = |file: &str| spilled.iter().any(|spilled| spilled.file == file);
    match (&section.spill, error) {
        (Some(folder), m2_journal::Error::Damage(damage)) if is_spill(&damage.file) => {
            format!("the spill {}: {error}", folder.display())
        }
        _ => sentence(section, error),
    }
}

/// Spill files that were taken in keep their bytes under another name.
fn put_aside(section: &JournalSection, files: &[(String, u64)]) -> Result<(), StartError> {
    let folder = section.spill.iter();
    for (folder, file) in
        folder.flat_map(|folder| files.iter().map(move |(file, _)| (folder, file)))
    {
        let taken_in = format!("{}{file}", spill::TAKEN_IN);
        fs::rename(folder.join(file), folder.join(&taken_in)).map_err(|error| {
            StartError::Journal(format!(
                "{file} in the spill folder {} was taken in and cannot be renamed to {taken_in}: {error}. \
                 Let its folder be written, and start again: nothing is taken in twice",
                folder.display()
            ))
        })?;
    }
    Ok(())
}

/// The first packet finds a segment prepared, or the start says why there is none.
fn make_room(
    section: &JournalSection,
    storage: &mut Files,
    writer: &mut Writer,
) -> Result<(), StartError> {
    let mut looks = 0;
    loop {
        let now_ns = crate::clock::mono_ns();
        let health = writer.health(now_ns);
        if health == Health::Ready {
            return Ok(());
        }
        let Some((id, op)) = writer.next_op(now_ns) else {
            // The generation before may have made room by going.
            if let Some(wake_ns) = writer.wake_ns().filter(|_| looks < ROOM_LOOKS_MAX) {
                looks += 1;
                thread::sleep(Duration::from_nanos(wake_ns.saturating_sub(now_ns)));
                continue;
            }
            let (path, reason) = (section.path.display(), writer.reason(health));
            return Err(StartError::Journal(format!("the journal {path}: {reason}")));
        };
        let result = m2_journal::perform(storage, &op);
        writer.done(now_ns, id, result);
    }
}

fn sentence(section: &JournalSection, error: &m2_journal::Error) -> String {
    format!("the journal {}: {error}", section.path.display())
}

/// Limits that an operator has set stay in force as long as the file says the same as then: that is
/// how `begin_generation` has written them down.
fn keep_limits(config: &mut Config, recovered: &Recovered) {
    for (account, was) in config.accounts.iter_mut().zip(&recovered.accounts) {
        let Limits { balance_max, payable_max, .. } = account.limits;
        let image = &was.image;
        let is_other = (image.balance_max, image.payable_max) != (balance_max, payable_max);
        if account.dormant || !is_other {
            continue;
        }
        let name = &*account.name;
        if was.configured == (ConfiguredLimits { balance_max, payable_max }) {
            account.limits.balance_max = image.balance_max;
            account.limits.payable_max = image.payable_max;
            tracing::warn!(
                account = name,
                balance_max = image.balance_max,
                payable_max = image.payable_max,
                "limits that were set by an order are in force, and not the file's, which has not \
                 changed since"
            );
        } else {
            tracing::info!(account = name, balance_max, payable_max, "the file's limits are new");
        }
    }
}

/// What an operator should know of what was found. What may not have been delivered stands in a file as
/// well, as the generation that has it may be gone soon.
fn tell(config: &Config, storage: &mut Files, recovered: &Recovered) -> Result<(), StartError> {
    for note in &recovered.notes {
        tracing::warn!("journal: {note}");
    }
    let name = |account: AccountId| &*config.accounts[account.0 as usize].name;
    for (account, perhaps) in &recovered.undelivered.by_account {
        let (account, packets, units) = (name(*account), perhaps.count, perhaps.value);
        tracing::warn!(
            account,
            packets,
            units,
            "FULFILLs that are recorded may not have reached the account"
        );
    }
    let mut lines = String::new();
    for (at, (stream, position, pair)) in recovered.undelivered.listed.iter().enumerate() {
        let (account, amount) = (name(pair.account_in), pair.amount_in);
        let condition = crate::log::hex(&pair.condition_head);
        let line = serde_json::json!({
            "generation": recovered.generation,
            "stream": stream.0,
            "position": position,
            "account": account,
            "amount": amount.to_string(),
            "condition_head": condition,
            "decided_at_ms": pair.decided_at_ms,
        });
        lines += &format!("{line}\n");
        if at < UNDELIVERED_LOGGED_MAX {
            let decided_at_ms = pair.decided_at_ms;
            tracing::warn!(account, amount, condition, decided_at_ms, "perhaps undelivered");
        }
    }
    if !lines.is_empty() {
        let file = format!("undelivered-{:08}.jsonl", recovered.generation);
        let written = m2_journal::write_whole(storage, &file, lines.as_bytes());
        let file = config.journal.path.join(file);
        written.map_err(|error| {
            StartError::Journal(format!(
                "the list of what may not have been delivered cannot be written to {}: {error}",
                file.display()
            ))
        })?;
        tracing::warn!(file = %file.display(), "all that may not have been delivered");
    }
    let accounts = config.accounts.iter().zip(&recovered.accounts);
    for (account, was) in accounts.filter(|(account, _)| account.dormant) {
        let LedgerWords { balance, frozen, prepaid, .. } = was.image.words;
        tracing::warn!(
            account = &*account.name,
            asset = %format_args!("{}/{}", was.asset_code, was.asset_scale),
            balance,
            frozen,
            prepaid,
            "the journal has an account that is not configured: it keeps what it owes and is owed, and \
             has no link. An account under another name is another account"
        );
    }
    Ok(())
}

fn known(recovered: &Recovered) -> Vec<Known> {
    let known = |account: &m2_journal::image::Account| Known {
        name: account.name.clone(),
        asset: Asset { code: account.asset_code.clone(), scale: account.asset_scale },
    };
    recovered.accounts.iter().map(known).collect()
}

/// The accounts of the new generation, in the order of their numbers.
fn entries(config: &Config) -> Vec<Entry> {
    let entry = |(id, account): (u32, &crate::config::Account)| {
        let asset = &config.assets[usize::from(account.asset.0)];
        Entry {
            shard: config.shard_of(AccountId(id)),
            name: account.name.clone(),
            asset_code: asset.code.clone(),
            asset_scale: asset.scale,
            limits: ConfiguredLimits {
                balance_max: account.limits.balance_max,
                payable_max: account.limits.payable_max,
            },
        }
    };
    (0..).zip(&config.accounts).map(entry).collect()
}

fn settings(config: &Config) -> Settings {
    let JournalSection { async_ms, async_bytes, slow_ms, segment_bytes, .. } = config.journal;
    let ns = |ms: u32| u64::from(ms) * crate::clock::NS_PER_MS;
    Settings {
        segment_bytes,
        reserve_bytes: RESERVE_BYTES_DEFAULT.min(segment_bytes / 2),
        async_ns: ns(async_ms),
        async_bytes,
        slow_ns: ns(slow_ms),
        retention: if config.journal.archive { Retention::Archive } else { Retention::Delete },
        ..Settings::default()
    }
}

impl Opened {
    /// What was recovered.
    pub(crate) fn recovered(&self) -> Arc<Recovered> {
        Arc::clone(&self.recovered)
    }

    /// Gives each shard's switch the words and keys that were recovered of its accounts, whichever
    /// shards had them before.
    pub(crate) fn restore(&self, config: &Config, switches: &mut [Switch]) {
        let shard_of = |account| usize::from(config.shard_of(account).0);
        for was in &self.recovered.accounts {
            let AccountImage { account, words, .. } = was.image;
            if words != LedgerWords::default() {
                switches[shard_of(account)].restore(account, words);
            }
        }
        for (key, state) in &self.recovered.keys {
            switches[shard_of(state.account)].restore_key(*key, *state);
        }
    }

    /// Starts the threads. What each shard needs comes back, in their order.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor or thread left, or io_uring is wanted and not permitted.
    pub(crate) fn start(
        self,
        config: &Config,
        shard_wakes: Vec<Arc<OwnedFd>>,
        events: Sender<Event>,
        nudge: Nudge,
    ) -> Result<(Running, Vec<recorder::Joints>), StartError> {
        let section = &config.journal;
        let count = shard_wakes.len();
        let words = Arc::new(Words::new(count));
        let wake = Arc::new(shard_wake()?);
        last_words::expect(&words, &wake);
        let (image, images) = bounded(count);
        let (mut rings, mut shards) = (Vec::new(), Vec::new());
        for shard in 0..count {
            let (ring, records) = RingBuffer::new(JOURNAL_RING_LEN);
            rings.push(records);
            shards.push(recorder::Joints {
                shard: ShardId(u16::try_from(shard).expect("a few")),
                ring,
                words: Arc::clone(&words),
                journal: Arc::clone(&wake),
                images: image.clone(),
                slow_ns: u64::from(section.slow_ms) * crate::clock::NS_PER_MS,
                waiting_blocks_max: waiting_blocks_max(section),
            });
        }
        let disk = disk(section.io, &wake)?;
        let files = FilesThread::start(section.path.clone(), Arc::clone(&wake))?;
        let joints =
            Joints { words: Arc::clone(&words), rings, images, shard_wakes, events, nudge };
        let unwritten = Unwritten::new(self.owner, section.spill.clone());
        let (folder, snapshot_bytes) = (section.path.clone(), section.snapshot_bytes);
        // Records that wait for the next look are flushed in time all the same.
        let parts = u32::try_from(ASYNC_PARTS).expect("a few");
        let doze = (Duration::from_millis(section.async_ms.into()) / parts).min(DOZE_MAX);
        let writer = self.writer;
        let thread = Thread::new(folder, snapshot_bytes, doze, writer, unwritten, files, joints);
        let thread = thread::Builder::new()
            .name(last_words::THREAD.into())
            .spawn(move || thread.run(disk.start()))?;
        Ok((Running { words, wake, thread, lock: self.lock }, shards))
    }
}

/// Blocks of records in the ring that may wait until the journal thread looks by itself: as many as are
/// flushed although nobody waits for them, and at most half of the ring.
fn waiting_blocks_max(section: &JournalSection) -> usize {
    let blocks = section.async_bytes / ASYNC_PARTS / BLOCK_LEN as u64;
    usize::try_from(blocks).unwrap_or(usize::MAX).clamp(1, JOURNAL_RING_LEN / 2)
}

/// Which back end the journal thread is to make for itself.
enum BackEnd {
    Uring(Box<Uring>),
    Blocking(Blocking),
}

impl BackEnd {
    fn start(self) -> Box<dyn Disk> {
        match self {
            Self::Uring(disk) => disk,
            Self::Blocking(disk) => Box::new(disk),
        }
    }
}

fn disk(io: JournalIo, wake: &Arc<OwnedFd>) -> Result<BackEnd, StartError> {
    if io == JournalIo::Blocking {
        return Ok(BackEnd::Blocking(Blocking::new(Arc::clone(wake))));
    }
    match Uring::new(Arc::clone(wake)) {
        Ok(disk) => Ok(BackEnd::Uring(Box::new(disk))),
        Err(error) if io == JournalIo::Auto => {
            tracing::warn!(%error, "io_uring is not permitted: the journal is written without");
            Ok(BackEnd::Blocking(Blocking::new(Arc::clone(wake))))
        }
        Err(error) => Err(StartError::Journal(format!(
            "io_uring is not permitted ({error}): write io = \"auto\" or io = \"blocking\" in [journal]"
        ))),
    }
}

impl Running {
    pub(crate) fn words(&self) -> Arc<Words> {
        Arc::clone(&self.words)
    }

    /// Waits until everything is durable, or cannot be. Every shard has ended before.
    pub(crate) fn end(self) -> Health {
        // Their rings are abandoned, which the thread is to see.
        crate::shard::wake::wake(&self.wake);
        let began = Instant::now();
        while !self.thread.is_finished() {
            if began.elapsed() > JOURNAL_END_PATIENCE {
                tracing::error!(
                    "the journal's disk does not answer: what was acknowledged and is not durable may be \
                     forgotten"
                );
                return Health::Failed;
            }
            thread::sleep(END_LOOK);
        }
        let health = self.thread.join().expect("a panic ends the process before this");
        drop(self.lock);
        health
    }
}

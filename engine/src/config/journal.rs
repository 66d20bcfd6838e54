//! `[journal]`: where records go, when a FULFILL may go on without waiting for them, what is kept.

use std::path::{Path, PathBuf};

use super::table::Table;
use super::{SwitchSection, resolved};
use crate::limits::{SEGMENT_LEN_DEFAULT, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN};

/// `[journal]`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalSection {
    /// The folder.
    pub path: PathBuf,
    /// Line in the file, for errors found when opening.
    pub line: usize,
    /// A folder without a journal is refused.
    pub must_exist: bool,
    /// A FULFILL of a `sync` account that is still withheld so long before its PREPARE expires goes on
    /// without its record.
    pub sync_grace_ms: u32,
    /// FULFILLs of `async` accounts wait as if they were `sync` once the oldest record that is not
    /// durable is this old...
    pub async_ms: u32,
    /// ... or once so many bytes of records are not durable.
    pub async_bytes: u64,
    /// A flush that takes longer is trouble: no new PREPARE is taken until it has ended.
    pub slow_ms: u32,
    /// Length of a segment, in bytes.
    pub segment_bytes: u64,
    /// A snapshot is made once so many bytes of records stand behind the last.
    pub snapshot_bytes: u64,
    /// What snapshots have made superfluous is moved to the folder `archive` in the journal's, else it
    /// is deleted.
    pub archive: bool,
    /// Where the records go that the journal could not take.
    pub spill: Option<PathBuf>,
    /// By which system calls.
    pub io: JournalIo,
}

/// By which system calls the journal writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JournalIo {
    /// io_uring where the kernel permits it, else blocking.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// `pwrite` and `fdatasync`.
    Blocking,
}

pub(super) fn journal(
    file: &Path,
    root: &Table<'_, '_>,
    switch: Option<&SwitchSection>,
) -> JournalSection {
    let table = root.table("journal", "[journal]");
    let margin_ms = switch.map_or(u32::MAX, |switch| switch.expiry_margin_ms);
    let path = |key| folder(file, &table, key);
    let section = JournalSection {
        path: path("path").unwrap_or_else(|| resolved(file, "journal")),
        line: table.line_of("path"),
        must_exist: table.boolean("must_exist", false),
        sync_grace_ms: table.integer("sync_grace_ms", 0..=60_000, (margin_ms / 4).min(250)),
        async_ms: table.integer("async_ms", 1..=60_000, 10),
        async_bytes: table.integer("async_bytes", 64..=1 << 40, 1 << 20),
        slow_ms: table.integer("slow_ms", 1..=60_000, 2_000),
        segment_bytes: table.integer(
            "segment_bytes",
            SEGMENT_LEN_MIN..=SEGMENT_LEN_MAX,
            SEGMENT_LEN_DEFAULT,
        ),
        snapshot_bytes: table.integer("snapshot_bytes", 1 << 16..=1 << 40, 256 << 20),
        archive: table.boolean("archive", false),
        spill: path("spill"),
        io: table
            .choice(
                "io",
                &[
                    ("auto", JournalIo::Auto),
                    ("io_uring", JournalIo::Uring),
                    ("blocking", JournalIo::Blocking),
                ],
            )
            .unwrap_or(JournalIo::Auto),
    };
    grace(&table, &section, margin_ms);
    apart(&table, &section);
    table.finish();
    section
}

/// A folder that the section names.
fn folder(file: &Path, table: &Table<'_, '_>, key: &'static str) -> Option<PathBuf> {
    let text = table.text(key)?;
    if text.value.is_empty() {
        table.complain(text.line, format!("{key} = \"\" must name a folder, as in \"{key}\""));
        return None;
    }
    Some(resolved(file, text.value))
}

/// What is sent on by the grace rule has the rest of the margin to arrive in.
fn grace(table: &Table<'_, '_>, section: &JournalSection, margin_ms: u32) {
    let grace_ms = section.sync_grace_ms;
    if grace_ms > 0 && grace_ms >= margin_ms {
        let text = format!(
            "sync_grace_ms = {grace_ms} leaves no time to wait for a record: write less than \
             expiry_margin_ms = {margin_ms}"
        );
        table.complain(table.line_of("sync_grace_ms"), text);
    }
}

/// What the journal could not take must not come back as the journal.
fn apart(table: &Table<'_, '_>, section: &JournalSection) {
    if section.spill.as_ref().is_some_and(|spill| spill.starts_with(&section.path)) {
        let text = "`spill` lies in the journal's own folder: write a path on another disk";
        table.complain(table.line_of("spill"), text.into());
    }
}

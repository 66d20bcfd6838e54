//! What files are called.
//!
//! ```text
//!   lock
//!   generation-00000001/base.m2s                  everything at its beginning
//!   generation-00000001/stream-000-00000001.m2j   segments of a stream
//!   generation-00000001/stream-000.flushed        its last flushed position
//!   generation-00000001/shard-000-00000001.m2s    snapshots of a shard
//!   archive/, cut/                                what was taken out
//! ```
//!
//! A name has one spelling: whatever is spelled otherwise is no file of ours.

use m2_core::ShardId;

/// Held by whoever writes the journal.
pub const LOCK: &str = "lock";

/// Where retired files go, if they are kept.
pub const ARCHIVE: &str = "archive";

/// Where tails go that a crash left behind.
pub const CUT: &str = "cut";

/// Ends the name of what is not complete yet.
pub const TEMPORARY: &str = ".tmp";

/// A segment of a stream.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SegmentName {
    /// Which start of the process, from 1.
    pub generation: u32,
    /// Whose records it holds.
    pub stream: ShardId,
    /// Its number in the stream, from 1.
    pub number: u32,
}

/// A snapshot of a shard.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SnapshotName {
    /// Which start of the process, from 1.
    pub generation: u32,
    /// Whose ledgers it holds.
    pub shard: ShardId,
    /// Its number among the shard's, from 1.
    pub number: u32,
}

impl SegmentName {
    /// Relative to the journal's folder.
    #[must_use]
    pub fn path(&self) -> String {
        let Self { generation, stream, number } = self;
        format!("{}/stream-{:03}-{number:08}.m2j", folder(*generation), stream.0)
    }

    /// The segment that a file of this generation is, by its name in the folder.
    #[must_use]
    pub fn parse(generation: u32, name: &str) -> Option<Self> {
        let numbers = name.strip_prefix("stream-")?.strip_suffix(".m2j")?;
        let (stream, number) = numbers.split_once('-')?;
        let stream = ShardId(digits(stream, 3)?.try_into().ok()?);
        Some(Self { generation, stream, number: digits(number, 8)? })
    }
}

impl SnapshotName {
    /// Relative to the journal's folder.
    #[must_use]
    pub fn path(&self) -> String {
        let Self { generation, shard, number } = self;
        format!("{}/shard-{:03}-{number:08}.m2s", folder(*generation), shard.0)
    }

    /// The snapshot that a file of this generation is, by its name in the folder.
    #[must_use]
    pub fn parse(generation: u32, name: &str) -> Option<Self> {
        let numbers = name.strip_prefix("shard-")?.strip_suffix(".m2s")?;
        let (shard, number) = numbers.split_once('-')?;
        let shard = ShardId(digits(shard, 3)?.try_into().ok()?);
        Some(Self { generation, shard, number: digits(number, 8)? })
    }
}

/// The folder of a generation.
#[must_use]
pub fn folder(generation: u32) -> String {
    format!("generation-{generation:08}")
}

/// Which generation a folder is, by its name.
#[must_use]
pub fn parse_folder(name: &str) -> Option<u32> {
    digits(name.strip_prefix("generation-")?, 8)
}

/// Whether a file of this generation may have this name in the folder.
pub(crate) fn is_file(generation: u32, name: &str) -> bool {
    let flushed = || digits(name.strip_prefix("stream-")?.strip_suffix(".flushed")?, 3);
    SegmentName::parse(generation, name).is_some()
        || SnapshotName::parse(generation, name).is_some()
        || base(generation).ends_with(&format!("/{name}"))
        || flushed().is_some()
}

/// The base of a generation.
#[must_use]
pub fn base(generation: u32) -> String {
    format!("{}/base.m2s", folder(generation))
}

/// The file that tells the last flushed position of a stream.
#[must_use]
pub fn flushed(generation: u32, stream: ShardId) -> String {
    format!("{}/stream-{:03}.flushed", folder(generation), stream.0)
}

/// A number written with `width` digits, or with more where it needs them.
fn digits(text: &str, width: usize) -> Option<u32> {
    let number = text.parse().ok()?;
    (format!("{number:0width$}") == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        let segment = SegmentName { generation: 7, stream: ShardId(3), number: 12 };
        assert_eq!(segment.path(), "generation-00000007/stream-003-00000012.m2j");
        assert_eq!(SegmentName::parse(7, "stream-003-00000012.m2j"), Some(segment));
        let snapshot = SnapshotName { generation: 7, shard: ShardId(255), number: u32::MAX };
        assert_eq!(snapshot.path(), "generation-00000007/shard-255-4294967295.m2s");
        assert_eq!(SnapshotName::parse(7, "shard-255-4294967295.m2s"), Some(snapshot));
        for other in [
            "stream-3-00000012.m2j",
            "stream-003-12.m2j",
            "stream-003-+0000012.m2j",
            "stream-003-000000012.m2j",
            "stream-65536-00000012.m2j",
            "stream-003-99999999999.m2j",
            "stream-003-00000012.m2j.tmp",
            "stream-003.flushed",
            "",
        ] {
            assert_eq!(SegmentName::parse(7, other), None, "{other}");
        }
        assert_eq!(parse_folder(&folder(9)), Some(9));
        assert_eq!(parse_folder("generation-9"), None);
        assert_eq!(parse_folder("generation-00000009.tmp"), None);
    }
}

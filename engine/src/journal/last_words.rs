//! What a panic waits for: the journal thread has what the shards have put into its rings, and makes
//! it durable, before the process ends.
//!
//! FULFILLs of `sync` accounts need none of this. Those of `async` accounts may have gone on before
//! their records: a mistake of ours should not cost more than the power does.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::words::Words;
use crate::limits::LAST_WORDS_PATIENCE;
use crate::shard::wake::wake;

/// Name of the journal thread: one that panics itself is not waited for.
pub(super) const THREAD: &str = "journal";

static JOURNAL: OnceLock<(Arc<Words>, Arc<OwnedFd>)> = OnceLock::new();

/// From now on a panic waits for this journal.
pub(super) fn expect(words: &Arc<Words>, journal: &Arc<OwnedFd>) {
    // A second journal in one process stands in a test.
    let _ = JOURNAL.set((Arc::clone(words), Arc::clone(journal)));
}

/// Waits until all that was recorded is durable, or it takes too long. Called when a thread panics.
pub fn wait() {
    let Some((words, journal)) = JOURNAL.get() else { return };
    if thread::current().name().is_some_and(|name| name.starts_with(THREAD)) {
        return;
    }
    let began = Instant::now();
    while !words.all_durable() && began.elapsed() < LAST_WORDS_PATIENCE {
        wake(journal);
        thread::sleep(Duration::from_millis(1));
    }
}

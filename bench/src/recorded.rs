//! The switch with its records written away: a thread takes them out of a ring, hashes them as the journal
//! does, and forgets them. What is left of recording when no disk is waited for.
//!
//! ```text
//!   core -- records --> blocks of 64 bytes -- ring --> thread: BLAKE3 over what is there, at most 64 KiB
//!     ^                                                  |
//!     +---------- how many are "durable" ----------------+
//! ```
//!
//! Every account is `Async`, with bounds that no FULFILL meets. The ring and the encoding are those of
//! `engine/src/shard/recorder.rs`. Invariant: each record that left the core is hashed once, in order;
//! [`Recorded::finish`] checks it.

use core::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use m2_core::limits::BATCH_MAX;
use m2_core::{AccountId, Egress, Now, Request, Response, ShardId, Switch};
use m2_journal::{Block, record};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::alternate::pin_to;
use crate::driver::Forwarding;

/// Blocks that the ring holds, as the process's.
const RING_LEN: usize = 1 << 16;
/// Blocks that are hashed at once: 64 KiB.
const HASHED_MAX: usize = 1 << 10;

/// See the head of the file.
#[derive(Debug)]
pub struct Recorded {
    switch: Switch,
    ring: Producer<Block>,
    shared: Arc<Shared>,
    /// Records put into the ring.
    put: u64,
    told: u64,
    /// Records of a vector, as they are encoded.
    blocks: Vec<Block>,
    thread: JoinHandle<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Blocks that were hashed.
    hashed: AtomicU64,
    ending: AtomicBool,
}

impl Recorded {
    /// Starts the thread, on the second core.
    #[must_use]
    pub fn new(switch: Switch) -> Self {
        let (ring, records) = RingBuffer::new(RING_LEN);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            pin_to(1);
            hash(records, &of_thread)
        });
        Self { switch, ring, shared, put: 0, told: 0, blocks: Vec::new(), thread }
    }

    /// Ends the thread; gives how many records it hashed.
    ///
    /// # Panics
    ///
    /// If these are not all that left the core.
    pub fn finish(self) -> u64 {
        self.shared.ending.store(true, Ordering::Release);
        let hashed = self.thread.join().expect("the thread does not panic");
        assert_eq!(hashed, self.put, "each record is hashed once");
        hashed
    }

    /// Room for the records of a vector each way; where there is none the thread is waited for.
    fn wait_for_room(&self) {
        while self.ring.slots() < 2 * BATCH_MAX {
            spin_loop();
        }
    }
}

/// Takes blocks out until it is told to end and there are none. A record of a pair is one block.
fn hash(mut records: Consumer<Block>, shared: &Shared) -> u64 {
    let (mut last, mut hashed) = (blake3::hash(&[]), 0);
    loop {
        // Before it looks, so that nothing comes behind its last look.
        let ending = shared.ending.load(Ordering::Acquire);
        let count = records.slots().min(HASHED_MAX);
        if count == 0 {
            if ending {
                black_box(last);
                return hashed;
            }
            spin_loop();
            continue;
        }
        let chunk = records.read_chunk(count).expect("there are as many");
        let (first, second) = chunk.as_slices();
        let mut hasher = blake3::Hasher::new();
        hasher.update(last.as_bytes()).update(first.as_flattened()).update(second.as_flattened());
        last = hasher.finalize();
        chunk.commit_all();
        hashed += count as u64;
        shared.hashed.store(hashed, Ordering::Release);
    }
}

impl Forwarding for Recorded {
    const EXPIRES: bool = true;

    fn vectors(
        &mut self,
        now: Now,
        responses: &[Response<'_>],
        requests: &[Request<'_>],
        egress: &mut impl Egress,
    ) {
        self.switch.vectors(now, responses, requests, egress);
    }

    fn between_batches(&mut self, now: Now, egress: &mut impl Egress) {
        self.switch.tick(now, egress);
        self.wait_for_room();
        let Self { switch, ring, put, blocks, shared, told, .. } = self;
        blocks.clear();
        switch.drain_records(2 * BATCH_MAX, |one| {
            record::encode(&one, blocks);
            *put += 1;
        });
        let chunk = ring.write_chunk_uninit(blocks.len()).expect("there was room");
        let filled = chunk.fill_from_iter(blocks.iter().copied());
        assert_eq!(filled, blocks.len(), "the chunk is as long as the records");
        let hashed = shared.hashed.load(Ordering::Acquire);
        if hashed > *told {
            *told = hashed;
            switch.durable(ShardId(0), hashed, egress);
        }
        switch.drain_notices(drop);
    }

    fn fulfilled_in(&self, account: AccountId) -> Option<i128> {
        self.switch.fulfilled_in(account)
    }
}

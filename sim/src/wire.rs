//! A connection as two streams of bytes, each with what waits, what is under way and what has come.
//!
//! ```text
//!   sender's egress --take--> under way (chunks with their moments) --arrive--> receiver's rx
//!      frames of which no byte was taken can be called back
//! ```
//!
//! A connection that is cut loses what waits, and of what is under way everything behind some byte.

use std::collections::VecDeque;

use m2_core::ConnectionId;

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Bytes that were not taken yet, from `head` on.
    egress: Vec<u8>,
    head: usize,
    /// Position in the stream of the byte at `egress[0]`.
    base: u64,
    /// PREPAREs by the position of their first byte: those that may be called back.
    prepares: VecDeque<(u64, u32)>,
    under_way: VecDeque<(u64, Vec<u8>)>,
    under_way_len: usize,
    /// When the last chunk arrives: bytes do not overtake.
    arrives_ns: u64,
    rx: Vec<u8>,
    rx_head: usize,
    /// Bytes of `rx` that the receiver has taken to itself, for what they begin is not there yet.
    absorbed: usize,
}

/// What one side of a connection knows of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WireEnd {
    /// The name that a switch has for it.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) is_up: bool,
    /// This side knows that it is over.
    pub(crate) is_over: bool,
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) link: usize,
    /// `pipes[side]` carries what that side sends.
    pub(crate) pipes: [Pipe; 2],
    pub(crate) ends: [WireEnd; 2],
    pub(crate) is_cut: bool,
}

impl Wire {
    pub(crate) fn new(link: usize) -> Self {
        let pipes = [Pipe::default(), Pipe::default()];
        Self { link, pipes, ends: [WireEnd::default(); 2], is_cut: false }
    }
}

impl Pipe {
    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.egress.len() - self.head
    }

    /// Where a frame is written; a PREPARE is noted first, by [`Self::note_prepare`].
    pub(crate) fn egress(&mut self) -> &mut Vec<u8> {
        &mut self.egress
    }

    pub(crate) fn note_prepare(&mut self, request_id: u32) {
        self.prepares.push_back((self.base + self.egress.len() as u64, request_id));
    }

    /// Bytes that the receiver has not read.
    fn outstanding(&self) -> usize {
        self.under_way_len + self.rx.len() - self.rx_head.max(self.absorbed)
    }

    /// The receiver waits for the rest of what has come: it is out of the way of more.
    pub(crate) fn absorb(&mut self) {
        self.absorbed = self.rx.len();
    }

    /// Takes up to `len` waiting bytes while the window has room; tells when they arrive.
    pub(crate) fn take(&mut self, len: usize, window: usize, arrives_ns: u64) -> Option<u64> {
        let room = window.saturating_sub(self.outstanding());
        let len = len.min(room).min(self.waiting());
        if len == 0 {
            return None;
        }
        self.arrives_ns = self.arrives_ns.max(arrives_ns);
        let chunk = self.egress[self.head..self.head + len].to_vec();
        self.under_way_len += len;
        self.under_way.push_back((self.arrives_ns, chunk));
        self.head += len;
        if self.head == self.egress.len() {
            self.base += self.head as u64;
            self.egress.clear();
            self.head = 0;
        }
        let taken = self.base + self.head as u64;
        while self.prepares.front().is_some_and(|(start, _)| *start < taken) {
            self.prepares.pop_front();
        }
        Some(self.arrives_ns)
    }

    /// Lets arrive what is due; whether anything did.
    pub(crate) fn arrive(&mut self, now_ns: u64) -> bool {
        let mut any = false;
        while self.under_way.front().is_some_and(|(at, _)| *at <= now_ns) {
            let (_, chunk) = self.under_way.pop_front().expect("it was just looked at");
            self.under_way_len -= chunk.len();
            self.rx.extend_from_slice(&chunk);
            any = true;
        }
        any
    }

    /// What has come and was not consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.rx[self.rx_head..]
    }

    pub(crate) fn consume(&mut self, len: usize) {
        self.rx_head += len;
        if self.rx_head == self.rx.len() {
            self.rx.clear();
            (self.rx_head, self.absorbed) = (0, 0);
        }
    }

    /// Of the bytes under way only those before a chosen one arrive. Tells when the last does, and
    /// whether a byte was lost.
    pub(crate) fn cut(&mut self, salt: u64, now_ns: u64) -> (u64, bool) {
        let total = self.under_way_len;
        let mut keep = usize::try_from(salt % (total as u64 + 1)).expect("below a length");
        let is_lossy = keep < total || self.waiting() > 0;
        let mut last = now_ns;
        self.under_way.retain_mut(|(at, chunk)| {
            chunk.truncate(keep);
            keep -= chunk.len();
            last = last.max(*at);
            !chunk.is_empty()
        });
        self.under_way_len = self.under_way.iter().map(|(_, chunk)| chunk.len()).sum();
        (last, is_lossy)
    }

    /// The PREPAREs of which not a byte was taken; nothing that waits will be.
    pub(crate) fn give_up(&mut self) -> Vec<u32> {
        self.egress.clear();
        self.head = 0;
        self.prepares.drain(..).map(|(_, request_id)| request_id).collect()
    }

    /// Bytes that arrived for a side that does not read any more.
    pub(crate) fn forget(&mut self) {
        self.rx.clear();
        (self.rx_head, self.absorbed) = (0, 0);
        self.under_way.clear();
        self.under_way_len = 0;
    }
}

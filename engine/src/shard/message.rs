//! What the control thread and the shards tell each other. Nothing here is per packet.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Sender, TrySendError};
use m2_codec::ws;
use m2_core::{
    AccountId, ConnectionId, Counters, KeyError, KeyNews, Notice, PairTotal, Routes,
    UnrecordedFulfill,
};
use m2_journal::Health;

use super::orders::Obeyed;
use super::wake::wake;
use crate::control::request::Order;

/// Where a shard is told something.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    /// To its inbox.
    pub(crate) to_shard: Sender<ToShard>,
    /// Its eventfd.
    pub(crate) wake: Arc<OwnedFd>,
}

impl Mailbox {
    /// Tells the shard, and wakes it.
    ///
    /// # Errors
    ///
    /// The message, when the inbox is full or the shard has ended.
    pub(crate) fn put(&self, message: ToShard) -> Result<(), TrySendError<ToShard>> {
        self.to_shard.try_send(message)?;
        wake(&self.wake);
        Ok(())
    }
}

/// From the control thread, or from main, to a shard.
#[derive(Debug)]
pub(crate) enum ToShard {
    /// An authenticated connection: from now on the shard's.
    Link(NewLink),
    /// A question of an operator; the answer goes into the channel, which has room for it.
    Ask(Question, Sender<Snapshot>),
    /// An order about an account's money; the answer goes into the channel, which has room for it.
    Order {
        /// Whose.
        account: AccountId,
        /// What.
        order: Order,
        /// Where the operator waits.
        answer: Sender<Result<Obeyed, KeyError>>,
    },
    /// Route by these from now on.
    Routes {
        /// Every route there is.
        routes: Arc<Routes>,
        /// Where those before go to be freed; it has room for them.
        before: Sender<Arc<Routes>>,
    },
    /// What settlement processes say through a link.
    Talk(Talk),
    /// Take no new PREPARE, or take them again.
    SetDraining(bool),
    /// Finish what is in flight, flush, close, and end.
    Shutdown,
}

/// For a link, of what settlement processes say to each other.
#[derive(Debug)]
pub(crate) enum Talk {
    /// Send the peer a MESSAGE; an [`Event::TalkReply`] follows.
    Send {
        /// Whose link.
        account: AccountId,
        /// What the reply is to bear.
        number: u64,
        /// What it says.
        bytes: Box<[u8]>,
    },
    /// The answer to a MESSAGE of the peer.
    Reply {
        /// The connection that it came on.
        connection: ConnectionId,
        /// Under which id.
        request_id: u32,
        /// What it says.
        bytes: Box<[u8]>,
    },
    /// A MESSAGE of the peer has nobody to answer it for now.
    Refuse {
        /// The connection that it came on.
        connection: ConnectionId,
        /// Under which id.
        request_id: u32,
        /// What the peer is told.
        why: &'static str,
    },
}

/// A connection past its handshake.
#[derive(Debug)]
pub(crate) struct NewLink {
    /// Whose it is.
    pub(crate) account: AccountId,
    /// Connected; made non-blocking by the shard.
    pub(crate) socket: OwnedFd,
    /// What delimits frames on it.
    pub(crate) framing: Framing,
    /// What the peer sent behind its first frame.
    pub(crate) received: Vec<u8>,
    /// Whole frames, framed as this connection wants them, that the peer gets first: the answer
    /// to its `auth`, which must not come before the link is there.
    pub(crate) greeting: Vec<u8>,
}

/// What delimits BTP frames on a connection.
#[derive(Debug)]
pub(crate) enum Framing {
    /// Their own lengths.
    Stream,
    /// WebSocket messages.
    WebSocket {
        /// Which end we are: a client masks what it sends.
        role: ws::Role,
        /// Reads the peer's frames.
        reader: Box<ws::Reader>,
    },
}

/// What an operator may ask the shards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Question {
    /// Of the whole shard.
    Status,
    /// Every counter.
    Counters,
}

/// The answer to a [`Question`]: of one shard, and then all of one moment, or of several together.
#[derive(Debug)]
pub(crate) enum Snapshot {
    /// To [`Question::Status`].
    Status {
        /// Links that are up.
        links: u32,
        /// Packets without an answer.
        in_flight: u32,
        /// No new PREPARE is taken.
        draining: bool,
    },
    /// To [`Question::Counters`].
    Counters {
        /// Of the core.
        core: Box<Counters>,
        /// Of the links.
        links: Box<LinkCounters>,
        /// By row of the incoming asset.
        pairs: Vec<PairTotal>,
    },
}

impl Snapshot {
    /// Adds what another shard has answered to the same question.
    ///
    /// # Panics
    ///
    /// If it was another question.
    pub(crate) fn merge(&mut self, other: Self) {
        match (self, other) {
            (
                Self::Status { links, in_flight, draining },
                Self::Status { links: more, in_flight: under_way, draining: drains },
            ) => {
                *links += more;
                *in_flight += under_way;
                *draining &= drains;
            }
            (
                Self::Counters { core, links, pairs },
                Self::Counters { core: more, links: of_links, pairs: of_pairs },
            ) => {
                core.merge(&more);
                links.merge(&of_links);
                pairs.iter_mut().zip(&of_pairs).for_each(|(pair, more)| pair.merge(more));
            }
            _ => unreachable!("all shards were asked the same"),
        }
    }
}

/// What has happened on links since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct LinkCounters {
    /// Connections that became an account's link.
    pub(crate) links_up: u64,
    /// Links that gave way to a newer one of their account.
    pub(crate) links_replaced: u64,
    /// Links closed because they did not read what we sent.
    pub(crate) links_full: u64,
    /// Links given up because nothing came, not even a pong.
    pub(crate) links_silent: u64,
    /// Links given up because a FULFILL had waited for too long for their peer to read.
    pub(crate) links_stalled: u64,
    /// Malformed BTP frames inside good framing.
    pub(crate) bad_frames: u64,
    /// Streams on which the next frame could not be found.
    pub(crate) framing_lost: u64,
    /// WebSocket connections that broke RFC 6455.
    pub(crate) websocket_violations: u64,
    /// MESSAGEs without an entry that we serve.
    pub(crate) messages_unserved: u64,
    /// TRANSFERs, all refused.
    pub(crate) transfers_refused: u64,
    /// MESSAGEs of peers' settlement processes that were passed on.
    pub(crate) settlement_messages_in: u64,
    /// MESSAGEs of our settlement process that were sent.
    pub(crate) settlement_messages_out: u64,
    /// MESSAGEs of peers' settlement processes that were answered with an ERROR.
    pub(crate) settlement_messages_refused: u64,
    /// Replies to messages that no longer waited, or whose link was gone.
    pub(crate) settlement_replies_dropped: u64,
    /// PREPAREs of which no byte had left when their link was lost.
    pub(crate) prepares_unsent: u64,
    /// FULFILLs that had not left, or not whole, when their link was lost.
    pub(crate) fulfills_unsent: u64,
    /// Events that the log never saw because its queue was full.
    pub(crate) events_lost: u64,
}

impl LinkCounters {
    /// Adds what has happened on another shard's links.
    pub(crate) fn merge(&mut self, other: &Self) {
        let Self {
            links_up,
            links_replaced,
            links_full,
            links_silent,
            links_stalled,
            bad_frames,
            framing_lost,
            websocket_violations,
            messages_unserved,
            transfers_refused,
            settlement_messages_in,
            settlement_messages_out,
            settlement_messages_refused,
            settlement_replies_dropped,
            prepares_unsent,
            fulfills_unsent,
            events_lost,
        } = other;
        self.links_up += links_up;
        self.links_replaced += links_replaced;
        self.links_full += links_full;
        self.links_silent += links_silent;
        self.links_stalled += links_stalled;
        self.bad_frames += bad_frames;
        self.framing_lost += framing_lost;
        self.websocket_violations += websocket_violations;
        self.messages_unserved += messages_unserved;
        self.transfers_refused += transfers_refused;
        self.settlement_messages_in += settlement_messages_in;
        self.settlement_messages_out += settlement_messages_out;
        self.settlement_messages_refused += settlement_messages_refused;
        self.settlement_replies_dropped += settlement_replies_dropped;
        self.prepares_unsent += prepares_unsent;
        self.fulfills_unsent += fulfills_unsent;
        self.events_lost += events_lost;
    }
}

/// From a shard, or the journal, to the log, by way of the control thread.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// An account has a link.
    Up(AccountId),
    /// An account's link ended.
    Down {
        /// Whose.
        account: AccountId,
        /// Why.
        cause: Cause,
        /// PREPAREs of which no byte had left; their senders got T01.
        prepares_unsent: u32,
        /// FULFILLs that the peer does not get.
        fulfills_unsent: u32,
    },
    /// The core has something to tell.
    Notice(Notice),
    /// The journal takes records again, takes none for now, or will take none any more.
    Journal(Health, Box<str>),
    /// What the journal cannot do and tries again, though records are written: a snapshot, a file to be
    /// retired. `None` when it can.
    JournalComplaint(Option<Box<str>>),
    /// FULFILLs that went on before their records were durable.
    Unrecorded(Vec<UnrecordedFulfill>),
    /// What has become of frozen amounts. Never dropped: it waits at the shard while the queue is full.
    Keys(Vec<KeyNews>),
    /// A peer's settlement process says something and waits for a [`Talk::Reply`]. Never dropped.
    TalkMessage {
        /// The connection that it came on.
        connection: ConnectionId,
        /// Under which id.
        request_id: u32,
        /// What it says.
        bytes: Box<[u8]>,
    },
    /// What became of a [`Talk::Send`]. Never dropped.
    TalkReply {
        /// Of the sending.
        number: u64,
        /// What the peer has answered, or why it has not.
        result: Result<Box<[u8]>, String>,
    },
    /// The time to finish is up.
    ShutdownCut {
        /// Packets without an answer; nobody will be told how they end.
        in_flight: u32,
    },
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// The peer closed it.
    Closed,
    /// The kernel reported an error.
    Failed(rustix::io::Errno),
    /// A newer connection of the account took its place.
    Replaced,
    /// The peer did not read.
    Full,
    /// The peer was silent.
    Silent,
    /// FULFILLs waited for too long for it to read.
    Stalled,
    /// Too many malformed frames.
    BadFrames,
    /// The next frame cannot be found.
    FramingLost(m2_codec::btp::DecodeError),
    /// RFC 6455 was broken; the close code says how.
    WebSocket(u16),
    /// We are ending.
    Shutdown,
}

impl Cause {
    /// As the log has it.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Closed => "the peer closed it".into(),
            Self::Failed(error) => format!("the connection failed: {error}"),
            Self::Replaced => "a newer connection of the account replaced it".into(),
            Self::Full => "the peer does not read: its egress is past egress_bytes_max".into(),
            Self::Stalled => "the peer reads too slowly: a FULFILL has waited for a minute".into(),
            Self::Silent => "the peer is silent: no pong within ping_ms".into(),
            Self::BadFrames => "the peer sent bad_frames_max malformed frames".into(),
            Self::FramingLost(error) => format!("the peer sent no BTP frame: {error}"),
            Self::WebSocket(code) => format!("the peer broke the WebSocket protocol ({code})"),
            Self::Shutdown => "the switch is stopping".into(),
        }
    }
}

/// For each account, whether it has a link, and the how-manieth, and how many bytes wait for its peer:
/// written by its shard, read by whoever dials or tells operators. Words and not a queue, so that no news
/// of a lost link can itself be lost.
#[derive(Debug)]
pub(crate) struct Board {
    links: Vec<AtomicU64>,
    egress_bytes: Vec<AtomicU64>,
}

/// One reading of the [`Board`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LinkState(u64);

impl LinkState {
    /// The account has a link.
    pub(crate) fn is_up(self) -> bool {
        self.0 & 1 == 1
    }
}

impl Board {
    /// No account has a link.
    pub(crate) fn new(accounts: usize) -> Self {
        let words = || (0..accounts).map(|_| AtomicU64::new(0)).collect();
        Self { links: words(), egress_bytes: words() }
    }

    /// How it stands with an account. Any change gives another state, also up, down and up again.
    pub(crate) fn state(&self, account: AccountId) -> LinkState {
        LinkState(self.links[account.0 as usize].load(Ordering::Acquire))
    }

    /// An account has a new link.
    pub(crate) fn set_up(&self, account: AccountId) {
        let word = &self.links[account.0 as usize];
        word.store((word.load(Ordering::Relaxed) | 1) + 2, Ordering::Release);
    }

    /// Bytes that waited for an account's peer to read when its shard looked last.
    pub(crate) fn egress_bytes(&self, account: AccountId) -> u64 {
        self.egress_bytes[account.0 as usize].load(Ordering::Relaxed)
    }

    /// So many bytes wait for an account's peer to read.
    pub(crate) fn set_egress_bytes(&self, account: AccountId, bytes: usize) {
        self.egress_bytes[account.0 as usize].store(bytes as u64, Ordering::Relaxed);
    }

    /// An account has none any more.
    pub(crate) fn set_down(&self, account: AccountId) {
        let word = &self.links[account.0 as usize];
        word.store(word.load(Ordering::Relaxed) & !1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of which no two are alike: those of a shard are these, times its factor.
    fn links(factor: u64) -> LinkCounters {
        LinkCounters {
            links_up: factor,
            links_replaced: 2 * factor,
            links_full: 3 * factor,
            links_silent: 4 * factor,
            links_stalled: 5 * factor,
            bad_frames: 6 * factor,
            framing_lost: 7 * factor,
            websocket_violations: 8 * factor,
            messages_unserved: 9 * factor,
            transfers_refused: 10 * factor,
            prepares_unsent: 11 * factor,
            fulfills_unsent: 12 * factor,
            events_lost: 13 * factor,
            settlement_messages_in: 14 * factor,
            settlement_messages_out: 15 * factor,
            settlement_messages_refused: 16 * factor,
            settlement_replies_dropped: 17 * factor,
        }
    }

    #[test]
    fn every_count_of_every_shards_links_adds_up() {
        let mut sum = LinkCounters::default();
        for factor in [1, 10, 1_000] {
            sum.merge(&links(factor));
        }
        assert_eq!(sum, links(1_011));
    }

    #[test]
    fn a_switch_drains_when_all_of_its_shards_do() {
        let status = |draining| Snapshot::Status { links: 2, in_flight: 3, draining };
        for (one, other) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut merged = status(one);
            merged.merge(status(other));
            let Snapshot::Status { links, in_flight, draining } = merged else {
                panic!("a status")
            };
            assert_eq!((links, in_flight, draining), (4, 6, one && other));
        }
    }

    #[test]
    fn every_change_of_a_link_changes_its_state() {
        let board = Board::new(1);
        let account = AccountId(0);
        let mut seen = vec![board.state(account)];
        for _ in 0..3 {
            board.set_up(account);
            assert!(board.state(account).is_up());
            seen.push(board.state(account));
            board.set_down(account);
            assert!(!board.state(account).is_up());
            seen.push(board.state(account));
        }
        board.set_up(account);
        board.set_up(account);
        seen.push(board.state(account));
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count);
        assert!(seen.iter().enumerate().all(|(at, state)| !seen[..at].contains(state)));
    }
}

//! The control thread: whatever is not per packet.
//!
//! It accepts and dials, shakes hands and authenticates within limits of time and bytes, and gives
//! each connection that passed to the shard of its account. It answers on the control socket, for all
//! shards together, and writes the log.
//! It runs on monoio, with io_uring where the kernel permits it and epoll where not.

mod dial;
mod exhausted;
mod handshake;
mod keys;
mod listen;
mod money;
mod nudged;
mod places;
pub mod request;
mod routes;
mod settlement;
mod socket;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, TrySendError, bounded};
use m2_core::{AccountId, JournalState, KeyError, KeyKind, KeyNews};
use m2_journal::recover::Recovered;
use m2_published::Published;

use crate::config::{Config, Transport};
use crate::journal::Words;
use crate::limits::{ANSWER_PATIENCE, DURABLE_LOOK, LOG_EVIDENCE_LINES_PER_S, LOG_LINES_PER_S};
use crate::log::Limiter;
use crate::shard::Obeyed;
use crate::shard::message::{Board, Event, Mailbox, NewLink, Question, Snapshot, ToShard};
use crate::shard::wake::Nudge;
use exhausted::Exhausted;
use keys::Claims;
use money::Refusal;
use nudged::Nudged;
use places::Places;
use request::Order;
use settlement::{Ready, Settlement};
pub(crate) use wire::Listener;
use wire::Wire;

/// What joins the control thread to the others; see `topology.rs`.
#[derive(Debug)]
pub(crate) struct Joints {
    /// By shard.
    pub(crate) shards: Vec<Mailbox>,
    pub(crate) events: Receiver<Event>,
    /// The end of a [`Nudge`] that is woken.
    pub(crate) nudged: UnixStream,
    /// For threads that we start ourselves.
    pub(crate) nudge: Nudge,
    pub(crate) board: Arc<Board>,
    /// Every account as its shard has it.
    pub(crate) published: Arc<Published>,
    /// Absent where nothing is recorded.
    pub(crate) words: Option<Arc<Words>>,
    /// What the journal came to at the start.
    pub(crate) recovered: Option<Arc<Recovered>>,
    /// No new connection is taken.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Every shard has ended.
    pub(crate) shards_ended: Arc<AtomicBool>,
}

/// A listener with what is told of it.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) transport: Transport,
    /// The real address or path.
    pub(crate) address: String,
    pub(crate) listener: Listener,
}

/// What all tasks of the control thread share.
#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    started: Instant,
    /// Transport and address of each listener, as `status` tells them.
    bound: Vec<(Transport, String)>,
    names: HashMap<String, AccountId>,
    by_token: HashMap<[u8; 32], AccountId>,
    joints: Joints,
    claims: RefCell<Claims>,
    settlement: Settlement,
    news: Nudged,
    unauthenticated: RefCell<Places>,
    counters: RefCell<EdgeCounters>,
    limiter: RefCell<Limiter>,
    /// For lines that are evidence of money.
    evidence: RefCell<Limiter>,
    exhausted: RefCell<Exhausted>,
    /// A thread reads the route file.
    loads_routes: Cell<bool>,
    /// How the journal is, in its own words, as it told last.
    journal_reason: RefCell<String>,
    journal_complaint: RefCell<Option<Box<str>>>,
}

/// What has happened to connections before they were links.
#[derive(Clone, Copy, Debug, Default)]
struct EdgeCounters {
    accepted: u64,
    authenticated: u64,
    refused: u64,
    turned_away: u64,
    turned_away_by_share: u64,
    dials: u64,
    dials_failed: u64,
}

/// Runs the control thread until every shard has ended.
///
/// # Panics
///
/// If the kernel gives us neither io_uring nor epoll.
pub(crate) fn run(
    config: Arc<Config>,
    bound: Vec<Bound>,
    control_socket: UnixListener,
    settlement_socket: Option<UnixListener>,
    joints: Joints,
) {
    let mut runtime = monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
        .enable_timer()
        .build()
        .expect("the kernel has io_uring or epoll");
    runtime.block_on(async move {
        let mut doors = Vec::new();
        let mut told = Vec::new();
        for Bound { transport, address, listener } in bound {
            told.push((transport, address.clone()));
            doors.push((transport, address, listener));
        }
        let names = config.accounts.iter().enumerate();
        let names = names.map(|(at, account)| (account.name.clone(), id(at))).collect();
        let tokens = config.accounts.iter().enumerate();
        let by_token =
            tokens.filter_map(|(at, account)| Some((*account.token?.as_bytes(), id(at)))).collect();
        let places = Places::new(config.connection.unauthenticated_max);
        let keys = joints.recovered.iter().flat_map(|it| &it.keys);
        let shard_of = |account| config.shard_of(account);
        let frozen = keys.clone().filter(|(_, it)| it.kind == KeyKind::Frozen);
        let settlement = Settlement::new(frozen.map(|(key, it)| Ready {
            account: it.account,
            key: *key,
            amount: it.amount,
        }));
        let claims = Claims::new(keys.map(|(key, it)| (*key, shard_of(it.account), it.account)));
        let shared = Rc::new(Shared {
            claims: RefCell::new(claims),
            settlement,
            unauthenticated: RefCell::new(places),
            config,
            started: Instant::now(),
            bound: told,
            names,
            by_token,
            joints,
            news: Nudged::default(),
            counters: RefCell::default(),
            limiter: RefCell::new(Limiter::new("caused by peers", LOG_LINES_PER_S)),
            evidence: RefCell::new(Limiter::new("evidence", LOG_EVIDENCE_LINES_PER_S)),
            exhausted: RefCell::default(),
            loads_routes: Cell::new(false),
            journal_reason: RefCell::new("the journal is written".into()),
            journal_complaint: RefCell::default(),
        });
        for (transport, address, listener) in doors {
            monoio::spawn(listen::run(Rc::clone(&shared), transport, address, listener));
        }
        for (at, account) in shared.config.accounts.iter().enumerate() {
            if account.dial.is_some() {
                monoio::spawn(dial::run(Rc::clone(&shared), id(at)));
            }
        }
        monoio::spawn(socket::run(Rc::clone(&shared), control_socket));
        if let Some(listener) = settlement_socket {
            monoio::spawn(settlement::run(Rc::clone(&shared), listener));
        }
        shared.watch().await;
    });
}

fn id(position: usize) -> AccountId {
    AccountId(u32::try_from(position).expect("accounts are numbered by u32"))
}

impl Shared {
    /// Passes on news of the shards until there will be none.
    async fn watch(&self) {
        let nudged = self.joints.nudged.try_clone().and_then(|socket| Wire::new(socket.into()));
        let nudged = nudged.expect("the kernel waits on a socket pair");
        let mut bytes = Vec::new();
        loop {
            // Looked at before the queue: what was told before the end is read after it.
            let ended = self.joints.shards_ended.load(Ordering::Acquire);
            while let Ok(event) = self.joints.events.try_recv() {
                match &event {
                    Event::Journal(_, reason) => {
                        *self.journal_reason.borrow_mut() = reason.to_string();
                    }
                    Event::JournalComplaint(complaint) => {
                        self.journal_complaint.replace(complaint.clone());
                    }
                    _ => {}
                }
                let event = match event {
                    Event::TalkMessage { .. } | Event::TalkReply { .. } => {
                        self.take_talk(event);
                        continue;
                    }
                    Event::Notice(notice) if self.take_exhaustion(&notice) => continue,
                    event => event,
                };
                let evidence = crate::log::is_evidence(&event);
                let limiter = if evidence { &self.evidence } else { &self.limiter };
                limiter.borrow_mut().tell(|| crate::log::event(&self.config, &event));
                if let Event::Keys(news) = event {
                    news.into_iter().for_each(|news| self.note_key(news));
                }
            }
            self.tell_links();
            self.news.wake_all();
            if ended {
                return;
            }
            bytes.clear();
            let waited = nudged.receive(&mut bytes, 4096).await;
            assert!(waited.is_ok_and(|count| count > 0), "main keeps its end of the pair");
        }
    }

    fn note_key(&self, news: KeyNews) {
        if let KeyNews::Frozen(intent) = &news {
            let (key, account) = (intent.key, intent.account);
            self.claims.borrow_mut().made(key, self.config.shard_of(account), account);
        }
        self.settlement.note_key(news);
    }

    fn stopping(&self) -> bool {
        self.joints.stopping.load(Ordering::Acquire)
    }

    /// Gives a connection to the shard of its account. `false`, and the connection is closed, if that
    /// has more to do than it can take.
    fn hand_over(&self, link: NewLink) -> bool {
        let account = link.account;
        match self.shard_of(account).put(ToShard::Link(link)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.log(|| {
                    let account = self.name(account);
                    tracing::warn!(account, "connection closed: the shard takes no more for now");
                });
                false
            }
        }
    }

    /// Where the shard of an account is told something.
    fn shard_of(&self, account: AccountId) -> &Mailbox {
        &self.joints.shards[usize::from(self.config.shard_of(account).0)]
    }

    /// Asks every shard, and adds up what they answer.
    async fn ask(&self, question: Question) -> Result<Snapshot, &'static str> {
        let shards = &self.joints.shards;
        let (answer, answered) = bounded(shards.len());
        for shard in shards {
            if shard.put(ToShard::Ask(question, answer.clone())).is_err() {
                return Err("the shard is too busy to be asked: try again");
            }
        }
        let wait = async {
            let mut all = self.next_of(&answered).await;
            for _ in 1..shards.len() {
                all.merge(self.next_of(&answered).await);
            }
            all
        };
        monoio::time::timeout(ANSWER_PATIENCE, wait)
            .await
            .map_err(|_| "the shard did not answer in time: try again")
    }

    /// What a shard answers next.
    async fn next_of<T>(&self, answered: &Receiver<T>) -> T {
        loop {
            if let Ok(answer) = answered.try_recv() {
                return answer;
            }
            self.news.news().await;
        }
    }

    /// Gives the shard of an account an order, and waits until its record is durable. The key of the
    /// order stands for nothing on another shard.
    async fn order(&self, account: AccountId, order: Order) -> Result<Obeyed, Refusal> {
        let Some(key) = order.key() else { return self.obey(account, order).await.0 };
        let shard = self.config.shard_of(account);
        let claimed = self.claims.borrow_mut().claim(key, shard, account);
        claimed.map_err(|other| Refusal {
            text: format!(
                "the key is known for account {}: the same key may not stand for two things",
                self.name(other)
            ),
            again: false,
        })?;
        let (result, is_used) = self.obey(account, order).await;
        self.claims.borrow_mut().ended(key, is_used);
        result
    }

    /// Gives a shard an order. Also whether the shard may know the order's key now.
    async fn obey(&self, account: AccountId, order: Order) -> (Result<Obeyed, Refusal>, bool) {
        let (answer, answered) = bounded(1);
        if self.shard_of(account).put(ToShard::Order { account, order, answer }).is_err() {
            let busy = "the shard is too busy to be told: try again, under the same key";
            return (Err(Refusal::passing(busy)), false);
        }
        let wait = async {
            let obeyed = match self.next_of(&answered).await {
                Ok(obeyed) => obeyed,
                Err(error) => {
                    return (Err(error.into()), matches!(error, KeyError::Differs { .. }));
                }
            };
            let is_used = !matches!((order, obeyed.frozen), (Order::Freeze { .. }, None));
            (self.until_durable(obeyed).await, is_used)
        };
        monoio::time::timeout(ANSWER_PATIENCE, wait).await.unwrap_or_else(|_| {
            let unknown = "it is not known to be recorded yet: ask again, under the same key";
            (Err(Refusal::passing(unknown)), true)
        })
    }

    async fn until_durable(&self, obeyed: Obeyed) -> Result<Obeyed, Refusal> {
        let Some(words) = &self.joints.words else { return Ok(obeyed) };
        while words.durable(obeyed.stream) < obeyed.position {
            if words.state() == JournalState::Failed {
                let text = "it was done, but not recorded: the journal has failed";
                return Err(Refusal::passing(text));
            }
            monoio::time::sleep(DURABLE_LOOK).await;
        }
        Ok(obeyed)
    }

    fn name(&self, account: AccountId) -> &str {
        &self.config.accounts[account.0 as usize].name
    }

    /// Logs what peers can cause as often as they like: bounded, and what is left out is counted.
    fn log(&self, log: impl FnOnce()) {
        self.limiter.borrow_mut().tell(log);
    }

    fn count(&self, change: impl FnOnce(&mut EdgeCounters)) {
        change(&mut self.counters.borrow_mut());
    }
}

//! The settlement socket: what is to be paid out, what was paid in, and what peers say about either, as
//! lines of JSON between the switch and the process that settles. `docs/settlement-socket.md` is its
//! contract.
//!
//! The two processes share no memory and no type; each may die at any moment. So everything that stands is
//! told anew on each connection, and what is told twice changes nothing, as it bears a key.
//!
//! Invariants: one connection is served, the newest; an amount to be paid is told when all that it rests
//! on is durable (`intents.rs`); an order is answered when its record is.

mod client;
mod intents;
mod line;
mod talk;

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;

use m2_core::{AccountId, KeyNews};
use serde_json::{Value, json};

use super::request::{Lines, Order};
use super::wire::{Door, Listener, Wire};
use super::{Shared, id, money};
use crate::limits::{ACCEPT_REST, DURABLE_LOOK, SETTLEMENT_LINE_LEN_MAX};
use crate::log::hex;
use crate::shard::message::LinkState;
use client::Client;
use intents::Intents;
pub(super) use intents::Ready;
use line::{Line, Refused, What};
use talk::Talks;

/// Of what is said on the socket.
const VERSION: u32 = 1;

/// What the control thread keeps for whoever settles.
#[derive(Debug)]
pub(super) struct Settlement {
    intents: RefCell<Intents>,
    client: RefCell<Option<Rc<Client>>>,
    /// Of each account's link, what the client was told last.
    links: RefCell<Vec<LinkState>>,
    talks: RefCell<Talks>,
    counters: Cell<Counters>,
}

/// What has happened on the socket since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    connections: u64,
    replaced: u64,
    lagging: u64,
    lines_refused: u64,
    orders: u64,
    intents: u64,
    replies_dropped: u64,
    exhausted: u64,
}

impl Settlement {
    /// Nobody settles yet. What was frozen before a restart is to be paid.
    pub(super) fn new(frozen: impl Iterator<Item = Ready>) -> Self {
        Self {
            intents: RefCell::new(Intents::new(frozen)),
            client: RefCell::default(),
            links: RefCell::default(),
            talks: RefCell::default(),
            counters: Cell::default(),
        }
    }

    /// Notes what has become of a frozen amount.
    pub(super) fn note_key(&self, news: KeyNews) {
        self.intents.borrow_mut().note(news);
    }

    /// As `counters` tells it.
    pub(super) fn counters(&self) -> Value {
        let Counters {
            connections,
            replaced,
            lagging,
            lines_refused,
            orders,
            intents,
            replies_dropped,
            exhausted,
        } = self.counters.get();
        json!({
            "connected": self.client.borrow().is_some(),
            "connections": connections,
            "replaced": replaced,
            "lagging": lagging,
            "lines_refused": lines_refused,
            "orders": orders,
            "intents": intents,
            "replies_dropped": replies_dropped,
            "exhausted": exhausted,
        })
    }

    /// An account is refused for want of credit.
    pub(super) fn tell_exhausted(&self, event: &Value) {
        self.count(|counters| counters.exhausted += 1);
        self.tell(event);
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    fn client(&self) -> Option<Rc<Client>> {
        self.client.borrow().clone()
    }

    /// Tells the client, if there is one.
    fn tell(&self, event: &Value) {
        if let Some(client) = self.client() {
            self.tell_to(&client, event);
        }
    }

    fn tell_to(&self, client: &Client, event: &Value) {
        if !client.tell(event) {
            self.count(|counters| counters.lagging += 1);
        }
    }

    fn is_current(&self, client: &Rc<Client>) -> bool {
        self.client.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, client))
    }
}

/// Serves whoever settles until the runtime ends.
pub(super) async fn run(shared: Rc<Shared>, listener: UnixListener) {
    let door = Door::new(Listener::Unix(listener)).expect("the kernel waits on a listener");
    monoio::spawn(watch_intents(Rc::clone(&shared)));
    loop {
        match door.accept().await {
            Ok((socket, from)) => {
                let shared = Rc::clone(&shared);
                monoio::spawn(async move {
                    // Whatever ends it, the other process sees the end of the connection.
                    if let Err(error) = serve(&shared, socket).await {
                        let from = from.text;
                        shared.log(|| tracing::warn!(from, %error, "settlement connection failed"));
                    }
                });
            }
            Err(error) => {
                shared.log(|| tracing::warn!(%error, "cannot accept a settlement connection"));
                monoio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// Tells amounts to be paid as what they rest on becomes durable.
async fn watch_intents(shared: Rc<Shared>) {
    let Some(words) = shared.joints.words.clone() else { return };
    let Settlement { intents, .. } = &shared.settlement;
    loop {
        shared.news.until(|| intents.borrow().wait()).await;
        let durable: Vec<u64> = (0..words.shards()).map(|stream| words.durable(stream)).collect();
        let ready = intents.borrow_mut().advance(&durable);
        for ready in ready {
            shared.settlement.count(|counters| counters.intents += 1);
            shared.settlement.tell(&frozen(&shared, ready));
        }
        if intents.borrow().wait() {
            monoio::time::sleep(DURABLE_LOOK).await;
        }
    }
}

async fn serve(shared: &Rc<Shared>, socket: OwnedFd) -> std::io::Result<()> {
    let settlement = &shared.settlement;
    let client = Rc::new(Client::new(Wire::new(socket)?, &greeting(shared)));
    settlement.count(|counters| counters.connections += 1);
    if let Some(older) = settlement.client.replace(Some(Rc::clone(&client))) {
        settlement.count(|counters| counters.replaced += 1);
        older.end();
        shared.let_go_of_messages();
    }
    shared.log(|| tracing::info!("a settlement process is connected"));
    let writer = Rc::clone(&client);
    monoio::spawn(async move { writer.write().await });
    let read = read(shared, &client).await;
    client.end();
    if settlement.is_current(&client) {
        settlement.client.take();
        shared.let_go_of_messages();
    }
    shared.log(|| tracing::info!("a settlement process is gone"));
    read
}

async fn read(shared: &Rc<Shared>, client: &Rc<Client>) -> std::io::Result<()> {
    let mut lines = Lines::bounded(SETTLEMENT_LINE_LEN_MAX);
    loop {
        while let Some(line) = lines.take() {
            if !client.may_order().await {
                return Ok(());
            }
            take_line(shared, client, &line);
        }
        let (buffer, room) = match lines.room() {
            Ok(room) => room,
            Err(sentence) => return Err(std::io::Error::other(sentence)),
        };
        if client.wire.receive(buffer, room).await? == 0 {
            return Ok(());
        }
    }
}

fn take_line(shared: &Rc<Shared>, client: &Rc<Client>, line: &[u8]) {
    let settlement = &shared.settlement;
    match Line::parse(line) {
        Ok(Line::Order { id, account, what }) => {
            settlement.count(|counters| counters.orders += 1);
            client.order_begins();
            let (shared, client) = (Rc::clone(shared), Rc::clone(client));
            monoio::spawn(async move {
                let answer = obey(&shared, id, &account, what).await;
                shared.settlement.tell_to(&client, &answer);
                client.order_ends();
            });
        }
        Ok(Line::Send { account, token, bytes }) => shared.send(client, account, token, bytes),
        Ok(Line::Reply { account, token, bytes }) => shared.reply(&account, token, bytes),
        Err(refused) => {
            settlement.count(|counters| counters.lines_refused += 1);
            settlement.tell_to(client, &refusal(refused));
        }
    }
}

fn refusal(refused: Refused) -> Value {
    match refused {
        Refused::Line(error) => json!({ "event": "error", "error": error }),
        Refused::Order { id, error } => {
            json!({ "event": "answer", "id": id, "ok": false, "error": error, "again": false })
        }
        Refused::Send { account, token, error } => talk::reply(&account, token, Err(error)),
    }
}

/// Does what is asked for; the answer comes when its record is durable.
async fn obey(shared: &Shared, id: u64, account: &str, what: What) -> Value {
    let order = match what {
        What::Order(order) => order,
        What::PayNow { settle_to } => {
            Order::Freeze { key: crate::assemble::random_key(), settle_to }
        }
    };
    let obeyed = match money::give(shared, account, order).await {
        Ok(obeyed) => obeyed,
        Err(money::Refusal { text, again }) => {
            return json!({ "event": "answer", "id": id, "ok": false, "error": text, "again": again });
        }
    };
    let mut answer = json!({ "event": "answer", "id": id, "ok": true, "known": obeyed.known });
    if let Order::Freeze { key, .. } = order {
        answer["known"] = json!(false);
        answer["key"] = json!(obeyed.frozen.map(|_| hex(&key.0)));
        answer["amount"] = json!(obeyed.frozen.map(|amount| amount.to_string()));
    }
    answer
}

/// All that stands: who we are, which links are up, what is to be paid.
fn greeting(shared: &Shared) -> Vec<Value> {
    let accounts = shared.config.accounts.iter().map(|account| {
        let asset = &shared.config.assets[usize::from(account.asset.0)];
        json!({ "account": account.name, "asset_code": asset.code, "asset_scale": asset.scale })
    });
    let hello = json!({
        "event": "hello",
        "version": VERSION,
        "address": shared.config.switch.address.as_str(),
        "accounts": accounts.collect::<Vec<_>>(),
    });
    let mut events = vec![hello];
    let states: Vec<LinkState> =
        ids(shared).map(|account| shared.joints.board.state(account)).collect();
    let up = ids(shared).zip(&states).filter(|(_, state)| state.is_up());
    events.extend(up.map(|(account, _)| link(shared, "up", account)));
    shared.settlement.links.replace(states);
    events.extend(shared.settlement.intents.borrow().ready().map(|it| frozen(shared, it)));
    events
}

fn ids(shared: &Shared) -> impl Iterator<Item = AccountId> {
    (0..shared.config.accounts.len()).map(id)
}

fn frozen(shared: &Shared, Ready { account, key, amount }: Ready) -> Value {
    json!({
        "event": "frozen",
        "account": shared.name(account),
        "key": hex(&key.0),
        "amount": amount.to_string(),
    })
}

fn link(shared: &Shared, event: &str, account: AccountId) -> Value {
    json!({ "event": event, "account": shared.name(account) })
}

impl Shared {
    /// Tells whoever settles which links have come and gone since it was told last.
    pub(super) fn tell_links(&self) {
        if self.settlement.client().is_some() {
            ids(self).for_each(|account| self.tell_link(account));
        }
    }

    /// The same of one account. A link that another has replaced is up anew.
    fn tell_link(&self, account: AccountId) {
        let state = self.joints.board.state(account);
        let index = account.0 as usize;
        let before = core::mem::replace(&mut self.settlement.links.borrow_mut()[index], state);
        if before != state {
            let event = if state.is_up() { "up" } else { "down" };
            self.settlement.tell(&link(self, event, account));
        }
    }
}

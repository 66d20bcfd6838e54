//! Messages between settlement processes, as they pass the control thread: from a shard to whoever settles
//! here, and back.
//!
//! Invariants: a message of a peer is told to one connection and refused when that ends; a reply goes to
//! the connection whose message it answers; each `send` is answered by one `reply`.

use std::collections::HashMap;
use std::rc::Rc;

use m2_core::{AccountId, ConnectionId};
use serde_json::{Value, json};

use super::super::Shared;
use super::client::Client;
use crate::log::hex;
use crate::shard::message::{Event, Talk, ToShard};

const NOBODY: &str = "no settlement process is connected here: try again later";

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Talks {
    /// Numbers of messages both ways, so far.
    count: u64,
    /// Of each account, the message that was told last.
    asked: HashMap<AccountId, Asked>,
    /// By number: one a link, and those that a shard has yet to look at.
    sent: HashMap<u64, Sent>,
}

/// A message of a peer, which waits on its connection while the shard says so.
#[derive(Clone, Copy, Debug)]
struct Asked {
    token: u64,
    connection: ConnectionId,
    request_id: u32,
}

/// A message to a peer, and who sent it.
#[derive(Debug)]
struct Sent {
    client: Rc<Client>,
    account: String,
    token: u64,
}

impl Talks {
    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

impl Shared {
    /// Takes what a shard tells of messages.
    pub(in crate::control) fn take_talk(&self, event: Event) {
        match event {
            Event::TalkMessage { connection, request_id, bytes } => {
                self.take_message(connection, request_id, &bytes);
            }
            Event::TalkReply { number, result } => self.take_reply(number, result),
            other => unreachable!("the caller has looked: {other:?}"),
        }
    }

    /// A message of a peer goes to whoever settles here.
    fn take_message(&self, connection: ConnectionId, request_id: u32, bytes: &[u8]) {
        let account = connection.account;
        if self.settlement.client().is_none() {
            return self.refuse(connection, request_id, NOBODY);
        }
        // It is told of the link before it is told what came on it.
        self.tell_link(account);
        let token = {
            let mut talks = self.settlement.talks.borrow_mut();
            let token = talks.next();
            talks.asked.insert(account, Asked { token, connection, request_id });
            token
        };
        self.settlement.tell(&json!({
            "event": "message",
            "account": self.name(account),
            "token": token,
            "bytes": hex(bytes),
        }));
    }

    /// What became of a message to a peer goes to who sent it, if that is still there.
    fn take_reply(&self, number: u64, result: Result<Box<[u8]>, String>) {
        let sent = self.settlement.talks.borrow_mut().sent.remove(&number);
        let Sent { client, account, token } = sent.expect("each number is answered once");
        self.settlement.tell_to(&client, &reply(&account, token, result));
    }

    /// Sends a message to a peer.
    pub(super) fn send(&self, client: &Rc<Client>, account: String, token: u64, bytes: Box<[u8]>) {
        let Some(id) = self.names.get(&account).copied() else {
            let error = Err(format!("there is no account `{account}`: `hello` names them all"));
            return self.settlement.tell_to(client, &reply(&account, token, error));
        };
        let number = self.settlement.talks.borrow_mut().next();
        let talk = Talk::Send { account: id, number, bytes };
        if self.shard_of(id).put(ToShard::Talk(talk)).is_err() {
            let error = Err("the shard is too busy to be told: try again".to_owned());
            return self.settlement.tell_to(client, &reply(&account, token, error));
        }
        let sent = Sent { client: Rc::clone(client), account, token };
        self.settlement.talks.borrow_mut().sent.insert(number, sent);
    }

    /// Answers a message of a peer, if it still waits.
    pub(super) fn reply(&self, account: &str, token: u64, bytes: Box<[u8]>) {
        let asked = self.names.get(account).and_then(|account| {
            let mut talks = self.settlement.talks.borrow_mut();
            let asked = *talks.asked.get(account).filter(|asked| asked.token == token)?;
            talks.asked.remove(account);
            Some(asked)
        });
        let is_put = asked.is_some_and(|Asked { connection, request_id, .. }| {
            let talk = Talk::Reply { connection, request_id, bytes };
            self.shard_of(connection.account).put(ToShard::Talk(talk)).is_ok()
        });
        if !is_put {
            self.settlement.count(|counters| counters.replies_dropped += 1);
        }
    }

    /// Whoever was told of messages is gone: their peers may try again.
    pub(super) fn let_go_of_messages(&self) {
        let asked = std::mem::take(&mut self.settlement.talks.borrow_mut().asked);
        for Asked { connection, request_id, .. } in asked.into_values() {
            self.refuse(connection, request_id, "the settlement process is gone: try again later");
        }
    }

    fn refuse(&self, connection: ConnectionId, request_id: u32, why: &'static str) {
        let talk = Talk::Refuse { connection, request_id, why };
        // A shard that is too busy to be told refuses it by itself when its time is up.
        let _ = self.shard_of(connection.account).put(ToShard::Talk(talk));
    }
}

/// What became of a message.
pub(super) fn reply(account: &str, token: u64, result: Result<Box<[u8]>, String>) -> Value {
    let mut event = json!({ "event": "reply", "account": account, "token": token });
    match result {
        Ok(bytes) => event["bytes"] = json!(hex(&bytes)),
        Err(error) => event["error"] = json!(error),
    }
    event
}

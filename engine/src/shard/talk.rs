//! What settlement processes say to each other, carried by a link as the entry `m2m-settlement` of a
//! MESSAGE and of its RESPONSE. The bytes are theirs; here they are bounded and passed on.
//!
//! ```text
//!   peer -- MESSAGE --> asked -- message --> control -- reply --> RESPONSE
//!                         `--- busy, too long, nobody there, time is up --> ERROR
//!   control -- send --> sent -- MESSAGE --> peer -- RESPONSE, ERROR --> reply
//!                         `--- no link, busy, link ended, time is up -> reply, an error
//! ```
//!
//! Invariants: of each direction one at a time is under way on a link; each MESSAGE of the peer is answered
//! once while its link lives, and each `send` by one reply; the ids of ours are no packet's.

use m2_codec::btp::{self, Frame, FrameType, SettlementError};
use m2_core::{AccountId, ConnectionId, Now};

use super::links::Links;
use super::message::{Event, Talk as ToLink};
use super::run::Shard;
use crate::clock;
use crate::limits::{TALK_NEWS_MAX, TALK_PATIENCE_NS};

/// What is under way on one link.
#[derive(Debug, Default)]
pub(super) struct Talk {
    asked: Option<Asked>,
    sent: Option<Sent>,
    /// How many of ours there were: no two in a row have one id.
    count: u32,
}

/// A MESSAGE of the peer that waits for its reply.
#[derive(Clone, Copy, Debug)]
struct Asked {
    request_id: u32,
    until_ns: u64,
}

/// A MESSAGE of ours that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Sent {
    request_id: u32,
    /// What the control thread calls it.
    number: u64,
    until_ns: u64,
}

/// What a frame says that is no packet's.
pub(super) enum Heard {
    /// A MESSAGE for whoever settles here.
    Message(Result<Box<[u8]>, SettlementError>),
    /// The answer to ours.
    Answer(Result<Box<[u8]>, String>),
}

/// What has lasted too long.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Overdue {
    /// The request id of the peer's MESSAGE.
    asked: Option<u32>,
    /// What the control thread calls ours.
    sent: Option<u64>,
}

impl Talk {
    /// What a frame says, if it is one of these.
    pub(super) fn hear(&self, frame: &Frame<'_>) -> Option<Heard> {
        let entry = frame.settlement();
        let data = |entry: btp::Entry<'_>| entry.settlement_data().map(Into::into);
        if frame.frame_type() == FrameType::Message {
            return entry.map(|entry| Heard::Message(data(entry)));
        }
        if self.sent.is_none_or(|sent| sent.request_id != frame.request_id()) {
            return None;
        }
        let answer = match (frame.frame_type(), entry) {
            (FrameType::Response, Some(entry)) => {
                data(entry).map_err(|error| format!("the peer's answer is none: {error}"))
            }
            (FrameType::Response, None) => {
                Err("the peer has no settlement: its answer bears no entry of it".into())
            }
            (FrameType::Error, _) => Err(refusal(frame)),
            (FrameType::Message | FrameType::Transfer, _) => return None,
        };
        Some(Heard::Answer(answer))
    }

    /// Takes out what nobody has answered in time.
    fn overdue(&mut self, now_ns: u64) -> Overdue {
        let asked = self.asked.take_if(|asked| now_ns >= asked.until_ns);
        let sent = self.sent.take_if(|sent| now_ns >= sent.until_ns);
        Overdue { asked: asked.map(|asked| asked.request_id), sent: sent.map(|sent| sent.number) }
    }

    /// Takes out the MESSAGE of the peer, if it is this one.
    fn take_asked(&mut self, request_id: u32) -> bool {
        self.asked.take_if(|asked| asked.request_id == request_id).is_some()
    }

    /// The link has ended: what the control thread calls ours, if one has no answer.
    pub(super) fn end(&mut self) -> Option<u64> {
        self.asked = None;
        self.sent.take().map(|sent| sent.number)
    }
}

/// What an ERROR of the peer says, of whatever length.
fn refusal(frame: &Frame<'_>) -> String {
    let Some(error) = frame.error() else { unreachable!("an ERROR has its fields") };
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into_owned();
    format!("the peer refuses it: {} {}: {}", text(&error.code), text(error.name), text(error.data))
}

impl Links {
    /// Takes what a frame of a link has said.
    pub(super) fn take_heard(&mut self, place: usize, request_id: u32, heard: Heard) {
        match heard {
            Heard::Message(Ok(bytes)) => self.take_message(place, request_id, bytes),
            Heard::Message(Err(error)) => {
                self.refuse_message(place, request_id, btp::NOT_ACCEPTED, &error.to_string());
            }
            Heard::Answer(result) => {
                let link = self.get_mut(place).expect("its frame was just looked at");
                let sent = link.talk.sent.take().expect("Talk::hear() found it");
                self.news.push_back(Event::TalkReply { number: sent.number, result });
            }
        }
    }

    fn take_message(&mut self, place: usize, request_id: u32, bytes: Box<[u8]>) {
        let is_busy = self.news.len() >= TALK_NEWS_MAX;
        let link = self.get_mut(place).expect("its frame was just looked at");
        if link.talk.asked.is_some() {
            let why = "another settlement message of this link waits for its reply";
            return self.refuse_message(place, request_id, btp::UNREACHABLE, why);
        }
        if is_busy {
            let why = "the switch is busy with settlement messages: try again later";
            return self.refuse_message(place, request_id, btp::UNREACHABLE, why);
        }
        let connection = link.connection;
        let until_ns = clock::mono_ns() + TALK_PATIENCE_NS;
        link.talk.asked = Some(Asked { request_id, until_ns });
        self.counters.settlement_messages_in += 1;
        self.news.push_back(Event::TalkMessage { connection, request_id, bytes });
    }

    fn refuse_message(&mut self, place: usize, request_id: u32, code: &[u8; 3], why: &str) {
        self.counters.settlement_messages_refused += 1;
        let utc_ms = clock::now().utc_ms;
        self.put(place, |tx| tx.put_error(request_id, code, utc_ms, why));
    }

    /// The link of a connection on which this MESSAGE of the peer waits; it waits no more.
    fn take_asked(&mut self, connection: ConnectionId, request_id: u32) -> Option<usize> {
        let place = self.place_of(connection)?;
        self.get_mut(place)?.talk.take_asked(request_id).then_some(place)
    }
}

impl Shard {
    /// Takes what the control thread has for a link.
    pub(super) fn take_talk(&mut self, talk: ToLink) {
        match talk {
            ToLink::Send { account, number, bytes } => self.send_message(account, number, &bytes),
            ToLink::Reply { connection, request_id, bytes } => {
                let Some(place) = self.links.take_asked(connection, request_id) else {
                    self.links.counters.settlement_replies_dropped += 1;
                    return;
                };
                self.links.put(place, |tx| {
                    tx.put_settlement(FrameType::Response, request_id, &bytes);
                });
            }
            ToLink::Refuse { connection, request_id, why } => {
                if let Some(place) = self.links.take_asked(connection, request_id) {
                    self.links.refuse_message(place, request_id, btp::UNREACHABLE, why);
                }
            }
        }
    }

    fn send_message(&mut self, account: AccountId, number: u64, bytes: &[u8]) {
        self.assert_own(account);
        let Some(place) = self.links.open_place(account) else {
            return self.not_sent(number, "the account has no link");
        };
        let link = self.links.get_mut(place).expect("it is open");
        if link.talk.sent.is_some() {
            return self.not_sent(number, "another message of this link waits for its answer");
        }
        let request_id = self.switch.spare_id(link.talk.count);
        link.talk.count = link.talk.count.wrapping_add(1);
        let until_ns = clock::mono_ns() + TALK_PATIENCE_NS;
        link.talk.sent = Some(Sent { request_id, number, until_ns });
        self.links.counters.settlement_messages_out += 1;
        self.links.put(place, |tx| tx.put_settlement(FrameType::Message, request_id, bytes));
    }

    pub(super) fn not_sent(&mut self, number: u64, why: &str) {
        self.links.news.push_back(Event::TalkReply { number, result: Err(why.into()) });
    }

    /// What lasts too long on a link is answered.
    pub(super) fn keep_talk(&mut self, now: Now, place: usize) {
        let Some(link) = self.links.get_mut(place) else { return };
        let Overdue { asked, sent } = link.talk.overdue(now.mono_ns);
        if let Some(request_id) = asked {
            let why = "the settlement process has not replied in time: try again later";
            self.links.refuse_message(place, request_id, btp::UNREACHABLE, why);
        }
        if let Some(number) = sent {
            self.not_sent(number, "the peer has not answered in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_too_long_is_taken_out_once_and_not_before() {
        let mut talk = Talk {
            asked: Some(Asked { request_id: 4, until_ns: 10 }),
            sent: Some(Sent { request_id: 5, number: 6, until_ns: 20 }),
            count: 1,
        };
        assert_eq!(talk.overdue(9), Overdue::default());
        assert_eq!(talk.overdue(10), Overdue { asked: Some(4), sent: None });
        assert_eq!(talk.overdue(19), Overdue::default());
        assert_eq!(talk.overdue(20), Overdue { asked: None, sent: Some(6) });
        assert_eq!(talk.overdue(u64::MAX), Overdue::default());
    }

    #[test]
    fn an_answer_is_heard_under_the_id_of_ours_alone() {
        let talk =
            Talk { sent: Some(Sent { request_id: 5, number: 6, until_ns: 20 }), ..Talk::default() };
        let entry = |name, data| btp::Entry { name, content_type: btp::OCTET_STREAM, data };
        let hear = |talk: &Talk, request_id, entries: &[btp::Entry<'_>]| {
            let mut frame = Vec::new();
            btp::put_response(&mut frame, request_id, entries);
            match talk.hear(&Frame::new_checked(&frame).unwrap()) {
                None => None,
                Some(Heard::Answer(answer)) => Some(answer),
                Some(Heard::Message(_)) => panic!("a RESPONSE is no MESSAGE"),
            }
        };
        let ours = entry(btp::SETTLEMENT, b"yes");
        assert_eq!(hear(&talk, 5, &[ours]), Some(Ok(b"yes"[..].into())));
        assert_eq!(hear(&talk, 6, &[ours]), None);
        assert_eq!(hear(&Talk::default(), 5, &[ours]), None);
        for others in [&[][..], &[entry(b"x", b"yes"), ours], &[ours, entry(btp::ILP, b"p")]] {
            let error = hear(&talk, 5, others).unwrap().unwrap_err();
            assert!(error.contains("bears no entry"), "{error}");
        }
        let error = hear(&talk, 5, &[entry(btp::SETTLEMENT, b"")]).unwrap().unwrap_err();
        assert!(error.contains("has no bytes"), "{error}");
        let mut frame = Vec::new();
        let long = "x".repeat(5_000);
        btp::put_error(&mut frame, 5, b"T00", "UnreachableError", 0, long.as_bytes(), &[]);
        let heard = talk.hear(&Frame::new_checked(&frame).unwrap());
        let Some(Heard::Answer(Err(error))) = heard else { panic!("an ERROR answers ours") };
        assert!(error.contains("T00 UnreachableError: xxx") && error.len() < 400, "{error}");
    }
}

//! How links end, and what is owed to whom when they do.
//!
//! Of a PREPARE whose frame never began to leave, the sender is told at once (T01). Whatever began
//! to leave may be fulfilled unseen, so it waits for its expiry. Answers that still wait are sent if
//! the peer reads on; those it does not get are counted, and what they committed stands.

use m2_codec::ws::Opcode;
use m2_core::Now;
use rustix::net::Shutdown;

use super::links::{Stall, State};
use super::message::{Cause, Event};
use super::run::Shard;
use super::rx::Broken;
use crate::clock;

impl Shard {
    /// Ends a link in order: what waits is sent, but for PREPAREs; a WebSocket says why.
    pub(super) fn close(
        &mut self,
        now: Now,
        place: usize,
        cause: Cause,
        close: Option<(u16, &str)>,
    ) {
        let Some(link) = self.links.get_mut(place) else { return };
        if link.state != State::Open {
            return;
        }
        let deadline_ns = now.mono_ns + self.settings.close_ns;
        // One at a time: whoever connects over and over does not pile them up.
        if let Some(earlier) = self.links.set_closing(place, deadline_ns) {
            self.remove(earlier);
        }
        self.release(now, place, cause, 0);
        if let (Some(link), Some((code, text))) = (self.links.get_mut(place), close) {
            link.tx.put_close(code, text);
        }
        self.links.set_dirty(place);
    }

    /// Ends a link at once: it failed, or its peer does not deserve patience.
    pub(super) fn drop_link(&mut self, now: Now, place: usize, cause: Cause) {
        let Some(link) = self.links.get_mut(place) else { return };
        if link.state == State::Open {
            let fulfills_unsent = link.tx.fulfills_unsent();
            self.links.set_closing(place, 0).into_iter().for_each(|earlier| self.remove(earlier));
            self.release(now, place, cause, fulfills_unsent);
        }
        self.remove(place);
    }

    /// The core learns that the link is gone, and of which PREPAREs not a byte left.
    fn release(&mut self, now: Now, place: usize, cause: Cause, fulfills_unsent: u32) {
        let link = self.links.get_mut(place).expect("it was just set closing");
        let connection = link.connection;
        let unanswered = link.talk.end();
        let mut unsent = Vec::new();
        let count = link.tx.cut_prepares(|request_id| unsent.push(request_id));
        for request_id in unsent {
            self.switch.unsent(now, connection, request_id, &mut self.links);
        }
        self.switch.link_down(connection);
        if let Some(number) = unanswered {
            self.not_sent(number, "the link ended before the answer came");
        }
        self.publish();
        self.links.counters.prepares_unsent += u64::from(count);
        self.joints.board.set_down(connection.account);
        self.tell(Event::Down {
            account: connection.account,
            cause,
            prepares_unsent: count,
            fulfills_unsent,
        });
        self.joints.nudge.send();
    }

    /// Takes a link out and closes its socket.
    pub(super) fn remove(&mut self, place: usize) {
        let Some(link) = self.links.remove(place) else { return };
        // The next link at its place has its own turn, and no other.
        self.ready.retain(|ready| *ready != place);
        self.put_aside.retain(|aside| *aside != place);
        self.note_egress(link.connection.account);
        self.links.counters.fulfills_unsent += u64::from(link.tx.fulfills_unsent());
        self.io.remove(place, &link.socket);
        // It fails only if the socket is already what this makes it.
        let _ = rustix::net::shutdown(&link.socket, Shutdown::Both);
    }

    /// What a peer sent cannot be read on.
    pub(super) fn break_off(&mut self, place: usize, broken: Broken) {
        match broken.cause {
            Cause::FramingLost(_) => self.links.counters.framing_lost += 1,
            Cause::WebSocket(_) => self.links.counters.websocket_violations += 1,
            _ => {}
        }
        let now = clock::now();
        self.close(now, place, broken.cause, Some((broken.code, broken.text)));
    }

    /// The peer has ended its side.
    pub(super) fn peer_ended(&mut self, place: usize) {
        let Some(link) = self.links.get_mut(place) else { return };
        match link.state {
            State::Open => self.close(clock::now(), place, Cause::Closed, None),
            State::Closing { ended: true, .. } => self.remove(place),
            State::Closing { .. } => {}
        }
    }

    /// What time asks of one link.
    pub(super) fn keep_link(&mut self, now: Now, place: usize) {
        let ping_ns = self.settings.ping_ns;
        let Some(link) = self.links.get_mut(place) else { return };
        link.tx.shrink();
        if let State::Closing { deadline_ns, .. } = link.state {
            if now.mono_ns >= deadline_ns {
                self.remove(place);
            }
            return;
        }
        let waits = link.tx.fulfill_waits() || self.switch.waits_for_room(link.connection);
        let (taken, end) = (link.tx.taken(), link.tx.end());
        if Stall::look(&mut link.stall, waits, taken, end, now.mono_ns) {
            self.links.counters.links_stalled += 1;
            return self.drop_link(now, place, Cause::Stalled);
        }
        if !link.websocket {
            return;
        }
        let silent_ns = now.mono_ns.saturating_sub(link.heard_ns);
        if link.pinged && silent_ns >= 2 * ping_ns {
            self.links.counters.links_silent += 1;
            self.drop_link(now, place, Cause::Silent);
        } else if silent_ns >= ping_ns && !link.pinged {
            link.pinged = true;
            self.links.put(place, |tx| tx.put_control(Opcode::Ping, b""));
        }
    }
}

//! From the bytes of a link to the vectors of the core: each BTP frame is noted as a request or an
//! answer, or answered here where the core has nothing to say to it.

use m2_codec::btp::{self, Frame, FrameType, PacketFrame};
use m2_codec::ws::{Opcode, WS_CONTROL_LEN_MAX, close_code};

use super::batch::{Batch, BodyAt, PacketAt};
use super::links::{Link, Links};
use super::message::Cause;
use super::run::Shard;
use super::rx::{Broken, Place, Step};
use crate::clock;

impl Shard {
    /// Notes every whole frame of a link, running the vectors as they fill.
    pub(super) fn take_frames(&mut self, place: usize) {
        loop {
            let before = self.batch.len();
            let taken = self.note_frames(place);
            if self.batch.len() > before
                && let Some(link) = self.links.get_mut(place)
            {
                self.batch.lend(place, link.rx.lend());
            }
            match taken {
                Taken::All => {}
                Taken::UntilFull => {
                    self.run_batch();
                    continue;
                }
                Taken::UntilBroken(broken) => {
                    self.run_batch();
                    self.break_off(place, broken);
                }
                Taken::UntilClose(code) => {
                    self.run_batch();
                    self.close(clock::now(), place, Cause::Closed, Some((code, "")));
                }
            }
            if self.batch.is_full() {
                self.run_batch();
            }
            return;
        }
    }

    /// Notes frames of a link until there is none, the vectors are full, or the link has to end.
    fn note_frames(&mut self, place: usize) -> Taken {
        let Self { links, batch, settings, .. } = self;
        while let Some(link) = links.get_mut(place) {
            note_packets(link, batch);
            if batch.is_full() {
                return Taken::UntilFull;
            }
            let frame = match link.rx.next() {
                Ok(Step::NeedMore) => return Taken::All,
                Ok(Step::Skip) => continue,
                Ok(Step::Frame(frame)) => frame,
                Ok(Step::Ping(range)) => {
                    let mut payload = [0; WS_CONTROL_LEN_MAX];
                    let payload = &mut payload[..range.len()];
                    payload.copy_from_slice(link.rx.bytes(&Place::Buffer(range)));
                    links.put(place, |tx| tx.put_control(Opcode::Pong, payload));
                    continue;
                }
                Ok(Step::Close(code)) => return Taken::UntilClose(code),
                Err(broken) => return Taken::UntilBroken(broken),
            };
            let joined = frame == Place::Joined;
            if !note_frame(links, batch, place, &frame) {
                let link = links.get_mut(place).expect("its frame was just looked at");
                link.bad_frames += 1;
                if link.bad_frames >= settings.bad_frames_max {
                    return Taken::UntilBroken(BAD_FRAMES);
                }
            }
            if joined {
                // The next joined message would overwrite this one.
                return Taken::UntilFull;
            }
        }
        Taken::All
    }
}

/// Notes frames of a link that hold one ILP packet and nothing else, until there is another one or
/// none, or the vectors are full.
fn note_packets(link: &mut Link, batch: &mut Batch) {
    let Link { connection, rx, .. } = link;
    while !batch.is_full()
        && let Some(PacketFrame { frame_type, request_id, packet }) = rx.next_packet()
    {
        let packet = PacketAt::in_buffer(packet);
        match frame_type {
            FrameType::Message => batch.push_request(*connection, request_id, packet),
            _ => batch.push_response(*connection, request_id, BodyAt::Packet(packet)),
        }
    }
}

/// How far the frames of a link were noted.
enum Taken {
    All,
    UntilFull,
    UntilBroken(Broken),
    UntilClose(u16),
}

const BAD_FRAMES: Broken = Broken {
    cause: Cause::BadFrames,
    code: close_code::POLICY_VIOLATION,
    text: "too many malformed BTP frames",
};

/// Notes one frame of a link, or answers it here where the core has nothing to say to it. `false` if
/// it is malformed.
fn note_frame(links: &mut Links, batch: &mut Batch, place: usize, at: &Place) -> bool {
    let link = links.get_mut(place).expect("its frame was just split off");
    let connection = link.connection;
    let Ok(frame) = Frame::new_checked(link.rx.bytes(at)) else {
        links.counters.bad_frames += 1;
        return false;
    };
    let request_id = frame.request_id();
    if let Some(heard) = link.talk.hear(&frame) {
        links.take_heard(place, request_id, heard);
        return true;
    }
    let packet = frame.ilp_range().map(|range| PacketAt::of(at, &range));
    match (frame.frame_type(), packet) {
        (FrameType::Message, Some(packet)) => batch.push_request(connection, request_id, packet),
        (FrameType::Response, Some(packet)) => {
            batch.push_response(connection, request_id, BodyAt::Packet(packet));
        }
        (FrameType::Response, None) => batch.push_response(connection, request_id, BodyAt::Empty),
        (FrameType::Error, _) => {
            let temporary = frame.error().is_some_and(|error| error.code == *btp::UNREACHABLE);
            let body = if temporary { BodyAt::ErrorTemporary } else { BodyAt::ErrorOther };
            batch.push_response(connection, request_id, body);
        }
        (FrameType::Message, None) => {
            // Also a second `auth`: it changes nothing and harms nothing.
            links.counters.messages_unserved += 1;
            links.put(place, |tx| tx.put_empty_response(request_id));
        }
        (FrameType::Transfer, _) => {
            links.counters.transfers_refused += 1;
            let utc_ms = clock::now().utc_ms;
            links.put(place, |tx| {
                let why = "transfers are not accepted here";
                tx.put_error(request_id, btp::NOT_ACCEPTED, utc_ms, why);
            });
        }
    }
    true
}

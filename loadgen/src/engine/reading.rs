//! What arrives on one link: answers to what it sent, and PREPAREs for its receiver.

use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{ErrorCode, fulfill_len, put_fulfill, put_reject};
use m2_codec::timestamp;

use super::Player;
use super::clock::Now;
use crate::link::{Nonsense, Output};
use crate::receiver::{Receiver, Reply, Terms};
use crate::sender::{InFlight, Outcome};
use crate::tally::{Answered, Tally};
use crate::workload::Workload;

/// What reading the frames of one link needs.
pub(super) struct Reading<'a> {
    pub(super) workload: &'a Workload,
    pub(super) terms: &'a Terms,
    pub(super) now: Now,
    pub(super) while_sending: bool,
    pub(super) tally: &'a mut Tally,
    pub(super) times: &'a mut timestamp::Cache,
    /// A buffer that is kept.
    pub(super) scratch: &'a mut Vec<u8>,
    /// How many answers there were.
    pub(super) answers: u64,
}

impl Reading<'_> {
    /// Reads what is there, as far as frames are whole.
    pub(super) fn frames(&mut self, player: &mut Player) -> Result<(), Nonsense> {
        let Player { link, in_flight, receiver, .. } = player;
        while let Some(bytes) = link.input.next(&mut link.output)? {
            let Ok(frame) = Frame::new_checked(bytes) else {
                self.tally.strays.unreadable += 1;
                continue;
            };
            let request_id = frame.request_id();
            match frame.frame_type() {
                FrameType::Message => self.request(&frame, receiver, &mut link.output),
                FrameType::Response => self.answer(in_flight, request_id, frame.ilp(), false),
                FrameType::Error => self.answer(in_flight, request_id, None, true),
                FrameType::Transfer => {
                    let mut error = Vec::new();
                    let (code, name) = (btp::NOT_ACCEPTED, "NotAcceptedError");
                    let utc_ms = self.now.utc_ms;
                    btp::put_error(&mut error, request_id, code, name, utc_ms, b"", &[]);
                    link.output.send_frame(&error);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn request(&mut self, frame: &Frame<'_>, receiver: &mut Receiver, output: &mut Output) {
        let request_id = frame.request_id();
        let Some(packet) = frame.ilp() else {
            // Every MESSAGE gets an answer, also one of a sub-protocol that we do not know.
            let mut response = Vec::new();
            btp::put_response(&mut response, request_id, &[]);
            return output.send_frame(&response);
        };
        match receiver.receive(packet, self.now.utc_ms, self.terms, self.times) {
            Reply::Fulfill { fulfillment, data } => {
                output.send(FrameType::Response, request_id, fulfill_len(data.len()), |out| {
                    put_fulfill(out, &fulfillment, data);
                });
            }
            Reply::Reject { code, message, data } => {
                self.scratch.clear();
                put_reject(self.scratch, code, receiver.address(), message.as_bytes(), data);
                output.send(FrameType::Response, request_id, self.scratch.len(), |out| {
                    out.extend_from_slice(self.scratch);
                });
            }
            Reply::Books(answer) => {
                let code = ErrorCode::F99_APPLICATION_ERROR;
                self.scratch.clear();
                put_reject(self.scratch, code, receiver.address(), b"", &answer[..]);
                output.send(FrameType::Response, request_id, self.scratch.len(), |out| {
                    out.extend_from_slice(self.scratch);
                });
            }
            Reply::Silence => {}
        }
    }

    #[inline]
    fn answer(
        &mut self,
        in_flight: &mut InFlight,
        request_id: u32,
        packet: Option<&[u8]>,
        is_error: bool,
    ) {
        let sent = match in_flight.take(request_id) {
            Ok(sent) => sent,
            Err(stray) => return self.tally.stray(stray),
        };
        self.answers += 1;
        let flow = &self.workload.flows[usize::from(sent.header.flow)];
        let outcome = match packet {
            None if is_error => Outcome::BtpError,
            None => Outcome::NoPacket,
            Some(packet) => {
                Outcome::of_packet(packet, &sent, self.workload.receiver(flow).as_bytes())
            }
        };
        let owed = if outcome.is_paid() {
            flow.converted(sent.header.amount).expect("the workload was checked for that")
        } else {
            0
        };
        let Now { ns: now_ns, utc_ms } = self.now;
        let at = Answered { now_ns, utc_ms, while_sending: self.while_sending };
        self.tally.answered(&sent, outcome, owed, at);
    }
}

//! Answers that come when none is due any more: while books are asked for, and while they settle.
//!
//! Invariant: only what belongs to no PREPARE in flight is counted. What became of those that are is
//! in the report already, and stays as it is.

use m2_codec::btp::{Frame, FrameType};

use crate::engine::Player;
use crate::link::Drain;
use crate::report::Strays;
use crate::sender::{InFlight, Stray};

/// Most reads of one link at the end: a target that writes for ever is not read for ever.
const READS_MAX: usize = 64;

/// What came late.
#[derive(Debug, Default)]
pub(super) struct Late {
    pub(super) strays: Strays,
    /// Request ids of questions that are not answered yet: what comes for them is no stray.
    pub(super) questions: Vec<u32>,
}

impl Late {
    /// Counts a frame that nobody waits for.
    pub(super) fn count(&mut self, bytes: &[u8], in_flight: &InFlight) {
        let Ok(frame) = Frame::new_checked(bytes) else {
            self.strays.unreadable += 1;
            return;
        };
        if !matches!(frame.frame_type(), FrameType::Response | FrameType::Error) {
            return;
        }
        let id = frame.request_id();
        if let Some(at) = self.questions.iter().position(|&question| question == id) {
            self.questions.swap_remove(at);
            return;
        }
        match in_flight.stray(id) {
            Some(Stray::Duplicate) => self.strays.duplicate += 1,
            Some(Stray::Unexpected) => self.strays.unexpected += 1,
            None => {}
        }
    }

    /// Counts what has arrived on every link, without waiting. A link that has ended has no more.
    pub(super) fn drain(&mut self, players: &mut [Option<Player>]) {
        for Player { link, in_flight, .. } in players.iter_mut().flatten() {
            for _ in 0..READS_MAX {
                let read = link.receive();
                while let Ok(Some(bytes)) = link.input.next(&mut link.output) {
                    self.count(bytes, in_flight);
                }
                if !matches!(read, Ok(Drain::More)) {
                    break;
                }
            }
        }
    }

    /// Adds them to those of a report.
    pub(super) fn add_to(&self, strays: &mut Strays) {
        strays.duplicate += self.strays.duplicate;
        strays.unexpected += self.strays.unexpected;
        strays.unreadable += self.strays.unreadable;
    }
}

//! Asking receivers in another process for their books, through the target.
//!
//! One question at a time, blocking: nothing else happens on the links before the first packet and
//! after the last answer. What else arrives meanwhile is counted as a stray if it is one.
//!
//! Invariant: no money moves. Nobody knows a preimage of a question's condition.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use m2_codec::btp::{Frame, FrameType};
use m2_codec::ilp::{ErrorCode, Reject, prepare_len, put_prepare};
use m2_codec::timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::late::Late;
use crate::engine::Player;
use crate::inband::{Answer, Book, Key, Purpose, Question};
use crate::limits;
use crate::link::{Link, LinkError};
use crate::workload::{Flow, Workload};

/// Time between two tries of a question that was rejected with a temporary error.
const PAUSE: Duration = Duration::from_millis(200);

/// Longest time in one wait for bytes.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Who asks, for one run.
pub(super) struct Asker<'a> {
    workload: &'a Workload,
    key: Key,
    run: u32,
    /// What else came.
    pub(super) late: Late,
}

/// Why a book is not known, a sentence each.
pub(super) enum NoBook {
    /// Nobody told it.
    Missing(String),
    /// What came back is not what the receiver wrote, or what nobody can have written.
    Changed(String),
}

impl NoBook {
    fn sentence(self) -> String {
        let (Self::Missing(why) | Self::Changed(why)) = self;
        why
    }
}

/// What came back for one question.
enum Reply {
    Book(Book),
    /// A REJECT of somebody else.
    Refused {
        why: String,
        again: bool,
    },
    /// An answer that is none.
    Changed(&'static str),
}

impl<'a> Asker<'a> {
    pub(super) fn new(workload: &'a Workload, run: u32) -> Self {
        Self { workload, key: Key::new(workload.traffic.seed), run, late: Late::default() }
    }

    /// Finds out whether every receiver is there, by one flow to each.
    pub(super) fn hello(&mut self, players: &mut [Option<Player>]) -> Result<(), String> {
        let workload = self.workload;
        let flows = &workload.flows;
        for (index, flow) in flows.iter().enumerate() {
            let is_first = flows[..index].iter().all(|other| other.to != flow.to);
            if is_first {
                self.ask(players, index, Purpose::Hello).map_err(NoBook::sentence)?;
            }
        }
        Ok(())
    }

    /// The books of every flow, in their order.
    pub(super) fn books(&mut self, players: &mut [Option<Player>]) -> Result<Vec<Book>, NoBook> {
        let flows = 0..self.workload.flows.len();
        flows.map(|index| self.ask(players, index, Purpose::Books)).collect()
    }

    fn ask(
        &mut self,
        players: &mut [Option<Player>],
        index: usize,
        purpose: Purpose,
    ) -> Result<Book, NoBook> {
        let workload = self.workload;
        let flow = &workload.flows[index];
        let name = |end: usize| &workload.ends[end].name;
        let asked = format!("'{}' asked '{}' for its books", name(flow.from), name(flow.to));
        let player = players[flow.from].as_mut().expect("who sends is played here");
        match self.ask_on(player, index, purpose) {
            Ok(Reply::Book(book)) => Ok(book),
            Ok(Reply::Changed(why)) => Err(NoBook::Changed(format!("{asked}: {why}"))),
            Ok(Reply::Refused { why, .. }) | Err(why) => {
                Err(NoBook::Missing(format!("{asked}: {why}")))
            }
        }
    }

    /// Asks until there is an answer, or no time for another try.
    fn ask_on(
        &mut self,
        player: &mut Player,
        index: usize,
        purpose: Purpose,
    ) -> Result<Reply, String> {
        // The first question without an answer is the last, so that no more than this is waited for
        // in vain, however many flows there are.
        let deadline = Instant::now() + Duration::from_millis(limits::QUESTION_WAIT_MS);
        let workload = self.workload;
        let flow = &workload.flows[index];
        let mut last = Err("no answer came".to_owned());
        for _ in 0..limits::QUESTION_TRIES {
            let nonce = u64::from_be_bytes(random()?);
            // Nobody knows what hashes to random bytes.
            let condition = random()?;
            let number = u16::try_from(index).expect("flows are fewer than 2^16");
            let question = Question { purpose, flow: number, run: self.run, nonce };
            let reply = self.try_once(player, flow, &question, &condition, deadline);
            match reply.map_err(|error| error.to_string())? {
                Some(reply @ Reply::Refused { again: true, .. }) => {
                    last = Ok(reply);
                    std::thread::sleep(PAUSE);
                }
                Some(reply) => return Ok(reply),
                None => {}
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        last
    }

    /// Sends one question and waits for what comes back; `None` if nothing does.
    fn try_once(
        &mut self,
        player: &mut Player,
        flow: &Flow,
        question: &Question,
        condition: &[u8; 32],
        deadline: Instant,
    ) -> Result<Option<Reply>, LinkError> {
        // No id of a PREPARE in flight would do harm: the answer is known by its tag as well.
        let [_, _, _, _, id @ ..] = question.nonce.to_be_bytes();
        let request_id = u32::from_be_bytes(id);
        let destination = self.workload.receiver(flow).as_bytes();
        let data = question.to_bytes(&self.key);
        let expires_at = timestamp::write(utc_ms() + limits::QUESTION_MS);
        let len = prepare_len(destination.len(), data.len());
        let amount = least(flow);
        self.late.questions.push(request_id);
        player.link.output.send(FrameType::Message, request_id, len, |out| {
            put_prepare(out, amount, &expires_at, condition, destination, &data);
        });
        let margin_ms = limits::ANSWER_MARGIN_NS / 1_000_000;
        let until = Instant::now() + Duration::from_millis(limits::QUESTION_MS + margin_ms);
        while Instant::now() < until.min(deadline) {
            player.link.flush()?;
            wait(&player.link);
            let _ = player.link.receive()?;
            if let Some(reply) = self.read(player, request_id, question)? {
                self.late.questions.retain(|&question| question != request_id);
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Reads what has arrived, up to the answer.
    fn read(
        &mut self,
        player: &mut Player,
        request_id: u32,
        question: &Question,
    ) -> Result<Option<Reply>, LinkError> {
        let Player { link, in_flight, .. } = player;
        loop {
            let bytes = match link.input.next(&mut link.output) {
                Ok(None) => return Ok(None),
                Ok(Some(bytes)) => bytes,
                Err(nonsense) => return Err(link.nonsense(&nonsense)),
            };
            let is_it = |frame: &Frame<'_>| {
                frame.request_id() == request_id
                    && matches!(frame.frame_type(), FrameType::Response | FrameType::Error)
            };
            match Frame::new_checked(bytes).ok().filter(is_it) {
                Some(frame) => return Ok(Some(self.judge(frame.ilp(), question))),
                None => self.late.count(bytes, in_flight),
            }
        }
    }

    fn judge(&self, packet: Option<&[u8]>, question: &Question) -> Reply {
        let Some(Ok(reject)) = packet.map(Reject::new_checked) else {
            return Reply::Changed("what came back is no REJECT");
        };
        if let Some(answer) = Answer::read(reject.data(), &self.key, question) {
            return Reply::Book(answer.book);
        }
        let code = reject.code();
        if code == ErrorCode::F99_APPLICATION_ERROR {
            return Reply::Changed("the answer was changed on the way");
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
        let name = code.name().map_or_else(String::new, |name| format!(" {name}"));
        let (by, message) = (text(reject.triggered_by()), text(reject.message()));
        let why = format!("rejected with {code}{name} by {by}, '{message}'");
        Reply::Refused { why, again: code.0[0] == b'T' }
    }
}

/// The least amount that leaves the receiver with something: some connectors forward no nothing.
fn least(flow: &Flow) -> u64 {
    flow.den.div_ceil(flow.num)
}

fn random<const LEN: usize>() -> Result<[u8; LEN], String> {
    let mut bytes = [0; LEN];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the operating system gave no random bytes: {error}"))?;
    Ok(bytes)
}

fn wait(link: &Link) {
    let interest = match link.output.unsent() {
        0 => PollFlags::IN,
        _ => PollFlags::IN | PollFlags::OUT,
    };
    // One that is interrupted is one that is over early.
    let _ = poll(&mut [PollFd::new(link, interest)], Some(&WAIT));
}

fn utc_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("milliseconds of this age of the world")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_amount_leaves_the_receiver_with_one_unit_or_more_and_one_less_with_none() {
        for (num, den) in [(1, 1), (499, 200_000), (1_996, 5), (5, 2), (2, 5), (1, u64::MAX)] {
            let flow = Flow { from: 0, to: 1, num, den };
            let amount = least(&flow);
            assert!(flow.converted(amount).is_some_and(|units| units > 0), "{num}/{den}");
            assert_eq!(flow.converted(amount - 1), Some(0), "{num}/{den}");
        }
    }
}

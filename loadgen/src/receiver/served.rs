//! A receiver for many runs, which come from other processes: a book for each, and answers to who
//! asks for it.
//!
//! Invariant: a book belongs to one run, and at most [`limits::RUNS_KEPT_MAX`] are kept: the one that
//! was opened first goes. A run gets a book when a packet of it passed every check, when it is asked
//! for under the seed, or when a packet of it has a fault and its sender said under the seed that it
//! comes. A stranger cannot make us open any; every fault is in one book, if only in the one for
//! what belongs to no run.

use super::Received;
use crate::inband::{Answer, Book, Key, NoQuestion, Purpose, Question};
use crate::limits;

/// What a receiver for many runs has beside the book that is open.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) key: Key,
    /// The run whose book is open, if there is one.
    pub(super) open: Option<u32>,
    /// The books of the other runs, in the order in which they were closed.
    parked: Vec<(u32, Received)>,
    /// Runs in the order in which their books were first opened, with the flows asked for.
    runs: Vec<(u32, Vec<u16>)>,
    /// Runs whose sender has asked whether we are here, the last ones.
    announced: Vec<u32>,
    /// PREPAREs of no run that was known when they came.
    pub(super) outside: Received,
    /// The run whose books were asked for last, until somebody looks.
    pub(super) asked_now: Option<u32>,
}

impl Served {
    pub(super) fn new(key: Key) -> Self {
        Self {
            key,
            open: None,
            parked: Vec::new(),
            runs: Vec::new(),
            announced: Vec::new(),
            outside: Received::default(),
            asked_now: None,
        }
    }

    /// Whether a run has a book, or was announced by who has the seed.
    pub(super) fn knows(&self, run: u32) -> bool {
        self.runs().any(|known| known == run) || self.announced.contains(&run)
    }

    /// Opens the book of this run in place of the one that is open.
    pub(super) fn turn_to(&mut self, run: u32, received: &mut Received) {
        if self.open == Some(run) {
            return;
        }
        let flows = received.fulfilled_amounts.len();
        let parked = self.parked.iter().position(|&(parked, _)| parked == run);
        let next = parked.map_or_else(|| Received::new(flows), |at| self.parked.remove(at).1);
        let closed = std::mem::replace(received, next);
        if let Some(closed_run) = self.open.replace(run) {
            self.parked.push((closed_run, closed));
        }
        if parked.is_none() {
            self.runs.push((run, Vec::new()));
            self.forget();
        }
    }

    /// The book of a run, if it has one.
    pub(super) fn book<'a>(&'a self, run: u32, open: &'a Received) -> Option<&'a Received> {
        if self.open == Some(run) {
            return Some(open);
        }
        self.parked.iter().find(|&&(parked, _)| parked == run).map(|(_, received)| received)
    }

    /// Answers a question, if the data is one.
    pub(super) fn answer(
        &mut self,
        data: &[u8],
        received: &mut Received,
    ) -> Result<Answer, NoQuestion> {
        let question = Question::read(data, &self.key)?;
        if usize::from(question.flow) >= received.fulfilled_amounts.len() {
            return Err(NoQuestion::Other);
        }
        match question.purpose {
            Purpose::Hello => self.announce(question.run),
            Purpose::Books => {
                self.turn_to(question.run, received);
                self.note_asked(&question);
            }
        }
        let flow = usize::from(question.flow);
        let book = self.book(question.run, received).map(|received| Book {
            fulfilled: received.fulfilled_counts[flow],
            amount: received.fulfilled_amounts[flow],
        });
        Ok(Answer { question, book: book.unwrap_or_default() })
    }

    /// The runs that have a book, the oldest first.
    pub(super) fn runs(&self) -> impl Iterator<Item = u32> {
        self.runs.iter().map(|&(run, _)| run)
    }

    /// Whether the book of this flow was asked for.
    pub(super) fn was_asked(&self, run: u32, flow: u16) -> bool {
        self.runs.iter().any(|(known, flows)| *known == run && flows.contains(&flow))
    }

    fn announce(&mut self, run: u32) {
        if self.announced.contains(&run) {
            return;
        }
        if self.announced.len() == limits::RUNS_KEPT_MAX {
            self.announced.remove(0);
        }
        self.announced.push(run);
    }

    fn note_asked(&mut self, question: &Question) {
        self.asked_now = Some(question.run);
        if let Some((_, flows)) = self.runs.iter_mut().find(|(run, _)| *run == question.run)
            && !flows.contains(&question.flow)
        {
            flows.push(question.flow);
        }
    }

    /// Keeps to the limit. The book that was just opened is the youngest, so that it stays.
    fn forget(&mut self) {
        if self.runs.len() > limits::RUNS_KEPT_MAX {
            let (oldest, _) = self.runs.remove(0);
            self.parked.retain(|&(run, _)| run != oldest);
        }
    }
}

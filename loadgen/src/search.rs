//! The search for the highest rate without loss: which rate to try next, and when to stop.
//!
//! In the manner of RFC 2544 and of MLRsearch: short trials narrow, long ones confirm.
//!
//! ```text
//! narrow    from, x2, x2, ... until one is bad, then halves of what lies between (by ratio),
//!           one short trial each, until good and bad are `width` apart
//! confirm   the good rate, then the bad one, each by most of `votes` long trials. A rate that does
//!           not hold is left by width, 2 x width, 4 x width ... until one does; then halves again
//! ```
//!
//! It is a function of what the trials said and of nothing else. Invariants: a rate is judged once
//! in each phase; every rate found good lies below every rate found bad; only what long trials
//! said is in the result.

pub mod report;
pub mod trial;

/// What is searched for, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The lowest rate of interest, PREPAREs a second.
    pub from_per_s: u64,
    /// The highest.
    pub to_per_s: u64,
    /// How far the highest good rate and the lowest bad one may be apart: 0.05 is 5 %.
    pub width: f64,
    /// Seconds of a trial that narrows.
    pub narrow_s: u64,
    /// Seconds of a trial that confirms.
    pub confirm_s: u64,
    /// Trials that confirm one rate; more than half of them must be good.
    pub votes: u32,
}

/// What one trial said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// It kept to what was asked.
    Good,
    /// It did not, and this was the limit.
    Bad(Limit),
}

/// Who could not keep up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// What is being measured.
    Target,
    /// The generator itself: nothing is known of the target at this rate.
    Generator,
}

/// Which of the two kinds a trial is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Short: it only says where to look.
    Narrow,
    /// Long: it counts.
    Confirm,
}

/// A trial to be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ask {
    /// What it is for.
    pub phase: Phase,
    /// PREPAREs a second.
    pub rate_per_s: u64,
    /// How long.
    pub seconds: u64,
}

/// A rate, and what the trials that confirm said of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Bound {
    /// PREPAREs a second.
    pub rate_per_s: u64,
    /// Trials in which all was as asked.
    pub good: u32,
    /// Trials in which the target was the limit.
    pub limited_by_target: u32,
    /// Trials in which the generator was.
    pub limited_by_generator: u32,
}

impl Bound {
    fn at(rate_per_s: u64) -> Self {
        Self { rate_per_s, ..Self::default() }
    }

    /// How many trials were made.
    #[must_use]
    pub fn trials(&self) -> u32 {
        self.good + self.limited_by_target + self.limited_by_generator
    }

    /// Who was the limit. The target only if its own trials were enough to say so.
    #[must_use]
    pub fn limit(&self, votes: u32) -> Limit {
        if self.limited_by_target >= votes.div_ceil(2) { Limit::Target } else { Limit::Generator }
    }

    fn count(&mut self, found: Found) {
        *match found {
            Found::Good => &mut self.good,
            Found::Bad(Limit::Target) => &mut self.limited_by_target,
            Found::Bad(Limit::Generator) => &mut self.limited_by_generator,
        } += 1;
    }

    /// Whether the rate is good, once no trial to come can change it.
    fn verdict(&self, votes: u32) -> Option<bool> {
        if self.good > votes / 2 {
            return Some(true);
        }
        (self.limited_by_target + self.limited_by_generator >= votes.div_ceil(2)).then_some(false)
    }
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    goal: Goal,
    phase: Phase,
    /// Highest rate found good in this phase.
    good: Option<Bound>,
    /// Lowest rate found bad in this phase.
    bad: Option<Bound>,
    /// Where narrowing ended: rates to begin to confirm with.
    narrowed: (Option<u64>, Option<u64>),
    /// By how much a rate is left that has only good ones below it, or bad ones above.
    stride: f64,
    /// The rate on trial; `None` when all has been said.
    trial: Option<Bound>,
}

impl Search {
    /// A search in which no trial was made.
    ///
    /// # Panics
    ///
    /// If the goal has no rates, no time, no votes, or a width that is not positive.
    #[must_use]
    pub fn new(goal: Goal) -> Self {
        assert!(1 <= goal.from_per_s && goal.from_per_s <= goal.to_per_s);
        assert!(goal.width > 0.0 && goal.votes > 0 && goal.narrow_s > 0 && goal.confirm_s > 0);
        Self {
            goal,
            phase: Phase::Narrow,
            good: None,
            bad: None,
            narrowed: (None, None),
            stride: 2.0,
            trial: Some(Bound::at(goal.from_per_s)),
        }
    }

    /// The trial to make next; `None` when the search is over.
    #[must_use]
    pub fn ask(&self) -> Option<Ask> {
        let seconds = match self.phase {
            Phase::Narrow => self.goal.narrow_s,
            Phase::Confirm => self.goal.confirm_s,
        };
        let trial = self.trial?;
        Some(Ask { phase: self.phase, rate_per_s: trial.rate_per_s, seconds })
    }

    /// Takes what the trial said that [`Search::ask`] asked for.
    ///
    /// # Panics
    ///
    /// If it asked for none.
    pub fn answer(&mut self, found: Found) {
        let trial = self.trial.as_mut().expect("an answer follows a question");
        trial.count(found);
        let votes = if self.phase == Phase::Narrow { 1 } else { self.goal.votes };
        let Some(is_good) = trial.verdict(votes) else { return };
        *(if is_good { &mut self.good } else { &mut self.bad }) = Some(*trial);
        self.trial = self.next_rate().map(Bound::at);
        if self.trial.is_none() && self.phase == Phase::Narrow {
            self.confirm();
        }
    }

    /// The highest rate that was confirmed to be good.
    #[must_use]
    pub fn good(&self) -> Option<Bound> {
        self.good.filter(|_| self.phase == Phase::Confirm)
    }

    /// The lowest rate that was confirmed to be too high.
    #[must_use]
    pub fn bad(&self) -> Option<Bound> {
        self.bad.filter(|_| self.phase == Phase::Confirm)
    }

    fn confirm(&mut self) {
        let rate = |bound: Option<Bound>| bound.map(|bound| bound.rate_per_s);
        self.narrowed = (rate(self.good.take()), rate(self.bad.take()));
        self.phase = Phase::Confirm;
        self.stride = 1.0 + self.goal.width;
        // Where even the lowest rate was bad, it is the one to confirm.
        self.trial = Some(Bound::at(self.narrowed.0.unwrap_or(self.goal.from_per_s)));
    }

    fn next_rate(&mut self) -> Option<u64> {
        let Goal { from_per_s, to_per_s, width, .. } = self.goal;
        match (self.good, self.bad) {
            (Some(good), Some(bad)) => between(good.rate_per_s, bad.rate_per_s, width),
            (Some(good), None) if good.rate_per_s == to_per_s => None,
            (Some(good), None) => Some(self.above(good.rate_per_s).min(to_per_s)),
            (None, Some(bad)) if bad.rate_per_s == from_per_s => None,
            (None, Some(bad)) => Some(self.below(bad.rate_per_s).max(from_per_s)),
            (None, None) => unreachable!("one of them was just found"),
        }
    }

    fn above(&mut self, good: u64) -> u64 {
        if let Some(narrowed) = self.narrowed.1.take_if(|narrowed| *narrowed > good) {
            return narrowed;
        }
        let stride = self.next_stride();
        scaled(good, stride).max(good + 1)
    }

    fn below(&mut self, bad: u64) -> u64 {
        let stride = self.next_stride();
        scaled(bad, 1.0 / stride).min(bad - 1)
    }

    fn next_stride(&mut self) -> f64 {
        let stride = self.stride;
        if self.phase == Phase::Confirm {
            self.stride = (stride * stride).min(2.0);
        }
        stride
    }
}

/// The middle of two rates by ratio, or `None` where they are near enough.
fn between(good: u64, bad: u64, width: f64) -> Option<u64> {
    if bad - good <= 1 || bad <= scaled(good, 1.0 + width) {
        return None;
    }
    #[expect(clippy::cast_precision_loss)] // rates are below 2^53
    let middle = scaled(good, (bad as f64 / good as f64).sqrt());
    Some(middle.clamp(good + 1, bad - 1))
}

fn scaled(rate: u64, factor: f64) -> u64 {
    #[expect(clippy::cast_precision_loss)] // rates are below 2^53
    let exact = rate as f64 * factor;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive, below 2^53
    let nearest = exact.round() as u64;
    nearest
}

#[cfg(test)]
mod tests;

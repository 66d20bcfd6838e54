//! A history: what happens to what a seed has made, as operations and as text.
//!
//! ```text
//! m2-sim 1
//! seed 1234
//! caps 50 4
//! send 3 1 7 88
//! wait 12 0 0 0
//! ```
//!
//! An operation is a kind and four numbers. The numbers name things modulo what there is, and what an
//! operation cannot do (cut a link that is down) it leaves: so any sub-list of a history is a
//! history, and shrinking one needs to know nothing of what operations mean.

use core::fmt;
use core::str::FromStr;

use fastrand::Rng;

/// What the operations of one simulation do.
pub trait Kinds: Copy + Eq + 'static {
    /// Kind, word in a history, how often among all.
    const ALL: &'static [(Self, &'static str, u64)];
}

/// The kinds of a simulation, each with its word and how often it comes.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $word:literal $weight:literal;)*) => {
        /// What an operation does.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Kind { $($(#[$doc])* $kind),* }

        impl crate::history::Kinds for Kind {
            const ALL: &'static [(Self, &'static str, u64)] =
                &[$((Self::$kind, $word, $weight)),*];
        }
    };
}

pub(crate) use kinds;

/// One operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Operation<K> {
    /// What it does.
    pub kind: K,
    /// With what; the kind says what they mean.
    pub numbers: [u64; 4],
}

/// So many operations, each kind as often as it says.
pub(crate) fn operations<K: Kinds>(dice: &mut Rng, count: usize) -> Vec<Operation<K>> {
    let total: u64 = K::ALL.iter().map(|(.., weight)| weight).sum();
    let operation = |_| {
        let mut at = dice.u64(..total);
        let (kind, ..) = K::ALL
            .iter()
            .find(|(.., weight)| {
                let found = at < *weight;
                at = at.saturating_sub(*weight);
                found
            })
            .expect("a number below the sum of the weights");
        Operation { kind: *kind, numbers: [(); 4].map(|()| dice.u64(..1_000_000)) }
    };
    (0..count).map(operation).collect()
}

impl<K: Kinds> fmt::Display for Operation<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, word, _) =
            K::ALL.iter().find(|(kind, ..)| *kind == self.kind).expect("all are there");
        let [a, b, c, d] = self.numbers;
        write!(f, "{word} {a} {b} {c} {d}")
    }
}

impl<K: Kinds> FromStr for Operation<K> {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        let known = K::ALL.iter().find(|(_, known, _)| *known == word);
        let (kind, ..) = known.ok_or_else(|| format!("no operation is called {word:?}"))?;
        let mut numbers = [0; 4];
        for number in &mut numbers {
            let word = words.next().ok_or("an operation has four numbers")?;
            *number = word.parse().map_err(|_| format!("{word:?} is no number"))?;
        }
        match words.next() {
            None => Ok(Self { kind: *kind, numbers }),
            Some(word) => Err(format!("{word:?} stands behind the four numbers")),
        }
    }
}

/// All of a history.
#[derive(Clone, Debug)]
pub(crate) struct History<K> {
    pub(crate) seed: u64,
    /// How much of what the seed makes is there.
    pub(crate) caps: [u64; 2],
    pub(crate) ops: Vec<Operation<K>>,
}

impl<K: Kinds> History<K> {
    /// Writes it under the first line that its simulation has.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, head: &str) -> fmt::Result {
        let Self { seed, caps: [first, second], ops } = self;
        writeln!(f, "{head}\nseed {seed}\ncaps {first} {second}")?;
        ops.iter().try_for_each(|op| writeln!(f, "{op}"))
    }

    /// Reads one that begins with the first line of this simulation.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a sentence.
    pub(crate) fn read(text: &str, head: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        if lines.next() != Some(head) {
            return Err(format!("a history begins with the line {head:?}"));
        }
        let mut numbers = |name: &str, count: usize| {
            let words = lines.next().and_then(|line| line.strip_prefix(name));
            let numbers: Option<Vec<u64>> = words
                .and_then(|words| words.split_whitespace().map(|it| it.parse().ok()).collect());
            let numbers = numbers.filter(|numbers| numbers.len() == count);
            numbers.ok_or_else(|| format!("a line {name:?} with its numbers is missing"))
        };
        let seed = numbers("seed", 1)?[0];
        let caps = numbers("caps", 2)?;
        let ops = lines.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { seed, caps: [caps[0], caps[1]], ops })
    }
}

/// A cap of a history as the type that it has.
pub(crate) fn cap<T: TryFrom<u64>>(number: u64) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("{number} is too many"))
}

#[cfg(test)]
mod tests {
    use crate::op::{Op, ops_of};

    #[test]
    fn a_history_survives_being_written_and_read() {
        for op in ops_of(7) {
            assert_eq!(op.to_string().parse(), Ok(op));
        }
        assert!("dance 1 2 3 4".parse::<Op>().is_err());
        assert!("send 1 2 3".parse::<Op>().is_err());
        assert!("send 1 2 3 4 5".parse::<Op>().is_err());
        assert!("send 1 2 3 x".parse::<Op>().is_err());
    }
}

//! What happens to a network from outside: a list of operations, made from the seed, kept as text.
//!
//! An operation is a kind and four numbers. The numbers name things modulo what there is, and what an
//! operation cannot do (cut a link that is down) it leaves: so any sub-list of a history is a
//! history, and shrinking one needs to know nothing of what operations mean.

use core::fmt;
use core::str::FromStr;

use crate::dice::dice;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $word:literal $weight:literal;)*) => {
        /// What an operation does.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Kind { $($(#[$doc])* $kind),* }

        /// Kind, word in a history, how often among all.
        const KINDS: &[(Kind, &str, u64)] = &[$((Kind::$kind, $word, $weight)),*];
    };
}

kinds! {
    /// Lets time pass: microseconds.
    Wait "wait" 110;
    /// An endpoint sends PREPAREs: sender, receiver, how many, salt.
    Send "send" 110;
    /// An endpoint asks a switch for what it answers itself: endpoint, kind, how many.
    Own "own" 4;
    /// An endpoint sends what is no PREPARE, or no frame: endpoint, salt.
    Garbage "garbage" 4;
    /// An endpoint sends an earlier PREPARE again, under its id: endpoint, which.
    Repeat "repeat" 4;
    /// A connection is lost: link, at which byte of what is under way.
    Cut "cut" 4;
    /// A second connection replaces the first: link.
    Replace "replace" 3;
    /// An endpoint does not read: endpoint, milliseconds.
    Deaf "deaf" 2;
    /// A shard does nothing: switch, shard, milliseconds.
    Stall "stall" 3;
    /// A wall clock steps: switch, how far.
    Step "step" 3;
    /// A peer pays: link, to which end, amount.
    Credit "credit" 6;
    /// A payment proves void: link, at which end, amount.
    Reverse "reverse" 2;
    /// A switch sets aside what it owes: link, end, threshold.
    Freeze "freeze" 8;
    /// What was set aside is paid: switch, which.
    Settle "settle" 6;
    /// What was set aside cannot be paid: switch, which.
    Cancel "cancel" 2;
    /// Limits of an account change: link, end, both limits.
    Limits "limits" 3;
    /// New rates, which the shards of the switch get one after the other: switch, salt.
    Rates "rates" 4;
    /// New routes, likewise: switch, salt.
    Routes "routes" 2;
    /// A switch takes no new PREPAREs for a while: switch, milliseconds.
    Drain "drain" 1;
    /// Records are taken out: switch.
    Records "records" 6;
    /// A journal stands still, and refuses or does not, or fails: switch, which, milliseconds.
    Journal "journal" 4;
}

/// One operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Op {
    /// What it does.
    pub kind: Kind,
    /// With what; see [`Kind`].
    pub numbers: [u64; 4],
}

/// The operations of a seed.
#[must_use]
pub fn ops_of(seed: u64) -> Vec<Op> {
    let mut dice = dice(&[seed, 0x0b5]);
    let count = dice.usize(240..420);
    let total: u64 = KINDS.iter().map(|(.., weight)| weight).sum();
    let op = |_| {
        let mut at = dice.u64(..total);
        let (kind, ..) = KINDS
            .iter()
            .find(|(.., weight)| {
                let found = at < *weight;
                at = at.saturating_sub(*weight);
                found
            })
            .expect("a number below the sum of the weights");
        Op { kind: *kind, numbers: [(); 4].map(|()| dice.u64(..1_000_000)) }
    };
    (0..count).map(op).collect()
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, word, _) =
            KINDS.iter().find(|(kind, ..)| *kind == self.kind).expect("all are there");
        let [a, b, c, d] = self.numbers;
        write!(f, "{word} {a} {b} {c} {d}")
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        let known = KINDS.iter().find(|(_, known, _)| *known == word);
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

#[cfg(test)]
mod tests {
    use super::*;

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

//! From a history that fails to a short one that fails the same way.
//!
//! Delta debugging: leave out ever smaller runs of operations, and keep what still fails. First the
//! network is made smaller, while it fails; that makes every later try faster.

use crate::case::Case;
use crate::plan::Caps;

/// Most runs that shrinking may take.
const TRIES_MAX: usize = 3_000;

/// The shortest case found for which `fails` is still true.
pub fn shrink(case: &Case, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut best = case.clone();
    let sizes = [(2, 1), (3, 1), (2, 4), (3, 4), (4, 4), (6, 4), (50, 1), (50, 2)];
    for (switches, shards) in sizes {
        let smaller = Case { caps: Caps { switches, shards }, ..best.clone() };
        if fails(&smaller) {
            best = smaller;
            break;
        }
    }
    let ops = shorten(&best.ops, |ops| fails(&Case { ops: ops.to_vec(), ..best.clone() }));
    Case { ops, ..best }
}

/// The shortest sub-list found for which `fails` is still true.
pub(crate) fn shorten<T: Clone>(all: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut best = all.to_vec();
    let mut tries = 0;
    let mut keeps = |candidate: &[T]| {
        tries += 1;
        tries <= TRIES_MAX && fails(candidate)
    };
    let mut run = best.len().div_ceil(2);
    while run > 0 {
        let mut start = 0;
        let before = best.len();
        while start < best.len() {
            let end = (start + run).min(best.len());
            let mut shorter = best.clone();
            shorter.drain(start..end);
            if keeps(&shorter) {
                best = shorter;
            } else {
                start = end;
            }
        }
        // Leaving out the last ones may have made earlier ones needless.
        if run == 1 && best.len() == before {
            break;
        }
        run = if run == 1 { 1 } else { run.div_ceil(2) };
    }
    best
}

//! Small changes of inputs, the same for the same seed.
//!
//! libFuzzer's mutations in short, without its feedback: what it is for is that every target runs on
//! a stable toolchain, over inputs that are nearly right.

use fastrand::Rng;

/// Longest input that a mutation makes.
const LEN_MAX: usize = 48 * 1024;

/// Values on which comparisons turn.
const EDGES: [u8; 12] = [0, 1, 0x1f, 0x20, 0x2e, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x82, 0xff];

/// One of `seeds`, changed in one to four places.
///
/// # Panics
///
/// If there is no seed.
pub fn mutated(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.choice(seeds).expect("there is a seed").clone();
    for _ in 0..rng.u8(1..=4) {
        change(rng, &mut input, seeds);
    }
    input.truncate(LEN_MAX);
    input
}

fn change(rng: &mut Rng, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let kind = if input.is_empty() { 5 } else { rng.u8(0..9) };
    // Prefixes and types stand at the front, so half of all changes do as well.
    let end = if rng.bool() { input.len().min(24) } else { input.len() };
    let at = if input.is_empty() { 0 } else { rng.usize(..end) };
    let here = input.get(at).copied().unwrap_or_default();
    match kind {
        0 => input[at] = here ^ 1 << rng.u8(..8),
        1 => input[at] = rng.u8(..),
        2 => input[at] = EDGES[rng.usize(..EDGES.len())],
        3 => input[at] = here.wrapping_add(rng.u8(1..4)),
        4 => input[at] = here.wrapping_sub(rng.u8(1..4)),
        5 => {
            let count = rng.usize(1..9);
            let bytes: Vec<u8> = (0..count).map(|_| rng.u8(..)).collect();
            input.splice(at..at, bytes);
        }
        6 => drop(input.drain(at..(at + rng.usize(1..9)).min(input.len()))),
        7 => input.truncate(at),
        _ => {
            // The rest of another seed, or the same run of it again.
            let other = rng.choice(seeds).expect("there is a seed");
            let from = rng.usize(..=other.len());
            let to = rng.usize(from..=other.len());
            let behind = (at + rng.usize(..=to - from)).min(input.len());
            input.splice(at..behind, other[from..to].iter().copied());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_changes_and_another_others() {
        let seeds = [b"some bytes".to_vec(), Vec::new(), vec![7; 50_000]];
        let row = |seed| -> Vec<Vec<u8>> {
            let mut rng = Rng::with_seed(seed);
            (0..200).map(|_| mutated(&mut rng, &seeds)).collect()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        assert!(row(1).iter().all(|input| input.len() <= LEN_MAX));
    }
}

//! Chance, all of it from the seed: a generator for each thing that is chosen, so that leaving out
//! one operation changes no other.

use fastrand::Rng;

/// A generator that depends on all of `parts` and on nothing else.
pub(crate) fn dice(parts: &[u64]) -> Rng {
    Rng::with_seed(parts.iter().fold(0x5eed, |all, part| mix(all, *part)))
}

/// Two numbers to one, every bit of which depends on all of theirs (splitmix64).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = (a ^ b.rotate_left(32)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Of so many in a thousand.
pub(crate) fn often(dice: &mut Rng, per_mille: u32) -> bool {
    dice.u32(..1000) < per_mille
}

/// One of these.
pub(crate) fn one_of<T: Copy>(dice: &mut Rng, of: &[T]) -> T {
    of[dice.usize(..of.len())]
}

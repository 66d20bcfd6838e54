//! Every path that this machine has against the general hasher of `sha2`, which shares nothing with
//! them but the standard. A path that it does not have is told on stderr, past what the harness hides.

use std::io::Write as _;

use m2_accel::hash_lock::OPENS_MAX;
use m2_accel::{HashLocks, Path};
use sha2::{Digest, Sha256};

/// The paths that are there.
fn paths() -> Vec<HashLocks> {
    Path::ALL.into_iter().filter_map(HashLocks::with).collect()
}

fn sha256(message: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// Fulfillments and conditions, each condition that of its fulfillment.
fn locks(random: &mut fastrand::Rng, count: usize) -> (Vec<[u8; 32]>, Vec<[u8; 32]>) {
    let mut message = || core::array::from_fn(|_| random.u8(..));
    let fulfillments: Vec<_> = (0..count).map(|_| message()).collect();
    let conditions = fulfillments.iter().map(sha256).collect();
    (fulfillments, conditions)
}

fn opens(locks: &HashLocks, fulfillments: &[[u8; 32]], conditions: &[[u8; 32]]) -> u64 {
    let fulfillments: Vec<_> = fulfillments.iter().collect();
    let conditions: Vec<_> = conditions.iter().collect();
    locks.opens(&fulfillments, &conditions)
}

/// The lowest bits.
fn ones(count: usize) -> u64 {
    (0..count).fold(0, |ones, index| ones | 1 << index)
}

#[test]
fn the_paths_that_are_not_here_are_told() {
    for path in Path::ALL {
        if HashLocks::with(path).is_none() {
            let line = format!("SKIPPED: hash locks by {path}: this machine has not got it\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
    }
    assert!(HashLocks::with(Path::Portable).is_some());
    assert_eq!(Some(HashLocks::detect().path()), paths().last().map(HashLocks::path));
}

/// Digests that nobody here computed: of 32 zero bytes, of 0, 1, 2 .. 31, and of 32 bytes 0xff.
#[test]
fn known_digests() {
    let counted: [u8; 32] = core::array::from_fn(|index| u8::try_from(index).unwrap());
    let known = [
        ([0; 32], "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"),
        (counted, "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"),
        ([0xff; 32], "af9613760f72635fbdb44a5a0a63c39f12af30f950a6ee5c971be188e89c4051"),
    ];
    for locks in paths() {
        for (message, digest) in &known {
            let hex: String =
                locks.sha256(message).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, *digest, "{}", locks.path());
        }
    }
}

#[test]
fn random_digests_are_those_of_the_general_hasher() {
    let mut random = fastrand::Rng::with_seed(1);
    let (messages, digests) = locks(&mut random, 2_000);
    for locks in paths() {
        for (message, digest) in messages.iter().zip(&digests) {
            assert_eq!(locks.sha256(message), *digest, "{}", locks.path());
        }
    }
}

/// Goal: the bits are right at every count, whatever is left over after whole vectors. Method: random
/// subsets of conditions are spoiled, at every count there is.
#[test]
fn every_count_gives_exactly_the_bits_that_open() {
    let mut random = fastrand::Rng::with_seed(2);
    for path in paths() {
        for count in 0..=OPENS_MAX {
            for _ in 0..20 {
                let (fulfillments, mut conditions) = locks(&mut random, count);
                let expected = random.u64(..) & random.u64(..) & ones(count);
                assert_eq!(opens(&path, &fulfillments, &conditions), ones(count));
                for (index, condition) in conditions.iter_mut().enumerate() {
                    condition[random.usize(..32)] ^= u8::from(expected & 1 << index == 0);
                }
                let open = opens(&path, &fulfillments, &conditions);
                assert_eq!(open, expected, "{} of {count}", path.path());
            }
        }
    }
}

/// Goal: all 32 bytes of a condition count, and a lane speaks for itself alone. Method: every bit of
/// every condition flipped by itself, in vectors of every shape that a path tells apart.
#[test]
fn every_single_bit_of_every_condition_counts() {
    let mut random = fastrand::Rng::with_seed(3);
    for path in paths() {
        for count in [1, 2, 3, 15, 16, 17, 31, 64] {
            let (fulfillments, mut conditions) = locks(&mut random, count);
            for lane in 0..count {
                for bit in 0..256 {
                    conditions[lane][bit / 8] ^= 1 << (bit % 8);
                    let open = opens(&path, &fulfillments, &conditions);
                    let others = ones(count) & !(1 << lane);
                    assert_eq!(open, others, "{} lane {lane} bit {bit}", path.path());
                    conditions[lane][bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }
}

/// Goal: no bit of a fulfillment is left out. Method: as above, once for each.
#[test]
fn every_single_bit_of_every_fulfillment_counts() {
    let mut random = fastrand::Rng::with_seed(4);
    for path in paths() {
        let (mut fulfillments, conditions) = locks(&mut random, 19);
        for lane in 0..fulfillments.len() {
            for bit in 0..256 {
                fulfillments[lane][bit / 8] ^= 1 << (bit % 8);
                let open = opens(&path, &fulfillments, &conditions);
                assert_eq!(open, ones(19) & !(1 << lane), "{} bit {bit}", path.path());
                fulfillments[lane][bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

/// As they lie in packets: at any address, and one of them may stand at the very end of a buffer.
#[test]
fn references_need_no_alignment() {
    let mut random = fastrand::Rng::with_seed(5);
    for path in paths() {
        for shift in 0..64 {
            let (fulfillments, conditions) = locks(&mut random, 32);
            let shifted = |all: &[[u8; 32]]| [&vec![0xa5; shift][..], &all.concat()].concat();
            let (left, right) = (shifted(&fulfillments), shifted(&conditions));
            let left: Vec<_> = left[shift..].as_chunks::<32>().0.iter().collect();
            let right: Vec<_> = right[shift..].as_chunks::<32>().0.iter().collect();
            assert_eq!(path.opens(&left, &right), ones(32), "{} at {shift}", path.path());
        }
    }
}

/// A condition of another place of the vector opens nothing: lanes are not mixed up.
#[test]
fn a_condition_at_another_place_opens_nothing() {
    let mut random = fastrand::Rng::with_seed(6);
    for path in paths() {
        let (fulfillments, mut conditions) = locks(&mut random, 64);
        for _ in 1..64 {
            conditions.rotate_left(1);
            assert_eq!(opens(&path, &fulfillments, &conditions), 0, "{}", path.path());
        }
    }
}

#[test]
#[should_panic = "a fulfillment without its condition"]
fn a_fulfillment_needs_a_condition() {
    let _ = HashLocks::detect().opens(&[&[0; 32]], &[]);
}

#[test]
#[should_panic = "OPENS_MAX"]
fn more_than_there_are_bits_are_refused() {
    let many = [&[0; 32]; OPENS_MAX + 1];
    let _ = HashLocks::detect().opens(&many, &many);
}

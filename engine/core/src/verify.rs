//! The hash lock: SHA-256 of a fulfillment of 32 bytes.
//!
//! One block, always the same padding, so the compression function is called once on a block that
//! is built here; the general hasher's buffering costs as much again.

use sha2::digest::generic_array::GenericArray;

const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// SHA-256 of 32 bytes (FIPS 180-4).
#[must_use]
pub fn sha256_of_32(message: &[u8; 32]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(message);
    block[32] = 0x80;
    // The message's length in bits, big endian, ends the block.
    block[62..].copy_from_slice(&256_u16.to_be_bytes());

    let mut state = INITIAL_STATE;
    sha2::compress256(&mut state, &[GenericArray::from(block)]);

    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_zero_preimage_gives_the_peer_protocol_condition() {
        assert_eq!(sha256_of_32(&[0; 32]), m2_codec::ildcp::PEER_CONDITION);
    }

    proptest! {
        #[test]
        fn one_block_by_hand_equals_the_general_hasher(message in any::<[u8; 32]>()) {
            let general: [u8; 32] = Sha256::digest(message).into();
            prop_assert_eq!(sha256_of_32(&message), general);
        }
    }
}

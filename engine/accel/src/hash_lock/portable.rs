//! The path that every machine has, and the safe twin of the others: one block after the other, by
//! the crate `sha2`.

use sha2::digest::generic_array::GenericArray;

use super::sha256::{END_BIT, INITIAL_STATE, LEN_BITS};

/// SHA-256 of 32 bytes. The block is built here; the general hasher's buffering costs as much again.
pub(super) fn sha256(message: &[u8; 32]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(message);
    block[32..36].copy_from_slice(&END_BIT.to_be_bytes());
    block[60..].copy_from_slice(&LEN_BITS.to_be_bytes());

    let mut state = INITIAL_STATE;
    sha2::compress256(&mut state, &[GenericArray::from(block)]);

    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// Bit `i`: fulfillment `i` opens condition `i`.
pub(super) fn opens(fulfillments: &[&[u8; 32]], conditions: &[&[u8; 32]]) -> u64 {
    let mut open = 0;
    for (index, (fulfillment, condition)) in fulfillments.iter().zip(conditions).enumerate() {
        open |= u64::from(sha256(fulfillment) == **condition) << index;
    }
    open
}

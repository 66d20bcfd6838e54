//! BLAKE3 with a chain: the hash of a piece covers the hash of the piece before.
//!
//! Each hashed layout begins with the 32 bytes of its hash. While it is hashed, that field holds the
//! hash of what stands before in the chain, or zeros where nothing does; so one pass over bytes that
//! lie together covers both, and no byte of the layout is left out.

use core::fmt;

use crate::limits::HASH_LEN;

/// A BLAKE3 hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hash(pub [u8; HASH_LEN]);

impl Hash {
    /// What stands before the first link of a chain.
    pub const NONE: Self = Self([0; HASH_LEN]);
}

/// Two hexadecimal digits for each byte.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Hashes `bytes` with `previous` in their first 32, and leaves the hash there.
///
/// # Panics
///
/// If there are fewer than 32 bytes.
pub fn seal(bytes: &mut [u8], previous: &Hash) -> Hash {
    bytes[..HASH_LEN].copy_from_slice(&previous.0);
    let hash = Hash(*blake3::hash(bytes).as_bytes());
    bytes[..HASH_LEN].copy_from_slice(&hash.0);
    hash
}

/// The hash in the first 32 bytes, if it is the hash of `bytes` after `previous`. The bytes are as
/// before afterwards.
///
/// # Panics
///
/// If there are fewer than 32 bytes.
pub fn check(bytes: &mut [u8], previous: &Hash) -> Option<Hash> {
    let (field, _) = bytes.split_first_chunk_mut().expect("layouts begin with their hash");
    let named = Hash(*field);
    *field = previous.0;
    let is_right = *blake3::hash(bytes).as_bytes() == named.0;
    bytes[..HASH_LEN].copy_from_slice(&named.0);
    is_right.then_some(named)
}

//! What a client's frames are masked by: four bytes over the payload, again and again.
//!
//! ```text
//!  payload:  | 32 bytes | 32 bytes | 32 bytes |  rest  |
//!                            | the last 32: read first, written last |
//! ```
//!
//! 32 bytes at a time are some vector instructions on every machine. The last 32 overlap what is
//! before them, so there is no rest to go through byte by byte; masked twice they would be plain
//! again, so they are read before all others and written after them.

/// A mask, ready for words: byte `i` of what it is applied to meets byte `i % 4` of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Mask(u32);

/// Bytes masked at a time.
const BLOCK: usize = 32;

impl Mask {
    /// Changes nothing.
    pub(crate) const NONE: Self = Self(0);

    #[inline(always)]
    pub(crate) const fn new(mask: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(mask))
    }

    /// The mask of what begins at `offset` of the payload.
    #[inline(always)]
    pub(crate) const fn turned(self, offset: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "below 4")]
        let bytes = (offset % 4) as u32;
        Self(self.0.rotate_right(8 * bytes))
    }

    /// What the eight bytes at `offset` of the payload meet, the first of them lowest.
    #[inline(always)]
    pub(crate) const fn word_at(self, offset: usize) -> u64 {
        let turned = self.turned(offset).0 as u64;
        turned << 32 | turned
    }
}

impl Mask {
    /// See [`apply_mask`].
    #[inline]
    pub(crate) fn apply(self, bytes: &mut [u8]) {
        let Some(last) = bytes.last_chunk() else { return apply_to_few(bytes, self) };
        let last = xor(last, self.word_at(bytes.len() - BLOCK));
        let word = self.word_at(0);
        for block in bytes.as_chunks_mut().0 {
            *block = xor(block, word);
        }
        *bytes.last_chunk_mut().expect("there was one") = last;
    }
}

/// A block, each of its words under `word`.
#[inline(always)]
fn xor(block: &[u8; BLOCK], word: u64) -> [u8; BLOCK] {
    let mut out = *block;
    for bytes in out.as_chunks_mut::<8>().0 {
        *bytes = (u64::from_le_bytes(*bytes) ^ word).to_le_bytes();
    }
    out
}

/// Applies `mask` to `bytes`, from the first byte of a payload on; twice is not at all.
#[inline]
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    Mask::new(mask).apply(bytes);
}

/// Copies `bytes` to `out` and applies `mask` on the way.
///
/// # Panics
///
/// If `out` is not as long as `bytes`.
#[inline(always)]
pub(crate) fn copy_masked(out: &mut [u8], bytes: &[u8], mask: Mask) {
    assert!(out.len() == bytes.len(), "a copy has a place for each byte");
    if mask == Mask::NONE {
        return out.copy_from_slice(bytes);
    }
    let Some(last) = bytes.last_chunk() else {
        out.copy_from_slice(bytes);
        return apply_to_few(out, mask);
    };
    let word = mask.word_at(0);
    for (out, block) in out.as_chunks_mut().0.iter_mut().zip(bytes.as_chunks().0) {
        *out = xor(block, word);
    }
    let last = xor(last, mask.word_at(bytes.len() - BLOCK));
    *out.last_chunk_mut().expect("it is as long as `bytes`") = last;
}

fn apply_to_few(bytes: &mut [u8], mask: Mask) {
    for (byte, mask) in bytes.iter_mut().zip(mask.0.to_le_bytes().into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_meets_its_own_of_the_mask_in_place_and_on_the_way_and_none_beside_them() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        for len in (0..5 * BLOCK + 2).chain([1000, 4096]) {
            let plain: Vec<u8> = (0..=250).cycle().take(len).collect();
            for offset in 0..4 {
                let masked = |index: usize| plain[index] ^ mask[(index + offset) % 4];
                let expected: Vec<u8> = (0..len).map(masked).collect();
                let mut place = [&[0xa5], &plain[..], &[0xa5]].concat();
                Mask::new(mask).turned(offset).apply(&mut place[1..=len]);
                assert_eq!(place, [&[0xa5], &expected[..], &[0xa5]].concat(), "{len} {offset}");
                let mut out = vec![0xa5; len];
                copy_masked(&mut out, &plain, Mask::new(mask).turned(offset));
                assert_eq!(out, expected, "{len} {offset}");
            }
        }
    }
}

//! SHA-256 by the instructions made for it (SHA-NI), two messages side by side.
//!
//! The state stands in two registers, as the instructions want it: words A B E F and C D G H. One
//! instruction does two rounds, and the next needs its result, so one message alone waits most of the
//! time: two go through in hardly more time than one, and more than two run out of registers.
//!
//! ```text
//!   w0 w1 w2 w3   the block's words in fours; each group of four rounds takes w0 and makes the
//!                 words 16 further on, which go in at the right: w1 w2 w3 w4
//! ```

#![allow(unsafe_code)] // instructions that not every machine has: see `Pairs`, and the loads

use core::arch::x86_64::*;

use super::sha256::{END_BIT, INITIAL_STATE, K, LEN_BITS};

/// That the machine has the instructions.
///
/// Invariant: made by [`Self::detect`] alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs(());

impl Pairs {
    /// Asks the machine.
    pub(super) fn detect() -> Option<Self> {
        let is_there = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3");
        is_there.then_some(Self(()))
    }

    /// SHA-256 of one message.
    pub(super) fn sha256(self, message: &[u8; 32]) -> [u8; 32] {
        let [digest] = self.digests([message]);
        digest
    }

    /// Bit `i`: fulfillment `i` opens condition `i`.
    pub(super) fn opens(self, fulfillments: &[&[u8; 32]], conditions: &[&[u8; 32]]) -> u64 {
        let (pairs, last) = fulfillments.as_chunks::<2>();
        let mut open = 0;
        for (index, pair) in pairs.iter().enumerate() {
            let [left, right] = self.digests(*pair);
            open |= u64::from(left == *conditions[2 * index]) << (2 * index);
            open |= u64::from(right == *conditions[2 * index + 1]) << (2 * index + 1);
        }
        if let [last] = last {
            let index = fulfillments.len() - 1;
            open |= u64::from(self.sha256(last) == *conditions[index]) << index;
        }
        open
    }

    fn digests<const N: usize>(self, messages: [&[u8; 32]; N]) -> [[u8; 32]; N] {
        // SAFETY: `digests` asks for the three features that `detect` saw before it made this value.
        unsafe { digests(messages) }
    }
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
fn digests<const N: usize>(messages: [&[u8; 32]; N]) -> [[u8; 32]; N] {
    let mut blocks = messages.map(|message| Block::new(message));
    for k in K.as_chunks::<4>().0 {
        let k = words(*k);
        for block in &mut blocks {
            block.four_rounds(k);
        }
    }
    blocks.map(|block| block.digest())
}

/// A message on its way through the rounds.
struct Block {
    abef: __m128i,
    cdgh: __m128i,
    /// The next 16 words.
    w: [__m128i; 4],
}

impl Block {
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn new(message: &[u8; 32]) -> Self {
        let [low, high] = halves(message);
        Self {
            abef: abef(),
            cdgh: cdgh(),
            w: [
                _mm_shuffle_epi8(low, big_endian()),
                _mm_shuffle_epi8(high, big_endian()),
                words([END_BIT, 0, 0, 0]),
                words([0, 0, 0, LEN_BITS]),
            ],
        }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn four_rounds(&mut self, k: __m128i) {
        let [w0, w1, w2, w3] = self.w;
        let wk = _mm_add_epi32(w0, k);
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, wk);
        // The upper two words go into the second two rounds.
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32::<0x0e>(wk));
        // w[t] = w[t-16] + s0(w[t-15]) + w[t-7] + s1(w[t-2])
        let t = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
        self.w = [w1, w2, w3, _mm_sha256msg2_epu32(t, w3)];
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn digest(self) -> [u8; 32] {
        let feba = _mm_shuffle_epi32::<0x1b>(_mm_add_epi32(self.abef, abef()));
        let dchg = _mm_shuffle_epi32::<0xb1>(_mm_add_epi32(self.cdgh, cdgh()));
        let low = _mm_blend_epi16::<0xf0>(feba, dchg);
        let high = _mm_alignr_epi8::<8>(dchg, feba);
        whole([_mm_shuffle_epi8(low, big_endian()), _mm_shuffle_epi8(high, big_endian())])
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn abef() -> __m128i {
    let [a, b, _, _, e, f, _, _] = INITIAL_STATE;
    words([f, e, b, a])
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn cdgh() -> __m128i {
    let [_, _, c, d, _, _, g, h] = INITIAL_STATE;
    words([h, g, d, c])
}

/// The order of bytes that turns each of four words around.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn big_endian() -> __m128i {
    words([0x0001_0203, 0x0405_0607, 0x0809_0a0b, 0x0c0d_0e0f])
}

/// Four words, the first one lowest.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn words([a, b, c, d]: [u32; 4]) -> __m128i {
    _mm_setr_epi32(a.cast_signed(), b.cast_signed(), c.cast_signed(), d.cast_signed())
}

/// The bytes as they lie.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn halves(bytes: &[u8; 32]) -> [__m128i; 2] {
    // SAFETY: both are 32 bytes for which any bits are a value; copied, so alignment is nothing to ask.
    unsafe { core::mem::transmute(*bytes) }
}

/// The bytes as they lie.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3")]
fn whole(halves: [__m128i; 2]) -> [u8; 32] {
    // SAFETY: both are 32 bytes for which any bits are a value.
    unsafe { core::mem::transmute(halves) }
}

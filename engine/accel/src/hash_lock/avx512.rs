//! SHA-256 of 16 messages at once: each register has the same word of all of them (AVX-512).
//!
//! ```text
//!             message 0    message 1   ...   message 15
//!   w[0]     | word 0     | word 0    |     | word 0     |   one register of 512 bits
//!   w[1]     | word 1     | word 1    |     | word 1     |
//!    ...
//! ```
//!
//! Messages come row by row and are transposed on the way in. Conditions are transposed as well and
//! compared with the digests as they stand: one comparison of 16 words gives 16 bits, eight of them
//! all 32 bytes of each condition.

#![allow(unsafe_code)] // instructions that not every machine has: see `Lanes`, and the loads

use core::arch::x86_64::*;
use core::array;

use super::sha256::{END_BIT, INITIAL_STATE, K, LEN_BITS};

/// Messages that go through together.
pub(super) const LANES: usize = 16;

/// That the machine has the instructions.
///
/// Invariant: made by [`Self::detect`] alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes(());

impl Lanes {
    /// Asks the machine.
    pub(super) fn detect() -> Option<Self> {
        let is_there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        is_there.then_some(Self(()))
    }

    /// Bit `i`: fulfillment `i` opens condition `i`. Fewer than 16 cost as much as 16: lanes without
    /// a message of their own repeat the first, and what they say is not looked at.
    ///
    /// # Panics
    ///
    /// Of none, of more than 16, and if there are not as many of both.
    pub(super) fn opens(self, fulfillments: &[&[u8; 32]], conditions: &[&[u8; 32]]) -> u64 {
        assert_eq!(fulfillments.len(), conditions.len());
        let all = u16::MAX >> (LANES - fulfillments.len());
        let (fulfillments, conditions) = (filled(fulfillments), filled(conditions));
        // SAFETY: `opens` asks for the four features that `detect` saw before it made this value.
        u64::from(all & unsafe { opens(&fulfillments, &conditions) })
    }
}

/// One for each lane.
#[inline]
fn filled<'a>(some: &[&'a [u8; 32]]) -> [&'a [u8; 32]; LANES] {
    some.try_into().unwrap_or_else(|_| array::from_fn(|lane| *some.get(lane).unwrap_or(&some[0])))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn opens(fulfillments: &[&[u8; 32]; LANES], conditions: &[&[u8; 32]; LANES]) -> u16 {
    let digests = digests(transposed(fulfillments));
    let conditions = transposed(conditions);
    let mut open = u16::MAX;
    for (digest, condition) in digests.into_iter().zip(conditions) {
        open &= _mm512_cmpeq_epi32_mask(digest, condition);
    }
    open
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn digests(messages: [__m512i; 8]) -> [__m512i; 8] {
    let mut w = padded(messages);
    let mut state = INITIAL_STATE.map(|word| every(word));
    for round in 0..16 {
        state = one_round(state, w[round], K[round]);
    }
    for k in K[16..].as_chunks::<16>().0 {
        for round in 0..16 {
            w[round] = next_word(&w, round);
            state = one_round(state, w[round], k[round]);
        }
    }
    array::from_fn(|index| _mm512_add_epi32(state[index], every(INITIAL_STATE[index])))
}

/// The block's 16 words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn padded([a, b, c, d, e, f, g, h]: [__m512i; 8]) -> [__m512i; 16] {
    let zero = every(0);
    [a, b, c, d, e, f, g, h, every(END_BIT), zero, zero, zero, zero, zero, zero, every(LEN_BITS)]
}

/// The word 16 rounds after the one at `round`, in whose place it goes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn next_word(w: &[__m512i; 16], round: usize) -> __m512i {
    let before = |rounds: usize| w[(round + 16 - rounds) % 16];
    let (w15, w2) = (before(15), before(2));
    let s0 =
        xor3(_mm512_ror_epi32::<7>(w15), _mm512_ror_epi32::<18>(w15), _mm512_srli_epi32::<3>(w15));
    let s1 =
        xor3(_mm512_ror_epi32::<17>(w2), _mm512_ror_epi32::<19>(w2), _mm512_srli_epi32::<10>(w2));
    _mm512_add_epi32(_mm512_add_epi32(w[round], s0), _mm512_add_epi32(before(7), s1))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn one_round(state: [__m512i; 8], w: __m512i, k: u32) -> [__m512i; 8] {
    /// Truth tables of three inputs: where the first is set the second, else the third; most of them.
    const CHOOSE: i32 = 0xca;
    const MAJORITY: i32 = 0xe8;
    let [a, b, c, d, e, f, g, h] = state;
    let s1 = xor3(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e));
    let choice = _mm512_ternarylogic_epi32::<CHOOSE>(e, f, g);
    let wk = _mm512_add_epi32(w, every(k));
    let t1 = _mm512_add_epi32(_mm512_add_epi32(h, wk), _mm512_add_epi32(s1, choice));
    let s0 = xor3(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a));
    let t2 = _mm512_add_epi32(s0, _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
    [_mm512_add_epi32(t1, t2), a, b, c, _mm512_add_epi32(d, t1), e, f, g]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// The same word in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn every(word: u32) -> __m512i {
    _mm512_set1_epi32(word.cast_signed())
}

/// From 16 times 32 bytes to eight words of 16 lanes, which read the bytes as big endian.
///
/// ```text
///   row i        words 0..4 of i   words 4..8 of i | words 0..4 of i + 8   words 4..8 of i + 8
///   in fours     word w of 0..4    word w + 4      | word w of 8..12       word w + 4
///   word w       of 0..4           of 4..8         | of 8..12              of 12..16
/// ```
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn transposed(rows: &[&[u8; 32]; LANES]) -> [__m512i; 8] {
    let row: [__m512i; 8] = array::from_fn(|index| big_endian(rows[index], rows[index + 8]));
    let first = in_fours([row[0], row[1], row[2], row[3]]);
    let second = in_fours([row[4], row[5], row[6], row[7]]);
    let lower = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let upper = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    array::from_fn(|word| {
        let order = if word < 4 { lower } else { upper };
        _mm512_permutex2var_epi64(first[word % 4], order, second[word % 4])
    })
}

/// Four rows to four words, each within its quarter of the register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn in_fours([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab_low, cd_low),
        _mm512_unpackhi_epi64(ab_low, cd_low),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Two rows in one register, the bytes of each word turned around.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn big_endian(low: &[u8; 32], high: &[u8; 32]) -> __m512i {
    let order = _mm_setr_epi8(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
    let rows = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(row(low)), row(high));
    _mm512_shuffle_epi8(rows, _mm512_broadcast_i32x4(order))
}

/// The bytes as they lie.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn row(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 bytes are read, which the reference has; this load asks for no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

//! Fulfillments, and the conditions that they satisfy.
//!
//! ```text
//!  stream   fulfillment = HMAC-SHA256(key of the seed, the packet's data), as STREAM does it
//!  fixed    one fulfillment of the seed for all packets; the filling is compared instead
//! ```
//!
//! Invariant: whatever the way, a receiver accepts no packet in which a byte of the filling or of
//! the condition was changed; of the header, see [`Fulfiller::check`].
//!
//! HMAC and the hash of 32 bytes are put together here from the compression function of SHA-256:
//! blocks are padded where they lie and the key is absorbed once, which a general hasher cannot do.
//! `tests` below holds both against the libraries' own.

use clap::ValueEnum;
use serde::Deserialize;
use sha2::digest::generic_array::GenericArray;
use sha2::{Digest, Sha256};

use super::{Filling, Header};

/// How a packet's fulfillment follows from it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Fulfillment {
    /// HMAC-SHA256 of its data: no two packets share one, and no byte of the data can change.
    #[default]
    Stream,
    /// The same for every packet of a seed: no hashing at either end.
    Fixed,
}

impl Fulfillment {
    /// The name that workload files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Fixed => "fixed",
        }
    }
}

/// A fulfillment and the condition that it satisfies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Proof {
    /// 32 bytes that release the money.
    pub fulfillment: [u8; 32],
    /// Their SHA-256.
    pub condition: [u8; 32],
}

impl Proof {
    fn of(fulfillment: [u8; 32]) -> Self {
        Self { fulfillment, condition: condition(&fulfillment) }
    }
}

/// Makes fulfillments from data: the same at both ends of a workload.
#[derive(Clone, Debug)]
pub struct Fulfiller {
    way: Way,
}

#[derive(Clone, Debug)]
enum Way {
    Stream(HmacKey),
    Fixed(Proof),
}

impl Fulfiller {
    /// The fulfiller of all runs with this seed.
    #[must_use]
    pub fn new(seed: u64, how: Fulfillment) -> Self {
        let text = format!("m2-load fulfillment key {seed}");
        let secret: [u8; 32] = Sha256::digest(text).into();
        Self {
            way: match how {
                Fulfillment::Stream => Way::Stream(HmacKey::new(&secret)),
                Fulfillment::Fixed => Way::Fixed(Proof::of(secret)),
            },
        }
    }

    /// What a packet with this data is sent with, and what its fulfillment must be.
    #[must_use]
    pub fn proof(&self, data: &[u8]) -> Proof {
        match &self.way {
            Way::Stream(key) => Proof::of(key.sign(data)),
            Way::Fixed(proof) => *proof,
        }
    }

    /// The fulfillment of a packet as it arrived, if neither data nor condition were changed.
    ///
    /// The fixed way sees no change of the header, as nothing but the sender knows what that was.
    /// The sender sees it: every answer carries the header back.
    #[must_use]
    pub fn check(
        &self,
        header: &Header,
        data: &[u8],
        condition: &[u8; 32],
        filling: &Filling,
    ) -> Option<[u8; 32]> {
        let proof = match &self.way {
            Way::Stream(_) => self.proof(data),
            Way::Fixed(proof) => {
                filling.is_in(header, data).then_some(())?;
                *proof
            }
        };
        (proof.condition == *condition).then_some(proof.fulfillment)
    }
}

/// The condition that a fulfillment satisfies.
#[must_use]
pub fn condition(fulfillment: &[u8; 32]) -> [u8; 32] {
    let mut state = INITIAL_STATE;
    compress(&mut state, &padded_32(fulfillment, 0));
    to_bytes(&state)
}

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

const BLOCK_LEN: usize = 64;
/// The length of the message in bits ends the last block.
const LENGTH_LEN: usize = 8;

/// HMAC-SHA256 (RFC 2104): the two states that have absorbed the key.
#[derive(Clone, Debug)]
struct HmacKey {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl HmacKey {
    fn new(secret: &[u8; 32]) -> Self {
        let absorbed = |pad: u8| {
            let mut block = [pad; BLOCK_LEN];
            block.iter_mut().zip(secret).for_each(|(byte, secret)| *byte ^= secret);
            let mut state = INITIAL_STATE;
            compress(&mut state, &block);
            state
        };
        Self { inner: absorbed(0x36), outer: absorbed(0x5c) }
    }

    fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut inner = self.inner;
        let (blocks, rest) = message.as_chunks::<BLOCK_LEN>();
        blocks.iter().for_each(|block| compress(&mut inner, block));
        let mut last = [0; BLOCK_LEN];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()] = 0x80;
        if rest.len() + 1 + LENGTH_LEN > BLOCK_LEN {
            compress(&mut inner, &last);
            last = [0; BLOCK_LEN];
        }
        let bits = (BLOCK_LEN + message.len()) as u64 * 8;
        last[BLOCK_LEN - LENGTH_LEN..].copy_from_slice(&bits.to_be_bytes());
        compress(&mut inner, &last);
        let mut outer = self.outer;
        compress(&mut outer, &padded_32(&to_bytes(&inner), BLOCK_LEN));
        to_bytes(&outer)
    }
}

/// The block that ends a message of which 32 bytes are left, after `before` others.
fn padded_32(message: &[u8; 32], before: usize) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    block[..32].copy_from_slice(message);
    block[32] = 0x80;
    let bits = (before + message.len()) as u64 * 8;
    block[BLOCK_LEN - LENGTH_LEN..].copy_from_slice(&bits.to_be_bytes());
    block
}

fn compress(state: &mut [u32; 8], block: &[u8; BLOCK_LEN]) {
    sha2::compress256(state, std::slice::from_ref(GenericArray::from_slice(block)));
}

fn to_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn header() -> Header {
        let (kind, amount, expires_at_ms) = (Kind::Fulfilled, 7, 1_795_000_000_000);
        Header { kind, flow: 1, run: 0xdead_beef, sequence: 5, amount, expires_at_ms }
    }

    fn data(filling: &Filling) -> Vec<u8> {
        let mut data = Vec::new();
        filling.put_data(&mut data, &header(), 48);
        data
    }

    #[test]
    fn hmac_and_hash_are_those_of_the_libraries() {
        let secret = [0xa5; 32];
        let (key, reference) =
            (HmacKey::new(&secret), ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret));
        let message: Vec<u8> = (0..400_u32).map(|n| n.to_le_bytes()[0] ^ 0x3c).collect();
        for len in (0..message.len()).chain([32, 55, 56, 63, 64]) {
            let expected = ring::hmac::sign(&reference, &message[..len]);
            assert_eq!(key.sign(&message[..len]), expected.as_ref(), "{len} bytes");
        }
        for byte in 0..=255 {
            let expected: [u8; 32] = Sha256::digest([byte; 32]).into();
            assert_eq!(condition(&[byte; 32]), expected);
        }
    }

    #[test]
    fn any_changed_byte_gives_another_stream_fulfillment() {
        let filling = Filling::new(7);
        let data = data(&filling);
        let fulfiller = Fulfiller::new(7, Fulfillment::Stream);
        let proof = fulfiller.proof(&data);
        assert_eq!(proof.condition, condition(&proof.fulfillment));
        let check = |data: &[u8]| fulfiller.check(&header(), data, &proof.condition, &filling);
        assert_eq!(check(&data), Some(proof.fulfillment));
        for index in 0..data.len() {
            let mut changed = data.clone();
            changed[index] ^= 1;
            assert_eq!(check(&changed), None, "byte {index}");
        }
        assert_ne!(Fulfiller::new(8, Fulfillment::Stream).proof(&data), proof);
    }

    #[test]
    fn a_fixed_fulfillment_is_one_for_all_data_and_another_for_each_seed() {
        let fulfiller = Fulfiller::new(7, Fulfillment::Fixed);
        let proof = fulfiller.proof(b"one");
        assert_eq!(fulfiller.proof(b"other"), proof);
        assert_eq!(proof.condition, condition(&proof.fulfillment));
        assert_ne!(Fulfiller::new(8, Fulfillment::Fixed).proof(b"one"), proof);
    }

    #[test]
    fn the_fixed_way_finds_any_change_of_filling_length_and_condition() {
        let filling = Filling::new(7);
        let good = data(&filling);
        let fulfiller = Fulfiller::new(7, Fulfillment::Fixed);
        let proof = fulfiller.proof(&good);
        let check = |data: &[u8], condition| fulfiller.check(&header(), data, condition, &filling);
        assert_eq!(check(&good, &proof.condition), Some(proof.fulfillment));
        for index in super::super::HEADER_LEN..good.len() {
            let mut changed = good.clone();
            changed[index] ^= 1;
            assert_eq!(check(&changed, &proof.condition), None, "byte {index}");
        }
        let mut longer = good.clone();
        longer.push(!filling.byte_after(&header(), good.len()));
        assert_eq!(check(&longer, &proof.condition), None);
        let mut condition = proof.condition;
        condition[31] ^= 1;
        assert_eq!(check(&good, &condition), None);
    }
}

//! What a packet of ours carries in its data, and the preimage that follows from it.
//!
//! ```text
//!  0         1      2      4       8          16       24              32
//! +---------+------+------+-------+----------+--------+---------------+-- - - --+
//! | version | kind | flow | run   | sequence | amount | expires_at_ms | filling |
//! +---------+------+------+-------+----------+--------+---------------+-- - - --+
//! ```
//!
//! The fulfillment is HMAC-SHA256 of the whole data under a key that both ends make from the
//! workload's seed, so that a receiver needs no table and no message from the sender. It holds
//! together what the sender said: a data byte changed on the way gives another fulfillment, and
//! the condition no longer fits. An answer carries the first 32 bytes back. A workload may ask for
//! one fixed fulfillment instead; see `payload/fulfiller.rs`.
//!
//! Packets that are repeated have no expiry in their data, as it stands in all of them: 0.
//!
//! Nothing here is a secret: who knows the seed can fulfill every packet. That is what a
//! generator's two ends are for.

mod filling;
mod fulfiller;

pub use filling::Filling;
pub use fulfiller::{Fulfiller, Fulfillment, Proof, condition};

/// Bytes of the header, and so the shortest data of a packet.
pub const HEADER_LEN: usize = 32;

/// First byte of the data.
const VERSION: u8 = 1;

/// What shall become of a packet.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Kind {
    /// The receiver fulfills it.
    Fulfilled = 0,
    /// The receiver rejects it with F99 and data.
    Rejected = 1,
    /// The receiver stays silent; it comes back as R00.
    Expired = 2,
    /// The receiver answers with bytes that are no preimage; it comes back as F05.
    WrongFulfillment = 3,
    /// No route leads to its destination; it comes back as F02.
    Unroutable = 4,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Fulfilled, Self::Rejected, Self::Expired, Self::WrongFulfillment, Self::Unroutable];

    /// The name that workload files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fulfilled => "fulfilled",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::WrongFulfillment => "wrong_fulfillment",
            Self::Unroutable => "unroutable",
        }
    }

    /// Position in [`Kind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The first 32 bytes of every packet's data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// What shall become of the packet.
    pub kind: Kind,
    /// Which flow of the workload it belongs to.
    pub flow: u16,
    /// Which run made it: a packet of an earlier run is no packet of ours.
    pub run: u32,
    /// Its number in the run. No two packets of a run have the same, unless they are repeated.
    pub sequence: u64,
    /// The amount as sent, in the sender's units.
    pub amount: u64,
    /// The expiry as sent; 0 in a packet that is sent more than once.
    pub expires_at_ms: u64,
}

impl Header {
    /// The header as four words, the first byte highest: what is compared and written by words needs
    /// no bytes put together in memory first, which a processor then waits for.
    #[inline]
    fn words(&self) -> [u64; HEADER_LEN / 8] {
        let first = u64::from(VERSION) << 56
            | (self.kind as u64) << 48
            | u64::from(self.flow) << 32
            | u64::from(self.run);
        [first, self.sequence, self.amount, self.expires_at_ms]
    }

    /// The header's bytes.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let (chunks, _) = bytes.as_chunks_mut::<8>();
        for (chunk, word) in chunks.iter_mut().zip(self.words()) {
            *chunk = word.to_be_bytes();
        }
        bytes
    }

    /// Whether `bytes` are this header and nothing else.
    #[inline]
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let [a, b, c, d] = self.words();
        match chunks {
            [w, x, y, z] if rest.is_empty() => {
                let differ = (u64::from_be_bytes(*w) ^ a)
                    | (u64::from_be_bytes(*x) ^ b)
                    | (u64::from_be_bytes(*y) ^ c)
                    | (u64::from_be_bytes(*z) ^ d);
                differ == 0
            }
            _ => false,
        }
    }

    /// Reads the header at the start of a packet's data; `None` if a generator did not write it.
    #[inline]
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        let bytes = data.first_chunk::<HEADER_LEN>()?;
        if bytes[0] != VERSION {
            return None;
        }
        let word = |start: usize| {
            u64::from_be_bytes(bytes[start..start + 8].try_into().expect("eight of 32 bytes"))
        };
        Some(Self {
            kind: *Kind::ALL.get(usize::from(bytes[1]))?,
            flow: u16::from_be_bytes([bytes[2], bytes[3]]),
            run: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            sequence: word(8),
            amount: word(16),
            expires_at_ms: word(24),
        })
    }
}

/// One step of SplitMix64: each input gives another, evenly spread output.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(sequence: u64) -> Header {
        let kind = Kind::ALL[usize::try_from(sequence % 5).unwrap()];
        let (amount, expires_at_ms) = (u64::MAX - sequence, 1_795_000_000_000 + sequence);
        Header { kind, flow: 513, run: 0xdead_beef, sequence, amount, expires_at_ms }
    }

    #[test]
    fn a_header_reads_back_whatever_follows_it() {
        for len in [HEADER_LEN, HEADER_LEN + 1, 39, 40, 120, 32_767] {
            let header = example(len as u64);
            let mut out = vec![0xee; 3];
            Filling::new(3).put_data(&mut out, &header, len);
            assert_eq!(out.len(), 3 + len);
            assert_eq!(Header::read(&out[3..]), Some(header));
            assert!(header.is(&out[3..3 + HEADER_LEN]));
            assert!(!header.is(&out[3..2 + HEADER_LEN]) && !header.is(&out[2..3 + HEADER_LEN]));
            for index in 0..HEADER_LEN {
                let mut changed = header.to_bytes();
                changed[index] ^= 1;
                assert!(!header.is(&changed), "byte {index}");
            }
        }
    }

    #[test]
    fn data_that_no_generator_wrote_has_no_header() {
        let good = example(9).to_bytes();
        assert_eq!(Header::read(&good[..HEADER_LEN - 1]), None);
        assert_eq!(Header::read(&[0; HEADER_LEN]), None);
        let mut unknown_kind = good;
        unknown_kind[1] = 5;
        assert_eq!(Header::read(&unknown_kind), None);
    }

    /// The digest of 32 zero bytes, as any `sha256sum` gives it.
    #[test]
    fn a_condition_is_the_sha256_of_its_fulfillment() {
        let hex: String = condition(&[0; 32]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
    }
}

//! PREPAREs to be sent, right ones and wrong ones, and the preimages of their conditions.
//!
//! Invariant: each packet has a preimage of its own, so that none is taken for another.

use m2_codec::ilp::{ErrorCode, put_fulfill, put_reject};
use m2_codec::{oer, timestamp};
use ring::digest::{SHA256, digest};

/// A PREPARE before it is bytes. Its fields need not be such as a packet may have.
#[derive(Clone)]
pub(super) struct Packet {
    pub(super) preimage: [u8; 32],
    pub(super) condition: [u8; 32],
    pub(super) amount: u64,
    /// The 17 bytes of the expiry.
    pub(super) expires_at: [u8; timestamp::LEN],
    pub(super) destination: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl Packet {
    pub(super) fn new(destination: &[u8], amount: u64, expires_at_ms: u64) -> Self {
        let preimage = random();
        Self {
            preimage,
            condition: sha256(&preimage),
            amount,
            expires_at: timestamp::write(expires_at_ms),
            destination: destination.to_vec(),
            data: random::<64>().to_vec(),
        }
    }

    pub(super) fn with_data(mut self, data: Vec<u8>) -> Self {
        self.data = data;
        self
    }

    pub(super) fn expires_at_ms(&self) -> u64 {
        timestamp::parse(&self.expires_at).unwrap_or(0)
    }

    /// What stands in the envelope.
    pub(super) fn contents(&self) -> Vec<u8> {
        let mut out = self.amount.to_be_bytes().to_vec();
        out.extend_from_slice(&self.expires_at);
        out.extend_from_slice(&self.condition);
        oer::put_octet_string(&mut out, &self.destination);
        oer::put_octet_string(&mut out, &self.data);
        out
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        envelope(&self.contents())
    }

    /// The FULFILL with the right preimage.
    pub(super) fn fulfill(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_fulfill(&mut out, &self.preimage, data);
        out
    }
}

/// A PREPARE around `contents`.
pub(super) fn envelope(contents: &[u8]) -> Vec<u8> {
    let mut out = vec![12];
    oer::put_octet_string(&mut out, contents);
    out
}

/// A REJECT as a receiver makes one.
pub(super) fn reject(code: [u8; 3], triggered_by: &[u8], message: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_reject(&mut out, ErrorCode(code), triggered_by, message, data);
    out
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    getrandom::fill(&mut out).expect("the operating system has random bytes");
    out
}

#[cfg(test)]
mod tests {
    use m2_codec::ilp::Prepare;

    use super::*;

    #[test]
    fn a_packet_is_read_as_it_was_meant_and_no_two_have_one_condition() {
        let packet = Packet::new(b"test.bob", 7, 1_700_000_000_000);
        let bytes = packet.bytes();
        let view = Prepare::new_checked(&bytes[..]).unwrap();
        assert_eq!((view.amount(), view.expires_at_ms()), (7, 1_700_000_000_000));
        assert_eq!((view.destination(), view.data()), (&b"test.bob"[..], &packet.data[..]));
        assert_eq!(*view.condition(), sha256(&packet.preimage));
        assert_ne!(packet.condition, Packet::new(b"test.bob", 7, 0).condition);
    }
}

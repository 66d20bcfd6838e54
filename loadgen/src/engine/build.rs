//! Packets, written into the buffer that they leave from.

use m2_codec::btp::FrameType;
use m2_codec::ilp::{prepare_len, put_prepare, rewrite_prepare};
use m2_codec::timestamp;

use crate::link::Output;
use crate::payload::Header;
use crate::receiver::Terms;
use crate::repeat::Body;

/// What packets are made with: the clock's digits, and a buffer that is kept.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) times: timestamp::Cache,
    data: Vec<u8>,
}

impl Build {
    pub(super) fn new() -> Self {
        Self { times: timestamp::Cache::new(), data: Vec::new() }
    }

    /// Makes a PREPARE, queues it, and gives back what it must be fulfilled with.
    #[inline]
    pub(super) fn put(
        &mut self,
        output: &mut Output,
        request_id: u32,
        (header, data_len): (&Header, usize),
        destination: &[u8],
        terms: &Terms,
    ) -> [u8; 32] {
        self.data.clear();
        terms.filling.put_data(&mut self.data, header, data_len);
        let proof = terms.fulfiller.proof(&self.data);
        let expires_at = self.times.write(header.expires_at_ms);
        let data = self.data.as_slice();
        let len = prepare_len(destination.len(), data.len());
        output.send(FrameType::Message, request_id, len, |out| {
            put_prepare(out, header.amount, &expires_at, &proof.condition, destination, data);
        });
        proof.fulfillment
    }

    /// Queues a PREPARE that was made before the run, with its own expiry.
    #[inline]
    pub(super) fn put_again(
        &mut self,
        output: &mut Output,
        request_id: u32,
        body: &Body,
        expires_at_ms: u64,
    ) {
        let expires_at = self.times.write(expires_at_ms);
        output.send(FrameType::Message, request_id, body.packet.len(), |out| {
            let start = out.len();
            out.extend_from_slice(&body.packet);
            rewrite_prepare(&mut out[start..], body.plan.amount, &expires_at);
        });
    }
}

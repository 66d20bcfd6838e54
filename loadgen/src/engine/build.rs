//! Packets, written into the buffer that they leave from.

use m2_codec::btp::FrameType;
use m2_codec::ilp::{prepare_len, put_prepare, rewrite_prepare};
use m2_codec::timestamp;

use crate::link::Output;
use crate::payload::{Header, Proof};
use crate::receiver::Terms;
use crate::repeat::Body;
use crate::traffic::Plan;

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

    /// Makes the data of a PREPARE, which [`Build::put`] then sends.
    #[inline]
    pub(super) fn data(
        &mut self,
        plan: &Plan,
        expires_at_ms: u64,
        terms: &Terms,
    ) -> (Header, Proof) {
        let Plan { kind, flow, sequence, amount, .. } = *plan;
        let header = Header { kind, flow, run: terms.run, sequence, amount, expires_at_ms };
        self.data.clear();
        terms.filling.put_data(&mut self.data, &header, plan.data_len);
        (header, terms.fulfiller.proof(&self.data))
    }

    /// Queues a PREPARE with the data that was made last.
    #[inline]
    pub(super) fn put(
        &mut self,
        output: &mut Output,
        request_id: u32,
        (header, proof): &(Header, Proof),
        destination: &[u8],
    ) {
        let expires_at = self.times.write(header.expires_at_ms);
        let data = self.data.as_slice();
        let len = prepare_len(destination.len(), data.len());
        output.send(FrameType::Message, request_id, len, |out| {
            put_prepare(out, header.amount, &expires_at, &proof.condition, destination, data);
        });
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

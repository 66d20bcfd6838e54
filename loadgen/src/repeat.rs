//! Packets that are made before the run and sent over and over: all but their expiry.
//!
//! A workload asks for them with `repeat`, where the cost of making a packet is not to be measured.
//! They are not unique then, and the expiry is not in their data: the receiver does not compare it
//! with the one that was sent. Everything else is checked as always.

use m2_codec::ilp::put_prepare;
use m2_codec::timestamp;

use crate::payload::{Header, Proof};
use crate::receiver::Terms;
use crate::traffic::Plan;
use crate::workload::Workload;

/// A packet that is sent over and over.
#[derive(Debug)]
pub struct Body {
    /// What it was made from.
    pub plan: Plan,
    /// What its data begins with.
    pub header: Header,
    /// What opens it.
    pub proof: Proof,
    /// The whole PREPARE. Its expiry is to be written into it.
    pub packet: Box<[u8]>,
}

/// All packets of a run.
#[derive(Debug)]
pub struct Bodies {
    bodies: Vec<Body>,
}

impl Bodies {
    /// Makes them; `None` if every packet of the workload is to be unique.
    #[must_use]
    pub fn new(workload: &Workload, terms: &Terms) -> Option<Self> {
        let count = workload.repeat?;
        let bodies = (0..count.get()).map(|sequence| Body::new(workload, terms, sequence));
        Some(Self { bodies: bodies.collect() })
    }

    /// The body of the packet with this number.
    #[must_use]
    pub fn at(&self, sequence: u64) -> &Body {
        let index = sequence % self.bodies.len() as u64;
        &self.bodies[usize::try_from(index).expect("an index of a vector")]
    }
}

impl Body {
    fn new(workload: &Workload, terms: &Terms, sequence: u64) -> Self {
        let plan = workload.traffic.plan(sequence);
        let header = Header {
            kind: plan.kind,
            flow: plan.flow,
            run: terms.run,
            sequence,
            amount: plan.amount,
            expires_at_ms: 0,
        };
        let (mut data, mut packet) = (Vec::new(), Vec::new());
        terms.filling.put_data(&mut data, &header, plan.data_len);
        let proof = terms.fulfiller.proof(&data);
        let destination = workload.destination(&plan);
        let expires_at = timestamp::write(0);
        let (amount, address) = (plan.amount, destination);
        put_prepare(&mut packet, amount, &expires_at, &proof.condition, address, &data);
        Self { plan, header, proof, packet: packet.into() }
    }
}

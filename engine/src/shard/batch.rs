//! One vector of requests and one of answers, gathered across links.
//!
//! Packets stay in the buffers they came in: while a vector is with the core those buffers are lent
//! to it, and what is noted of a packet is where it stands. Answers go first: they free what
//! requests need, so a peer that fulfils and then sends has its credit back in time.

use core::ops::Range;

use arrayvec::ArrayVec;
use m2_core::limits::BATCH_MAX;
use m2_core::{ConnectionId, Egress, Now, Request, Response, ResponseBody, Switch};

#[cfg(feature = "forwarder")]
use super::forwarder::Forwarder;
#[cfg(feature = "forwarder")]
use super::links::Links;
use super::rx::{Buffers, Place};

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Place of a link and its buffers, in the order in which links were looked at.
    lent: ArrayVec<(usize, Buffers), BATCH_MAX>,
    requests: ArrayVec<Noted<PacketAt>, BATCH_MAX>,
    responses: ArrayVec<Noted<BodyAt>, BATCH_MAX>,
    /// Of the packets of `responses`.
    response_bytes: usize,
}

/// A packet of the link whose buffers are the `lent`th. Packets of one link stand together, and in
/// the order in which they came.
#[derive(Debug)]
struct Noted<T> {
    lent: usize,
    connection: ConnectionId,
    request_id: u32,
    what: T,
}

/// Where a packet stands.
#[derive(Debug)]
pub(super) struct PacketAt {
    /// In the message joined from fragments, not in the buffer.
    joined: bool,
    range: Range<usize>,
}

/// A [`ResponseBody`] whose packet is still in its buffer.
#[derive(Debug)]
pub(super) enum BodyAt {
    Packet(PacketAt),
    Empty,
    ErrorTemporary,
    ErrorOther,
}

impl PacketAt {
    /// A packet at `range` of the buffer.
    #[inline]
    pub(super) fn in_buffer(range: Range<usize>) -> Self {
        Self { joined: false, range }
    }

    /// A packet at `range` of a frame.
    pub(super) fn of(frame: &Place, range: &Range<usize>) -> Self {
        match frame {
            Place::Buffer(frame) => {
                Self { joined: false, range: frame.start + range.start..frame.start + range.end }
            }
            Place::Joined => Self { joined: true, range: range.clone() },
        }
    }
}

impl Batch {
    /// No further link may be looked at, or no further frame of this one.
    pub(super) fn is_full(&self) -> bool {
        self.requests.is_full() || self.responses.is_full() || self.lent.is_full()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many packets are noted.
    pub(super) fn len(&self) -> usize {
        self.requests.len() + self.responses.len()
    }

    /// Bytes of the packets in the answers that are noted.
    pub(super) fn response_bytes(&self) -> usize {
        self.response_bytes
    }

    /// Notes a request of the link whose buffers are lent next.
    pub(super) fn push_request(&mut self, connection: ConnectionId, request_id: u32, at: PacketAt) {
        let lent = self.lent.len();
        self.requests.push(Noted { lent, connection, request_id, what: at });
    }

    /// Notes an answer of the link whose buffers are lent next.
    pub(super) fn push_response(&mut self, connection: ConnectionId, request_id: u32, at: BodyAt) {
        let lent = self.lent.len();
        if let BodyAt::Packet(packet) = &at {
            self.response_bytes += packet.range.len();
        }
        self.responses.push(Noted { lent, connection, request_id, what: at });
    }

    /// Takes the buffers of the link whose packets were noted last.
    pub(super) fn lend(&mut self, place: usize, buffers: Buffers) {
        self.lent.push((place, buffers));
    }

    /// Gives both vectors to the core. The buffers are still lent afterwards.
    pub(super) fn run(&mut self, switch: &mut Switch, now: Now, egress: &mut impl Egress) {
        let (mut responses, mut requests) = (ArrayVec::new(), ArrayVec::new());
        self.put_responses(&mut responses);
        self.put_requests(&mut requests);
        switch.vectors(now, &responses, &requests, egress);
        drop((responses, requests));
        self.responses.clear();
        self.response_bytes = 0;
        self.requests.clear();
    }

    /// Gives both vectors to the forwarder, in the core's place.
    #[cfg(feature = "forwarder")]
    pub(super) fn forward(&mut self, forwarder: &mut Forwarder, links: &mut Links) {
        let (mut responses, mut requests) = (ArrayVec::new(), ArrayVec::new());
        self.put_responses(&mut responses);
        self.put_requests(&mut requests);
        if !responses.is_empty() {
            forwarder.responses(&responses, links);
        }
        if !requests.is_empty() {
            forwarder.requests(&requests, links);
        }
        drop((responses, requests));
        self.responses.clear();
        self.response_bytes = 0;
        self.requests.clear();
    }

    /// The lent buffers, to be given back.
    pub(super) fn take_lent(&mut self) -> impl Iterator<Item = (usize, Buffers)> + '_ {
        self.lent.drain(..)
    }

    /// Into a place of the caller's, as a vector that is returned is copied: all of it, whatever it holds.
    fn put_responses<'a>(&'a self, vector: &mut ArrayVec<Response<'a>, BATCH_MAX>) {
        let body = |noted: &Noted<BodyAt>| match &noted.what {
            BodyAt::Packet(at) => ResponseBody::Packet(self.bytes(noted.lent, at)),
            BodyAt::Empty => ResponseBody::Empty,
            BodyAt::ErrorTemporary => ResponseBody::ErrorTemporary,
            BodyAt::ErrorOther => ResponseBody::ErrorOther,
        };
        for noted in &self.responses {
            let Noted { connection, request_id, .. } = *noted;
            vector.push(Response { connection, request_id, body: body(noted) });
        }
    }

    /// As [`Self::put_responses`].
    fn put_requests<'a>(&'a self, vector: &mut ArrayVec<Request<'a>, BATCH_MAX>) {
        for noted in &self.requests {
            let Noted { connection, request_id, .. } = *noted;
            let packet = self.bytes(noted.lent, &noted.what);
            vector.push(Request { connection, request_id, packet });
        }
    }

    fn bytes(&self, lent: usize, at: &PacketAt) -> &[u8] {
        let (_, buffers) = &self.lent[lent];
        let bytes = if at.joined { &buffers.joined } else { &buffers.buffer };
        &bytes[at.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use core::num::NonZeroU32;

    use m2_core::AccountId;

    use super::*;

    fn connection(account: u32) -> ConnectionId {
        ConnectionId { account: AccountId(account), epoch: NonZeroU32::MIN }
    }

    fn buffers(first: u8) -> Buffers {
        Buffers { buffer: (first..first + 20).collect(), joined: (200..210).collect() }
    }

    #[test]
    fn every_packet_is_lent_where_it_stands() {
        let mut batch = Batch::default();
        let frame = Place::Buffer(2..12);
        batch.push_request(connection(0), 1, PacketAt::of(&frame, &(1..3)));
        batch.push_response(connection(0), 7, BodyAt::Packet(PacketAt::of(&frame, &(5..6))));
        batch.push_request(connection(0), 2, PacketAt::of(&Place::Buffer(12..20), &(0..8)));
        batch.push_request(connection(0), 3, PacketAt::of(&Place::Joined, &(4..6)));
        batch.lend(5, buffers(0));
        batch.push_request(connection(1), 1, PacketAt::of(&Place::Buffer(0..4), &(0..4)));
        batch.push_response(connection(1), 8, BodyAt::Empty);
        batch.lend(9, buffers(100));

        let mut vector = ArrayVec::new();
        batch.put_requests(&mut vector);
        let seen: Vec<(u32, u32, &[u8])> =
            vector.iter().map(|it| (it.connection.account.0, it.request_id, it.packet)).collect();
        let expected: [(u32, u32, &[u8]); 4] = [
            (0, 1, &[3, 4]),
            (0, 2, &[12, 13, 14, 15, 16, 17, 18, 19]),
            (0, 3, &[204, 205]),
            (1, 1, &[100, 101, 102, 103]),
        ];
        assert_eq!(seen, expected);
        drop(vector);
        let mut vector = ArrayVec::new();
        batch.put_responses(&mut vector);
        assert!(matches!(vector[0].body, ResponseBody::Packet(&[7])));
        assert!(matches!(vector[1].body, ResponseBody::Empty));
        drop(vector);
        assert_eq!(batch.take_lent().map(|(place, _)| place).collect::<Vec<_>>(), [5, 9]);
    }
}

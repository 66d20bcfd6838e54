//! The forwarder: what the benches measure the switch against. It stands where the core stands and does
//! no ILP work, so that what a switch costs more is the core; links, frames, batches and sends are the
//! same code.
//!
//! ```text
//!   PREPARE  8 bytes of its destination -- table of the routes --> account, and its open link
//!            a free slot ---------------------------------------> request id
//!            slot: the connection and the request id that it came with
//!   answer   its request id -- slot --> connection and request id
//! ```
//!
//! It keeps no books, checks no limit, no expiry and no fulfillment, converts nothing and changes no byte
//! of a packet. Invariant: a packet that it cannot pass on is answered, and a slot is answered once.

use core::cmp::Reverse;

use m2_codec::ilp::{self, ErrorCode};
use m2_core::{AccountId, ConnectionId, Egress as _, Request, Response, ResponseBody};

use super::links::Links;
use crate::config::{Account, Config};
use crate::limits::FORWARDER_SLOTS;

/// Bytes of a destination that tell its next hop.
const KEY_LEN: usize = size_of::<u64>();

/// Offset of the destination behind the header of a PREPARE: amount, expiry, condition and a length of
/// one byte.
const DESTINATION: usize = 8 + 17 + 32 + 1;

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Forwarder {
    next_hops: NextHops,
    /// By request id.
    slots: Vec<Option<Asked>>,
    free: Vec<u32>,
    /// What cannot be passed on gets this.
    refusal: Vec<u8>,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
struct Asked {
    connection: ConnectionId,
    request_id: u32,
}

impl Forwarder {
    /// A forwarder towards the accounts of a configuration.
    ///
    /// # Errors
    ///
    /// When their routes are not told apart by 8 bytes at one place.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let mut refusal = Vec::new();
        let (code, from) = (ErrorCode::T01_PEER_UNREACHABLE, config.switch.address.as_bytes());
        ilp::put_reject(&mut refusal, code, from, b"the forwarder has no link or no room", b"");
        Ok(Self {
            next_hops: NextHops::new(&config.accounts)?,
            slots: vec![None; FORWARDER_SLOTS as usize],
            free: (0..FORWARDER_SLOTS).rev().collect(),
            refusal,
        })
    }

    /// Passes PREPAREs on.
    pub(super) fn requests(&mut self, batch: &[Request<'_>], links: &mut Links) {
        for request in batch {
            if !self.pass_on(request, links) {
                links.answer(request.connection, request.request_id, &self.refusal);
            }
        }
    }

    /// Passes answers back.
    pub(super) fn responses(&mut self, batch: &[Response<'_>], links: &mut Links) {
        for response in batch {
            let slot = self.slots.get_mut(response.request_id as usize);
            let Some(asked) = slot.and_then(Option::take) else { continue };
            self.free.push(response.request_id);
            let packet = match response.body {
                ResponseBody::Packet(packet) => packet,
                _ => &self.refusal,
            };
            links.answer(asked.connection, asked.request_id, packet);
        }
    }

    fn pass_on(&mut self, request: &Request<'_>, links: &mut Links) -> bool {
        let next_hop = key_at(request.packet, self.next_hops.offset)
            .and_then(|key| self.next_hops.find(key))
            .and_then(|account| links.connection(account));
        let Some(next_hop) = next_hop.filter(|it| links.below_half(*it)) else { return false };
        let Some(id) = self.free.pop() else { return false };
        let Request { connection, request_id, .. } = *request;
        self.slots[id as usize] = Some(Asked { connection, request_id });
        links.pass_on(next_hop, id, request.packet);
        true
    }
}

/// The bytes of a PREPARE's destination that tell its next hop.
fn key_at(packet: &[u8], offset: usize) -> Option<u64> {
    let prefix_len = match packet.get(1)? {
        0x81 => 2,
        0x82 => 3,
        _ => 1,
    };
    let start = 1 + prefix_len + DESTINATION + offset;
    Some(u64::from_ne_bytes(*packet.get(start..)?.first_chunk::<KEY_LEN>()?))
}

/// From 8 bytes at one place of a destination to an account: a table with open addressing.
#[derive(Debug)]
struct NextHops {
    offset: usize,
    /// As many as a power of two; at most an eighth are taken.
    table: Vec<Option<(u64, AccountId)>>,
}

/// Scatters keys that differ in few bits: 2^64 over the golden ratio, as Knuth has it.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

impl NextHops {
    /// Looks for the place that tells the next hop of most routes, and of those for the one with the fewest
    /// different keys. Routes that end before it lead nowhere: those of accounts that only send.
    fn new(accounts: &[Account]) -> Result<Self, String> {
        let routes = || {
            (0..).map(AccountId).zip(accounts).flat_map(|(id, account)| {
                account.routes.iter().map(move |route| (route.as_bytes(), id))
            })
        };
        let longest = routes().map(|(route, _)| route.len()).max().unwrap_or(0);
        let places = 0..(longest + 1).saturating_sub(KEY_LEN);
        let told = places.filter_map(|offset| Told::at(routes(), offset));
        let Told { offset, keys, .. } =
            told.max_by_key(|told| (told.routes, Reverse(told.keys.len()))).ok_or(
                "the forwarder finds the next hop by 8 bytes at one place of the destination, and no \
                 place tells the routes of all accounts apart",
            )?;
        let mut found = Self { offset, table: vec![None; (8 * keys.len()).next_power_of_two()] };
        keys.into_iter().for_each(|(key, account)| found.insert(key, account));
        Ok(found)
    }

    fn insert(&mut self, key: u64, account: AccountId) {
        let mut place = self.place(key);
        while self.table[place].is_some() {
            place = (place + 1) & (self.table.len() - 1);
        }
        self.table[place] = Some((key, account));
    }

    fn find(&self, key: u64) -> Option<AccountId> {
        let mut place = self.place(key);
        // Ends at a free place, of which there are seven in eight.
        while let Some((found, account)) = self.table[place] {
            if found == key {
                return Some(account);
            }
            place = (place + 1) & (self.table.len() - 1);
        }
        None
    }

    fn place(&self, key: u64) -> usize {
        let high = (key.wrapping_mul(SCATTER) >> 32) as usize;
        high & (self.table.len() - 1)
    }
}

/// What the keys at one place tell.
struct Told {
    offset: usize,
    /// Routes that reach so far.
    routes: usize,
    /// Each once.
    keys: Vec<(u64, AccountId)>,
}

impl Told {
    /// None if two accounts share a key, or no route reaches so far.
    fn at<'r>(routes: impl Iterator<Item = (&'r [u8], AccountId)>, offset: usize) -> Option<Self> {
        let key = |(route, account): (&[u8], AccountId)| {
            let bytes = route.get(offset..)?.first_chunk::<KEY_LEN>()?;
            Some((u64::from_ne_bytes(*bytes), account))
        };
        let mut keys: Vec<_> = routes.filter_map(key).collect();
        let routes = keys.len();
        keys.sort_unstable_by_key(|(key, account)| (*key, account.0));
        keys.dedup();
        let apart = !keys.is_empty() && keys.windows(2).all(|pair| pair[0].0 != pair[1].0);
        apart.then_some(Self { offset, routes, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(receivers: &[(&str, &[&str])]) -> Config {
        let account = |(name, routes): &(&str, &[&str])| {
            format!(
                "[[accounts]]\nname = \"{name}\"\nrelation = \"child\"\nasset = \"USD/9\"\n\
                 dial = \"btp+ws://:x@h/{name}\"\nroutes = {routes:?}\n"
            )
        };
        let accounts: String = receivers.iter().map(account).collect();
        let text = format!(
            "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n\
             [[assets]]\ncode = \"USD\"\nscale = 9\n{accounts}"
        );
        crate::config::parse(std::path::Path::new("/m2/switch.toml"), &text).unwrap()
    }

    /// The header of a PREPARE with so many bytes of length, and a destination.
    fn packet(length: &[u8], destination: &str) -> Vec<u8> {
        let fields = [[0; DESTINATION].as_slice(), destination.as_bytes()];
        [&[12], length, &fields.concat()].concat()
    }

    #[test]
    fn the_next_hop_is_found_behind_every_length() {
        let config = config(&[
            ("sender", &["test.m2m.s"]),
            ("a", &["test.m2m.of-1.x", "test.m2m.of-1.y"]),
            ("b", &["test.m2m.of-12.x"]),
        ]);
        let hops = NextHops::new(&config.accounts).unwrap();
        for length in [&[99][..], &[0x81, 0x99], &[0x82, 1, 1]] {
            for (destination, account) in
                [("test.m2m.of-1.x", 1), ("test.m2m.of-1.y", 1), ("test.m2m.of-12.x", 2)]
            {
                let packet = packet(length, destination);
                let key = key_at(&packet, hops.offset).unwrap();
                assert_eq!(hops.find(key), Some(AccountId(account)), "{destination}");
                for len in 0..packet.len() {
                    let found = key_at(&packet[..len], hops.offset);
                    assert!(found.is_none_or(|found| found == key));
                }
            }
            let stranger = packet(length, "test.m2m.of-99.x");
            assert_eq!(hops.find(key_at(&stranger, hops.offset).unwrap()), None);
        }
    }

    #[test]
    fn many_accounts_are_told_apart() {
        let names: Vec<_> = (0..500).map(|number| format!("of-{number}")).collect();
        let routes: Vec<_> = names.iter().map(|name| format!("test.m2m.{name}.net.000")).collect();
        let routes: Vec<_> = routes.iter().map(|route| [route.as_str()]).collect();
        let receivers: Vec<_> =
            names.iter().zip(&routes).map(|(name, routes)| (name.as_str(), &routes[..])).collect();
        let hops = NextHops::new(&config(&receivers).accounts).unwrap();
        for (number, [route]) in routes.iter().enumerate() {
            let key = key_at(&packet(&[99], route), hops.offset).unwrap();
            assert_eq!(hops.find(key).map(|account| account.0 as usize), Some(number));
        }
    }

    #[test]
    fn routes_that_no_place_tells_apart_are_refused() {
        let config = config(&[
            ("a", &["test.a.between.c", "test.b.between.d"]),
            ("b", &["test.a.between.d", "test.b.between.c"]),
        ]);
        assert!(NextHops::new(&config.accounts).unwrap_err().contains("no place tells"));
        assert!(Forwarder::new(&config).is_err());
    }
}

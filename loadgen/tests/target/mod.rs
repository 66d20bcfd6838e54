//! A connector of two accounts that keeps the RFCs, and breaks one clause of them on demand.
//!
//! BTP frames straight on TCP; alice sends and bob receives, at `test.target.bob`. What it does wrong
//! is named by words, looked up where it matters, so that a fault stands beside the rule it breaks.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{
    AmountTooLarge, ErrorCode, Fulfill, PacketType, Prepare, Reject, packet_type, put_fulfill,
    put_reject, rewrite_prepare,
};
use m2_codec::{address, ildcp, oer, timestamp};
use sha2::{Digest as _, Sha256};

const MARGIN_MS: u64 = 300;
const REMAINING_MS_MIN: u64 = 300;
pub(crate) const AMOUNT_MAX: u64 = 100_000_000_000_000_000;
const OWN: &[u8] = b"test.target";
const NAMES: [&str; 2] = ["alice", "bob"];
const ALICE: usize = 0;
const BOB: usize = 1;

/// A running target. Its threads end with the test's process.
pub(crate) struct Target {
    address: String,
}

impl Target {
    /// Starts one with these faults.
    pub(crate) fn start(faults: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { faults: faults.to_vec(), ..State::default() }));
        let clock = Arc::clone(&state);
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(5));
                lock(&clock).expire();
            }
        });
        thread::spawn(move || {
            for (epoch, stream) in listener.incoming().flatten().enumerate() {
                if lock(&state).is_dead {
                    return;
                }
                let state = Arc::clone(&state);
                thread::spawn(move || serve(stream, epoch, &state));
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("btp+tcp://{name}:token-of-{name}@{}", self.address)
    }
}

struct Pending {
    request_id: u32,
    /// Connection of bob that it left on.
    epoch: usize,
    condition: [u8; 32],
    expires_at_ms: u64,
}

struct Connection {
    epoch: usize,
    stream: TcpStream,
}

#[derive(Default)]
struct State {
    faults: Vec<&'static str>,
    links: [Option<Connection>; 2],
    pending: HashMap<u32, Pending>,
    next_id: u32,
    prepares: u32,
    is_dead: bool,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn utc_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Reads frames until the stream ends; the first of them authenticates.
fn serve(mut stream: TcpStream, epoch: usize, state: &Mutex<State>) {
    stream.set_nodelay(true).unwrap();
    let mut who = None;
    let (mut buffer, mut piece) = (Vec::new(), [0; 65_536]);
    loop {
        let len = stream.read(&mut piece).unwrap_or(0);
        if len == 0 {
            let mut state = lock(state);
            for link in &mut state.links {
                drop(link.take_if(|link| link.epoch == epoch));
            }
            return;
        }
        buffer.extend_from_slice(&piece[..len]);
        while let Ok(Some(len)) = btp::frame_len(&buffer) {
            if len > buffer.len() {
                break;
            }
            let frame: Vec<u8> = buffer.drain(..len).collect();
            let mut state = lock(state);
            match who {
                Some(who) => state.frame(who, epoch, &frame),
                None => match state.authenticate(&frame, &mut stream, epoch) {
                    Some(index) => who = Some(index),
                    None => return drop(stream.shutdown(Shutdown::Both)),
                },
            }
        }
    }
}

impl State {
    fn has(&self, fault: &str) -> bool {
        self.faults.contains(&fault)
    }

    /// The account, or none if the connection is to end.
    fn authenticate(
        &mut self,
        bytes: &[u8],
        stream: &mut TcpStream,
        epoch: usize,
    ) -> Option<usize> {
        let frame = Frame::new_checked(bytes).ok()?;
        let auth = btp::auth::read(&frame).ok();
        let index = auth.and_then(|auth| {
            let index = NAMES.iter().position(|name| Some(*name) == auth.username)?;
            let is_right = auth.token == format!("token-of-{}", NAMES[index]);
            (is_right || self.has("takes any token")).then_some(index)
        });
        let id = frame.request_id();
        let mut answer = Vec::new();
        match index {
            Some(_) => btp::put_response(&mut answer, id, &[]),
            None if self.has("serves strangers") && auth.is_none() => {
                let mut packet = Vec::new();
                put_reject(&mut packet, ErrorCode::F02_UNREACHABLE, OWN, b"", b"");
                btp::put_ilp(&mut answer, FrameType::Response, id, &packet);
            }
            None if self.has("refuses tokens without a word") => {}
            None => btp::put_error(&mut answer, id, b"F00", "NotAcceptedError", utc_ms(), b"", &[]),
        }
        let _ = stream.write_all(&answer);
        if let Some(index) = index {
            self.links[index] = Some(Connection { epoch, stream: stream.try_clone().unwrap() });
        }
        index
    }

    fn frame(&mut self, who: usize, epoch: usize, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let id = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        if bytes[0] == 9 && self.has("takes any type") {
            bytes[0] = FrameType::Message as u8;
        }
        let Ok(frame) = Frame::new_checked(&bytes) else {
            if self.has("answers what it cannot read") {
                self.error(who, id);
            }
            return;
        };
        if self.has("is silent") {
            return;
        }
        match frame.frame_type() {
            FrameType::Response | FrameType::Error => {
                if who == ALICE && self.has("answers answers") {
                    return self.error(who, id);
                }
                self.answer(id, epoch, &frame);
            }
            FrameType::Transfer if self.has("ignores transfers") => {}
            FrameType::Transfer => self.error(who, id),
            FrameType::Message => match frame.ilp() {
                None if self.has("ignores what it does not know") => {}
                None => {
                    let mut response = Vec::new();
                    btp::put_response(&mut response, id, &[]);
                    self.write(who, &response);
                }
                Some(_) if frame.protocol_data().count() > 1 && self.has("takes one entry") => {}
                Some(_) if has_trailing_bytes(&bytes) && self.has("counts trailing bytes") => {}
                Some(packet) => self.request(who, id, packet),
            },
        }
    }

    fn request(&mut self, who: usize, id: u32, packet: &[u8]) {
        self.prepares += 1;
        if self.prepares > 4 && self.has("falls silent") {
            return;
        }
        if self.prepares > 4 && self.has("dies") {
            self.is_dead = true;
            for link in self.links.iter().flatten() {
                let _ = link.stream.shutdown(Shutdown::Both);
            }
            return;
        }
        match self.judge(who, id, packet) {
            Ok(()) => {}
            Err((code, data)) => self.reject(who, id, code, &data),
        }
    }

    /// All checks of a PREPARE, and then its way to bob.
    fn judge(&mut self, who: usize, id: u32, packet: &[u8]) -> Result<(), (ErrorCode, Vec<u8>)> {
        let refuse = |code: ErrorCode| Err((code, Vec::new()));
        let Ok(prepare) = Prepare::new_checked(packet) else {
            if self.has("forwards what is malformed") {
                self.send_to_bob(id, packet.to_vec(), [0; 32], utc_ms() + 1_000);
                return Ok(());
            }
            let other = self.has("says F00 for F01");
            return refuse(if other {
                ErrorCode::F00_BAD_REQUEST
            } else {
                ErrorCode::F01_INVALID_PACKET
            });
        };
        let now_ms = utc_ms();
        if prepare.expires_at_ms() <= now_ms && !self.has("forwards what has expired") {
            return refuse(ErrorCode::R02_INSUFFICIENT_TIMEOUT);
        }
        let destination = prepare.destination();
        if destination == ildcp::DESTINATION {
            return self.tell_address(who, id, prepare.amount(), *prepare.condition());
        }
        let is_peer = destination.starts_with(b"peer.");
        if is_peer && !self.has("forwards peer.*") {
            return refuse(ErrorCode::F01_INVALID_PACKET);
        }
        if prepare.amount() > AMOUNT_MAX {
            let data = AmountTooLarge { received: prepare.amount(), maximum: AMOUNT_MAX };
            let has_data = !self.has("says F08 without data");
            let data = if has_data { data.to_bytes().to_vec() } else { Vec::new() };
            return Err((ErrorCode::F08_AMOUNT_TOO_LARGE, data));
        }
        if !self.is_routed(destination) && !is_peer {
            let data = if self.has("adds data to F02") { b"data".to_vec() } else { Vec::new() };
            let other = self.has("says F00 for F02");
            return Err((
                if other { ErrorCode::F00_BAD_REQUEST } else { ErrorCode::F02_UNREACHABLE },
                data,
            ));
        }
        self.forward(id, packet, now_ms)
    }

    fn is_routed(&self, destination: &[u8]) -> bool {
        if self.has("routes by the first bytes") {
            return destination.starts_with(b"test.target.bob");
        }
        let everything =
            destination == OWN || destination[0] == b'g' || destination.starts_with(b"self.");
        address::is_prefix(b"test.target.bob", destination)
            || everything && self.has("routes everything")
    }

    fn forward(&mut self, id: u32, packet: &[u8], now_ms: u64) -> Result<(), (ErrorCode, Vec<u8>)> {
        let prepare = Prepare::new_checked(packet).unwrap();
        let margin_ms = if self.has("keeps the expiry") { 0 } else { MARGIN_MS };
        let expires_at_ms = prepare.expires_at_ms().saturating_sub(margin_ms);
        let lacks_time = expires_at_ms < now_ms + REMAINING_MS_MIN;
        if lacks_time
            && !self.has("forwards what has no time left")
            && !self.has("forwards what has expired")
        {
            return Err((ErrorCode::R02_INSUFFICIENT_TIMEOUT, Vec::new()));
        }
        if self.links[BOB].is_none() {
            let other = self.has("says F02 for T01");
            let code =
                if other { ErrorCode::F02_UNREACHABLE } else { ErrorCode::T01_PEER_UNREACHABLE };
            return Err((code, Vec::new()));
        }
        if prepare.data().len() > 1_000 && self.has("drops large packets") {
            return Err((ErrorCode::F00_BAD_REQUEST, Vec::new()));
        }
        if prepare.amount() == 0 && self.has("refuses zero") {
            return Err((ErrorCode::F03_INVALID_AMOUNT, Vec::new()));
        }
        let condition = *prepare.condition();
        let mut packet = packet[..prepare.packet_len()].to_vec();
        rewrite_prepare(
            &mut packet,
            self.amount_out(prepare.amount()),
            &timestamp::write(expires_at_ms),
        );
        if self.has("changes the data") {
            *packet.last_mut().unwrap() ^= 1;
        }
        self.send_to_bob(id, packet, condition, expires_at_ms);
        Ok(())
    }

    fn amount_out(&self, amount: u64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let through_a_float = amount as f64 as u64;
        match (self.has("adds a unit"), self.has("counts in floats")) {
            (true, _) => amount + 1,
            (_, true) => through_a_float,
            _ => amount,
        }
    }

    fn send_to_bob(
        &mut self,
        request_id: u32,
        packet: Vec<u8>,
        condition: [u8; 32],
        expires_at_ms: u64,
    ) {
        self.next_id += 1;
        let Some(epoch) = self.links[BOB].as_ref().map(|link| link.epoch) else { return };
        self.pending.insert(self.next_id, Pending { request_id, epoch, condition, expires_at_ms });
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, FrameType::Message, self.next_id, &packet);
        self.write(BOB, &frame);
    }

    fn tell_address(
        &mut self,
        who: usize,
        id: u32,
        amount: u64,
        condition: [u8; 32],
    ) -> Result<(), (ErrorCode, Vec<u8>)> {
        if amount != 0 || condition != ildcp::PEER_CONDITION {
            return Err((ErrorCode::F01_INVALID_PACKET, Vec::new()));
        }
        let last = if self.has("tells wrong addresses") { "nobody" } else { NAMES[who] };
        let mut data = Vec::new();
        oer::put_octet_string(&mut data, format!("test.target.{last}").as_bytes());
        data.extend_from_slice(b"\x09\x03USD");
        let fulfillment = [u8::from(self.has("proves IL-DCP by another preimage")); 32];
        let mut packet = Vec::new();
        put_fulfill(&mut packet, &fulfillment, &data);
        self.tell(who, id, &packet);
        Ok(())
    }

    /// Bob's answer.
    fn answer(&mut self, id: u32, epoch: usize, frame: &Frame<'_>) {
        let id = if self.has("takes an answer for any request") && !self.pending.contains_key(&id) {
            let Some(&first) = self.pending.keys().next() else { return };
            first
        } else {
            id
        };
        let Some(pending) = self.pending.get(&id) else { return };
        if pending.epoch != epoch && !self.has("takes an answer on any connection") {
            return;
        }
        let (request_id, condition) = (pending.request_id, pending.condition);
        if !self.has("passes every answer") {
            self.pending.remove(&id);
        }
        let Some(packet) = frame.ilp() else {
            if !self.has("waits when no packet comes") {
                let code = ErrorCode::T00_INTERNAL_ERROR;
                self.reject(ALICE, request_id, code, &[]);
            }
            return;
        };
        if let Some(code) = self.refusal(packet, &condition) {
            return self.reject(ALICE, request_id, code, &[]);
        }
        let mut packet = packet.to_vec();
        if self.has("rewrites answers")
            && let Some(last) = packet.last_mut()
        {
            *last ^= 1;
        }
        self.tell(ALICE, request_id, &packet);
    }

    fn refusal(&self, packet: &[u8], condition: &[u8; 32]) -> Option<ErrorCode> {
        if self.has("passes whatever comes") {
            return None;
        }
        match packet_type(packet) {
            Some(PacketType::Fulfill) => {
                let Ok(fulfill) = Fulfill::new_checked(packet) else {
                    return Some(ErrorCode::T01_PEER_UNREACHABLE);
                };
                let opens = Sha256::digest(fulfill.fulfillment())[..] == condition[..];
                (!opens && !self.has("passes wrong preimages"))
                    .then_some(ErrorCode::F05_WRONG_CONDITION)
            }
            Some(PacketType::Reject) if Reject::new_checked(packet).is_ok() => None,
            _ => Some(ErrorCode::T01_PEER_UNREACHABLE),
        }
    }

    fn expire(&mut self) {
        if self.has("never gives up") {
            return;
        }
        let now_ms = utc_ms();
        let past: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, it)| it.expires_at_ms <= now_ms)
            .map(|(&id, _)| id)
            .collect();
        for id in past {
            let pending = self.pending.remove(&id).unwrap();
            self.reject(ALICE, pending.request_id, ErrorCode::R00_TRANSFER_TIMED_OUT, &[]);
        }
    }

    fn reject(&mut self, who: usize, id: u32, code: ErrorCode, data: &[u8]) {
        if self.has("rejects by a BTP ERROR") {
            return self.error(who, id);
        }
        let own = if self.has("names nobody") { b"" } else { OWN };
        let mut packet = Vec::new();
        put_reject(&mut packet, code, own, b"a reason", data);
        self.tell(who, id, &packet);
    }

    fn tell(&mut self, who: usize, id: u32, packet: &[u8]) {
        let id = if self.has("loses the highest bit of ids") { id & (u32::MAX >> 1) } else { id };
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, FrameType::Response, id, packet);
        self.write(who, &frame);
    }

    fn error(&mut self, who: usize, id: u32) {
        let mut frame = Vec::new();
        btp::put_error(&mut frame, id, b"F00", "NotAcceptedError", utc_ms(), b"", &[]);
        self.write(who, &frame);
    }

    fn write(&mut self, who: usize, frame: &[u8]) {
        if let Some(link) = &mut self.links[who] {
            let _ = link.stream.write_all(frame);
        }
    }
}

/// Whether bytes follow the last field of a frame.
fn has_trailing_bytes(frame: &[u8]) -> bool {
    let view = Frame::new_checked(frame).unwrap();
    view.ilp_range().is_some_and(|range| range.end < frame.len())
        && view.protocol_data().count() == 1
}

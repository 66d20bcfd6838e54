//! A connector of two accounts in two hundred lines, on threads and locks: slow, simple, and able
//! to misbehave on demand. Alice sends and bob receives, `floor(amount x 5 / 2)` units each time.

#![allow(dead_code)] // each test file uses some of it

pub(crate) mod generator;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use m2_codec::address;
use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{
    ErrorCode, Fulfill, PacketType, Prepare, packet_type, put_reject, rewrite_prepare,
};
use m2_codec::timestamp;
use m2_codec::ws::{self, Event, handshake};
use ring::digest::{SHA256, digest};

/// What the peer does to a packet's expiry.
const MARGIN_MS: u64 = 500;
const NAMES: [&str; 2] = ["alice", "bob"];
pub(crate) const WORDS: [&str; 5] = ["balance", "held_in", "held_out", "frozen", "prepaid"];

/// What the peer does wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Turns a bit of every fulfillment that it passes on.
    pub(crate) changes_fulfillments: bool,
    /// Sends every answer twice.
    pub(crate) answers_twice: bool,
    /// Sends its first answers twice, so many.
    pub(crate) answers_twice_up_to: Option<u64>,
    /// Repeats its last FULFILL when no answer is due any more: before each REJECT that it passes on,
    /// and when it is asked for its accounts after the first time.
    pub(crate) repeats_late: bool,
    /// Answers an id that nobody used, after each answer.
    pub(crate) answers_strangers: bool,
    /// Units that it adds to what it forwards.
    pub(crate) adds_to_amount: u64,
    /// Passes the expiry on as it came.
    pub(crate) keeps_expiry: bool,
    /// Turns a bit of the data that it forwards.
    pub(crate) changes_data: bool,
    /// Forwards what it should find unreachable, to bob.
    pub(crate) routes_all: bool,
    /// Takes no token.
    pub(crate) refuses_tokens: bool,
    /// Ends alice's connection at this PREPARE.
    pub(crate) closes_at: Option<u64>,
    /// Sends alice bytes that are no BTP at this PREPARE.
    pub(crate) babbles_at: Option<u64>,
    /// Stands still at this PREPARE, for so long.
    pub(crate) stalls_at: Option<(u64, Duration)>,
    /// Rejects with T02 what alice sends on one connection after so many PREPAREs.
    pub(crate) takes_at_most: Option<u64>,
    /// Turns a bit of the data of every REJECT that it passes on, from this one on.
    pub(crate) changes_rejects_from: Option<u64>,
    /// Shows its accounts as not connected.
    pub(crate) shows_nobody_connected: bool,
    /// Shows one unit more in this word of this account, once the run has begun.
    pub(crate) one_unit_more: Option<(&'static str, &'static str)>,
}

/// How the generator reaches the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    Ws,
    Tcp,
    Unix,
}

/// A running peer. Its threads end with the test's process.
pub(crate) struct Peer {
    pub(crate) folder: PathBuf,
    listen: String,
    connector: Arc<Mutex<Connector>>,
}

type Ledger = [i128; 5];

struct Pending {
    request_id: u32,
    amounts: [i128; 2],
    condition: [u8; 32],
    expires_at_ms: u64,
}

#[derive(Default)]
struct Connector {
    faults: Faults,
    ledgers: [Ledger; 2],
    writers: [Option<Writer>; 2],
    pending: HashMap<u32, Pending>,
    next_id: u32,
    prepares: u64,
    /// PREPAREs since alice connected.
    prepares_of_link: u64,
    accounts_asked: u64,
    rejects_passed: u64,
    answers: u64,
    last_fulfill: Option<(u32, Vec<u8>)>,
}

struct Writer {
    stream: Box<dyn Write + Send>,
    ws: bool,
    close: Box<dyn Fn() + Send>,
}

impl Writer {
    fn frame(&mut self, frame: &[u8]) {
        let mut bytes = Vec::new();
        if self.ws {
            ws::put_binary_header(&mut bytes, frame.len(), None);
        }
        bytes.extend_from_slice(frame);
        let _ = self.stream.write_all(&bytes);
    }

    fn packet(&mut self, frame_type: FrameType, id: u32, packet: &[u8]) {
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, frame_type, id, packet);
        self.frame(&frame);
    }
}

fn utc_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

impl Connector {
    fn prepare(&mut self, id: u32, packet: &[u8]) {
        self.prepares += 1;
        self.prepares_of_link += 1;
        if self.faults.takes_at_most.is_some_and(|most| self.prepares_of_link > most) {
            return self.reject(id, ErrorCode::T02_PEER_BUSY);
        }
        let prepare = Prepare::new_checked(packet).unwrap();
        let amount = prepare.amount();
        let is_bob = address::is_prefix(b"test.peer.bob", prepare.destination());
        if !is_bob && !self.faults.routes_all {
            return self.reject(id, ErrorCode::F02_UNREACHABLE);
        }
        if self.writers[1].is_none() {
            return self.reject(id, ErrorCode::T01_PEER_UNREACHABLE);
        }
        let amount_out = u64::try_from(u128::from(amount) * 5 / 2).unwrap();
        let margin_ms = if self.faults.keeps_expiry { 0 } else { MARGIN_MS };
        let expires_at_ms = prepare.expires_at_ms() - margin_ms;
        let amounts = [i128::from(amount), i128::from(amount_out)];
        self.ledgers[0][1] += amounts[0];
        self.ledgers[1][2] += amounts[1];
        let condition = *prepare.condition();
        let pending = Pending { request_id: id, amounts, condition, expires_at_ms };
        self.next_id += 1;
        self.pending.insert(self.next_id, pending);
        let mut packet = packet.to_vec();
        let amount_out = amount_out + self.faults.adds_to_amount;
        rewrite_prepare(&mut packet, amount_out, &timestamp::write(expires_at_ms));
        if self.faults.changes_data {
            *packet.last_mut().unwrap() ^= 1;
        }
        let id = self.next_id;
        self.writers[1].as_mut().unwrap().packet(FrameType::Message, id, &packet);
    }

    fn answer(&mut self, id: u32, packet: &[u8]) {
        let Some(pending) = self.pending.remove(&id) else { return };
        self.answers += 1;
        self.free(&pending);
        if packet_type(packet) == Some(PacketType::Reject) {
            self.rejects_passed += 1;
            self.repeat_late();
            let mut packet = packet.to_vec();
            if self.faults.changes_rejects_from.is_some_and(|from| self.rejects_passed >= from) {
                *packet.last_mut().unwrap() ^= 1;
            }
            return self.tell_alice(pending.request_id, &packet);
        }
        let fulfillment = *Fulfill::new_checked(packet).unwrap().fulfillment();
        if digest(&SHA256, &fulfillment).as_ref() != pending.condition {
            return self.reject(pending.request_id, ErrorCode::F05_WRONG_CONDITION);
        }
        self.ledgers[0][0] += pending.amounts[0];
        self.ledgers[1][0] -= pending.amounts[1];
        let mut packet = packet.to_vec();
        packet[10] ^= u8::from(self.faults.changes_fulfillments);
        self.tell_alice(pending.request_id, &packet);
        self.last_fulfill = Some((pending.request_id, packet));
    }

    fn repeat_late(&mut self) {
        if let Some((id, packet)) = self.last_fulfill.take_if(|_| self.faults.repeats_late) {
            self.tell_alice(id, &packet);
        }
    }

    fn expire(&mut self) {
        let now_ms = utc_ms();
        let past: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.expires_at_ms <= now_ms)
            .map(|(&id, _)| id)
            .collect();
        for id in past {
            let pending = self.pending.remove(&id).unwrap();
            self.free(&pending);
            self.reject(pending.request_id, ErrorCode::R00_TRANSFER_TIMED_OUT);
        }
    }

    fn free(&mut self, pending: &Pending) {
        self.ledgers[0][1] -= pending.amounts[0];
        self.ledgers[1][2] -= pending.amounts[1];
    }

    fn reject(&mut self, id: u32, code: ErrorCode) {
        let mut packet = Vec::new();
        put_reject(&mut packet, code, b"test.peer", b"", b"");
        self.tell_alice(id, &packet);
    }

    fn tell_alice(&mut self, id: u32, packet: &[u8]) {
        let faults = self.faults.clone();
        let writer = self.writers[0].as_mut().unwrap();
        writer.packet(FrameType::Response, id, packet);
        if faults.answers_twice || faults.answers_twice_up_to.is_some_and(|to| self.answers <= to) {
            writer.packet(FrameType::Response, id, packet);
        }
        if faults.answers_strangers {
            writer.packet(FrameType::Response, !id, packet);
        }
    }

    /// What is to happen at a PREPARE besides forwarding it.
    fn misbehave(&mut self) {
        if self.faults.closes_at == Some(self.prepares) {
            (self.writers[0].as_ref().unwrap().close)();
        }
        if self.faults.babbles_at == Some(self.prepares) {
            let writer = self.writers[0].as_mut().unwrap();
            let _ = writer.stream.write_all(&[0x85; 64]);
        }
        match self.faults.stalls_at {
            Some((at, time)) if at == self.prepares => thread::sleep(time),
            _ => {}
        }
    }

    fn control(&mut self, line: &str) -> String {
        if line.contains("status") {
            return r#"{"ok":true,"version":"0.9-test","cpu_user_us":5,"cpu_system_us":6}"#.into();
        }
        self.accounts_asked += 1;
        if self.accounts_asked > 1 {
            self.repeat_late();
        }
        let mut accounts = Vec::new();
        for (name, ledger) in NAMES.iter().zip(&self.ledgers) {
            let mut account = serde_json::json!({ "name": name, "connected": true });
            if self.faults.shows_nobody_connected {
                account["connected"] = false.into();
            }
            for (word, value) in WORDS.iter().zip(ledger) {
                let more = self.faults.one_unit_more == Some((name, word));
                let more = i128::from(more && self.accounts_asked > 1);
                account[word] = (value + more).to_string().into();
            }
            accounts.push(account);
        }
        serde_json::json!({ "ok": true, "accounts": accounts }).to_string()
    }
}

impl Peer {
    /// Starts a peer that listens on one transport, and its control socket.
    pub(crate) fn start(transport: Transport, faults: Faults) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("m2-load-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let connector = Connector { faults, ..Connector::default() };
        let connector = Arc::new(Mutex::new(connector));
        let listen = listen(transport, &folder, &connector);
        serve_control(&folder.join("control.sock"), &connector);
        let clock = Arc::clone(&connector);
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(5));
                lock(&clock).expire();
            }
        });
        Self { folder, listen, connector }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        self.listen.replace("NAME", name)
    }

    /// Returns once so many PREPAREs have arrived. A generator that sends none hangs the test.
    pub(crate) fn wait_for_prepares(&self, count: u64) {
        while self.prepares() < count {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// PREPAREs that have arrived so far.
    pub(crate) fn prepares(&self) -> u64 {
        lock(&self.connector).prepares
    }

    /// Returns once bob has given so many answers.
    pub(crate) fn wait_for_answers(&self, count: u64) {
        while lock(&self.connector).answers < count {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the connection of an account.
    pub(crate) fn close(&self, name: &str) {
        let index = NAMES.iter().position(|known| *known == name).unwrap();
        (lock(&self.connector).writers[index].as_ref().unwrap().close)();
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn lock(connector: &Mutex<Connector>) -> std::sync::MutexGuard<'_, Connector> {
    connector.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(transport: Transport, folder: &Path, connector: &Arc<Mutex<Connector>>) -> String {
    let connector = Arc::clone(connector);
    if transport == Transport::Unix {
        let path = folder.join("btp.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (read, write, close) =
                    (stream.try_clone().unwrap(), stream.try_clone().unwrap(), stream);
                let close = Box::new(move || drop(close.shutdown(Shutdown::Both)));
                let writer = Writer { stream: Box::new(write), ws: false, close };
                let connector = Arc::clone(&connector);
                thread::spawn(move || serve(read, writer, &connector));
            }
        });
        return format!("btp+unix://NAME@{}", path.display());
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let ws = transport == Transport::Ws;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connector = Arc::clone(&connector);
            thread::spawn(move || accept_tcp(stream, ws, &connector));
        }
    });
    if ws { format!("btp+ws://NAME@{address}/x") } else { format!("btp+tcp://NAME@{address}") }
}

fn accept_tcp(mut stream: TcpStream, ws: bool, connector: &Mutex<Connector>) {
    stream.set_nodelay(true).unwrap();
    if ws {
        let mut request = Vec::new();
        let parsed = loop {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            request.push(byte[0]);
            match handshake::parse_request(&request) {
                Ok(None) => {}
                Ok(Some(parsed)) => break parsed,
                Err(_) => return,
            }
        };
        let mut response = Vec::new();
        parsed.put_response(&mut response);
        stream.write_all(&response).unwrap();
    }
    let (read, write) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    let close = Box::new(move || drop(stream.shutdown(Shutdown::Both)));
    serve(read, Writer { stream: Box::new(write), ws, close }, connector);
}

/// Reads frames until the stream ends; the first of them authenticates.
fn serve(mut stream: impl Read, writer: Writer, connector: &Mutex<Connector>) {
    let mut reader = writer.ws.then(|| ws::Reader::new(ws::Role::Server, btp::FRAME_LEN_MAX));
    let mut writer = Some(writer);
    let (mut buffer, mut piece) = (Vec::new(), [0; 65_536]);
    loop {
        let len = stream.read(&mut piece).unwrap_or(0);
        if len == 0 {
            return;
        }
        buffer.extend_from_slice(&piece[..len]);
        while let Some((consumed, range)) = next(&mut reader, &mut buffer) {
            if let Some(range) = range {
                let bytes = buffer[range].to_vec();
                let Ok(frame) = Frame::new_checked(&bytes) else { return };
                match writer.take() {
                    Some(new) => authenticate(&frame, new, connector),
                    None => handle(&frame, connector),
                }
            }
            buffer.drain(..consumed);
        }
    }
}

type Found = (usize, Option<std::ops::Range<usize>>);

fn next(reader: &mut Option<ws::Reader>, buffer: &mut [u8]) -> Option<Found> {
    let Some(reader) = reader else {
        let len = btp::frame_len(buffer).unwrap()?;
        return (len <= buffer.len()).then_some((len, Some(0..len)));
    };
    match reader.next(buffer).unwrap()? {
        (consumed, Event::Message(range)) => Some((consumed, Some(range))),
        (consumed, _) => Some((consumed, None)),
    }
}

fn authenticate(frame: &Frame<'_>, mut writer: Writer, connector: &Mutex<Connector>) {
    let auth = btp::auth::read(frame).unwrap();
    let index = NAMES.iter().position(|name| Some(*name) == auth.username).unwrap();
    let mut connector = lock(connector);
    let mut answer = Vec::new();
    if connector.faults.refuses_tokens || auth.token != format!("token-of-{}", NAMES[index]) {
        let id = frame.request_id();
        btp::put_error(&mut answer, id, b"F00", "NotAcceptedError", utc_ms(), b"", &[]);
        writer.frame(&answer);
        return (writer.close)();
    }
    btp::put_response(&mut answer, frame.request_id(), &[]);
    writer.frame(&answer);
    connector.writers[index] = Some(writer);
    if index == 0 {
        connector.prepares_of_link = 0;
    }
}

fn handle(frame: &Frame<'_>, connector: &Mutex<Connector>) {
    let mut connector = lock(connector);
    match frame.frame_type() {
        FrameType::Message => {
            connector.prepare(frame.request_id(), frame.ilp().unwrap());
            connector.misbehave();
        }
        _ => connector.answer(frame.request_id(), frame.ilp().unwrap()),
    }
}

fn serve_control(path: &Path, connector: &Arc<Mutex<Connector>>) {
    let listener = UnixListener::bind(path).unwrap();
    let connector = Arc::clone(connector);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer_control(stream, &connector);
        }
    });
}

fn answer_control(stream: UnixStream, connector: &Mutex<Connector>) {
    let mut write = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let answer = lock(connector).control(&line) + "\n";
        if write.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

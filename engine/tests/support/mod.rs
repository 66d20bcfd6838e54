//! The real binary on free loopback ports, and peers that speak to it through std sockets.
//!
//! Nothing here sleeps to let something happen: it waits for a condition, and fails when a deadline
//! passes.

#![allow(dead_code)] // each test file uses a part
#![allow(clippy::unwrap_used)] // test code, though not inside of a test

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use m2_codec::btp::{self, Entry, Frame, FrameType, auth};
use m2_codec::ilp::{ErrorCode, Fulfill, Prepare, PrepareRepr, Reject};
use m2_codec::{ilp, ws};
use serde_json::{Value, json};

/// Nothing in these tests takes longer when it works.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Shards of every switch: the files that `two_shards.rs` has run again there with two.
pub(crate) const SHARDS: u16 =
    if matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"two_shards") { 2 } else { 1 };

/// Every test's configuration: three children in one asset, and a route for a dialled peer.
pub(crate) const ACCOUNTS: &str = r#"
[[assets]]
code = "USD"
scale = 9
[[accounts]]
name = "alice"
relation = "child"
asset = "USD/9"
token = "alice-secret"
balance_max = 1000000000
payable_max = 1000000000
[[accounts]]
name = "bob"
relation = "child"
asset = "USD/9"
token = "bob-secret"
balance_max = 1000000000
payable_max = 1000000000
[[accounts]]
name = "carol"
relation = "child"
asset = "USD/9"
token = "carol-secret"
balance_max = 1000000000
payable_max = 1000000000
"#;

/// What moves the bytes of links, unless a test says so: io_uring in `io_uring.rs`, which has the tests
/// of other files once more.
fn io() -> &'static str {
    if env!("CARGO_CRATE_NAME") == "io_uring" { "io_uring" } else { "epoll" }
}

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("m2-switch-test-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            // There may be several of these modules in a process, and each counts by itself.
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => {
                    made.unwrap();
                    return Self(path);
                }
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The switch of a folder, its journal on a disk of its own.
fn on_a_small_disk(folder: &Path, size: &str, before: &str) -> Command {
    let script = format!(
        "cd {folder:?} && mount -t tmpfs -o size={size} tmpfs journal && {before} && exec {:?} run \
         --config switch.toml",
        env!("CARGO_BIN_EXE_m2-switch")
    );
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    command
}

/// A running switch. It is killed when the test ends before it does.
pub(crate) struct Switch {
    child: Child,
    log: PathBuf,
    folder: Folder,
    ws: String,
    tcp: String,
}

impl Switch {
    /// With [`ACCOUNTS`] and whatever `more` adds to the file.
    pub(crate) fn start(connection: &str, more: &str) -> Self {
        Self::start_with("", connection, &format!("{ACCOUNTS}{more}"))
    }

    /// With [`ACCOUNTS`] and keys of `[journal]`.
    pub(crate) fn start_with_journal(journal: &str) -> Self {
        Self::start_with("", &format!("[journal]\n{journal}\n[connection]"), ACCOUNTS)
    }

    /// With keys of `[switch]` and of `[connection]`, and the tables that follow.
    pub(crate) fn start_with(switch: &str, connection: &str, tables: &str) -> Self {
        Self::start_in(Self::prepare(switch, connection, tables), spawn)
    }

    /// A folder with a configuration.
    fn prepare(switch: &str, connection: &str, tables: &str) -> Folder {
        let folder = Folder::new();
        // A test's journal is short. `connection` may begin with keys of `[journal]`.
        let sections = if connection.starts_with("[journal]") {
            connection.replacen("[journal]", "[journal]\nsegment_bytes = 1048576", 1)
        } else {
            format!("[journal]\nsegment_bytes = 1048576\n[connection]\n{connection}")
        };
        let io = if switch.contains("io = ") { String::new() } else { format!("io = {:?}", io()) };
        let shards =
            if switch.contains("shards = ") { String::new() } else { format!("shards = {SHARDS}") };
        let text = format!(
            "[switch]\n{io}\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"control.sock\"\n\
             in_flight_slots = 4096\n{shards}\n{switch}\n{sections}\n\
             [[listen]]\ntransport = \"ws\"\naddress = \"127.0.0.1:0\"\n\
             [[listen]]\ntransport = \"tcp\"\naddress = \"127.0.0.1:0\"\n\
             [[listen]]\ntransport = \"unix\"\npath = \"btp.sock\"\n{tables}"
        );
        std::fs::write(folder.path().join("switch.toml"), text).unwrap();
        folder
    }

    fn start_in(folder: Folder, spawn: impl FnOnce(&Path, &Path) -> Child) -> Self {
        let log = folder.path().join("stderr.log");
        let child = spawn(&folder.path().join("switch.toml"), &log);
        let mut switch = Self { child, log, folder, ws: String::new(), tcp: String::new() };
        switch.get_ready();
        switch
    }

    /// With a journal on a disk of its own, of so many bytes, on which a command of the shell is run
    /// first. The disk is in the memory, and only the switch sees it.
    pub(crate) fn start_on_a_small_disk(size: &str, before: &str) -> Self {
        let folder = Self::prepare("", "", ACCOUNTS);
        std::fs::create_dir(folder.path().join("journal")).unwrap();
        Self::start_in(folder, |file, log| {
            on_a_small_disk(file.parent().unwrap(), size, before)
                .stderr(File::create(log).unwrap())
                .spawn()
                .expect("util-linux has unshare")
        })
    }

    /// As [`Self::start_on_a_small_disk`], where it is not to get far: its exit status, and what it says.
    pub(crate) fn fail_on_a_small_disk(size: &str, before: &str) -> (Option<i32>, String) {
        let folder = Self::prepare("", "", ACCOUNTS);
        std::fs::create_dir(folder.path().join("journal")).unwrap();
        let output = on_a_small_disk(folder.path(), size, before).output();
        let output = output.expect("util-linux has unshare");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The folder with what is mounted in it.
    pub(crate) fn folder_as_it_sees_it(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(self.folder().strip_prefix("/").unwrap())
    }

    /// Kills the switch as the system does it, without a word, and starts it again over what it left.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Kills the switch as the system does it, without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the switch again, which is not to get far: its exit status, and what it says.
    pub(crate) fn fail_to_start(&mut self) -> (Option<i32>, String) {
        self.child = spawn(&self.folder().join("switch.toml"), &self.log);
        let status = self.wait_for_exit();
        (status.code(), self.log())
    }

    /// From the next start on it has so many shards.
    pub(crate) fn set_shards(&self, shards: u16) {
        let file = self.folder().join("switch.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let line = text.lines().find(|line| line.starts_with("shards = ")).unwrap();
        std::fs::write(&file, text.replace(line, &format!("shards = {shards}"))).unwrap();
    }

    /// Starts the switch again after it has ended.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder().join("switch.toml"), &self.log);
        self.get_ready();
    }

    /// Starts the switch again, and waits for words of its log only; gives all of it.
    pub(crate) fn begin_to_restart(&mut self, words: &str) -> String {
        self.child = spawn(&self.folder().join("switch.toml"), &self.log);
        self.wait_for_log(words);
        self.log()
    }

    pub(crate) fn get_ready(&mut self) {
        self.wait_for_log("ready");
        let status = self.ask(&json!({ "cmd": "status" }));
        for listen in status["listen"].as_array().unwrap() {
            let address = listen["address"].as_str().unwrap().to_owned();
            match listen["transport"].as_str().unwrap() {
                "ws" => self.ws = address,
                "tcp" => self.tcp = address,
                _ => {}
            }
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    pub(crate) fn wait_for_log(&self, words: &str) {
        wait(&format!("the log says {words:?}"), || self.log().contains(words));
    }

    pub(crate) fn control(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder().join("control.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    pub(crate) fn ask(&self, request: &Value) -> Value {
        let answer = self.ask_line(&request.to_string());
        serde_json::from_str(&answer).unwrap()
    }

    pub(crate) fn ask_line(&self, line: &str) -> String {
        let mut stream = self.control();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer
    }

    /// A field of an account, as the control socket has it now.
    pub(crate) fn account(&self, name: &str, field: &str) -> Value {
        let answer = self.ask(&json!({ "cmd": "accounts" }));
        let accounts = answer["accounts"].as_array().unwrap();
        let account = accounts.iter().find(|it| it["name"] == name).unwrap();
        account[field].clone()
    }

    pub(crate) fn counter(&self, group: &str, name: &str) -> u64 {
        let value = &self.ask(&json!({ "cmd": "counters" }))[group][name];
        value.as_u64().unwrap_or_else(|| panic!("no counter {group}.{name}"))
    }

    /// How often we refused with this code.
    pub(crate) fn refused(&self, code: &str) -> u64 {
        let counters = self.ask(&json!({ "cmd": "counters" }));
        let refusals = counters["refusals"].as_array().unwrap();
        let of_code = refusals.iter().filter(|refusal| refusal["code"] == code);
        of_code.map(|refusal| refusal["count"].as_u64().unwrap()).sum()
    }

    /// Waits until so many requests of an account were looked at.
    pub(crate) fn wait_for_requests(&self, name: &str, count: u64) {
        wait(&format!("{count} requests of {name}"), || {
            self.account(name, "requests_in").as_u64().unwrap() >= count
        });
    }

    pub(crate) fn wait_for_counter(&self, group: &str, name: &str, least: u64) {
        wait(&format!("{group}.{name} is {least}"), || self.counter(group, name) >= least);
    }

    pub(crate) fn connect_ws(&self, path: &str) -> Peer {
        Peer::ws(&self.ws, path)
    }

    pub(crate) fn connect_tcp(&self) -> Peer {
        Peer::new(Stream::Tcp(TcpStream::connect(&self.tcp).unwrap()), None)
    }

    pub(crate) fn connect_unix(&self) -> Peer {
        let stream = UnixStream::connect(self.folder().join("btp.sock")).unwrap();
        Peer::new(Stream::Unix(stream), None)
    }

    pub(crate) fn tcp_address(&self) -> &str {
        &self.tcp
    }

    pub(crate) fn ws_address(&self) -> &str {
        &self.ws
    }

    /// An authenticated connection of each kind.
    pub(crate) fn peer(&self, transport: &str, name: &str) -> Peer {
        let mut peer = match transport {
            "ws" => self.connect_ws("/"),
            "tcp" => self.connect_tcp(),
            "unix" => self.connect_unix(),
            unknown => panic!("{unknown}"),
        };
        peer.authenticate(Some(name), &format!("{name}-secret"));
        peer
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait("the switch exits", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

/// A file, and no thread that reads a pipe: ThreadSanitizer takes what a Mutex of the standard library
/// guards for a race when two threads want it at once (xtask/src/thread_sanitizer.txt).
fn spawn(file: &Path, log: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_m2-switch"))
        .args(["run", "--accept-loss", "--config"])
        .arg(file)
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap()
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the switch ---\n{}", self.log());
        }
    }
}

/// What a control socket answers to `status`; null if nobody does.
pub(crate) fn status_at(path: &Path) -> Value {
    let ask = || -> std::io::Result<Value> {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"{\"cmd\":\"status\"}\n")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    };
    ask().unwrap_or_default()
}

/// Looks until something holds.
#[track_caller]
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn io(&mut self) -> (&mut dyn Read, Option<()>) {
        match self {
            Self::Tcp(stream) => (stream, None),
            Self::Unix(stream) => (stream, None),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Ends our side.
    pub(crate) fn end(&self) {
        let write = std::net::Shutdown::Write;
        match self {
            Self::Tcp(stream) => stream.shutdown(write),
            Self::Unix(stream) => stream.shutdown(write),
        }
        .unwrap();
    }

    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.io().0.read(bytes)
    }

    fn set_timeouts(&self, timeout: Duration) {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout)).unwrap();
                stream.set_write_timeout(Some(timeout)).unwrap();
                stream.set_nodelay(true).unwrap();
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(timeout)).unwrap();
                stream.set_write_timeout(Some(timeout)).unwrap();
            }
        }
    }
}

/// A frame as a peer got it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Got {
    pub(crate) frame_type: FrameType,
    pub(crate) request_id: u32,
    /// Of the `ilp` entry; empty without one.
    pub(crate) packet: Vec<u8>,
    pub(crate) entries: usize,
    pub(crate) error_code: Option<[u8; 3]>,
    /// Of the entry of settlement processes, or of an ERROR.
    pub(crate) said: String,
}

impl Got {
    pub(crate) fn reject_code(&self) -> ErrorCode {
        Reject::new_checked(&self.packet).unwrap().code()
    }

    pub(crate) fn fulfillment(&self) -> [u8; 32] {
        *Fulfill::new_checked(&self.packet).unwrap().fulfillment()
    }
}

/// What a peer reads next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    Frame(Got),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A WebSocket close frame.
    Close(u16),
    /// The connection is over.
    End,
}

/// The other end of a link.
pub(crate) struct Peer {
    pub(crate) stream: Stream,
    /// Its end of the WebSocket; none on a plain stream.
    pub(crate) role: Option<ws::Role>,
    reader: ws::Reader,
    bytes: Vec<u8>,
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl Peer {
    pub(crate) fn new(stream: Stream, role: Option<ws::Role>) -> Self {
        stream.set_timeouts(DEADLINE);
        let reader = ws::Reader::new(role.unwrap_or(ws::Role::Client), btp::FRAME_LEN_MAX);
        Self { stream, role, reader, bytes: Vec::new() }
    }

    /// A WebSocket client past its handshake.
    pub(crate) fn ws(address: &str, path: &str) -> Self {
        let stream = Stream::Tcp(TcpStream::connect(address).unwrap());
        let mut peer = Self::new(stream, Some(ws::Role::Client));
        let key = [9; 16];
        let mut request = Vec::new();
        ws::handshake::put_request(&mut request, address, path, &key);
        peer.stream.write(&request).unwrap();
        loop {
            if let Some(consumed) = ws::handshake::check_response(&peer.bytes, &key).unwrap() {
                peer.bytes.drain(..consumed);
                return peer;
            }
            assert!(peer.more(), "the server ended the handshake");
        }
    }

    /// A WebSocket server past its handshake.
    pub(crate) fn accept_ws(stream: TcpStream) -> Self {
        let mut peer = Self::new(Stream::Tcp(stream), Some(ws::Role::Server));
        loop {
            if let Some(request) = ws::handshake::parse_request(&peer.bytes).unwrap() {
                peer.bytes.drain(..request.consumed);
                let mut response = Vec::new();
                request.put_response(&mut response);
                peer.stream.write(&response).unwrap();
                return peer;
            }
            assert!(peer.more(), "the client ended the handshake");
        }
    }

    pub(crate) fn authenticate(&mut self, name: Option<&str>, token: &str) {
        self.send_auth(name, token);
        let Next::Frame(answer) = self.next() else { panic!("no answer to auth") };
        assert_eq!((answer.frame_type, answer.request_id), (FrameType::Response, 42));
        assert_eq!(answer.entries, 0);
    }

    pub(crate) fn send_auth(&mut self, name: Option<&str>, token: &str) {
        let mut frame = Vec::new();
        auth::put(&mut frame, 42, name, token);
        self.send(&frame);
    }

    /// Takes the auth of who dialled us.
    pub(crate) fn take_auth(&mut self) -> (Option<String>, String) {
        let bytes = self.next_bytes().expect("an auth frame");
        let frame = Frame::new_checked(&bytes).unwrap();
        let auth = auth::read(&frame).unwrap();
        let shown = (auth.username.map(str::to_owned), auth.token.to_owned());
        let mut answer = Vec::new();
        btp::put_response(&mut answer, frame.request_id(), &[]);
        self.send(&answer);
        shown
    }

    /// A BTP frame, framed as this connection wants it.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.try_send(frame).unwrap();
    }

    pub(crate) fn try_send(&mut self, frame: &[u8]) -> std::io::Result<()> {
        let mut out = Vec::new();
        self.put(&mut out, frame);
        self.stream.write(&out)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>, frame: &[u8]) {
        match self.role {
            None => out.extend_from_slice(frame),
            Some(_) => put_ws(out, 0x82, frame, self.mask()),
        }
    }

    /// One raw WebSocket frame: FIN and opcode as given.
    pub(crate) fn send_ws(&mut self, first: u8, payload: &[u8]) {
        let mut out = Vec::new();
        put_ws(&mut out, first, payload, self.mask());
        self.stream.write(&out).unwrap();
    }

    fn mask(&self) -> Option<[u8; 4]> {
        (self.role == Some(ws::Role::Client)).then_some(MASK)
    }

    pub(crate) fn send_prepare(&mut self, request_id: u32, packet: &[u8]) {
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, FrameType::Message, request_id, packet);
        self.send(&frame);
    }

    pub(crate) fn send_response(&mut self, request_id: u32, packet: &[u8]) {
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, FrameType::Response, request_id, packet);
        self.send(&frame);
    }

    pub(crate) fn send_message(&mut self, request_id: u32, name: &[u8], data: &[u8]) {
        let mut frame = Vec::new();
        let entry = Entry { name, content_type: btp::OCTET_STREAM, data };
        btp::put_message(&mut frame, request_id, &[entry]);
        self.send(&frame);
    }

    /// Says something to the settlement process at the other end.
    pub(crate) fn say(&mut self, request_id: u32, data: &[u8]) {
        self.send_message(request_id, btp::SETTLEMENT, data);
    }

    /// Answers what that has said.
    pub(crate) fn say_back(&mut self, request_id: u32, data: &[u8]) {
        let (name, content_type) = (btp::SETTLEMENT, btp::OCTET_STREAM);
        let mut frame = Vec::new();
        btp::put_response(&mut frame, request_id, &[Entry { name, content_type, data }]);
        self.send(&frame);
    }

    /// The next thing that comes.
    pub(crate) fn next(&mut self) -> Next {
        match self.next_event() {
            Event::Frame(bytes) => Next::Frame(got(&bytes)),
            Event::Other(next) => next,
        }
    }

    /// The next frame; anything else is a failure.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Got {
        match self.next() {
            Next::Frame(got) => got,
            other => panic!("wanted a frame, got {other:?}"),
        }
    }

    fn next_bytes(&mut self) -> Option<Vec<u8>> {
        match self.next_event() {
            Event::Frame(bytes) => Some(bytes),
            Event::Other(_) => None,
        }
    }

    fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.split() {
                return event;
            }
            if !self.more() {
                return Event::Other(Next::End);
            }
        }
    }

    fn split(&mut self) -> Option<Event> {
        if self.role.is_none() {
            let len = btp::frame_len(&self.bytes).unwrap()?;
            let frame = self.bytes.get(..len)?.to_vec();
            self.bytes.drain(..len);
            return Some(Event::Frame(frame));
        }
        loop {
            let (consumed, event) = self.reader.next(&mut self.bytes).unwrap()?;
            let event = match event {
                ws::Event::Message(range) => Some(Event::Frame(self.bytes[range].to_vec())),
                ws::Event::Assembled => Some(Event::Frame(self.reader.assembled().to_vec())),
                ws::Event::Ping(range) => Some(Next::Ping(self.bytes[range].to_vec()).into()),
                ws::Event::Pong => {
                    // The payload is what stands behind a header of 2 bytes, or of 6 with a mask.
                    let header = if self.role == Some(ws::Role::Server) { 6 } else { 2 };
                    Some(Next::Pong(self.bytes[header..consumed].to_vec()).into())
                }
                ws::Event::Close { code } => Some(Next::Close(code).into()),
                ws::Event::Fragment => None,
                ws::Event::Text => panic!("we sent no text"),
            };
            self.bytes.drain(..consumed);
            if event.is_some() {
                return event;
            }
        }
    }

    /// Reads until the connection ends; what was still said comes back.
    pub(crate) fn until_end(&mut self) -> Vec<Next> {
        let mut said = Vec::new();
        loop {
            match self.next() {
                Next::End => return said,
                next => said.push(next),
            }
        }
    }

    fn more(&mut self) -> bool {
        let mut chunk = [0; 16 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.bytes.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }

    /// Waits until bytes come here (`true`), or bytes or the end at the other (`false`), both plain TCP.
    pub(crate) fn wait_readable(&self, other: &Self) -> bool {
        let peek = |peer: &Self| {
            let Stream::Tcp(stream) = &peer.stream else { panic!("a TCP peer") };
            stream.set_nonblocking(true).unwrap();
            let seen = stream.peek(&mut [0]).ok();
            stream.set_nonblocking(false).unwrap();
            if peer.bytes.is_empty() { seen } else { Some(1) }
        };
        let mut here = false;
        wait("one of the two hears something", || {
            here = peek(self).is_some_and(|count| count > 0);
            here || peek(other).is_some()
        });
        here
    }

    /// Takes the PREPARE that comes next and fulfils it.
    pub(crate) fn fulfill_next(&mut self, fulfillment: &[u8; 32]) -> Got {
        let got = self.frame();
        assert_eq!(got.frame_type, FrameType::Message);
        let mut packet = Vec::new();
        ilp::put_fulfill(&mut packet, fulfillment, b"thanks");
        self.send_response(got.request_id, &packet);
        got
    }
}

enum Event {
    Frame(Vec<u8>),
    Other(Next),
}

impl From<Next> for Event {
    fn from(next: Next) -> Self {
        Self::Other(next)
    }
}

fn got(bytes: &[u8]) -> Got {
    let frame = Frame::new_checked(bytes).unwrap();
    Got {
        frame_type: frame.frame_type(),
        request_id: frame.request_id(),
        packet: frame.ilp().unwrap_or_default().to_vec(),
        entries: frame.protocol_data().count(),
        error_code: frame.error().map(|error| error.code),
        said: {
            let said = frame.settlement().map(|entry| entry.data);
            let said = said.or_else(|| Some(frame.error()?.data)).unwrap_or_default();
            String::from_utf8_lossy(said).into_owned()
        },
    }
}

pub(crate) fn put_ws(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    let head = out.len();
    ws::put_binary_header(out, payload.len(), mask);
    out[head] = first;
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        ws::apply_mask(&mut out[start..], mask);
    }
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A PREPARE of `amount` that [`preimage`] of `seed` fulfils, good for ten seconds.
pub(crate) fn prepare(destination: &str, amount: u64, seed: u8) -> Vec<u8> {
    prepare_with(destination, amount, seed, 10_000, b"")
}

pub(crate) fn prepare_with(
    destination: &str,
    amount: u64,
    seed: u8,
    expires_in_ms: u64,
    data: &[u8],
) -> Vec<u8> {
    PrepareRepr {
        amount,
        expires_at_ms: now_ms() + expires_in_ms,
        condition: m2_core::sha256_of_32(&preimage(seed)),
        destination: destination.parse().unwrap(),
        data: data.to_vec(),
    }
    .encode()
}

pub(crate) fn preimage(seed: u8) -> [u8; 32] {
    [seed; 32]
}

pub(crate) fn amount_of(packet: &[u8]) -> u64 {
    Prepare::new_checked(packet).unwrap().amount()
}

/// Sends one packet from one to the other and sees it fulfilled.
#[track_caller]
pub(crate) fn pay(from: &mut Peer, to: &mut Peer, destination: &str, amount: u64) {
    from.send_prepare(7, &prepare(destination, amount, 3));
    let forwarded = to.fulfill_next(&preimage(3));
    assert_eq!(amount_of(&forwarded.packet), amount);
    let answer = from.frame();
    assert_eq!((answer.frame_type, answer.request_id), (FrameType::Response, 7));
    assert_eq!(answer.fulfillment(), preimage(3));
}

//! Two switches that are linked, as far as their settlement processes see them.
//!
//! Invariant: an order counts when it is heard, once for each key, whether its answer arrives or not; what is
//! frozen stands until it was settled or cancelled, and is told anew on each connection.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How long a settlement process may take to read a line.
const LINE_TIME: Duration = Duration::from_secs(20);

/// An account as its switch has it. Amounts are units of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) scale: u8,
    /// What is owed and not frozen.
    pub(crate) owed: u128,
    /// From so much on it is frozen at once.
    pub(crate) threshold: u128,
    /// The key and the amount that are being paid.
    pub(crate) frozen: Option<(String, u128)>,
    pub(crate) settled: BTreeMap<String, u128>,
    pub(crate) cancelled: BTreeMap<String, u128>,
    pub(crate) credits: BTreeMap<String, u128>,
    pub(crate) reversals: BTreeMap<String, u128>,
    /// `balance_max` and `payable_max`, as they were set.
    pub(crate) limits: Vec<(String, String)>,
    /// How often an order was told that was known.
    pub(crate) repeated: usize,
    /// Orders that contradict what is known: there must be none.
    pub(crate) contradictions: Vec<Value>,
}

impl Book {
    pub(crate) fn credited(&self) -> u128 {
        self.credits.values().sum::<u128>() - self.reversals.values().sum::<u128>()
    }

    pub(crate) fn paid(&self) -> u128 {
        self.settled.values().sum()
    }
}

/// What a fault ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Victim {
    Settle(usize),
    Switch(usize),
}

/// Ends somebody at a line that is said or heard.
struct Fault {
    lines: usize,
    /// Of lines that have this in them.
    with: String,
    /// Before the line counts, or behind it.
    before: bool,
    victim: Victim,
}

enum Asker {
    Peer { side: usize, account: String, token: u64, connection: u64 },
    Test(Sender<Result<String, String>>),
}

#[derive(Default)]
struct Side {
    path: PathBuf,
    books: BTreeMap<String, Book>,
    /// Grows with each time that it listens.
    life: u64,
    listens: bool,
    connection: Option<(u64, UnixStream)>,
    /// The settlement process, for faults.
    process: Option<rustix::process::Pid>,
}

#[derive(Default)]
struct World {
    sides: [Side; 2],
    /// Of account and account: side 0's name, side 1's name.
    links: Vec<[String; 2]>,
    next: u64,
    /// Messages that wait for a reply: at which side they are, and who hears of it.
    waiting: BTreeMap<u64, (usize, Asker)>,
    fault: Option<Fault>,
    fallen: Option<Victim>,
}

/// See the head of the file.
#[derive(Clone, Default)]
pub(crate) struct Switches {
    world: Arc<(Mutex<World>, Condvar)>,
}

impl Switches {
    /// `links`: of each the names and the scale of both accounts.
    pub(crate) fn start(paths: [PathBuf; 2], links: &[([&str; 2], u8)]) -> Self {
        let switches = Self::default();
        {
            let mut world = switches.lock();
            for (names, scale) in links {
                for (side, name) in names.iter().enumerate() {
                    let book = Book { scale: *scale, threshold: 1, ..Book::default() };
                    world.sides[side].books.insert((*name).to_owned(), book);
                }
                world.links.push(names.map(str::to_owned));
            }
            for (side, path) in world.sides.iter_mut().zip(paths) {
                side.path = path;
            }
        }
        switches.listen(0);
        switches.listen(1);
        switches
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.0.lock().unwrap()
    }

    /// Until something has happened, or it is time to look elsewhere.
    pub(crate) fn wait(&self, at_most: Duration) {
        drop(self.world.1.wait_timeout(self.lock(), at_most).unwrap());
    }

    pub(crate) fn book(&self, side: usize, account: &str) -> Book {
        self.lock().sides[side].books[account].clone()
    }

    pub(crate) fn change(&self, side: usize, account: &str, change: impl FnOnce(&mut Book)) {
        change(self.lock().sides[side].books.get_mut(account).unwrap());
    }

    /// A switch begins to listen, with the books that it had.
    pub(crate) fn listen(&self, side: usize) {
        let mut world = self.lock();
        let path = world.sides[side].path.clone();
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path).unwrap();
        world.sides[side].life += 1;
        world.sides[side].listens = true;
        let life = world.sides[side].life;
        world.tell_links("up");
        drop(world);
        let switches = self.clone();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(socket) = socket else { return };
                if !switches.accept(side, life, socket) {
                    return;
                }
            }
        });
    }

    /// A switch is gone at once; its books are on disk.
    pub(crate) fn kill(&self, side: usize) {
        self.lock().end_switch(side);
    }

    pub(crate) fn set_process(&self, side: usize, process: Option<rustix::process::Pid>) {
        self.lock().sides[side].process = process;
    }

    /// More is owed.
    pub(crate) fn owe(&self, side: usize, account: &str, amount: u128) {
        let mut world = self.lock();
        world.sides[side].books.get_mut(account).unwrap().owed += amount;
        world.freeze_what_is_due(side, account);
    }

    /// Something is said to a settlement process as if its peer's had; the bytes of its answer.
    pub(crate) fn say(
        &self,
        side: usize,
        account: &str,
        bytes: &[u8],
    ) -> Receiver<Result<String, String>> {
        let (tells, told) = channel();
        let mut world = self.lock();
        let hex = m2_settlement::chain::to_hex(bytes);
        world.pass_on(side, account, &hex, Asker::Test(tells));
        told
    }

    /// At that line from now on, said or heard by either switch, somebody ends.
    pub(crate) fn fault(&self, lines: usize, before: bool, victim: Victim) {
        self.lock().fault = Some(Fault { lines, with: String::new(), before, victim });
    }

    /// At the next line of that kind somebody ends.
    pub(crate) fn fault_at(&self, kind: &str, before: bool, victim: Victim) {
        let with = format!(":\"{kind}\"");
        self.lock().fault = Some(Fault { lines: 1, with, before, victim });
    }

    pub(crate) fn no_fault(&self) {
        self.lock().fault = None;
    }

    /// Who has ended by a fault.
    pub(crate) fn fallen(&self) -> Option<Victim> {
        self.lock().fallen.take()
    }

    fn accept(&self, side: usize, life: u64, socket: UnixStream) -> bool {
        let mut world = self.lock();
        if !world.sides[side].listens || world.sides[side].life != life {
            return false;
        }
        world.end_connection(side);
        socket.set_write_timeout(Some(LINE_TIME)).unwrap();
        let connection = world.name();
        let reads = socket.try_clone().unwrap();
        world.sides[side].connection = Some((connection, socket));
        world.begin(side);
        drop(world);
        let switches = self.clone();
        thread::spawn(move || {
            let mut reads = BufReader::new(reads);
            loop {
                let mut line = String::new();
                let read = (&mut reads).take(65_537).read_line(&mut line);
                if read.is_err() || !line.ends_with('\n') {
                    break;
                }
                let mut world = switches.lock();
                if world.is_of(side, connection) {
                    world.hear(side, &line);
                }
                drop(world);
                switches.world.1.notify_all();
            }
            let mut world = switches.lock();
            if world.is_of(side, connection) {
                world.end_connection(side);
            }
            drop(world);
            switches.world.1.notify_all();
        });
        true
    }
}

impl World {
    fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn is_of(&self, side: usize, connection: u64) -> bool {
        self.sides[side].connection.as_ref().is_some_and(|(it, _)| *it == connection)
    }

    fn peer_of(&self, side: usize, account: &str) -> Option<String> {
        let link = self.links.iter().find(|names| names[side] == account)?;
        Some(link[1 - side].clone())
    }

    fn is_linked(&self) -> bool {
        self.sides.iter().all(|side| side.listens)
    }

    fn begin(&mut self, side: usize) {
        let books = &self.sides[side].books;
        let accounts: Vec<Value> = books
            .iter()
            .map(|(name, it)| json!({ "account": name, "asset_code": "USD", "asset_scale": it.scale }))
            .collect();
        let frozen = books.iter().filter_map(|(name, it)| {
            let (key, amount) = it.frozen.as_ref()?;
            Some(frozen_line(name, key, *amount))
        });
        let frozen: Vec<Value> = frozen.collect();
        let names: Vec<String> = books.keys().cloned().collect();
        let hello =
            json!({ "event": "hello", "version": 1, "address": "test.m2m", "accounts": accounts });
        self.tell(side, &hello);
        if self.is_linked() {
            for name in names {
                self.tell(side, &json!({ "event": "up", "account": name }));
            }
        }
        for line in frozen {
            self.tell(side, &line);
        }
    }

    fn tell_links(&mut self, event: &str) {
        if event == "up" && !self.is_linked() {
            return;
        }
        for names in self.links.clone() {
            for (side, name) in names.iter().enumerate() {
                self.tell(side, &json!({ "event": event, "account": name }));
            }
        }
    }

    /// Who is to fall at this line falls.
    fn falls(&mut self, before: bool, line: &str) {
        let Some(fault) = &mut self.fault else { return };
        if !line.contains(&fault.with) {
            return;
        }
        if before {
            fault.lines = fault.lines.saturating_sub(1);
        }
        if fault.lines > 0 || fault.before != before {
            return;
        }
        let victim = fault.victim;
        (self.fault, self.fallen) = (None, Some(victim));
        match victim {
            Victim::Settle(side) => {
                if let Some(process) = self.sides[side].process {
                    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
                }
                self.end_connection(side);
            }
            Victim::Switch(side) => self.end_switch(side),
        }
    }

    fn tell(&mut self, side: usize, line: &Value) {
        if self.sides[side].connection.is_none() {
            return;
        }
        let line = format!("{line}\n");
        self.falls(true, &line);
        if let Some((_, socket)) = &mut self.sides[side].connection {
            // A process that is gone hears nothing.
            drop(socket.write_all(line.as_bytes()));
        }
        self.falls(false, &line);
    }

    fn end_connection(&mut self, side: usize) {
        let Some((_, socket)) = self.sides[side].connection.take() else { return };
        drop(socket.shutdown(std::net::Shutdown::Both));
        let lost: Vec<u64> =
            self.waiting.iter().filter(|(_, (at, _))| *at == side).map(|(it, _)| *it).collect();
        for token in lost {
            self.replied(side, token, Err("the settlement process is gone".into()));
        }
    }

    fn end_switch(&mut self, side: usize) {
        if !std::mem::take(&mut self.sides[side].listens) {
            return;
        }
        self.end_connection(side);
        let path = self.sides[side].path.clone();
        // Who accepts is woken, and finds that this life is over.
        drop(UnixStream::connect(&path));
        drop(std::fs::remove_file(&path));
        self.tell_links("down");
    }

    fn freeze_what_is_due(&mut self, side: usize, account: &str) -> Option<(String, u128)> {
        let key = format!("{:032x}", (side as u128 + 1) << 64 | u128::from(self.name()));
        let book = self.sides[side].books.get_mut(account).unwrap();
        if book.frozen.is_some() || book.owed == 0 || book.owed < book.threshold {
            return None;
        }
        let frozen = (key, std::mem::take(&mut book.owed));
        book.frozen = Some(frozen.clone());
        self.tell(side, &frozen_line(account, &frozen.0, frozen.1));
        Some(frozen)
    }

    // What a settlement process says.

    fn hear(&mut self, side: usize, line: &str) {
        self.falls(true, line);
        if self.sides[side].connection.is_none() {
            // Who has said it is gone, or who was to hear it.
            return;
        }
        let said: Value = serde_json::from_str(line).unwrap();
        let account = said["account"].as_str().unwrap().to_owned();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        match said["cmd"].as_str().unwrap() {
            "send" => {
                let connection = self.sides[side].connection.as_ref().map_or(0, |it| it.0);
                let token = said["token"].as_u64().unwrap();
                let asker = Asker::Peer { side, account: account.clone(), token, connection };
                match self.peer_of(side, &account) {
                    Some(peer) => self.pass_on(1 - side, &peer, &text("bytes"), asker),
                    None => self.answer_asker(asker, Err("no such account".into())),
                }
            }
            "reply" => self.replied(side, said["token"].as_u64().unwrap(), Ok(text("bytes"))),
            "freeze" => {
                let threshold = self.sides[side].books.get_mut(&account).unwrap();
                let before = std::mem::replace(&mut threshold.threshold, 0);
                let frozen = self.freeze_what_is_due(side, &account);
                self.sides[side].books.get_mut(&account).unwrap().threshold = before;
                let (key, amount) = frozen.unzip();
                let amount = amount.map(|it: u128| it.to_string());
                let answer = json!({ "event": "answer", "id": said["id"], "ok": true, "key": key, "amount": amount });
                self.tell(side, &answer);
            }
            _ => {
                let answer = self.order(side, &account, &said);
                self.tell(side, &answer);
                self.freeze_what_is_due(side, &account);
            }
        }
        self.falls(false, line);
    }

    fn order(&mut self, side: usize, account: &str, said: &Value) -> Value {
        let id = &said["id"];
        let Some(book) = self.sides[side].books.get_mut(account) else {
            return json!({ "event": "answer", "id": id, "ok": false, "error": "no such account", "again": false });
        };
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        let known = match said["cmd"].as_str().unwrap() {
            "credit" => note(&mut book.credits, text("key"), text("amount").parse().unwrap()),
            "reverse" => note(&mut book.reversals, text("key"), text("amount").parse().unwrap()),
            "limits" => {
                book.limits.push((text("balance_max"), text("payable_max")));
                Ok(false)
            }
            cmd => end(book, text("key"), cmd == "settled"),
        };
        let Ok(known) = known else {
            book.contradictions.push(said.clone());
            return json!({ "event": "answer", "id": id, "ok": false, "error": "the key stands for something else", "again": false });
        };
        book.repeated += usize::from(known);
        json!({ "event": "answer", "id": id, "ok": true, "known": known })
    }

    // Messages.

    fn pass_on(&mut self, to: usize, account: &str, bytes: &str, asker: Asker) {
        let is_busy = match &asker {
            Asker::Peer { side, account, .. } => self.waiting.values().any(|(_, it)| {
                matches!(it, Asker::Peer { side: other, account: name, .. } if (other, name) == (side, account))
            }),
            Asker::Test(_) => false,
        };
        let error = match (is_busy, self.is_linked(), &self.sides[to].connection) {
            (true, ..) => "a message is under way",
            (_, false, _) => "no link",
            (_, _, None) => "the peer has no settlement",
            (false, true, Some(_)) => {
                let token = self.name();
                self.waiting.insert(token, (to, asker));
                let line = json!({ "event": "message", "account": account, "token": token, "bytes": bytes });
                return self.tell(to, &line);
            }
        };
        self.answer_asker(asker, Err(error.into()));
    }

    fn replied(&mut self, side: usize, token: u64, answer: Result<String, String>) {
        if self.waiting.get(&token).is_none_or(|(at, _)| *at != side) {
            return;
        }
        let (_, asker) = self.waiting.remove(&token).unwrap();
        self.answer_asker(asker, answer);
    }

    fn answer_asker(&mut self, asker: Asker, answer: Result<String, String>) {
        match asker {
            Asker::Peer { side, account, token, connection } => {
                if !self.is_of(side, connection) {
                    return;
                }
                let line = match answer {
                    Ok(bytes) => {
                        json!({ "event": "reply", "account": account, "token": token, "bytes": bytes })
                    }
                    Err(error) => {
                        json!({ "event": "reply", "account": account, "token": token, "error": error })
                    }
                };
                self.tell(side, &line);
            }
            Asker::Test(tells) => drop(tells.send(answer)),
        }
    }
}

/// Whether it was known already; an error where it stands for something else.
fn note(known: &mut BTreeMap<String, u128>, key: String, amount: u128) -> Result<bool, ()> {
    match known.insert(key.clone(), amount) {
        None => Ok(false),
        Some(before) if before == amount => Ok(true),
        Some(before) => {
            known.insert(key, before);
            Err(())
        }
    }
}

/// The end of a key; whether it was known already.
fn end(book: &mut Book, key: String, is_settled: bool) -> Result<bool, ()> {
    let (ends, others) = match is_settled {
        true => (&mut book.settled, &book.cancelled),
        false => (&mut book.cancelled, &book.settled),
    };
    if others.contains_key(&key) {
        return Err(());
    }
    if ends.contains_key(&key) {
        return Ok(true);
    }
    let (_, amount) = book.frozen.take_if(|(frozen, _)| *frozen == key).ok_or(())?;
    ends.insert(key, amount);
    book.owed += if is_settled { 0 } else { amount };
    Ok(false)
}

fn frozen_line(account: &str, key: &str, amount: u128) -> Value {
    json!({ "event": "frozen", "account": account, "key": key, "amount": amount.to_string() })
}

/// One line to a socket, one back.
pub(crate) fn ask(socket: &Path, line: &str) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LINE_TIME))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(16 << 20)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

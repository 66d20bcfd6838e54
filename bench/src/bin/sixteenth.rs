//! The peer of `cargo xtask bench slowpeer` that stops reading: one account that sends PREPAREs at a steady
//! rate, and one that they go to.
//!
//! ```text
//!   sender    -- PREPAREs, some each millisecond -->  switch  -->  receiver: answers each (--reads),
//!             <-- answers, counted by their code ---                         or never reads
//! ```
//!
//! It says `ready` once the first answer has come: the receiver's, or the switch's that the peer is busy.
//! It ends when its standard input does, and tells its counts. Only the receiver's end may be slow: the
//! sender reads all that comes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use m2_codec::btp::{self, Frame, FrameType};
use m2_codec::ilp::{self, ErrorCode, PacketType, Reject};
use m2_codec::timestamp;

const SENDER: &str = "sixteenth-sender";
const RECEIVER: &str = "sixteenth-receiver";
const DESTINATION: &[u8] = b"test.m2-load.sixteenth-receiver.net.0000";
const EXPIRY_MS: u64 = 10_000;
const STEP: Duration = Duration::from_millis(1);
const BLOCK: usize = 64 << 10;

fn main() -> io::Result<()> {
    let words: Vec<_> = std::env::args().collect();
    let option = |name: &str| {
        words.iter().position(|word| word == name).and_then(|place| words.get(place + 1))
    };
    let target = option("--target").expect("--target btp+tcp://HOST:PORT");
    let address = target.strip_prefix("btp+tcp://").expect("a target on TCP");
    let rate: u64 = option("--rate").expect("--rate N").parse().expect("a number a second");
    let reads = words.iter().any(|word| word == "--reads");

    let receiver = connect(address, RECEIVER)?;
    let mut sender = connect(address, SENDER)?;
    let silent = if reads {
        thread::spawn(move || answer(receiver));
        None
    } else {
        Some(receiver)
    };
    let ended = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&ended);
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ending.store(true, Ordering::Release);
    });
    let counts = send(&mut sender, rate, &ended)?;
    let counts: Vec<_> = counts.iter().map(|(code, count)| format!("{count} {code}")).collect();
    println!("{}", counts.join(", "));
    drop(silent);
    Ok(())
}

/// A connection, and what came on it that is no whole frame yet.
type Link = (TcpStream, Vec<u8>);

/// Connects an account and authenticates it.
fn connect(address: &str, account: &str) -> io::Result<Link> {
    let mut link = (TcpStream::connect(address)?, Vec::new());
    link.0.set_nodelay(true)?;
    let mut auth = Vec::new();
    btp::auth::put(&mut auth, 1, Some(account), &format!("public-{account}"));
    link.0.write_all(&auth)?;
    let mut answered = false;
    while !answered {
        receive(&mut link, |frame| answered |= frame.frame_type() == FrameType::Response)?;
    }
    Ok(link)
}

/// Waits for bytes, and looks at every frame that is whole.
fn receive(link: &mut Link, mut look: impl FnMut(&Frame<'_>)) -> io::Result<()> {
    let mut block = [0; BLOCK];
    match link.0.read(&mut block) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(len) => link.1.extend_from_slice(&block[..len]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut start = 0;
    while let Ok(frame) = Frame::new_checked(&link.1[start..]) {
        look(&frame);
        start += frame.len();
    }
    link.1.drain(..start);
    Ok(())
}

/// Rejects every PREPARE, until the connection ends.
fn answer(mut link: Link) -> io::Result<()> {
    let mut reject = Vec::new();
    let code = ErrorCode::F99_APPLICATION_ERROR;
    ilp::put_reject(&mut reject, code, DESTINATION, b"as its sender wished", b"");
    let mut answers = Vec::new();
    loop {
        receive(&mut link, |frame| {
            if frame.frame_type() == FrameType::Message {
                btp::put_ilp(&mut answers, FrameType::Response, frame.request_id(), &reject);
            }
        })?;
        link.0.write_all(&answers)?;
        answers.clear();
    }
}

/// Sends at a rate until it is told to end; counts answers by their code.
fn send(link: &mut Link, rate: u64, ended: &AtomicBool) -> io::Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    let (mut times, mut frames, mut request_id) = (timestamp::Cache::new(), Vec::new(), 1_u32);
    let (start, mut sent, mut told) = (Instant::now(), 0_u64, false);
    link.0.set_nonblocking(true)?;
    while !ended.load(Ordering::Acquire) {
        let elapsed_ms = u64::try_from(start.elapsed().as_millis()).expect("less than an age");
        let expires_at = times.write(utc_ms() + EXPIRY_MS);
        while sent < rate * elapsed_ms / 1_000 && frames.len() < BLOCK {
            let mut packet = Vec::new();
            ilp::put_prepare(&mut packet, 1_000, &expires_at, &[7; 32], DESTINATION, &[7; 57]);
            request_id = request_id.wrapping_add(1);
            btp::put_ilp(&mut frames, FrameType::Message, request_id, &packet);
            sent += 1;
        }
        match link.0.write(&frames) {
            Ok(len) => drop(frames.drain(..len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        receive(link, |frame| *counts.entry(code_of(frame)).or_default() += 1)?;
        if !told && !counts.is_empty() {
            told = true;
            println!("ready");
            io::stdout().flush()?;
        }
        thread::sleep(STEP);
    }
    Ok(counts)
}

fn code_of(frame: &Frame<'_>) -> String {
    let packet = frame.ilp().unwrap_or_default();
    match ilp::packet_type(packet) {
        Some(PacketType::Reject) => Reject::new_checked(packet)
            .map_or_else(|_| "malformed".into(), |it| String::from_utf8_lossy(&it.code().0).into()),
        Some(PacketType::Fulfill) => "fulfilled".into(),
        _ => "no packet".into(),
    }
}

fn utc_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    u64::try_from(since.as_millis()).expect("less than an age")
}

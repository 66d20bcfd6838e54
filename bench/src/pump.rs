//! The same bytes through the same kind of socket, and nobody looks at them: what the transport
//! alone costs a generator, as its baseline.
//!
//! ```text
//!   sender   -- frames of PREPARE_LEN bytes -->   echo
//!            <-- frames of ANSWER_LEN bytes ---
//! ```
//!
//! Invariant: an answer is written only when its whole frame has arrived, and no more frames are on
//! their way than the window.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Bytes of a BTP frame with a PREPARE of the calibration, on average.
pub const PREPARE_LEN: usize = 203;
/// Bytes of a BTP frame with its FULFILL.
pub const ANSWER_LEN: usize = 81;
/// Bytes that are written or read at once.
const BLOCK: usize = 256 << 10;

/// One end of a socket that does not block.
pub trait Socket: Read + Write + Send {}
impl<T: Read + Write + Send> Socket for T {}

/// How many frames in a second went out and were answered.
///
/// # Panics
///
/// If a socket ends, or the answers are not one for each frame.
pub fn pump(sender: impl Socket, echo: impl Socket + 'static, window: u64, time: Duration) -> f64 {
    let echoing = std::thread::spawn(move || answer(echo));
    let (pairs, seconds) = send(sender, window, time);
    let answered = echoing.join().expect("the echo ends when its socket does");
    assert_eq!(answered, pairs, "one answer for each frame");
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let pairs = pairs as f64;
    pairs / seconds
}

fn send(mut socket: impl Socket, window: u64, time: Duration) -> (u64, f64) {
    let mut block = vec![7; BLOCK];
    let (mut written, mut read) = (0_u64, 0_u64);
    let (frame, answer) = (PREPARE_LEN as u64, ANSWER_LEN as u64);
    let start = Instant::now();
    loop {
        let answered = read / answer;
        let stopping = start.elapsed() >= time;
        let until = if stopping { written.div_ceil(frame) } else { answered + window } * frame;
        if stopping && answered * frame == written {
            return (answered, start.elapsed().as_secs_f64());
        }
        let len = usize::try_from(until - written).expect("a window fits").min(BLOCK);
        written += write(&mut socket, &block[..len]);
        read += count(socket.read(&mut block));
    }
}

fn answer(mut socket: impl Socket) -> u64 {
    let mut block = vec![7; BLOCK];
    let (mut read, mut written) = (0_u64, 0_u64);
    loop {
        match socket.read(&mut block) {
            Ok(0) => return read / PREPARE_LEN as u64,
            result => read += count(result),
        }
        let owed = read / PREPARE_LEN as u64 * ANSWER_LEN as u64 - written;
        let len = usize::try_from(owed).expect("a window fits").min(BLOCK);
        written += write(&mut socket, &block[..len]);
    }
}

/// Nothing is not written: the other end may be gone by then, as all was answered.
fn write(socket: &mut impl Socket, bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { count(socket.write(bytes)) }
}

/// Bytes that went through; a socket that is full or empty is asked again.
fn count(result: io::Result<usize>) -> u64 {
    match result {
        Ok(count) => count as u64,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => panic!("a socket of this process failed: {error}"),
    }
}

//! `cargo xtask bench frames`: frames read and written, beside what cannot be avoided and what others
//! take.
//!
//! ```text
//!   a copy of the same bytes        the floor: what a receive or a packet put into a buffer costs
//!   the fused path                  what the switch does
//!   the general readers, writers    what it does with unusual frames, and did with all
//!   tungstenite                     a well-kept library; its BTP frame is read and written by ours
//! ```
//!
//! Half of the frames are the standard workload's PREPAREs in MESSAGEs, half its FULFILLs in RESPONSEs,
//! in random order, 4,096 in turn. A reader is given its bytes anew by a copy, as a receive would, which
//! is in its figure; what it read is summed and compared. What was written is compared byte by byte.

use std::hint::black_box;
use std::io::{self, Read, Write};

use m2_bench::alternate::{alternate, pin};
use m2_bench::workload::{PACKETS, ROUTES, Random, Workload};
use m2_codec::btp::{self, FRAME_LEN_MAX, Frame, FrameType};
use m2_codec::limits::FRAMING_LEN_MAX;
use m2_codec::ws::{self, Event, Reader, Role};
use serde_json::{Map, Value, json};
use tungstenite::protocol::{Message, Role as TheirRole, WebSocket};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FRAMES: usize = 4_096;
const ROUNDS: usize = 128;
const OPERATIONS: u64 = (FRAMES * ROUNDS) as u64;

/// A link's frames, by what delimits them and whether they are masked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    Raw,
    Plain,
    Masked,
}

const FRAMINGS: [(&str, Framing); 3] =
    [("raw", Framing::Raw), ("websocket", Framing::Plain), ("websocket_masked", Framing::Masked)];

/// A packet and what its frame bears.
struct Sample<'w> {
    frame_type: FrameType,
    request_id: u32,
    mask: [u8; 4],
    packet: &'w [u8],
}

fn main() {
    pin();
    let workload = Workload::new(ROUTES);
    let samples = samples(&workload);
    let mut result = Map::new();
    for (name, framing) in FRAMINGS {
        let mut stages = Map::new();
        read(framing, &samples, name, &mut stages);
        write(framing, &samples, name, &mut stages);
        result.insert(name.to_owned(), Value::Object(stages));
    }
    let lens: usize = samples.iter().map(|sample| sample.packet.len()).sum();
    result.insert("packet_len_average".to_owned(), json!(lens / FRAMES));
    println!("{}", Value::Object(result));
}

fn samples(workload: &Workload) -> Vec<Sample<'_>> {
    let mut random = Random(7);
    (0..FRAMES)
        .map(|_| {
            let [a, b, c, d, i, j, k, l] = random.next().to_le_bytes();
            let which = random.index(PACKETS);
            let (frame_type, packet) = if random.below(2) == 0 {
                (FrameType::Message, workload.prepare(which))
            } else {
                (FrameType::Response, &workload.fulfills[which][..])
            };
            let request_id = u32::from_le_bytes([i, j, k, l]);
            Sample { frame_type, request_id, mask: [a, b, c, d], packet }
        })
        .collect()
}

/// What was read, so that a frame that was read wrongly is noticed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Sum {
    frames: u64,
    ids: u64,
    bytes: u64,
}

impl Sum {
    #[inline(always)]
    fn add(&mut self, frame_type: FrameType, request_id: u32, packet: &[u8]) {
        self.frames += 1;
        self.ids ^= u64::from(request_id) << (8 * (frame_type as u8));
        let (first, last) = (packet.first_chunk(), packet.last_chunk());
        let words = first.zip(last).map(|(a, b)| u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b));
        self.bytes ^= words.unwrap_or_default() ^ packet.len() as u64;
    }
}

fn read(framing: Framing, samples: &[Sample<'_>], name: &str, stages: &mut Map<String, Value>) {
    let stream = written_plainly(framing, samples);
    let mut expected = Sum::default();
    for sample in samples {
        expected.add(sample.frame_type, sample.request_id, sample.packet);
    }
    let role = if framing == Framing::Masked { Role::Server } else { Role::Client };
    let reader = Reader::new(role, FRAME_LEN_MAX);
    let mut buffers = [stream.clone(), stream.clone()];
    let [ours, theirs] = &mut buffers;
    let mut fused = || {
        for _ in 0..ROUNDS {
            ours.copy_from_slice(black_box(&stream));
            assert_eq!(read_fused(framing, &reader, ours), expected, "read right");
        }
    };
    let copied = || {
        for _ in 0..ROUNDS {
            theirs.copy_from_slice(black_box(&stream));
            black_box(&mut *theirs);
        }
    };
    compare(stages, name, "read", "copy", &mut fused, copied);
    let general = || {
        for _ in 0..ROUNDS {
            theirs.copy_from_slice(black_box(&stream));
            assert_eq!(
                read_generally(framing, &mut reader.clone(), theirs),
                expected,
                "read right"
            );
        }
    };
    compare(stages, name, "read", "general", &mut fused, general);
    if framing == Framing::Raw {
        return;
    }
    let role = if framing == Framing::Masked { TheirRole::Server } else { TheirRole::Client };
    let mut socket = WebSocket::from_raw_socket(Memory::default(), role, None);
    let library = || {
        for _ in 0..ROUNDS {
            socket.get_mut().incoming.clear();
            socket.get_mut().incoming.extend_from_slice(black_box(&stream));
            socket.get_mut().taken = 0;
            let mut sum = Sum::default();
            for _ in 0..FRAMES {
                let Ok(Message::Binary(payload)) = socket.read() else { panic!("a message") };
                let frame = Frame::new_checked(&payload).expect("a frame");
                sum.add(frame.frame_type(), frame.request_id(), frame.ilp().expect("a packet"));
            }
            assert_eq!(sum, expected, "read right");
        }
    };
    compare(stages, name, "read", "tungstenite", &mut fused, library);
}

fn read_fused(framing: Framing, reader: &Reader, bytes: &mut [u8]) -> Sum {
    let (mut start, mut sum) = (0, Sum::default());
    loop {
        let rest = &mut bytes[start..];
        let frame = match framing {
            Framing::Raw => btp::packet_frame(rest),
            Framing::Plain | Framing::Masked => reader.next_packet(rest),
        };
        let Some(frame) = frame else { return sum };
        sum.add(frame.frame_type, frame.request_id, &rest[frame.packet.clone()]);
        start += frame.packet.end;
    }
}

fn read_generally(framing: Framing, reader: &mut Reader, bytes: &mut [u8]) -> Sum {
    let (mut start, mut sum) = (0, Sum::default());
    loop {
        let rest = &mut bytes[start..];
        let (end, payload) = match framing {
            Framing::Raw => match btp::frame_len(rest) {
                Ok(Some(len)) if len <= rest.len() => (len, 0..len),
                _ => return sum,
            },
            Framing::Plain | Framing::Masked => match reader.next(rest) {
                Ok(Some((end, Event::Message(payload)))) => (end, payload),
                _ => return sum,
            },
        };
        let frame = Frame::new_checked(&rest[payload]).expect("a frame");
        sum.add(frame.frame_type(), frame.request_id(), frame.ilp().expect("a packet"));
        start += end;
    }
}

fn write(framing: Framing, samples: &[Sample<'_>], name: &str, stages: &mut Map<String, Value>) {
    let expected = written_plainly(framing, samples);
    let mut room = vec![0xa5; expected.len() + FRAMING_LEN_MAX];
    let mut fused = || {
        for _ in 0..ROUNDS {
            let end = write_fused(framing, black_box(samples), &mut room);
            black_box(&mut room);
            assert_eq!(end, expected.len());
        }
        assert_eq!(room[..expected.len()], expected, "written right");
    };
    let mut out = Vec::with_capacity(2 * expected.len());
    let copied = || {
        for _ in 0..ROUNDS {
            out.clear();
            black_box(samples).iter().for_each(|sample| out.extend_from_slice(sample.packet));
            black_box(&mut out);
        }
    };
    compare(stages, name, "write", "copy", &mut fused, copied);
    let general = || {
        for _ in 0..ROUNDS {
            out.clear();
            write_generally(framing, black_box(samples), &mut out);
            black_box(&mut out);
        }
        assert_eq!(out, expected, "written right");
    };
    compare(stages, name, "write", "general", &mut fused, general);
    if framing == Framing::Raw {
        return;
    }
    let role = if framing == Framing::Masked { TheirRole::Client } else { TheirRole::Server };
    let mut socket = WebSocket::from_raw_socket(Memory::default(), role, None);
    let library = || {
        for _ in 0..ROUNDS {
            socket.get_mut().outgoing.clear();
            for sample in black_box(samples) {
                let mut frame = Vec::with_capacity(sample.packet.len() + FRAMING_LEN_MAX);
                btp::put_ilp(&mut frame, sample.frame_type, sample.request_id, sample.packet);
                socket.write(Message::binary(frame)).expect("memory takes it");
            }
            socket.flush().expect("memory takes it");
        }
        // Their masks are their own.
        assert_eq!(socket.get_ref().outgoing.len(), expected.len(), "written right");
    };
    compare(stages, name, "write", "tungstenite", &mut fused, library);
}

fn write_fused(framing: Framing, samples: &[Sample<'_>], room: &mut [u8]) -> usize {
    let mut end = 0;
    for Sample { frame_type, request_id, mask, packet } in samples {
        let (frame_type, request_id, room) = (*frame_type, *request_id, &mut room[end..]);
        end += match framing {
            Framing::Raw => btp::write_packet(room, frame_type, request_id, packet),
            Framing::Plain => ws::write_packet(room, None, frame_type, request_id, packet),
            Framing::Masked => ws::write_packet(room, Some(*mask), frame_type, request_id, packet),
        };
    }
    end
}

fn write_generally(framing: Framing, samples: &[Sample<'_>], out: &mut Vec<u8>) {
    for Sample { frame_type, request_id, mask, packet } in samples {
        let mask = (framing == Framing::Masked).then_some(*mask);
        if framing != Framing::Raw {
            ws::put_binary_header(out, btp::ilp_frame_len(packet.len()), mask);
        }
        let start = out.len();
        btp::put_ilp(out, *frame_type, *request_id, packet);
        if let Some(mask) = mask {
            ws::apply_mask(&mut out[start..], mask);
        }
    }
}

fn written_plainly(framing: Framing, samples: &[Sample<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_generally(framing, samples, &mut out);
    out
}

/// Runs one way and a baseline in turns; tells and keeps what they took.
fn compare(
    stages: &mut Map<String, Value>,
    framing: &str,
    stage: &str,
    baseline: &str,
    fused: &mut dyn FnMut(),
    other: impl FnMut(),
) {
    let (ours, theirs, ratio) = alternate(OPERATIONS, &mut *fused, other);
    println!(
        "{framing} {stage}: {ours} ns a frame; {baseline} {theirs}; ratio {:.2} ({:.2} to {:.2})",
        ratio.median, ratio.low, ratio.high
    );
    let kept = json!({
        "fused": ours.to_json("ns"),
        baseline: theirs.to_json("ns"),
        format!("fused_over_{baseline}"): ratio.to_json("ratio"),
    });
    stages.insert(format!("{stage}_beside_{baseline}"), kept);
}

/// A link that is memory.
#[derive(Debug, Default)]
struct Memory {
    incoming: Vec<u8>,
    taken: usize,
    outgoing: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = (&self.incoming[self.taken..]).read(out)?;
        self.taken += count;
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

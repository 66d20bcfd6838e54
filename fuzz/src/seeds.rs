//! Inputs to begin with, made from the bytes of `codec/tests/vectors` in the form of each target.

use std::path::Path;

use m2_codec::btp::{self, FrameType};
use m2_codec::ws::{self, Opcode};
use m2_settlement::chain::{Agreement, Bytes, ChannelId, Claim, SignedClaim};
use m2_settlement::limits::{CHAIN_NAME_LEN_MAX, CONTRACT_LEN_MAX, SIGNATURE_LEN_MAX};
use m2_settlement::wire::{Message, Place, Reason};
use serde_json::Value;

/// The bytes of every case of the three files, with what the case is about.
#[derive(Debug)]
pub struct Vectors {
    ilp: Vec<(String, Vec<u8>)>,
    btp: Vec<Vec<u8>>,
    ildcp: Vec<Vec<u8>>,
}

impl Vectors {
    /// Reads the files of this repository.
    ///
    /// # Panics
    ///
    /// If they are not there or not of the known form.
    #[must_use]
    pub fn load() -> Self {
        let bytes = |name| cases(name).into_iter().map(|(_, bytes)| bytes).collect();
        Self { ilp: cases("ilp_packet.json"), btp: bytes("btp.json"), ildcp: bytes("ildcp.json") }
    }

    fn packets(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.ilp.iter().map(|(_, bytes)| bytes)
    }

    fn about(&self, op: &str) -> impl Iterator<Item = &Vec<u8>> {
        self.ilp.iter().filter(move |(about, _)| about == op).map(|(_, bytes)| bytes)
    }
}

fn cases(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../codec/tests/vectors");
    let text = std::fs::read_to_string(folder.join(name)).expect("the vectors are there");
    let file: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    let cases = file["cases"].as_array().expect("the vectors have cases");
    cases
        .iter()
        .map(|case| {
            let op = case["op"].as_str().unwrap_or_default();
            (op.to_owned(), from_hex(case["hex"].as_str().expect("a case has bytes")))
        })
        .collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit");
    let byte = |[high, low]: &[u8; 2]| digit(*high) << 4 | digit(*low);
    pairs.iter().map(|pair| u8::try_from(byte(pair)).expect("two digits")).collect()
}

fn behind(prefix: &[u8], bytes: &[u8]) -> Vec<u8> {
    [prefix, bytes].concat()
}

fn texts(prefix: &[u8], texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| behind(prefix, text.as_bytes())).collect()
}

/// For `oer`.
pub fn oer(vectors: &Vectors) -> Vec<Vec<u8>> {
    ["length_determinant", "varuint", "varoctetstring"]
        .into_iter()
        .flat_map(|op| vectors.about(op))
        .map(|bytes| behind(b"", bytes))
        .collect()
}

/// For `address`.
pub fn address(_: &Vectors) -> Vec<Vec<u8>> {
    let long = format!("\x0btest1.{}", "segment_~-0123456789.Z".repeat(40));
    let mut seeds = texts(b"", &["\x01g", "\x01g.a", "\x04test.m2m.alice", "\x08test.m2m.alice"]);
    let schemes =
        ["private.x", "example.a", "peer.config", "self.y", "test2.z", "local.~-_", &long];
    seeds.extend(texts(b"\x05", &schemes));
    seeds.extend(texts(b"\x03", &["g..a", "g.", ".g", "test4.a", "tes.a", "g.a/b"]));
    seeds
}

/// For `timestamp`.
pub fn timestamp(vectors: &Vectors) -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> =
        vectors.about("timestamp").map(|bytes| behind(b"\x01", bytes)).collect();
    let edges = [
        "19691231235959999",
        "19700101000000000",
        "20240229235959999",
        "21000228235959999",
        "20261120114560000",
        "99991231235959999",
    ];
    seeds.extend(texts(b"\x01", &edges));
    seeds.push(seeds.concat());
    // The minute is known to the cache, and then its rest is wrong in each of its digits.
    for (index, digit) in [(12, b'6'), (13, b':'), (14, b'/'), (15, b':'), (16, b'x')] {
        let mut broken = *b"20261120114559999";
        broken[index] = digit;
        seeds.push([b"\x0120261120114559999\x01", &broken[..]].concat());
    }
    seeds
}

/// For `prepare`, `fulfill` and `reject`.
pub fn packet(vectors: &Vectors) -> Vec<Vec<u8>> {
    vectors.packets().map(|bytes| behind(b"", bytes)).collect()
}

/// For `prepare_rewrite`.
pub fn prepare_rewrite(vectors: &Vectors) -> Vec<Vec<u8>> {
    let prefix = [[0, 0, 0, 0, 0, 1, 2, 3], [0, 0, 1, 0xa1, 0xf0, 3, 4, 5]].concat();
    let prepares = vectors.packets().filter(|bytes| bytes.first() == Some(&12));
    prepares.map(|bytes| behind(&prefix, bytes)).collect()
}

/// For `ildcp`.
pub fn ildcp(vectors: &Vectors) -> Vec<Vec<u8>> {
    vectors.ildcp.iter().map(|bytes| behind(b"", bytes)).collect()
}

/// For `btp_stream`.
pub fn btp_stream(vectors: &Vectors) -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = vectors.btp.iter().map(|bytes| behind(b"\x03\x20", bytes)).collect();
    for pair in vectors.btp.chunks(3) {
        seeds.push(behind(b"\x07\x40", &pair.concat()));
    }
    for packet in vectors.ildcp.iter().take(20) {
        let mut frame = Vec::new();
        btp::put_ilp(&mut frame, FrameType::Message, 7, packet);
        seeds.push(behind(b"\x10\x10", &frame));
    }
    seeds
}

/// For `websocket_stream`: each kind of frame, by both ends.
pub fn websocket_stream(vectors: &Vectors) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (role, mask) in [(0, Some([0x37, 0xfa, 0x21, 0x3d])), (1, None)] {
        let frame = |first: u8, payload: &[u8]| {
            let mut out = Vec::new();
            ws::put_binary_header(&mut out, payload.len(), mask);
            out[0] = first;
            let start = out.len();
            out.extend_from_slice(payload);
            ws::apply_mask(&mut out[start..], mask.unwrap_or_default());
            out
        };
        let parts = [frame(0x02, b"in "), frame(0x89, b"?"), frame(0x00, b""), frame(0x80, b"two")];
        let text = [frame(0x01, b"some"), frame(0x80, b"text"), frame(0x82, b"x")];
        let mut close = Vec::new();
        ws::put_control(&mut close, Opcode::Pong, b"here", mask);
        ws::put_close(&mut close, 1000, "bye", mask);
        // Lengths in a longer form than they need: one less than what needs it.
        let masked = mask.map_or(0, |_| 0x80);
        let long = [&[0x82, masked | 126, 0, 125][..], &[7; 129]].concat();
        let longer = [0x82, masked | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff].to_vec();
        let whole = frame(0x82, &[0x5a; 200]);
        let streams = [parts.concat(), text.concat(), close, whole, long, longer];
        let frames = vectors.btp.iter().step_by(17).map(|bytes| frame(0x82, bytes));
        // Packets alone, also two of them, and one with something behind it.
        let alone = |packet: &Vec<u8>| {
            let mut bytes = Vec::new();
            btp::put_ilp(&mut bytes, FrameType::Message, 7, packet);
            bytes
        };
        let packets = vectors.packets().filter(|packet| packet.len() < 260).step_by(20);
        let packets: Vec<_> = packets.map(alone).collect();
        let pairs =
            packets.chunks(2).map(|pair| pair.iter().flat_map(|it| frame(0x82, it)).collect());
        let behind_it = packets.iter().take(3).map(|it| frame(0x82, &[it, &b"x"[..]].concat()));
        let streams = streams.into_iter().chain(frames).chain(pairs).chain(behind_it);
        seeds.extend(streams.map(|stream| behind(&[role, 3, 9], &stream)));
    }
    seeds
}

/// For `websocket_handshake`: requests and an answer, as they should be and nearly so.
pub fn websocket_handshake(_: &Vectors) -> Vec<Vec<u8>> {
    let key = b"the sample nonce";
    let request = "GET /chat?x=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
                   Connection: keep-alive, Upgrade\r\nSec-WebSocket-Protocol: btp, other\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let mut answer = Vec::new();
    ws::handshake::put_response(&mut answer, b"dGhlIHNhbXBsZSBub25jZQ==");
    let mut refusal = Vec::new();
    ws::handshake::put_refusal(&mut refusal, 426, "Upgrade does not say websocket");
    let answer = String::from_utf8(answer).expect("it is text");
    let refusal = String::from_utf8(refusal).expect("it is text");
    let other =
        answer.replace("Connection", "Sec-WebSocket-Extensions: permessage-deflate\r\nConnection");
    texts(
        key,
        &[
            request,
            &request.replace("Sec-WebSocket-Protocol: btp, other\r\n", ""),
            &request.replace("HTTP/1.1", "HTTP/1.0"),
            &request.replace("13", "8"),
            &request.replace("\r\n", "\n"),
            &answer,
            &other,
            &refusal,
        ],
    )
}

/// For `url`.
pub fn url(_: &Vectors) -> Vec<Vec<u8>> {
    let urls = [
        "btp+ws://alice:s3cret@localhost:7768/accounts/alice/ilp/btp",
        "btp+ws://:s3cret@127.0.0.1:7768",
        "btp+ws://host?x=1#y",
        "btp+ws://alice@[::1]:1/",
        "btp+ws://[::1]",
        "btp+tcp://a%40b:p%3a%2Fw@h:9",
        "btp+tcp://h:65535/",
        "btp+unix://alice:t@/run/m2/btp.sock",
        "btp+unix:///run/btp.sock",
        "btp+wss://host/",
        "ws://host/",
        "btp+ws://host:65536/a b",
        "btp+ws://[[]]",
    ];
    texts(b"", &urls)
}

/// For `configuration`: a short file, and one with most keys.
pub fn configuration(_: &Vectors) -> Vec<Vec<u8>> {
    let switch = "[switch]\naddress = \"test.m2m\"\nnetwork = \"test\"\ncontrol_socket = \"c\"\n";
    let usd = "[[assets]]\ncode = \"USD\"\nscale = 9\n";
    let alice = "[[accounts]]\nname = \"alice\"\nrelation = \"child\"\nasset = \"USD/9\"\n";
    let listen = "[[listen]]\ntransport = \"tcp\"\naddress = \"127.0.0.1:7768\"\n";
    let token = "token = \"alice-secret\"\n";
    let limits = "balance_max = 10\npayable_max = \"7\"\npacket_amount_max = 5\npackets_per_s = 9\n\
                  amount_per_s = 9\namount_burst = 8\nin_flight_packets_max = 3\n\
                  in_flight_value_max = 4\nildcp_segment = \"a\"\nroutes = [\"test.m2m.a\"]\n";
    let xrp = "[[assets]]\ncode = \"XRP\"\nscale = 6\n[[rates]]\nfrom = \"USD/9\"\nto = \"XRP/6\"\n\
               rate = \"2.5\"\nspread_ppm = 2500\n";
    let bob = "[[accounts]]\nname = \"bob\"\nrelation = \"peer\"\nasset = \"XRP/6\"\n\
               dial = \"btp+ws://u:t@h:1/\"\nroutes = [\"test.b\"]\n";
    let times = "expiry_margin_ms = 1\nremaining_ms_min = 2\nhold_ms_max = 3\nreflect = true\n\
                 in_flight_slots = 64\nspin_us = 1\nshutdown_ms = 1\n";
    let sections = "[log]\nformat = \"json\"\nlevel = \"warn\"\n[connection]\nping_ms = 10\n\
                    handshake_ms = 1\nbad_frames_max = 1\nclose_ms = 1\n";
    let unix = "[[listen]]\ntransport = \"unix\"\npath = \"b.sock\"\n";
    let hash =
        "token_blake3 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n";
    let files = [
        [switch, usd, alice, token, listen].concat(),
        [switch, times, usd, alice, token, limits, listen].concat(),
        [switch, usd, xrp, alice, token, bob, unix].concat(),
        [switch, sections, usd, alice, hash, listen].concat(),
        [switch, usd, alice, "token_file = \"t\"\n", listen].concat(),
        [switch, usd, alice, token, alice, token, listen, listen].concat(),
        [switch, usd, alice, token, listen].concat().replace(":7768", "\t\\n\\u001b"),
        switch.to_owned(),
    ];
    files.map(String::into_bytes).into()
}

/// For `control_socket`.
pub fn control_socket(_: &Vectors) -> Vec<Vec<u8>> {
    let long = "x".repeat(5_000);
    texts(
        b"\x05\x09",
        &[
            "{\"cmd\":\"status\"}\n{\"cmd\":\"accounts\"}\n",
            "{\"cmd\":\"counters\"}\r\n",
            "{\"cmd\":\"drain\"}\n{\"cmd\":\"resume\"}\n{\"cmd\"",
            "{\"cmd\":\"drain\",\"timeout_ms\":600000}\n",
            "{\"cmd\":\"drain\",\"timeout_ms\":600001}\n",
            "{\"cmd\":\"status\",\"timeout_ms\":1}\n{\"cmd\":\"stop\"}\n",
            "{\"cmd\":\"\\u0001\\n\\\"\"}\n",
            "\n[]\n[[[[{}]]]]\n",
            "\"\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\"\n",
            &long,
        ],
    )
}

/// For `settlement_message`: each kind, with fields that are empty, usual and as long as they may be.
pub fn settlement_message(_: &Vectors) -> Vec<Vec<u8>> {
    let channel = ChannelId([3; 32]);
    let sizes =
        [(0, 0, 0), (13, 20, 65), (CHAIN_NAME_LEN_MAX, CONTRACT_LEN_MAX, SIGNATURE_LEN_MAX)];
    let of_size = |(chain, contract, signature): (usize, usize, usize)| {
        let place = Place { chain: "e".repeat(chain), contract: vec![7; contract] };
        let signature = Bytes(vec![9; signature]);
        let claim = Claim { channel, total: u128::MAX - 1 };
        let signed = SignedClaim { claim, signature: signature.clone() };
        let agreement =
            Agreement { channel, first_paid: 1, second_paid: u128::MAX, valid_until_s: 77 };
        [
            Message::Claim { place: place.clone(), signed },
            Message::Close { place, agreement, signature: signature.clone() },
            Message::Agreed { signature },
        ]
    };
    let refused = |reason: &Reason| {
        let (reason, text) = (*reason, "höher".repeat(usize::from(*reason as u8)));
        Message::Refused { reason, again: reason.again(), text }
    };
    let messages = sizes.into_iter().flat_map(of_size).chain(Reason::ALL.iter().map(refused));
    let mut seeds: Vec<_> = messages.map(|message| message.to_bytes()).collect();
    seeds.push(Message::Taken { channel, total: 5 }.to_bytes());
    // Another version, another kind, a text that is none, and one with a line's end.
    seeds
        .extend([&[2, 1][..], &[1, 6], &[1, 3, 1, 1, 1, 255], &[1, 3, 1, 1, 1, 10]].map(Vec::from));
    seeds
}

/// For `core`: worlds of one and of two shards in which packets are paid, refused and expire.
pub fn core(_: &Vectors) -> Vec<Vec<u8>> {
    // A PREPARE of Alice to Bob, its answer, the rings carried, books looked at.
    let paid: &[u8] = &[0, 0, 0x44, 6, 5, 12, 1, 7, 0, 0, 0xf0, 13, 0, 23, 0];
    let rejected: &[u8] = &[0, 1, 0x49, 5, 13, 12, 0, 7, 0, 0, 0xf8, 13, 1];
    let expired: &[u8] = &[0, 2, 0x4d, 4, 21, 0x4c, 2, 5, 12, 1, 14, 12, 13, 0, 13, 1];
    let lost: &[u8] = &[0, 0, 0x44, 6, 5, 12, 1, 18, 0x81, 18, 1, 7, 0, 0, 0x00, 17, 0, 13, 0];
    let settled: &[u8] = &[20, 0, 9, 20, 5, 8, 20, 9, 0x20, 20, 13, 0, 20, 9, 0, 20, 17, 0, 23, 0];
    let changed: &[u8] = &[22, 0, 22, 128, 21, 0x35, 15, 0, 6, 19, 0x81, 22, 192, 22, 194];
    // Records taken out, told durable to both shards; what waits goes at its grace moment, or when
    // the journal fails.
    let durable: &[u8] = &[23, 0, 24, 0, 24, 1, 24, 2, 24, 3];
    let refused: &[u8] = &[25, 128, 0, 0, 0x44, 6, 5, 25, 0, 14, 11, 14, 13, 19, 0x80, 19, 0];
    let failed: &[u8] = &[25, 255, 25, 240, 14, 9];
    let worlds = [
        [0, 0x7f, 0x15],
        [1, 0x7f, 0x15],
        [7, 0x45, 0x50],
        [3, 0x22, 0xc0],
        [0, 0xff, 0x15],
        [1, 0xff, 0x15],
    ];
    let histories = [
        [paid, paid, rejected].concat(),
        [expired, paid, lost].concat(),
        [paid, settled, paid].concat(),
        [changed, paid, expired, rejected].concat(),
        [paid, paid, durable, paid, refused, durable].concat(),
        [paid, paid, failed, paid, lost].concat(),
    ];
    let histories = histories.iter();
    histories
        .flat_map(|history| worlds.iter().map(|world| [&world[..], history].concat()))
        .collect()
}

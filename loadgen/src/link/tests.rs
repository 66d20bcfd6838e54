//! Frames that arrive in pieces, and frames that leave in pieces.

use m2_codec::btp::{Frame, FrameType};

use super::*;
use crate::workload::{Role, Token};

fn send(out: &mut Output, frame_type: FrameType, request_id: u32, packet: &[u8]) {
    out.send(frame_type, request_id, packet.len(), |bytes| bytes.extend_from_slice(packet));
}

/// Feeds `bytes` in pieces of `piece_len` and gives back the frames that came out.
fn frames_of(
    input: &mut Input,
    output: &mut Output,
    bytes: &[u8],
    piece_len: usize,
) -> Result<Vec<Vec<u8>>, Nonsense> {
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece_len) {
        input.room()[..piece.len()].copy_from_slice(piece);
        input.arrived(piece.len());
        while let Some(frame) = input.next(output)? {
            frames.push(frame.to_vec());
        }
    }
    Ok(frames)
}

/// Frames of growing length, as raw bytes and as a server's WebSocket messages.
fn stream_of(count: u32) -> (Vec<Vec<u8>>, Vec<u8>, Vec<u8>) {
    let (mut frames, mut raw, mut ws_bytes) = (Vec::new(), Vec::new(), Vec::new());
    for id in 0..count {
        let mut frame = Vec::new();
        let packet = vec![id.to_be_bytes()[3]; (id * 37 % 33_000) as usize];
        btp::put_ilp(&mut frame, FrameType::Message, id, &packet);
        raw.extend_from_slice(&frame);
        ws::put_binary_header(&mut ws_bytes, frame.len(), None);
        ws_bytes.extend_from_slice(&frame);
        frames.push(frame);
    }
    (frames, raw, ws_bytes)
}

#[test]
fn frames_come_out_whole_however_they_are_cut() {
    let (frames, raw, ws_bytes) = stream_of(60);
    for piece_len in [1, 2, 3, 7, 1_000, 65_536] {
        let mut out = Output::raw();
        let read = frames_of(&mut Input::raw(), &mut out, &raw, piece_len);
        assert_eq!(read.as_ref(), Ok(&frames), "raw in pieces of {piece_len}");
        let read = frames_of(
            &mut Input::ws(ws::Role::Client),
            &mut Output::client(1),
            &ws_bytes,
            piece_len,
        );
        assert_eq!(read.as_ref(), Ok(&frames), "ws in pieces of {piece_len}");
    }
}

#[test]
fn a_long_stream_fits_the_buffer_again_and_again() {
    let (frames, raw, ws_bytes) = stream_of(900);
    assert!(raw.len() > 8 * limits::INGRESS_BYTES);
    let read = frames_of(&mut Input::raw(), &mut Output::raw(), &raw, 60_000);
    assert_eq!(read.as_ref(), Ok(&frames));
    let read =
        frames_of(&mut Input::ws(ws::Role::Client), &mut Output::client(1), &ws_bytes, 60_000);
    assert_eq!(read.as_ref(), Ok(&frames));
}

#[test]
fn a_ping_between_messages_is_answered_with_its_payload() {
    let (frames, _, mut ws_bytes) = stream_of(1);
    let mut bytes = Vec::new();
    ws::put_control(&mut bytes, ws::Opcode::Ping, b"still there?", None);
    bytes.append(&mut ws_bytes);
    let mut out = Output::client(9);
    assert_eq!(frames_of(&mut Input::ws(ws::Role::Client), &mut out, &bytes, 5), Ok(frames));
    let mut server = ws::Reader::new(ws::Role::Server, 1_000);
    assert!(matches!(server.next(&mut out.queued().to_vec()), Ok(Some((_, ws::Event::Pong)))));
}

#[test]
fn lost_framing_and_close_frames_end_the_link() {
    let garbage = [6, 0, 0, 0, 1, 0x85, 1, 1, 1, 1, 1];
    let read = frames_of(&mut Input::raw(), &mut Output::raw(), &garbage, 11);
    assert!(matches!(read, Err(Nonsense::Btp(_))), "{read:?}");
    let mut close = Vec::new();
    ws::put_close(&mut close, 1001, "going", None);
    let read = frames_of(&mut Input::ws(ws::Role::Client), &mut Output::client(1), &close, 99);
    assert_eq!(read, Err(Nonsense::Closed(1001)));
    let read =
        frames_of(&mut Input::ws(ws::Role::Client), &mut Output::client(1), b"HTTP/1.1 400", 99);
    assert!(matches!(read, Err(Nonsense::Ws(_))), "{read:?}");
}

#[test]
fn what_a_client_sends_is_masked_and_reads_back() {
    let mut out = Output::client(3);
    send(&mut out, FrameType::Message, 7, b"one");
    send(&mut out, FrameType::Response, 8, &[5; 300]);
    let mut server = ws::Reader::new(ws::Role::Server, 1_000);
    let mut sent = out.queued().to_vec();
    let mut rest = sent.as_mut_slice();
    for (id, packet) in [(7, &b"one"[..]), (8, &[5; 300])] {
        let Ok(Some((consumed, ws::Event::Message(range)))) = server.next(rest) else {
            panic!("a message must stand here")
        };
        let frame = Frame::new_checked(&rest[range]).unwrap();
        assert_eq!((frame.request_id(), frame.ilp()), (id, Some(packet)));
        rest = &mut rest[consumed..];
    }
    assert!(rest.is_empty());
}

#[test]
fn output_keeps_its_order_when_the_socket_takes_it_in_pieces() {
    let mut out = Output::raw();
    let mut all = Vec::new();
    let mut taken = Vec::new();
    for id in 0..2_000 {
        btp::put_ilp(&mut all, FrameType::Message, id, &[7; 900]);
        send(&mut out, FrameType::Message, id, &[7; 900]);
        let count = out.unsent() * 2 / 3;
        taken.extend_from_slice(&out.queued()[..count]);
        out.left(count);
    }
    taken.extend_from_slice(out.queued());
    out.left(out.unsent());
    assert_eq!((taken, out.unsent()), (all, 0));
}

/// An end that dials `url`.
fn end(url: &str, token: &str) -> End {
    let (url, token) = (url.parse().unwrap(), Token::new(token.to_owned()));
    let (name, asset) = ("alice".to_owned(), String::new());
    End { name, url, token, role: Role::Send, asset, destinations: None }
}

#[test]
fn an_accepted_link_and_a_dialled_one_understand_each_other() {
    let folder = std::env::temp_dir().join(format!("m2-load-accept-{}", std::process::id()));
    for transport in [Transport::Tcp, Transport::Ws, Transport::Unix] {
        let listener = Listener::bind(transport, &folder).unwrap();
        let alice = end(&listener.url().unwrap(), "secret");
        let dialling = std::thread::spawn(move || Link::connect(&alice, 5));
        let mut server = listener.accept("secret").unwrap();
        let mut client = dialling.join().unwrap().unwrap();
        for (from, to) in [(0, 1), (1, 0)] {
            let links = [&mut server, &mut client];
            send(&mut links[from].output, FrameType::Message, 9, b"packet");
            links[from].flush().unwrap();
            let to = &mut *links[to];
            while to.receive().unwrap() == Drain::Done && to.input.unread().is_empty() {}
            let frame = to.input.next(&mut to.output).unwrap().unwrap();
            let frame = Frame::new_checked(frame).unwrap();
            assert_eq!((frame.request_id(), frame.ilp()), (9, Some(&b"packet"[..])));
        }
    }
    assert!(!folder.exists(), "a Unix socket's file goes with its listener");
}

#[test]
fn an_accepted_link_must_show_its_token() {
    let listener = Listener::bind(Transport::Tcp, std::path::Path::new("")).unwrap();
    let eve = end(&listener.url().unwrap(), "guess");
    let dialling = std::thread::spawn(move || Link::connect(&eve, 5).is_err());
    let error = listener.accept("secret").unwrap_err().to_string();
    assert!(error.contains("another token") && !error.contains("guess"), "{error}");
    assert!(dialling.join().unwrap());
}

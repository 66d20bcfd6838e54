//! Frames that arrive in pieces, and frames that leave in pieces.

use m2_codec::btp::Frame;

use super::*;

fn output(masks: Option<u64>) -> Output {
    Output { bytes: Vec::new(), sent: 0, writable: true, masks, scratch: Vec::new() }
}

fn input(framing: Framing) -> Input {
    let buffer = vec![0; limits::INGRESS_BYTES];
    Input { framing, buffer, start: 0, end: 0, last_pong: None }
}

fn ws_input() -> Input {
    input(Framing::Ws(ws::Reader::new(ws::Role::Client, btp::FRAME_LEN_MAX)))
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
        input.end += piece.len();
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
        let mut out = output(None);
        let read = frames_of(&mut input(Framing::Raw), &mut out, &raw, piece_len);
        assert_eq!(read.as_ref(), Ok(&frames), "raw in pieces of {piece_len}");
        let read = frames_of(&mut ws_input(), &mut output(Some(1)), &ws_bytes, piece_len);
        assert_eq!(read.as_ref(), Ok(&frames), "ws in pieces of {piece_len}");
    }
}

#[test]
fn a_long_stream_fits_the_buffer_again_and_again() {
    let (frames, raw, ws_bytes) = stream_of(900);
    assert!(raw.len() > 8 * limits::INGRESS_BYTES);
    let read = frames_of(&mut input(Framing::Raw), &mut output(None), &raw, 60_000);
    assert_eq!(read.as_ref(), Ok(&frames));
    let read = frames_of(&mut ws_input(), &mut output(Some(1)), &ws_bytes, 60_000);
    assert_eq!(read.as_ref(), Ok(&frames));
}

#[test]
fn a_ping_between_messages_is_answered_with_its_payload() {
    let (frames, _, mut ws_bytes) = stream_of(1);
    let mut bytes = Vec::new();
    ws::put_control(&mut bytes, ws::Opcode::Ping, b"still there?", None);
    bytes.append(&mut ws_bytes);
    let mut out = output(Some(9));
    assert_eq!(frames_of(&mut ws_input(), &mut out, &bytes, 5), Ok(frames));
    let mut server = ws::Reader::new(ws::Role::Server, 1_000);
    assert!(matches!(server.next(&mut out.bytes), Ok(Some((_, Event::Pong)))));
}

#[test]
fn lost_framing_and_close_frames_end_the_link() {
    let garbage = [6, 0, 0, 0, 1, 0x85, 1, 1, 1, 1, 1];
    let read = frames_of(&mut input(Framing::Raw), &mut output(None), &garbage, 11);
    assert!(matches!(read, Err(Nonsense::Btp(_))), "{read:?}");
    let mut close = Vec::new();
    ws::put_close(&mut close, 1001, "going", None);
    let read = frames_of(&mut ws_input(), &mut output(Some(1)), &close, 99);
    assert_eq!(read, Err(Nonsense::Closed(1001)));
    let read = frames_of(&mut ws_input(), &mut output(Some(1)), b"HTTP/1.1 400", 99);
    assert!(matches!(read, Err(Nonsense::Ws(_))), "{read:?}");
}

#[test]
fn what_a_client_sends_is_masked_and_reads_back() {
    let mut out = output(Some(3));
    out.send(FrameType::Message, 7, b"one");
    out.send(FrameType::Response, 8, &[5; 300]);
    let mut server = ws::Reader::new(ws::Role::Server, 1_000);
    let mut rest = out.bytes.as_mut_slice();
    for (id, packet) in [(7, &b"one"[..]), (8, &[5; 300])] {
        let Ok(Some((consumed, Event::Message(range)))) = server.next(rest) else {
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
    let mut out = output(None);
    let mut all = Vec::new();
    let mut taken = Vec::new();
    for id in 0..2_000 {
        btp::put_ilp(&mut all, FrameType::Message, id, &[7; 900]);
        out.send(FrameType::Message, id, &[7; 900]);
        let count = out.unsent() * 2 / 3;
        taken.extend_from_slice(&out.queued()[..count]);
        out.left(count);
    }
    taken.extend_from_slice(out.queued());
    out.left(out.unsent());
    assert_eq!((taken, out.unsent(), out.bytes.len()), (all, 0, 0));
}

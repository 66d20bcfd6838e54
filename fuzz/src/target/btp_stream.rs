//! BTP frames on a stream that may be cut anywhere.

use m2_codec::btp::{
    self, DecodeError, ERROR_DATA_LEN_MAX, Entry, ErrorFields, FRAME_LEN_MAX, Frame, FrameType,
    PacketFrame,
};

use crate::reference;

/// A stream has the same frames, and breaks at the same byte for the same reason, however it is cut;
/// two parsers agree on every frame and field, and on who authenticates; a packet alone is seen where
/// the general reader sees it and nowhere else; what is written again is what was read; a new request
/// id changes four bytes. The first two bytes say where to cut.
pub fn btp_stream(data: &[u8]) {
    let Some((&[first, second], stream)) = data.split_first_chunk() else { return };
    let whole = frames(&[stream]);
    let a = usize::from(first).min(stream.len());
    let b = (a + usize::from(second)).min(stream.len());
    assert_eq!(frames(&[&stream[..a], &stream[a..b], &stream[b..]]), whole, "cut otherwise");
    assert_eq!(frames(&stream.chunks(1 + a % 7).collect::<Vec<_>>()), whole, "cut in pieces");
    for bytes in &whole.frames {
        judge(bytes);
    }
    judge(stream);
}

/// What a stream held.
#[derive(Debug, Eq, PartialEq)]
struct Frames {
    frames: Vec<Vec<u8>>,
    /// Why no later frame can be found.
    broken: Option<DecodeError>,
}

/// Takes frames off a stream as a link does: as soon as one is whole.
fn frames(pieces: &[&[u8]]) -> Frames {
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut start = 0;
        loop {
            packet_alone(&buffer[start..]);
            match btp::frame_len(&buffer[start..]) {
                Err(error) => return Frames { frames, broken: Some(error) },
                Ok(Some(len)) if len <= buffer.len() - start => {
                    assert!((6..=FRAME_LEN_MAX).contains(&len), "a frame of {len} bytes");
                    frames.push(buffer[start..start + len].to_vec());
                    start += len;
                }
                Ok(_) => break,
            }
        }
        buffer.drain(..start);
    }
    Frames { frames, broken: None }
}

/// The frame that `bytes` begins with, if it holds one ILP packet and nothing else. Who looks for that
/// alone and who knows all the rules have to agree; but what is shorter than the one looks at, longer
/// than three bytes can say, or not as we write it (the number of entries may have leading zeros), is
/// left to the other.
pub(super) fn packet_alone(bytes: &[u8]) -> Option<PacketFrame> {
    let len = btp::frame_len(bytes).ok().flatten();
    let frame = len.and_then(|len| Frame::new_checked(bytes.get(..len)?).ok());
    let expected = frame.as_ref().and_then(|frame| {
        let entries: Vec<_> = frame.protocol_data().collect();
        let [Entry { name: btp::ILP, content_type: btp::OCTET_STREAM, .. }] = entries[..] else {
            return None;
        };
        let (frame_type, request_id) = (frame.frame_type(), frame.request_id());
        let packet = frame.ilp_range().filter(|range| range.end == frame.len())?;
        let mut ours = Vec::new();
        match frame_type {
            FrameType::Message => btp::put_message(&mut ours, request_id, &entries),
            FrameType::Response => btp::put_response(&mut ours, request_id, &entries),
            FrameType::Transfer | FrameType::Error => return None,
        }
        bytes.starts_with(&ours).then_some(PacketFrame { frame_type, request_id, packet })
    });
    let seen = btp::packet_frame(bytes);
    let may_be_left = bytes.len() < 24 || len.is_some_and(|len| len > 0xffff);
    if seen.is_some() || !may_be_left {
        assert_eq!(seen, expected, "packet_frame");
    }
    seen
}

fn judge(bytes: &[u8]) {
    let expected = reference::frame(bytes);
    let Ok(frame) = Frame::new_checked(bytes) else {
        assert_eq!(expected, None, "the reference reads a frame that we refuse");
        return;
    };
    let expected = expected.expect("we read a frame that the reference refuses");
    assert_eq!(btp::frame_len(bytes), Ok(Some(frame.len())), "frame_len");
    let entries: Vec<_> = frame.protocol_data().collect();
    let seen = reference::Frame {
        len: frame.len(),
        behind: expected.behind,
        first: frame.frame_type() as u8,
        request_id: frame.request_id(),
        amount: frame.transfer_amount(),
        error: expected.error,
        entries: entries.iter().map(|entry| (entry.name, entry.content_type, entry.data)).collect(),
    };
    assert_eq!(seen, expected, "frame");
    let error = frame.error();
    let fields = error.as_ref().map(|it| [&it.code[..], it.name, it.triggered_at, it.data]);
    assert_eq!(fields, expected.error, "error");
    if let Some(error) = error {
        let expected = reference::btp_time(error.triggered_at);
        assert_eq!(error.triggered_at_ms(), expected, "triggered_at_ms");
    }
    let ilp = entries.iter().find(|entry| entry.name == btp::ILP).map(|entry| entry.data);
    assert_eq!((frame.ilp(), frame.ilp_range().map(|range| &bytes[range])), (ilp, ilp));
    let auth = btp::auth::read(&frame).ok().map(|auth| (auth.username, auth.token));
    assert_eq!(auth, reference::auth(&expected), "auth");
    written_again(&bytes[..frame.len()], &frame, &entries, expected.behind);
    renamed(&bytes[..frame.len()], &entries);
}

fn written_again(bytes: &[u8], frame: &Frame<'_>, entries: &[Entry<'_>], behind: usize) {
    let (mut out, id) = (Vec::new(), frame.request_id());
    match frame.frame_type() {
        FrameType::Message => btp::put_message(&mut out, id, entries),
        FrameType::Response => btp::put_response(&mut out, id, entries),
        FrameType::Transfer => {
            let amount = frame.transfer_amount().expect("a TRANSFER has one");
            btp::put_transfer(&mut out, id, amount, entries);
        }
        FrameType::Error => {
            let error = frame.error().expect("an ERROR has fields");
            let Some(ms) = writable(&error) else { return };
            let name = core::str::from_utf8(error.name).expect("ASCII");
            btp::put_error(&mut out, id, &error.code, name, ms, error.data, entries);
        }
    }
    let reread = Frame::new_checked(&out).expect("it was written");
    assert!(reread.protocol_data().eq(entries.iter().copied()), "entries, read again");
    assert_eq!(reread.frame_type(), frame.frame_type());
    assert_eq!((reread.request_id(), reread.error()), (id, frame.error()));
    assert_eq!(reread.transfer_amount(), frame.transfer_amount());
    assert!(out.len() <= bytes.len(), "what is written again is longer");
    if out.len() == bytes.len() {
        assert_eq!((&out[..], behind), (bytes, 0), "a frame has one encoding");
    }
}

/// The time of an ERROR that we could have written: with three digits, as we do.
fn writable(error: &ErrorFields<'_>) -> Option<u64> {
    let ms = error.triggered_at_ms()?;
    let ours = btp::time::write(ms) == *error.triggered_at;
    (ours && error.data.len() <= ERROR_DATA_LEN_MAX).then_some(ms)
}

fn renamed(bytes: &[u8], entries: &[Entry<'_>]) {
    let mut after = bytes.to_vec();
    btp::set_request_id(&mut after, 0xfffe_fdfc);
    assert_eq!((after[0], &after[5..]), (bytes[0], &bytes[5..]), "set_request_id");
    assert_eq!(Frame::new_checked(&after).map(|frame| frame.request_id()), Ok(0xfffe_fdfc));
    if let [Entry { name: btp::ILP, content_type: btp::OCTET_STREAM, data }] = entries
        && data.len() <= m2_codec::limits::PACKET_LEN_MAX
    {
        let (mut alone, mut by_entries) = (Vec::new(), Vec::new());
        btp::put_ilp(&mut alone, FrameType::Message, 7, data);
        btp::put_message(&mut by_entries, 7, entries);
        assert_eq!(alone, by_entries, "put_ilp");
        let mut room = vec![0xa5; data.len() + m2_codec::limits::ILP_HEADER_LEN_MAX];
        let len = btp::write_packet(&mut room, FrameType::Message, 7, data);
        assert_eq!(room[..len], alone, "write_packet");
    }
}

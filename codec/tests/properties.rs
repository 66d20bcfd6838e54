//! What holds for all packets and frames, tried on random ones and on every small change of some.

use m2_codec::address::{self, Address};
use m2_codec::btp::{self, Entry, Frame, FrameType};
use m2_codec::ilp::{
    self, ErrorCode, Fulfill, FulfillRepr, Prepare, PrepareRepr, Reject, RejectRepr,
};
use m2_codec::ws::{self, Event, Reader, Role};
use m2_codec::{ildcp, oer, timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

/// What stands in a buffer before us.
const DIRT: &[u8] = b"\x0c\x81\xffdirt\x80";

fn an_address() -> impl Strategy<Value = Address> {
    let scheme = prop::sample::select(vec![
        "g", "private", "example", "peer", "self", "test", "test1", "test2", "test3", "local",
    ]);
    let segment = vec(prop::sample::select(SEGMENT.to_vec()), 1..30);
    (scheme, vec(segment, 1..8)).prop_map(|(scheme, segments)| {
        let mut text = scheme.to_owned();
        for segment in segments {
            text.push('.');
            text.extend(segment.iter().map(|&byte| char::from(byte)));
        }
        text.parse().expect("made as the RFC says")
    })
}

const SEGMENT: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_~-";

fn some_data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..80), vec(any::<u8>(), 100..300), vec(any::<u8>(), 0..2000)]
}

prop_compose! {
    fn a_prepare()(
        amount in any::<u64>(),
        expires_at_ms in 0..=timestamp::MS_MAX,
        condition in any::<[u8; 32]>(),
        destination in an_address(),
        data in some_data(),
    ) -> PrepareRepr {
        PrepareRepr { amount, expires_at_ms, condition, destination, data }
    }
}

prop_compose! {
    fn a_reject()(
        code in prop::sample::select(ErrorCode::ALL.to_vec()),
        triggered_by in prop::option::of(an_address()),
        message in vec(any::<u8>(), 0..300),
        data in some_data(),
    ) -> RejectRepr {
        RejectRepr { code, triggered_by, message, data }
    }
}

type OwnedEntry = (String, u8, Vec<u8>);

fn some_entries() -> impl Strategy<Value = Vec<OwnedEntry>> {
    let name = prop_oneof![Just("ilp".to_owned()), Just("auth".to_owned()), "[ -~]{0,140}"];
    vec((name, any::<u8>(), vec(any::<u8>(), 0..200)), 0..5)
}

fn borrowed(entries: &[OwnedEntry]) -> Vec<Entry<'_>> {
    entries
        .iter()
        .map(|(name, content_type, data)| Entry {
            name: name.as_bytes(),
            content_type: *content_type,
            data,
        })
        .collect()
}

/// What `put` appends to a dirty buffer, whose dirt it must leave alone.
fn appended(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = DIRT.to_vec();
    put(&mut out);
    assert_eq!(&out[..DIRT.len()], DIRT);
    out.split_off(DIRT.len())
}

proptest! {
    #[test]
    fn a_prepare_is_read_as_it_was_written(repr in a_prepare(), behind in vec(any::<u8>(), 0..20)) {
        let packet = repr.encode();
        prop_assert_eq!(&appended(|out| repr.encode_into(out)), &packet);
        let buffer = [&packet[..], &behind].concat();
        let view = Prepare::new_checked(&buffer[..]).unwrap();
        prop_assert_eq!(view.as_packet(), &packet[..]);
        prop_assert_eq!(PrepareRepr::from_view(&view), repr);
    }

    #[test]
    fn a_rewrite_changes_the_25_bytes_that_it_names_and_no_other(
        repr in a_prepare(),
        amount in any::<u64>(),
        expires_at_ms in 0..=timestamp::MS_MAX,
    ) {
        let before = repr.encode();
        let mut after = before.clone();
        ilp::rewrite_prepare(&mut after, amount, &timestamp::write(expires_at_ms));
        let expected = PrepareRepr { amount, expires_at_ms, ..repr };
        prop_assert_eq!(&after, &expected.encode());
        let mut by_setters = before.clone();
        let mut view = Prepare::new_checked(&mut by_setters).unwrap();
        view.set_amount(amount);
        view.set_expires_at(&timestamp::write(expires_at_ms));
        prop_assert_eq!(view.expires_at_ms(), expires_at_ms);
        prop_assert_eq!(&by_setters, &after);
        let start = oer::octet_string(&before, 1, usize::MAX).unwrap().start;
        prop_assert_eq!(&before[..start], &after[..start]);
        prop_assert_eq!(&before[start + 25..], &after[start + 25..]);
    }

    #[test]
    fn answers_are_read_as_they_were_written(
        fulfillment in any::<[u8; 32]>(),
        data in some_data(),
        reject in a_reject(),
    ) {
        let fulfill = FulfillRepr { fulfillment, data };
        let packet = appended(|out| fulfill.encode_into(out));
        prop_assert_eq!(&packet, &fulfill.encode());
        let view = Fulfill::new_checked(&packet).unwrap();
        prop_assert_eq!(FulfillRepr::from_view(&view), fulfill);
        let packet = appended(|out| reject.encode_into(out));
        prop_assert_eq!(&packet, &reject.encode());
        let view = Reject::new_checked(&packet).unwrap();
        prop_assert_eq!(RejectRepr::from_view(&view), reject);
    }

    #[test]
    fn an_ildcp_answer_is_read_as_it_was_written(
        address in an_address(),
        asset_scale in any::<u8>(),
        asset_code in "\\PC{0,20}",
    ) {
        let packet =
            appended(|out| ildcp::put_response(out, &address, asset_scale, &asset_code));
        let view = Fulfill::new_checked(&packet).unwrap();
        let response = ildcp::Response::from_fulfill(&view).unwrap();
        let client_address = address.as_bytes();
        let expected = ildcp::Response { client_address, asset_scale, asset_code: &asset_code };
        prop_assert_eq!(response, expected);
    }

    #[test]
    fn frames_are_read_as_they_were_written(
        entries in some_entries(),
        request_id in any::<u32>(),
        other_id in any::<u32>(),
        amount in any::<u64>(),
        ms in 0..=timestamp::MS_MAX,
    ) {
        let entries = borrowed(&entries);
        let frames = [
            appended(|out| btp::put_message(out, request_id, &entries)),
            appended(|out| btp::put_response(out, request_id, &entries)),
            appended(|out| btp::put_transfer(out, request_id, amount, &entries)),
            appended(|out| btp::put_error(out, request_id, b"F00", "Name", ms, b"data", &entries)),
        ];
        for mut bytes in frames {
            let frame = Frame::new_checked(&bytes).unwrap();
            prop_assert_eq!(frame.len(), bytes.len());
            prop_assert_eq!(frame.request_id(), request_id);
            prop_assert_eq!(frame.protocol_data().collect::<Vec<_>>(), entries.clone());
            let ilp = entries.iter().find(|entry| entry.name == btp::ILP);
            prop_assert_eq!(frame.ilp(), ilp.map(|entry| entry.data));
            prop_assert_eq!(frame.transfer_amount().unwrap_or(amount), amount);
            let written = frame.error().map_or(Some(ms), |error| error.triggered_at_ms());
            prop_assert_eq!(written, Some(ms));
            let before = bytes.clone();
            btp::set_request_id(&mut bytes, other_id);
            prop_assert_eq!(Frame::new_checked(&bytes).unwrap().request_id(), other_id);
            prop_assert_eq!((before[0], &before[5..]), (bytes[0], &bytes[5..]));
        }
    }

    #[test]
    fn random_bytes_are_read_or_refused_and_never_read_out_of(
        bytes in vec(any::<u8>(), 0..200),
        first in prop::sample::select(vec![1_u8, 2, 6, 7, 12, 13, 14]),
    ) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        read_everything(&bytes);
    }

    #[test]
    fn the_cache_says_what_the_plain_functions_say(
        steps in vec((any::<prop::sample::Index>(), any::<u8>(), near_minutes(), any::<bool>()), 1..200),
    ) {
        let mut cache = timestamp::Cache::new();
        for (index, byte, ms, broken) in steps {
            let mut digits = timestamp::write(ms);
            prop_assert_eq!(cache.write(ms), digits);
            prop_assert_eq!(timestamp::parse(&digits), Some(ms));
            if broken {
                digits[index.index(digits.len())] = byte;
            }
            prop_assert_eq!(cache.parse(&digits), timestamp::parse(&digits));
        }
    }

    #[test]
    fn an_address_is_what_the_rfc_says(text in prop_oneof![
        "(g|test|test1|test4|private|peer|x|gg)(\\.[a-zA-Z0-9_~-]{1,9}){0,9}",
        "(g|test)(\\.[a-z0-9_~/@\\[`{^-]{0,9}){1,9}",
        "(g|local)[.a-z]{0,60}",
        "\\PC{0,60}",
    ]) {
        prop_assert_eq!(address::check(text.as_bytes()).is_ok(), is_address(&text), "{}", text);
    }
}

/// Instants around the first and last milliseconds of few minutes, so that entries are shared.
fn near_minutes() -> impl Strategy<Value = u64> {
    let minute = prop_oneof![
        0..40_u64,
        29_919_500..29_919_600_u64,
        Just(timestamp::MS_MAX / 60_000),
        0..=timestamp::MS_MAX / 60_000,
    ];
    (minute, prop_oneof![Just(0), Just(1), Just(59_998), Just(59_999), 0..60_000_u64])
        .prop_map(|(minute, ms)| minute * 60_000 + ms)
}

/// The RFC's expression, by splitting.
fn is_address(text: &str) -> bool {
    let mut segments = text.split('.');
    let schemes =
        ["g", "private", "example", "peer", "self", "test", "test1", "test2", "test3", "local"];
    let known = segments.next().is_some_and(|scheme| schemes.contains(&scheme));
    let rest: Vec<_> = segments.collect();
    let sound =
        |segment: &&str| !segment.is_empty() && segment.bytes().all(|byte| SEGMENT.contains(&byte));
    known && !rest.is_empty() && rest.iter().all(sound) && text.len() <= address::LEN_MAX
}

#[test]
fn an_address_of_any_length_has_no_place_for_a_wrong_byte() {
    for len in 3..=100 {
        let valid: Vec<u8> = b"g.".iter().copied().chain((2..len).map(|_| b'a')).collect();
        assert_eq!(address::check(&valid), Ok(()));
        for index in 2..len {
            for byte in [b'/', b'@', b'[', b'`', b'{', b'^', b' ', 0, 0x80, b'a' | 0x80, 0xff] {
                let mut bytes = valid.clone();
                bytes[index] = byte;
                assert_eq!(address::check(&bytes), Err(address::AddressError::BadCharacter));
            }
            let mut bytes = valid.clone();
            bytes[index] = b'.';
            let sound = index > 2 && index < len - 1;
            assert_eq!(address::check(&bytes).is_ok(), sound, "a dot at {index} of {len}");
            if index + 1 < len {
                bytes[index + 1] = b'.';
                assert!(address::check(&bytes).is_err(), "two dots at {index} of {len}");
            }
        }
    }
}

#[test]
fn the_cache_agrees_at_every_minute_of_three_days() {
    let mut cache = timestamp::Cache::new();
    // The last of February in a leap year and two days more.
    let start_ms = timestamp::parse(b"20280229000000000").unwrap();
    for minute in 0..3 * 24 * 60 {
        for ms in [0, 1, 30_000, 59_999] {
            let ms = start_ms + minute * 60_000 + ms;
            let digits = timestamp::write(ms);
            assert_eq!(cache.write(ms), digits);
            assert_eq!(cache.parse(&digits), Some(ms));
            assert_eq!(timestamp::parse(&digits), Some(ms));
        }
    }
}

#[test]
fn the_cache_judges_every_byte_in_every_place_as_the_plain_function_does() {
    let digits = *b"20261120114559999";
    for index in 0..digits.len() {
        for byte in 0..=u8::MAX {
            let mut cache = timestamp::Cache::new();
            assert!(cache.parse(&digits).is_some());
            let mut bytes = digits;
            bytes[index] = byte;
            for _ in 0..2 {
                assert_eq!(cache.parse(&bytes), timestamp::parse(&bytes), "{index} {byte}");
            }
        }
    }
}

/// Reads `bytes` as everything, and all that a view lets us read.
fn read_everything(bytes: &[u8]) {
    let mut cache = timestamp::Cache::new();
    let cached = Prepare::new_checked_cached(bytes, &mut cache);
    let plain = Prepare::new_checked(bytes);
    assert_eq!(plain.as_ref().err(), cached.as_ref().err());
    if let Ok(view) = plain {
        assert_eq!(view.as_packet(), &bytes[..view.packet_len()]);
        let written = PrepareRepr::from_view(&view);
        // What is written again is what was read; only bytes behind the last field are lost.
        let again = written.encode();
        let reread = Prepare::new_checked(&again[..]).expect("it was written");
        assert_eq!(PrepareRepr::from_view(&reread), written);
        assert!(again.len() <= view.packet_len());
    }
    if let Ok(view) = Fulfill::new_checked(bytes) {
        assert_eq!(view.as_packet(), &bytes[..view.packet_len()]);
        assert!(FulfillRepr::from_view(&view).encode().len() <= view.packet_len());
    }
    if let Ok(view) = Reject::new_checked(bytes) {
        assert_eq!(view.as_packet(), &bytes[..view.packet_len()]);
        assert!(RejectRepr::from_view(&view).encode().len() <= view.packet_len());
    }
    if let Ok(frame) = Frame::new_checked(bytes) {
        assert_eq!(btp::frame_len(bytes), Ok(Some(frame.len())));
        let data: usize = frame.protocol_data().map(|entry| entry.data.len()).sum();
        assert!(data <= bytes.len());
        let ilp = frame.protocol_data().find(|entry| entry.name == btp::ILP);
        assert_eq!(frame.ilp(), ilp.map(|entry| entry.data));
        assert_eq!(frame.error().is_some(), frame.frame_type() == FrameType::Error);
        let _ = (frame.transfer_amount(), btp::auth::read(&frame));
    }
    let _ = ildcp::Response::read(bytes);
}

fn examples() -> Vec<Vec<u8>> {
    let prepare = PrepareRepr {
        amount: 107,
        expires_at_ms: 1_795_175_100_000,
        condition: [0xab; 32],
        destination: "test.bob.x".parse().expect("an address"),
        data: b"hello".to_vec(),
    };
    let fulfill = FulfillRepr { fulfillment: [7; 32], data: b"hello".to_vec() };
    let reject = RejectRepr {
        code: ErrorCode::F02_UNREACHABLE,
        triggered_by: Some("test.carol".parse().expect("an address")),
        message: b"no route".to_vec(),
        data: b"hello".to_vec(),
    };
    let entry = |name, data| Entry { name, content_type: 0, data };
    let entries = &[entry(&b"info"[..], &b"{}"[..]), entry(b"ilp", b"packet")];
    vec![
        prepare.encode(),
        fulfill.encode(),
        reject.encode(),
        PrepareRepr { data: vec![1; 150], ..prepare }.encode(),
        appended(|out| btp::put_message(out, 7, entries)),
        appended(|out| btp::put_transfer(out, 7, 99, entries)),
        appended(|out| btp::put_error(out, 7, b"T00", "Name", 0, b"why", entries)),
        appended(|out| btp::auth::put(out, 7, Some("alice"), "secret")),
        appended(|out| {
            let address = "test.parent.child".parse().expect("an address");
            ildcp::put_response(out, &address, 9, "XRP");
        }),
    ]
}

#[test]
fn every_truncation_and_every_other_byte_is_read_or_refused() {
    for bytes in examples() {
        for len in 0..bytes.len() {
            read_everything(&bytes[..len]);
            let truncated = &bytes[..len];
            assert!(Prepare::new_checked(truncated).is_err());
            assert!(Fulfill::new_checked(truncated).is_err());
            assert!(Reject::new_checked(truncated).is_err());
            assert!(Frame::new_checked(truncated).is_err());
        }
        for index in 0..bytes.len() {
            for value in 0..=u8::MAX {
                let mut bytes = bytes.clone();
                bytes[index] = value;
                read_everything(&bytes);
            }
        }
    }
}

/// Frames of a client: messages of several lengths, in fragments, with control frames between.
fn ws_stream() -> Vec<u8> {
    let mut out = Vec::new();
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut put = |first: u8, payload: &[u8]| {
        let start = out.len();
        ws::put_binary_header(&mut out, payload.len(), Some(mask));
        out[start] = first;
        let payload_start = out.len();
        out.extend_from_slice(payload);
        ws::apply_mask(&mut out[payload_start..], mask);
    };
    put(0x82, b"one");
    put(0x82, &[0x5a; 300]);
    put(0x02, b"in ");
    put(0x89, b"ping");
    put(0x00, b"");
    put(0x80, &[0xa5; 130]);
    put(0x8a, b"");
    put(0x81, b"text");
    put(0x82, b"");
    put(0x02, b"second");
    put(0x80, b"");
    put(0x88, b"\x03\xe8bye");
    out
}

/// What a reader says of bytes that come in these pieces, with the payloads.
fn ws_events(pieces: &[&[u8]]) -> Vec<(Event, Vec<u8>)> {
    let (mut reader, mut buffer, mut events) =
        (Reader::new(Role::Server, 1000), Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some((consumed, event)) = reader.next(&mut buffer).expect("all is legal") {
            let payload = match &event {
                Event::Message(range) | Event::Ping(range) => buffer[range.clone()].to_vec(),
                Event::Assembled => reader.assembled().to_vec(),
                _ => Vec::new(),
            };
            events.push((event, payload));
            buffer.drain(..consumed);
        }
    }
    assert_eq!(buffer, b"");
    events
}

#[test]
fn a_websocket_stream_in_any_two_pieces_or_byte_by_byte_says_the_same() {
    let stream = ws_stream();
    let whole = ws_events(&[&stream]);
    assert_eq!(whole.len(), 12);
    assert_eq!(whole[5], (Event::Assembled, [&b"in "[..], &[0xa5; 130]].concat()));
    assert_eq!(whole[10], (Event::Assembled, b"second".to_vec()));
    for at in 0..=stream.len() {
        assert_eq!(ws_events(&[&stream[..at], &stream[at..]]), whole, "{at}");
    }
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(ws_events(&bytes), whole);
}

#[test]
fn every_other_byte_of_a_websocket_stream_is_read_or_refused() {
    let stream = ws_stream();
    for role in [Role::Server, Role::Client] {
        for index in 0..stream.len() {
            for value in [0, 1, 0x7d, 0x7e, 0x7f, 0x80, 0xfe, 0xff, !stream[index]] {
                let mut bytes = stream.clone();
                bytes[index] = value;
                let (mut reader, mut rest) = (Reader::new(role, 1000), &mut bytes[..]);
                while let Ok(Some((consumed, _))) = reader.next(rest) {
                    assert!((2..=rest.len()).contains(&consumed));
                    assert!(reader.assembled().len() <= 1000);
                    rest = &mut rest[consumed..];
                }
            }
        }
    }
}

/// The frames of a stream that comes in these pieces.
fn btp_frames(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut buffer, mut frames) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(len) = btp::frame_len(&buffer).expect("all is legal") {
            if buffer.len() < len {
                break;
            }
            Frame::new_checked(&buffer[..len]).expect("a frame was written");
            frames.push(buffer.drain(..len).collect());
        }
    }
    assert_eq!(buffer, b"");
    frames
}

#[test]
fn a_btp_stream_in_any_two_pieces_or_byte_by_byte_has_the_same_frames() {
    let frames: Vec<_> = [0, 1, 110, 130, 300]
        .map(|len| appended(|out| btp::put_ilp(out, FrameType::Message, 7, &vec![0x5a; len])))
        .into();
    let stream = frames.concat();
    for at in 0..=stream.len() {
        assert_eq!(btp_frames(&[&stream[..at], &stream[at..]]), frames, "{at}");
    }
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(btp_frames(&bytes), frames);
}

/// One frame of each kind that matters to who looks for a packet alone, as BTP writes it.
fn packet_frames() -> Vec<Vec<u8>> {
    let entry = |name, content_type, data| Entry { name, content_type, data };
    let packet = [0x5a; 140];
    let mut frames: Vec<_> = [20, 35, 110, 119, 120, 128, 247, 260]
        .map(|len| appended(|out| btp::put_ilp(out, FrameType::Response, 9, &vec![12; len])))
        .into();
    let entries = [
        vec![entry(btp::ILP, 0, &packet[..]), entry(b"x", 0, b"y")],
        vec![entry(btp::ILP, 1, &packet)],
        vec![entry(b"auth", 0, &packet)],
    ];
    frames.extend(entries.map(|entries| appended(|out| btp::put_message(out, 1, &entries))));
    frames.push(appended(|out| btp::put_transfer(out, 1, 5, &[entry(btp::ILP, 0, &packet)])));
    frames.push([&frames[1][..], b"behind"].concat());
    frames
}

/// What both ways of looking for a packet say of `bytes`: the frame's end if it is one.
fn judge_raw_packet(bytes: &[u8]) -> Option<usize> {
    let plain = btp::frame_len(bytes).ok().flatten().filter(|len| *len <= bytes.len());
    let plain = plain.and_then(|len| Frame::new_checked(&bytes[..len]).ok());
    let seen = btp::packet_frame(bytes);
    let Some(frame) = plain else {
        assert_eq!(seen, None, "a frame that is none");
        return None;
    };
    let is_asked = matches!(frame.frame_type(), FrameType::Message | FrameType::Response);
    let mut entries = frame.protocol_data();
    let alone = matches!(
        (entries.next(), entries.next()),
        (Some(Entry { name: btp::ILP, content_type: 0, .. }), None)
    );
    let packet = frame.ilp_range().filter(|it| is_asked && alone && it.end == frame.len());
    // What is shorter than what is looked at, or longer than three bytes can say, may be left out.
    if packet.is_some() && bytes.len() >= 24 && frame.len() < 1 << 16 {
        assert!(seen.is_some(), "a packet alone is not seen");
    }
    let seen = seen?;
    assert_eq!((seen.frame_type, seen.request_id), (frame.frame_type(), frame.request_id()));
    assert_eq!(Some(seen.packet), packet);
    Some(frame.len())
}

/// The same of a WebSocket frame; what a reader and the bytes are afterwards has to agree as well.
fn judge_ws_packet(reader: &Reader, bytes: &[u8]) -> Option<usize> {
    let (mut seen_bytes, mut plain_bytes) = (bytes.to_vec(), bytes.to_vec());
    let seen = reader.next_packet(&mut seen_bytes);
    let mut plain_reader = reader.clone();
    let plain = plain_reader.next(&mut plain_bytes);
    let Some(seen) = seen else {
        assert_eq!(seen_bytes, bytes, "nothing is seen and something has changed");
        if let Ok(Some((end, Event::Message(range)))) = plain
            && range.len() >= 24
            && range.len() < 1 << 16
        {
            let inner = judge_raw_packet(&plain_bytes[range.clone()]);
            assert!(inner != Some(range.len()), "a packet alone is not seen, to {end}");
        }
        return None;
    };
    let Ok(Some((end, Event::Message(range)))) = plain else { panic!("seen {seen:?}: {plain:?}") };
    assert_eq!(seen_bytes, plain_bytes, "unmasked otherwise");
    assert_eq!((seen.packet.end, range.end), (end, end));
    let payload = &plain_bytes[range.clone()];
    assert_eq!(judge_raw_packet(payload), Some(range.len()));
    let inner = btp::packet_frame(payload).expect("it was just judged");
    let moved = range.start + inner.packet.start..range.start + inner.packet.end;
    assert_eq!(seen, btp::PacketFrame { packet: moved, ..inner });
    assert_eq!(format!("{reader:?}"), format!("{plain_reader:?}"), "the reader has changed");
    Some(end)
}

#[test]
fn a_packet_alone_is_seen_where_the_general_reader_sees_it_and_nowhere_else() {
    let mut seen = 0;
    for frame in packet_frames() {
        for end in 0..=frame.len() {
            seen += usize::from(judge_raw_packet(&frame[..end]).is_some());
        }
        for index in 0..frame.len().min(40) {
            for value in 0..=u8::MAX {
                let mut bytes = [&frame[..], &[0; 30]].concat();
                bytes[index] = value;
                seen += usize::from(judge_raw_packet(&bytes).is_some());
            }
        }
    }
    assert!(seen > 10_000, "only {seen} of them held a packet alone");
}

#[test]
fn a_packet_alone_in_a_message_is_seen_where_the_general_reader_sees_it_and_nowhere_else() {
    let mut seen = 0;
    for (role, mask) in [(Role::Server, Some([0x37, 0xfa, 0x21, 0x3d])), (Role::Client, None)] {
        let mut inside = Reader::new(role, 1000);
        let mut part = ws_frame(0x02, b"part", mask);
        assert_eq!(inside.next(&mut part), Ok(Some((part.len(), Event::Fragment))));
        for reader in [Reader::new(role, 1000), Reader::new(role, 100), inside] {
            for frame in packet_frames() {
                let frame = ws_frame(0x82, &frame, mask);
                for end in 0..=frame.len() {
                    seen += usize::from(judge_ws_packet(&reader, &frame[..end]).is_some());
                }
                for index in 0..frame.len().min(40) {
                    for value in 0..=u8::MAX {
                        let mut bytes = [&frame[..], &[0; 30]].concat();
                        bytes[index] = value;
                        seen += usize::from(judge_ws_packet(&reader, &bytes).is_some());
                    }
                }
            }
        }
    }
    assert!(seen > 10_000, "only {seen} of them held a packet alone");
}

/// A WebSocket frame with this first byte.
fn ws_frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    ws::put_binary_header(&mut out, payload.len(), mask);
    out[0] = first;
    let start = out.len();
    out.extend_from_slice(payload);
    ws::apply_mask(&mut out[start..], mask.unwrap_or_default());
    out
}

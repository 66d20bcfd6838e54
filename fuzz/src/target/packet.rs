//! PREPARE, FULFILL, REJECT, and the rewriting of a PREPARE.

use m2_codec::ilp::{
    self, AmountTooLarge, ErrorCode, Fulfill, FulfillRepr, PacketType, Prepare, PrepareRepr,
    Reject, RejectRepr,
};
use m2_codec::{oer, timestamp};

use crate::reference::{self, Bytes};

/// Two parsers agree on any bytes and on every field; a cache of minutes changes no verdict; what
/// is written again is what was read, but for bytes behind the last field.
pub fn prepare(data: &[u8]) {
    let expected = reference::prepare(data);
    let view = Prepare::new_checked(data);
    let mut cache = timestamp::Cache::new();
    for _ in 0..2 {
        let cached = Prepare::new_checked_cached(data, &mut cache);
        assert_eq!(cached.as_ref().err(), view.as_ref().err(), "a cache changes the verdict");
        assert_eq!(cached.as_ref().ok().map(fields), expected, "prepare, with a cache");
    }
    assert_eq!(view.as_ref().ok().map(fields), expected, "prepare");
    let Ok(view) = view else { return };
    assert_eq!(ilp::packet_type(data), Some(PacketType::Prepare));
    assert_eq!(view.as_packet(), &data[..view.packet_len()]);
    let mut out = Vec::new();
    let (destination, payload) = (view.destination(), view.data());
    let expires_at = view.expires_at();
    ilp::put_prepare(&mut out, view.amount(), expires_at, view.condition(), destination, payload);
    written_again(&out, view.as_packet());
    let repr = PrepareRepr::from_view(&view);
    let again = repr.encode();
    let reread = Prepare::new_checked(&again[..]).expect("it was written");
    assert_eq!(PrepareRepr::from_view(&reread), repr, "prepare, read again");
}

fn fields<'a>(view: &'a Prepare<&'a [u8]>) -> reference::Prepare<'a> {
    let data_end = view.data().as_ptr_range().end as usize - view.as_packet().as_ptr() as usize;
    reference::Prepare {
        packet_len: view.packet_len(),
        behind: view.packet_len() - data_end,
        amount: view.amount(),
        expires_at: view.expires_at(),
        expires_at_ms: view.expires_at_ms(),
        condition: view.condition(),
        destination: view.destination(),
        data: view.data(),
    }
}

/// A rewrite changes exactly the 25 bytes that it names, to what it was told, by setters and at
/// once. The input begins with the new amount and the new expiry.
pub fn prepare_rewrite(data: &[u8]) {
    let mut rest = Bytes(data);
    let (Some(amount), Some(ms)) = (rest.u64(), rest.u64()) else { return };
    let expires_at = timestamp::write(ms % (timestamp::MS_MAX + 1));
    let before = rest.0;
    let Ok(view) = Prepare::new_checked(before) else { return };
    let start = view.expires_at().as_ptr() as usize - before.as_ptr() as usize - 8;
    let mut expected = before.to_vec();
    expected[start..start + 8].copy_from_slice(&amount.to_be_bytes());
    expected[start + 8..start + 25].copy_from_slice(&expires_at);

    let mut at_once = before.to_vec();
    ilp::rewrite_prepare(&mut at_once, amount, &expires_at);
    assert_eq!(at_once, expected, "rewrite_prepare");

    let mut by_setters = before.to_vec();
    let mut view = Prepare::new_checked(&mut by_setters).expect("it was read before");
    view.set_amount(amount);
    view.set_expires_at(&expires_at);
    assert_eq!(view.expires_at_ms(), ms % (timestamp::MS_MAX + 1));
    assert_eq!(by_setters, expected, "set_amount, set_expires_at");
    let reread = reference::prepare(&expected).expect("a rewritten PREPARE is one");
    assert_eq!((reread.amount, reread.expires_at), (amount, &expires_at[..]));
}

/// As [`prepare`].
pub fn fulfill(data: &[u8]) {
    let view = Fulfill::new_checked(data);
    let fields = view.as_ref().ok().map(|view| {
        let data_end = view.data().as_ptr_range().end as usize - data.as_ptr() as usize;
        let behind = view.packet_len() - data_end;
        (view.packet_len(), behind, &view.fulfillment()[..], view.data())
    });
    assert_eq!(fields, reference::fulfill(data), "fulfill");
    let Ok(view) = view else { return };
    assert_eq!(ilp::packet_type(data), Some(PacketType::Fulfill));
    assert_eq!(view.as_packet(), &data[..view.packet_len()]);
    let repr = FulfillRepr::from_view(&view);
    let again = repr.encode();
    written_again(&again, view.as_packet());
    let reread = Fulfill::new_checked(&again).expect("it was written");
    assert_eq!(FulfillRepr::from_view(&reread), repr, "fulfill, read again");
}

/// As [`prepare`]; and the amounts of an `F08` are read as they are written.
pub fn reject(data: &[u8]) {
    let view = Reject::new_checked(data);
    let code = view.as_ref().ok().map(Reject::code);
    let fields = view.as_ref().ok().map(|view| reference::Reject {
        packet_len: view.packet_len(),
        behind: view.packet_len()
            - (view.data().as_ptr_range().end as usize - data.as_ptr() as usize),
        code: code.as_ref().map_or(&[], |code| &code.0[..]),
        triggered_by: view.triggered_by(),
        message: view.message(),
        data: view.data(),
    });
    assert_eq!(fields, reference::reject(data), "reject");
    let Ok(view) = view else { return };
    assert_eq!(ilp::packet_type(data), Some(PacketType::Reject));
    assert_eq!(view.as_packet(), &data[..view.packet_len()]);
    if view.code() == ErrorCode::F08_AMOUNT_TOO_LARGE {
        amounts(view.data());
    }
    // A message longer than ours may be is read and passed on, never made.
    if view.message().len() <= ilp::MESSAGE_LEN_MAX {
        let repr = RejectRepr::from_view(&view);
        let again = repr.encode();
        written_again(&again, view.as_packet());
        let reread = Reject::new_checked(&again).expect("it was written");
        assert_eq!(RejectRepr::from_view(&reread), repr, "reject, read again");
    }
}

/// The data of an `F08` (IL-RFC 27).
fn amounts(data: &[u8]) {
    let mut rest = Bytes(data);
    let expected = rest.u64().zip(rest.u64());
    let read = AmountTooLarge::from_bytes(data);
    assert_eq!(read.map(|read| (read.received, read.maximum)), expected, "amounts of F08");
    if let Some(read) = read {
        assert_eq!(read.to_bytes(), data[..AmountTooLarge::LEN]);
    }
}

/// `again` is `packet` without the bytes behind its last field (A6).
fn written_again(again: &[u8], packet: &[u8]) {
    let contents = |bytes: &[u8]| oer::octet_string(bytes, 1, usize::MAX).expect("a packet");
    let (ours, theirs) = (&again[contents(again)], &packet[contents(packet)]);
    assert!(theirs.starts_with(ours), "what is written again is not what was read");
    if ours.len() == theirs.len() {
        assert_eq!(again, packet, "a packet has one encoding");
    }
}

//! What operators write to the control socket.

use m2_core::Key;
use m2_engine::request::{Lines, Order, Request, refusal};
use serde_json::{Value, json};

/// Longest line with its end: `docs/control-socket.md`.
const LINE_LEN_MAX: usize = 4096;

/// Whatever is written, in whatever pieces: each line is one request or is answered by one line of
/// JSON that says no, no longer than what it may quote; a line that is too long ends it, and no more
/// of it is kept; a request that is written again is read again. The first two bytes say where to
/// cut.
pub fn control_socket(data: &[u8]) {
    let Some((&[first, second], stream)) = data.split_first_chunk() else { return };
    let whole = read(&[stream]);
    let a = usize::from(first).min(stream.len());
    let b = (a + usize::from(second)).min(stream.len());
    assert_eq!(read(&[&stream[..a], &stream[a..b], &stream[b..]]), whole, "cut otherwise");
    let expected: Vec<_> = stream.split_inclusive(|byte| *byte == b'\n').collect();
    for (line, expected) in whole.0.iter().zip(&expected) {
        assert_eq!(
            Some(&line[..]),
            expected.strip_suffix(b"\n"),
            "a line is not as it was written"
        );
        judge(line);
    }
    let too_long = expected.iter().any(|line| is_too_long(line));
    assert_eq!(whole.1.is_some(), too_long, "a line that is too long ends it, and no other");
}

fn is_too_long(line: &[u8]) -> bool {
    line.len() > LINE_LEN_MAX || (line.len() == LINE_LEN_MAX && !line.ends_with(b"\n"))
}

/// The lines of a stream, and the sentence that ended it.
fn read(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<String>) {
    let (mut lines, mut taken) = (Lines::default(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        loop {
            taken.extend(std::iter::from_fn(|| lines.take()));
            let (buffer, room) = match lines.room() {
                Ok(room) => room,
                Err(sentence) => return (taken, Some(sentence)),
            };
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            buffer.extend_from_slice(now);
            assert!(buffer.len() <= LINE_LEN_MAX, "more is kept than a line may have");
            rest = later;
        }
    }
    (taken, None)
}

fn judge(line: &[u8]) {
    match Request::parse(line) {
        Err(sentence) => {
            assert!(!sentence.is_empty());
            let answer = refusal(&sentence).to_string();
            assert!(!answer.contains('\n'), "an answer is one line");
            // What it quotes may be escaped twice: a byte of 0x7f to seven.
            assert!(answer.len() <= 7 * line.len() + 300, "an answer of {} bytes", answer.len());
            let read: Value = serde_json::from_str(&answer).expect("an answer is JSON");
            assert_eq!(
                (&read["ok"], read["error"].as_str()),
                (&Value::Bool(false), Some(&*sentence))
            );
        }
        Ok(request) => {
            let again = match &request {
                Request::Status => r#"{"cmd":"status"}"#.to_owned(),
                Request::Accounts => r#"{"cmd":"accounts"}"#.to_owned(),
                Request::Counters => r#"{"cmd":"counters"}"#.to_owned(),
                Request::Resume => r#"{"cmd":"resume"}"#.to_owned(),
                Request::Drain { timeout_ms } => {
                    assert!(*timeout_ms <= 600_000, "a drain of {timeout_ms} ms");
                    format!(r#"{{"cmd":"drain","timeout_ms":{timeout_ms}}}"#)
                }
                Request::Journal => r#"{"cmd":"journal"}"#.to_owned(),
                Request::ReloadRoutes => r#"{"cmd":"reload_routes"}"#.to_owned(),
                Request::Money { account, order } => money(account, order),
            };
            assert_eq!(Request::parse(again.as_bytes()), Ok(request), "{again}");
            let object: Value = serde_json::from_slice(line).expect("a request is JSON");
            assert!(object.is_object(), "a request is an object");
        }
    }
}

/// An order as it may be written, amounts as strings.
fn money(account: &str, order: &Order) -> String {
    let hex = |key: &Key| key.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (command, mut more) = match order {
        Order::Credit { key, amount } => {
            ("credit", json!({ "key": hex(key), "amount": amount.to_string() }))
        }
        Order::Reverse { key, amount } => ("reverse", json!({ "key": hex(key), "amount": amount })),
        Order::Freeze { key, settle_to } => {
            ("freeze", json!({ "key": hex(key), "settle_to": settle_to.to_string() }))
        }
        Order::Settled { key } => ("settled", json!({ "key": hex(key) })),
        Order::Cancelled { key } => ("cancelled", json!({ "key": hex(key) })),
        Order::Limits { balance_max, payable_max } => (
            "limits",
            json!({ "balance_max": balance_max, "payable_max": payable_max.to_string() }),
        ),
    };
    more["cmd"] = json!(command);
    more["account"] = json!(account);
    more.to_string()
}

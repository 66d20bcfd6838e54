//! What the settlement process says: a line of the settlement socket, read. `docs/settlement-socket.md` is
//! its contract.
//!
//! Invariant: a line that is none is told so where its sender waits: at its id, if one can be read, and
//! else as the error of a line.

use m2_codec::btp::SETTLEMENT_LEN_MAX;
use serde_json::{Map, Value};

use super::super::request::{self, Order};

/// A line of the settlement process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// Something about an account's money, recorded before it is answered.
    Order {
        /// What the answer is to bear.
        id: u64,
        /// Its name.
        account: String,
        what: What,
    },
    /// A message to the settlement process of a peer. What becomes of it bears the token.
    Send { account: String, token: u64, bytes: Box<[u8]> },
    /// The answer to a message of a peer's.
    Reply { account: String, token: u64, bytes: Box<[u8]> },
}

/// What is to be done to an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    Order(Order),
    /// Freezes what is owed beyond `settle_to`, under a key that we make.
    PayNow {
        settle_to: u64,
    },
}

/// A line that is none: what its sender is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    Line(String),
    Order { id: u64, error: String },
    Send { account: String, token: u64, error: String },
}

/// Every command with the keys that it has beside `cmd`.
const COMMANDS: &request::Commands = &[
    ("credit", &["id", "account", "key", "amount"]),
    ("reverse", &["id", "account", "key", "amount"]),
    ("settled", &["id", "account", "key"]),
    ("cancelled", &["id", "account", "key"]),
    ("freeze", &["id", "account", "settle_to"]),
    ("limits", &["id", "account", "balance_max", "payable_max"]),
    ("send", &["account", "token", "bytes"]),
    ("reply", &["account", "token", "bytes"]),
];

impl Line {
    /// Reads a line, its end not included.
    ///
    /// # Errors
    ///
    /// What its sender is told.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Refused> {
        let request =
            request::object(line, r#"{"cmd":"settled","id":1}"#).map_err(Refused::Line)?;
        Self::read(&request).map_err(|error| refused(&request, error))
    }

    fn read(request: &Map<String, Value>) -> Result<Self, String> {
        let command = request::command(request, COMMANDS)?;
        let account = request::name(request)?;
        Ok(match command {
            "send" => {
                Self::Send { account, token: number(request, "token")?, bytes: bytes(request)? }
            }
            "reply" => {
                Self::Reply { account, token: number(request, "token")?, bytes: bytes(request)? }
            }
            "freeze" => Self::Order {
                id: number(request, "id")?,
                account,
                what: What::PayNow { settle_to: request::settle_to(request)? },
            },
            order => Self::Order {
                id: number(request, "id")?,
                account,
                what: What::Order(request::order(order, request)?),
            },
        })
    }
}

/// Where the sender of such a line waits.
fn refused(request: &Map<String, Value>, error: String) -> Refused {
    let account = request.get("account").and_then(Value::as_str);
    let number = |key| request.get(key).and_then(Value::as_u64);
    let is_send = request.get("cmd").is_some_and(|command| command == "send");
    match (number("id"), account, number("token")) {
        (_, Some(account), Some(token)) if is_send => {
            Refused::Send { account: account.into(), token, error }
        }
        (Some(id), ..) => Refused::Order { id, error },
        _ => Refused::Line(error),
    }
}

/// What a message says, two hexadecimal digits a byte.
fn bytes(request: &Map<String, Value>) -> Result<Box<[u8]>, String> {
    let digits = request.get("bytes").and_then(Value::as_str).unwrap_or_default().as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    let bytes: Option<Box<[u8]>> = pairs.iter().map(byte).collect();
    let is_right = rest.is_empty() && (1..=SETTLEMENT_LEN_MAX).contains(&pairs.len());
    bytes.filter(|_| is_right).ok_or_else(|| {
        format!("`bytes` must be 1 to {SETTLEMENT_LEN_MAX} bytes, two hexadecimal digits each")
    })
}

fn digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn number(request: &Map<String, Value>, key: &str) -> Result<u64, String> {
    let number = request.get(key).and_then(Value::as_u64);
    number.ok_or_else(|| format!("`{key}` must be a whole number from 0 to {}", u64::MAX))
}

#[cfg(test)]
mod tests {
    use m2_core::Key;

    use super::*;

    const KEY: &str = "0102030405060708090a0b0c0d0e0f10";

    #[test]
    fn each_order_is_read_with_its_id() {
        let read = |line: String| Line::parse(line.as_bytes());
        let order = |what| Ok(Line::Order { id: 5, account: "alice".into(), what });
        let key = Key([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        let line = |cmd: &str, rest: &str| {
            read(format!(r#"{{"cmd":"{cmd}","id":5,"account":"alice",{rest}}}"#))
        };
        let named = format!(r#""key":"{KEY}""#);
        let paid = format!(r#"{named},"amount":"7""#);
        assert_eq!(line("credit", &paid), order(What::Order(Order::Credit { key, amount: 7 })));
        assert_eq!(line("reverse", &paid), order(What::Order(Order::Reverse { key, amount: 7 })));
        assert_eq!(line("settled", &named), order(What::Order(Order::Settled { key })));
        assert_eq!(line("cancelled", &named), order(What::Order(Order::Cancelled { key })));
        let to = line("freeze", r#""settle_to":"3""#);
        assert_eq!(to, order(What::PayNow { settle_to: 3 }));
        let limits = Order::Limits { balance_max: 1, payable_max: 2 };
        let line = line("limits", r#""balance_max":"1","payable_max":"2""#);
        assert_eq!(line, order(What::Order(limits)));
    }

    #[test]
    fn each_message_is_read_to_its_last_byte() {
        let read = |cmd: &str, bytes: &str| {
            let line = format!(r#"{{"cmd":"{cmd}","account":"bob","token":9,"bytes":"{bytes}"}}"#);
            Line::parse(line.as_bytes())
        };
        let all: Vec<u8> = (0..=255).collect();
        let digits: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
        let bytes: Box<[u8]> = all.into();
        let (account, token) = ("bob".to_owned(), 9);
        let sent = Line::Send { account: account.clone(), token, bytes: bytes.clone() };
        assert_eq!(read("send", &digits), Ok(sent));
        assert_eq!(
            read("reply", &digits.to_uppercase()),
            Ok(Line::Reply { account, token, bytes })
        );
        assert!(read("send", &"00".repeat(SETTLEMENT_LEN_MAX)).is_ok());
        for bytes in ["", "0", "000", "0g", "é", "+1", &"00".repeat(SETTLEMENT_LEN_MAX + 1)] {
            let Err(Refused::Send { token: 9, error, .. }) = read("send", bytes) else {
                panic!("{bytes} is refused where its sender waits")
            };
            assert!(error.contains("1 to 1024 bytes"), "{error}");
            assert!(matches!(read("reply", bytes), Err(Refused::Line(_))));
        }
    }

    #[test]
    fn a_line_that_is_none_is_told_where_its_sender_waits() {
        let told = |line: &str, words: &str| match Line::parse(line.as_bytes()).unwrap_err() {
            Refused::Line(error) => assert!(error.contains(words), "{error}"),
            other => panic!("{other:?}"),
        };
        told("", "a line is one JSON object");
        told("[1]", "a line is one JSON object");
        told(r#"{"cmd":"settled","id":-1,"account":"a"}"#, "`id` must be a whole number");
        told(r#"{"cmd":"stop"}"#, "unknown command `stop`: known are credit, reverse");
        let told = |line: &str, words: &str| match Line::parse(line.as_bytes()).unwrap_err() {
            Refused::Order { id: 7, error } => assert!(error.contains(words), "{error}"),
            other => panic!("{other:?}"),
        };
        told(r#"{"id":7}"#, "`cmd` is missing");
        told(r#"{"cmd":"credit","id":7}"#, "`account` must be");
        told(r#"{"cmd":"credit","id":7,"account":"a","key":"1"}"#, "32 hexadecimal digits");
        told(r#"{"cmd":"freeze","id":7,"account":"a","key":"1"}"#, "has no `key`");
        let all = format!(r#"{{"cmd":"freeze","id":7,"account":"a","settle_to":{}}}"#, u64::MAX);
        told(&all, "leaves nothing to freeze");
    }
}

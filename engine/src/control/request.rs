//! What an operator may ask: a line of the control socket, read. `docs/control-socket.md` is its
//! contract.
//!
//! Invariant: whatever comes in whatever pieces, each line is one request or one sentence that says
//! what to write, and no more is kept of a line than it may have.

use m2_core::Key;
use serde_json::{Map, Value, json};

use crate::limits::{DRAIN_MS_DEFAULT, DRAIN_MS_MAX, LINE_LEN_MAX};

/// What an operator asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// What this switch is, and how it is.
    Status,
    /// Every word of every ledger.
    Accounts,
    /// What has happened since the start.
    Counters,
    /// Take no new PREPARE, and say when nothing is in flight.
    Drain {
        /// How long to wait for that.
        timeout_ms: u64,
    },
    /// Take new PREPAREs again.
    Resume,
    /// Read the route file, and route by it.
    ReloadRoutes,
    /// How the journal is.
    Journal,
    /// Something about an account's money, recorded before it is answered.
    Money {
        /// Its name.
        account: String,
        /// What.
        order: Order,
    },
}

/// What an operator may do to an account. Amounts are units of the account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    /// The peer paid us outside of the packets.
    Credit {
        /// Names the payment: said again, it changes nothing.
        key: Key,
        /// How much.
        amount: u64,
    },
    /// A payment of the peer proved void.
    Reverse {
        /// Names the reversal.
        key: Key,
        /// How much.
        amount: u64,
    },
    /// Sets aside what we owe beyond `settle_to`, to be paid.
    Freeze {
        /// Names the payment to come.
        key: Key,
        /// What we go on owing.
        settle_to: u64,
    },
    /// What was set aside has reached the peer.
    Settled {
        /// Of its freeze.
        key: Key,
    },
    /// What was set aside can provably not reach the peer.
    Cancelled {
        /// Of its freeze.
        key: Key,
    },
    /// Both limits, from the next hold on.
    Limits {
        /// The most the peer may come to owe us.
        balance_max: u64,
        /// The most we may come to owe the peer.
        payable_max: u64,
    },
}

impl Order {
    /// What names the payment, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Credit { key, .. }
            | Self::Reverse { key, .. }
            | Self::Freeze { key, .. }
            | Self::Settled { key }
            | Self::Cancelled { key } => Some(*key),
            Self::Limits { .. } => None,
        }
    }
}

/// Every command with the keys that it has beside `cmd`.
const COMMANDS: &Commands = &[
    ("status", &[]),
    ("accounts", &[]),
    ("counters", &[]),
    ("journal", &[]),
    ("drain", &["timeout_ms"]),
    ("resume", &[]),
    ("reload_routes", &[]),
    ("limits", &["account", "balance_max", "payable_max"]),
    ("credit", &["account", "key", "amount"]),
    ("reverse", &["account", "key", "amount"]),
    ("freeze", &["account", "key", "settle_to"]),
    ("settled", &["account", "key"]),
    ("cancelled", &["account", "key"]),
];

impl Request {
    /// Reads a line, its end not included.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let request = object(line, r#"{"cmd":"status"}"#)?;
        Ok(match command(&request, COMMANDS)? {
            "status" => Self::Status,
            "accounts" => Self::Accounts,
            "counters" => Self::Counters,
            "journal" => Self::Journal,
            "reload_routes" => Self::ReloadRoutes,
            "drain" => Self::Drain { timeout_ms: timeout_ms(request.get("timeout_ms"))? },
            "resume" => Self::Resume,
            order => Self::Money { account: name(&request)?, order: self::order(order, &request)? },
        })
    }
}

/// Commands with the keys that each has beside `cmd`.
pub(super) type Commands = [(&'static str, &'static [&'static str])];

/// The object that a line is.
pub(super) fn object(line: &[u8], example: &str) -> Result<Map<String, Value>, String> {
    let object = serde_json::from_slice(line);
    object.map_err(|error| format!("a line is one JSON object, as in {example}: {error}"))
}

/// Which of the commands an object asks for, with no key that it has not.
pub(super) fn command(
    request: &Map<String, Value>,
    known: &Commands,
) -> Result<&'static str, String> {
    let words = || known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let command = request
        .get("cmd")
        .and_then(Value::as_str)
        .ok_or_else(|| format!("`cmd` is missing or no string: write one of {}", words()))?;
    let Some((command, keys)) = known.iter().find(|(word, _)| *word == command) else {
        return Err(format!("unknown command `{command}`: known are {}", words()));
    };
    let is_known = |key: &str| key == "cmd" || keys.contains(&key);
    if let Some(key) = request.keys().find(|key| !is_known(key)) {
        let known = [&["cmd"], *keys].concat().join(", ");
        return Err(format!("`{command}` has no `{key}`: known are {known}"));
    }
    Ok(command)
}

pub(super) fn order(command: &str, request: &Map<String, Value>) -> Result<Order, String> {
    Ok(match command {
        "limits" => Order::Limits {
            balance_max: amount(request, "balance_max")?,
            payable_max: amount(request, "payable_max")?,
        },
        "credit" => Order::Credit { key: key(request)?, amount: amount(request, "amount")? },
        "reverse" => Order::Reverse { key: key(request)?, amount: amount(request, "amount")? },
        "freeze" => {
            let settle_to = settle_to(request)?;
            Order::Freeze { key: key(request)?, settle_to }
        }
        "settled" => Order::Settled { key: key(request)? },
        "cancelled" => Order::Cancelled { key: key(request)? },
        other => unreachable!("{other} stands in COMMANDS"),
    })
}

/// What we go on owing when the rest is frozen.
pub(super) fn settle_to(request: &Map<String, Value>) -> Result<u64, String> {
    let settle_to = amount(request, "settle_to")?;
    if settle_to == u64::MAX {
        return Err("`settle_to` leaves nothing to freeze: write less".into());
    }
    Ok(settle_to)
}

pub(super) fn name(request: &Map<String, Value>) -> Result<String, String> {
    let name = request.get("account").and_then(Value::as_str);
    name.map(str::to_owned).ok_or_else(|| "`account` must be an account's name".to_owned())
}

/// 16 bytes as hexadecimal digits.
fn key(request: &Map<String, Value>) -> Result<Key, String> {
    let digits = request.get("key").and_then(Value::as_str).unwrap_or_default();
    let is_right = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = is_right.then(|| u128::from_str_radix(digits, 16).ok()).flatten();
    number.map(|number| Key(number.to_be_bytes())).ok_or_else(|| {
        "`key` must be 32 hexadecimal digits that name this payment and no other".to_owned()
    })
}

/// Units as a string of digits, as we tell them, or as a number.
fn amount(request: &Map<String, Value>, key: &str) -> Result<u64, String> {
    let given = request.get(key);
    let text = given.and_then(Value::as_str);
    let is_digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    text.filter(is_digits)
        .and_then(|text| text.parse().ok())
        .or_else(|| given.and_then(Value::as_u64))
        .ok_or_else(|| {
            format!("`{key}` must be a whole number from 0 to {}, as a string", u64::MAX)
        })
}

fn timeout_ms(value: Option<&Value>) -> Result<u64, String> {
    let Some(value) = value else { return Ok(DRAIN_MS_DEFAULT) };
    value
        .as_u64()
        .filter(|value| *value <= DRAIN_MS_MAX)
        .ok_or_else(|| format!("`timeout_ms` must be a whole number from 0 to {DRAIN_MS_MAX}"))
}

/// The line that says no.
#[must_use]
pub fn refusal(text: &str) -> Value {
    json!({ "ok": false, "error": text })
}

/// The lines of one connection, as they come.
#[derive(Debug)]
pub struct Lines {
    /// What has come and was not taken: at most `len_max` bytes.
    bytes: Vec<u8>,
    len_max: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self::bounded(LINE_LEN_MAX)
    }
}

impl Lines {
    /// Lines of at most so many bytes each, their ends included.
    pub(super) fn bounded(len_max: usize) -> Self {
        Self { bytes: Vec::new(), len_max }
    }

    /// The next whole line, without its end.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        Some(line)
    }

    /// Where to put what comes, and how much of it, once every whole line was taken.
    ///
    /// # Errors
    ///
    /// A sentence for the operator, when the line at hand is too long to go on.
    pub fn room(&mut self) -> Result<(&mut Vec<u8>, usize), String> {
        match self.len_max - self.bytes.len() {
            0 => Err(format!("a line has at most {} bytes", self.len_max)),
            room => Ok((&mut self.bytes, room)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_read_and_others_are_told_what_there_is() {
        let drain = |timeout_ms| Ok(Request::Drain { timeout_ms });
        assert_eq!(Request::parse(br#"{"cmd":"status"}"#), Ok(Request::Status));
        assert_eq!(Request::parse(br#" {"cmd" : "resume"} "#), Ok(Request::Resume));
        assert_eq!(Request::parse(br#"{"cmd":"drain"}"#), drain(DRAIN_MS_DEFAULT));
        assert_eq!(Request::parse(br#"{"timeout_ms":0,"cmd":"drain"}"#), drain(0));
        let told = |line: &[u8], words: &str| {
            let error = Request::parse(line).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        told(b"", "a line is one JSON object");
        told(b"[]", "a line is one JSON object");
        told(b"{\"cmd\":1}", "`cmd` is missing");
        told(br#"{"cmd":"drain","timeout":1}"#, "has no `timeout`: known are cmd, timeout_ms");
        told(br#"{"cmd":"drain","timeout_ms":-1}"#, "whole number from 0 to 600000");
        told(br#"{"cmd":"stop"}"#, "unknown command `stop`");
        told(br#"{"cmd":"credit","key":"0"}"#, "`account` must be");
        told(br#"{"cmd":"credit","account":"a","key":"0"}"#, "32 hexadecimal digits");
        let key = "0102030405060708090a0b0c0d0e0f10";
        told(credit(key, "\"+1\"").as_bytes(), "`amount` must be");
        told(credit(key, "18446744073709551616").as_bytes(), "`amount` must be");
        told(credit(&format!("+{}", &key[1..]), "1").as_bytes(), "32 hexadecimal digits");
        let all =
            format!(r#"{{"cmd":"freeze","account":"a","key":"{key}","settle_to":"{}"}}"#, u64::MAX);
        told(all.as_bytes(), "leaves nothing to freeze");
        told(br#"{"cmd":"settled","account":"a","amount":1}"#, "has no `amount`: known are cmd");
    }

    fn credit(key: &str, amount: &str) -> String {
        format!(r#"{{"cmd":"credit","account":"alice","key":"{key}","amount":{amount}}}"#)
    }

    #[test]
    fn money_is_read_to_the_last_unit() {
        let key = "0102030405060708090a0b0c0d0e0f10";
        for amount in ["18446744073709551615", "\"18446744073709551615\""] {
            let order = Order::Credit {
                key: Key([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
                amount: u64::MAX,
            };
            let expected = Request::Money { account: "alice".into(), order };
            assert_eq!(Request::parse(credit(key, amount).as_bytes()), Ok(expected));
        }
        let line = br#"{"cmd":"limits","account":"bob","balance_max":"7","payable_max":0}"#;
        let order = Order::Limits { balance_max: 7, payable_max: 0 };
        let expected = Request::Money { account: "bob".into(), order };
        assert_eq!(Request::parse(line), Ok(expected));
    }

    #[test]
    fn a_line_of_the_longest_length_is_taken_and_a_longer_one_told() {
        let mut lines = Lines::default();
        let (buffer, room) = lines.room().unwrap();
        assert_eq!(room, LINE_LEN_MAX);
        buffer.extend(std::iter::repeat_n(b'x', LINE_LEN_MAX - 1));
        assert_eq!((lines.take(), lines.room().unwrap().1), (None, 1));
        lines.room().unwrap().0.push(b'\n');
        assert_eq!(lines.take().map(|line| line.len()), Some(LINE_LEN_MAX - 1));
        lines.room().unwrap().0.extend([b'x'; LINE_LEN_MAX]);
        assert!(lines.take().is_none() && lines.room().is_err());
    }
}

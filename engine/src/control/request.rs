//! What an operator may ask: a line of the control socket, read. `docs/control-socket.md` is its
//! contract.
//!
//! Invariant: whatever comes in whatever pieces, each line is one request or one sentence that says
//! what to write, and no more is kept of a line than it may have.

use serde_json::{Map, Value, json};

use crate::limits::{DRAIN_MS_DEFAULT, DRAIN_MS_MAX, LINE_LEN_MAX};

/// What an operator asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
}

impl Request {
    /// Reads a line, its end not included.
    ///
    /// # Errors
    ///
    /// A sentence for the operator.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let request: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
            let example = r#"as in {"cmd":"status"}"#;
            format!("a line is one JSON object, {example}: {error}")
        })?;
        let command = request.get("cmd").and_then(Value::as_str).ok_or(
            "`cmd` is missing or no string: write one of status, accounts, counters, drain, resume",
        )?;
        let known: &[&str] = if command == "drain" { &["cmd", "timeout_ms"] } else { &["cmd"] };
        if let Some(key) = request.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("`{command}` has no `{key}`: known are {}", known.join(", ")));
        }
        match command {
            "status" => Ok(Self::Status),
            "accounts" => Ok(Self::Accounts),
            "counters" => Ok(Self::Counters),
            "drain" => {
                timeout_ms(request.get("timeout_ms")).map(|ms| Self::Drain { timeout_ms: ms })
            }
            "resume" => Ok(Self::Resume),
            unknown => Err(format!(
                "unknown command `{unknown}`: known are status, accounts, counters, drain, resume"
            )),
        }
    }
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

/// The lines of one operator, as they come.
#[derive(Debug, Default)]
pub struct Lines {
    /// What has come and was not taken: at most `LINE_LEN_MAX` bytes.
    bytes: Vec<u8>,
}

impl Lines {
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
        match LINE_LEN_MAX - self.bytes.len() {
            0 => Err(format!("a line has at most {LINE_LEN_MAX} bytes")),
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

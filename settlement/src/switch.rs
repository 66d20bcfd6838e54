//! The link to the switch: its settlement socket, found again for ever. `docs/settlement-socket.md` is its
//! contract.
//!
//! Invariant: the loop hears `Up` before anything else of a connection and `Down` behind everything; what is said
//! without a connection is dropped, as whoever says it does so again once there is one.

use std::path::PathBuf;

use m2_settlement::chain::{Key, from_hex};
use m2_settlement::event::OrderError;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::limits::{LINE_TIME, SWITCH_LINE_LEN_MAX, SWITCH_REST_MAX, SWITCH_REST_MIN};
use crate::line::Lines;

/// What the loop hears of the switch.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It is there; what is to be said to it goes in here.
    Up(mpsc::UnboundedSender<String>),
    /// It says something.
    Said(Said),
    /// It is gone.
    Down,
}

/// A line of the switch.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(crate) enum Said {
    /// Comes first.
    Hello { version: u32, accounts: Vec<HelloAccount> },
    /// An amount is frozen, and everything that it rests on is durable.
    Frozen { account: String, key: Key, amount: Digits },
    /// An account has a link.
    Up { account: String },
    /// It has none any more.
    Down { account: String },
    /// A peer says something.
    Message { account: String, token: u64, bytes: Octets },
    /// A peer has answered, or why it has not.
    Reply { account: String, token: u64, bytes: Option<Octets>, error: Option<String> },
    /// An order is recorded, or why not.
    Answer {
        id: u64,
        ok: bool,
        error: Option<String>,
        #[serde(default)]
        again: bool,
        key: Option<Key>,
        amount: Option<Digits>,
    },
    /// Packets of an account are refused, as what it owes, with what they may add, is past its limit.
    Exhausted { account: String, balance: Units, held_in: Units, balance_max: Digits },
    /// A line of ours was none.
    Error { error: String },
    /// What a newer switch says, and this process need not know.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
pub(crate) struct HelloAccount {
    pub(crate) account: String,
    pub(crate) asset_scale: u8,
}

/// Units as a string of digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits(pub(crate) u128);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Self).ok_or_else(|| serde::de::Error::custom("an amount is a string of digits"))
    }
}

/// Units as a string of digits, which may stand below zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Units(pub(crate) i128);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let digits = text.strip_prefix('-').unwrap_or(&text);
        let digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        let wrong = || serde::de::Error::custom("an amount is a string of digits, `-` before them");
        number.map(Self).ok_or_else(wrong)
    }
}

/// Bytes as hexadecimal digits.
#[derive(Debug)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        let wrong = || serde::de::Error::custom("bytes are pairs of hexadecimal digits");
        from_hex(&text).map(Self).ok_or_else(wrong)
    }
}

/// What an order came to.
pub(crate) fn ordered(ok: bool, error: Option<String>, again: bool) -> Result<(), OrderError> {
    if ok {
        return Ok(());
    }
    Err(OrderError { text: error.unwrap_or_else(|| "no reason is told".into()), again })
}

/// Keeps a connection to the switch, until the loop is gone.
pub(crate) async fn run(path: PathBuf, scales: Vec<(String, u8)>, heard: mpsc::Sender<Heard>) {
    let mut rest = SWITCH_REST_MIN;
    let mut told = None;
    while !heard.is_closed() {
        let failed = match UnixStream::connect(&path).await {
            Ok(socket) => serve(socket, &scales, &heard).await,
            Err(error) => Ended { error: error.to_string(), was_up: false },
        };
        if failed.was_up {
            rest = SWITCH_REST_MIN;
            if heard.send(Heard::Down).await.is_err() {
                return;
            }
        }
        // Once for each reason: a switch that is away for an hour is one line.
        if failed.was_up || told.as_ref() != Some(&failed.error) {
            tracing::warn!(socket = %path.display(), error = failed.error, "no link to the switch");
            told = Some(failed.error);
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(SWITCH_REST_MAX);
    }
}

struct Ended {
    error: String,
    was_up: bool,
}

async fn serve(socket: UnixStream, scales: &[(String, u8)], heard: &mpsc::Sender<Heard>) -> Ended {
    let (from, mut to) = socket.into_split();
    let mut lines = Lines::new(from, SWITCH_LINE_LEN_MAX);
    let first = match next(&mut lines).await {
        Ok(said) => said,
        Err(error) => return Ended { error, was_up: false },
    };
    if let Err(error) = check_hello(&first, scales) {
        return Ended { error, was_up: false };
    }
    let (say, mut says) = mpsc::unbounded_channel::<String>();
    let gone = || Ended { error: "this process ends".into(), was_up: true };
    if heard.send(Heard::Up(say)).await.is_err() {
        return gone();
    }
    loop {
        tokio::select! {
            said = next(&mut lines) => match said {
                Ok(Said::Error { error }) => {
                    tracing::error!(error, "the switch does not understand what it is told");
                }
                Ok(said) => if heard.send(Heard::Said(said)).await.is_err() {
                    return gone();
                },
                Err(error) => return Ended { error, was_up: true },
            },
            Some(line) = says.recv() => {
                let write = to.write_all(line.as_bytes());
                let written = tokio::time::timeout(LINE_TIME, write).await;
                let error = match written {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "it does not read what it is told".into(),
                };
                return Ended { error, was_up: true };
            }
        }
    }
}

async fn next<R: tokio::io::AsyncRead + Unpin>(lines: &mut Lines<R>) -> Result<Said, String> {
    let line = lines.next().await.map_err(|error| error.to_string())?;
    let line = line.ok_or("the switch has closed the connection")?;
    serde_json::from_slice(&line)
        .map_err(|error| format!("the switch says what is no event: {error}"))
}

/// What both call by one name has one scale: at another, each amount would be another.
fn check_hello(said: &Said, scales: &[(String, u8)]) -> Result<(), String> {
    let Said::Hello { version, accounts } = said else {
        return Err("the switch does not begin with `hello`".into());
    };
    if *version != 1 {
        return Err(format!("the switch speaks version {version}, and this is version 1"));
    }
    for (name, scale) in scales {
        let Some(account) = accounts.iter().find(|it| it.account == *name) else {
            return Err(format!(
                "the switch has no account `{name}`: remove it here, or add it there"
            ));
        };
        if account.asset_scale != *scale {
            return Err(format!(
                "`{name}` has scale {} in the switch and {scale} here: write the switch's",
                account.asset_scale
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Result<Said, serde_json::Error> {
        serde_json::from_str(line)
    }

    #[test]
    fn lines_of_the_switch_are_read_to_the_last_unit() {
        let line = format!(
            r#"{{"event":"frozen","account":"a","key":"{}","amount":"{}"}}"#,
            "0a".repeat(16),
            u128::MAX
        );
        let Said::Frozen { amount, key, .. } = said(&line).unwrap() else { panic!() };
        assert_eq!((amount.0, key), (u128::MAX, Key([10; 16])));
        let line = r#"{"event":"answer","id":5,"ok":false,"error":"e","again":true}"#;
        let Said::Answer { id: 5, ok, error, again, .. } = said(line).unwrap() else { panic!() };
        let refused = ordered(ok, error, again).unwrap_err();
        assert_eq!((refused.text.as_str(), refused.again), ("e", true));
        for wrong in [
            r#"{"event":"frozen","account":"a","key":"00","amount":"1"}"#,
            r#"{"event":"up"}"#,
            r#"{"event":"exhausted","account":"a","balance":"+1","held_in":"0","balance_max":"1"}"#,
            r#"{"event":"exhausted","account":"a","balance":"1","held_in":"0","balance_max":"-1"}"#,
            r#"{"account":"a"}"#,
            "[]",
        ] {
            assert!(said(wrong).is_err(), "{wrong}");
        }
        let line = format!(
            r#"{{"event":"exhausted","account":"a","balance":"{}","held_in":"8","balance_max":"9"}}"#,
            i128::MIN
        );
        let Said::Exhausted { account, balance, held_in, balance_max } = said(&line).unwrap()
        else {
            panic!()
        };
        assert_eq!((&*account, balance.0, held_in.0, balance_max.0), ("a", i128::MIN, 8, 9));
    }

    #[test]
    fn what_a_newer_switch_says_is_no_error() {
        for line in [r#"{"event":"else"}"#, r#"{"event":"else","account":7,"more":{"a":[]}}"#] {
            assert!(matches!(said(line), Ok(Said::Unknown)), "{line}");
        }
    }

    #[test]
    fn a_switch_that_means_other_units_is_refused() {
        let hello = |accounts: &str| {
            said(&format!(
                r#"{{"event":"hello","version":1,"address":"test.a","accounts":[{accounts}]}}"#
            ))
            .unwrap()
        };
        let scales = [("bob".to_owned(), 9)];
        let right = r#"{"account":"bob","asset_code":"USD","asset_scale":9}"#;
        assert_eq!(check_hello(&hello(right), &scales), Ok(()));
        let other = check_hello(&hello(&right.replace('9', "6")), &scales).unwrap_err();
        assert!(other.contains("scale 6 in the switch and 9 here"), "{other}");
        assert!(check_hello(&hello(""), &scales).unwrap_err().contains("no account `bob`"));
        let up = said(r#"{"event":"up","account":"bob"}"#).unwrap();
        assert!(check_hello(&up, &scales).unwrap_err().contains("begin with `hello`"));
        let two = said(r#"{"event":"hello","version":2,"accounts":[]}"#).unwrap();
        assert!(check_hello(&two, &scales).unwrap_err().contains("version 2"));
    }
}

//! The switch's control socket, asked: one JSON object a line, one line of answer.
//!
//! Only what a report needs is read; keys that are new to us are passed over, so that a newer
//! switch can be measured by an older generator.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::books::{Account, Words};
use crate::limits;

/// A connection to the control socket.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// What `status` says of the process, as far as a report needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The switch's version.
    #[serde(default)]
    pub version: String,
    /// CPU time in its own code since it started, in microseconds.
    pub cpu_user_us: u64,
    /// CPU time in the kernel since it started, in microseconds.
    pub cpu_system_us: u64,
}

/// Why the control socket gave no answer, as a sentence with what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ControlError(String);

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize)]
struct Verdict {
    ok: bool,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<AccountReply>,
}

#[derive(Deserialize)]
struct AccountReply {
    name: String,
    balance: Units,
    held_in: Units,
    held_out: Units,
    frozen: Units,
    prepaid: Units,
    connected: bool,
}

/// An amount as a decimal string: JSON numbers lose digits above 2^53.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Units(i128);

impl TryFrom<String> for Units {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        digits.parse().map(Self).map_err(|_| format!("'{digits}' is not a whole number"))
    }
}

impl From<AccountReply> for Account {
    fn from(reply: AccountReply) -> Self {
        let words = Words {
            balance: reply.balance.0,
            held_in: reply.held_in.0,
            held_out: reply.held_out.0,
            frozen: reply.frozen.0,
            prepaid: reply.prepaid.0,
        };
        Self { name: reply.name, connected: reply.connected, words }
    }
}

impl Control {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// Says which socket, what went wrong, and what to do.
    pub fn connect(path: &Path) -> Result<Self, ControlError> {
        let connect = || {
            let stream = UnixStream::connect(path)?;
            let limit = Some(Duration::from_millis(limits::CONTROL_MS));
            stream.set_read_timeout(limit)?;
            stream.set_write_timeout(limit)?;
            Ok(stream)
        };
        let stream = connect().map_err(|error: std::io::Error| {
            ControlError(format!(
                "control socket {}: {error}; give --control-socket the path that the switch's \
                 configuration names, or leave it out to run without comparing books",
                path.display()
            ))
        })?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// The switch's version and CPU time.
    ///
    /// # Errors
    ///
    /// When the answer does not come, is a refusal, or is not what was asked for.
    pub fn status(&mut self) -> Result<Status, ControlError> {
        self.ask("status")
    }

    /// Every account with the words of its ledger.
    ///
    /// # Errors
    ///
    /// When the answer does not come, is a refusal, or is not what was asked for.
    pub fn accounts(&mut self) -> Result<Vec<Account>, ControlError> {
        let reply: Accounts = self.ask("accounts")?;
        Ok(reply.accounts.into_iter().map(Account::from).collect())
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &str) -> Result<T, ControlError> {
        let line = self.exchange(command).map_err(|error| self.fault(command, &error))?;
        let verdict: Verdict =
            serde_json::from_str(&line).map_err(|error| self.fault(command, &error))?;
        if !verdict.ok {
            let reason = verdict.error.unwrap_or_else(|| "no reason given".to_owned());
            return Err(self.fault(command, &reason));
        }
        serde_json::from_str(&line).map_err(|error| self.fault(command, &error))
    }

    fn exchange(&mut self, command: &str) -> std::io::Result<String> {
        self.stream.get_mut().write_all(format!("{{\"cmd\":\"{command}\"}}\n").as_bytes())?;
        let mut line = String::new();
        (&mut self.stream).take(limits::CONTROL_LINE_LEN_MAX).read_line(&mut line)?;
        if line.ends_with('\n') {
            return Ok(line);
        }
        Err(std::io::Error::other("the answer ended before its line did"))
    }

    fn fault(&self, command: &str, error: &dyn fmt::Display) -> ControlError {
        ControlError(format!(
            "control socket {}: no usable answer to \"{command}\": {error}; is it the control \
             socket of m2-switch, and is the switch still running?",
            self.path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(json: &str) -> Result<Vec<Account>, serde_json::Error> {
        let reply: Accounts = serde_json::from_str(json)?;
        Ok(reply.accounts.into_iter().map(Account::from).collect())
    }

    #[test]
    fn every_word_is_read_into_its_own_place() {
        let read = accounts(
            r#"{"ok":true,"accounts":[{"name":"alice","asset_code":"USD","connected":true,
               "balance":"-170141183460469231731687303715884105728","held_in":"2","held_out":"3",
               "frozen":"4","prepaid":"5"}]}"#,
        );
        let words = Words { balance: i128::MIN, held_in: 2, held_out: 3, frozen: 4, prepaid: 5 };
        assert_eq!(read.unwrap(), [Account { name: "alice".to_owned(), connected: true, words }]);
    }

    #[test]
    fn an_account_without_one_of_its_words_is_refused() {
        let whole = r#"{"accounts":[{"name":"a","connected":true,"balance":"1","held_in":"2","held_out":"3","frozen":"4","prepaid":"5"}]}"#;
        assert!(accounts(whole).is_ok());
        for word in ["balance", "held_in", "held_out", "frozen", "prepaid"] {
            let error = accounts(&whole.replace(word, "other")).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let error = accounts(&whole.replace("\"3\"", "\"3.5\"")).unwrap_err().to_string();
        assert!(error.contains("'3.5' is not a whole number"), "{error}");
    }
}

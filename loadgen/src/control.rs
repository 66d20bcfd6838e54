//! The switch's control socket, asked: one JSON object a line, one line of answer.
//!
//! Only what a report needs is read; keys that are new to us are passed over, so that a newer
//! switch can be measured by an older generator.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileTypeExt;
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
    prepaid: PaidAhead,
    connected: bool,
}

/// An amount as a decimal string: JSON numbers lose digits above 2^53. It lies within
/// [`limits::UNITS_MAX`] of 0, so that sums with what a run moves cannot overflow.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Units(i128);

impl TryFrom<String> for Units {
    type Error = String;

    fn try_from(digits: String) -> Result<Self, String> {
        let shown = || digits.chars().take(limits::UNITS_SHOWN_LEN_MAX).collect::<String>();
        let is_number = digits.strip_prefix(['-', '+']).unwrap_or(&digits);
        if is_number.is_empty() || !is_number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("'{}' is not a whole number", shown().escape_debug()));
        }
        let units = digits.parse().ok();
        units
            .filter(|units: &i128| units.unsigned_abs() <= limits::UNITS_MAX)
            .map(Self)
            .ok_or_else(|| format!("'{}' is more than 2^120 units, which no ledger holds", shown()))
    }
}

/// What was paid ahead: [`Units`] that are not negative.
#[derive(Deserialize)]
#[serde(try_from = "Units")]
struct PaidAhead(i128);

impl TryFrom<Units> for PaidAhead {
    type Error = String;

    fn try_from(Units(units): Units) -> Result<Self, String> {
        match units {
            0.. => Ok(Self(units)),
            _ => Err(format!("prepaid is '{units}', and nobody pays less than nothing ahead")),
        }
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
        let stream = connect().map_err(|error: io::Error| {
            let is_other = path.metadata().is_ok_and(|meta| !meta.file_type().is_socket());
            let cause = if is_other { "it is no socket".to_owned() } else { error.to_string() };
            ControlError(format!(
                "control socket {}: {cause}; give --control-socket the path that the switch's \
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
        let line = self.exchange(command).map_err(|error| self.unanswered(command, &error))?;
        let object: serde_json::Value =
            serde_json::from_str(&line).map_err(|_| self.stranger(command))?;
        match object["ok"].as_bool() {
            None => Err(self.stranger(command)),
            Some(false) => Err(self.refused(command, object["error"].as_str())),
            Some(true) => {
                serde_json::from_value(object).map_err(|error| self.newer(command, &error))
            }
        }
    }

    fn exchange(&mut self, command: &str) -> io::Result<String> {
        self.stream.get_mut().write_all(format!("{{\"cmd\":\"{command}\"}}\n").as_bytes())?;
        let mut line = String::new();
        (&mut self.stream).take(limits::CONTROL_LINE_LEN_MAX).read_line(&mut line)?;
        if line.ends_with('\n') {
            return Ok(line);
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn error(&self, command: &str, what: fmt::Arguments<'_>) -> ControlError {
        ControlError(format!("control socket {}, asked for {command}: {what}", self.path.display()))
    }

    fn unanswered(&self, command: &str, error: &io::Error) -> ControlError {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        let cause = match error.kind() {
            WouldBlock | TimedOut => {
                let waited_s = limits::CONTROL_MS / 1_000;
                return self.error(
                    command,
                    format_args!(
                        "no answer within {waited_s} s; is it the control socket of m2-switch (not \
                         a listener for BTP), and is the switch still alive?"
                    ),
                );
            }
            UnexpectedEof | BrokenPipe | ConnectionReset => "the connection was closed",
            // Bytes that are no text.
            io::ErrorKind::InvalidData => return self.stranger(command),
            _ => &error.to_string(),
        };
        self.error(
            command,
            format_args!(
                "{cause} before a whole answer came; is it the control socket of m2-switch (not a \
                 listener for BTP), and is the switch still running?"
            ),
        )
    }

    fn stranger(&self, command: &str) -> ControlError {
        self.error(
            command,
            format_args!(
                "what answers there is no control socket of m2-switch; give --control-socket the \
                 path that the switch's configuration names"
            ),
        )
    }

    fn refused(&self, command: &str, reason: Option<&str>) -> ControlError {
        let reason = reason.unwrap_or("no reason given");
        self.error(command, format_args!("the switch refuses: {reason}"))
    }

    fn newer(&self, command: &str, error: &serde_json::Error) -> ControlError {
        self.error(
            command,
            format_args!(
                "the answer is not the documented one ({error}); do m2-switch and m2-load stem \
                 from the same version?"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn accounts(json: &str) -> Result<Vec<Account>, serde_json::Error> {
        let reply: Accounts = serde_json::from_str(json)?;
        Ok(reply.accounts.into_iter().map(Account::from).collect())
    }

    #[test]
    fn every_word_is_read_into_its_own_place() {
        let read = accounts(
            r#"{"ok":true,"accounts":[{"name":"alice","asset_code":"USD","connected":true,
               "balance":"-1329227995784915872903807060280344576","held_in":"2","held_out":"3",
               "frozen":"4","prepaid":"5"}]}"#,
        );
        let words = Words { balance: -(1 << 120), held_in: 2, held_out: 3, frozen: 4, prepaid: 5 };
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

    #[test]
    fn an_amount_that_no_ledger_holds_is_refused() {
        let with = |word: &str, digits: &str| {
            let words = ["balance", "held_in", "held_out", "frozen", "prepaid"];
            let words =
                words.map(|it| format!("\"{it}\":\"{}\"", if it == word { digits } else { "1" }));
            accounts(&format!(
                "{{\"accounts\":[{{\"name\":\"a\",\"connected\":true,{}}}]}}",
                words.join(",")
            ))
        };
        let most = (1_i128 << 120).to_string();
        let many = "9".repeat(1_000_000);
        for word in ["balance", "held_in", "held_out", "frozen", "prepaid"] {
            assert!(with(word, &most).is_ok(), "{word}");
            for digits in [((1_i128 << 120) + 1).to_string(), i128::MIN.to_string(), many.clone()] {
                let error = with(word, &digits).unwrap_err().to_string();
                assert!(error.contains("is more than 2^120 units"), "{error}");
                assert!(error.len() < 200, "{error}");
            }
            for digits in ["", "-", "+-1", "\\u001b[2J", "one"] {
                let error = with(word, digits).unwrap_err().to_string();
                assert!(error.contains("is not a whole number"), "{error}");
                assert!(!error.contains('\x1b'), "{error}");
            }
        }
        assert!(with("balance", &format!("-{most}")).is_ok());
        let error = with("prepaid", "-1").unwrap_err().to_string();
        assert!(error.contains("prepaid is '-1', and nobody pays less than nothing"), "{error}");
    }

    /// What is said of a socket where `answer` comes to a question.
    fn told(name: &str, answer: &'static [u8]) -> String {
        let path = std::env::temp_dir().join(format!("m2-load-{name}-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
            stream.write_all(answer).unwrap();
        });
        let error = Control::connect(&path).unwrap().status().unwrap_err().to_string();
        server.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        error
    }

    #[test]
    fn what_is_no_control_socket_is_told_in_a_sentence() {
        for (name, answer, words) in [
            ("closes", &b""[..], "the connection was closed before a whole answer came"),
            ("half", b"{\"ok\":true", "the connection was closed before a whole answer came"),
            ("bytes", b"\xff\xfe\n", "is no control socket of m2-switch"),
            ("http", b"HTTP/1.1 400 Bad Request\r\n", "is no control socket of m2-switch"),
            ("json", b"[1]\n", "is no control socket of m2-switch"),
            ("no", b"{\"ok\":false,\"error\":\"too busy\"}\n", "the switch refuses: too busy"),
            ("new", b"{\"ok\":true}\n", "stem from the same version?"),
        ] {
            let error = told(name, answer);
            assert!(error.contains(words) && error.contains("asked for status"), "{error}");
        }
        let error = Control::connect(Path::new("/proc/self/exe")).unwrap_err().to_string();
        assert!(error.contains("it is no socket; give --control-socket"), "{error}");
    }
}

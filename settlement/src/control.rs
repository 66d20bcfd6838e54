//! The control socket: one JSON object a line, one line back. `docs/settlement.md` is its contract.

use std::path::Path;

use m2_settlement::chain::Key;
use m2_settlement::rows::Ending;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::limits::{CONTROL_LINE_LEN_MAX, LINE_TIME, OPERATORS_MAX};
use crate::line::Lines;

/// What an operator asks for, and where the answer goes.
pub(crate) type Asked = (Request, oneshot::Sender<Value>);

/// A line of an operator.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(tag = "cmd", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Request {
    /// Everything.
    Status {},
    /// Have the switch freeze what it owes, whatever its threshold.
    Pay { account: String },
    /// Redeem what is held, worth the fee or not.
    Redeem { account: String },
    /// End the account's channels.
    Close { account: String, how: How },
    /// Take a frozen amount back that no claim pays.
    Cancel { key: Key },
    /// The account is no longer paused.
    Resume { account: String },
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    Together,
    Alone,
}

impl From<How> for Ending {
    fn from(how: How) -> Self {
        match how {
            How::Together => Self::Together,
            How::Alone => Self::Alone,
        }
    }
}

pub(crate) fn refusal(text: impl Into<String>) -> Value {
    json!({ "ok": false, "error": text.into() })
}

/// Binds the socket, for its owner alone. A file that nobody listens at is replaced.
///
/// # Errors
///
/// When somebody listens there, or the file cannot be had.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, String> {
    let told = |error: std::io::Error| format!("control_socket {}: {error}", path.display());
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(format!("control_socket {}: another process listens there", path.display()));
    }
    if let Ok(about) = std::fs::symlink_metadata(path) {
        use std::os::unix::fs::FileTypeExt as _;
        if !about.file_type().is_socket() {
            return Err(format!(
                "control_socket {}: a file that is no socket is there",
                path.display()
            ));
        }
        std::fs::remove_file(path).map_err(told)?;
    }
    // Between its making and its mode anybody could connect: so it is made where only we can.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener.map_err(told)
}

/// Serves operators, until the loop is gone.
pub(crate) async fn run(listener: UnixListener, asks: mpsc::Sender<Asked>) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(OPERATORS_MAX));
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = std::sync::Arc::clone(&places).try_acquire_owned() else { continue };
        let asks = asks.clone();
        tokio::spawn(async move {
            let _ = serve(socket, asks).await;
            drop(place);
        });
    }
}

async fn serve(socket: UnixStream, asks: mpsc::Sender<Asked>) -> std::io::Result<()> {
    let (from, mut to) = socket.into_split();
    let mut lines = Lines::new(from, CONTROL_LINE_LEN_MAX);
    loop {
        let answer = match lines.next().await {
            Ok(None) => return Ok(()),
            Ok(Some(line)) => answer(&line, &asks).await,
            Err(error) => {
                let line = format!("{}\n", refusal(error.to_string()));
                return to.write_all(line.as_bytes()).await;
            }
        };
        let line = format!("{answer}\n");
        tokio::time::timeout(LINE_TIME, to.write_all(line.as_bytes()))
            .await
            .map_err(|_| std::io::ErrorKind::TimedOut)??;
    }
}

async fn answer(line: &[u8], asks: &mpsc::Sender<Asked>) -> Value {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(error) => {
            let example = r#"{"cmd":"status"}"#;
            return refusal(format!("a line is one JSON object, as in {example}: {error}"));
        }
    };
    let (to, from) = oneshot::channel();
    if asks.send((request, to)).await.is_err() {
        return refusal("the process ends");
    }
    from.await.unwrap_or_else(|_| refusal("the process ends"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_read_and_others_are_told_what_there_is() {
        let read = |line: &str| serde_json::from_str::<Request>(line).map_err(|it| it.to_string());
        assert_eq!(read(r#"{"cmd":"status"}"#), Ok(Request::Status {}));
        let close = Request::Close { account: "a".into(), how: How::Alone };
        assert_eq!(read(r#"{"cmd":"close","account":"a","how":"alone"}"#), Ok(close));
        assert!(
            read(r#"{"cmd":"close","account":"a","how":"now"}"#).unwrap_err().contains("together")
        );
        assert!(read(r#"{"cmd":"stop"}"#).unwrap_err().contains("`status`, `pay`"));
        assert!(read(r#"{"cmd":"pay","account":"a","amount":1}"#).unwrap_err().contains("amount"));
        assert!(read(r#"{"cmd":"cancel","key":"00"}"#).unwrap_err().contains("16 bytes"));
    }
}

//! One question to a control socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::output::Failure;

/// Longest answer that is read: a status of a hundred thousand channels.
const ANSWER_LEN_MAX: u64 = 128 << 20;

/// Longer than the process itself waits for the switch.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks, and gives the answer that says yes.
///
/// # Errors
///
/// When nobody listens, nothing comes that can be read, or the answer is no: its sentence.
pub(super) fn ask(socket: &Path, request: &Value) -> Result<Value, Failure> {
    let told = |error: std::io::Error| {
        let path = socket.display();
        Failure::Unusable(format!(
            "{path}: {error}: is m2-settle running, and is this its control_socket?"
        ))
    };
    let mut stream = UnixStream::connect(socket).map_err(told)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(told)?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(told)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(ANSWER_LEN_MAX)).read_until(b'\n', &mut line).map_err(told)?;
    let answer: Value = serde_json::from_slice(&line).map_err(|error| {
        Failure::Unusable(format!("{}: no answer that can be read: {error}", socket.display()))
    })?;
    if answer["ok"] == true {
        return Ok(answer);
    }
    let why = answer["error"].as_str().unwrap_or("it does not say why");
    Err(Failure::Unusable(format!("m2-settle says no: {why}")))
}

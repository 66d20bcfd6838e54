//! The generator as a child of a test: a workload for the peer, a start, and what came of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::Peer;

pub(crate) const MIXED: &str = "[mix]\nfulfilled = 900\nrejected = 40\nexpired = 10\nwrong_fulfillment = 20\n\
                     unroutable = 30\n";

/// All packets are left to expire, and none does within a test.
pub(crate) const SILENT: &str = "[mix]\nexpired = 1000\n";

pub(crate) fn workload(peer: &Peer, mix: &str) -> String {
    let silent_expiry_ms = if mix == SILENT { "[60000, 60000]" } else { "[1200, 1500]" };
    let (alice, bob) = (peer.url("alice"), peer.url("bob"));
    format!(
        r#"
seed = 7
seconds = 1
rate_per_s = 2000
[traffic]
amount = [2, 1000]
expiry_ms = [5000, 9000]
silent_expiry_ms = {silent_expiry_ms}
{mix}
[[ends]]
name = "alice"
url = "{alice}"
token = "token-of-alice"
role = "send"
asset = "USD/9"
[[ends]]
name = "bob"
url = "{bob}"
token = "token-of-bob"
role = "receive"
asset = "XRP/6"
address = "test.peer.bob"
[[flows]]
from = "alice"
to = "bob"
num = 5
den = 2
"#
    )
}

pub(crate) fn load() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_m2-load"));
    command.arg("run").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn write_workload(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("workload.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts the generator against a peer, for a report in JSON.
pub(crate) fn start(peer: &Peer, mix: &str, arguments: &[&str]) -> Child {
    let path = write_workload(&peer.folder, &workload(peer, mix));
    let mut command = load();
    command.args(["--json", "--quiet", "--workload"]).arg(path).args(arguments);
    command.arg("--control-socket").arg(peer.control_socket());
    command.spawn().unwrap()
}

pub(crate) fn finish(child: Child) -> (i32, Value) {
    let output = child.wait_with_output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), report)
}

/// The sentence and exit status of a run that gives no report.
pub(crate) fn complaint(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[track_caller]
pub(crate) fn assert_complains(
    peer: &Peer,
    text: &str,
    arguments: &[&str],
    status: i32,
    words: &[&str],
) {
    let path = write_workload(&peer.folder, text);
    let (actual, sentence) = complaint(load().arg("--workload").arg(path).args(arguments));
    assert_eq!(actual, status, "{sentence}");
    assert!(sentence.starts_with("m2-load: ") && sentence.lines().count() == 1, "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "{word} is not in {sentence}");
    }
}

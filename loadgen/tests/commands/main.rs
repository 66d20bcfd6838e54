//! The commands beside `run`, against a small connector: what they say, and their exit status.

#![allow(clippy::unwrap_used)] // every function here is a test's

mod apart;
mod compare;
#[path = "../peer/mod.rs"]
mod peer;
mod search;

use std::process::{Command, Stdio};

use peer::Peer;
use serde_json::Value;

/// One end that sends and one that receives, as the peer knows them.
fn workload(peer: &Peer) -> String {
    let (alice, bob) = (peer.url("alice"), peer.url("bob"));
    format!(
        r#"
seed = 7
seconds = 1
rate_per_s = 500
[traffic]
amount = [2, 1000]
expiry_ms = [5000, 9000]
[[ends]]
name = "alice"
url = "{alice}"
token = "token-of-alice"
role = "send"
[[ends]]
name = "bob"
url = "{bob}"
token = "token-of-bob"
role = "receive"
address = "test.peer.bob"
[[flows]]
from = "alice"
to = "bob"
num = 5
den = 2
"#
    )
}

/// A command of the generator with a workload for this peer.
fn load(peer: &Peer, command: &str) -> Command {
    load_with(peer, command, &workload(peer))
}

/// The same with this workload, in a file of the command's own.
fn load_with(peer: &Peer, command: &str, text: &str) -> Command {
    let path = peer.folder.join(format!("{command}.toml"));
    std::fs::write(&path, text).unwrap();
    let mut load = Command::new(env!("CARGO_BIN_EXE_m2-load"));
    load.arg(command).arg("--workload").arg(path);
    load.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    load
}

/// Exit status, standard output and standard error.
fn ended(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(stdout: &str, stderr: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|_| panic!("no report: {stderr}"))
}

/// The command gives one sentence with these words, and nothing else.
#[track_caller]
fn assert_complains(command: Command, status: i32, words: &[&str]) {
    let (actual, stdout, stderr) = ended(command);
    assert_eq!((actual, stdout.as_str()), (status, ""), "{stderr}");
    assert!(stderr.starts_with("m2-load: ") && stderr.lines().count() == 1, "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word} is not in {stderr}");
    }
}

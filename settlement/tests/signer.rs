//! The signer process from outside: killed, silent, lying, and restarted.

#![allow(clippy::unwrap_used)] // helpers of tests, though not inside of one

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::Address;
use m2_settle::evm::eip712::{self, Domain};
use m2_settle::signer::{Key, Matter, Process, Signer};
use m2_settlement::chain::{ChannelId, Claim};

const SIGNER: &str = env!("CARGO_BIN_EXE_m2-signer");
const LONG: Duration = Duration::from_secs(60);
const DIGITS: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const OTHER_DIGITS: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// A folder with a key file, that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("m2-signer-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.write("key", DIGITS, 0o600);
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A shell script that stands in for a signer that does wrong, or that starts the real one.
    fn script(&self, text: &str) -> Vec<String> {
        let name = format!("script-{}", text.len());
        self.write(&name, text, 0o700);
        vec!["/bin/sh".into(), self.path(&name)]
    }

    fn real(&self, more: &[&str]) -> Vec<String> {
        let mut command = vec![SIGNER.to_owned(), "--key-file".into(), self.path("key")];
        command.extend(more.iter().map(|argument| (*argument).to_owned()));
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn domain() -> Domain {
    Domain::new(31337, Address::repeat_byte(3))
}

fn claim(total: u128) -> Matter {
    Matter::of_claim(&domain(), &Claim { channel: ChannelId([7; 32]), total })
}

async fn start(command: Vec<String>, time: Duration) -> Result<Signer, String> {
    Process::start(command, time).await.map(Signer::Process)
}

fn assert_signed(signer: &Signer, matter: &Matter, signature: &[u8]) {
    assert_eq!(eip712::signer(&matter.digest(), signature), Some(signer.address()));
}

#[tokio::test]
async fn a_process_signs_as_the_key_that_it_keeps() {
    let folder = Folder::new("signs");
    let signer = start(folder.real(&[]), LONG).await.unwrap();
    let key = Signer::Key(Key::parse(DIGITS).unwrap());
    assert_eq!(signer.address(), key.address());
    for total in [0, 1, u128::MAX] {
        let matter = claim(total);
        let signature = signer.sign(&matter).await.unwrap();
        assert_eq!(signature, key.sign(&matter).await.unwrap());
        assert_signed(&signer, &matter, &signature);
    }
}

#[tokio::test]
async fn a_process_that_was_killed_is_started_again_by_the_next_question() {
    let folder = Folder::new("killed");
    let id = folder.path("id");
    let script = format!("echo $$ >> {id}\nexec \"{SIGNER}\" --key-file {}\n", folder.path("key"));
    let signer = start(folder.script(&script), LONG).await.unwrap();
    for total in 1..4 {
        let ids = fs::read_to_string(&id).unwrap();
        let last = ids.lines().last().unwrap().parse().unwrap();
        let last = rustix::process::Pid::from_raw(last).unwrap();
        rustix::process::kill_process(last, rustix::process::Signal::KILL).unwrap();
        let matter = claim(total);
        assert_signed(&signer, &matter, &signer.sign(&matter).await.unwrap());
    }
    assert_eq!(fs::read_to_string(&id).unwrap().lines().count(), 4);
}

#[tokio::test]
async fn a_key_that_was_changed_meanwhile_signs_nothing_of_ours() {
    let folder = Folder::new("changed");
    // It ends after each answer, so that each question starts it anew.
    let script = format!("head -n 1 | \"{SIGNER}\" --key-file {}\n", folder.path("key"));
    let signer = start(folder.script(&script), LONG).await.unwrap();
    assert!(signer.sign(&claim(1)).await.is_ok());
    folder.write("key", OTHER_DIGITS, 0o600);
    let error = signer.sign(&claim(2)).await.unwrap_err();
    let us = signer.address();
    assert!(error.starts_with(&format!("the signer has not signed this as {us}")), "{error}");
}

#[tokio::test]
async fn what_the_signer_refuses_is_told_with_its_reason() {
    let folder = Folder::new("refuses");
    let ours = start(folder.real(&["--chain-id", "31337"]), LONG).await.unwrap();
    assert!(ours.sign(&claim(1)).await.is_ok());
    let other = start(folder.real(&["--chain-id", "1"]), LONG).await.unwrap();
    let error = other.sign(&claim(1)).await.unwrap_err();
    let text = "the signer refuses: only what is for chain 1 is signed, not for 31337";
    assert_eq!(error, text);
    // It is still there.
    assert_eq!(other.sign(&claim(1)).await.unwrap_err(), text);
}

#[tokio::test]
async fn a_process_that_does_not_start_or_keeps_no_key_is_refused() {
    let folder = Folder::new("none");
    for (command, what) in [
        (vec![], "command line is empty"),
        (vec![folder.path("no-such-program")], "does not start"),
        (folder.real(&["--no-such-option"]), "has ended (exit status: 2)"),
        (folder.script("read line; echo '{}'"), "did not say whose key"),
        (folder.script("read line; echo nonsense"), "makes no sense"),
        (folder.script("read line; printf half"), "has ended (exit status: 0)"),
        (folder.script("read line; head -c 100000 /dev/zero"), "longer than"),
    ] {
        let error = start(command, LONG).await.err().unwrap();
        assert!(error.contains(what), "{error}");
    }
    folder.write("key", DIGITS, 0o644);
    let error = start(folder.real(&[]), LONG).await.err().unwrap();
    assert!(error.contains("has ended (exit status: 1)"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_late_is_heard_by_nobody() {
    let folder = Folder::new("late");
    // The first one says whose key it keeps and then nothing; the second one is the real one.
    let script = format!(
        "if mkdir {first}; then\n  read line; echo '{{\"party\":\"{us}\"}}'; exec cat > /dev/null\n\
         else\n  exec \"{SIGNER}\" --key-file {key}\nfi\n",
        first = folder.path("first"),
        us = Key::parse(DIGITS).unwrap().address(),
        key = folder.path("key"),
    );
    let signer = start(folder.script(&script), Duration::from_secs(4)).await.unwrap();
    let error = signer.sign(&claim(1)).await.unwrap_err();
    assert_eq!(error, "the signer did not answer within 4s");
    let matter = claim(2);
    assert_signed(&signer, &matter, &signer.sign(&matter).await.unwrap());
}

#[tokio::test]
async fn who_goes_away_while_asking_leaves_no_answer_to_the_next() {
    let folder = Folder::new("away");
    let signer = start(folder.real(&[]), LONG).await.unwrap();
    for total in 0..50 {
        let matter = claim(total);
        poll_once(Box::pin(signer.sign(&matter))).await;
        let next = claim(total + 1000);
        assert_signed(&signer, &next, &signer.sign(&next).await.unwrap());
    }
}

/// Asks, and goes away.
async fn poll_once<T>(mut asked: std::pin::Pin<Box<impl Future<Output = T>>>) {
    std::future::poll_fn(|context| {
        drop(asked.as_mut().poll(context));
        std::task::Poll::Ready(())
    })
    .await;
}

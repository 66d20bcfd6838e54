//! The settlement process's side of a signer process.
//!
//! Invariant: an answer is that to the last question. A process that was asked and did not answer whole and in
//! time is ended, so that what it says late is heard by nobody; the next question starts another one.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use alloy::primitives::{Address, Bytes};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use super::Matter;
use super::serve::Request;

/// What an answer may hold at most: a signature takes 150, a sentence some more.
const ANSWER_BYTES_MAX: usize = 4096;

/// A process that keeps our key.
pub struct Process {
    command: Vec<String>,
    answer_time: Duration,
    address: Address,
    live: Mutex<Option<Box<Live>>>,
}

/// One that runs, and has answered all that it was asked.
struct Live {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// A process that has answered, and what.
type Answered = (Box<Live>, Vec<u8>);

/// Why a process is not asked again.
enum Fault {
    /// It is dead.
    Ended(String),
    /// It lives, and does not do what it should.
    Wrong(String),
}

impl Fault {
    fn text(self) -> String {
        match self {
            Self::Ended(text) | Self::Wrong(text) => text,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    party: Option<Address>,
    signature: Option<Bytes>,
    error: Option<String>,
}

impl Process {
    /// Starts a signer by the operator's command line (a program and its arguments; no shell reads them), and
    /// asks whose key it keeps.
    ///
    /// # Errors
    ///
    /// When it does not start, or does not say so in time.
    pub async fn start(command: Vec<String>, answer_time: Duration) -> Result<Self, String> {
        let live = Mutex::new(None);
        let mut process = Self { command, answer_time, address: Address::ZERO, live };
        let answer = process.ask("{\"party\":true}\n").await?;
        process.address = answer.party.ok_or("the signer did not say whose key it keeps")?;
        Ok(process)
    }

    /// Our address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// What it says is the signature.
    pub(super) async fn sign(&self, matter: &Matter) -> Result<Vec<u8>, String> {
        let request = Request { digest: matter.digest(), matter: matter.clone() };
        let line = serde_json::to_string(&request).expect("numbers and texts") + "\n";
        let answer = self.ask(&line).await?;
        let signature = answer.signature.ok_or("the signer answered without a signature")?;
        Ok(signature.to_vec())
    }

    async fn ask(&self, line: &str) -> Result<Answer, String> {
        let mut place = self.live.lock().await;
        // Taken out: if the one who asks goes away meanwhile, the process ends with its answer.
        let (live, answer) = self.ask_live(place.take(), line).await.map_err(Fault::text)?;
        *place = Some(live);
        read(&answer)
    }

    /// One that ran before and is dead now is started once more: to sign twice is to sign the same.
    async fn ask_live(&self, live: Option<Box<Live>>, line: &str) -> Result<Answered, Fault> {
        if let Some(live) = live {
            match self.exchange(live, line).await {
                Err(Fault::Ended(_)) => {}
                answered => return answered,
            }
        }
        self.exchange(self.spawn()?, line).await
    }

    fn spawn(&self) -> Result<Box<Live>, Fault> {
        let (program, arguments) = self
            .command
            .split_first()
            .ok_or_else(|| Fault::Wrong("the signer's command line is empty".into()))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            Fault::Wrong(format!("the signer {program} does not start: {error}"))
        })?;
        let input = child.stdin.take().expect("it was asked for");
        let output = BufReader::new(child.stdout.take().expect("it was asked for"));
        Ok(Box::new(Live { child, input, output }))
    }

    async fn exchange(&self, mut live: Box<Live>, line: &str) -> Result<Answered, Fault> {
        let answer = tokio::time::timeout(self.answer_time, live.exchange(line)).await;
        let late = || format!("the signer did not answer within {:?}", self.answer_time);
        let answer = answer.map_err(|_| Fault::Wrong(late()))??;
        Ok((live, answer))
    }
}

impl Live {
    async fn exchange(&mut self, line: &str) -> Result<Vec<u8>, Fault> {
        // Nobody reads any more: how it ended says more than that.
        if self.input.write_all(line.as_bytes()).await.is_err() {
            return Err(Fault::Ended(self.end().await));
        }
        let failed =
            |error: std::io::Error| Fault::Ended(format!("the signer does not answer: {error}"));
        let mut answer = Vec::new();
        let limit = u64::try_from(ANSWER_BYTES_MAX).expect("a small number");
        (&mut self.output).take(limit).read_until(b'\n', &mut answer).await.map_err(failed)?;
        match answer.last() {
            Some(b'\n') => Ok(answer),
            _ if answer.len() == ANSWER_BYTES_MAX => {
                let what = format!("the signer's answer is longer than {ANSWER_BYTES_MAX} bytes");
                Err(Fault::Wrong(what))
            }
            _ => Err(Fault::Ended(self.end().await)),
        }
    }

    /// Why its output ended.
    async fn end(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("the signer has ended ({status})"),
            Err(error) => format!("the signer has ended: {error}"),
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not its arguments: somebody will put a secret there.
        write!(f, "Process of {}", self.address)
    }
}

fn read(answer: &[u8]) -> Result<Answer, String> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|error| format!("the signer's answer makes no sense: {error}"))?;
    match answer.error {
        Some(error) => Err(format!("the signer refuses: {}", crate::evm::rpc::brief(&error))),
        None => Ok(answer),
    }
}

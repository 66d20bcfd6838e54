//! A node of our own: anvil from npm, on a free port, which makes a block when it is told to.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// What a test on a chain needs.
#[derive(Clone)]
pub(crate) struct Tools {
    anvil: PathBuf,
    contracts: PathBuf,
}

/// Where they are. Without them a test says what to run, and passes; but not where everything must be tested.
pub(crate) fn tools() -> Option<Tools> {
    let path = |name| std::env::var_os(name).map(PathBuf::from);
    if let (Some(anvil), Some(contracts)) = (path("M2_ANVIL"), path("M2_CONTRACTS")) {
        return Some(Tools { anvil, contracts });
    }
    let advice = "M2_ANVIL and M2_CONTRACTS say where anvil and the built contracts are: \
                  `cargo xtask chain` prepares both and runs these tests";
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{advice}");
    println!("skipped: {advice}");
    None
}

impl Tools {
    /// The bytes that deploy a contract, as Forge has built it: `File.sol/Name`.
    pub(crate) fn bytecode(&self, name: &str) -> String {
        let path = self.contracts.join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap();
        let artifact: Value = serde_json::from_str(&text).unwrap();
        artifact["bytecode"]["object"].as_str().unwrap().to_owned()
    }
}

/// A running node. It ends with this.
pub(crate) struct Node {
    tools: Tools,
    arguments: Vec<String>,
    child: Child,
    port: u16,
    client: reqwest::Client,
}

impl Node {
    pub(crate) fn start(tools: &Tools, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (child, port) = spawn(&tools.anvil, &arguments, 0);
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy();
        // A connection to a node that has ended since is none.
        let client = client.pool_max_idle_per_host(0).build().unwrap();
        Self { tools: tools.clone(), arguments, child, port, client }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// At once, as by a power cut.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As an operator ends it: it writes down what it knows, if it was told to.
    pub(crate) fn end(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        self.child.wait().unwrap();
    }

    /// At the same port as before.
    pub(crate) fn start_again(&mut self) {
        let arguments = self.arguments.clone();
        self.start_again_with(&arguments);
    }

    pub(crate) fn start_again_with(&mut self, arguments: &[String]) {
        (self.child, _) = spawn(&self.tools.anvil, arguments, self.port);
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = self.client.post(self.url()).header("content-type", "application/json");
        let text = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer.get("error").is_none(), "{method}: {text}");
        answer["result"].clone()
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.ask("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Until it listens, which it says with the port.
fn spawn(anvil: &Path, arguments: &[String], port: u16) -> (Child, u16) {
    let mut child = Command::new(anvil)
        .args(["--no-mining", "--port", &port.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    let port = loop {
        let begin = said.len();
        assert_ne!(output.read_line(&mut said).unwrap(), 0, "anvil has ended: {said}");
        if let Some(address) = said[begin..].trim().strip_prefix("Listening on ") {
            break address.rsplit_once(':').unwrap().1.parse().unwrap();
        }
    };
    // What it says on: a full pipe would hold it up.
    std::thread::spawn(move || drop(output.read_to_end(&mut Vec::new())));
    (child, port)
}

//! A chain of our own for a demo: anvil from npm with the payment channels' contract and tokens on it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::child::{Interrupt, Running};
use crate::Result;
use crate::chain::Tools;

/// A node that says nothing by then never will.
const START_MAX: Duration = Duration::from_secs(20);
/// A block comes every second.
const INCLUDED_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// Enough for anything that is deployed here.
const GAS: &str = "0x989680";
/// Windows of channels: the shortest and the longest that the contract is to take.
const WINDOW_S: (u64, u64) = (600, 2_592_000);

/// Keys that everybody knows, of Foundry's first accounts, and the last account, which deploys.
pub(crate) const KEYS: [&str; 3] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
];
/// Whose they are.
pub(crate) const PARTIES: [&str; 3] = [
    "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
    "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
];
const DEPLOYER: &str = "0xa0ee7a142d267c1f36714e4a8f75612f20a79720";

/// See the head of the file. The node ends with this.
pub(crate) struct Chain {
    pub(crate) port: u16,
    pub(crate) contract: String,
    /// By number: what is settled in.
    pub(crate) tokens: [String; 2],
    running: Running,
}

impl Chain {
    /// A block a second; final is what has four blocks behind it.
    pub(crate) fn start(tools: &Tools, interrupt: &Interrupt) -> Result<Self> {
        let mut anvil = Command::new(tools.anvil());
        anvil
            .args(["--port", "0", "--block-time", "1", "--slots-in-an-epoch", "2"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut running = Running::start("anvil", &mut anvil)?;
        let port = port(&mut running, interrupt)?;
        let mut chain = Self { port, contract: String::new(), tokens: Default::default(), running };
        let arguments = format!("{:0>64x}{:0>64x}", WINDOW_S.0, WINDOW_S.1);
        let channels = tools.bytecode("PaymentChannels.sol/PaymentChannels")? + &arguments;
        chain.contract = chain.deploy(&channels, interrupt)?;
        for at in 0..chain.tokens.len() {
            chain.tokens[at] = chain.deploy(&tools.bytecode("Tokens.sol/Token")?, interrupt)?;
        }
        Ok(chain)
    }

    /// The node's process.
    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }

    /// Gives a party some of a token.
    pub(crate) fn mint(&self, token: usize, party: usize, amount: u128) -> Result<()> {
        // mint(address,uint256)
        let data = format!("0x40c10f19{:0>64}{amount:0>64x}", &PARTIES[party][2..]);
        let from = json!({ "from": DEPLOYER, "to": self.tokens[token], "data": data, "gas": GAS });
        self.ask("eth_sendTransaction", &json!([from])).map(drop)
    }

    /// What a party has of a token.
    pub(crate) fn balance(&self, token: usize, party: usize) -> Result<u128> {
        let to = &self.tokens[token];
        self.units(to, &format!("0x70a08231{:0>64}", &PARTIES[party][2..]))
    }

    /// What the channels' contract still holds of a token.
    pub(crate) fn locked(&self, token: usize) -> Result<u128> {
        let to = &self.tokens[token];
        self.units(to, &format!("0x70a08231{:0>64}", &self.contract[2..]))
    }

    fn units(&self, to: &str, data: &str) -> Result<u128> {
        let told = self.ask("eth_call", &json!([{ "to": to, "data": data }, "latest"]))?;
        let digits = told.as_str().unwrap_or_default().trim_start_matches("0x");
        u128::from_str_radix(digits, 16).map_err(|_| format!("a balance is {told}"))
    }

    fn deploy(&mut self, bytecode: &str, interrupt: &Interrupt) -> Result<String> {
        let transaction = json!([{ "from": DEPLOYER, "data": bytecode, "gas": GAS }]);
        let hash = self.ask("eth_sendTransaction", &transaction)?;
        let give_up = Instant::now() + INCLUDED_MAX;
        loop {
            interrupt.check()?;
            let receipt = self.ask("eth_getTransactionReceipt", &json!([hash]))?;
            if let Some(contract) = receipt["contractAddress"].as_str() {
                return match receipt["status"] == "0x1" {
                    true => Ok(contract.to_owned()),
                    false => Err(format!("a contract was not deployed: {receipt}")),
                };
            }
            if Instant::now() > give_up || self.running.ended()?.is_some() {
                return Err("anvil makes no block".into());
            }
            thread::sleep(POLL);
        }
    }

    fn ask(&self, method: &str, params: &Value) -> Result<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = post(self.port, &body.to_string())
            .map_err(|error| format!("anvil does not answer {method}: {error}"))?;
        match answer.get("result") {
            Some(result) => Ok(result.clone()),
            None => Err(format!("anvil answers {method} with {answer}")),
        }
    }
}

/// One request on a connection of its own.
fn post(port: u16, body: &str) -> std::io::Result<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(START_MAX))?;
    let len = body.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.take(1 << 20).read_to_string(&mut answer)?;
    let begin = answer.find('{').unwrap_or(answer.len());
    let end = answer.rfind('}').map_or(begin, |end| end + 1);
    Ok(serde_json::from_str(&answer[begin..end])?)
}

/// `Listening on 127.0.0.1:PORT`. What comes behind it is read and dropped, as a full pipe would stop the node.
fn port(running: &mut Running, interrupt: &Interrupt) -> Result<u16> {
    let output = running.stdout().ok_or("anvil has an output")?;
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
            let port = line.strip_prefix("Listening on 127.0.0.1:").and_then(|it| it.parse().ok());
            if let Some(port) = port {
                let _ = tell.send(port);
            }
        }
    });
    let give_up = Instant::now() + START_MAX;
    loop {
        interrupt.check()?;
        if let Ok(port) = told.recv_timeout(POLL) {
            return Ok(port);
        }
        if Instant::now() > give_up || running.ended()?.is_some() {
            return Err("anvil does not start".into());
        }
    }
}

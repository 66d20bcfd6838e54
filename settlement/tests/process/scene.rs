//! A chain, two switches, and two settlement processes of our own, which end with it.
//!
//! Nothing is timed: what has to come is waited for, a block at a time, and it fails after a minute that nothing
//! ever takes.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use m2_settle::evm::Evm;
use m2_settle::evm::eip712::token_of;
use m2_settle::worker::Worker as _;
use m2_settlement::chain::{ChannelId, Question};
use serde_json::{Value, json};

use crate::chain::{Chain, KEYS};
use crate::node::Tools;
use crate::switch::{Switches, Victim, ask};

const PROGRAM: &str = env!("CARGO_BIN_EXE_m2-settle");
const SIGNER: &str = env!("CARGO_BIN_EXE_m2-signer");
/// Far longer than anything takes.
const GIVE_UP: Duration = Duration::from_secs(90);
/// Between two blocks of a chain that is waited for.
const BLOCK: Duration = Duration::from_millis(60);
/// What is deposited ahead, in units of the token.
pub(crate) const AHEAD: u128 = 10_000_000;
/// Scale 9 to scale 6.
pub(crate) const UNIT: u128 = 1_000;

/// A link between the two that settles.
#[derive(Clone)]
pub(crate) struct Link {
    /// At side 0, at side 1.
    pub(crate) names: [&'static str; 2],
    pub(crate) token: Address,
}

/// What may differ from test to test.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Of each side, what makes redeeming worth it: units of the token.
    pub(crate) redeem_min: [u128; 2],
    /// How long a node may take.
    pub(crate) rpc_ms: u64,
    /// Who signs in a process of its own.
    pub(crate) signer: [bool; 2],
    /// Accounts of another token than the first.
    pub(crate) more: Vec<Link>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { redeem_min: [0, 0], rpc_ms: 5_000, signer: [false; 2], more: Vec::new() }
    }
}

/// See the head of the file.
pub(crate) struct Scene {
    settles: [Option<Child>; 2],
    pub(crate) chain: Chain,
    pub(crate) switches: Switches,
    pub(crate) folder: Folder,
    pub(crate) setup: Setup,
    /// Whether waiting makes blocks.
    pub(crate) mines: bool,
    /// Whether waiting starts again who has fallen by a fault.
    pub(crate) raises: bool,
}

/// A folder that ends with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Short: the path of a socket has to fit.
        let folder = std::env::temp_dir().join(format!("m2-p-{}-{number}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        drop(fs::remove_file(&path));
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for side in 0..2 {
            self.kill(side);
            self.switches.kill(side);
        }
    }
}

impl Scene {
    /// Everything runs, and both see their switch and each other.
    pub(crate) async fn new(tools: &Tools, setup: Setup) -> Self {
        let chain = Chain::new(tools).await;
        Self::on(chain, setup).await
    }

    pub(crate) async fn on(chain: Chain, setup: Setup) -> Self {
        let mut scene = Self::not_started(chain, setup);
        scene.start(0);
        scene.start(1);
        scene.until("both are there", Self::are_there).await;
        scene
    }

    pub(crate) fn not_started(chain: Chain, setup: Setup) -> Self {
        let folder = Folder::new();
        let paths = [0, 1].map(|side| folder.path(&format!("switch-{side}.sock")));
        let mut links = vec![(["bob", "alice"], 9)];
        links.extend(setup.more.iter().map(|link| (link.names, 9)));
        let switches = Switches::start(paths, &links);
        let scene = Self {
            settles: [None, None],
            chain,
            switches,
            folder,
            setup,
            mines: true,
            raises: true,
        };
        for (side, key) in KEYS.iter().take(2).enumerate() {
            scene.folder.write(&format!("key-{side}"), key, 0o600);
        }
        scene
    }

    pub(crate) fn are_there(&mut self) -> bool {
        (0..2).all(|side| {
            let Some(status) = self.try_status(side) else { return false };
            let mut accounts = list(&status["accounts"]);
            status["switch_connected"] == true
                && accounts.all(|it| it["connected"] == true)
                && status["chains"][0]["latest_block"].is_u64()
        })
    }

    // Processes.

    fn log(&self, side: usize) -> PathBuf {
        self.folder.path(&format!("settle-{side}.log"))
    }

    pub(crate) fn control(&self, side: usize) -> PathBuf {
        self.folder.path(&format!("settle-{side}.sock"))
    }

    /// Everything that it has said, over all its lives.
    pub(crate) fn said(&self, side: usize) -> String {
        fs::read_to_string(self.log(side)).unwrap_or_default()
    }

    pub(crate) fn start(&mut self, side: usize) {
        let text = self.config(side);
        let config = self.folder.write(&format!("settle-{side}.toml"), &text, 0o600);
        let log = File::options().append(true).create(true).open(self.log(side)).unwrap();
        let child = command("run", &config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.switches.set_process(side, Some(rustix::process::Pid::from_child(&child)));
        self.settles[side] = Some(child);
    }

    /// At once, as by a power cut.
    pub(crate) fn kill(&mut self, side: usize) {
        self.switches.set_process(side, None);
        if let Some(mut child) = self.settles[side].take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// As an operator ends it.
    pub(crate) fn end(&mut self, side: usize) -> ExitStatus {
        self.switches.set_process(side, None);
        let mut child = self.settles[side].take().unwrap();
        let process = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap()
    }

    /// The process that was started last goes on.
    pub(crate) fn is_alive(&mut self, side: usize) -> bool {
        self.settles[side].as_mut().is_some_and(|it| it.try_wait().unwrap().is_none())
    }

    /// Whoever has fallen by a fault is started again.
    pub(crate) fn raise(&mut self, victim: Victim) {
        match victim {
            Victim::Settle(side) => {
                self.kill(side);
                self.start(side);
            }
            Victim::Switch(side) => self.switches.listen(side),
        }
    }

    // What is asked.

    pub(crate) fn ask(&self, side: usize, request: &Value) -> Value {
        ask(&self.control(side), &request.to_string()).unwrap()
    }

    pub(crate) fn does(&self, side: usize, request: &Value) {
        let answer = self.ask(side, request);
        assert_eq!(answer["ok"], true, "{request}: {answer}");
    }

    pub(crate) fn try_status(&self, side: usize) -> Option<Value> {
        ask(&self.control(side), r#"{"cmd":"status"}"#).ok()
    }

    pub(crate) fn status(&self, side: usize) -> Value {
        self.try_status(side).unwrap()
    }

    pub(crate) fn account(&self, side: usize, name: &str) -> Value {
        let status = self.status(side);
        list(&status["accounts"]).find(|it| it["account"] == name).unwrap().clone()
    }

    pub(crate) fn worker(&self, side: usize) -> &Evm {
        [&self.chain.alice, &self.chain.bob][side]
    }

    /// The one channel that there is.
    pub(crate) fn channel(&self, side: usize) -> ChannelId {
        let status = self.status(side);
        assert_eq!(list(&status["channels"]).count(), 1, "{status:#}");
        status["channels"][0]["channel"].as_str().unwrap().parse().unwrap()
    }

    /// On the chain, in units of the first token.
    pub(crate) async fn balance(&self, side: usize) -> u128 {
        self.balance_of(side, self.chain.token).await
    }

    pub(crate) async fn balance_of(&self, side: usize, token: Address) -> u128 {
        let question = Question { tokens: vec![token_of(token)], ..Question::default() };
        self.worker(side).look(question).await.unwrap().tokens[0].1.balance
    }

    /// Until it is so. Whoever falls meanwhile by a fault is started again.
    pub(crate) async fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let give_up = Instant::now() + GIVE_UP;
        loop {
            if self.raises
                && let Some(victim) = self.switches.fallen()
            {
                self.raise(victim);
            }
            if holds(self) {
                return;
            }
            assert!(Instant::now() < give_up, "never so: {what}\n{}", self.told());
            if self.mines {
                self.chain.node.mine(1).await;
            }
            self.switches.wait(BLOCK);
        }
    }

    /// Until nothing is owed, and no order waits.
    pub(crate) async fn until_paid(&mut self) {
        self.until("everything that is owed is paid", |scene| {
            let links = scene.links();
            (0..2).all(|side| {
                let Some(status) = scene.try_status(side) else { return false };
                let is_paid = links.iter().all(|link| {
                    let book = scene.switches.book(side, link.names[side]);
                    book.frozen.is_none() && book.owed == 0
                });
                is_paid && list(&status["orders"]).next().is_none()
            })
        })
        .await;
    }

    /// Until nothing is owed and each has been credited what the other has paid, in units of the token.
    pub(crate) async fn until_paid_in_all(&mut self, given: [u128; 2]) {
        self.until_paid().await;
        self.until("everything is credited", |scene| {
            (0..2).all(|side| {
                let book = scene.switches.book(side, ["bob", "alice"][side]);
                book.credited() == given[1 - side] * UNIT
            })
        })
        .await;
    }

    /// Nobody is killed, every channel ends by agreement, and each has what it should.
    pub(crate) async fn end_together_and_judge(&mut self, given: [u128; 2]) {
        self.does(0, &json!({ "cmd": "close", "account": "bob", "how": "together" }));
        self.until("every channel is over", Self::are_over).await;
        self.judge(given).await;
    }

    pub(crate) fn are_over(&mut self) -> bool {
        (0..2).all(|side| {
            let status = self.try_status(side);
            status.is_some_and(|it| list(&it["channels"]).all(|it| it["state"] == "over"))
        })
    }

    /// `given`: what each has paid in all, in units of the token.
    pub(crate) async fn judge(&self, given: [u128; 2]) {
        for side in 0..2 {
            let name = ["bob", "alice"][side];
            let book = self.switches.book(side, name);
            assert_eq!(book.contradictions, Vec::<Value>::new());
            assert_eq!(book.credited(), given[1 - side] * UNIT, "{}", self.told());
            assert_eq!(book.paid() / UNIT, given[side]);
            let account = self.account(side, name);
            assert_eq!(account["given"], given[side].to_string(), "{account:#}");
            assert_eq!(account["settled"], given[side].to_string(), "{account:#}");
            let should = crate::chain::MANY + given[1 - side] - given[side];
            assert_eq!(self.balance(side).await, should, "{}", self.told());
        }
    }

    fn links(&self) -> Vec<Link> {
        let first = Link { names: ["bob", "alice"], token: self.chain.token };
        std::iter::once(first).chain(self.setup.more.clone()).collect()
    }

    /// What is known of a failure.
    pub(crate) fn told(&self) -> String {
        let mut text = String::new();
        for side in 0..2 {
            let status = self.try_status(side).unwrap_or_default();
            let said = self.said(side);
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            text += &format!("-- side {side}: {status:#}\n{last}\n");
            for link in self.links() {
                text += &format!("{:?}\n", self.switches.book(side, link.names[side]));
            }
        }
        text
    }

    // Configurations.

    pub(crate) fn config(&self, side: usize) -> String {
        let Setup { redeem_min, rpc_ms, signer, .. } = &self.setup;
        let key = self.folder.path(&format!("key-{side}"));
        let key = key.display();
        let signs = match signer[side] {
            true => format!("signer = [\"{SIGNER}\", \"--key-file\", \"{key}\"]"),
            false => format!("key_file = \"{key}\""),
        };
        let mut text = format!(
            r#"switch = "switch-{side}.sock"
store = "settle-{side}.redb"
control_socket = "settle-{side}.sock"

[[chains]]
name = "anvil"
chain_id = 31337
rpc = "{}"
contract = "{}"
{signs}
look_ms = 100
batch_ms = 0
send_again_ms = 500
replace_ms = 1500
rpc_ms = {rpc_ms}
"#,
            self.chain.node.url(),
            self.chain.contract,
        );
        for (at, Link { names, token }) in self.links().iter().enumerate() {
            let peer = crate::chain::address(self.worker(1 - side).party());
            text += &format!(
                r#"
[[tokens]]
name = "token-{at}"
chain = "anvil"
address = "{token}"
scale = 6

[[accounts]]
name = "{}"
scale = 9
token = "token-{at}"
peer = "{peer}"
window_s = 3600
deposit = "{AHEAD}"
redeem_min = "{}"
"#,
                names[side], redeem_min[side],
            );
        }
        text
    }
}

/// `m2-settle` with a configuration.
pub(crate) fn command(what: &str, config: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg(what).arg("--config").arg(config);
    command
}

/// What it says and how it ends, where it ends by itself.
pub(crate) fn output(what: &str, config: &Path) -> Output {
    command(what, config).stdin(Stdio::null()).output().unwrap()
}

pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

//! `cargo xtask demo settlement`: what switches owe each other is paid on a chain, end to end.
//!
//! ```text
//!   m2-load ==> a ==USD/9==> b ==EUR/6==> c ==> m2-load         packets, BTP over WebSocket
//!               |            |            |                     claims, over the same links
//!            m2-settle    m2-settle    m2-settle
//!               '------------+------------'
//!                          anvil: payment channels, two tokens
//! ```
//!
//! The first debts open payment channels, load runs while claims pay for it, the rest is paid, the channels end by
//! agreement. It passes when each token has moved what the ledgers say, to the unit: what the payer's switch has
//! settled, less what is below one unit of the token; and when nothing is left in the contract.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::chain::{Chain, KEYS, PARTIES};
use super::child::{Interrupt, Running};
use super::{LOG_LINES_SHOWN, PROFILE, SocketFolder, write};
use crate::Result;
use crate::bench::targets::free_ports;
use crate::chain::Tools;
use crate::command;
use crate::workspace::Workspace;

/// Until a process answers.
const START_MAX: Duration = Duration::from_secs(20);
/// Until something is paid, or a channel has ended: some blocks of a second each, on a busy machine.
const SETTLED_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

const NAMES: [&str; 3] = ["a", "b", "c"];
/// Between neighbours: the asset, its scale, the token's scale.
const LINKS: [(&str, u8, u8); 2] = [("USD", 9, 6), ("EUR", 6, 6)];
/// Its commands are run as they stand there.
const PAGE: &str = "docs/settlement.md";
/// Of each token, to whoever pays in it.
const MINTED: u128 = 1_000_000_000_000;
/// What is put into a channel ahead.
const DEPOSIT: u128 = 100_000_000_000;
/// What a packet moves on the average, by link; 95 of 100 are fulfilled.
const PACKET: [u64; 2] = [480_000, 432];
const LIMIT: u64 = 1_000_000_000_000_000_000;

/// What the user may choose.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long packets are sent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(5..=3600))]
    seconds: u32,
    /// Packets a second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    rate: u32,
    /// A folder that holds the programs: nothing is built
    #[arg(long, hide = true)]
    binaries: Option<PathBuf>,
}

impl Options {
    /// A shorter run of these binaries.
    pub(crate) fn for_the_suite(binaries: PathBuf) -> Self {
        Self { seconds: 6, rate: 1_000, binaries: Some(binaries) }
    }

    /// A neighbour may owe so much, by link: half of what all packets come to, so that they would stop if none of
    /// it were paid meanwhile; more than the first debts.
    fn credit(&self, link: usize) -> u64 {
        u64::from(self.seconds) * u64::from(self.rate) * PACKET[link] / 2
    }

    /// What is owed is paid from here on: a fifth of a second of packets.
    fn threshold(&self, link: usize) -> u64 {
        u64::from(self.rate) * PACKET[link] / 5 + 1
    }
}

/// Everything that runs.
struct Scene {
    /// The last that was started is dropped first.
    processes: Vec<Running>,
    folder: PathBuf,
    sockets: SocketFolder,
    binaries: PathBuf,
    chain: Chain,
    interrupt: Interrupt,
}

/// Builds, runs and judges.
///
/// # Errors
///
/// When a program does not build or start, something is not paid in time, or a unit is not where it should be.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let interrupt = Interrupt::watch()?;
    let tools = Tools::prepared(workspace)?;
    let binaries = match &options.binaries {
        Some(folder) => folder.clone(),
        None => build(workspace, &interrupt)?,
    };
    let folder = workspace.target().join("demo/settlement");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let chain = Chain::start(&tools, &interrupt)?;
    println!("anvil, a block a second: payment channels at {}", chain.contract);
    for (at, (asset, _, scale)) in LINKS.iter().enumerate() {
        println!("  a token for {asset}, scale {scale}: {}", chain.tokens[at]);
        chain.mint(at, at, MINTED)?;
    }
    let sockets = SocketFolder::create()?;
    let processes = Vec::new();
    let mut scene = Scene { processes, folder, sockets, binaries, chain, interrupt };
    let workload = scene.start_all(options)?;

    println!("\nfirst debts: a second of packets opens payment channels");
    scene.load(&workload, 1, options.rate)?;
    scene.until_paid()?;
    println!("\nload, paid for by claims while it runs");
    scene.load(&workload, options.seconds, options.rate)?;
    for (payer, payee) in [(0, 1), (1, 2)] {
        scene.ask_settle(payer, &json!({ "cmd": "pay", "account": NAMES[payee] }))?;
    }
    scene.until_paid()?;
    println!("\neverything is paid; both channels end by agreement");
    let close = json!({ "cmd": "close", "account": "c", "how": "together" });
    scene.ask_settle(1, &close)?;
    // Its last one ends the channel between a and b.
    scene.run_commands(&workspace.read(PAGE)?)?;
    scene.until("every channel has ended", |views| {
        let mut channels = views.iter().flat_map(|view| list(&view["channels"]));
        channels.all(|channel| channel["state"] == "over")
    })?;
    let judged = scene.judge(options);
    let stopped = scene.stop();
    judged?;
    stopped
}

fn build(workspace: &Workspace, interrupt: &Interrupt) -> Result<PathBuf> {
    let mut cargo = command::cargo(workspace, &["build", "--profile", PROFILE]);
    cargo.args(["-p", "m2-engine", "-p", "m2-load", "-p", "m2-settle", "-p", "m2ctl", "--bins"]);
    let mut cargo = Running::start("cargo", cargo.stdin(Stdio::null()).stdout(Stdio::null()))?;
    if !cargo.wait(interrupt)?.success() {
        return Err("a program does not build".into());
    }
    Ok(workspace.target().join(PROFILE))
}

impl Scene {
    /// Switches and settlement processes; gives the workload.
    fn start_all(&mut self, options: &Options) -> Result<PathBuf> {
        let first = free_ports(3)?;
        let ports = [first, first + 1, first + 2];
        // From the last to the first: each dials the next.
        for at in (0..NAMES.len()).rev() {
            let config = self.folder.join(format!("switch-{}.toml", NAMES[at]));
            write(&config, &switch_text(options, &self.sockets.0, at, ports))?;
            self.start("m2-switch", &config, &format!("switch-{}", NAMES[at]))?;
            self.wait_for(&self.socket("switch", at))?;
        }
        for (at, name) in NAMES.into_iter().enumerate() {
            self.write_key(at)?;
            let config = self.folder.join(format!("settle-{name}.toml"));
            write(&config, &self.settle_text(at))?;
            self.start("m2-settle", &config, &format!("settle-{name}"))?;
            self.wait_for(&self.socket("settle", at))?;
        }
        self.until("every switch is seen by its settlement process", |views| {
            let linked = |view: &Value| {
                let mut accounts = list(&view["accounts"]);
                view["switch_connected"] == true && accounts.all(|it| it["connected"] == true)
            };
            views.iter().all(linked)
        })?;
        let workload = self.folder.join("workload.toml");
        write(&workload, &workload_text(ports))?;
        Ok(workload)
    }

    fn socket(&self, what: &str, at: usize) -> PathBuf {
        self.sockets.0.join(format!("{what}-{}.sock", NAMES[at]))
    }

    fn start(&mut self, program: &'static str, config: &Path, log: &str) -> Result<()> {
        let log = self.folder.join(format!("{log}.log"));
        let unwritable = |error| format!("{}: {error}", log.display());
        let output = File::create(&log).map_err(unwritable)?;
        let mut command = Command::new(self.binaries.join(program));
        command
            .args(["run", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(unwritable)?)
            .stderr(output);
        self.processes.push(Running::start(program, &mut command)?);
        Ok(())
    }

    fn wait_for(&self, socket: &Path) -> Result<()> {
        let give_up = Instant::now() + START_MAX;
        while UnixStream::connect(socket).is_err() {
            self.interrupt.check()?;
            if Instant::now() > give_up {
                return Err(format!("nobody listens at {}\n{}", socket.display(), self.logs()));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn write_key(&self, at: usize) -> Result<()> {
        let path = self.folder.join(format!("key-{}", NAMES[at]));
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        opened
            .and_then(|mut file| writeln!(file, "{}", KEYS[at]))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    fn load(&mut self, workload: &Path, seconds: u32, rate: u32) -> Result<()> {
        let mut load = Command::new(self.binaries.join("m2-load"));
        load.arg("run").arg("--workload").arg(workload);
        load.args(["--seconds", &seconds.to_string(), "--rate", &rate.to_string()]);
        let status = Running::start("m2-load", load.stdin(Stdio::null()))?.wait(&self.interrupt)?;
        match status.success() {
            true => Ok(()),
            false => {
                Err(format!("m2-load ended with {status}: its report says why\n{}", self.logs()))
            }
        }
    }

    /// Every command of the page, as it stands there, where a's socket is.
    fn run_commands(&self, page: &str) -> Result<()> {
        let socket = self.sockets.0.join("settle.sock");
        std::os::unix::fs::symlink(self.socket("settle", 0), &socket)
            .map_err(|error| format!("{}: {error}", socket.display()))?;
        let path = std::env::var("PATH").unwrap_or_default();
        let binaries = self.binaries.canonicalize().map_err(|error| error.to_string())?;
        let path = format!("{}:{path}", binaries.display());
        let blocks = page.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
        let mut count = 0;
        for command in blocks.flat_map(str::lines) {
            println!("\n$ {command}");
            let mut shell = Command::new("sh");
            shell.args(["-c", command]).current_dir(&self.sockets.0).env("PATH", &path);
            let status = Running::start("sh", shell.stdin(Stdio::null()))?.wait(&self.interrupt)?;
            if !status.success() {
                return Err(format!("`{command}` of {PAGE} ended with {status}\n{}", self.logs()));
            }
            count += 1;
        }
        match count {
            0 => Err(format!("{PAGE} shows no command")),
            _ => Ok(()),
        }
    }

    fn ask_settle(&self, at: usize, request: &Value) -> Result<Value> {
        let answer = ask(&self.socket("settle", at), request)
            .map_err(|error| format!("m2-settle of {}: {error}", NAMES[at]))?;
        match answer["ok"] == true {
            true => Ok(answer),
            false => Err(format!("m2-settle of {} says no: {}", NAMES[at], answer["error"])),
        }
    }

    fn views(&self) -> Result<Vec<Value>> {
        (0..NAMES.len()).map(|at| self.ask_settle(at, &json!({ "cmd": "status" }))).collect()
    }

    fn accounts(&self, at: usize) -> Result<Value> {
        let answer = ask(&self.socket("switch", at), &json!({ "cmd": "accounts" }))
            .map_err(|error| format!("m2-switch of {}: {error}", NAMES[at]))?;
        Ok(answer["accounts"].clone())
    }

    fn until(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Result<()> {
        let give_up = Instant::now() + SETTLED_MAX;
        loop {
            self.interrupt.check()?;
            let views = self.views()?;
            if holds(&views) {
                return Ok(());
            }
            if Instant::now() > give_up {
                let views = views.iter().map(|view| format!("{view:#}\n")).collect::<String>();
                return Err(format!("not in time: {what}\n{views}\n{}", self.logs()));
            }
            thread::sleep(POLL);
        }
    }

    /// Nothing is frozen any more, and everything is told to the switches.
    fn until_paid(&self) -> Result<()> {
        let give_up = Instant::now() + SETTLED_MAX;
        loop {
            self.until("everything that is frozen is paid", |views| {
                let told = |view: &Value| list(&view["orders"]).next().is_none();
                let paid = |view: &Value| list(&view["accounts"]).all(|it| it["keys_open"] == 0);
                views.iter().all(|view| told(view) && paid(view))
            })?;
            let mut is_frozen = false;
            for at in 0..NAMES.len() {
                is_frozen |= list(&self.accounts(at)?).any(|account| account["frozen"] != "0");
            }
            if !is_frozen {
                return Ok(());
            }
            if Instant::now() > give_up {
                return Err(format!("not in time: nothing is frozen\n{}", self.logs()));
            }
        }
    }

    /// Every unit is where the ledgers say, on the chain and in the switches.
    fn judge(&self, options: &Options) -> Result<()> {
        let views = self.views()?;
        println!(
            "\n{:<8}{:>16}{:>16}{:>12}{:>14}{:>12}",
            "link", "owed, units", "paid, token", "left over", "their ledger", "packets"
        );
        let mut packets = 0;
        for (at, (asset, scale, token_scale)) in LINKS.iter().enumerate() {
            let payer = account(&views[at]["accounts"], "account", NAMES[at + 1])?;
            let payee = account(&views[at + 1]["accounts"], "account", NAMES[at])?;
            let here = self.accounts(at)?;
            let here = account(&here, "name", NAMES[at + 1])?;
            let there = self.accounts(at + 1)?;
            let there = account(&there, "name", NAMES[at])?;
            let (owed, given) = (number(&payer["frozen"])?, number(&payer["given"])?);
            let unit = 10_u128.pow(u32::from(scale.saturating_sub(*token_scale)));
            let left = owed % unit;
            let credited = number(&payee["credited"])?;
            let balance = signed(&there["balance"])? - signed(&there["prepaid"])?;
            let fulfilled = here["fulfills_in"].as_u64().unwrap_or(0);
            println!(
                "{:<8}{owed:>16}{given:>16}{left:>12}{balance:>14}{fulfilled:>12}",
                format!("{}-{} {asset}", NAMES[at], NAMES[at + 1])
            );
            packets = packets.max(fulfilled);
            same("what was given is what was frozen, rounded down", given, owed / unit)?;
            same("what was credited is what was given", credited, given * unit)?;
            same("the payer owes nothing more", signed(&here["balance"])?, 0)?;
            same("nothing is being paid", number(&here["frozen"])?, 0)?;
            same("the payee is owed what is left over", balance, left.cast_signed())?;
            same(
                "the payer has paid it on the chain",
                self.chain.balance(at, at)?,
                MINTED - given,
            )?;
            same("the payee has it on the chain", self.chain.balance(at, at + 1)?, given)?;
            same("nothing is left in the contract", self.chain.locked(at)?, 0)?;
            if owed <= u128::from(options.credit(at)) {
                return Err(format!(
                    "{owed} units are no more than the credit: nothing had to be paid"
                ));
            }
        }
        self.print_cost(&views, packets)
    }

    fn print_cost(&self, views: &[Value], packets: u64) -> Result<()> {
        let (mut calls, mut gas, mut money) = (0, 0, 0_u128);
        println!("\n{:<8}{:>14}{:>12}{:>24}", "party", "transactions", "gas", "cost, wei");
        for (name, view) in NAMES.iter().zip(views) {
            let chain = list(&view["chains"]).next().ok_or("a chain is configured")?;
            let done =
                chain["succeeded"].as_u64().unwrap_or(0) + chain["failed"].as_u64().unwrap_or(0);
            let (used, cost) = (chain["gas"].as_u64().unwrap_or(0), number(&chain["cost"])?);
            println!("{name:<8}{done:>14}{used:>12}{cost:>24}");
            calls += done;
            gas += used;
            money += cost;
        }
        if calls == 0 {
            return Err("no transaction was made".into());
        }
        println!(
            "\n{packets} packets, {calls} chain calls: {} packets a call, {} gas and {} wei a packet",
            packets / calls,
            gas / packets.max(1),
            money / u128::from(packets.max(1))
        );
        println!("every unit is where the ledgers say: on the chain, and in all three switches");
        Ok(())
    }

    /// SIGTERM to each, the settlement processes first.
    fn stop(mut self) -> Result<()> {
        let logs = self.logs();
        while let Some(mut running) = self.processes.pop() {
            let status = running.stop(super::STOP_MAX, &self.interrupt)?;
            if !status.success() {
                return Err(format!("a process ended with {status} after SIGTERM\n{logs}"));
            }
        }
        println!("all processes ended with status 0 after SIGTERM");
        Ok(())
    }

    /// The last lines of each log.
    fn logs(&self) -> String {
        let mut text = String::new();
        for name in
            ["switch", "settle"].iter().flat_map(|what| NAMES.map(|name| format!("{what}-{name}")))
        {
            let log =
                fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            text += &format!("-- {name}\n{}\n", last.join("\n"));
        }
        text
    }

    fn settle_text(&self, at: usize) -> String {
        let (name, sockets) = (NAMES[at], self.sockets.0.display());
        let mut text = format!(
            r#"switch = "{sockets}/money-{name}.sock"
store = "settle-{name}.redb"
control_socket = "{sockets}/settle-{name}.sock"

[[chains]]
name = "anvil"
chain_id = 31337
rpc = "http://127.0.0.1:{}"
contract = "{}"
key_file = "key-{name}"
look_ms = 500
batch_ms = 2000
"#,
            self.chain.port, self.chain.contract
        );
        for (link, (asset, scale, token_scale)) in LINKS.iter().enumerate() {
            let peer = match at {
                _ if at == link => link + 1,
                _ if at == link + 1 => link,
                _ => continue,
            };
            let token = &self.chain.tokens[link];
            text += &format!(
                r#"
[[tokens]]
name = "{asset}"
chain = "anvil"
address = "{token}"
scale = {token_scale}

[[accounts]]
name = "{}"
scale = {scale}
token = "{asset}"
peer = "{}"
window_s = 3600
window_s_min = 600
deposit = "{DEPOSIT}"
redeem_min = "1000000"
"#,
                NAMES[peer], PARTIES[peer]
            );
        }
        text
    }
}

fn switch_text(options: &Options, sockets: &Path, at: usize, ports: [u16; 3]) -> String {
    let (name, port, sockets) = (NAMES[at], ports[at], sockets.display());
    let mut text = format!(
        r#"[switch]
address = "test.{name}"
network = "test"
control_socket = "{sockets}/switch-{name}.sock"
settlement_socket = "{sockets}/money-{name}.sock"

[journal]
path = "journal-{name}"

[[listen]]
transport = "ws"
address = "127.0.0.1:{port}"

[[assets]]
code = "USD"
scale = 9

[[assets]]
code = "EUR"
scale = 6

[[rates]]
from = "USD/9"
to = "EUR/6"
rate = "0.9"
"#
    );
    let end = |name: &str, asset: &str| {
        format!(
            "\n[[accounts]]\nname = \"{name}\"\nrelation = \"child\"\nasset = \"{asset}\"\n\
             token = \"{name}-token\"\nbalance_max = {LIMIT}\npayable_max = {LIMIT}\n"
        )
    };
    if at == 0 {
        text += &end("alice", "USD/9");
    }
    if at > 0 {
        let (asset, scale, _) = LINKS[at - 1];
        text += &format!(
            "\n[[accounts]]\nname = \"{}\"\nrelation = \"peer\"\nasset = \"{asset}/{scale}\"\n\
             token = \"from-{}\"\nbalance_max = {}\npayable_max = 0\n",
            NAMES[at - 1],
            NAMES[at - 1],
            options.credit(at - 1)
        );
    }
    if at < 2 {
        let (asset, scale, _) = LINKS[at];
        let (next, port) = (NAMES[at + 1], ports[at + 1]);
        text += &format!(
            "\n[[accounts]]\nname = \"{next}\"\nrelation = \"peer\"\nasset = \"{asset}/{scale}\"\n\
             dial = \"btp+ws://{name}@127.0.0.1:{port}/\"\ndial_token = \"from-{name}\"\n\
             routes = [\"test.c\"]\nbalance_max = 0\npayable_max = {LIMIT}\nsettle_threshold = {}\n",
            options.threshold(at)
        );
    }
    if at == 2 {
        text += &end("bob", "EUR/6");
    }
    text
}

/// Packets from Alice at a to Bob at c; he gets 0.9 x 10^6 / 10^9 of what she sends.
fn workload_text(ports: [u16; 3]) -> String {
    format!(
        r#"seed = 1
seconds = 1
rate_per_s = 1000

[traffic]
amount = [10000, 1000000]
data_bytes = [32, 82]
expiry_ms = [10000, 30000]

[mix] # per mille
fulfilled = 950
rejected = 50

[[ends]]
name = "alice"
role = "send"
asset = "USD/9"
address = "test.a.alice"
url = "btp+ws://alice@127.0.0.1:{}/"
token = "alice-token"

[[ends]]
name = "bob"
role = "receive"
asset = "EUR/6"
address = "test.c.bob"
url = "btp+ws://bob@127.0.0.1:{}/"
token = "bob-token"

[[flows]]
from = "alice"
to = "bob"
num = 9
den = 10000
"#,
        ports[0], ports[2]
    )
}

/// One line to a socket, one back.
fn ask(socket: &Path, request: &Value) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(START_MAX))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(16 << 20)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter()
}

fn account<'a>(accounts: &'a Value, key: &str, name: &str) -> Result<&'a Value> {
    list(accounts).find(|it| it[key] == name).ok_or_else(|| format!("no account {name}"))
}

fn number(value: &Value) -> Result<u128> {
    let number = value.as_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{value} is no amount"))
}

fn signed(value: &Value) -> Result<i128> {
    let number = value.as_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{value} is no amount"))
}

fn same<T: PartialEq + core::fmt::Display>(what: &str, is: T, should: T) -> Result<()> {
    match is == should {
        true => Ok(()),
        false => Err(format!("not so: {what}: {is} and {should}")),
    }
}

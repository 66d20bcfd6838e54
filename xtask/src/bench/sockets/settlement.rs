//! `cargo xtask bench settlement`: what packets notice of settlement. Two switches in a row, three times: one
//! pair does not settle (off), one does all the time (on), one would and its chain's node is gone (dead).
//!
//! ```text
//!   m2-load, senders ==> a ==USD/9==> b ==> m2-load, receivers       packets; claims over the same link
//!                        |            |
//!                    m2-settle    m2-settle                          on and dead
//!                        '---- anvil -'                              on: a block a second; dead: nobody listens
//! ```
//!
//! All of it shares the cores with what is measured. So what the settlement processes and the node took of them
//! is told beside, and two loads are measured: as many packets as go, and half of the highest rate of `off`.
//! Invariant: a result is kept only if claims moved where they should and nowhere else, and if both ledgers of the
//! link agree to the unit afterwards.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::openloop::highest;
use super::three::{LIMITS, accounts, configure};
use super::{BETWEEN_RUNS, Effort, P50, P99, P99_9, PAIRS_PER_S, Side, Trial, Turns};
use crate::Result;
use crate::bench::journal;
use crate::bench::packets::{self, For, Place};
use crate::bench::spread::Spread;
use crate::bench::targets::{Programs, Target, free_ports};
use crate::chain::Tools;
use crate::command::{self, Show};
use crate::demo::chain::{Chain, KEYS, PARTIES};
use crate::demo::child::Interrupt;
use crate::workspace::Workspace;

const CONNECTIONS: u16 = 4;
/// In flight, on all connections.
const WINDOW: &str = "256";
/// Of the highest rate, in percent.
const SHARE: u64 = 50;
/// How often a second the link is settled at that share: at saturation twice as often.
const SETTLED_PER_S: u64 = 5;
/// What a packet moves on the average, in units of the link: half of them 500,000, half a thousand times as much;
/// 91 of 100 are fulfilled.
const PACKET: u64 = (500_500 + 500_500_000) / 2 * 91 / 100;
/// What is put into the channel, and what there is of the token: hours of it.
const DEPOSIT: u128 = 1_000_000_000_000_000_000;
/// What a claim has to be worth to be redeemed: so much moves in some 40 s.
const REDEEM_MIN: u128 = 1_000_000_000_000_000;
/// Until a process answers, a channel is open, or what is under way is paid.
const WAIT_MAX: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// What the kernel counts CPU time in for programs, USER_HZ, on every machine that a switch runs on.
const TICKS_PER_S: f64 = 100.0;

const NAMES: [&str; 2] = ["a", "b"];
const SIDES: [&str; 3] = ["off", "on", "dead"];

/// Measures both loads.
///
/// # Errors
///
/// When a program does not build or start, a run has a failure, or claims did not move as they should.
pub(in crate::bench) fn run(workspace: &Workspace, effort: Effort) -> Result<Value> {
    let interrupt = Interrupt::watch()?;
    let tools = Tools::prepared(workspace)?;
    let programs = Programs::build(workspace, "bench-settlement")?;
    let build = ["build", "--release", "-p", "m2-settle", "--bins"];
    if !command::run(&mut command::cargo(workspace, &build), Show::Lines)?.success {
        return Err("m2-settle does not build".into());
    }
    let off = Pair::start(&programs.in_folder("off")?, "off", None)?;
    let highest = highest(&programs, &off.side, effort.quick)?;
    let rate = highest["rate_per_s"].as_u64().unwrap_or(0) * SHARE / 100;
    let threshold = (rate * PACKET / SETTLED_PER_S).max(1);
    println!("  highest rate {}, open loop at {rate}", highest["rate_per_s"]);
    let chain = Chain::start(&tools, &interrupt)?;
    chain.mint(0, 0, 2 * DEPOSIT)?;
    let place = OnChain { contract: &chain.contract, token: &chain.tokens[0], threshold };
    let on = (chain.port, &place);
    let on = Pair::start(&programs.in_folder("on")?, "on", Some(on))?;
    let dead = (free_ports(1)?, &place);
    let dead = Pair::start(&programs.in_folder("dead")?, "dead", Some(dead))?;
    on.open_channel(&programs, &interrupt)?;
    let scene = Scene { programs, pairs: [off, on, dead], chain: chain.id(), interrupt };
    let window = scene.measure("saturated", &["--window", WINDOW, "--seconds", "1"], effort)?;
    let rate = rate.to_string();
    let open_loop = scene.measure("open_loop", &["--rate", &rate, "--seconds", "1"], effort)?;
    scene.judge()?;
    Ok(json!({
        "departures_from_the_standard_workload": packets::DEPARTURES,
        "connections_each_way": CONNECTIONS,
        "in_flight_when_saturated": WINDOW,
        "highest_rate_of_off": highest,
        "share_of_the_highest_rate": SHARE,
        "settle_threshold": threshold,
        "saturated": window,
        "open_loop": open_loop,
    }))
}

/// Where the link is settled.
struct OnChain<'a> {
    contract: &'a str,
    token: &'a str,
    threshold: u64,
}

/// Two switches, and their settlement processes where there are any. The last is ended first.
struct Pair {
    side: Side,
    folder: PathBuf,
    settles: Vec<Target>,
    _other: Target,
}

struct Scene<'a> {
    programs: Programs<'a>,
    pairs: [Pair; 3],
    /// The node's process.
    chain: u32,
    interrupt: Interrupt,
}

/// What settlement did during a run, a second.
struct Settled {
    amounts: f64,
    /// Shares of a core.
    settle_cpu: f64,
    chain_cpu: f64,
}

impl Scene<'_> {
    /// All three in turns, with what settlement took meanwhile.
    fn measure(&self, what: &str, words: &[&str], effort: Effort) -> Result<Value> {
        println!("== {what}");
        let mut turns = Turns::none(&SIDES);
        let mut settled: [Vec<Settled>; 3] = [const { Vec::new() }; 3];
        for turn in 0..=effort.runs {
            for step in 0..SIDES.len() {
                self.interrupt.check()?;
                let index = if turn % 2 == 0 { step } else { SIDES.len() - 1 - step };
                thread::sleep(BETWEEN_RUNS);
                let before = self.used(index)?;
                let begun = Instant::now();
                let report = self.pairs[index].side.run(&self.programs, words)?;
                let run_s = begun.elapsed().as_secs_f64();
                let used = self.used(index)?;
                if turn > 0 {
                    turns.push(index, Trial::of(&report)?, &report);
                    let [amounts, settle_cpu, chain_cpu] =
                        core::array::from_fn(|at| (used[at] - before[at]) / run_s);
                    settled[index].push(Settled { amounts, settle_cpu, chain_cpu });
                }
            }
        }
        turns.print();
        let mut told = turns.to_json(0, &[PAIRS_PER_S, P50, P99, P99_9]);
        for (name, runs) in SIDES.iter().zip(&settled) {
            let of = |figure: fn(&Settled) -> f64| Spread::of(runs.iter().map(figure).collect());
            let amounts = of(|it| it.amounts);
            let (settle, chain) = (of(|it| it.settle_cpu), of(|it| it.chain_cpu));
            println!(
                "  {name}: amounts frozen a second {amounts}; cores: m2-settle {settle}, anvil {chain}"
            );
            told["settlement"][*name] = json!({
                "amounts_frozen_per_s": amounts.to_json(),
                "cores_of_both_m2_settle": settle.to_json(),
                "cores_of_anvil": chain.to_json(),
            });
        }
        Ok(told)
    }

    /// Since the start: amounts that a has frozen, seconds of CPU of its settlement processes and of the node.
    fn used(&self, index: usize) -> Result<[f64; 3]> {
        let pair = &self.pairs[index];
        let settles = pair.settles.iter().map(|it| cpu_s(it.child.id()));
        let settle_s = settles.sum::<Result<f64>>()?;
        Ok([pair.frozen_count()?, settle_s, cpu_s(self.chain)?])
    }

    /// Claims have moved where they should, and no unit is lost between two ledgers.
    fn judge(&self) -> Result<()> {
        let [off, on, dead] = &self.pairs;
        on.until("what a has given is what b holds, and nothing is open", &self.interrupt, || {
            let ([from, to], here) = (on.views()?, on.account(0)?);
            let open = &from["accounts"][0]["keys_open"];
            let orders = [&from, &to].map(|view| view["orders"] == json!([]));
            Ok(open == 0 && orders == [true; 2] && here["frozen"] == "0")
        })?;
        for pair in &self.pairs {
            pair.ledgers_agree()?;
        }
        if off.frozen_count()? != 0.0 {
            return Err("off: an amount was frozen".into());
        }
        let given = |pair: &Pair| -> Result<_> {
            let view = &pair.views()?[0];
            Ok((units(&view["accounts"][0]["given"])?, view["counters"]["claims_given"].clone()))
        };
        let ((paid, claims), (unpaid, _)) = (given(on)?, given(dead)?);
        println!("  on: {claims} claims, {paid} units paid; dead: {unpaid}");
        match (paid > 0, unpaid == 0 && dead.account(0)?["frozen"] != "0") {
            (true, true) => Ok(()),
            (false, _) => Err("on: no claim has moved".into()),
            (_, false) => Err("dead: something was paid, or nothing had to be".into()),
        }
    }
}

impl Pair {
    fn start(
        programs: &Programs<'_>,
        name: &'static str,
        settles: Option<(u16, &OnChain<'_>)>,
    ) -> Result<Self> {
        let first = free_ports(2)?;
        let ports = [first, first + 1];
        let url = |port: u16| format!("btp+ws://{{name}}@127.0.0.1:{port}/");
        let place =
            Place { senders: url(ports[0]), receivers: url(ports[1]), above: "test.b".to_owned() };
        let (folder, root) = (&programs.folder, programs.root());
        let workload = packets::write_at(folder, root, CONNECTIONS, For::Switch, &place)?;
        let texts = texts(ports, settles.map(|(_, chain)| chain.threshold));
        let start = |at: usize| {
            let file = configure(&folder.join(NAMES[at]), &texts[at])?;
            let mut command = programs.switch();
            command.args(["run", "--config"]).arg(file);
            programs.start(NAMES[at], &mut command, String::new(), ports[at])
        };
        // The first dials the second.
        let other = start(1)?;
        let mut target = start(0)?;
        target.name = name;
        let mut pair = Self {
            side: Side { target, workload, control_socket: None },
            folder: folder.clone(),
            settles: Vec::new(),
            _other: other,
        };
        if let Some((port, chain)) = settles {
            for at in 0..NAMES.len() {
                pair.start_settle(programs, at, port, chain)?;
            }
        }
        Ok(pair)
    }

    fn start_settle(
        &mut self,
        programs: &Programs<'_>,
        at: usize,
        port: u16,
        chain: &OnChain<'_>,
    ) -> Result<()> {
        let folder = self.folder.join(NAMES[at]);
        let file = folder.join("settle.toml");
        let told = |error: std::io::Error| format!("{}: {error}", folder.display());
        let mut key = File::options();
        key.write(true).create(true).truncate(true).mode(0o600);
        let mut key = key.open(folder.join("key")).map_err(told)?;
        writeln!(key, "{}", KEYS[at]).map_err(told)?;
        fs::write(&file, settle_text(at, port, chain)).map_err(told)?;
        let log = File::create(folder.join("settle.log")).map_err(told)?;
        let mut command: Command = programs.program("m2-settle");
        command.args(["run", "--config"]).arg(file).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(told)?).stderr(log);
        let child = command.spawn().map_err(|error| format!("m2-settle: {error}"))?;
        self.settles.push(Target { name: "m2-settle", url: String::new(), child });
        let (socket, give_up) = (folder.join("settle.sock"), Instant::now() + WAIT_MAX);
        while UnixStream::connect(&socket).is_err() {
            if Instant::now() > give_up {
                return Err(format!(
                    "m2-settle does not listen; its log is in {}",
                    folder.display()
                ));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The first debts open a channel, which takes some blocks.
    fn open_channel(&self, programs: &Programs<'_>, interrupt: &Interrupt) -> Result<()> {
        self.side.run(programs, &["--window", WINDOW, "--seconds", "1"])?;
        self.until("the first debts are paid", interrupt, || {
            let account = self.views()?[0]["accounts"][0].clone();
            Ok(account["given"] != "0" && account["keys_open"] == 0)
        })
    }

    fn until(
        &self,
        what: &str,
        interrupt: &Interrupt,
        holds: impl Fn() -> Result<bool>,
    ) -> Result<()> {
        let give_up = Instant::now() + WAIT_MAX;
        while !holds()? {
            interrupt.check()?;
            if Instant::now() > give_up {
                let [from, to] = self.views()?;
                return Err(format!("not in time: {what}\n{from:#}\n{to:#}"));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// What both settlement processes show.
    fn views(&self) -> Result<[Value; 2]> {
        let ask = |name: &str| ask(&self.folder.join(name).join("settle.sock"), "status");
        Ok([ask("a")?, ask("b")?])
    }

    /// What a switch has of the other.
    fn account(&self, at: usize) -> Result<Value> {
        let told = accounts(&self.folder, NAMES[at])?;
        let mut all = told.as_array().into_iter().flatten();
        let other = all.find(|account| account["name"] == NAMES[1 - at]);
        other.cloned().ok_or_else(|| format!("{} has no account of the other", NAMES[at]))
    }

    fn frozen_count(&self) -> Result<f64> {
        let told = ask(&self.folder.join("a/control.sock"), "counters")?;
        told["settlement"]["intents"].as_f64().ok_or_else(|| "no switch tells its intents".into())
    }

    fn ledgers_agree(&self) -> Result<()> {
        let [here, there] = [self.account(0)?, self.account(1)?];
        let owed = units(&here["frozen"])? - units(&here["balance"])?;
        let due = units(&there["balance"])? - units(&there["prepaid"])?;
        println!("  {}: a owes {owed}, b is owed {due}", self.side.name());
        let moved = here["prepares_out"].as_u64().unwrap_or(0) > 0;
        let held = [&here["held_out"], &there["held_in"]].iter().any(|held| **held != "0");
        match moved && !held && owed == due {
            true => Ok(()),
            false => Err(format!("{}: a and b do not agree: {here} {there}", self.side.name())),
        }
    }
}

fn ask(socket: &Path, command: &str) -> Result<Value> {
    let told = journal::ask(socket, &json!({ "cmd": command }).to_string());
    let told = told.map_err(|error| format!("{}: {error}", socket.display()))?;
    serde_json::from_str(&told).map_err(|error| format!("{}: {error}", socket.display()))
}

fn units(value: &Value) -> Result<i128> {
    let number = value.as_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{value} is no amount"))
}

/// User and system time of a process so far, in seconds.
fn cpu_s(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let ticks = ticks(&stat).ok_or_else(|| format!("{path} is not as proc(5) says"))?;
    #[expect(clippy::cast_precision_loss, reason = "seconds of a bench")]
    Ok(ticks as f64 / TICKS_PER_S)
}

/// The 14th and 15th fields, counted behind the name, which may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    next()?.checked_add(next()?)
}

/// What each switch is told.
fn texts(ports: [u16; 2], threshold: Option<u64>) -> [String; 2] {
    let head = |at: usize| {
        let (name, port) = (NAMES[at], ports[at]);
        let settles = threshold.map_or("", |_| "settlement_socket = \"money.sock\"\n");
        format!(
            "[switch]\naddress = \"test.{name}\"\nnetwork = \"test\"\ncontrol_socket = \"control.sock\"\n{settles}\
             [[listen]]\ntransport = \"ws\"\naddress = \"127.0.0.1:{port}\"\n\
             [[assets]]\ncode = \"USD\"\nscale = 9\n[[assets]]\ncode = \"EUR\"\nscale = 6\n\
             [[rates]]\nfrom = \"USD/9\"\nto = \"EUR/6\"\nrate = \"1\"\n\
             [[rates]]\nfrom = \"EUR/6\"\nto = \"USD/9\"\nrate = \"1\"\n"
        )
    };
    let account = |name: &str, relation: &str, asset: &str, rest: &str| {
        format!(
            "[[accounts]]\nname = \"{name}\"\nrelation = \"{relation}\"\nasset = \"{asset}\"\n\
             durability = \"async\"\n{LIMITS}{rest}\n"
        )
    };
    let ends = |role| {
        let ends = packets::ends(CONNECTIONS, role, For::Switch);
        let text = |end: &packets::End| {
            account(&end.name, "child", end.asset, &format!("token = \"{}\"", end.token))
        };
        ends.iter().map(text).collect::<String>()
    };
    let settle = threshold.map_or(String::new(), |it| format!("settle_threshold = \"{it}\"\n"));
    let next = format!(
        "dial = \"btp+ws://a@127.0.0.1:{}/\"\ndial_token = \"from-a\"\nroutes = [\"test.b\"]\n{settle}",
        ports[1]
    );
    [
        head(0) + &ends(packets::SENDER) + &account("b", "peer", "USD/9", &next),
        head(1) + &account("a", "peer", "USD/9", "token = \"from-a\"") + &ends(packets::RECEIVER),
    ]
}

/// What each settlement process is told. The token has the link's scale: no unit is left over.
fn settle_text(at: usize, port: u16, chain: &OnChain<'_>) -> String {
    let OnChain { contract, token, .. } = chain;
    let (other, party) = (NAMES[1 - at], PARTIES[1 - at]);
    format!(
        r#"switch = "money.sock"
store = "settle.redb"
control_socket = "settle.sock"

[[chains]]
name = "anvil"
chain_id = 31337
rpc = "http://127.0.0.1:{port}"
contract = "{contract}"
key_file = "key"
look_ms = 500
batch_ms = 2000

[[tokens]]
name = "USD"
chain = "anvil"
address = "{token}"
scale = 9

[[accounts]]
name = "{other}"
scale = 9
token = "USD"
peer = "{party}"
window_s = 3600
window_s_min = 600
deposit = "{DEPOSIT}"
redeem_min = "{REDEEM_MIN}"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_read_whatever_its_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1 2"), None);
        assert!(cpu_s(std::process::id()).is_ok());
    }

    #[test]
    fn only_those_that_settle_have_a_threshold_and_a_socket() {
        let words = ["settle_threshold", "settlement_socket"];
        let count = |threshold| {
            let text = texts([1, 2], threshold).concat();
            words.map(|word| text.matches(word).count())
        };
        assert_eq!(count(None), [0, 0]);
        assert_eq!(count(Some(9)), [1, 2]);
    }
}

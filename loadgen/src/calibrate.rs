//! The generator against itself: a sender on one thread, its receiver on another, and no connector
//! between them. What it reaches here is what it can reach at all on this machine, and what each end
//! takes of a processor is what it adds to every run.
//!
//! ```text
//!   this thread                                  thread "receiver"
//!   makes, sends, checks answers  -- a socket --  checks PREPAREs, answers
//! ```
//!
//! Both ends are those of a run, with every check that needs no connector.

use std::fmt;
use std::num::NonZeroU32;
use std::thread;

use serde::Serialize;

use crate::cpu::CpuTime;
use crate::engine::{Drive, Engine, Pace, Player};
use crate::environment::Environment;
use crate::interrupt::Interrupt;
use crate::link::{Link, LinkError, Listener, Transport};
use crate::live::Live;
use crate::payload::{Filling, Fulfiller, Fulfillment};
use crate::receiver::{Received, Receiver, Terms};
use crate::report::{Cpu, Percentiles, duration, grouped};
use crate::sender::InFlight;
use crate::workload::{Overrides, Workload};

/// Names the schema; it changes when a key changes its meaning or goes.
pub const SCHEMA: &str = "m2-load.calibration/1";

/// What to calibrate.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What stands between the two threads.
    pub transport: Transport,
    /// PREPAREs in flight.
    pub window: NonZeroU32,
    /// How long to send.
    pub seconds: u64,
    /// How a fulfillment follows from its packet.
    pub fulfillment: Fulfillment,
    /// Whether both ends look for work without sleeping.
    pub spin: bool,
    /// Seed of every draw.
    pub seed: u64,
}

/// What the generator can do on this machine.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Calibration {
    /// [`SCHEMA`]
    pub schema: &'static str,
    /// Version of the generator.
    pub version: &'static str,
    /// `tcp`, `ws` or `unix`.
    pub transport: &'static str,
    /// `fixed` or `stream`.
    pub fulfillment: &'static str,
    /// Seed of every draw.
    pub seed: u64,
    /// PREPAREs in flight.
    pub window: u32,
    /// How long packets were sent, in nanoseconds.
    pub sending_ns: u64,
    /// PREPAREs that were fulfilled.
    pub pairs: u64,
    /// How many of them in a second.
    pub pairs_per_s: f64,
    /// From sending to the answer.
    pub service: Percentiles,
    /// CPU time of the sending thread.
    pub sender_cpu: Option<Cpu>,
    /// CPU time of the receiving thread.
    pub receiver_cpu: Option<Cpu>,
    /// What was not as it should be. Empty: every packet was fulfilled and the ends agree.
    pub failures: Vec<String>,
    /// What the figures depend on.
    pub environment: Environment,
}

/// What one end counted.
struct End {
    received: Received,
    cpu: Option<CpuTime>,
}

/// Runs both ends against each other.
///
/// # Errors
///
/// A sentence, when the operating system gives no socket or thread, or a link ended too early.
pub fn calibrate(setup: &Setup, live: &mut Live) -> Result<Calibration, String> {
    let folder = std::env::temp_dir();
    let path = folder.join(format!("m2-load-{}.sock", std::process::id()));
    let listener = Listener::bind(setup.transport, &path).map_err(|error| refused(&error))?;
    let url = listener.url().map_err(|error| refused(&error))?;
    let workload = workload(setup, &url)?;
    let token = workload.ends[0].token.expose().to_owned();
    thread::scope(|scope| {
        let receiving = thread::Builder::new()
            .name("receiver".into())
            .spawn_scoped(scope, || receive(setup, &workload, &listener, &token))
            .map_err(|error| refused(&error))?;
        let sent = send(setup, &workload, live);
        let received = receiving.join().map_err(|_| "the receiving thread ended by a panic")?;
        let (mut calibration, owed) = sent?;
        let end = received.map_err(|error| error.to_string())?;
        calibration.compare(&end.received, owed);
        let pairs = calibration.pairs;
        calibration.receiver_cpu =
            end.cpu.map(|cpu| Cpu::of(cpu.since(&CpuTime::default()), pairs));
        Ok(calibration)
    })
}

fn refused(error: &dyn fmt::Display) -> String {
    format!("the operating system refused to help: {error}")
}

/// An address of 49 bytes in five segments, and data as in the standard workload.
fn workload(setup: &Setup, url: &str) -> Result<Workload, String> {
    let text = format!(
        r#"
seconds = {seconds}
rate_per_s = 1
[traffic]
fulfillment = "{fulfillment}"
data_bytes = [32, 120]
expiry_ms = [5000, 30000]
[[ends]]
name = "sender"
url = "{url}"
token = "calibration"
role = "send"
[[ends]]
name = "receiver"
url = "{url}"
token = "calibration"
role = "receive"
address = "test.m2-load.calibration.the-receiving-end.thread"
[[flows]]
from = "sender"
to = "receiver"
"#,
        seconds = setup.seconds,
        fulfillment = setup.fulfillment.name(),
    );
    let overrides = Overrides { seed: Some(setup.seed), ..Overrides::default() };
    Workload::parse(&text, "calibration", overrides, 0).map_err(|error| error.to_string())
}

fn terms(workload: &Workload) -> Terms {
    Terms {
        run: 0,
        fulfiller: Fulfiller::new(workload.traffic.seed, workload.fulfillment),
        filling: Filling::new(workload.traffic.seed),
        flows: workload.flows.clone(),
        direct: true,
    }
}

fn player(link: Link, workload: &Workload) -> Player {
    let destinations = workload.ends[1].destinations.clone();
    Player::new(link, InFlight::new(0), Receiver::new(destinations, workload.flows.len()))
}

fn receive(
    setup: &Setup,
    workload: &Workload,
    listener: &Listener,
    token: &str,
) -> Result<End, LinkError> {
    let link = listener.accept(token)?;
    let never = Interrupt::never().map_err(LinkError::system)?;
    let players = vec![None, Some(player(link, workload))];
    let drive = Drive { pace: Pace::Answering, spin: setup.spin };
    let engine = Engine::new(workload, terms(workload), players, never, drive);
    let mut engine = engine.map_err(LinkError::system)?;
    let before = CpuTime::of_thread();
    // It ends when the sender closes the link, which is what is waited for.
    let _ = engine.run(&mut Live::new(true));
    let cpu = CpuTime::of_thread().zip(before).map(|(now, before)| now.less(&before));
    let player = engine.players.pop().flatten().expect("it was the last");
    Ok(End { received: player.receiver.received, cpu })
}

/// Gives what the sender saw, and what the receiver must have been given.
fn send(
    setup: &Setup,
    workload: &Workload,
    live: &mut Live,
) -> Result<(Calibration, u128), String> {
    let mut environment = Environment::here();
    let link = Link::connect(&workload.ends[0], setup.seed).map_err(|error| error.to_string())?;
    environment.add_links(std::iter::once((&workload.ends[0].url.endpoint, &link)));
    if setup.spin {
        environment.waiting = "spin";
    }
    let interrupt = Interrupt::watch().map_err(|error| refused(&error))?;
    let players = vec![Some(player(link, workload)), None];
    let drive = Drive { pace: Pace::Closed(setup.window), spin: setup.spin };
    let mut engine = Engine::new(workload, terms(workload), players, interrupt, drive)
        .map_err(|error| refused(&error))?;
    let before = CpuTime::of_thread();
    engine.run(live).map_err(|cut| cut.to_string())?;
    let cpu = CpuTime::of_thread().zip(before).map(|(now, before)| now.since(&before));
    let tally = &engine.tally;
    let mut failures = Vec::new();
    for (count, what) in [
        (engine.unanswered(), "PREPAREs were never answered"),
        (tally.sent - tally.fulfilled - engine.unanswered(), "PREPAREs were not fulfilled"),
        (tally.strays.duplicate + tally.strays.unexpected, "answers belong to no PREPARE"),
        (tally.strays.unreadable, "frames were no BTP"),
    ] {
        if count > 0 {
            failures.push(format!("{} {what}", grouped(count)));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate, for the eye")]
    let pairs_per_s = tally.fulfilled_while_sending as f64 * 1e9 / engine.sending_ns.max(1) as f64;
    let calibration = Calibration {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        transport: setup.transport.name(),
        fulfillment: setup.fulfillment.name(),
        seed: setup.seed,
        window: setup.window.get(),
        sending_ns: engine.sending_ns,
        pairs: tally.fulfilled,
        pairs_per_s,
        service: Percentiles::from(&tally.service),
        sender_cpu: cpu.map(|spent| Cpu::of(spent, tally.fulfilled)),
        receiver_cpu: None,
        failures,
        environment,
    };
    Ok((calibration, tally.flows[0].owed))
}

impl Calibration {
    /// Holds what the receiver counted against what the sender did.
    fn compare(&mut self, received: &Received, owed: u128) {
        if received.fulfilled != self.pairs || received.fulfilled_amounts[0] != owed {
            self.failures.push(format!(
                "the receiver fulfilled {} packets for {}, and the sender was answered for {} and {owed}",
                received.fulfilled, received.fulfilled_amounts[0], self.pairs
            ));
        }
        let faults: u64 = received.faults.iter().sum();
        if faults > 0 {
            self.failures
                .push(format!("the receiver found fault with {} PREPAREs", grouped(faults)));
        }
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for the eye")]
        let rate = grouped(self.pairs_per_s.round() as u64);
        writeln!(
            f,
            "m2-load calibration: {rate} pairs/s over {}, {} fulfillments, {} in flight, for {}",
            self.transport,
            self.fulfillment,
            grouped(self.window.into()),
            duration(self.sending_ns)
        )?;
        writeln!(
            f,
            "closed loop, a sender and its receiver on two threads, no connector between."
        )?;
        for (who, cpu) in [("sender", &self.sender_cpu), ("receiver", &self.receiver_cpu)] {
            let Some(cpu) = cpu else { continue };
            writeln!(
                f,
                "{who:<12} {} of CPU a pair: {} user, {} kernel",
                duration(cpu.total_ns_per_pair),
                duration(cpu.user_ns_per_pair),
                duration(cpu.system_ns_per_pair)
            )?;
        }
        let at = &self.service;
        writeln!(f, "service      p50 {}, p99 {}", duration(at.p50_ns), duration(at.p99_ns))?;
        writeln!(f, "checked      {} pairs, preimage by preimage", grouped(self.pairs))?;
        for failure in &self.failures {
            writeln!(f, "FAILED       {failure}")?;
        }
        Ok(())
    }
}

//! One run from beginning to end: connect, look at the books, send and receive, look again.

mod ask;
mod gather;
mod late;
pub mod receive;
mod settle;

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;

use hdrhistogram::Histogram;

use crate::control::{Control, ControlError};
use crate::cpu::CpuTime;
use crate::engine::{Cut, Drive, Engine, Player};
use crate::environment::Environment;
use crate::inband::Key;
use crate::interrupt::Interrupt;
use crate::link::{Link, LinkError};
use crate::live::Live;
use crate::payload::{Filling, Fulfiller};
use crate::process::Process;
use crate::receiver::{Receiver, Terms};
use crate::report::{Cpu, Report};
use crate::require::Requirements;
use crate::sender::InFlight;
use crate::tally::Tally;
use crate::workload::{Role, Workload};
use ask::{Asker, NoBook};
use late::Late;
use settle::{Told, connected, settle};

/// What a run is told beside its workload.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The switch's control socket, if its books are to be compared.
    pub control_socket: Option<PathBuf>,
    /// The target's process, if its CPU time is to be told.
    pub target_process: Option<Process>,
    /// When packets are sent, and how they are waited for.
    pub drive: Drive,
    /// What the run must reach.
    pub requirements: Requirements,
    /// Which ends are played here.
    pub part: Part,
}

/// The ends of a workload that one process plays.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Part {
    /// All.
    #[default]
    Both,
    /// Those that send.
    Sending,
    /// Those that receive.
    Receiving,
}

impl Part {
    fn plays(self, role: Role) -> bool {
        match self {
            Self::Both => true,
            Self::Sending => role == Role::Send,
            Self::Receiving => role == Role::Receive,
        }
    }
}

/// A run that began and ended.
#[derive(Debug)]
pub struct Ended {
    /// What it found.
    pub report: Report,
    /// Latencies from the scheduled time, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Latencies from the time of sending, in nanoseconds.
    pub service: Histogram<u64>,
}

/// Why a run did not even begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RunError {
    /// A link did not open.
    Link(LinkError),
    /// The control socket gave no answer.
    Control(ControlError),
    /// The target has no account of an end's name: the workload is to be changed.
    Account(String),
    /// The target does not show an end as connected.
    NotConnected(String),
    /// Nobody in another process receives what is to be sent.
    NoReceiver(String),
    /// The operating system refused something every program needs.
    System(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => error.fmt(f),
            Self::Control(error) => error.fmt(f),
            Self::Account(name) => write!(
                f,
                "the target has no account named '{name}'; give the end in the workload the name \
                 that its account has there"
            ),
            Self::NotConnected(name) => write!(
                f,
                "the target took the token of '{name}' and does not show the account as \
                 connected; is another program connected as '{name}'?"
            ),
            Self::NoReceiver(why) => write!(
                f,
                "no receiver is there: {why}; start `m2-load receive` with the same workload and \
                 seed first"
            ),
            Self::System(error) => f.write_str(error),
        }
    }
}

impl From<LinkError> for RunError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl From<ControlError> for RunError {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<std::io::Error> for RunError {
    fn from(error: std::io::Error) -> Self {
        Self::System(format!("the operating system refused to help: {error}"))
    }
}

/// Runs a workload, and compares books if there is a control socket to ask.
///
/// # Errors
///
/// When it could not begin. A run that began gives a report, if only a partial one.
pub fn run(workload: &Workload, options: &Options, live: &mut Live) -> Result<Ended, RunError> {
    // The default slack of 50 us would make every packet that late.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut target = options.control_socket.as_deref().map(Control::connect).transpose()?;
    let mut environment = Environment::here();
    if options.drive.spin {
        environment.waiting = "spin";
    }
    let mut players = connect(workload, options.part)?;
    let endpoints = workload.ends.iter().map(|end| &end.url.endpoint);
    let links = endpoints.zip(&players);
    let links = links.filter_map(|(endpoint, it)| it.as_ref().map(|it| (endpoint, &it.link)));
    environment.add_links(links);
    environment.waiting = if options.drive.spin { "spin" } else { "block" };
    let run = getrandom::u32().map_err(std::io::Error::from)?;
    let before = match &mut target {
        Some(control) => Some(connected(control, workload, options.part)?),
        None => None,
    };
    let mut asker = (options.part == Part::Sending).then(|| Asker::new(workload, run));
    if let Some(asker) = &mut asker {
        asker.hello(&mut players).map_err(RunError::NoReceiver)?;
    }
    let process_before = options.target_process.as_ref().and_then(Process::times);
    let mut engine =
        Engine::new(workload, terms(workload, run), players, Interrupt::watch()?, options.drive)?;
    let own_before = CpuTime::now();
    let result = engine.run(live);
    let own_after = CpuTime::now();
    let process_after = options.target_process.as_ref().and_then(Process::times);

    let mut report = gather::report(workload, &engine, environment);
    report.interrupted = matches!(result, Err(Cut::Interrupted { .. }));
    report.partial = result.err().map(|cut| cut.to_string());
    if let (Some(before), Some(after)) = (own_before, own_after) {
        report.generator_cpu = Some(Cpu::of(after.since(&before), report.answered));
    }
    report.target_process = options.target_process.as_ref().map(|process| {
        process.report(process_before.as_ref(), process_after.as_ref(), report.answered)
    });
    let told = match &mut asker {
        None => Told::Here,
        Some(_) if report.partial.is_some() && report.unanswered > 0 => {
            Told::Nothing(NoBook::Missing("the run ended early".to_owned()))
        }
        Some(asker) => Told::of(asker.books(&mut engine.players)),
    };
    let target = target.as_mut().zip(before.as_ref());
    let findings = settle(&mut report, workload, &engine, &told, target);
    let mut late = asker.map_or_else(Late::default, |asker| asker.late);
    late.drain(&mut engine.players);
    late.add_to(&mut report.strays);
    report.conclude(&findings);
    report.require(&options.requirements);
    let Tally { latency, service, .. } = engine.tally;
    Ok(Ended { report, latency, service })
}

/// What the ends of a run agree on.
fn terms(workload: &Workload, run: u32) -> Terms {
    Terms {
        run,
        fulfiller: Fulfiller::new(workload.traffic.seed, workload.fulfillment),
        filling: Filling::new(workload.traffic.seed),
        flows: workload.flows.clone(),
        direct: false,
    }
}

fn connect(workload: &Workload, part: Part) -> Result<Vec<Option<Player>>, RunError> {
    let mut players = Vec::with_capacity(workload.ends.len());
    for end in &workload.ends {
        if !part.plays(end.role) {
            players.push(None);
            continue;
        }
        let mask_seed = getrandom::u64().map_err(std::io::Error::from)?;
        let link = Link::connect(end, mask_seed)?;
        let first_generation = getrandom::u32().map_err(std::io::Error::from)?;
        let in_flight = InFlight::new(first_generation);
        let (own, flow_count) = (end.destinations.clone(), workload.flows.len());
        let receiver = match part {
            Part::Receiving => {
                Receiver::of_many_runs(own, flow_count, Key::new(workload.traffic.seed))
            }
            Part::Both | Part::Sending => Receiver::new(own, flow_count),
        };
        players.push(Some(Player::new(link, in_flight, receiver)));
    }
    Ok(players)
}

//! What every command that runs a workload is told about it.

use std::path::PathBuf;

use clap::Args;

use crate::workload::{Overrides, Target, Workload, WorkloadError};

/// The workload, and the seed of its draws.
#[derive(Args, Clone, Debug)]
pub(super) struct WorkloadArgs {
    /// The workload: a TOML file, or a name that `m2-load workloads` lists.
    #[arg(long, value_name = "NAME|FILE")]
    workload: PathBuf,
    /// Seed of every draw, instead of the file's `seed`.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where all ends connect, instead of where their urls say; names and tokens stay. `{name}` in a
    /// path is the end's, a port with a plus counts up from end to end.
    #[arg(long, value_name = "URL")]
    target: Option<String>,
}

impl WorkloadArgs {
    /// The same from a command line that names workloads in another way.
    pub(super) fn of(workload: PathBuf, seed: Option<u64>, target: Option<String>) -> Self {
        Self { workload, seed, target }
    }

    /// Reads the workload. Rate and seconds stand for the file's where they are given, the chosen
    /// seed where neither file nor command line names one.
    pub(super) fn load(
        &self,
        rate_per_s: Option<u64>,
        seconds: Option<u64>,
        chosen_seed: u64,
    ) -> Result<Workload, WorkloadError> {
        let overrides = Overrides { seconds, rate_per_s, seed: self.seed };
        let workload = Workload::load(&self.workload, overrides, chosen_seed)?;
        match &self.target {
            None => Ok(workload),
            Some(target) => Target::parse(target)
                .and_then(|target| workload.at_target(&target))
                .map_err(WorkloadError::new),
        }
    }
}

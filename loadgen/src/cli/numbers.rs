//! What every command that measures is told about its figures.

use clap::Args;

use crate::process::Process;
use crate::require::Requirements;
use crate::run::Options;

#[derive(Args, Debug)]
pub(super) struct NumbersArgs {
    /// What the run must reach, as 'p99<500us,loss=0,fulfilled>0.999': exit status 4 if it does
    /// not. May be given several times.
    #[arg(long, value_name = "LIST")]
    require: Vec<String>,
    /// The target's process on this machine: its CPU time is reported, and that of its threads.
    #[arg(long, value_name = "PID")]
    target_pid: Option<u32>,
}

impl NumbersArgs {
    /// Adds them to what a run is told.
    ///
    /// # Errors
    ///
    /// A sentence, before anything was connected.
    pub(super) fn add_to(&self, mut options: Options) -> Result<Options, String> {
        options.requirements = Requirements::parse(&self.require)?;
        options.target_process = self.target_pid.map(Process::find).transpose()?;
        let has_target_cpu = options.control_socket.is_some() || self.target_pid.is_some();
        if options.requirements.need_target_cpu() && !has_target_cpu {
            return Err("--require target_cpu_per_pair: nobody tells the target's CPU time; give \
                        --target-pid or --control-socket"
                .to_owned());
        }
        Ok(options)
    }
}

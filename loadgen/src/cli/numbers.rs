//! What every command that measures is told about its figures.

use clap::Args;

use crate::require::Requirements;
use crate::run::Options;

#[derive(Args, Debug)]
pub(super) struct NumbersArgs {
    /// What the run must reach, as 'p99<500us,loss=0,fulfilled>0.999': exit status 4 if it does
    /// not. May be given several times.
    #[arg(long, value_name = "LIST")]
    require: Vec<String>,
}

impl NumbersArgs {
    /// Adds them to what a run is told.
    ///
    /// # Errors
    ///
    /// A sentence, before anything was connected.
    pub(super) fn add_to(&self, mut options: Options) -> Result<Options, String> {
        options.requirements = Requirements::parse(&self.require)?;
        if options.requirements.need_target_cpu() && options.control_socket.is_none() {
            return Err("--require target_cpu_per_pair: nobody tells the target's CPU time; give \
                        --control-socket"
                .to_owned());
        }
        Ok(options)
    }
}

//! What every command that measures is told about its figures.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::hgrm::{HgrmFiles, service_path};
use crate::interval_log::IntervalLog;
use crate::live::Live;
use crate::process::Process;
use crate::require::Requirements;
use crate::run::{Ended, Options};

#[derive(Args, Debug)]
pub(super) struct NumbersArgs {
    /// What the run must reach, as 'p99<500us,loss=0,fulfilled>0.999': exit status 4 if it does
    /// not. May be given several times.
    #[arg(long, value_name = "LIST")]
    require: Vec<String>,
    /// The target's process on this machine: its CPU time is reported, and that of its threads.
    #[arg(long, value_name = "PID")]
    target_pid: Option<u32>,
    /// Write the latencies as percentiles in HdrHistogram's text form: those from the scheduled
    /// time to FILE, service times beside it (x.hgrm and x.service.hgrm).
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// Write the latencies of each second to HdrHistogram's interval log, tagged `scheduled` and
    /// `service`.
    #[arg(long, value_name = "FILE")]
    interval_log: Option<PathBuf>,
}

/// Files that a run writes beside its report.
pub(super) struct Files {
    hgrm: Option<HgrmFiles>,
}

impl Files {
    /// Writes what is written at the end, and waits for what was written on the way.
    ///
    /// # Errors
    ///
    /// A sentence that names the file which could not be written.
    pub(super) fn finish(self, ended: &Ended, live: &mut Live) -> Result<(), String> {
        if let Some(hgrm) = self.hgrm {
            hgrm.write(&ended.latency, &ended.service)?;
        }
        live.take_log().map_or(Ok(()), IntervalLog::finish)
    }
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

    /// Creates the files.
    ///
    /// # Errors
    ///
    /// A sentence that names one which cannot be created, before anything was connected.
    pub(super) fn files(&self, live: &mut Live) -> Result<Files, String> {
        if let (Some(hgrm), Some(log)) = (&self.hgrm, &self.interval_log)
            && let Some(path) =
                [hgrm.clone(), service_path(hgrm)].into_iter().find(|path| is_same(path, log))
        {
            return Err(format!(
                "--hgrm and --interval-log would both write {}; give them two paths (--hgrm x.hgrm \
                 writes x.service.hgrm too)",
                path.display()
            ));
        }
        if let Some(path) = &self.interval_log {
            live.log_to(IntervalLog::create(path)?);
        }
        Ok(Files { hgrm: self.hgrm.as_deref().map(HgrmFiles::create).transpose()? })
    }
}

/// Whether two paths lead to one file, also to one that is not there yet.
fn is_same(one: &Path, other: &Path) -> bool {
    real(one) == real(other)
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new(".")).canonicalize();
        match (folder, path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.to_owned(),
        }
    })
}

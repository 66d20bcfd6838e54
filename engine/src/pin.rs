//! Which core the thread of a shard runs on, where the configuration says so.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::config::{Config, Problem, Problems};

/// Refuses cores that this process may not use.
///
/// # Errors
///
/// A complaint for each.
pub(crate) fn refuse(config: &Config) -> Result<(), Problems> {
    let Some(cores) = &config.switch.cores else { return Ok(()) };
    let complain = |text| Problem { line: Some(config.switch.cores_line), text };
    let list: Vec<_> = match sched_getaffinity(None) {
        Ok(ours) => {
            let missing = cores.iter().filter(|core| !ours.is_set(**core));
            missing.map(|core| complain(not_ours(*core, &ours))).collect()
        }
        Err(error) => vec![complain(format!("`cores`: the system does not tell ours: {error}"))],
    };
    if list.is_empty() { Ok(()) } else { Err(Problems { file: config.file.clone(), list }) }
}

fn not_ours(core: usize, ours: &CpuSet) -> String {
    let ours: Vec<_> =
        (0..CpuSet::MAX_CPU).filter(|core| ours.is_set(*core)).map(|it| it.to_string()).collect();
    let ours = ours.join(", ");
    format!("core {core} is not this process's to run on: write one of {ours}, or remove `cores`")
}

/// Has the calling thread run on one core alone.
///
/// # Errors
///
/// When the system does not permit it (any more).
pub(crate) fn this_thread(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_where_it_is_told_and_nowhere_else() {
        let ours = sched_getaffinity(None).unwrap();
        let last = (0..CpuSet::MAX_CPU).rfind(|core| ours.is_set(*core)).unwrap();
        std::thread::spawn(move || {
            this_thread(last).unwrap();
            let now = sched_getaffinity(None).unwrap();
            assert!(now.count() == 1 && now.is_set(last));
            assert!(this_thread(CpuSet::MAX_CPU - 1).is_err(), "no machine has so many");
        })
        .join()
        .unwrap();
    }
}

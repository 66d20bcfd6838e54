//! The process of the target, asked for its CPU time: `--target-pid`.
//!
//! The sum comes from the process's own CPU clock, exact to the nanosecond, threads that have ended
//! included. How it divides into user and kernel is told in ticks (see `cpu.rs`). Each thread's part
//! is what the scheduler counted, exact as well, of the threads that were there at the end.

use std::fs;
use std::path::PathBuf;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use crate::cpu::CpuTime;
use crate::limits;
use crate::report::{Cpu, TargetProcess, ThreadCpu};

/// A process that ran when it was looked for.
#[derive(Clone, Debug)]
pub struct Process {
    pid: i32,
    name: String,
    clock: ClockId,
    /// When it began, in ticks after the boot: another process under its id has another one.
    began_ticks: u64,
}

/// What a process had used at one moment.
#[derive(Clone, Debug)]
pub struct Times {
    cpu: CpuTime,
    threads: Vec<Thread>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Thread {
    id: i32,
    name: String,
    on_cpu_ns: u64,
}

impl Process {
    /// Looks for a process.
    ///
    /// # Errors
    ///
    /// A sentence, if there is none with this id.
    pub fn find(pid: u32) -> Result<Self, String> {
        let nobody = || {
            format!(
                "--target-pid {pid}: there is no such process; give the id of the target's, as \
                 `pgrep` says it, on this machine and seen from here"
            )
        };
        let pid = i32::try_from(pid).map_err(|_| nobody())?;
        let stat = read(pid, "stat").ok_or_else(nobody)?;
        let began_ticks = began(&stat).ok_or_else(nobody)?;
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).map_err(|_| nobody())?;
        let name = read(pid, "comm").ok_or_else(nobody)?.trim().to_owned();
        Ok(Self { pid, name, clock, began_ticks })
    }

    /// What it has used so far; `None` once it has ended.
    #[must_use]
    pub fn times(&self) -> Option<Times> {
        let stat = read(self.pid, "stat")?;
        if began(&stat)? != self.began_ticks {
            return None;
        }
        let total = nix::time::clock_gettime(self.clock).ok()?;
        let seconds = u64::try_from(total.tv_sec()).ok()?;
        let microseconds = u64::try_from(total.tv_nsec()).ok()? / 1_000;
        let cpu = CpuTime::of(seconds * 1_000_000 + microseconds, &stat)?;
        Some(Times { cpu, threads: self.threads() })
    }

    /// What it used between two moments, for a report.
    #[must_use]
    pub fn report(
        &self,
        before: Option<&Times>,
        after: Option<&Times>,
        pairs: u64,
    ) -> TargetProcess {
        let both = before.zip(after);
        TargetProcess {
            pid: self.pid,
            name: self.name.clone(),
            cpu: both.map(|(before, after)| Cpu::of(after.cpu.since(&before.cpu), pairs)),
            threads: both.map_or_else(Vec::new, |(before, after)| {
                threads_between(&before.threads, &after.threads, pairs)
            }),
        }
    }

    fn threads(&self) -> Vec<Thread> {
        let Ok(folder) = fs::read_dir(path(self.pid, "task")) else { return Vec::new() };
        let thread = |entry: fs::DirEntry| {
            let text = |name| fs::read_to_string(entry.path().join(name)).ok();
            let on_cpu_ns = text("schedstat")?.split(' ').next()?.parse().ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some(Thread { id, name: text("comm")?.trim().to_owned(), on_cpu_ns })
        };
        folder.take(limits::THREADS_MAX).flatten().filter_map(thread).collect()
    }
}

/// Those that ran meanwhile, the busiest first. One that began meanwhile began at 0.
fn threads_between(before: &[Thread], after: &[Thread], pairs: u64) -> Vec<ThreadCpu> {
    let report = |thread: &Thread| {
        let earlier = before.iter().find(|earlier| earlier.id == thread.id);
        let earlier_ns = earlier.map_or(0, |earlier| earlier.on_cpu_ns);
        let ns = thread.on_cpu_ns.saturating_sub(earlier_ns);
        ThreadCpu {
            id: thread.id,
            name: thread.name.clone(),
            total_us: ns / 1_000,
            total_ns_per_pair: ns / pairs.max(1),
        }
    };
    let mut threads: Vec<_> = after.iter().map(report).filter(|row| row.total_us > 0).collect();
    threads.sort_by_key(|row| std::cmp::Reverse(row.total_us));
    threads.truncate(limits::THREADS_TOLD_MAX);
    threads
}

fn path(pid: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

fn read(pid: i32, file: &str) -> Option<String> {
    let bytes = fs::read(path(pid, file)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// When a process began: the 20th field behind the name, unless it has ended and nobody has asked
/// how (`Z`).
fn began(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_with_its_time_and_its_threads() {
        let process = Process::find(std::process::id()).unwrap();
        let before = process.times().unwrap();
        let used_us = |now: &Times| now.cpu.since(&before.cpu).total_us;
        let mut after = process.times().unwrap();
        // Asking is work enough.
        while used_us(&after) < 5_000 {
            after = process.times().unwrap();
        }
        let report = process.report(Some(&before), Some(&after), 1_000);
        let cpu = report.cpu.unwrap();
        assert!(cpu.total_us >= 5_000 && cpu.total_ns_per_pair >= 5_000, "{report:?}");
        let busiest = &report.threads[0];
        assert!(busiest.total_us > 0 && !busiest.name.is_empty(), "{report:?}");
    }

    #[test]
    fn a_process_that_is_none_or_has_ended_is_not_found() {
        for pid in [0, 4_194_305, u32::MAX] {
            let sentence = Process::find(pid).unwrap_err();
            assert!(sentence.contains(&format!("--target-pid {pid}: there is no")), "{sentence}");
        }
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::find(child.id()).unwrap();
        let before = process.times();
        assert!(before.is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.times().is_none());
        let report = process.report(before.as_ref(), None, 1);
        assert_eq!((report.name.as_str(), report.cpu, report.threads.len()), ("sleep", None, 0));
    }

    #[test]
    fn another_process_under_the_same_id_is_not_the_one_that_was_found() {
        let process = Process::find(std::process::id()).unwrap();
        let other = Process { began_ticks: process.began_ticks + 1, ..process };
        assert!(other.times().is_none());
    }

    #[test]
    fn threads_are_told_busiest_first_with_what_they_used_meanwhile() {
        let thread = |id, on_cpu_ns| Thread { id, name: format!("t{id}"), on_cpu_ns };
        let before = [thread(1, 5_000_000), thread(2, 1_000)];
        let after = [thread(2, 1_500), thread(1, 7_000_000), thread(3, 4_000_000)];
        let told: Vec<_> = threads_between(&before, &after, 1_000)
            .into_iter()
            .map(|row| (row.id, row.total_us, row.total_ns_per_pair))
            .collect();
        assert_eq!(told, [(3, 4_000, 4_000), (1, 2_000, 2_000)]);
    }
}

//! Folded stacks: one line for each stack that was seen, with how often.
//!
//! ```text
//!   m2-switch;Shard::run;Shard::run_batch;take_request 512
//!   thread    outermost frame ...       innermost frame, samples
//! ```
//!
//! A frame of the kernel ends in `_[k]`. Invariant: samples of all lines together are the samples.

use std::collections::HashMap;
use std::str::FromStr as _;

use inferno::collapse::Collapse as _;
use inferno::collapse::perf::{Folder, Options};

use crate::Result;

/// What ends the name of a frame of the kernel.
pub(super) const OF_KERNEL: &str = "_[k]";

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Stacks(Vec<(String, u64)>);

impl Stacks {
    /// Folds what `perf script` wrote.
    ///
    /// # Errors
    ///
    /// When it holds no stack.
    pub(super) fn fold(script: &[u8]) -> Result<Self> {
        let mut options = Options::default();
        options.annotate_kernel = true;
        let mut folded = Vec::new();
        Folder::from(options)
            .collapse(script, &mut folded)
            .map_err(|error| format!("the output of perf script cannot be read: {error}"))?;
        let stacks: Vec<_> = String::from_utf8_lossy(&folded).lines().filter_map(split).collect();
        if stacks.is_empty() {
            return Err("perf saw no stack: did the program run at all?".into());
        }
        Ok(Self(stacks))
    }

    /// How many samples there are.
    pub(super) fn samples(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// One line for each stack, as flamegraphs are drawn from.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(stack, count)| format!("{stack} {count}")).collect()
    }

    /// Samples of each innermost frame, most first.
    pub(super) fn own_time(&self) -> Vec<(&str, u64)> {
        let mut own = HashMap::<_, u64>::new();
        for (stack, count) in &self.0 {
            *own.entry(innermost(stack)).or_default() += count;
        }
        let mut own: Vec<_> = own.into_iter().collect();
        own.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        own
    }

    /// Samples in the kernel.
    pub(super) fn in_kernel(&self) -> u64 {
        let of_kernel = self.0.iter().filter(|(stack, _)| stack.ends_with(OF_KERNEL));
        of_kernel.map(|(_, count)| count).sum()
    }
}

fn split(line: &str) -> Option<(String, u64)> {
    let (stack, count) = line.rsplit_once(' ')?;
    Some((stack.to_owned(), u64::from_str(count).ok()?))
}

fn innermost(stack: &str) -> &str {
    stack.rsplit(';').next().unwrap_or(stack)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Five samples as perf 6.1 writes them: two of them in one function, one of another thread.
    pub(in crate::flamegraph) const SAMPLE: &[u8] = include_bytes!("sample.perf");

    #[test]
    fn each_sample_is_folded_from_its_thread_to_its_innermost_frame() {
        let stacks = Stacks::fold(SAMPLE).unwrap();
        assert_eq!(stacks.samples(), 5);
        let lines = stacks.lines();
        let (first, last) = ("shard-0;start_thread;", ";Shard::run_batch;");
        let of_core = lines.iter().find(|line| line.contains("apply_answers")).unwrap();
        assert!(of_core.starts_with(first) && of_core.ends_with(" 2"), "{of_core}");
        assert!(of_core.replace("m2_engine::shard::run::", "").contains(last), "{of_core}");
        assert!(lines.contains(&"journal;start_thread;__tcp_transmit_skb_[k] 1".to_owned()));
    }

    #[test]
    fn own_time_is_that_of_innermost_frames_over_all_threads() {
        let stacks = Stacks::fold(SAMPLE).unwrap();
        let own = stacks.own_time();
        assert_eq!(own.iter().map(|(_, count)| count).sum::<u64>(), 5);
        assert_eq!(own[0], ("__tcp_transmit_skb_[k]", 2));
        assert!(own[1].0.ends_with("apply_answers") && own[1].1 == 2, "{own:?}");
        assert_eq!(stacks.in_kernel(), 3);
    }

    #[test]
    fn what_holds_no_stack_is_a_sentence() {
        for script in [&b""[..], b"nothing of perf's\n"] {
            assert!(Stacks::fold(script).unwrap_err().contains("no stack"));
        }
    }
}

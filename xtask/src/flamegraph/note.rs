//! The note beside a picture: what was run and where, what the picture shows, what was done about it.

use serde_json::Value;

use super::stacks::{OF_KERNEL, Stacks};

/// Functions that are listed.
const ROWS_MAX: usize = 20;
/// And none with less than this share of the samples, in per mille.
const SHARE_MIN: u64 = 5;

/// What stands above the last section, which is kept when a note is written anew.
const DONE: &str = "## What was done about it";
const NOTHING: &str = "Nothing yet.";

/// What a note says beside the stacks.
pub(super) struct Note<'a> {
    pub(super) scenario: &'a str,
    pub(super) shows: &'a str,
    pub(super) date: &'a str,
    pub(super) commit: &'a str,
    pub(super) machine: &'a Value,
    pub(super) hertz: u32,
    pub(super) done: Option<String>,
}

impl Note<'_> {
    pub(super) fn text(&self, stacks: &Stacks) -> String {
        let Self { scenario, shows, date, commit, machine, hertz, .. } = self;
        let word = |key: &str| machine[key].as_str().unwrap_or("unknown").to_owned();
        let samples = stacks.samples();
        let done = self.done.as_deref().unwrap_or(NOTHING);
        format!(
            "# {scenario}, {date}\n\n\
             - command: `cargo xtask flamegraph {scenario}`\n\
             - machine: {} cores of {}, {}, {}\n\
             - commit: {commit}\n\
             - scenario: {shows}\n\
             - samples: {samples}, at {hertz} for each second of CPU time; {} of them in the kernel\n\n\
             ## What it shows\n\n\
             Self time by function; what is inlined counts where it stands, and functions below {} are \
             left out.\n\n\
             | share | function |\n|---|---|\n{}\n{DONE}\n\n{done}\n",
            machine["cores"],
            word("cpu"),
            word("kernel"),
            word("rustc"),
            share(stacks.in_kernel(), samples),
            share(SHARE_MIN, 1_000),
            rows(stacks),
        )
    }
}

/// What an earlier note says was done about it, if it says so.
pub(super) fn done_of(text: &str) -> Option<String> {
    let (_, done) = text.split_once(DONE)?;
    let done = done.trim();
    (!done.is_empty() && done != NOTHING).then(|| done.to_owned())
}

fn rows(stacks: &Stacks) -> String {
    let samples = stacks.samples();
    let own = stacks.own_time();
    let listed =
        own.iter().take(ROWS_MAX).filter(|(_, count)| count * 1_000 >= samples * SHARE_MIN);
    listed
        .map(|(name, count)| format!("| {} | {} |\n", share(*count, samples), cell(name)))
        .collect()
}

/// A name of a function, with what would end a cell or a code span taken out.
fn cell(name: &str) -> String {
    let (name, suffix) = match name.strip_suffix(OF_KERNEL) {
        Some(name) => (name, ", kernel"),
        None => (name, ""),
    };
    format!("`{}`{suffix}", name.replace(['|', '`'], "/"))
}

/// As `12.3 %`, rounded down.
fn share(count: u64, all: u64) -> String {
    let per_mille = count * 1_000 / all.max(1);
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::stacks::tests::SAMPLE;
    use super::*;

    fn text(done: Option<&str>) -> String {
        let machine =
            json!({ "cpu": "a CPU", "cores": 2, "kernel": "Linux 6", "rustc": "rustc 1" });
        let note = Note {
            scenario: "tcp-64",
            shows: "a switch",
            date: "2026-11-30",
            commit: "0123456789ab",
            machine: &machine,
            hertz: 1_999,
            done: done.map(str::to_owned),
        };
        note.text(&Stacks::fold(SAMPLE).unwrap())
    }

    #[test]
    fn a_note_says_command_machine_commit_and_the_functions_by_their_share() {
        let text = text(None);
        for words in [
            "`cargo xtask flamegraph tcp-64`",
            "2 cores of a CPU, Linux 6, rustc 1",
            "commit: 0123456789ab",
            "samples: 5, at 1999 for each second of CPU time; 60.0 % of them in the kernel",
            "| 40.0 % | `__tcp_transmit_skb`, kernel |\n| 40.0 % | `m2_core::",
            "## What was done about it\n\nNothing yet.\n",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }

    #[test]
    fn what_was_done_is_kept_from_an_earlier_note() {
        assert_eq!(done_of(&text(None)), None);
        let done = "One send for each link.\n\nIt is half of what it was.";
        assert_eq!(done_of(&text(Some(done))).as_deref(), Some(done));
        assert_eq!(done_of("another page"), None);
    }
}

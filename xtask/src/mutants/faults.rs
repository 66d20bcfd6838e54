//! The faults, as `mutants/faults.toml` states them: each one text that stands in one file, and what
//! is put in its place.
//!
//! Invariant: the text stands there exactly once, so nobody can doubt where a fault was planted. A
//! check of the suite holds that, so that the list cannot rot while the source changes.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::Result;
use crate::suite::Check;
use crate::workspace::Workspace;

/// Where the faults stand.
pub(crate) const FILE: &str = "mutants/faults.toml";

/// As few as may stand there.
const COUNT_MIN: usize = 30;

/// Which there must be at least one of.
const KINDS: &[&str] = &[
    "a release skipped",
    "a commit twice",
    "the wrong leg",
    "the generation ignored",
    "the connection ignored",
    "a refund after a late FULFILL",
    "a hold not counted at its limit",
    "rounding up",
    "spread applied twice",
    "expiry off by one",
    "a ring dropping an answer",
    "an answer sent on A's newer connection",
    "the flush left out",
    "a FULFILL sent at write instead of at flush completion",
];

/// One fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// What it is called in tables.
    pub(crate) name: String,
    /// Which of [`KINDS`] it is, if it is one.
    #[serde(default)]
    pub(crate) kind: Option<String>,
    /// What goes wrong by it, in plain words.
    pub(crate) breaks: String,
    /// From the root of the repository.
    pub(crate) file: String,
    /// Stands in the file once.
    pub(crate) find: String,
    /// Stands there instead.
    pub(crate) replace: String,
}

/// What runs to catch a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Area {
    /// `codec/`: its own tests, those of the core, the simulation of networks.
    Codec,
    /// `engine/core/`: its own tests, both simulations.
    Core,
    /// `journal/`: its own tests, the simulation of crashes.
    Journal,
    /// `engine/src/`: the tests of the process.
    Shell,
}

impl Fault {
    /// By the file's folder.
    pub(crate) fn area(&self) -> Area {
        match () {
            () if self.file.starts_with("codec/src/") => Area::Codec,
            () if self.file.starts_with("engine/core/src/") => Area::Core,
            () if self.file.starts_with("journal/src/") => Area::Journal,
            () => Area::Shell,
        }
    }

    /// The file's text with the fault in it.
    ///
    /// # Errors
    ///
    /// When the fault's text does not stand in `text` exactly once.
    pub(crate) fn planted(&self, text: &str) -> Result<String> {
        let Self { name, file, find, replace, .. } = self;
        match text.matches(find.as_str()).count() {
            1 => Ok(text.replacen(find.as_str(), replace, 1)),
            count => Err(format!(
                "{FILE}: the text that {name} replaces stands in {file} {count} times, not once: \
                 write anew what it finds"
            )),
        }
    }
}

/// The faults in their order.
///
/// # Errors
///
/// When the file cannot be read.
pub(crate) fn read(workspace: &Workspace) -> Result<Vec<Fault>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        fault: Vec<Fault>,
    }
    let file: File =
        toml::from_str(&workspace.read(FILE)?).map_err(|error| format!("{FILE}: {error}"))?;
    Ok(file.fault)
}

/// One check for each fault, and those that concern all of them.
///
/// # Errors
///
/// When a file cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Check>> {
    let faults = read(workspace)?;
    let mut checks = judge_list(&faults);
    for fault in &faults {
        checks.push(match fault.planted(&workspace.read(&fault.file)?) {
            Ok(_) => Check::passed(&fault.name),
            Err(sentence) => Check::failed(&fault.name, sentence),
        });
    }
    Ok(checks)
}

fn judge_list(faults: &[Fault]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut judge = |name: &str, holds: bool, sentence: String| {
        checks.push(if holds { Check::passed(name) } else { Check::failed(name, sentence) });
    };
    let count = faults.len();
    judge(
        "count",
        count >= COUNT_MIN,
        format!("{FILE}: {count} faults are fewer than {COUNT_MIN}"),
    );
    for kind in KINDS {
        let planted = faults.iter().any(|fault| fault.kind.as_deref() == Some(kind));
        judge(kind, planted, format!("{FILE}: no fault is of the kind {kind:?}"));
    }
    let mut names = BTreeSet::new();
    for Fault { name, kind, breaks, find, replace, .. } in faults {
        judge(name, names.insert(name), format!("{FILE}: {name} stands there twice"));
        judge(name, !breaks.is_empty(), format!("{FILE}: {name} does not say what it breaks"));
        judge(name, find != replace, format!("{FILE}: {name} changes nothing"));
        let known = kind.as_ref().is_none_or(|kind| KINDS.contains(&kind.as_str()));
        judge(name, known, format!("{FILE}: {name} is of a kind that nobody asked for: {kind:?}"));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(find: &str, replace: &str) -> Fault {
        Fault {
            name: "a-name".into(),
            kind: None,
            breaks: "money".into(),
            file: "engine/core/src/x.rs".into(),
            find: find.into(),
            replace: replace.into(),
        }
    }

    fn wrong(faults: &[Fault]) -> Vec<String> {
        judge_list(faults).into_iter().filter_map(|check| check.fault).collect()
    }

    #[test]
    fn every_fault_fits_the_source_as_it_stands() {
        let checks = check(&Workspace::here()).unwrap();
        let faults: Vec<_> = checks.into_iter().filter_map(|check| check.fault).collect();
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn a_text_that_stands_there_never_or_twice_is_told() {
        assert_eq!(fault("b", "x").planted("abc").unwrap(), "axc");
        assert!(fault("b", "x").planted("bbc").unwrap_err().contains("2 times"));
        assert!(fault("d", "x").planted("abc").unwrap_err().contains("0 times"));
    }

    #[test]
    fn a_list_is_refused_that_is_short_or_has_a_name_twice_or_changes_nothing() {
        let told = wrong(&[fault("a", "b"), fault("a", "a")]);
        for word in ["fewer than", "no fault is of the kind \"rounding up\"", "twice", "nothing"] {
            assert!(told.iter().any(|sentence| sentence.contains(word)), "{word}: {told:?}");
        }
    }

    #[test]
    fn what_runs_is_told_by_the_folder() {
        for (file, area) in [
            ("codec/src/oer.rs", Area::Codec),
            ("engine/core/src/ring.rs", Area::Core),
            ("journal/src/writer/stream.rs", Area::Journal),
            ("engine/src/shard/tx.rs", Area::Shell),
        ] {
            assert_eq!(Fault { file: file.into(), ..fault("a", "b") }.area(), area);
        }
    }
}

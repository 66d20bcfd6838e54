//! What came of a whole run: `mutants/results.json`, and the same for readers as a page.
//!
//! Invariant: the page is made from the data and from nothing else. A test holds that, and that the data
//! speaks of every fault there is.

use core::fmt;
use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::workspace::Workspace;

/// Where the data is kept.
pub(crate) const FILE: &str = "mutants/results.json";
/// Where the page is.
pub(crate) const PAGE: &str = "mutants/results.md";

/// A whole run.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Results {
    pub(crate) commit: String,
    pub(crate) date: String,
    pub(crate) seconds: u64,
    /// How many seeds of each simulation ran over each mutant, until one failed.
    pub(crate) seeds: u64,
    /// How many tests of each test binary passed in the unchanged copy.
    pub(crate) unchanged: BTreeMap<String, usize>,
    pub(crate) mutants: Vec<Row>,
}

/// One fault and what became of it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    pub(crate) file: String,
    pub(crate) breaks: String,
    pub(crate) verdict: Verdict,
    pub(crate) caught: Vec<Caught>,
    /// Tests that failed without an assertion about money or answers, and binaries that never
    /// reported.
    pub(crate) uncounted: usize,
    /// What the simulation of networks says by itself.
    pub(crate) simulated: Simulated,
    /// What the simulation of crashes says by itself.
    pub(crate) crashed: Simulated,
    pub(crate) seconds: u64,
    /// Of which commit it is, if of another than the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
}

/// What a simulation says of a mutant.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Simulated {
    /// An assertion about money or answers failed.
    Caught(Caught),
    /// All seeds passed.
    Passed,
    /// A seed failed, but by nothing that counts.
    FailedOtherwise,
    /// The fault lies where the simulation has none of our code.
    NotRun,
}

impl Simulated {
    fn is_caught(&self) -> bool {
        matches!(self, Self::Caught(_))
    }

    /// As the page has it.
    fn cell(&self) -> String {
        match self {
            Self::Caught(Caught { test, says, .. }) => {
                format!("{test}: {}", says.replace('|', "\\|").replace('`', "'"))
            }
            Self::Passed => "passes".into(),
            Self::FailedOtherwise => "fails otherwise".into(),
            Self::NotRun => "has no such code".into(),
        }
    }
}

/// See [`crate::mutants`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// An assertion about money or answers failed.
    Killed,
    /// Everything passed.
    Survived,
    /// Something failed, but nothing that counts.
    FailedOtherwise,
    /// So it was no mutant at all.
    NotCompiled,
}

/// An assertion that failed.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Caught {
    /// The test binary.
    pub(crate) by: String,
    pub(crate) test: String,
    /// File and line of the assertion.
    pub(crate) at: String,
    /// The first line of what it said.
    pub(crate) says: String,
}

impl Results {
    /// Writes data and page.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub(crate) fn keep(&self, workspace: &Workspace) -> Result<()> {
        let data = serde_json::to_string_pretty(self).expect("strings and numbers") + "\n";
        for (file, text) in [(FILE, data), (PAGE, self.page())] {
            fs::write(workspace.path(file), text).map_err(|error| format!("{file}: {error}"))?;
            println!("kept in {file}");
        }
        Ok(())
    }

    /// Puts these rows among those that are kept of other faults, in the order of all that there are; what is
    /// kept of one that is there no more goes.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or written.
    pub(crate) fn keep_among_others(self, workspace: &Workspace, all: &[String]) -> Result<()> {
        let kept = serde_json::from_str(&workspace.read(FILE)?);
        let mut kept: Self = kept.map_err(|error| format!("{FILE}: {error}"))?;
        kept.put(self, all);
        kept.keep(workspace)
    }

    fn put(&mut self, other: Self, all: &[String]) {
        let place = |row: &Row| all.iter().position(|name| *name == row.name);
        let is_new = |row: &Row| other.mutants.iter().any(|new| new.name == row.name);
        self.mutants.retain(|row| place(row).is_some() && !is_new(row));
        let new = other.mutants.into_iter();
        self.mutants.extend(new.map(|row| Row { commit: Some(other.commit.clone()), ..row }));
        self.mutants.sort_by_key(place);
    }

    /// How many were not killed.
    pub(crate) fn survived(&self) -> usize {
        self.mutants.iter().filter(|row| row.verdict != Verdict::Killed).count()
    }

    /// The figures of the run.
    pub(crate) fn sentence(&self) -> String {
        let planted = self.mutants.len();
        let tests: usize = self.unchanged.values().sum();
        let Self { seeds, seconds, .. } = self;
        let alone = |of: fn(&Row) -> &Simulated| {
            let met = self.mutants.iter().filter(|row| !matches!(of(row), Simulated::NotRun));
            let caught = met.clone().filter(|row| of(row).is_caught());
            format!("{} of {}", caught.count(), met.count())
        };
        let (networks, crashes) = (alone(|row| &row.simulated), alone(|row| &row.crashed));
        format!(
            "{} of {planted} planted mutants killed, {networks} by {seeds} seeds of networks alone and \
             {crashes} by {seeds} seeds of crashes alone; the unchanged copy passed {tests} tests and \
             the seeds; {seconds} s",
            planted - self.survived(),
        )
    }

    /// The run as a page.
    pub(crate) fn page(&self) -> String {
        let mut page = format!(
            "# Which test catches which fault\n\n\
             Made by `cargo xtask mutants` at commit {} on {}; not to be edited. {}.\n\n\
             A mutant is killed if it compiles and an assertion about money or answers fails. \
             [faults.toml](faults.toml) has what was planted, [judges.toml](judges.toml) which \
             assertions count, [results.json](results.json) every test that failed.\n\n\
             | fault | what goes wrong | outcome | tests that catch it | the first of them | \
             networks alone | crashes alone |\n|---|---|---|---|---|---|---|\n",
            self.commit,
            self.date,
            self.sentence()
        );
        for row in &self.mutants {
            page.push_str(&row.line());
        }
        page
    }
}

impl Row {
    fn line(&self) -> String {
        let kind = self.kind.as_ref().map_or_else(String::new, |kind| format!("<br>*{kind}*"));
        let first = self.caught.first().map_or_else(String::new, |caught| {
            format!("`{}` at {}", caught.test.trim_end_matches(" - should panic"), caught.at)
        });
        let Self { name, breaks, verdict, .. } = self;
        let commit = self.commit.as_ref().map_or_else(String::new, |it| format!("<br>at {it}"));
        let (networks, crashes) = (self.simulated.cell(), self.crashed.cell());
        let catchers = self.catchers();
        format!(
            "| {name}{kind}{commit} | {breaks} | {verdict} | {catchers} | {first} | {networks} | \
             {crashes} |\n"
        )
    }

    /// A simulation caught it.
    pub(crate) fn is_simulated(&self) -> bool {
        self.simulated.is_caught() || self.crashed.is_caught()
    }

    /// Each test binary with the number of its tests that caught it.
    fn catchers(&self) -> String {
        let mut counts = BTreeMap::new();
        for caught in &self.caught {
            *counts.entry(caught.by.as_str()).or_insert(0) += 1;
        }
        let counts: Vec<_> = counts.iter().map(|(by, count)| format!("{by}: {count}")).collect();
        counts.join("<br>")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, verdict, seconds, .. } = self;
        write!(f, "{verdict:<16} {name} ({seconds} s) {}", self.catchers().replace("<br>", ", "))?;
        for (what, simulated) in [("networks", &self.simulated), ("crashes", &self.crashed)] {
            match simulated {
                Simulated::NotRun => {}
                told => write!(f, "; {what}: {}", told.cell())?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Killed => "killed",
            Self::Survived => "survived",
            Self::FailedOtherwise => "failed otherwise",
            Self::NotCompiled => "does not compile",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::faults;

    fn row(verdict: Verdict, caught: usize) -> Row {
        let text = |text: &str| text.to_owned();
        let caught = (0..caught).map(|number| Caught {
            by: text("m2-core packets"),
            test: format!("test_{number}"),
            at: text("x.rs:7"),
            says: text("assertion"),
        });
        Row {
            name: text("a-name"),
            kind: Some(text("rounding up")),
            file: text("x.rs"),
            breaks: text("a unit is made"),
            verdict,
            caught: caught.collect(),
            uncounted: 0,
            simulated: Simulated::Passed,
            crashed: Simulated::NotRun,
            seconds: 3,
            commit: None,
        }
    }

    fn results(mutants: Vec<Row>) -> Results {
        Results {
            commit: "abc".into(),
            date: "2026-11-21".into(),
            seconds: 9,
            seeds: 300,
            unchanged: BTreeMap::from([("m2-core packets".into(), 26)]),
            mutants,
        }
    }

    #[test]
    fn only_a_killed_mutant_counts_as_killed() {
        let not = [Verdict::Survived, Verdict::FailedOtherwise, Verdict::NotCompiled];
        let mut rows: Vec<_> = not.into_iter().map(|verdict| row(verdict, 0)).collect();
        rows.push(row(Verdict::Killed, 2));
        let results = results(rows);
        assert_eq!(results.survived(), 3);
        assert!(results.sentence().starts_with("1 of 4 planted mutants killed"));
    }

    #[test]
    fn a_fault_that_was_planted_again_says_at_which_commit() {
        let mut kept = results(vec![row(Verdict::NotCompiled, 0)]);
        let again = Results { commit: "def".into(), ..results(vec![row(Verdict::Killed, 2)]) };
        kept.put(again, &["a-name".into()]);
        assert_eq!((kept.survived(), kept.commit.as_str()), (0, "abc"));
        assert!(kept.page().contains("a-name<br>*rounding up*<br>at def |"));
    }

    #[test]
    fn what_is_kept_follows_the_faults_that_there_are() {
        let named = |name: &str| Row { name: name.into(), ..row(Verdict::Killed, 2) };
        let mut kept = results(vec![named("a"), named("gone"), named("c")]);
        kept.put(results(vec![named("b")]), &["a", "b", "c"].map(Into::into));
        let names: Vec<_> = kept.mutants.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(kept.mutants[0].commit, None);
        assert_eq!(kept.mutants[1].commit.as_deref(), Some("abc"));
    }

    #[test]
    fn a_line_names_who_caught_it_and_where() {
        let line = row(Verdict::Killed, 2).line();
        assert_eq!(
            line,
            "| a-name<br>*rounding up* | a unit is made | killed | m2-core packets: 2 | \
             `test_0` at x.rs:7 | passes | has no such code |\n"
        );
    }

    #[test]
    fn what_is_kept_is_of_the_faults_that_there_are_and_none_survived() {
        let workspace = Workspace::here();
        let results: Results = serde_json::from_str(&workspace.read(FILE).unwrap()).unwrap();
        let kept: Vec<_> = results.mutants.iter().map(|row| row.name.as_str()).collect();
        let faults = faults::read(&workspace).unwrap();
        let planted: Vec<_> = faults.iter().map(|fault| fault.name.as_str()).collect();
        assert_eq!(kept, planted, "run `cargo xtask mutants` anew");
        assert_eq!(results.survived(), 0);
        assert_eq!(workspace.read(PAGE).unwrap(), results.page());
    }
}

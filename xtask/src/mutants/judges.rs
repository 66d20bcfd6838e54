//! Which failures of a test speak of money or answers: only these kill a mutant.
//!
//! A test that fails says at which line it panicked. That counts if `mutants/judges.toml` lists the
//! file and the line is an assertion: one of the macros below, or one of the sentences listed with the
//! file. An `unwrap` of something that is not there, an overflow, a
//! time-out, a test of another file: none of these counts.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::Result;
use crate::suite::Check;
use crate::workspace::Workspace;

/// Where the judges stand.
pub(crate) const FILE: &str = "mutants/judges.toml";

/// What an assertion begins with in the source.
const ASSERTIONS: &[&str] = &["assert!", "assert_eq!", "assert_ne!", "panic!", "unreachable!"];

/// A file whose assertions are about money or answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judge {
    /// From the root of the repository.
    pub(crate) file: String,
    /// What its assertions state.
    pub(crate) about: String,
    /// Where this is not empty, only messages that begin so count, by whatever they were raised.
    #[serde(default)]
    pub(crate) only: Vec<String>,
    /// Messages that count besides assertions: those of an `expect` that states an identity.
    #[serde(default)]
    pub(crate) expects: Vec<String>,
}

/// Something that a failing test printed: where it panicked, and the first line of why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Panic {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) says: String,
}

/// A test that failed, with every panic of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) test: String,
    pub(crate) panics: Vec<Panic>,
}

/// All judges.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judges {
    judge: Vec<Judge>,
}

impl Judges {
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        toml::from_str(&workspace.read(FILE)?).map_err(|error| format!("{FILE}: {error}"))
    }

    /// The panic by which a failing test speaks of money or answers, if it does. `read` gives the
    /// text of a source file.
    pub(crate) fn counted<'a>(
        &self,
        failure: &'a Failure,
        read: impl Fn(&str) -> Option<String>,
    ) -> Option<&'a Panic> {
        failure.panics.iter().find(|panic| {
            let judge = self.judge.iter().find(|judge| judge.file == panic.file);
            judge.is_some_and(|judge| judge.counts(panic, &read))
        })
    }
}

impl Judge {
    fn counts(&self, panic: &Panic, read: &impl Fn(&str) -> Option<String>) -> bool {
        let is_one_of = |all: &[String]| all.iter().any(|one| panic.says.starts_with(one.as_str()));
        if !self.only.is_empty() {
            return is_one_of(&self.only);
        }
        if panic.says.starts_with(NOT_PANICKED) || is_one_of(&self.expects) {
            return true;
        }
        let text = read(&panic.file).unwrap_or_default();
        let line = text.lines().nth(panic.line.saturating_sub(1)).unwrap_or_default();
        // Columns count characters.
        let there: String = line.chars().skip(panic.column.saturating_sub(1)).collect();
        if there.starts_with("proptest!") {
            return panic.says.starts_with("Test failed: assertion");
        }
        ASSERTIONS.iter().any(|assertion| there.starts_with(assertion))
    }
}

const PANICKED_AT: &str = "panicked at ";
/// What the harness says where a test was to panic and did not.
const NOT_PANICKED: &str = "test did not panic as expected";

/// The tests that failed, from what a test binary printed.
pub(crate) fn failures(output: &str) -> Vec<Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    let mut lines = output.lines();
    let mut open = false;
    while let Some(line) = lines.next() {
        let header = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(test) = header {
            failures.push(Failure { test: test.to_owned(), panics: Vec::new() });
            open = true;
        } else if line == "failures:" {
            open = false;
        } else if open && let Some(panic) = panic(line, &mut lines) {
            failures.last_mut().expect("a header opened it").panics.push(panic);
        }
    }
    failures
}

/// The panic that a line tells of; its words are on the next.
fn panic<'a>(line: &str, rest: &mut impl Iterator<Item = &'a str>) -> Option<Panic> {
    if let Some((_, place)) = line.split_once(NOT_PANICKED) {
        let place = place.strip_prefix(" at ")?;
        return place_of(place, NOT_PANICKED);
    }
    let (head, place) = line.split_once(PANICKED_AT)?;
    if !head.starts_with("thread '") {
        return None;
    }
    place_of(place.strip_suffix(':')?, rest.next().unwrap_or_default())
}

/// `file:line:column`.
fn place_of(place: &str, says: &str) -> Option<Panic> {
    let (rest, column) = place.trim_end_matches(':').rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    let (line, column) = (line.parse().ok()?, column.parse().ok()?);
    Some(Panic { file: file.to_owned(), line, column, says: says.to_owned() })
}

/// One check for each judge.
///
/// # Errors
///
/// When a file cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Check>> {
    let judges = Judges::read(workspace)?;
    let mut files = BTreeSet::new();
    let mut checks = Vec::new();
    for Judge { file, about, only, expects } in &judges.judge {
        let text = workspace.read(file)?;
        // A panic's own words stand in the code; those of `assert_eq!` do not.
        let mut words = only.iter().chain(expects).filter(|words| *words != "assertion");
        let fault = match words.find(|words| !text.contains(words.as_str())) {
            _ if !files.insert(file) => Some("stands there twice".to_owned()),
            _ if about.is_empty() => Some("does not say what it is about".to_owned()),
            Some(words) => Some(format!("does not say {words:?} anywhere")),
            None => None,
        };
        checks.push(match fault {
            None => Check::passed(file),
            Some(fault) => Check::failed(file, format!("{FILE}: {file} {fault}")),
        });
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 3 tests
test a ... ok

failures:

---- money stdout ----

thread 'money' (77) panicked at core/tests/x.rs:2:5:
assertion `left == right` failed
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

---- tests::other - should panic stdout ----
note: test did not panic as expected at core/src/y.rs:9:8

failures:
    money
";

    fn judges(only: &[&str], expects: &[&str]) -> Judges {
        let owned = |all: &[&str]| all.iter().map(|words| (*words).to_owned()).collect();
        let (only, expects) = (owned(only), owned(expects));
        let judge = Judge { file: "core/tests/x.rs".into(), about: "money".into(), only, expects };
        Judges { judge: vec![judge] }
    }

    fn at(line: usize, column: usize, says: &str) -> Failure {
        let panic = Panic { file: "core/tests/x.rs".into(), line, column, says: says.into() };
        Failure { test: "t".into(), panics: vec![panic] }
    }

    fn source(_: &str) -> Option<String> {
        Some("    let x = y.unwrap();\n    assert_eq!(x, 1);\nproptest! {\n".into())
    }

    #[test]
    fn every_judge_is_a_file_that_says_what_is_listed() {
        let checks = check(&Workspace::here()).unwrap();
        let faults: Vec<_> = checks.into_iter().filter_map(|check| check.fault).collect();
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn failures_are_read_with_their_places_and_words() {
        let seen = failures(OUTPUT);
        assert_eq!(seen.len(), 2);
        let expected =
            Failure { test: "money".into(), ..at(2, 5, "assertion `left == right` failed") };
        assert_eq!(seen[0], expected);
        assert_eq!(seen[1].panics[0].file, "core/src/y.rs");
    }

    #[test]
    fn an_assertion_of_a_listed_file_counts_and_nothing_else() {
        let counts = |failure: &Failure| judges(&[], &[]).counted(failure, source).is_some();
        assert!(counts(&at(2, 5, "whatever")));
        assert!(!counts(&at(1, 15, "called `Option::unwrap()` on a `None` value")));
        assert!(!counts(&at(99, 1, "beyond the file")));
        assert!(counts(&at(3, 1, "Test failed: assertion failed: `(left == right)`")));
        assert!(!counts(&at(3, 1, "Test failed: attempt to subtract with overflow")));
        let mut elsewhere = at(2, 5, "assertion");
        elsewhere.panics[0].file = "core/tests/z.rs".into();
        assert!(!counts(&elsewhere));
    }

    #[test]
    fn where_only_some_words_count_no_assertion_does_but_these() {
        let judges = judges(&["held is a sum"], &[]);
        assert!(judges.counted(&at(1, 15, "held is a sum: 7"), source).is_some());
        assert!(judges.counted(&at(2, 5, "vectors are bounded"), source).is_none());
    }

    #[test]
    fn an_expect_counts_if_its_words_are_listed() {
        let judges = judges(&[], &["rounds down"]);
        assert!(judges.counted(&at(1, 15, "rounds down"), source).is_some());
        assert!(judges.counted(&at(1, 15, "called `Option::unwrap()`"), source).is_none());
        assert!(judges.counted(&at(2, 5, "assertion failed"), source).is_some());
    }

    #[test]
    fn a_test_that_was_to_panic_and_did_not_counts() {
        let seen = failures(&OUTPUT.replace("core/src/y.rs", "core/tests/x.rs"));
        assert!(judges(&[], &[]).counted(&seen[1], source).is_some());
    }
}

//! What is wrong with a configuration file: every complaint, each with its line and its fix.

use core::fmt;
use core::ops::Range;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// One complaint.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// Where, counted from 1; `None` if it is about the file as a whole.
    pub line: Option<usize>,
    /// What is wrong, and what to write instead.
    pub text: String,
}

/// All complaints about one file, in order of their lines. Never empty.
#[derive(Debug, Eq, PartialEq)]
pub struct Problems {
    /// The file as it was named to us.
    pub file: PathBuf,
    /// At least one.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:", self.file.display())?;
            if let Some(line) = problem.line {
                write!(f, "{line}:")?;
            }
            write!(f, " {}", problem.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects complaints while a file is read: shared by all its tables.
#[derive(Debug)]
pub(super) struct Collector {
    file: PathBuf,
    /// Offset of the first byte of each line.
    line_starts: Vec<usize>,
    list: RefCell<Vec<Problem>>,
}

impl Collector {
    pub(super) fn new(file: &Path, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = core::iter::once(0).chain(breaks.map(|(offset, _)| offset + 1)).collect();
        Self { file: file.to_owned(), line_starts, list: RefCell::default() }
    }

    /// The line that holds the first byte of `span`.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        self.line_starts.partition_point(|start| *start <= span.start).max(1)
    }

    /// A complaint is one line, whatever the value holds that it quotes.
    pub(super) fn add(&self, line: usize, text: String) {
        self.list.borrow_mut().push(Problem { line: Some(line), text: escaped(text) });
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        let mut list = self.list.into_inner();
        list.sort();
        list.dedup();
        match value {
            Some(value) if list.is_empty() => Ok(value),
            _ => {
                assert!(!list.is_empty(), "a value is missing only where a complaint says why");
                Err(Problems { file: self.file, list })
            }
        }
    }
}

/// `text` with what a terminal would obey written as an escape.
pub(crate) fn escaped(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// The candidate nearest to `word`, if it is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let best = candidates.iter().min_by_key(|candidate| distance(word, candidate))?;
    (distance(word, best) <= 1 + word.len() / 3).then_some(*best)
}

/// How many characters must be put in, taken out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_the_edits() {
        assert_eq!(distance("balance_max", "balance_max"), 0);
        assert_eq!(distance("balence_max", "balance_max"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_complaint_is_one_line_whatever_it_quotes() {
        let collector = Collector::new(Path::new("x"), "");
        collector.add(1, "address = \"a\tb\n\u{1b}[2Jc\" is ü".into());
        let problems = collector.finish(None::<()>).unwrap_err();
        assert_eq!(problems.list[0].text, "address = \"a\\tb\\n\\u{1b}[2Jc\" is ü");
    }

    #[test]
    fn a_far_word_has_no_nearest() {
        assert_eq!(nearest("adress", &["address", "network"]), Some("address"));
        assert_eq!(nearest("colour", &["address", "network"]), None);
    }

    #[test]
    fn a_line_holds_its_own_newline() {
        let collector = Collector::new(Path::new("x"), "a\nbc\n\nd");
        let lines: Vec<usize> = (0..7).map(|at| collector.line(&(at..at))).collect();
        assert_eq!(lines, [1, 1, 2, 2, 2, 3, 4]);
    }
}

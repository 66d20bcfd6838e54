//! What is printed, and how a command ends.

use std::io::{self, BufWriter, StdoutLock, Write};

use m2_journal::Error;

/// How a command ended that could do what it was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// Nothing is wrong.
    Fine,
    /// Damage or a difference was found, and told.
    Different,
}

impl Verdict {
    /// [`Self::Fine`] if it is.
    pub(crate) fn fine_if(is_fine: bool) -> Self {
        if is_fine { Self::Fine } else { Self::Different }
    }

    /// The exit status.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Different => 1,
        }
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What is on the disk is not what was written: a sentence.
    Damage(String),
    /// The command line is wrong, or something cannot be read or written: a sentence.
    Unusable(String),
    /// Whoever read the output wants no more of it.
    Closed,
}

impl Failure {
    /// Says it on standard error; the exit status.
    pub(crate) fn tell(&self) -> u8 {
        match self {
            Self::Damage(sentence) => complain(sentence, 1),
            Self::Unusable(sentence) => complain(sentence, 2),
            Self::Closed => 0,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { .. } => Self::Unusable(error.to_string()),
            Error::Damage(_) => Self::Damage(error.to_string()),
        }
    }
}

/// What cannot be written to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Unusable(format!(
                "standard output cannot be written: {error}; what it was to hold is lost"
            )),
        }
    }
}

/// Says a sentence on standard error.
pub(crate) fn complain(sentence: &str, status: u8) -> u8 {
    let _ = writeln!(io::stderr(), "m2ctl: {}", printable(sentence));
    status
}

/// Standard output, in large pieces.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(64 << 10, io::stdout().lock())
}

/// Names may hold anything, also what moves a cursor.
pub(crate) fn printable(text: &str) -> String {
    let printed = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(printed).collect()
}

/// Bytes as hex digits in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let both = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    both.map(|digit| char::from(digits[usize::from(digit)])).collect()
}

/// `1234567` as `1,234,567`: for people.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2,000 records`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count))
}

/// A table for people: columns as wide as what stands in them, numbers to the right.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// By column: it holds numbers.
    right: Vec<bool>,
}

impl Table {
    /// Each head; one that begins with `>` stands over numbers.
    pub(crate) fn new(heads: &[&str]) -> Self {
        let right = heads.iter().map(|head| head.starts_with('>')).collect();
        let words = heads.iter().map(|head| head.trim_start_matches('>').to_owned());
        Self { rows: vec![words.collect()], right }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                line += &if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                line += "  ";
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_bytes_are_hex() {
        let grouped: Vec<_> = [0, 999, 1_000, 1_234_567].map(grouped).into();
        assert_eq!(grouped, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(2_000, "record"), "2,000 records");
        assert_eq!(hex(&[0, 0x9a, 0xff]), "009aff");
    }

    #[test]
    fn a_table_is_as_wide_as_what_stands_in_it() {
        let mut table = Table::new(&["name", ">count", "end"]);
        table.row(vec!["zoë".into(), "7".into(), "x".into()]);
        table.row(vec!["a\u{1b}[2J".into(), "1,000,000".into(), String::new()]);
        let mut text = Vec::new();
        table.print(&mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "name            count  end\n\
             zoë                 7  x\n\
             a\\u{1b}[2J  1,000,000\n"
        );
    }
}

//! One table of the file, read key by key.
//!
//! A key that was asked for is known; one that nobody asked for is a mistake, named with the
//! nearest known key. That way the list of keys stands in one place: the code that reads them.
//! A value of the wrong kind is told and read as absent, so that one look at the file finds every
//! mistake in it, and not only the first.

use core::cell::RefCell;
use core::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Collector, nearest};

/// A value with the line it stands on.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// See the head of the file.
#[derive(Debug)]
pub(super) struct Table<'a, 'i> {
    /// As it is written: `[switch]`, `[[accounts]]`.
    heading: &'static str,
    line: usize,
    entries: Option<&'a DeTable<'i>>,
    asked: RefCell<Vec<&'static str>>,
    problems: &'a Collector,
}

impl<'a, 'i> Table<'a, 'i> {
    /// The file itself.
    pub(super) fn root(entries: &'a DeTable<'i>, problems: &'a Collector) -> Self {
        Self {
            heading: "the file",
            line: 1,
            entries: Some(entries),
            asked: RefCell::default(),
            problems,
        }
    }

    /// A table in this one. One that is absent reads as empty.
    pub(super) fn table(&self, key: &'static str, heading: &'static str) -> Self {
        let found = self.value(key);
        let entries = found.as_ref().and_then(|found| found.value.as_table());
        if let Some(found) = &found
            && entries.is_none()
        {
            self.complain(found.line, format!("`{key}` must be a table: write {heading}"));
        }
        let line = found.map_or(1, |found| found.line);
        Self { heading, line, entries, asked: RefCell::default(), problems: self.problems }
    }

    /// The tables of an array of tables, `[[key]]`.
    pub(super) fn tables(&self, key: &'static str, heading: &'static str) -> Vec<Self> {
        let Some(found) = self.value(key) else { return Vec::new() };
        let Some(array) = found.value.as_array() else {
            self.complain(
                found.line,
                format!("`{key}` must be a list of tables: write {heading} above each"),
            );
            return Vec::new();
        };
        let table = |element: &'a Spanned<DeValue<'i>>| {
            let line = self.problems.line(&element.span());
            let entries = element.get_ref().as_table();
            if entries.is_none() {
                self.complain(line, format!("each of `{key}` must be a table: write {heading}"));
            }
            Self { heading, line, entries, asked: RefCell::default(), problems: self.problems }
        };
        array.iter().map(table).collect()
    }

    /// The line of the heading.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Keeps a complaint about a line of this file.
    pub(super) fn complain(&self, line: usize, text: String) {
        self.problems.add(line, text);
    }

    pub(super) fn text(&self, key: &'static str) -> Option<At<&'a str>> {
        let found = self.value(key)?;
        let text = found.value.as_str();
        if text.is_none() {
            self.wrong_kind(&found, key, "a string in quotes");
        }
        Some(At { line: found.line, value: text? })
    }

    /// A string that must be there; `example` is what the complaint tells to write.
    pub(super) fn text_required(&self, key: &'static str, example: &str) -> Option<At<&'a str>> {
        if !self.has(key) {
            self.complain(self.line, format!("{} needs `{key}`: add {example}", self.heading));
        }
        self.text(key)
    }

    /// One word of a list.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let all = all.join("\", \"");
        self.complain(text.line, format!("{key} = \"{}\" must be one of \"{all}\"", text.value));
        None
    }

    pub(super) fn choice_required<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        self.text_required(key, &format!("{key} = \"{}\"", words[0].0))?;
        self.choice(key, words)
    }

    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        let Some(found) = self.value(key) else { return default };
        found.value.as_bool().unwrap_or_else(|| {
            self.wrong_kind(&found, key, "true or false");
            default
        })
    }

    /// An integer in a range, or the default where it is absent.
    pub(super) fn integer<T>(&self, key: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: Copy + PartialOrd + TryFrom<u64> + core::fmt::Display,
    {
        self.number(key, range).map_or(default, |number| number.value)
    }

    /// An integer of up to 64 bits.
    pub(super) fn amount(&self, key: &'static str) -> Option<At<u64>> {
        self.number(key, 0..=u64::MAX)
    }

    /// An integer in a range, bare or, as TOML's own end at 2^63 - 1, as a string of digits. `None`
    /// where it is absent, or told as wrong.
    pub(super) fn number<T>(&self, key: &'static str, range: RangeInclusive<T>) -> Option<At<T>>
    where
        T: Copy + PartialOrd + TryFrom<u64> + core::fmt::Display,
    {
        let found = self.value(key)?;
        let (least, most) = (range.start(), range.end());
        let wanted = format!("a whole number from {least} to {most}");
        let (written, parsed) = match found.value {
            DeValue::Integer(integer) => {
                let parsed = u64::from_str_radix(integer.as_str(), integer.radix());
                (integer.to_string(), parsed.ok())
            }
            DeValue::String(text) if is_integer(text) => (format!("{text:?}"), text.parse().ok()),
            DeValue::String(text) => {
                let text_ = format!("`{key}` must be {wanted}, not {text:?}");
                self.complain(found.line, text_);
                return None;
            }
            _ => {
                self.wrong_kind(&found, key, &wanted);
                return None;
            }
        };
        let value = parsed.and_then(|value| T::try_from(value).ok());
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            let fix = format!("write a number from {least} to {most}");
            self.complain(found.line, format!("{key} = {written} is out of range: {fix}"));
        }
        Some(At { line: found.line, value: value? })
    }

    /// A list of integers in a range. `None` where it is absent, or told as wrong.
    pub(super) fn numbers<T>(
        &self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<Vec<At<T>>>
    where
        T: Copy + PartialOrd + TryFrom<u64> + core::fmt::Display,
    {
        let found = self.value(key)?;
        let (least, most) = (range.start(), range.end());
        let Some(array) = found.value.as_array() else {
            self.wrong_kind(&found, key, "a list of whole numbers, as in [0, 2]");
            return None;
        };
        let number = |element: &'a Spanned<DeValue<'i>>| {
            let line = self.problems.line(&element.span());
            let integer = element.get_ref().as_integer();
            let parsed = integer.and_then(|it| u64::from_str_radix(it.as_str(), it.radix()).ok());
            let value = parsed.and_then(|value| T::try_from(value).ok());
            let value = value.filter(|value| range.contains(value));
            if value.is_none() {
                let text = format!("each of `{key}` must be a whole number from {least} to {most}");
                self.complain(line, text);
            }
            value.map(|value| At { line, value })
        };
        let all: Vec<_> = array.iter().map(number).collect();
        all.into_iter().collect()
    }

    /// A list of strings; absent reads as none.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<At<&'a str>>> {
        let found = self.value(key)?;
        let Some(array) = found.value.as_array() else {
            self.wrong_kind(&found, key, "a list of strings, as in [\"test.m2m.alice\"]");
            return None;
        };
        let mut texts = Vec::with_capacity(array.len());
        for element in array.iter() {
            let line = self.problems.line(&element.span());
            match element.get_ref().as_str() {
                Some(value) => texts.push(At { line, value }),
                None => self.complain(line, format!("every element of `{key}` must be a string")),
            }
        }
        Some(texts)
    }

    /// Whether the key is there, of whatever kind.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Whether there is anything under the key but an empty list, be it right or wrong.
    pub(super) fn has_any(&self, key: &'static str) -> bool {
        let empty = |value: &DeValue<'_>| value.as_array().is_some_and(|list| list.is_empty());
        self.value(key).is_some_and(|found| !empty(found.value))
    }

    /// The line of a key that is there, else of the table.
    pub(super) fn line_of(&self, key: &'static str) -> usize {
        self.value(key).map_or(self.line, |found| found.line)
    }

    /// Every key that nobody asked for is a mistake.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self.entries.iter().flat_map(|entries| entries.keys()) {
            let name = key.get_ref();
            if asked.iter().any(|known| known == name) {
                continue;
            }
            let fix = nearest(name, &asked).map_or_else(
                || format!("known are {}", asked.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            let text = format!("unknown key `{name}` in {}: {fix}", self.heading);
            self.complain(self.problems.line(&key.span()), text);
        }
    }

    fn value(&self, key: &'static str) -> Option<At<&'a DeValue<'i>>> {
        if !self.asked.borrow().contains(&key) {
            self.asked.borrow_mut().push(key);
        }
        let (name, value) = self.entries?.get_key_value(key)?;
        Some(At { line: self.problems.line(&name.span()), value: value.get_ref() })
    }

    fn wrong_kind(&self, found: &At<&DeValue<'_>>, key: &str, wanted: &str) {
        let given = found.value.type_str();
        let article = if matches!(given, "integer" | "array") { "an" } else { "a" };
        self.complain(found.line, format!("`{key}` must be {wanted}, not {article} {given}"));
    }
}

/// Digits, with a sign at most.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

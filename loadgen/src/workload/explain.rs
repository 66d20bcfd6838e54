//! What the parser found wrong, in the words of somebody who writes a workload: which key, what it
//! takes, and an example. The parser itself speaks of the types that the file is read into.
//!
//! Invariant: no text says what a value was, as it may be a token.

/// What a key takes, and a line that can be copied.
struct Key {
    name: &'static str,
    takes: &'static str,
    example: &'static str,
}

const fn key(name: &'static str, takes: &'static str, example: &'static str) -> Key {
    Key { name, takes, example }
}

const RANGE: &str = "two whole numbers, the least and the most";
const RANGES: &str = "two whole numbers, the least and the most, or tables of share and ms";
const SHARE: &str = "a whole number per mille, from 0 to 1000";
const WHOLE: &str = "a whole number";
const TEXT: &str = "a text in quotes";

/// Every key and table of a workload; a test holds that none is missing.
const KEYS: &[Key] = &[
    key("seed", WHOLE, "seed = 42"),
    key("seconds", "a whole number of seconds", "seconds = 5"),
    key("rate_per_s", "a whole number of PREPAREs a second", "rate_per_s = 20000"),
    key("phases", "any number of tables", "[[phases]] on a line of its own before each"),
    key("to_rate_per_s", "a whole number of PREPAREs a second", "to_rate_per_s = 40000"),
    key("arrivals", "a table", "[arrivals] on a line of its own"),
    key("process", "\"constant\" or \"poisson\"", "process = \"poisson\""),
    key("traffic", "a table", "[traffic] on a line of its own"),
    key("amount", RANGE, "amount = [1, 1000]"),
    key("amount_shape", "\"even\" or \"log\"", "amount_shape = \"log\""),
    key("data_bytes", RANGE, "data_bytes = [32, 300]"),
    key("expiry_ms", RANGES, "expiry_ms = [10000, 30000]"),
    key("silent_expiry_ms", RANGES, "silent_expiry_ms = [2500, 4000]"),
    key("share", SHARE, "share = 900"),
    key("ms", RANGE, "ms = [5000, 9000]"),
    key("destinations", "one table", "[destinations] on a line of its own, once"),
    key("count", WHOLE, "count = 1000"),
    key("zipf", "a number, 0 for no skew", "zipf = 1.0"),
    key("depth", "a whole number of segments", "depth = 5"),
    key("unroutable_address", TEXT, "unroutable_address = \"test.nowhere\""),
    key("fulfillment", "\"stream\" or \"fixed\"", "fulfillment = \"stream\""),
    key("repeat", "a whole number of packets", "repeat = 10000"),
    key("mix", "one table", "[mix] on a line of its own, once"),
    key("fulfilled", SHARE, "fulfilled = 900"),
    key("rejected", SHARE, "rejected = 40"),
    key("expired", SHARE, "expired = 10"),
    key("wrong_fulfillment", SHARE, "wrong_fulfillment = 20"),
    key("unroutable", SHARE, "unroutable = 30"),
    key("ends", "any number of tables", "[[ends]] on a line of its own before each"),
    key("name", TEXT, "name = \"alice\""),
    key("url", TEXT, "url = \"btp+ws://alice@127.0.0.1:7768/accounts/alice/ilp/btp\""),
    key("token", TEXT, "token = \"...\""),
    key("token_file", TEXT, "token_file = \"alice.token\""),
    key("role", "\"send\", \"receive\" or \"both\"", "role = \"send\""),
    key("asset", TEXT, "asset = \"USD/9\""),
    key("address", TEXT, "address = \"test.m2m.bob\""),
    key("flows", "any number of tables", "[[flows]] on a line of its own before each"),
    key("from", "the name of an end or a group", "from = \"alice\""),
    key("to", "the name of an end or a group", "to = \"bob\""),
    key("each_to_each", "true or false", "each_to_each = true"),
    key("num", WHOLE, "num = 499"),
    key("den", WHOLE, "den = 200000"),
    key("weight", WHOLE, "weight = 1"),
];

/// How the parser begins to say that a value does not fit the type it is read into.
const MISFITS: [&str; 6] = [
    "invalid type",
    "invalid value",
    "invalid length",
    "unknown variant",
    "wanted ",
    "data did not match",
];

/// The sentence for `message`, which the parser gave for the place `at` in `text`.
pub(super) fn explain(text: &str, at: usize, message: &str) -> String {
    if let Some(rest) = message.strip_prefix("missing field ") {
        return missing(rest.trim_matches('`'));
    }
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (name, known) = rest.split_once(", expected ").unwrap_or((rest, "others"));
        let known = known.trim_start_matches("one of ");
        return format!("unknown key {name}; the keys of this table are {known}");
    }
    if MISFITS.iter().any(|misfit| message.starts_with(misfit)) {
        return misfit_at(text, at);
    }
    // What is no TOML: the parser knows best what it stumbled over.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "{message}; this line is no TOML: write each key as in `rate_per_s = 20000`, on a line of its \
         own, and each table as in `[traffic]`"
    )
}

/// The sentence for a value at `at` that is not what its key takes.
pub(super) fn misfit_at(text: &str, at: usize) -> String {
    match key_at(text, at).and_then(find) {
        Some(Key { name, takes, example }) => {
            format!("`{name}` takes {takes}; write it like {example}")
        }
        None => {
            "this key takes another kind of value; docs/m2-load-workloads.md shows each".to_owned()
        }
    }
}

fn missing(name: &str) -> String {
    let example = find(name).map_or("", |key| key.example);
    format!("the key `{name}` is missing; add one like {example}")
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The key whose value stands at `at`, or the table whose header does.
fn key_at(text: &str, at: usize) -> Option<&str> {
    let before = text.get(..at)?;
    let line = text[before.rfind('\n').map_or(0, |newline| newline + 1)..].trim_start();
    if let Some(header) = line.strip_prefix('[') {
        return header.trim_start_matches('[').split(']').next().map(str::trim);
    }
    let name = before.rsplit_once('=')?.0.trim_end().trim_end_matches(['"', '\'']);
    name.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the parser calls `key = value` in its table, in the words of this file.
    #[track_caller]
    fn assert_explained(text: &str, words: &[&str]) {
        use crate::workload::{Overrides, Workload};
        let error = Workload::parse(text, "w", Overrides::default(), 1).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word} is not in {error}");
        }
        for raw in ["u64", "u16", "array of", "sequence", "field", "invalid", "variant", "hush"] {
            assert!(!error.contains(raw), "{error}");
        }
    }

    fn with(line: &str) -> String {
        format!("seconds = 1\nrate_per_s = 1\n{line}\n")
    }

    #[test]
    fn a_value_of_another_kind_is_told_by_key_kind_and_example() {
        for (line, words) in [
            ("seed = \"x\"", ["w:3: `seed` takes a whole number", "seed = 42"]),
            ("seed = 99999999999999999999", ["`seed` takes", "seed = 42"]),
            ("traffic = 5", ["`traffic` takes a table", "[traffic]"]),
            ("[traffic]\namount = 5", ["w:4: `amount` takes two whole", "amount = [1, 1000]"]),
            ("[traffic]\namount = [5]", ["w:4: `amount` takes two whole", "amount = [1, 1000]"]),
            ("[traffic]\namount = [5, 6, 7]", ["w:4: `amount` takes two", "amount = [1, 1000]"]),
            ("[traffic]\namount = [5,\n  \"6\"]", ["w:5: `amount` takes", "amount = [1, 1000]"]),
            ("[traffic]\nexpiry_ms = [-5, 5]", ["w:4: `expiry_ms` takes", "[10000, 30000]"]),
            ("[mix]\nfulfilled = 70000", ["w:4: `fulfilled` takes", "from 0 to 1000"]),
            ("mix = { \"expired\" = 1.5 }", ["w:3: `expired` takes", "from 0 to 1000"]),
            ("[[mix]]\nfulfilled = 1", ["w:3: `mix` takes one table", "[mix]"]),
            ("[flows]\nfrom = \"a\"", ["w:3: `flows` takes", "[[flows]]"]),
            ("[[ends]]\nname = \"a\"\nurl = \"u\"\nrole = \"x\"", ["w:6: `role`", "\"receive\""]),
            ("[[ends]]\nname = \"a\"\nurl = \"u\"\nrole = 7", ["w:6: `role`", "\"receive\""]),
            ("[[ends]]\ntoken = [\"hush\"]", ["w:4: `token` takes a text", "token = \"...\""]),
        ] {
            assert_explained(&with(line), &words);
        }
    }

    #[test]
    fn a_key_that_is_missing_or_unknown_is_named_with_what_to_write() {
        assert_explained("seconds = 1", &["`rate_per_s` is missing", "rate_per_s = 20000"]);
        assert_explained(&with("[[flows]]\nto = \"b\""), &["w:3: ", "`from` is missing"]);
        assert_explained(&with("[trafic]"), &["w:3: unknown key `trafic`", "`traffic`"]);
    }

    #[test]
    fn what_is_no_toml_is_told_with_what_to_write() {
        use crate::workload::{Overrides, Workload};
        for line in ["seed 7", "seed = 7 8", "[traffic", "seed = \"x", "= 5", "seed = 1\nseed = 2"]
        {
            let parsed = Workload::parse(&with(line), "w", Overrides::default(), 1);
            let error = parsed.unwrap_err().to_string();
            assert!(
                error.contains("is no TOML: write each key as in `rate_per_s = 20000`"),
                "{error}"
            );
            assert!(error.starts_with("w:") && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn a_place_that_no_key_can_be_found_for_is_still_a_sentence() {
        let comment = with("[traffic]\namount = [ # least = 5\n\"5\", 6]");
        assert_explained(&comment, &["w:5: this key takes another kind"]);
    }

    #[test]
    fn every_key_of_the_page_has_an_example_that_begins_with_it() {
        let page = include_str!("../../../docs/m2-load-workloads.md");
        let workload = page.split("```toml").nth(1).unwrap().split("```").next().unwrap();
        for line in workload.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            let name = match line.split_once('=') {
                Some((name, _)) => name.trim(),
                None => line.trim_matches(['[', ']']),
            };
            assert!(name.is_empty() || find(name).is_some(), "{name}");
        }
        for key in KEYS {
            assert!(key.example.trim_start_matches('[').starts_with(key.name), "{}", key.name);
        }
    }
}

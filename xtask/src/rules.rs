//! Each rule of docs/protocol.md is held by a test, or says why no test of ours can hold it.
//!
//! A rule is a paragraph that begins `**A6.**`. The test that holds it bears its id as the first
//! part of its name, in lower case and with two digits: `a06_bytes_after_the_packet_are_dropped`.
//! One test may hold several: `a16_a17_...`. A rule without a test has a sentence
//! `No test: <reason>` in its paragraph. An id in a test's name that the page does not have is a
//! slip too, if the page has rules of that letter: `f08_...` may well mean the error code.

use std::collections::BTreeMap;

use crate::Result;
use crate::peers;
use crate::source;
use crate::suite::Check;
use crate::workspace::Workspace;

/// The page of the rules.
const PAGE: &str = "docs/protocol.md";

/// What a rule says of itself.
#[derive(Debug, Eq, PartialEq)]
struct Rule {
    id: String,
    line: usize,
    no_test: Option<String>,
}

/// A test whose name begins with ids.
#[derive(Debug, Eq, PartialEq)]
struct Test {
    name: String,
    ids: Vec<String>,
    place: String,
}

/// One check for each rule, one for each test whose id is on no page, and those of the page of peers.
///
/// # Errors
///
/// When the page or a source file cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Check>> {
    let rules = rules(&workspace.read(PAGE)?);
    if rules.is_empty() {
        return Err(format!("{PAGE} has no rule: a paragraph that begins with **A1.**"));
    }
    let mut tests = Vec::new();
    for file in workspace.files("rs")? {
        tests.extend(tests_with_ids(&file, &workspace.read(&file)?));
    }
    let mut checks = judge(&rules, &tests);
    let ids: Vec<_> = rules.iter().map(|rule| rule.id.as_str()).collect();
    checks.extend(peers::check(workspace, &ids)?);
    Ok(checks)
}

fn judge(rules: &[Rule], tests: &[Test]) -> Vec<Check> {
    let mut held_by: BTreeMap<&str, &Test> = BTreeMap::new();
    for test in tests {
        held_by.extend(test.ids.iter().map(|id| (id.as_str(), test)));
    }
    let mut checks: Vec<_> =
        rules.iter().map(|rule| judge_rule(rule, held_by.get(rule.id.as_str()).copied())).collect();
    for (index, rule) in rules.iter().enumerate() {
        if rules[..index].iter().any(|earlier| earlier.id == rule.id) {
            let Rule { id, line, .. } = rule;
            checks.push(Check::failed(id, format!("{PAGE}:{line}: {id} stands there twice")));
        }
    }
    for (id, test) in held_by {
        let has_letter = rules.iter().any(|rule| rule.id[..1] == id[..1]);
        if has_letter && !rules.iter().any(|rule| rule.id == id) {
            let Test { name, place, .. } = test;
            checks.push(Check::failed(name, format!("{place}: {name}: {PAGE} has no rule {id}")));
        }
    }
    checks
}

fn judge_rule(rule: &Rule, test: Option<&Test>) -> Check {
    let Rule { id, line, no_test } = rule;
    let fault = match (test, no_test) {
        (Some(_), None) => return Check::passed(id),
        (None, Some(reason)) if !reason.is_empty() => return Check::passed(id),
        (None, Some(_)) => "has no reason after `No test:`".to_owned(),
        (None, None) => format!(
            "has no test: name one fn {}_..., or write `No test: <reason>` in its paragraph",
            test_prefix(id)
        ),
        (Some(test), Some(_)) => {
            format!("says `No test:`, but {} in {} bears its id", test.name, test.place)
        }
    };
    Check::failed(id, format!("{PAGE}:{line}: {id} {fault}"))
}

/// The rules of the page, in its order.
fn rules(page: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut in_paragraph = false;
    for (index, line) in page.lines().enumerate() {
        if let Some(id) = rule_id(line) {
            rules.push(Rule { id: id.to_owned(), line: index + 1, no_test: None });
            in_paragraph = true;
        } else if line.trim().is_empty() || line.starts_with('#') {
            in_paragraph = false;
        }
        if in_paragraph && let Some(rule) = rules.last_mut() {
            read_reason(rule, line);
        }
    }
    rules
}

fn read_reason(rule: &mut Rule, line: &str) {
    if let Some((_, reason)) = line.split_once("No test:") {
        rule.no_test = Some(reason.trim_matches(|c| "*_` ".contains(c)).to_owned());
    } else if let Some(reason) = &mut rule.no_test {
        // The reason goes on until the paragraph ends.
        reason.push_str(line.trim());
    }
}

/// `A6` of a line that begins `**A6.**`.
fn rule_id(line: &str) -> Option<&str> {
    let (id, _) = line.strip_prefix("**")?.split_once(".**")?;
    let digits = id.strip_prefix(|c: char| c.is_ascii_uppercase())?;
    let is_id = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then_some(id)
}

fn tests_with_ids(file: &str, text: &str) -> Vec<Test> {
    source::tests(text)
        .into_iter()
        .map(|(name, line)| Test {
            name: name.to_owned(),
            ids: ids(name),
            place: format!("{file}:{line}"),
        })
        .filter(|test| !test.ids.is_empty())
        .collect()
}

/// The ids at the front of a test's name, as the page writes them.
fn ids(name: &str) -> Vec<String> {
    name.split('_').map_while(id).collect()
}

/// `A6` of `a06`.
fn id(part: &str) -> Option<String> {
    let (letter, digits) = part.split_at_checked(1)?;
    let letter = letter.bytes().next().filter(u8::is_ascii_lowercase)?;
    let is_id = digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = digits.parse().ok()?;
    is_id.then(|| format!("{}{number}", letter.to_ascii_uppercase() as char))
}

/// `a06` of `A6`.
fn test_prefix(id: &str) -> String {
    let (letter, digits) = id.split_at(1);
    format!("{}{digits:0>2}", letter.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_OF_THREE: &str = "# Rules\n\
        **A1.** One sentence,\nand one more.\n\n\
        **A6.** Bytes after the packet\nare dropped. *No test: a peer's matter,\nas we never send it.*\n\
        **C12.** Every MESSAGE is answered.\n";

    fn judged(page: &str, source: &str) -> Vec<String> {
        let checks = judge(&rules(page), &tests_with_ids("x.rs", source));
        checks.into_iter().filter_map(|check| check.fault).collect()
    }

    #[test]
    fn a_page_whose_rules_all_have_a_test_or_a_reason_passes() {
        let source = "#[test] fn a01_one() {} #[test] fn c12_answered() {}";
        assert_eq!(judged(PAGE_OF_THREE, source), Vec::<String>::new());
        assert_eq!(rules(PAGE_OF_THREE).len(), 3);
    }

    #[test]
    fn a_planted_rule_without_a_test_is_named_with_its_line() {
        let faults = judged(PAGE_OF_THREE, "#[test] fn a01_one() {}");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("docs/protocol.md:8: C12 has no test: name one fn c12_..."));
    }

    #[test]
    fn a_function_that_is_no_test_holds_no_rule() {
        let source = "fn a01_one() {} // #[test] fn a01_two() {}\n#[test] fn c12_answered() {}";
        assert_eq!(judged(PAGE_OF_THREE, source).len(), 1);
    }

    #[test]
    fn a_planted_test_with_an_unknown_id_is_named_with_its_place() {
        let source = "#[test] fn a01_c12_both() {}\n#[test] fn a07_unknown() {}";
        assert_eq!(
            judged(PAGE_OF_THREE, source),
            ["x.rs:2: a07_unknown: docs/protocol.md has no rule A7"]
        );
    }

    #[test]
    fn an_id_of_a_letter_that_the_page_does_not_use_is_none_of_its_rules() {
        let source = "#[test] fn a01_c12_both() {} #[test] fn f08_data() {} #[test] fn r00_() {}";
        assert_eq!(judged(PAGE_OF_THREE, source), Vec::<String>::new());
    }

    #[test]
    fn a_reason_must_say_something_and_be_true() {
        let silent = judged("**A1.** Words. No test: ", "");
        assert_eq!(silent, ["docs/protocol.md:1: A1 has no reason after `No test:`"]);
        let untrue = judged("**A1.** Words. No test: hard.", "#[test] fn a01_held() {}");
        assert!(untrue[0].contains("but a01_held in x.rs:1 bears its id"), "{untrue:?}");
    }

    #[test]
    fn a_reason_ends_with_its_paragraph() {
        let rules = rules("**A1.** Words.\n\nNo test: of something else.\n**A2.** Words.\n");
        assert!(rules.iter().all(|rule| rule.no_test.is_none()));
    }

    #[test]
    fn the_same_id_twice_is_a_slip() {
        let faults = judged("**A1.** One.\n**A1.** Two.\n", "#[test] fn a01_held() {}");
        assert_eq!(faults, ["docs/protocol.md:2: A1 stands there twice"]);
    }

    #[test]
    fn ids_are_read_from_the_front_of_a_name_only() {
        assert_eq!(ids("a16_a17_digits"), ["A16", "A17"]);
        assert_eq!(ids("a06"), ["A6"]);
        assert_eq!(ids("a6_one_digit"), Vec::<String>::new());
        assert_eq!(ids("the_a06_rule"), Vec::<String>::new());
        assert_eq!(ids("abc_def"), Vec::<String>::new());
    }
}

//! docs/peers.md says what the kept conformance reports say, of every check in which they differ, and
//! each row of any of its tables names rules that docs/protocol.md has.
//!
//! The words about bytes are held by a test of the codec, which reads those bytes again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Result;
use crate::suite::Check;
use crate::workspace::Workspace;

const PAGE: &str = "docs/peers.md";
const THEIRS: &str = "docs/conformance/ilp-connector-23.json";
const OURS: &str = "docs/conformance/m2-switch.json";

/// The section whose words are those of the reports.
const BEHAVIOUR: &str = "## What ilp-connector does";

/// Checks in which any two reports differ: one tells the address that each target gives itself, the
/// other counts what the rows before it tell one by one.
const OF_EVERY_TARGET: [&str; 2] = ["route.triggered-by", "errors.f01"];

/// What came in each check of a report.
type Came = BTreeMap<String, String>;

/// One row of a table: its line, from 1, and its cells.
struct Row<'a> {
    line: usize,
    section: &'a str,
    cells: Vec<&'a str>,
}

/// One check for each row, and one for each difference of the reports.
///
/// # Errors
///
/// When the page or a report cannot be read.
pub(crate) fn check(workspace: &Workspace, rules: &[&str]) -> Result<Vec<Check>> {
    let report = |path: &str| came(path, &workspace.read(path)?);
    let page = workspace.read(PAGE)?;
    Ok(judge(&page, rules, &report(THEIRS)?, &report(OURS)?))
}

fn judge(page: &str, rules: &[&str], theirs: &Came, ours: &Came) -> Vec<Check> {
    let rows = rows(page);
    let mut checks: Vec<_> = rows.iter().map(|row| judge_row(row, rules, theirs, ours)).collect();
    let told: Vec<_> =
        rows.iter().filter(|row| row.section == BEHAVIOUR).flat_map(vectors).collect();
    for (id, theirs) in theirs {
        let differs = ours.get(id) != Some(theirs) && !OF_EVERY_TARGET.contains(&id.as_str());
        if differs && !told.contains(&id.as_str()) {
            let fault = format!("{PAGE}: no row tells that the reports differ in {id}");
            checks.push(Check::failed(id, fault));
        }
    }
    checks
}

fn judge_row(row: &Row<'_>, rules: &[&str], theirs: &Came, ours: &Came) -> Check {
    let name = format!("{PAGE}:{}", row.line);
    let fault = unknown_rule(row, rules).or_else(|| match row.section {
        BEHAVIOUR => untrue_word(row, theirs, ours),
        _ => None,
    });
    match fault {
        None => Check::passed(&name),
        Some(fault) => Check::failed(&name, format!("{name}: {fault}")),
    }
}

/// The rule column is the last, or the one before the vectors.
fn unknown_rule(row: &Row<'_>, rules: &[&str]) -> Option<String> {
    let is_vectors = row.cells.last().is_some_and(|cell| cell.starts_with('`'));
    let cell = row.cells.iter().rev().nth(usize::from(is_vectors)).copied().unwrap_or_default();
    let unknown = cell.split(',').map(str::trim).find(|id| !rules.contains(id))?;
    Some(format!("docs/protocol.md has no rule '{unknown}'"))
}

fn untrue_word(row: &Row<'_>, theirs: &Came, ours: &Came) -> Option<String> {
    let [_, their_words, our_words, _, _] = row.cells[..] else {
        return Some("the row has not five cells".into());
    };
    let ids: Vec<_> = vectors(row).collect();
    if ids.is_empty() {
        return Some("the row names no check".into());
    }
    for id in ids {
        for (report, path, words) in [(theirs, THEIRS, their_words), (ours, OURS, our_words)] {
            match report.get(id) {
                None => return Some(format!("{path} has no check {id}")),
                Some(came) if came != words => {
                    return Some(format!("{path} says of {id} '{came}', the row says '{words}'"));
                }
                Some(_) => {}
            }
        }
    }
    None
}

/// What stands in code quotes in the last cell.
fn vectors<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let cell = row.cells.last().copied().unwrap_or_default();
    cell.split('`').skip(1).step_by(2)
}

/// The rows of all tables, without their heads.
fn rows(page: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    let mut section = "";
    let mut in_body = false;
    for (index, text) in page.lines().enumerate() {
        if text.starts_with("## ") {
            section = text;
        }
        if !text.starts_with('|') {
            in_body = false;
        } else if text.starts_with("|---") {
            in_body = true;
        } else if in_body {
            let cells = text.trim_matches('|').split('|').map(str::trim).collect();
            rows.push(Row { line: index + 1, section, cells });
        }
    }
    rows
}

fn came(path: &str, text: &str) -> Result<Came> {
    let report: Value = serde_json::from_str(text).map_err(|error| format!("{path}: {error}"))?;
    let checks = report["checks"].as_array().ok_or_else(|| format!("{path} has no checks"))?;
    let word = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    Ok(checks.iter().map(|check| (word(check, "id"), word(check, "came"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_OF_TWO: &str = "## Bytes\n\n| bytes | JS | rule | vectors |\n|---|---|---|---|\n\
        | a length | refuses | A2 | `x-1` |\n\n\
        ## What ilp-connector does\n\n| sent | JS | we | rule | vectors |\n|---|---|---|---|---|\n\
        | a ping | none | a pong | C15, C16 | `ws.ping` |\n";

    fn reports(theirs: &[(&str, &str)], ours: &[(&str, &str)]) -> (Came, Came) {
        let map = |rows: &[(&str, &str)]| {
            rows.iter().map(|(id, came)| ((*id).to_owned(), (*came).to_owned())).collect()
        };
        (map(theirs), map(ours))
    }

    fn faults(page: &str, rules: &[&str], (theirs, ours): &(Came, Came)) -> Vec<String> {
        judge(page, rules, theirs, ours).into_iter().filter_map(|check| check.fault).collect()
    }

    const RULES: &[&str] = &["A2", "C15", "C16"];

    #[test]
    fn a_page_that_says_what_the_reports_say_passes() {
        let reports = reports(
            &[("ws.ping", "none"), ("a.b", "1"), ("errors.f01", "15")],
            &[("ws.ping", "a pong"), ("a.b", "1"), ("errors.f01", "18")],
        );
        assert_eq!(faults(PAGE_OF_TWO, RULES, &reports), Vec::<String>::new());
    }

    #[test]
    fn a_planted_word_that_is_not_the_reports_is_named_with_its_line() {
        let reports = reports(&[("ws.ping", "a close")], &[("ws.ping", "a pong")]);
        let found = faults(PAGE_OF_TWO, RULES, &reports);
        let wanted =
            format!("docs/peers.md:11: {THEIRS} says of ws.ping 'a close', the row says 'none'");
        assert_eq!(found, [wanted]);
    }

    #[test]
    fn a_check_that_is_in_no_report_or_a_rule_on_no_page_is_a_fault() {
        let none = faults(PAGE_OF_TWO, RULES, &reports(&[], &[]));
        assert_eq!(none, [format!("docs/peers.md:11: {THEIRS} has no check ws.ping")]);
        let both = reports(&[("ws.ping", "none")], &[("ws.ping", "a pong")]);
        let found = faults(PAGE_OF_TWO, &["C15", "C16"], &both);
        assert_eq!(found, ["docs/peers.md:5: docs/protocol.md has no rule 'A2'"]);
    }

    #[test]
    fn a_difference_that_no_row_tells_is_a_fault() {
        let reports =
            reports(&[("ws.ping", "none"), ("a.b", "1")], &[("ws.ping", "a pong"), ("a.b", "2")]);
        let found = faults(PAGE_OF_TWO, RULES, &reports);
        assert_eq!(found, ["docs/peers.md: no row tells that the reports differ in a.b"]);
    }
}

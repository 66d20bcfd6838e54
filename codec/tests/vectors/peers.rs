//! The first table of docs/peers.md: what it says of peers is their verdict on the bytes, what it says
//! of us is ours.

use std::collections::BTreeSet;

use super::{Case, Difference, Kind, Verdict, btp, difference, ildcp, ilp};

const PAGE: &str = include_str!("../../../docs/peers.md");

/// Peers as the page calls them, and how their names begin in the files.
const JS: &[&str] = &["ilp-packet@", "btp-packet@", "ilp-protocol-ildcp@", "oer-utils@"];
const RS: &[&str] = &["interledger-rs@"];

struct Row<'a> {
    bytes: &'a str,
    js: &'a str,
    rs: &'a str,
    we: &'a str,
    rule: &'a str,
    vectors: Vec<&'a str>,
}

fn rows() -> Vec<Row<'static>> {
    let (_, table) = PAGE.split_once("\n## Bytes\n").expect("the page has the section");
    let table = table.split("\n## ").next().expect("a section ends somewhere");
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim);
    let lines = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    lines
        .map(|line| {
            let cells: Vec<_> = cells(line).collect();
            let [bytes, js, rs, we, rule, vectors] = cells[..] else { panic!("{line}") };
            let vectors = vectors.split('`').filter(|vector| !vector.trim().is_empty()).collect();
            Row { bytes, js, rs, we, rule, vectors }
        })
        .collect()
}

#[test]
fn the_page_says_of_each_vector_what_peers_and_we_say() {
    let rows = rows();
    let (ilp, btp, ildcp) = (ilp::cases(), btp::cases(), ildcp::cases());
    for row in &rows {
        assert!(!row.vectors.is_empty(), "{}: no vector", row.bytes);
        for id in &row.vectors {
            let find = |cases: &[Case]| cases.iter().position(|case| case.id == *id);
            let judged = [
                find(&ilp).map(|index| (&ilp[index], ilp::verdict(&ilp[index]))),
                find(&btp).map(|index| (&btp[index], btp::verdict(&btp[index]))),
                find(&ildcp).map(|index| (&ildcp[index], ildcp::verdict(&ildcp[index]))),
            ];
            let found = judged.into_iter().flatten().next();
            let (case, ours) = found.unwrap_or_else(|| panic!("{}: no vector {id}", row.bytes));
            let said = [word_of(case, JS, &ours), word_of(case, RS, &ours), our_word(&ours)];
            assert_eq!(said, [row.js, row.rs, row.we], "{}: {id} {}", row.bytes, case.note);
        }
    }
}

fn our_word(ours: &Verdict) -> &'static str {
    if ours.is_ok() { "accepts" } else { "refuses" }
}

fn word_of(case: &Case, peer: &[&str], ours: &Verdict) -> &'static str {
    let verdict = case.verdicts.iter().find(|(name, _)| peer.iter().any(|it| name.starts_with(it)));
    match verdict {
        // What is valid was written and read back by JS.
        None if peer == JS && case.kind == Kind::Valid => "accepts",
        None => "-",
        Some((_, theirs)) if theirs.get("ok").is_none_or(|ok| ok != true) => "refuses",
        Some((_, theirs)) => match difference(ours, "", theirs).as_deref() {
            Some("read otherwise") => "misreads",
            _ => "accepts",
        },
    }
}

#[test]
fn every_rule_that_makes_us_differ_from_a_peer_has_a_row() {
    let all = [ilp::DIFFERENCES, btp::DIFFERENCES, ildcp::DIFFERENCES];
    let rules: BTreeSet<_> =
        all.into_iter().flatten().map(|Difference { rule, .. }| *rule).collect();
    let rows = rows();
    for rule in rules {
        let is_there =
            rows.iter().any(|row| row.rule == rule && (row.we != row.js || row.we != row.rs));
        assert!(is_there, "docs/peers.md has no row where {rule} makes us differ");
    }
}

//! Which crate may import which, and where `unsafe` may stand.
//!
//! ```text
//!   m2-engine ----> m2-accel
//!   m2-engine ----> m2-core ----> m2-codec        m2-load ----> m2-codec
//!       '---------------------------^             m2-bench ---> m2-core, m2-codec, m2-journal, m2-load,
//!   m2-engine ----> m2-published                                m2-published, m2-accel, m2-settle,
//!                                                               m2-settlement
//!   m2-published -> m2-core
//!   m2-journal ---> m2-core                       m2-sim ----> m2-core, m2-codec, m2-journal
//!   m2ctl --------> m2-journal, m2-core, m2-codec m2-fuzz ----> m2-engine, m2-core, m2-codec,
//!                                                             m2-settlement
//!   m2-settle ----> m2-settlement -> none         m2-accel ---> none
//! ```
//!
//! The table below is complete: a crate or an edge that it does not name is a fault. Dependencies
//! of tests and build scripts count as well.

use serde_json::Value;

use crate::Result;
use crate::command::{self, Show};
use crate::source::{self, Token};
use crate::suite::Check;
use crate::workspace::Workspace;

/// Each crate of the workspace and the crates of ours that it may import.
///
/// The generator does not import the switch, so that its books are a second opinion; the benches
/// measure what can be called without a process around it.
const EDGES: &[(&str, &[&str])] = &[
    ("m2-accel", &[]),
    ("m2-codec", &[]),
    ("m2-core", &["m2-codec", "m2-accel"]),
    ("m2-journal", &["m2-core"]),
    ("m2-published", &["m2-core"]),
    ("m2-engine", &["m2-accel", "m2-codec", "m2-core", "m2-journal", "m2-published"]),
    ("m2ctl", &["m2-codec", "m2-core", "m2-journal"]),
    ("m2-load", &["m2-codec"]),
    (
        "m2-bench",
        &[
            "m2-accel",
            "m2-codec",
            "m2-core",
            "m2-journal",
            "m2-load",
            "m2-published",
            "m2-settle",
            "m2-settlement",
        ],
    ),
    ("m2-fuzz", &["m2-codec", "m2-core", "m2-engine", "m2-settlement"]),
    ("m2-sim", &["m2-codec", "m2-core", "m2-journal"]),
    ("m2-settlement", &[]),
    ("m2-settle", &["m2-settlement"]),
    ("xtask", &[]),
];

/// Folders and files where `unsafe` may stand.
const UNSAFE_PLACES: &[&str] =
    &["engine/accel/src/", "engine/src/io/uring.rs", "engine/src/journal/uring.rs"];

/// One check for each crate, and one for each source file.
///
/// # Errors
///
/// When cargo or a source file cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<Check>> {
    let arguments = ["metadata", "--no-deps", "--format-version", "1"];
    let output = command::run(&mut command::cargo(workspace, &arguments), Show::Nothing)?;
    if !output.success {
        return Err("cargo metadata failed".into());
    }
    let metadata = serde_json::from_str(&output.lines.concat())
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let mut checks = judge_edges(&metadata, EDGES)?;
    for file in workspace.files("rs")? {
        checks.push(judge_unsafe(&file, &workspace.read(&file)?, UNSAFE_PLACES));
    }
    Ok(checks)
}

fn judge_edges(metadata: &Value, edges: &[(&str, &[&str])]) -> Result<Vec<Check>> {
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let names: Vec<_> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    Ok(packages.iter().map(|package| judge_package(package, &names, edges)).collect())
}

fn judge_package(package: &Value, ours: &[&str], edges: &[(&str, &[&str])]) -> Check {
    let name = package["name"].as_str().unwrap_or("a package without a name");
    let title = format!("imports of {name}");
    let Some((_, allowed)) = edges.iter().find(|(named, _)| *named == name) else {
        return Check::failed(&title, format!("{name} is not in the table of xtask/src/edges.rs"));
    };
    let imports = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
    let surplus: Vec<_> = imports
        .iter()
        .filter_map(|import| import["name"].as_str())
        .filter(|import| ours.contains(import) && !allowed.contains(import))
        .collect();
    if surplus.is_empty() {
        return Check::passed(&title);
    }
    Check::failed(&title, format!("{name} imports {}, which it may not", surplus.join(", ")))
}

fn judge_unsafe(file: &str, text: &str, places: &[&str]) -> Check {
    let title = format!("unsafe in {file}");
    let is_allowed = places.iter().any(|place| file.starts_with(place));
    let found = source::tokens(text).into_iter().find(|p| p.token == Token::Word("unsafe"));
    match found {
        Some(placed) if !is_allowed => Check::failed(
            &title,
            format!("{file}:{}: `unsafe` outside the places named for it", placed.line),
        ),
        _ => Check::passed(&title),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TABLE: &[(&str, &[&str])] = &[("core", &["codec"]), ("codec", &[])];

    fn faults(packages: &Value) -> Vec<String> {
        let checks = judge_edges(&json!({ "packages": packages }), TABLE).unwrap();
        checks.into_iter().filter_map(|check| check.fault).collect()
    }

    #[test]
    fn edges_of_the_table_and_crates_of_others_pass() {
        let packages = json!([
            { "name": "core", "dependencies": [{ "name": "codec" }, { "name": "serde" }] },
            { "name": "codec", "dependencies": [] },
        ]);
        assert_eq!(faults(&packages), Vec::<String>::new());
    }

    #[test]
    fn a_planted_edge_is_named_whatever_its_kind() {
        for kind in [Value::Null, json!("dev"), json!("build")] {
            let packages = json!([
                { "name": "core", "dependencies": [] },
                { "name": "codec", "dependencies": [{ "name": "core", "kind": kind }] },
            ]);
            assert_eq!(faults(&packages), ["codec imports core, which it may not"]);
        }
    }

    #[test]
    fn a_crate_that_the_table_does_not_name_is_a_fault() {
        let packages = json!([{ "name": "gateway", "dependencies": [] }]);
        assert_eq!(faults(&packages), ["gateway is not in the table of xtask/src/edges.rs"]);
    }

    #[test]
    fn planted_unsafe_is_found_with_its_line() {
        let text = "fn f() {\n    // a block\n    unsafe { g() }\n}\n";
        let fault = judge_unsafe("codec/src/oer.rs", text, &[]).fault;
        let sentence = "codec/src/oer.rs:3: `unsafe` outside the places named for it";
        assert_eq!(fault.as_deref(), Some(sentence));
    }

    #[test]
    fn unsafe_in_a_comment_a_string_or_a_named_place_is_none() {
        let quiet = "// unsafe\n#![forbid(unsafe_code)]\nconst X: &str = \"unsafe\";";
        assert_eq!(judge_unsafe("codec/src/oer.rs", quiet, &[]).fault, None);
        let block = "unsafe { g() }";
        assert_eq!(judge_unsafe("engine/accel/src/x.rs", block, &["engine/accel/"]).fault, None);
        assert!(judge_unsafe("engine/src/x.rs", block, &["engine/accel/"]).fault.is_some());
    }
}

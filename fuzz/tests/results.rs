//! What is kept of the runs with libFuzzer: one file for each target, of ten million inputs or more.

use std::collections::BTreeSet;
use std::path::Path;

use m2_fuzz::TARGETS;
use serde_json::Value;

/// Inputs that each target was tried on, at least.
const EXECUTIONS_MIN: u64 = 10_000_000;

fn stems(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).expect("the folder is there");
    files
        .map(|file| {
            let path = file.expect("it can be read").path();
            path.file_stem().expect("a name").to_string_lossy().into_owned()
        })
        .collect()
}

fn names() -> BTreeSet<String> {
    TARGETS.iter().map(|target| target.name.to_owned()).collect()
}

#[test]
fn every_target_has_a_harness_and_every_harness_a_target() {
    assert_eq!(stems("libfuzzer/src/bin"), names());
}

#[test]
fn every_harness_runs_the_target_that_it_is_named_after() {
    for name in names() {
        let path = format!("{}/libfuzzer/src/bin/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the harness is there");
        assert!(text.contains(&format!("::{name}(data));")), "{name}: {text}");
    }
}

#[test]
fn every_target_was_tried_on_ten_million_inputs() {
    assert_eq!(stems("results"), names());
    for name in names() {
        let path = format!("{}/results/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("the result is there");
        let kept: Value = serde_json::from_str(&text).expect("a result is JSON");
        assert_eq!(kept["target"], name.as_str());
        assert_eq!(kept["findings"], 0, "{name}: what is found is repaired before it is kept");
        assert!(kept["seed"].is_u64() && kept["seconds"].is_u64(), "{name}");
        let commit = kept["commit"].as_str().expect("a commit");
        assert!(!commit.ends_with("-dirty"), "{name}: what was run is in no commit");
        let result = &kept["result"];
        assert!(result["executions"].as_u64() >= Some(EXECUTIONS_MIN), "{name}: {result}");
        assert!(result["edges"].as_u64() > Some(0) && result["features"].as_u64() > Some(0));
    }
}

//! Configuration files.

use std::path::Path;
use std::sync::Arc;

use m2_core::ledger::Words;
use m2_core::{AccountId, Now};
use m2_engine::config::{self, Config};

/// A folder that is not there, so that no file that a configuration names is read.
const FILE: &str = "/nonexistent/m2/switch.toml";

const START: Now = Now { utc_ms: 1_795_186_800_000, mono_ns: 77_000_000_000 };

/// Any text is a configuration or a list of complaints, each one line about a line of the file; what
/// is right makes shards with each of its accounts, none of which owes anything.
pub fn configuration(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let file = Path::new(FILE);
    match config::parse(file, text) {
        Ok(config) => right(config),
        Err(problems) => {
            assert!(!problems.list.is_empty(), "no complaint");
            for problem in &problems.list {
                let line = problem.line.expect("a complaint about a text has a line");
                assert!((1..=text.split('\n').count()).contains(&line), "line {line}");
                assert!(!problem.text.is_empty(), "an empty complaint");
                let plain = !problem.text.chars().any(char::is_control);
                assert!(plain, "a complaint is one line: {:?}", problem.text);
            }
        }
    }
}

fn right(mut config: Config) {
    let names: Vec<_> = config.accounts.iter().map(|account| account.name.clone()).collect();
    assert!(!names.is_empty(), "a switch without accounts");
    // Slots take memory, and as many as are configured say nothing more.
    config.switch.in_flight_slots = 64;
    config.routes.file = None;
    let routes = m2_engine::routes::load(&config).expect("there is no route file to be wrong");
    let switches = m2_engine::assemble::switches(&config, &Arc::new(routes), START);
    assert_eq!(switches.len(), usize::from(config.switch.shards));
    for (number, account) in (0..).zip(&config.accounts) {
        let id = AccountId(number);
        let switch = &switches[usize::from(config.shard_of(id).0)];
        assert_eq!(switch.account_count() as usize, names.len());
        let view = switch.account_view(id);
        assert!(!view.connected && view.words == Words::default(), "{} owes", account.name);
        assert!(names.iter().filter(|name| **name == account.name).count() == 1, "a name twice");
    }
}

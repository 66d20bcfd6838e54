//! `m2-load conformance`: every check that can be seen from outside.

use std::io::Write as _;

use super::{FAILED, NO_CONNECTION, UNUSABLE, complain};
use crate::conformance::{self, ConformanceArgs, Plan};

pub(super) fn command(args: &ConformanceArgs) -> u8 {
    let plan = match Plan::new(args) {
        Ok(plan) => plan,
        Err(sentence) => return complain(&sentence, UNUSABLE),
    };
    let report = match conformance::play(&plan) {
        Ok(report) => report,
        Err(sentence) => return complain(&sentence, NO_CONNECTION),
    };
    let json = report.to_json() + "\n";
    if let Some(path) = &args.json_file
        && let Err(error) = std::fs::write(path, &json)
    {
        return complain(&format!("{}: {error}", path.display()), UNUSABLE);
    }
    let text = if args.json { json } else { report.to_string() };
    let _ = std::io::stdout().write_all(text.as_bytes());
    match (report.partial(), report.failed()) {
        (Some(reason), _) => complain(reason, NO_CONNECTION),
        (None, 0) => 0,
        (None, _) => FAILED,
    }
}

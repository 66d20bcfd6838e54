//! `m2-load conformance`: every check that can be seen from outside.

use super::{FAILED, NO_CONNECTION, UNUSABLE, complain, or_unusable, say};
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
    let written = args.json_file.as_ref().map_or(Ok(()), |path| {
        std::fs::write(path, &json).map_err(|error| format!("{}: {error}", path.display()))
    });
    say(&if args.json { json } else { report.to_string() });
    let status = match (report.partial(), report.failed()) {
        (Some(reason), _) => complain(reason, NO_CONNECTION),
        (None, 0) => 0,
        (None, _) => FAILED,
    };
    match written {
        Ok(()) => status,
        Err(sentence) => complain(&sentence, or_unusable(status)),
    }
}

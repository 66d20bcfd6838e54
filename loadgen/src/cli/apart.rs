//! What two processes that play one workload must agree on before they begin.

use crate::run::Part;
use crate::workload::{End, Role, Workload};

/// A sentence if this part of the workload cannot be played in a process of its own.
pub(super) fn check(workload: &Workload, part: Part) -> Result<(), String> {
    if part == Part::Both {
        return Ok(());
    }
    if !workload.has_seed {
        return Err(
            "the seed is not named, and `send` and `receive` must have the same: write seed \
                    = N into the workload, or give --seed N to both"
                .to_owned(),
        );
    }
    match workload.ends.iter().find(|end| end.role == Role::Both) {
        Some(End { name, .. }) => Err(format!(
            "end '{name}' has the role \"both\", and one connection cannot be in two processes: give \
             it the role \"send\" or \"receive\", or use `m2-load run`"
        )),
        None => Ok(()),
    }
}

//! The two programs as the tests use them.

use std::path::PathBuf;

use crate::Result;
use crate::command::{self, Show};
use crate::workspace::Workspace;

/// Builds them, and gives the folder that holds `m2-switch` and `m2-load`.
///
/// By the command that builds the tests, which builds both for them: a crate built for one package
/// alone has fewer features than one built for all, so that most of them would be built twice more.
/// Behind the tests there is nothing left to build.
///
/// # Errors
///
/// When something does not build.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<PathBuf> {
    // It would name the binary of every test.
    let arguments = ["test", "--workspace", "--no-run", "--quiet"];
    match command::run(&mut command::cargo(workspace, &arguments), Show::Nothing)?.success {
        true => Ok(workspace.target().join("debug")),
        false => Err("the tests do not build, and m2-switch with them".into()),
    }
}

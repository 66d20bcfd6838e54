//! `cargo xtask sanitize`: the tests again, with AddressSanitizer and with ThreadSanitizer.
//!
//! The standard library comes as it was built, without a sanitizer's calls (a nightly toolchain has
//! no sources of it unless they are added), so a sanitizer sees what our crates and their
//! dependencies do, and of the library only its generic parts. What ThreadSanitizer takes for a race
//! because of that is named, with the reason, in `thread_sanitizer.txt`, and the one leak that is meant
//! in `leak_sanitizer.txt`; each run prints how often a line of them was needed.

use clap::Args;

use crate::Result;
use crate::command::{self, Show};
use crate::nightly::Nightly;
use crate::workspace::Workspace;

/// Which sanitizers; all unless told.
#[derive(Args)]
pub(crate) struct Options {
    /// `address` or `thread`; both unless told
    sanitizer: Option<String>,
}

struct Sanitizer {
    name: &'static str,
    rustflags: &'static str,
    /// Whose tests: those that can show what it looks for.
    packages: &'static [&'static str],
    /// The variable that it reads, and what it is not to report, as a file from the root.
    suppressions: (&'static str, &'static str),
    /// Tests that say nothing under it.
    left_out: &'static [&'static str],
}

const SANITIZERS: &[Sanitizer] = &[
    Sanitizer {
        name: "address",
        rustflags: "-Zsanitizer=address --cfg=m2_system_allocator -Cforce-frame-pointers=yes",
        packages: &["m2-accel", "m2-codec", "m2-core", "m2-fuzz", "m2-engine"],
        suppressions: ("LSAN_OPTIONS", "xtask/src/leak_sanitizer.txt"),
        // It measures how much memory a switch takes, and the sanitizer's own counts as well.
        left_out: &["a_peer_that_stops_reading_hurts_itself_alone"],
    },
    Sanitizer {
        name: "thread",
        // The library has no calls of the sanitizer in it, which the compiler wants to be told.
        rustflags: "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer \
                    --cfg=m2_system_allocator -Cforce-frame-pointers=yes",
        // The other packages start no thread.
        packages: &["m2-accel", "m2-engine"],
        suppressions: ("TSAN_OPTIONS", "xtask/src/thread_sanitizer.txt"),
        left_out: &[],
    },
];

/// Runs the tests with one sanitizer, or with each.
///
/// # Errors
///
/// When there is no nightly or no such sanitizer, or a test fails or a sanitizer found something.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let wanted = options.sanitizer.as_deref();
    let chosen: Vec<_> =
        SANITIZERS.iter().filter(|it| wanted.is_none_or(|wanted| wanted == it.name)).collect();
    if chosen.is_empty() {
        return Err(format!("no sanitizer {}: write address or thread", wanted.unwrap_or("")));
    }
    let nightly = Nightly::find()?;
    chosen.iter().try_for_each(|sanitizer| tests(workspace, &nightly, sanitizer))
}

fn tests(workspace: &Workspace, nightly: &Nightly, sanitizer: &Sanitizer) -> Result<()> {
    println!("== {} sanitizer: {}", sanitizer.name, sanitizer.packages.join(", "));
    // No examples in comments: rustdoc would build them without the sanitizer.
    let mut arguments = vec!["test", "--no-fail-fast", "--lib", "--bins", "--tests"];
    arguments.extend(sanitizer.packages.iter().flat_map(|package| ["-p", *package]));
    let left_out = sanitizer.left_out.iter().flat_map(|test| ["--skip", *test]);
    let folder = format!("sanitize/{}", sanitizer.name);
    let mut cargo = nightly.cargo(workspace, &folder, sanitizer.rustflags, &arguments);
    let (variable, file) = sanitizer.suppressions;
    let value = format!("print_suppressions=1:suppressions={}", workspace.path(file).display());
    cargo.env(variable, value).arg("--").args(left_out);
    match command::run(&mut cargo, Show::Lines)?.success {
        true => Ok(()),
        false => Err(format!("the tests with the {} sanitizer failed", sanitizer.name)),
    }
}

//! `m2ctl journal`: a journal on a disk, looked at by its own code.

mod changes;
mod cores;
mod cut;
mod diff;
mod directory;
mod disk;
mod dump;
mod filter;
mod line;
mod ls;
mod open;
mod positions;
mod replay;
mod start;
mod stream;
mod verify;
mod walk;

use clap::Subcommand;

use crate::output::{Failure, Verdict};

/// What can be asked of a journal.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print records: who paid whom what, when, and where it stands.
    Dump(dump::DumpArgs),
    /// Check everything that can be: every hash and chain, every record, and that the words of every
    /// snapshot and base are what the records come to. On all cores.
    Verify(verify::VerifyArgs),
    /// List generations, segments with the records in them, and snapshots. Nothing is checked.
    Ls(ls::LsArgs),
    /// Work out the words of every account at some point, by the code that a start recovers with.
    Replay(replay::ReplayArgs),
    /// Compare the two sides of one link: our account for a peer, and the peer's account for us. Every
    /// difference is named, with what explains it.
    Diff(diff::DiffArgs),
    /// Forget the end of a damaged stream, so that a switch can start with what is before it: save it
    /// aside and cut it off. Without --yes it only says what that forgets.
    Cut(cut::CutArgs),
}

/// Runs a command.
///
/// # Errors
///
/// When it could not do what it was asked.
pub(crate) fn run(command: &Command) -> Result<Verdict, Failure> {
    match command {
        Command::Dump(args) => dump::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Ls(args) => ls::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Cut(args) => cut::run(args),
    }
}

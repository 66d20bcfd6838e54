//! Whether a journal is where it is expected, before anything is made there.
//!
//! A folder that was emptied, or whose disk is not mounted, looks like one that was never used: a switch
//! that began anew in it would forget every balance without a word.

use std::path::{Path, PathBuf};

use m2_core::Durability;
use m2_journal::Files;
use m2_journal::recover::found::generations;
use rustix::fs::{Access, access};

use crate::config::{Config, JournalSection, Problem, Problems};
use crate::topology::StartError;

/// Whether anything of a configuration is to be recorded.
pub(crate) fn is_wanted(config: &Config) -> bool {
    config.accounts.iter().any(|account| account.durability != Durability::None)
}

/// Refuses what is wrong with the journal's place, and makes nothing.
///
/// # Errors
///
/// Each path that is no folder, or cannot become one; a journal that must exist and does not, or that
/// would be forgotten.
pub(crate) fn refuse(config: &Config) -> Result<(), StartError> {
    if !is_wanted(config) {
        return refuse_to_forget(&config.journal);
    }
    refuse_paths(config).map_err(StartError::Configuration)?;
    expect(&config.journal)
}

fn refuse_paths(config: &Config) -> Result<(), Problems> {
    let section = &config.journal;
    let paths =
        [("the journal", Some(&section.path)), ("the spill folder", section.spill.as_ref())];
    let list: Vec<_> = paths
        .iter()
        .filter_map(|(what, path)| {
            let path = (*path)?;
            let there = nearest(path)?;
            let (shown, there_shown) = (path.display(), there.display());
            let text = if !there.is_dir() {
                format!("{what} {shown} cannot be made: {there_shown} is no folder")
            } else if let Err(error) = access(&there, Access::WRITE_OK | Access::EXEC_OK) {
                let error = std::io::Error::from(error);
                format!("{what} {shown} cannot be written: {there_shown}: {error}")
            } else {
                return None;
            };
            Some(Problem { line: Some(section.line), text })
        })
        .collect();
    if list.is_empty() {
        return Ok(());
    }
    Err(Problems { file: config.file.clone(), list })
}

/// The path itself if there is something, else the nearest above it that is there.
pub(super) fn nearest(path: &Path) -> Option<PathBuf> {
    let above =
        path.ancestors().map(|it| if it.as_os_str().is_empty() { Path::new(".") } else { it });
    above.map(Path::to_path_buf).find(|it| it.exists())
}

/// Refuses a folder that holds no journal where the configuration says that it does.
fn expect(section: &JournalSection) -> Result<(), StartError> {
    if !section.must_exist || holds_one(&section.path)? {
        return Ok(());
    }
    Err(StartError::Journal(format!(
        "the journal {} holds nothing, and must_exist = true says that it holds every balance: mount its \
         disk or restore it from a copy. If all balances are to begin at 0, write must_exist = false",
        section.path.display()
    )))
}

/// Refuses to run beside a journal that nothing would be read from or written to.
fn refuse_to_forget(section: &JournalSection) -> Result<(), StartError> {
    if !holds_one(&section.path)? {
        return Ok(());
    }
    Err(StartError::Journal(format!(
        "the journal {} holds the balances of an earlier start, and every account of the file has \
         durability = \"none\": they would be forgotten. Leave an account recorded, or, if they may be \
         forgotten, move the folder away",
        section.path.display()
    )))
}

fn holds_one(folder: &Path) -> Result<bool, StartError> {
    let found = generations(&mut Files::new(folder));
    let found = found.map_err(|error| {
        StartError::Journal(format!("the journal {}: {error}", folder.display()))
    })?;
    Ok(!found.is_empty())
}

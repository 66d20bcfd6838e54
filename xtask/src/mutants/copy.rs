//! Copies of the workspace under `target/mutants`, in which faults are planted.
//!
//! Invariant: a copy differs from the workspace by the one fault that is planted, or by nothing. The
//! workspace itself is only read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::workspace::Workspace;

use super::faults::Fault;

/// See the head of the file.
pub(crate) struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Makes the copy of this number equal to the workspace: files that are equal keep their time, so
    /// that what was built from them need not be built again.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or written.
    pub(crate) fn of(workspace: &Workspace, number: usize) -> Result<Self> {
        let folder = workspace.target().join("mutants").join(number.to_string());
        let copy = Self { root: folder.join("tree"), target: folder.join("target") };
        let files = listed(workspace)?;
        for file in &files {
            let bytes = fs::read(workspace.path(file)).map_err(told(file))?;
            let to = copy.root.join(file);
            if fs::read(&to).is_ok_and(|there| there == bytes) {
                continue;
            }
            let parent = to.parent().expect("a file lies in a folder");
            fs::create_dir_all(parent).and_then(|()| fs::write(&to, bytes)).map_err(told(file))?;
        }
        remove_others(&copy.root, &copy.root, &files)?;
        Ok(copy)
    }

    /// Where the copy lies.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where what is built of it lies.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The text of one of its files.
    pub(crate) fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.root.join(file)).ok()
    }

    /// Does `work` with a fault planted, and takes it out again.
    ///
    /// # Errors
    ///
    /// When the fault does not fit the source, or `work` fails.
    pub(crate) fn with<T>(&self, fault: &Fault, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let path = self.root.join(&fault.file);
        let text = fs::read_to_string(&path).map_err(told(&fault.file))?;
        let planted = fault.planted(&text)?;
        fs::write(&path, planted).map_err(told(&fault.file))?;
        let outcome = work();
        fs::write(&path, text).map_err(told(&fault.file))?;
        outcome
    }
}

fn told(file: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{file}: {error}")
}

/// Every file of the workspace that is kept in git, or would be.
fn listed(workspace: &Workspace) -> Result<BTreeSet<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git")
        .current_dir(workspace.root())
        .args(arguments)
        .output()
        .map_err(|error| format!("git is missing: install it ({error})"))?;
    let text = String::from_utf8(output.stdout).map_err(|_| "a file's name is not UTF-8")?;
    let files: BTreeSet<_> = text
        .split('\0')
        .filter(|file| !file.is_empty() && workspace.path(file).is_file())
        .map(str::to_owned)
        .collect();
    if files.is_empty() { Err("git lists no file of the workspace".into()) } else { Ok(files) }
}

/// Removes what an earlier copy had and this one has not.
fn remove_others(root: &Path, folder: &Path, files: &BTreeSet<String>) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(told(&folder.display().to_string()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let inside = path.strip_prefix(root).expect("below the root").to_string_lossy();
        if path.is_dir() {
            remove_others(root, &path, files)?;
        } else if !files.contains(&*inside) {
            fs::remove_file(&path).map_err(told(&inside))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        let name = |text: &str| text.to_owned();
        Fault {
            name: name("a-name"),
            kind: None,
            breaks: name("money"),
            file: name("a/b.rs"),
            find: name("one"),
            replace: name("two"),
        }
    }

    #[test]
    fn a_fault_is_there_while_work_is_done_and_gone_after_also_when_it_fails() {
        let root = std::env::temp_dir().join(format!("m2-mutants-{}", std::process::id()));
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/b.rs"), "one").unwrap();
        let copy = Copy { target: root.join("target"), root };
        let seen = copy.with(&fault(), || Ok(copy.read("a/b.rs")));
        assert_eq!(seen.unwrap().as_deref(), Some("two"));
        assert_eq!(copy.read("a/b.rs").as_deref(), Some("one"));
        assert_eq!(copy.with(&fault(), || Err::<(), _>("no".into())), Err("no".into()));
        assert_eq!(copy.read("a/b.rs").as_deref(), Some("one"));
        fs::remove_dir_all(copy.root()).unwrap();
    }

    #[test]
    fn the_files_of_the_copy_include_this_one_and_nothing_built() {
        let files = listed(&Workspace::here()).unwrap();
        assert!(files.contains("xtask/src/mutants/copy.rs"));
        assert!(!files.iter().any(|file| file.starts_with("target/")));
    }
}

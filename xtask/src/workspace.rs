//! Where things are in the repository, and which files are its own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// The repository that this program was built in.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The repository that holds this crate, wherever the user stands in it.
    pub(crate) fn here() -> Self {
        // Cargo says where it is now; where it was built holds for a binary started by hand.
        let built = || env!("CARGO_MANIFEST_DIR").into();
        let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(built);
        let root = Path::new(&manifest_dir).parent().expect("xtask/ lies in the repository");
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }

    /// The folder for everything that is built or fetched.
    pub(crate) fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.path("target"), |dir| self.root.join(dir))
    }

    /// Reads a text file, named from the root.
    ///
    /// # Errors
    ///
    /// The sentence names the file.
    pub(crate) fn read(&self, inside: &str) -> Result<String> {
        fs::read_to_string(self.path(inside)).map_err(|error| format!("{inside}: {error}"))
    }

    /// All files with this extension, as paths from the root, sorted. Hidden folders, `target` and
    /// `node_modules` are not ours.
    ///
    /// # Errors
    ///
    /// When a folder cannot be read.
    pub(crate) fn files(&self, extension: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            let unreadable = |error| format!("{}: {error}", folder.display());
            for entry in fs::read_dir(&folder).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.is_dir() && !path.is_symlink() && is_ours(&path) {
                    folders.push(path);
                } else if path.extension().is_some_and(|found| found == extension) {
                    let inside = path.strip_prefix(&self.root).expect("below the root");
                    found.push(inside.to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && name != "target" && name != "node_modules"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_workspace_include_this_one_and_nothing_built() {
        let files = Workspace::here().files("rs").unwrap();
        assert!(files.iter().any(|file| file == "xtask/src/workspace.rs"));
        assert!(!files.iter().any(|file| file.starts_with("target/")));
    }
}

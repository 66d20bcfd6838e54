//! The process's own store: rows of the core in one file, each commit durable before it returns.
//!
//! redb keeps the file whole through a crash, and locks it: two processes with one store would pay twice.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use m2_settlement::rows::{Store, Table, Write};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

/// What the file was made by: another layout needs another number.
const LAYOUT: &str = "m2-settle 1";

const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");

/// See the head of the file.
pub struct File {
    database: Database,
}

/// Why a store cannot be used.
#[derive(Debug)]
pub struct StoreError(String);

impl core::fmt::Display for StoreError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for StoreError {}

fn failed(what: &'static str) -> impl Fn(redb::Error) -> StoreError {
    move |error| StoreError(format!("the store {what}: {error}"))
}

fn table(table: Table) -> TableDefinition<'static, &'static str, &'static str> {
    TableDefinition::new(table.word())
}

impl File {
    /// Opens a store, or makes one that only its owner may read.
    ///
    /// # Errors
    ///
    /// When the file cannot be had, is another process's, or is no store of this layout.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let told = |error: String| StoreError(format!("the store {}: {error}", path.display()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| told(error.to_string()))?;
        let backend = redb::backends::FileBackend::new(file);
        let opened = backend.and_then(|backend| Database::builder().create_with_backend(backend));
        let database = opened.map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                told("another process has it: only one may pay from it".into())
            }
            error => told(error.to_string()),
        })?;
        let store = Self { database };
        let layout = store.layout().map_err(|error| told(error.0))?;
        if layout != LAYOUT {
            return Err(told(format!("it was made by `{layout}`, and this is `{LAYOUT}`")));
        }
        Ok(store)
    }

    /// What made the file; a new one is ours.
    fn layout(&self) -> Result<String, StoreError> {
        let cannot = failed("cannot be read");
        let transaction = self.database.begin_write().map_err(|error| cannot(error.into()))?;
        let layout = {
            let mut about = transaction.open_table(ABOUT).map_err(|error| cannot(error.into()))?;
            let known = about.get("layout").map_err(|error| cannot(error.into()))?;
            let known = known.map(|known| known.value().to_owned());
            match known {
                Some(known) => known,
                None => {
                    about.insert("layout", LAYOUT).map_err(|error| cannot(error.into()))?;
                    LAYOUT.to_owned()
                }
            }
        };
        for each in Table::ALL {
            transaction.open_table(table(each)).map_err(|error| cannot(error.into()))?;
        }
        transaction.commit().map_err(|error| cannot(error.into()))?;
        Ok(layout)
    }

    /// Every row.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn rows(&self) -> Result<Vec<Write>, StoreError> {
        let cannot = failed("cannot be read");
        let transaction = self.database.begin_read().map_err(|error| cannot(error.into()))?;
        let mut rows = Vec::new();
        for each in Table::ALL {
            let opened =
                transaction.open_table(table(each)).map_err(|error| cannot(error.into()))?;
            for row in opened.iter().map_err(|error| cannot(error.into()))? {
                let (name, value) = row.map_err(|error| cannot(error.into()))?;
                let (name, value) = (name.value().to_owned(), Some(value.value().to_owned()));
                rows.push(Write { table: each, name, value });
            }
        }
        Ok(rows)
    }

    fn write(&self, writes: &[Write]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        for Write { table: of, name, value } in writes {
            let mut rows = transaction.open_table(table(*of))?;
            match value {
                Some(value) => rows.insert(name.as_str(), value.as_str())?,
                None => rows.remove(name.as_str())?,
            };
        }
        Ok(transaction.commit()?)
    }
}

impl Store for File {
    type Error = StoreError;

    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.write(writes).map_err(failed("cannot be written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("m2-store-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn row(name: &str, value: Option<&str>) -> Write {
        Write { table: Table::Keys, name: name.into(), value: value.map(str::to_owned) }
    }

    #[test]
    fn what_was_committed_is_there_again_and_what_was_removed_is_not() {
        let path = folder("again").join("store");
        let mut store = File::open(&path).unwrap();
        store.commit(&[row("a", Some("1")), row("b", Some("2"))]).unwrap();
        store.commit(&[row("a", None), row("b", Some("3"))]).unwrap();
        drop(store);
        assert_eq!(File::open(&path).unwrap().rows().unwrap(), [row("b", Some("3"))]);
    }

    #[test]
    fn two_processes_do_not_pay_from_one_store() {
        let path = folder("two").join("store");
        let _first = File::open(&path).unwrap();
        let error = File::open(&path).err().unwrap().to_string();
        assert!(error.contains("another process has it"), "{error}");
    }

    #[test]
    fn only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder("mode").join("store");
        File::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_store_or_another_layouts_is_refused() {
        let folder = folder("other");
        std::fs::write(folder.join("text"), "not a store, and long enough to have a header")
            .unwrap();
        assert!(File::open(&folder.join("text")).is_err());
        let path = folder.join("layout");
        let store = File::open(&path).unwrap();
        let transaction = store.database.begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert("layout", "m2-settle 9").unwrap();
        transaction.commit().unwrap();
        drop(store);
        let error = File::open(&path).err().unwrap().to_string();
        assert!(error.contains("made by `m2-settle 9`"), "{error}");
    }
}

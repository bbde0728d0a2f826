//! Keeps captures in a file, so that what was acknowledged survives a crash.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use serde::{Deserialize, Serialize};
use sonde_proto::capture::Capture;

/// A capture as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Stored {
    /// The resource.
    pub(super) capture: Capture,
    /// When it is deleted by itself, in milliseconds since the epoch.
    pub(super) expires: Option<u64>,
}

/// The state file. One process at a time has it open.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens `state.redb` in `directory`, and makes both where they are not there yet.
    pub(super) fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("state.redb");
        std::fs::create_dir_all(directory)
            .map_err(|error| StoreError::new(&path, redb::Error::Io(error)))?;
        let database = Database::create(&path).map_err(|error| StoreError::new(&path, error))?;
        let store = Self { database, path };
        // Makes the table, so that reading an empty file is no error.
        store.write(|_| Ok(()))?;
        Ok(store)
    }

    /// All captures, in the order of their IDs.
    pub(super) fn load(&self) -> Result<Vec<Stored>, StoreError> {
        self.read()
            .map_err(|error| StoreError::new(&self.path, error))?
            .into_iter()
            .map(|(id, text)| {
                serde_json::from_str(&text).map_err(|why| StoreError::Record {
                    path: self.path.clone(),
                    id,
                    why,
                })
            })
            .collect()
    }

    /// Keeps a capture. It is on the disk when this returns.
    pub(super) fn put(&self, stored: &Stored) -> Result<(), StoreError> {
        let text = serde_json::to_string(stored).expect("no map, no key that is not a text");
        self.write(|table| {
            table.insert(stored.capture.uuid.as_str(), text.as_str())?;
            Ok(())
        })
    }

    /// Forgets captures. They are off the disk when this returns.
    pub(super) fn remove<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<(), StoreError> {
        self.write(|table| {
            for id in ids {
                table.remove(id)?;
            }
            Ok(())
        })
    }

    fn write(
        &self,
        change: impl FnOnce(
            &mut redb::Table<'_, &'static str, &'static str>,
        ) -> Result<(), StorageError>,
    ) -> Result<(), StoreError> {
        let commit = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            change(&mut transaction.open_table(CAPTURES)?)?;
            Ok(transaction.commit()?)
        };
        commit().map_err(|error| StoreError::new(&self.path, error))
    }

    fn read(&self) -> Result<Vec<(String, String)>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(CAPTURES)?;
        let mut records = Vec::new();
        for record in table.iter()? {
            let (id, text) = record?;
            records.push((id.value().to_owned(), text.value().to_owned()));
        }
        Ok(records)
    }
}

/// Why the state file cannot be used, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "state file {0}: another process has it open; stop that one, or give each its own directory"
    )]
    Locked(PathBuf),
    /// Its content is not what was written.
    #[error("state file {path}: damaged ({why}); move it away to start without captures")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What redb says.
        why: String,
    },
    /// A record is not what was written.
    #[error(
        "state file {path}: capture {id} cannot be read ({why}); move the file away to start without captures"
    )]
    Record {
        /// Which file.
        path: PathBuf,
        /// Which capture.
        id: String,
        /// What is wrong with it.
        #[source]
        why: serde_json::Error,
    },
    /// Reading or writing failed.
    #[error("state file {path}: {why}; check that the directory is writable and not full")]
    Failed {
        /// Which file.
        path: PathBuf,
        /// What failed.
        #[source]
        why: Box<redb::Error>,
    },
}

impl StoreError {
    fn new(path: &Path, error: impl Into<redb::Error>) -> Self {
        let path = path.to_owned();
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::Locked(path),
            redb::Error::Io(why) if why.kind() == std::io::ErrorKind::InvalidData => {
                Self::Damaged { path, why: why.to_string() }
            }
            why @ (redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }) => {
                Self::Damaged { path, why: why.to_string() }
            }
            why => Self::Failed { path, why: Box::new(why) },
        }
    }
}

/// Captures by UUID, as JSON of [`Stored`].
const CAPTURES: TableDefinition<'_, &str, &str> = TableDefinition::new("captures");

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: &str) -> Stored {
        Stored {
            capture: Capture {
                uuid: id.into(),
                gremlin_query: "G.V()".into(),
                ..Capture::default()
            },
            expires: Some(7),
        }
    }

    #[test]
    fn what_was_kept_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let nested = directory.path().join("made/for/it");
        let store = Store::open(&nested).unwrap();
        assert_eq!(store.load().unwrap(), []);
        for id in ["b", "a", "c"] {
            store.put(&stored(id)).unwrap();
        }
        store.remove(["b", "unknown"].into_iter()).unwrap();
        drop(store);
        let store = Store::open(&nested).unwrap();
        assert_eq!(store.load().unwrap(), [stored("a"), stored("c")]);
    }

    #[test]
    fn a_locked_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Store::open(directory.path()).unwrap();
        let error = Store::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("state.redb: another process has it open"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.redb");
        std::fs::write(&path, "this is no database".repeat(1000)).unwrap();
        let error = Store::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("state.redb: damaged"), "{error}");
        assert!(error.contains("move it away"), "{error}");
    }

    #[test]
    fn a_record_that_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.write(|table| table.insert("odd", "{}").map(drop)).unwrap();
        let error = store.load().unwrap_err().to_string();
        assert!(error.contains("capture odd cannot be read"), "{error}");
    }
}

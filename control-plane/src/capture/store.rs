//! Keeps captures in a file, so that what was acknowledged survives a crash.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
        let database = guarded(&path, || sound(&path))?;
        let store = Self { database, path };
        // Makes the table, so that reading an empty file is no error.
        store.write(|_| Ok(()))?;
        Ok(store)
    }

    /// All captures, in the order of their IDs.
    pub(super) fn load(&self) -> Result<Vec<Stored>, StoreError> {
        guarded(&self.path, || self.read())?
            .into_iter()
            .map(|(id, text)| {
                serde_json::from_slice(&text).map_err(|why| StoreError::Record {
                    path: self.path.clone(),
                    id: String::from_utf8_lossy(&id).into_owned(),
                    why,
                })
            })
            .collect()
    }

    /// Keeps a capture. It is on the disk when this returns.
    pub(super) fn put(&self, stored: &Stored) -> Result<(), StoreError> {
        let text = serde_json::to_vec(stored).expect("no map, no key that is not a text");
        self.write(|table| {
            table.insert(stored.capture.uuid.as_bytes(), text.as_slice())?;
            Ok(())
        })
    }

    /// Forgets captures. They are off the disk when this returns.
    pub(super) fn remove<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<(), StoreError> {
        self.write(|table| {
            for id in ids {
                table.remove(id.as_bytes())?;
            }
            Ok(())
        })
    }

    fn write(
        &self,
        change: impl FnOnce(
            &mut redb::Table<'_, &'static [u8], &'static [u8]>,
        ) -> Result<(), StorageError>,
    ) -> Result<(), StoreError> {
        let commit = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            change(&mut transaction.open_table(CAPTURES)?)?;
            Ok(transaction.commit()?)
        };
        commit().map_err(|error| StoreError::new(&self.path, error))
    }

    fn read(&self) -> Result<Vec<Record>, redb::Error> {
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

/// Opens the file and reads all of it once.
fn sound(path: &Path) -> Result<Database, redb::Error> {
    let mut database = Database::create(path)?;
    if !database.check_integrity()? {
        tracing::warn!(path = %path.display(), "the state file was damaged and is repaired");
    }
    Ok(database)
}

/// Reads the file. redb panics on some of the damage a disk can do; to us it is all the same.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| StoreError::new(path, error)),
        Err(_) => Err(StoreError::Damaged {
            path: path.to_owned(),
            why: "redb cannot read it".to_owned(),
        }),
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

/// An ID and a text, as they are on the disk.
type Record = (Vec<u8>, Vec<u8>);

/// Captures by UUID, as JSON of [`Stored`]. Bytes, as redb panics on a text that is not UTF-8.
const CAPTURES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("captures");

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
    fn a_file_damaged_anywhere_is_an_error_or_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.redb");
        let store = Store::open(directory.path()).unwrap();
        (0..20).for_each(|n| store.put(&stored(&format!("id-{n}"))).unwrap());
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        let step = whole.len() / 61;
        for at in (0..whole.len()).step_by(step) {
            let mut torn = whole.clone();
            torn[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0xa5);
            for damaged in [&torn, &whole[..at]] {
                std::fs::write(&path, damaged).unwrap();
                match Store::open(directory.path()).and_then(|store| store.load()) {
                    Ok(records) => assert!(records.iter().all(|r| r.expires == Some(7))),
                    Err(error) => assert!(error.to_string().contains("state.redb"), "{error}"),
                }
            }
        }
    }

    #[test]
    fn a_record_that_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.write(|table| table.insert("odd".as_bytes(), "{}".as_bytes()).map(drop)).unwrap();
        let error = store.load().unwrap_err().to_string();
        assert!(error.contains("capture odd cannot be read"), "{error}");
    }
}

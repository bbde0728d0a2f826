//! What survives a crash once it was acknowledged: a file with a table for each kind of resource.

mod error;

use std::fs::{File, TryLockError};
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{
    Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sonde_proto::time::Timestamp;

pub use error::StoreError;

/// The state file, or none: then all is forgotten at the end. Clones are the same file; one process
/// at a time has it open. Calls wait for the disk.
#[derive(Clone, Debug)]
pub struct Store(Option<Arc<StateFile>>);

/// Records of one kind by their ID.
#[derive(Debug)]
pub struct Table<R> {
    store: Store,
    name: &'static str,
    kind: PhantomData<fn() -> R>,
}

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stored<R> {
    /// The record.
    // Files of before there were other kinds call it so.
    #[serde(alias = "Capture")]
    pub resource: R,
    /// When it is deleted by itself, in milliseconds since the epoch.
    expires: Option<u64>,
}

#[derive(Debug)]
struct StateFile {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens `state.redb` in `directory`, and makes both where they are not there yet.
    pub fn open(directory: Option<&Path>) -> Result<Self, StoreError> {
        let Some(directory) = directory else { return Ok(Self(None)) };
        let path = directory.join("state.redb");
        std::fs::create_dir_all(directory)
            .map_err(|error| StoreError::new(&path, redb::Error::Io(error)))?;
        let database = guarded(&path, || sound(&path))?;
        Ok(Self(Some(Arc::new(StateFile { database, path }))))
    }

    /// The table of that name. It is made with its first record.
    pub fn table<R>(&self, name: &'static str) -> Table<R> {
        Table { store: self.clone(), name, kind: PhantomData }
    }

    /// Forgets records of these tables, by their IDs: at a crash all or none. They are off the disk
    /// when this returns.
    pub fn remove(&self, records: &[(&'static str, Vec<&str>)]) -> Result<(), StoreError> {
        let Self(Some(file)) = self else { return Ok(()) };
        file.write(|transaction| {
            for (name, ids) in records.iter().filter(|(_, ids)| !ids.is_empty()) {
                let mut table = transaction.open_table(definition(name))?;
                ids.iter().try_for_each(|id| table.remove(id.as_bytes()).map(drop))?;
            }
            Ok(())
        })
    }
}

impl<R: Serialize + DeserializeOwned> Table<R> {
    /// All records, in the order of their IDs.
    pub fn load(&self) -> Result<Vec<(String, Stored<R>)>, StoreError> {
        let Store(Some(file)) = &self.store else { return Ok(Vec::new()) };
        guarded(&file.path, || file.read(self.name))?
            .into_iter()
            .map(|(id, text)| {
                let id = String::from_utf8_lossy(&id).into_owned();
                match serde_json::from_slice(&text) {
                    Ok(stored) => Ok((id, stored)),
                    Err(why) => Err(self.broken(file, &id, why)),
                }
            })
            .collect()
    }

    /// Keeps a record. It is on the disk when this returns.
    pub fn put(
        &self,
        id: &str,
        resource: &R,
        expires: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let Store(Some(file)) = &self.store else { return Ok(()) };
        let expires = expires.map(|at| at.nanos() / 1_000_000);
        let text = serde_json::to_vec(&Stored { resource, expires })
            .map_err(|why| self.broken(file, id, why))?;
        file.write(|transaction| {
            let mut table = transaction.open_table(definition(self.name))?;
            Ok(table.insert(id.as_bytes(), text.as_slice()).map(drop)?)
        })
    }

    /// Forgets records: at a crash all or none. They are off the disk when this returns.
    pub fn remove<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<(), StoreError> {
        self.store.remove(&[(self.name, ids.into_iter().collect())])
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn broken(&self, file: &StateFile, id: &str, why: serde_json::Error) -> StoreError {
        let (path, id) = (file.path.clone(), id.to_owned());
        StoreError::Record { path, table: self.name, id, why }
    }
}

impl<R> Stored<R> {
    /// When it is deleted by itself.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires.map(Timestamp::from_millis)
    }
}

impl StateFile {
    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let commit = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            // Else redb would take a newest commit that is damaged for one that a crash cut short,
            // and go back to the one before it.
            transaction.set_two_phase_commit(true);
            change(&transaction)?;
            Ok(transaction.commit()?)
        };
        commit().map_err(|error| StoreError::new(&self.path, error))
    }

    fn read(&self, name: &str) -> Result<Vec<Record>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(definition(name)) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut records = Vec::new();
        for record in table.iter()? {
            let (id, text) = record?;
            records.push((id.value().to_owned(), text.value().to_owned()));
        }
        Ok(records)
    }
}

/// Opens the file, which must be sound, or makes it.
fn sound(path: &Path) -> Result<Database, redb::Error> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(database) = create(path)? {
                return Ok(database);
            }
        }
        // redb would begin anew, and what was kept would be gone without a word.
        Ok(file) if file.len() == 0 => return Err(redb::Error::Corrupted("it is empty".into())),
        _ => {}
    }
    // All of it is read once.
    Ok(Database::builder().set_check_integrity_on_open(true).open(path)?)
}

/// Makes the file beside its place and puts it there whole, so that none is there by half when the
/// process is killed. `None` when another process was faster.
fn create(path: &Path) -> Result<Option<Database>, redb::Error> {
    let new = path.with_extension("redb.new");
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&new)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(redb::Error::DatabaseAlreadyOpen),
        locked => locked.map_err(io::Error::from)?,
    }
    // Whoever held the lock before may have put the file in its place.
    if path.exists() {
        return Ok(None);
    }
    // Of one that was killed.
    file.set_len(0)?;
    let database = Database::builder().create_with_backend(FileBackend::new(file)?)?;
    std::fs::rename(&new, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(Some(database))
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

/// Records by ID, as JSON of [`Stored`]. Bytes, as redb panics on a text that is not UTF-8.
fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// An ID and a text, as they are on the disk.
type Record = (Vec<u8>, Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Option<Timestamp> = Some(Timestamp::from_millis(7));

    fn open(directory: &Path) -> Result<Table<String>, StoreError> {
        Store::open(Some(directory)).map(|store| store.table("texts"))
    }

    fn loaded(table: &Table<String>) -> Vec<(String, String)> {
        let record = |(id, stored): (String, Stored<String>)| {
            assert_eq!(stored.expires(), AT);
            (id, stored.resource)
        };
        table.load().unwrap().into_iter().map(record).collect()
    }

    #[test]
    fn what_was_kept_is_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let nested = directory.path().join("made/for/it");
        let table = open(&nested).unwrap();
        assert_eq!(loaded(&table), []);
        for id in ["b", "a", "c"] {
            table.put(id, &format!("text of {id}"), AT).unwrap();
        }
        table.remove(["b", "unknown"]).unwrap();
        let other = table.store.table::<String>("others");
        assert_eq!(loaded(&other), [], "each kind has its own");
        drop((table, other));
        let record = |id: &str| (id.to_owned(), format!("text of {id}"));
        assert_eq!(loaded(&open(&nested).unwrap()), [record("a"), record("c")]);
    }

    #[test]
    fn without_a_directory_nothing_is_kept() {
        let table = Store::open(None).unwrap().table::<String>("texts");
        table.put("a", &String::new(), None).unwrap();
        table.remove(["a"]).unwrap();
        assert_eq!(table.load().unwrap(), []);
    }

    #[test]
    fn a_capture_of_a_file_of_before_is_read() {
        let stored = serde_json::from_str::<Stored<String>>(r#"{"Capture": "it", "Expires": 7}"#);
        assert_eq!(stored.unwrap(), Stored { resource: "it".into(), expires: Some(7) });
    }

    #[test]
    fn a_locked_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path()).unwrap();
        let error = open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("state.redb: another process has it open"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.redb");
        for text in ["this is no database".repeat(1000), String::new()] {
            std::fs::write(&path, text).unwrap();
            let error = open(directory.path()).unwrap_err().to_string();
            assert!(error.contains("state.redb: damaged"), "{error}");
            assert!(error.contains("move it away"), "{error}");
        }
    }

    #[test]
    fn a_file_that_was_never_finished_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("state.redb.new"), [0; 5000]).unwrap();
        let table = open(directory.path()).unwrap();
        table.put("a", &String::new(), AT).unwrap();
        drop(table);
        assert_eq!(loaded(&open(directory.path()).unwrap()).len(), 1);
        let files = std::fs::read_dir(directory.path()).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["state.redb"]);
    }

    #[test]
    fn a_file_damaged_anywhere_is_an_error_or_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.redb");
        let table = open(directory.path()).unwrap();
        (0..20).for_each(|n| table.put(&format!("id-{n}"), &"text".into(), AT).unwrap());
        let expected = table.load().unwrap();
        drop(table);
        let whole = std::fs::read(&path).unwrap();
        let step = whole.len() / 61;
        for at in (0..whole.len()).step_by(step) {
            let mut torn = whole.clone();
            torn[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0xa5);
            for damaged in [&torn, &whole[..at]] {
                std::fs::write(&path, damaged).unwrap();
                match open(directory.path()).and_then(|table| table.load()) {
                    Ok(records) => assert_eq!(records, expected, "at {at}"),
                    Err(error) => {
                        assert!(error.to_string().contains("state.redb: damaged"), "{at}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_record_that_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let table = open(directory.path()).unwrap();
        let Store(file) = &table.store;
        let odd = |transaction: &WriteTransaction| {
            let mut table = transaction.open_table(definition("texts"))?;
            Ok(table.insert("odd".as_bytes(), "{}".as_bytes()).map(drop)?)
        };
        file.as_ref().unwrap().write(odd).unwrap();
        let error = table.load().unwrap_err().to_string();
        assert!(error.contains("odd of texts cannot be read"), "{error}");
    }
}

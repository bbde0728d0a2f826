//! What can be wrong with the state file.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why the state file cannot be used, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "state file {0}: another process has it open; stop that one, or give each its own directory"
    )]
    Locked(PathBuf),
    /// Its content is not what was written.
    #[error("state file {path}: damaged ({why}); move it away to start without what it keeps")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What redb says.
        why: String,
    },
    /// A record is not what was written.
    #[error(
        "state file {path}: {id} of {table} cannot be read ({why}); move the file away to start \
         without what it keeps"
    )]
    Record {
        /// Which file.
        path: PathBuf,
        /// Which table.
        table: &'static str,
        /// Which record.
        id: String,
        /// What is wrong with it.
        why: serde_json::Error,
    },
    /// Reading or writing failed.
    #[error("state file {path}: {why}; check that the directory is writable and not full")]
    Failed {
        /// Which file.
        path: PathBuf,
        /// What failed.
        why: Box<redb::Error>,
    },
}

impl StoreError {
    pub(super) fn new(path: &Path, error: impl Into<redb::Error>) -> Self {
        let path = path.to_owned();
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::Locked(path),
            // It is no database, or is shorter than it says.
            redb::Error::Io(why)
                if matches!(why.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
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

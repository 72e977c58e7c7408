use std::path::PathBuf;

use crate::Location;

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The disk is full or read-only, or the database is locked: nothing was lost; try again later.
    Unavailable,
    /// The file is no database of ours, damaged, or of a newer version: an operator must act.
    Unusable,
    /// A bug of this program.
    Bug,
}

/// Why the database could not do what was asked. A failed transaction changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine refused.
    #[error("{}", sentence(.0))]
    Engine(#[source] rusqlite::Error),
    /// The directory of the database can't be made.
    #[error("can't create the folder of the database {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database was written by a newer program.
    #[error(
        "the database {location} has schema {found}, but this program knows schemas up to {known}; \
         run a newer alephd, or choose another data folder"
    )]
    NewerSchema {
        /// Where it is.
        location: Location,
        /// The schema in the file.
        found: usize,
        /// The newest schema that this program knows.
        known: usize,
    },
    /// An applied migration differs from ours: the file is of another program or a development version.
    #[error(
        "migration {number} of the database {location} is not the one that this program has; \
         the file comes from another build: move it away and let the node sync again"
    )]
    ForeignSchema {
        /// Where it is.
        location: Location,
        /// The migration that differs.
        number: usize,
    },
    /// A stored value can't be read back.
    #[error("the database holds an unreadable {what}: '{value}'")]
    Corrupt {
        /// Which value.
        what: &'static str,
        /// Its text.
        value: String,
    },
    /// The store was closed while a query waited.
    #[error("the database is closed")]
    Closed,
}

impl StoreError {
    /// What a caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Engine(error) => match error.sqlite_error_code() {
                Some(
                    rusqlite::ErrorCode::DiskFull
                    | rusqlite::ErrorCode::ReadOnly
                    | rusqlite::ErrorCode::SystemIoFailure
                    | rusqlite::ErrorCode::CannotOpen
                    | rusqlite::ErrorCode::DatabaseBusy
                    | rusqlite::ErrorCode::DatabaseLocked
                    | rusqlite::ErrorCode::OutOfMemory,
                ) => StoreErrorKind::Unavailable,
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                    StoreErrorKind::Unusable
                }
                _ => StoreErrorKind::Bug,
            },
            Self::Folder { .. } | Self::Closed => StoreErrorKind::Unavailable,
            Self::NewerSchema { .. } | Self::ForeignSchema { .. } | Self::Corrupt { .. } => {
                StoreErrorKind::Unusable
            }
        }
    }

    pub(crate) fn corrupt(what: &'static str, value: impl Into<String>) -> Self {
        Self::Corrupt { what, value: value.into() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

fn sentence(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            "the disk of the database is full; free some space, the node goes on by itself".to_owned()
        }
        Some(rusqlite::ErrorCode::ReadOnly) => {
            "the database can't be written; check the permissions of its folder and that the disk is not read-only"
                .to_owned()
        }
        Some(rusqlite::ErrorCode::NotADatabase) => {
            "the file is no SQLite database; move it away and let the node sync again".to_owned()
        }
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            "the database is in use by another process; is another alephd running on this data folder?".to_owned()
        }
        _ => format!("database error: {error}"),
    }
}

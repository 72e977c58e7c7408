use std::path::PathBuf;

use crate::Location;
use crate::engine::EngineError;

/// What a caller can do about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The disk is full or read-only, the database is locked or its server can't be reached: nothing was
    /// lost; try again later.
    Unavailable,
    /// The file is no database of ours, damaged, or of a newer version: an operator must act.
    Unusable,
    /// A bug of this program.
    Bug,
}

/// Why the database could not do what was asked. A failed transaction changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine refused, or can't be reached.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Another node writes this database.
    #[error(
        "another alephd writes this database; stop it, or give this node a database of its own \
         (a node that was just killed holds it for some seconds)"
    )]
    InUse,
    /// The server keeps texts in an encoding that can't hold all of them.
    #[error(
        "the database has the encoding {encoding}; make one with UTF8: createdb -E UTF8 -T template0 NAME"
    )]
    Encoding {
        /// As the server names it.
        encoding: String,
    },
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
    /// The disk did not take what was written, and may have less of it than can be read now.
    #[error(
        "the disk did not take what was written ({reason}); start the node anew: it goes on with what the disk has, and \
         gets the rest from other nodes"
    )]
    NotDurable {
        /// What the system said.
        reason: String,
    },
    /// The store was closed while a query waited.
    #[error("the database is closed")]
    Closed,
}

impl StoreError {
    /// What a caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Engine(error) => error.kind(),
            Self::Folder { .. } | Self::Closed | Self::InUse => StoreErrorKind::Unavailable,
            Self::NewerSchema { .. }
            | Self::ForeignSchema { .. }
            | Self::Encoding { .. }
            | Self::NotDurable { .. }
            | Self::Corrupt { .. } => StoreErrorKind::Unusable,
        }
    }

    /// Whether the connection ended; what it was doing is undone, unless it was committing.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Engine(error) if error.is_lost())
    }

    pub(crate) fn corrupt(what: &'static str, value: impl Into<String>) -> Self {
        Self::Corrupt { what, value: value.into() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error.into())
    }
}

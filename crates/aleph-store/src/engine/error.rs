//! What engines say went wrong, in one vocabulary.

use std::io;

use tokio_postgres::error::SqlState;

use crate::StoreErrorKind;

/// Why an engine refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.sentence())]
pub enum EngineError {
    /// SQLite.
    Sqlite(#[source] rusqlite::Error),
    /// PostgreSQL.
    Postgres(#[source] tokio_postgres::Error),
    /// No connection could be made, or it ended.
    Lost(#[source] io::Error),
    /// The server is there, but no connection that is as safe as the URL asks.
    Encryption(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An earlier statement of the transaction failed.
    Undone,
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<tokio_postgres::Error> for EngineError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            None if error.is_closed() => Self::Lost(io::ErrorKind::ConnectionAborted.into()),
            // The driver tells the kind of an error in words only.
            None if error.to_string().starts_with("error performing TLS handshake") => {
                of_handshake(error.into_source())
            }
            _ => Self::Postgres(error),
        }
    }
}

/// A handshake fails because of what was said, or because the connection ended.
fn of_handshake(cause: Option<Box<dyn std::error::Error + Send + Sync>>) -> EngineError {
    let cause = cause.unwrap_or_else(|| "the handshake failed".into());
    match cause.downcast::<io::Error>() {
        Ok(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
            EngineError::Encryption(error)
        }
        Ok(error) => EngineError::Lost(*error),
        Err(other) => EngineError::Encryption(other),
    }
}

impl EngineError {
    pub(crate) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Sqlite(error) => sqlite_kind(error),
            Self::Postgres(error) => postgres_kind(error),
            Self::Lost(_) => StoreErrorKind::Unavailable,
            Self::Encryption(_) => StoreErrorKind::Unusable,
            Self::Undone => StoreErrorKind::Bug,
        }
    }

    /// Whether the connection ended: what the open transaction did is undone, unless it was committing.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Postgres(error) => ends_session(error),
            Self::Sqlite(_) | Self::Encryption(_) | Self::Undone => false,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Sqlite(error) => sqlite_sentence(error),
            Self::Postgres(error) => postgres_sentence(error),
            Self::Lost(error) => {
                format!("the database server can't be reached ({error}); is it running?")
            }
            Self::Encryption(error) => format!(
                "no encrypted connection to the database server: {error}; check its certificate, and sslmode \
                 and sslrootcert in the URL"
            ),
            Self::Undone => "an earlier change of the same batch failed".to_owned(),
        }
    }
}

fn sqlite_kind(error: &rusqlite::Error) -> StoreErrorKind {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory,
        ) => StoreErrorKind::Unavailable,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreErrorKind::Unusable,
        _ => StoreErrorKind::Bug,
    }
}

fn sqlite_sentence(error: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            "the disk of the database is full; free some space, the node goes on by itself".to_owned()
        }
        Some(ErrorCode::ReadOnly) => {
            "the database can't be written; check the permissions of its folder and that the disk is not read-only"
                .to_owned()
        }
        Some(ErrorCode::SystemIoFailure) => {
            format!(
                "the disk of the database fails ({error}); check the disk and whether it is read-only, the \
                 node goes on by itself"
            )
        }
        Some(ErrorCode::NotADatabase) => {
            "the file is no SQLite database; move it away and let the node sync again".to_owned()
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "the database is in use by another process; is another alephd running on this data folder?".to_owned()
        }
        _ => format!("database error: {error}"),
    }
}

/// Classes of PostgreSQL's codes after which the server has closed the connection.
fn ends_session(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => code.code().starts_with("57P") || code.code().starts_with("08"),
        None => error.is_closed(),
    }
}

fn postgres_kind(error: &tokio_postgres::Error) -> StoreErrorKind {
    let Some(code) = error.code() else {
        // Without the server's word: the connection, or what this program sent.
        return if error.is_closed() { StoreErrorKind::Unavailable } else { StoreErrorKind::Bug };
    };
    match code.code().get(..2) {
        // Resources (a full disk), connections, operator's intervention, conflicts, files.
        Some("53" | "08" | "57" | "40" | "55" | "58") => StoreErrorKind::Unavailable,
        // Who may: accounts, databases, permissions.
        Some("28" | "3D") => StoreErrorKind::Unusable,
        // Damage.
        Some("XX") => StoreErrorKind::Unusable,
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => StoreErrorKind::Unavailable,
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => StoreErrorKind::Unusable,
        _ => StoreErrorKind::Bug,
    }
}

fn postgres_sentence(error: &tokio_postgres::Error) -> String {
    let Some(said) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return format!("the database server can't be used: {error}{cause}");
    };
    let code = said.code();
    if *code == SqlState::DISK_FULL {
        return "the disk of the database server is full; free some space, the node goes on by itself"
            .to_owned();
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return "the database server only answers queries; is it a standby? the node goes on when it takes changes"
            .to_owned();
    }
    if *code == SqlState::TOO_MANY_CONNECTIONS {
        return "the database server has no connection left; the node needs 5 (max_connections)".to_owned();
    }
    if code.code().starts_with("28") {
        return format!("the database server refuses the account: {}; check the URL", said.message());
    }
    if *code == SqlState::INVALID_CATALOG_NAME {
        return format!("{}; make it: createdb -E UTF8 -T template0 NAME", said.message());
    }
    if code.code().starts_with("57P") {
        return format!(
            "the database server ended the connection ({}); the node tries again by itself",
            said.message()
        );
    }
    format!("database error: {} ({})", said.message(), code.code())
}

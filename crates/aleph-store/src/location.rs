//! Where a database is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// Where a database is, and with that which engine keeps it.
///
/// ```
/// use aleph_store::Location;
///
/// assert!(matches!("data/node.sqlite3".parse(), Ok(Location::Sqlite(_))));
/// let server: Location = "postgres://alephd:secret@127.0.0.1:5432/node".parse()?;
/// assert_eq!(server.to_string(), "postgres://alephd@127.0.0.1:5432/node");
/// # Ok::<(), aleph_store::LocationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    Postgres(PostgresUrl),
}

/// A database of a PostgreSQL server: `postgres://user:password@host:port/name`, or
/// `postgres:///name?host=/folder/of/the/socket`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    config: Box<Config>,
}

/// Why a text tells no [`Location`].
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The URL can't be read.
    #[error("the URL of the database can't be read; it looks like postgres://user:password@host:5432/name")]
    Url(#[source] tokio_postgres::Error),
    /// The URL names no host.
    #[error("the URL of the database names no host; it looks like postgres://user:password@host:5432/name")]
    NoHost,
    /// The URL asks for encryption.
    #[error(
        "the URL of the database asks for an encrypted connection, which alephd does not speak to databases; \
         use a server on this machine or a tunnel, and sslmode=disable"
    )]
    Encryption,
}

impl PostgresUrl {
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}

impl FromStr for PostgresUrl {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let config: Config = text.parse().map_err(LocationError::Url)?;
        if config.get_hosts().is_empty() {
            return Err(LocationError::NoHost);
        }
        if config.get_ssl_mode() == SslMode::Require {
            return Err(LocationError::Encryption);
        }
        Ok(Self { config: Box::new(config) })
    }
}

/// Without the password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        f.write_str("postgres://")?;
        if let Some(user) = config.get_user() {
            write!(f, "{user}@")?;
        }
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let name = config.get_dbname().unwrap_or_default();
        match config.get_hosts().first() {
            Some(Host::Tcp(host)) => write!(f, "{host}:{port}/{name}"),
            Some(Host::Unix(folder)) => write!(f, "/{name}?host={}&port={port}", folder.display()),
            None => write!(f, "/{name}"),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

impl FromStr for Location {
    type Err = LocationError;

    /// A `postgres://` or `postgresql://` URL; anything else is a path.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.parse()?));
        }
        Ok(Self::Sqlite(PathBuf::from(text)))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::Sqlite(path.to_owned())
    }
}

impl From<&PathBuf> for Location {
    fn from(path: &PathBuf) -> Self {
        Self::Sqlite(path.clone())
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::Sqlite(path)
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

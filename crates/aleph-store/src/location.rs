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
/// `postgres:///name?host=/folder/of/the/socket`. `sslmode` says how connections over TCP are encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    config: Box<Config>,
    encryption: Encryption,
}

/// How connections over TCP are encrypted, with PostgreSQL's own words and meanings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// `disable`.
    Never,
    /// `prefer`, or no word: where the server can.
    IfOffered,
    /// `require`: against listeners. Who the server is is not checked.
    Always,
    /// `verify-full`: the server's certificate is for its name, and trusted.
    Verified {
        /// `sslrootcert`: a file of certificates; `None`: those that the system trusts.
        roots: Option<PathBuf>,
    },
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
    /// The URL asks for something else.
    #[error(
        "the URL of the database has sslmode={found}; the modes are disable, prefer, require and verify-full"
    )]
    Mode {
        /// What it says.
        found: String,
    },
    /// The URL names certificates that nothing would be checked with.
    #[error("the URL of the database has an sslrootcert, which is used with sslmode=verify-full only")]
    Roots,
}

impl PostgresUrl {
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn encryption(&self) -> &Encryption {
        &self.encryption
    }
}

impl FromStr for PostgresUrl {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let Parameters { rest, mode, roots } = Parameters::split(text);
        let mut config: Config = rest.parse().map_err(LocationError::Url)?;
        if config.get_hosts().is_empty() {
            return Err(LocationError::NoHost);
        }
        let encryption = match (mode.as_deref(), roots) {
            (Some("verify-full"), roots) => {
                let roots = roots.filter(|word| word != "system").map(PathBuf::from);
                Encryption::Verified { roots }
            }
            (_, Some(_)) => return Err(LocationError::Roots),
            (None | Some("prefer"), None) => Encryption::IfOffered,
            (Some("require"), None) => Encryption::Always,
            (Some("disable"), None) => Encryption::Never,
            (Some(other), None) => return Err(LocationError::Mode { found: other.to_owned() }),
        };
        config.ssl_mode(match &encryption {
            Encryption::Never => SslMode::Disable,
            Encryption::IfOffered => SslMode::Prefer,
            Encryption::Always | Encryption::Verified { .. } => SslMode::Require,
        });
        Ok(Self { config: Box::new(config), encryption })
    }
}

/// What the driver does not read of a URL.
struct Parameters {
    rest: String,
    mode: Option<String>,
    roots: Option<String>,
}

impl Parameters {
    fn split(text: &str) -> Self {
        // A password may hold a question mark.
        let after = text.find('@').unwrap_or_default();
        let Some((start, query)) =
            text[after..].find('?').map(|place| (&text[..after + place], &text[after + place + 1..]))
        else {
            return Self { rest: text.to_owned(), mode: None, roots: None };
        };
        let (mut mode, mut roots, mut others) = (None, None, Vec::new());
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(decoded(value)),
                Some(("sslrootcert", value)) => roots = Some(decoded(value)),
                _ => others.push(pair),
            }
        }
        let rest = if others.is_empty() { start.to_owned() } else { format!("{start}?{}", others.join("&")) };
        Self { rest, mode, roots }
    }
}

/// Text in which bytes may be written as `%2F`; what is no such thing stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let mut byte = [0];
        if *first == b'%' && after.len() >= 2 && hex::decode_to_slice(&after[..2], &mut byte).is_ok() {
            bytes.push(byte[0]);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_is_read_with_the_words_of_postgres() {
        let read = |text: &str| text.parse::<PostgresUrl>().map(|url| (url.to_string(), url.encryption));
        let plain = "postgres://u@h:5432/db";
        let file = |path: &str| Encryption::Verified { roots: Some(path.into()) };
        for (url, expected) in [
            ("postgres://u:p@h/db", Encryption::IfOffered),
            ("postgres://u:a?sslmode=x@h/db", Encryption::IfOffered),
            ("postgres://u:p@h/db?sslmode=disable", Encryption::Never),
            ("postgres://u:p@h/db?sslmode=prefer&connect_timeout=3", Encryption::IfOffered),
            ("postgres://u:p@h/db?connect_timeout=3&sslmode=require", Encryption::Always),
            ("postgres://u:p@h/db?sslmode=verify-full", Encryption::Verified { roots: None }),
            (
                "postgres://u:p@h/db?sslmode=verify-full&sslrootcert=system",
                Encryption::Verified { roots: None },
            ),
            ("postgres://u:p@h/db?sslrootcert=/a%20b%2Fc.pem&sslmode=verify-full", file("/a b/c.pem")),
            ("postgres://u:p@h/db?sslmode=verify-full&sslrootcert=100%/r%C3%A9", file("100%/ré")),
        ] {
            assert_eq!(read(url).unwrap(), (plain.to_owned(), expected), "{url}");
        }
        let error = |text: &str| read(text).unwrap_err().to_string();
        assert!(error("postgres://u@h/db?sslmode=verify-ca").contains("sslmode=verify-ca; the modes are"));
        assert!(error("postgres://u@h/db?sslmode=require&sslrootcert=/r").contains("verify-full only"));
        assert!(error("postgres://u@h/db?sslcert=/c").contains("can't be read"));
    }
}

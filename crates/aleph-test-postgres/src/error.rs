//! What can go wrong with a test's server.

use std::io;
use std::path::PathBuf;

/// A server that could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// This machine has no PostgreSQL.
    #[error(
        "no PostgreSQL was found (looked for initdb, postgres and psql in {looked}): install the Debian \
         package postgresql-15, run `cargo xtask setup`, or name a folder in ALEPH_POSTGRES_BIN"
    )]
    NotInstalled {
        /// The folders, separated by commas.
        looked: String,
    },
    /// A folder or file of the server could not be made, read or removed.
    #[error("{what} {}", path.display())]
    Files {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program of PostgreSQL could not be run at all.
    #[error("{program} could not be run")]
    Run {
        /// Its name.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A program of PostgreSQL said no.
    #[error("{program} failed: {said}")]
    Refused {
        /// Its name.
        program: &'static str,
        /// What it printed.
        said: String,
    },
    /// The server ended, or was not ready in time.
    #[error("the server does not come up: {why}; the end of its log:\n{log}")]
    NotReady {
        /// What was seen.
        why: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// No free port was found on the loopback.
    #[error("no free port on 127.0.0.1")]
    NoPort,
    /// A database's name that would need quoting.
    #[error("{name:?} is no name for a test's database: lower-case letters, digits and _ only")]
    Name {
        /// The name that was asked for.
        name: String,
    },
    /// Something was asked of a server that is stopped.
    #[error("the server does not run; start_again() starts it")]
    Stopped,
}

impl ServerError {
    pub(crate) fn files(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Files { what, path, source }
    }
}

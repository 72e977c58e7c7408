//! PostgreSQL servers for tests, started from the binaries of this machine as an ordinary user.
//!
//! A test that is about a database wants a real one, which it may fill, stop, kill with -9 and
//! throw away. [`Server::start`] gives one: its data lies in a temporary folder, it listens on a
//! Unix socket in that folder and on a free port of the loopback, and it knows one user with a
//! password. No system service is needed or touched.
//!
//! What holds:
//!
//! * **Nothing is left.** The server ends and its folder goes with the value, and also when the
//!   test is killed: a small watching process holds the other end of a pipe.
//! * **Starting is cheap.** A new cluster is made once per user and machine and copied from then
//!   on, about a tenth of a second; many test processes may do so at the same time.
//! * **Never as root.** PostgreSQL refuses that: tests that run as root start it as `postgres` or,
//!   where there is no such user, as `nobody`.
//!
//! ```no_run
//! use aleph_test_postgres::{Options, Server};
//!
//! # fn main() -> Result<(), aleph_test_postgres::ServerError> {
//! let mut server = Server::start(Options::fast())?;
//! let url = server.database("node")?; // postgres://aleph:…@127.0.0.1:…/node
//! assert_eq!(server.query("node", "SELECT 40 + 2")?, "42");
//! server.kill9()?;
//! server.start_again()?;
//! # drop(url);
//! # Ok(())
//! # }
//! ```
//!
//! Where the binaries are looked for: `ALEPH_POSTGRES_BIN`, Debian's `/usr/lib/postgresql/15/bin`
//! (then newer releases), `PATH`. `cargo xtask setup` installs them. Tests only: no part of alephd
//! depends on this crate.

mod account;
mod binaries;
mod error;
mod options;
mod server;
mod template;
mod watch;

pub use error::ServerError;
pub use options::Options;
pub use server::Server;

//! Core nodes in bad weather: each in a network namespace of its own, with delay, loss and cuts between
//! them.
//!
//! The nodes are the real `alephd ccn`, set up by `alephd init --private` and `alephd join`. Their only
//! way to each other is a TUN device whose other end is a small switch in this process
//! ([`Sky`]): it delays each IP packet by its way, drops some, and drops all between parts that
//! are cut off. TCP meets real loss so, on any kernel: `tc netem` is not needed, many have it not.
//!
//! What holds:
//!
//! * **Nothing is left.** Devices end with this process, however it ends; namespaces with the value, or at
//!   the next start if the process was killed.
//! * **Clients are not in the weather.** What publishes and asks reaches every node at once: what is
//!   measured is the nodes' network.
//! * **Needs root** (`CAP_NET_ADMIN`), `/dev/net/tun` and `ip`; [`possible`] says in words what is missing.
//!
//! ```no_run
//! # async fn run() -> Result<(), aleph_test_weather::WeatherError> {
//! use aleph_test_weather::{Load, Options, Town};
//!
//! let mut town = Town::start("target/debug/alephd".as_ref(), Options::default()).await?;
//! let calm = town.calm(Load { per_second: 100, seconds: 10 }).await?;
//! println!("{calm}");
//! # Ok(())
//! # }
//! ```
//!
//! Tests only: no part of alephd depends on this crate.

mod client;
mod error;
mod namespace;
mod node;
mod sky;
mod town;
mod traffic;
mod tun;

pub use error::WeatherError;
pub use namespace::possible;
pub use sky::{Conditions, Sky};
pub use town::{Load, Options, Propagation, Recovery, Town};

//! The node's database: one writer that stores decisions, many readers that answer the API.
//!
//! * [`Store::open`] brings the schema up to date (numbered, checksummed migrations; a newer schema is
//!   refused in words) and returns the shared [`Store`] and the one [`Writer`].
//! * [`Writer::begin`] starts a batch. Inside, [`Transaction::facts`] answers the rules of `aleph-rules`,
//!   [`Transaction::process`], [`Transaction::wait`] and [`Transaction::reject`] record fates, and
//!   [`Transaction::commit`] makes all of it durable with one fsync, or nothing at all.
//! * Queries are methods of [`Store`] with engine-neutral types; they run off the executor on a bounded
//!   pool of readers and never wait for the writer.
//! * [`Store::digest`] is one hash over the state that all nodes should share, kept up to date by the
//!   writer: nodes that differ in it differ in what they decided.
//!
//! Two engines: SQLite, a file and no service (the default), and PostgreSQL 15 ([`Location`] says which and
//! where). Everything above the module `engine` is written once, for both: SQL keeps to a portable
//! subset (explicit columns, `ON CONFLICT`, no triggers), and one writer counts what an engine would
//! otherwise have to be asked for.

mod aggregates;
mod changes;
mod collect;
mod confirmations;
mod convert;
mod digest;
mod effects;
mod engine;
mod error;
mod facts;
mod handing;
mod location;
mod migrations;
mod money;
mod owners;
pub mod queries;
mod statuses;
mod store;
mod sync;
pub mod watch;
mod writer;

pub use convert::{Conversion, ConvertError, ConvertEvent, convert};
pub use digest::{PartDigest, RecomputedDigest, StateDigest};
pub use engine::DiskLog;
pub use error::{StoreError, StoreErrorKind};
pub use handing::Handing;
pub use location::{Location, LocationError, PostgresUrl};
pub use money::{
    AccountBalance, Backfill, BalanceFilter, BalanceStart, CostFilter, CostPlace, CostSummary, DueRemoval,
    HistoryColumn, HistoryFilter, HistorySort, HistoryStart, HistorySummary, HistoryValue, JobPage,
    Recalculated, Removal, ResourceCost, StoredCost,
};
pub use store::Store;
pub use sync::{AcceptedItem, LogEntry, Skeleton};
pub use writer::{NewMessage, NewPending, PendingMessage, Transaction, Writer};

//! The core channel node: takes messages, decides, stores, spreads, answers.
//!
//! [`run`] starts everything from a [`Config`] and returns when it is told to stop. Inside, [`pipeline`]
//! is the way of a message from the socket to the disk, `intake` where messages come from beside the
//! HTTP API, `resolve` fetches files that messages wait for, `outlet` spreads what clients of this node
//! sent, `placement` puts programs on compute nodes, and `api` is the HTTP and WebSocket interface.
//!
//! Invariants:
//!
//! * nothing is acknowledged before its fate is on disk ([`Pipeline::submit`]);
//! * every queue is bounded, and what a queue drops is repaired by catching up with other nodes;
//! * one process a data folder.

mod allocator;
mod api;
mod clock;
mod collector;
mod config;
mod defaults;
mod files;
mod intake;
mod metrics;
mod money_watch;
mod node;
mod outlet;
mod peers;
pub mod pipeline;
mod placement;
mod removals;
mod resolve;
pub mod stepped;

pub use allocator::few_arenas;
pub use collector::{CollectError, CollectReport, Collector};
pub use config::{
    ApiConfig, Config, DhtKind, FilesConfig, HttpConfig, IpfsConfig, KeyKind, LimitsConfig, NetworkConfig,
    OperatorsConfig, P2pConfig, PipelineConfig, PlacementConfig, S3Config, StorageConfig, UploadsConfig,
};
pub use files::OpenError;
#[doc(hidden)]
pub use intake::catch_up::sync_answer;
pub use intake::genesis::GenesisError;
pub use metrics::{CatchingUp, Counter, Gauge, Metrics, PeerState};
pub use node::{Node, NodeError, RunningNode, lock_data_dir, run, start};
pub use pipeline::{Origin, Outcome, Pipeline, PipelineError, ProcessedMessage};
pub use placement::{Placement, PlacementError};
pub use removals::{RemovalError, RemovalReport, Removals};

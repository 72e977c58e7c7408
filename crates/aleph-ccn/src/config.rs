//! The node's settings. Every key has a default that works; unknown keys are errors.

mod api;
mod files;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aleph_p2p::KeyType;
use aleph_store::Location;
use serde::{Deserialize, Serialize};

use crate::defaults;

pub use api::{ApiConfig, LimitsConfig, OperatorsConfig, UploadsConfig};
pub use files::{DhtKind, FilesConfig, IpfsConfig, S3Config};

/// Settings of a core node, one table a part.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where data is kept.
    pub storage: StorageConfig,
    /// Where files are.
    pub files: FilesConfig,
    /// Files and directories by CID.
    pub ipfs: IpfsConfig,
    /// The HTTP API.
    pub http: HttpConfig,
    /// What clients of the API may ask for.
    pub api: ApiConfig,
    /// Gossip with other core nodes.
    pub p2p: P2pConfig,
    /// Which network this is.
    pub network: NetworkConfig,
    /// How messages are processed.
    pub pipeline: PipelineConfig,
    /// Placing programs on compute nodes.
    pub placement: PlacementConfig,
}

/// Where data is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Folder of the database, files and keys.
    pub data_dir: PathBuf,
    /// The database: `postgres://user:password@host:port/name`, or a file of SQLite. By default
    /// `node.sqlite3` in the data folder. Shown and logged without the password.
    #[serde(with = "database", skip_serializing_if = "Option::is_none")]
    pub database: Option<Location>,
    /// Seconds between two looks for files that nothing holds any more; the first comes after as many.
    pub collect_seconds: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(defaults::DATA_DIR),
            database: None,
            collect_seconds: defaults::COLLECT_EVERY.as_secs(),
        }
    }
}

impl StorageConfig {
    /// The file of SQLite in the data folder: the database, unless the setting names another.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("node.sqlite3")
    }

    /// Where the database is.
    pub fn location(&self) -> Location {
        self.database.clone().unwrap_or_else(|| Location::Sqlite(self.database()))
    }

    /// How often files that nothing holds are looked for.
    pub fn collect_interval(&self) -> Duration {
        Duration::from_secs(self.collect_seconds.max(1))
    }

    /// The folder of files by hash.
    pub fn blobs(&self) -> PathBuf {
        self.data_dir.join("files")
    }
}

/// A database as text, without its password when it is written.
mod database {
    use aleph_store::Location;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Option<Location>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(location) => to.collect_str(location),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Location>, D::Error> {
        let text = String::deserialize(from)?;
        // the text itself may hold a password: only the reason is told
        text.parse().map(Some).map_err(D::Error::custom)
    }
}

/// The HTTP API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The base URL under which other nodes reach the API; announced to them.
    pub public_url: Option<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: defaults::HTTP_LISTEN, public_url: None }
    }
}

/// Gossip with other core nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct P2pConfig {
    /// Off: the node knows only what its own clients send.
    pub enabled: bool,
    /// Multiaddress to listen on.
    pub listen: String,
    /// Multiaddress under which others reach this node, without `/p2p/…`.
    pub announce: Option<String>,
    /// Peers to dial: `/ip4/…/tcp/4025/p2p/…`.
    pub peers: Vec<String>,
    /// Key file; relative to the data folder. Made at first start.
    pub key_file: PathBuf,
    /// The kind of key that is made when there is none: `ed25519` or `rsa`.
    pub key_type: KeyKind,
    /// Topic of messages.
    pub topic: String,
    /// Topic of announcements.
    pub alive_topic: String,
    /// Believe what every peer announces of itself, not only those that are configured or in the node list,
    /// and treat none as a stranger. For private networks.
    pub believe_everybody: bool,
}

impl Default for P2pConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: defaults::P2P_LISTEN.to_owned(),
            announce: None,
            peers: Vec::new(),
            key_file: PathBuf::from("node-secret.pkcs8.der"),
            key_type: KeyKind::Ed25519,
            topic: defaults::TOPIC.to_owned(),
            alive_topic: defaults::ALIVE_TOPIC.to_owned(),
            believe_everybody: false,
        }
    }
}

/// Kinds of node keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// RSA of 2048 bits, as the reference's nodes have.
    Rsa,
    /// Ed25519: smaller, faster, accepted by the reference.
    Ed25519,
}

impl From<KeyKind> for KeyType {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Rsa => KeyType::Rsa,
            KeyKind::Ed25519 => KeyType::Ed25519,
        }
    }
}

/// Which network this is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Private networks may have a genesis file.
    pub private: bool,
    /// Trusted messages that every node of a private network starts from.
    pub genesis: Option<PathBuf>,
    /// Base URLs of other nodes' APIs, to fetch files from and to catch up with.
    pub http_peers: Vec<String>,
    /// The address that publishes the node list (aggregate `corechannel`).
    pub corechannel_address: String,
    /// Addresses whose `balances-update` posts count.
    pub balance_publishers: Vec<String>,
    /// Addresses whose `aleph_credit_distribution` posts count.
    pub credit_publishers: Vec<String>,
    /// Addresses whose `aleph-network-metrics` posts count.
    pub metrics_publishers: Vec<String>,
    /// Whether files and machines must be paid for. Without, nothing has a price; only private networks
    /// can do so, a node of the public one would accept what others refuse.
    pub charge: bool,
    /// The address whose aggregates `pricing` and `settings` count.
    pub price_publisher: String,
    /// Seconds after which accounts whose funds changed are held again against what they pay for.
    pub settle_seconds: u64,
}

impl NetworkConfig {
    /// How often accounts are held against what they pay for.
    pub fn settle_interval(&self) -> Duration {
        Duration::from_secs(self.settle_seconds.max(1))
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            private: false,
            genesis: None,
            http_peers: Vec::new(),
            corechannel_address: defaults::CORECHANNEL_ADDRESS.to_owned(),
            balance_publishers: defaults::BALANCE_PUBLISHERS.iter().map(|&text| text.to_owned()).collect(),
            credit_publishers: defaults::CREDIT_PUBLISHERS.iter().map(|&text| text.to_owned()).collect(),
            metrics_publishers: defaults::METRICS_PUBLISHERS.iter().map(|&text| text.to_owned()).collect(),
            charge: true,
            price_publisher: aleph_ledger::PRICE_PUBLISHER.to_owned(),
            settle_seconds: defaults::SETTLE_EVERY.as_secs(),
        }
    }
}

/// How messages are processed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineConfig {
    /// Seconds that a message waits for what it lacks.
    pub patience_seconds: u64,
    /// Threads that check signatures; 0 takes one a core.
    pub verify_threads: usize,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self { patience_seconds: defaults::PATIENCE.as_secs(), verify_threads: 0 }
    }
}

impl PipelineConfig {
    /// How long a message waits for what it lacks.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds)
    }
}

/// Placing programs on compute nodes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlacementConfig {
    /// The hash under which this node is registered in the node list; without it the node places nothing.
    pub node_hash: Option<String>,
    /// File with the hexadecimal secp256k1 key that signs allocations; relative to the data folder.
    pub key_file: Option<PathBuf>,
}

//! Settings of the HTTP API beside its address: who may ask how often, and how much uploads may take.

use aleph_types::limits;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::defaults;

/// The HTTP API towards its clients.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Proxies in front of the node, as addresses with a prefix length: what they say in `X-Forwarded-For`
    /// about their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How often one client may ask.
    pub limits: LimitsConfig,
    /// Uploads that may be resumed.
    pub uploads: UploadsConfig,
    /// Who may order work that costs the node time.
    pub operators: OperatorsConfig,
}

/// Who may order that prices are computed anew: whoever holds the secret key of `public_key`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperatorsConfig {
    /// Compressed secp256k1 key, 66 hexadecimal digits; empty: nobody may. By default the key of the public
    /// network's operators, as in the reference.
    pub public_key: String,
    /// Seconds for which a token holds.
    pub max_token_age_seconds: u64,
}

impl Default for OperatorsConfig {
    fn default() -> Self {
        Self { public_key: defaults::OPERATORS_KEY.to_owned(), max_token_age_seconds: 300 }
    }
}

/// How often one client may ask. A client is an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Off: everybody as often as they like.
    pub enabled: bool,
    /// Whether clients on this machine are limited, too.
    pub loopback: bool,
    /// Requests that read, a second.
    pub reads_per_second: u32,
    /// Requests that read, at once after a quiet while.
    pub reads_burst: u32,
    /// Requests that publish or upload, a second.
    pub writes_per_second: u32,
    /// Requests that publish or upload, at once after a quiet while.
    pub writes_burst: u32,
    /// WebSockets and event streams open at once.
    pub streams: usize,
}

impl Default for LimitsConfig {
    /// Far above what a page, a wallet or an indexer needs, and above what another node asks for while it
    /// catches up; far below what one core answers.
    fn default() -> Self {
        Self {
            enabled: true,
            loopback: false,
            reads_per_second: 200,
            reads_burst: 1000,
            writes_per_second: 100,
            writes_burst: 500,
            streams: 256,
        }
    }
}

/// Uploads that may be resumed. They take place on the disk before anybody has paid for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UploadsConfig {
    /// Unfinished uploads at once.
    pub count: usize,
    /// Unfinished uploads at once of one client.
    pub count_per_client: usize,
    /// Bytes that all unfinished uploads together may come to.
    pub total_bytes: u64,
    /// Bytes of one file that comes with a signed STORE. Other nodes fetch no files larger than the default.
    pub file_bytes: u64,
    /// Seconds after which an upload that does not go on is thrown away.
    pub expire_after_seconds: u64,
}

impl Default for UploadsConfig {
    fn default() -> Self {
        Self {
            count: 1024,
            count_per_client: 32,
            total_bytes: 16 * 1024 * 1024 * 1024,
            file_bytes: limits::STORAGE_FILE,
            expire_after_seconds: 24 * 3600,
        }
    }
}

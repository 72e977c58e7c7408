//! Where files are, and what of IPFS this node does.

use std::path::PathBuf;

use aleph_p2p::Limits;
use serde::{Deserialize, Serialize};

/// Where files are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesConfig {
    /// An object store that speaks S3; without one, the folder `files` in the data folder.
    pub s3: Option<S3Config>,
}

/// An object store that speaks S3.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Its address, such as `https://s3.example.org`; without one, AWS.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket. It must be there.
    pub bucket: String,
    /// What the keys of this node start with. No two nodes may have the same in one bucket.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// The region that requests are signed for.
    #[serde(default = "region")]
    pub region: String,
    /// The name of the access key; without one, the environment is asked as AWS's tools do it.
    #[serde(default)]
    pub access_key_id: Option<String>,
    /// File with the secret of the access key; relative to the data folder.
    #[serde(default)]
    pub secret_key_file: Option<PathBuf>,
}

fn prefix() -> String {
    "aleph".to_owned()
}

fn region() -> String {
    "us-east-1".to_owned()
}

/// Files and directories by CID. They need no node of IPFS: this one builds, checks and serves them alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IpfsConfig {
    /// Off: uploads under CIDs are refused. What messages name is kept and served all the same.
    pub enabled: bool,
    /// The RPC of a Kubo node, such as `http://127.0.0.1:5001`: what no core node has is fetched through it,
    /// and what is stored here is handed to it.
    pub kubo: Option<String>,
    /// Blocks are exchanged with peers of IPFS over the node's own port (bitswap): what is here is given to
    /// whoever asks for it, and what no core node has is asked for.
    pub bitswap: bool,
    /// Peers of IPFS that are asked for what no core node has: `/ip4/…/tcp/4001/p2p/…`.
    pub peers: Vec<String>,
    /// Gateways of IPFS that give single blocks, such as `https://ipfs.io`: what comes is checked.
    pub gateways: Vec<String>,
    /// Where it is told who has what, and looked up: `off`, `private` (machines that reach each other without
    /// the internet) or `public` (the network of IPFS; set `p2p.announce`, or nobody finds this node).
    pub dht: DhtKind,
    /// Peers that the table begins with: `/ip4/…/tcp/4001/p2p/…`.
    pub dht_peers: Vec<String>,
    /// Connections that this node opens at most to peers that neither its configuration nor the node list names:
    /// those of the table, and those of `peers`. One more closes the one that was quiet for longest.
    pub connections: u32,
    /// Bytes of one file under a CID, uploaded or fetched.
    pub file_bytes: u64,
    /// Bytes of one archive, uploaded or fetched.
    pub archive_bytes: u64,
}

impl Default for IpfsConfig {
    /// As the reference (`spec: ccn-api.md §10`).
    fn default() -> Self {
        Self {
            enabled: true,
            kubo: None,
            bitswap: true,
            peers: Vec::new(),
            gateways: Vec::new(),
            dht: DhtKind::Off,
            dht_peers: Vec::new(),
            connections: Limits::default().outgoing,
            file_bytes: 1 << 30,
            archive_bytes: 4 << 30,
        }
    }
}

/// Distributed tables of who has what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DhtKind {
    /// None.
    #[default]
    Off,
    /// Of machines that reach each other without the internet.
    Private,
    /// Of the public network of IPFS.
    Public,
}

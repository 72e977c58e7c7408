use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Client;
use crate::error::Result;

/// What a core node says about itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeInfo {
    /// Its version, as in `v0.9.0`.
    pub version: String,
    /// Where its peers reach it; empty until its peer-to-peer part runs.
    pub addresses: Vec<String>,
    /// Its figures by name (`spec: ccn-api.md §11.2`); empty when it serves none.
    pub metrics: Map<String, Value>,
}

impl NodeInfo {
    /// A figure of the node, if it is served and a whole number.
    pub fn metric(&self, name: &str) -> Option<i64> {
        self.metrics.get(name).and_then(Value::as_i64)
    }
}

impl Client {
    /// The node's version. The quickest sign of life.
    pub async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        let answer: Version = self.get_json("/api/v0/version", &[], "a version").await?;
        Ok(answer.version)
    }

    /// What the node says about itself.
    pub async fn node_info(&self) -> Result<NodeInfo> {
        #[derive(Deserialize, Default)]
        struct Public {
            #[serde(default)]
            node_multi_addresses: Vec<String>,
        }
        let version = self.version().await?;
        let public: Option<Public> =
            self.get_optional("/api/v0/info/public.json", &[], "the node's public addresses").await?;
        let metrics: Option<Map<String, Value>> =
            self.get_optional("/metrics.json", &[], "the node's metrics").await?;
        Ok(NodeInfo {
            version,
            addresses: public.unwrap_or_default().node_multi_addresses,
            metrics: metrics.unwrap_or_default(),
        })
    }
}

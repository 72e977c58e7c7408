use aleph_types::{ItemHash, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ComputeNode, CoreNode};

/// A decision of the responsible core node: this compute node runs that program.
///
/// It holds until another one replaces it or the program is gone: a node that can't be reached, or a list
/// that lacks it for a while, ends no allocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// The program.
    pub program: ItemHash,
    /// The core node that decided.
    pub core_hash: ItemHash,
    /// The compute node that runs it.
    pub crn_hash: ItemHash,
    /// Name of the compute node for people.
    pub name: String,
    /// HTTP address of the compute node.
    pub url: String,
    /// When it was decided, seconds since the epoch.
    #[serde(with = "seconds")]
    pub allocated_at: Timestamp,
}

impl Allocation {
    /// The decision of `core`; `None` when the compute node publishes no address.
    pub fn new(program: ItemHash, core: &CoreNode, compute: &ComputeNode, now: Timestamp) -> Option<Self> {
        Some(Self {
            program,
            core_hash: core.hash.clone(),
            crn_hash: compute.hash.clone(),
            name: compute.name.clone(),
            url: compute.address.clone()?,
            allocated_at: now,
        })
    }
}

mod seconds {
    use aleph_types::Timestamp;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        time.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

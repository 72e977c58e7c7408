//! The requests to compute nodes: how they are, and what they shall run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aleph_placement::{ComputeNode, Reach, Usage};
use aleph_types::ItemHash;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Identity, Inner, Measured};
use crate::clock;
use crate::intake::catch_up::error_chain;

/// A compute node that does not say how it is in this time counts as unreachable.
const USAGE_LIMIT: Duration = Duration::from_secs(3);

/// An answer about usage is a few kilobytes.
const USAGE_MAX: usize = 256 * 1024;

/// Measurements younger than this are used again.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Allocations are repeated after this long, so that a node that lost its memory gets them back.
const REPEAT_EVERY: Duration = Duration::from_secs(60);

/// An allocation may start downloads and machines; the reference lets it take minutes.
const ALLOCATION_LIMIT: Duration = Duration::from_secs(300);

const ALLOCATIONS_PATH: &str = "/control/allocations";

/// What a compute node shall run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Desired {
    persistent: BTreeSet<ItemHash>,
    on_demand: BTreeSet<ItemHash>,
}

impl Desired {
    pub(super) fn add(&mut self, program: ItemHash, persistent: bool) {
        if persistent { &mut self.persistent } else { &mut self.on_demand }.insert(program);
    }
}

/// What was last handed over.
#[derive(Debug, Clone)]
pub(super) struct Handed {
    desired: Desired,
    at: Instant,
    under_way: bool,
}

impl Inner {
    /// Asks the nodes how they are, all at once.
    pub(super) async fn measure(&self, nodes: &[&ComputeNode]) {
        let stale = |hash: &ItemHash| {
            self.compute.lock().get(hash).is_none_or(|measured| measured.at.elapsed() > MEASURE_EVERY)
        };
        let asked = nodes.iter().filter(|node| stale(&node.hash)).map(|node| async move {
            let (reach, usage) = match node.address.as_deref() {
                None => (Reach::Unknown, None),
                Some(url) => match self.usage(url).await {
                    Ok(usage) => (Reach::Reachable, usage),
                    Err(error) => {
                        tracing::debug!(compute_node = %node.hash, %error, "compute node does not answer");
                        (Reach::Unreachable, None)
                    }
                },
            };
            (node.hash.clone(), Measured { reach, usage, at: Instant::now() })
        });
        let answers = futures_util::future::join_all(asked).await;
        self.compute.lock().extend(answers);
    }

    async fn usage(&self, url: &str) -> Result<Option<Usage>, String> {
        let url = format!("{}/about/usage/system", url.trim_end_matches('/'));
        let exchange = async {
            let mut response = self.client.get(&url).send().await.map_err(|error| error_chain(&error))?;
            if !response.status().is_success() {
                return Err(format!("status {}", response.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| error_chain(&error))? {
                if body.len() + chunk.len() > USAGE_MAX {
                    return Err("the answer is too long".to_owned());
                }
                body.extend_from_slice(&chunk);
            }
            let value: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            Ok(read_usage(&value))
        };
        tokio::time::timeout(USAGE_LIMIT, exchange).await.map_err(|_| "no answer in time".to_owned())?
    }

    /// Tells a compute node what it shall run, unless it knows already.
    pub(super) async fn hand_over(&self, identity: &Identity, node: &ComputeNode, desired: Desired) {
        let Some(url) = node.address.as_deref() else { return };
        {
            let mut handed = self.handed.lock();
            let known = handed.get(&node.hash).is_some_and(|last| {
                last.under_way || (last.desired == desired && last.at.elapsed() < REPEAT_EVERY)
            });
            // A node that was never told anything has nothing to be told to stop.
            let nothing = handed.get(&node.hash).is_none() && desired == Desired::default();
            if known || nothing {
                return;
            }
            let last = Handed { desired: desired.clone(), at: Instant::now(), under_way: true };
            handed.insert(node.hash.clone(), last);
        }
        let result = self.send_allocations(identity, url, &desired).await;
        let mut handed = self.handed.lock();
        match result {
            Ok(()) => {
                if let Some(last) = handed.get_mut(&node.hash) {
                    last.under_way = false;
                }
            }
            Err(error) => {
                tracing::warn!(compute_node = %node.hash, url, error, "allocation not handed over; trying again");
                handed.remove(&node.hash);
            }
        }
    }

    async fn send_allocations(
        &self,
        identity: &Identity,
        url: &str,
        desired: &Desired,
    ) -> Result<(), String> {
        let body = json!({
            "persistent_vms": desired.persistent,
            "instances": [],
            "on_demand_vms": desired.on_demand,
        })
        .to_string();
        let authorization = authorization(identity, body.as_bytes(), clock::now().as_micros());
        let response = self
            .client
            .post(format!("{}{ALLOCATIONS_PATH}", url.trim_end_matches('/')))
            .header("authorization", authorization)
            .header("content-type", "application/json")
            .timeout(ALLOCATION_LIMIT)
            .body(body)
            .send()
            .await
            .map_err(|error| error_chain(&error))?;
        match response.status().as_u16() {
            200 | 207 => Ok(()),
            401 => Err("the compute node does not accept this node's signature; is this node its parent \
                        in the node list?"
                .to_owned()),
            status => Err(format!("status {status}")),
        }
    }
}

/// The scheme `Aleph-EIP191-V1` (`spec: crn-api.md §3.4`). The time makes every payload a new one.
fn authorization(identity: &Identity, body: &[u8], now_micros: i64) -> String {
    let payload = json!({
        "method": "POST",
        "path": ALLOCATIONS_PATH,
        "body_sha256": hex::encode(Sha256::digest(body)),
        "iat": now_micros.div_euclid(1_000_000),
        "nonce": now_micros,
    })
    .to_string();
    let signature = identity.key.sign_eip191(payload.as_bytes()).to_string();
    let digits = signature.strip_prefix("0x").unwrap_or(&signature);
    format!("Aleph-EIP191-V1 sig=0x{digits},payload=0x{}", hex::encode(payload))
}

fn read_usage(value: &Value) -> Option<Usage> {
    let available_kb = value.get("mem")?.get("available_kB")?.as_u64()?;
    let vcpus = value.get("cpu")?.get("count")?.as_u64()?;
    Some(Usage {
        free_memory_mib: available_kb.saturating_mul(1000) / (1024 * 1024),
        free_vcpus: u32::try_from(vcpus).unwrap_or(u32::MAX),
    })
}

//! Which compute node runs a program, when this node is the responsible one.
//!
//! Who is responsible follows from the node list alone (`aleph-placement`), so every core node knows it;
//! the responsible one picks a compute node among those linked to it, writes the allocation down, signs
//! it and hands it over. An allocation ends only when its program is forgotten or another node takes it:
//! a compute node that does not answer, or a list that can't be read, ends nothing.

mod control;
mod explain;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use aleph_crypto::EvmKey;
use aleph_placement::{
    Allocation, ComputeFacts, ComputeNode, CoreNode, Needs, NodeList, Reach, Usage, choose_compute,
    responsible,
};
use aleph_store::Store;
use aleph_types::content::Content;
use aleph_types::{ItemHash, MessageType};
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::{Config, PlacementConfig};
use crate::defaults;
use crate::pipeline::{Pipeline, PipelineError, ProcessedMessage};
use control::{Desired, Handed};

/// Why placement can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// The node hash is none.
    #[error("'placement.node_hash' is no item hash: {0}")]
    NodeHash(#[from] aleph_types::InvalidHash),
    /// The key file can't be read.
    #[error("can't read the placement key {path}; make one with `alephd keys generate`")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key is none.
    #[error("the placement key {path} is no secp256k1 key")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: aleph_crypto::KeyError,
    },
}

/// Places programs and explains where they are.
#[derive(Clone)]
pub struct Placement {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Option<Identity>,
    corechannel_address: String,
    store: Store,
    pipeline: Pipeline,
    client: reqwest::Client,
    /// What the compute nodes last said of themselves.
    compute: Mutex<HashMap<ItemHash, Measured>>,
    /// What was last handed to each compute node, and whether it took it.
    handed: Mutex<HashMap<ItemHash, Handed>>,
}

/// Who this node is in the node list, and its key.
struct Identity {
    node_hash: ItemHash,
    key: EvmKey,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    reach: Reach,
    usage: Option<Usage>,
    at: Instant,
}

impl std::fmt::Debug for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let node_hash = self.inner.identity.as_ref().map(|identity| &identity.node_hash);
        f.debug_struct("Placement").field("node_hash", &node_hash).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PlacingError {
    #[error(transparent)]
    Store(#[from] aleph_store::StoreError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl Placement {
    pub(crate) fn new(
        config: &Config,
        store: Store,
        pipeline: Pipeline,
        client: reqwest::Client,
    ) -> Result<Self, PlacementError> {
        Ok(Self {
            inner: Arc::new(Inner {
                identity: identity(&config.placement, &config.storage.data_dir)?,
                corechannel_address: config.network.corechannel_address.clone(),
                store,
                pipeline,
                client,
                compute: Mutex::default(),
                handed: Mutex::default(),
            }),
        })
    }

    /// Places programs until told to stop: at once when one is published or forgotten, or the node list
    /// changes, and now and then because compute nodes change.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        if self.inner.identity.is_none() {
            return;
        }
        let mut feed = self.inner.pipeline.subscribe();
        loop {
            if let Err(error) = self.inner.round().await {
                tracing::warn!(%error, "placement round failed");
            }
            let pause = tokio::time::sleep(defaults::PLACEMENT_EVERY);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = &mut pause => break,
                    next = feed.recv() => match next {
                        Ok(message) if self.inner.concerns(&message) => break,
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => break,
                        Err(RecvError::Closed) => return,
                    }
                }
            }
        }
    }

    /// The node list as it stands, if one was ever read.
    pub(crate) async fn node_list(&self) -> Result<Option<NodeList>, aleph_store::StoreError> {
        self.inner.node_list().await
    }

    /// Whether a message changes the node list.
    pub(crate) fn is_node_list(&self, message: &ProcessedMessage) -> bool {
        self.inner.is_node_list(message)
    }
}

fn identity(
    config: &PlacementConfig,
    data_dir: &std::path::Path,
) -> Result<Option<Identity>, PlacementError> {
    let (Some(node_hash), Some(key_file)) = (&config.node_hash, &config.key_file) else {
        return Ok(None);
    };
    let path = data_dir.join(key_file);
    let text = std::fs::read_to_string(&path)
        .map_err(|source| PlacementError::KeyFile { path: path.clone(), source })?;
    let key = EvmKey::from_hex(text.trim()).map_err(|source| PlacementError::Key { path, source })?;
    Ok(Some(Identity { node_hash: ItemHash::parse(node_hash)?, key }))
}

impl Inner {
    fn concerns(&self, message: &ProcessedMessage) -> bool {
        matches!(&message.content, Content::Program(_) | Content::Forget(_)) || self.is_node_list(message)
    }

    fn is_node_list(&self, message: &ProcessedMessage) -> bool {
        matches!(
            &message.content,
            Content::Aggregate(aggregate)
                if aggregate.key == "corechannel" && aggregate.address.as_str() == self.corechannel_address
        )
    }

    async fn node_list(&self) -> Result<Option<NodeList>, aleph_store::StoreError> {
        let content = self.store.aggregate_content(&self.corechannel_address, "corechannel").await?;
        Ok(content.map(|content| {
            let reading = NodeList::read(&serde_json::Value::Object(content));
            for skipped in &reading.skipped {
                tracing::debug!(list = skipped.list, reason = %skipped.reason, "node list entry skipped");
            }
            reading.list
        }))
    }

    /// What a program asks for, from its message.
    async fn needs(&self, program: &ItemHash) -> Result<Option<Needs>, aleph_store::StoreError> {
        let Some(document) = self.store.content_document(program).await? else { return Ok(None) };
        let parsed = aleph_types::json::parse(document.as_bytes())
            .ok()
            .and_then(|value| Content::parse_value(MessageType::Program, value).ok());
        Ok(match parsed {
            Some(Content::Program(program)) => Some(Needs::of_program(&program)),
            _ => None,
        })
    }

    /// One look at everything this node is responsible for.
    async fn round(&self) -> Result<(), PlacingError> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let Some(nodes) = self.node_list().await? else { return Ok(()) };
        let Some(me) = nodes.core_node(&identity.node_hash) else {
            tracing::debug!(node = %identity.node_hash, "this node is not in the node list; it places nothing");
            return Ok(());
        };
        let linked: Vec<&ComputeNode> = nodes.linked_to(&me.hash).collect();
        self.measure(&linked).await;

        let mut allocations = self.stored_allocations().await?;
        let programs = self.store.programs().await?;
        for gone in allocations.keys().filter(|known| !programs.contains(known)).cloned().collect::<Vec<_>>()
        {
            let program = gone.clone();
            self.pipeline.write(move |transaction| transaction.remove_allocation(&program)).await?;
            tracing::info!(program = %gone, "program forgotten: allocation ended");
            allocations.remove(&gone);
        }

        let mut desired: BTreeMap<ItemHash, Desired> = BTreeMap::new();
        for program in &programs {
            let Some(needs) = self.needs(program).await? else { continue };
            let held = allocations.get(program);
            let answers = responsible(program, needs.demanded_node.as_ref(), &nodes);
            if answers.is_none_or(|node| node.hash != me.hash) {
                // What this node placed stays until the node that answers for it now has placed it.
                if let Some(held) = held {
                    if self.taken_over(program, answers).await {
                        self.end_allocation(program, "another core node placed it").await?;
                    } else {
                        let holder = desired.entry(held.crn_hash.clone()).or_default();
                        holder.add(program.clone(), needs.persistent);
                    }
                }
                continue;
            }
            let facts = self.facts(&linked, held);
            let placement = choose_compute(program, &needs, &facts);
            let chosen = placement.chosen.as_ref().and_then(|hash| nodes.compute_node(hash));
            if let Some(chosen) = chosen
                && held.is_none_or(|held| held.crn_hash != chosen.hash)
            {
                self.allocate(program, me, chosen).await?;
            }
            // Without a choice what was decided before stays.
            let holder = chosen.map(|node| node.hash.clone()).or(held.map(|held| held.crn_hash.clone()));
            if let Some(holder) = holder {
                desired.entry(holder).or_default().add(program.clone(), needs.persistent);
            }
        }
        for node in linked {
            let wanted = desired.remove(&node.hash).unwrap_or_default();
            self.hand_over(identity, node, wanted).await;
        }
        Ok(())
    }

    async fn stored_allocations(&self) -> Result<BTreeMap<ItemHash, Allocation>, PlacingError> {
        let mut allocations = BTreeMap::new();
        for (program, document) in self.store.allocations().await? {
            match serde_json::from_str::<Allocation>(&document) {
                Ok(allocation) => {
                    allocations.insert(program, allocation);
                }
                Err(error) => tracing::error!(%program, %error, "stored allocation can't be read"),
            }
        }
        Ok(allocations)
    }

    async fn allocate(
        &self,
        program: &ItemHash,
        me: &CoreNode,
        chosen: &ComputeNode,
    ) -> Result<(), PlacingError> {
        let now = clock::now();
        let Some(allocation) = Allocation::new(program.clone(), me, chosen, now) else { return Ok(()) };
        let document = serde_json::to_string(&allocation).unwrap_or_default();
        let of = program.clone();
        self.pipeline.write(move |transaction| transaction.set_allocation(&of, &document, now)).await?;
        tracing::info!(%program, compute_node = %chosen.hash, url = %allocation.url, "program allocated");
        Ok(())
    }

    async fn end_allocation(&self, program: &ItemHash, why: &str) -> Result<(), PlacingError> {
        let gone = program.clone();
        self.pipeline.write(move |transaction| transaction.remove_allocation(&gone)).await?;
        tracing::info!(%program, why, "allocation ended");
        Ok(())
    }

    /// Whether the core node that answers for a program says that it placed it.
    async fn taken_over(&self, program: &ItemHash, answers: Option<&CoreNode>) -> bool {
        let Some(url) = answers.and_then(explain::core_url) else { return false };
        let answer = self.ask(&url, program).await;
        answer.is_some_and(|answer| answer.get("allocation").is_some_and(serde_json::Value::is_object))
    }

    fn facts(&self, linked: &[&ComputeNode], held: Option<&Allocation>) -> Vec<ComputeFacts> {
        let measured = self.compute.lock();
        linked
            .iter()
            .map(|node| {
                let mut facts = ComputeFacts::unknown(node);
                if let Some(measured) = measured.get(&node.hash) {
                    facts.reach = measured.reach;
                    facts.usage = measured.usage;
                }
                facts.holds = held.is_some_and(|held| held.crn_hash == node.hash);
                facts
            })
            .collect()
    }
}

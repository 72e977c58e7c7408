//! Files that messages wait for, fetched by hash from whoever has them (`spec: p2p.md §7`).
//!
//! Sources, each in its turn: the HTTP APIs of other nodes, tried two at a time in random order; for CIDs
//! then the blocks of peers and of gateways ([`tree`]), and at last the node of IPFS beside this one. The
//! next source starts when those before have failed or bring nothing for a while ([`race`]), and no
//! transfer has a limit on the whole. A source that sends the wrong bytes is skipped; what was received is
//! kept only if it has the hash that was asked for; of a tree that came in part, what came is kept
//! ([`partial`]), and where one node breaks off in a file, the next one goes on ([`http`]). The fetch is
//! repeated with growing pauses until the file is here or nobody waits for it any more.
//!
//! A file under a CID comes from other nodes as plain bytes, if they lead to the CID under one of the layouts
//! in use, or else as an archive; a directory always comes as an archive.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_cid::Cid;
use aleph_types::{HashKind, ItemHash};
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::files::Files;
use crate::metrics::Metrics;
use crate::peers::HttpPeers;
use crate::pipeline::Pipeline;

mod http;
mod partial;
mod race;
mod tree;

use http::{Begun, Http};
use race::{Progress, Stage, race};
pub(crate) use tree::{BlockPlaces, NotAPeer, table_of};

/// Fetches at once.
const FETCHES: usize = 16;

/// Trees at once that come block by block: each holds some ten MiB in memory.
const TREES: usize = 6;

/// Sources asked at once for one file.
const RACED: usize = 2;

/// A source that sends nothing for this long is given up; there is no limit on the whole transfer.
const STALL: Duration = Duration::from_secs(10);

/// When no source has brought anything for about this long, the next one is asked as well.
const NEXT_SOURCE: Duration = Duration::from_secs(2);

/// Pause after the first failed round; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Fetches files in the background.
#[derive(Clone)]
pub(crate) struct Resolver {
    inner: Arc<Inner>,
}

struct Inner {
    files: Files,
    peers: HttpPeers,
    client: reqwest::Client,
    pipeline: Pipeline,
    metrics: Arc<Metrics>,
    under_way: Mutex<HashSet<ItemHash>>,
    slots: Semaphore,
    places: BlockPlaces,
    trees: Semaphore,
    /// For the node of IPFS beside this one.
    beside: Semaphore,
    patience: Duration,
    stopping: CancellationToken,
}

impl Resolver {
    pub(crate) fn new(
        files: Files,
        peers: HttpPeers,
        places: BlockPlaces,
        pipeline: Pipeline,
        metrics: Arc<Metrics>,
        patience: Duration,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                files,
                peers,
                client: places.client.clone(),
                pipeline,
                metrics,
                under_way: Mutex::default(),
                slots: Semaphore::new(FETCHES),
                places,
                trees: Semaphore::new(TREES),
                beside: Semaphore::new(FETCHES),
                patience,
                stopping,
            }),
        }
    }

    /// Gets `hash` sooner or later; several calls for one hash are one fetch.
    pub(crate) fn want(&self, hash: ItemHash) {
        if !self.inner.under_way.lock().insert(hash.clone()) {
            return;
        }
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let here = tokio::select! {
                () = inner.stopping.cancelled() => false,
                here = inner.fetch_until_here(&hash) => here,
            };
            // First this: who wants the file from now on waits for a fetch of its own.
            inner.under_way.lock().remove(&hash);
            if here {
                inner.pipeline.arrived(hash);
            }
        });
    }
}

impl Inner {
    /// Whether the file is here in the end.
    async fn fetch_until_here(&self, hash: &ItemHash) -> bool {
        let started = Instant::now();
        let mut pause = PAUSE_FIRST;
        let begun = Begun::default();
        // The waiting message is rejected when patience ends; a little longer covers its last try.
        while started.elapsed() < self.patience + PAUSE_MAX {
            match self.files.contains(hash).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => tracing::warn!(file = %hash, %error, "file store can't be read"),
            }
            self.metrics.fetches.increment();
            let round = Instant::now();
            if let Some((source, brought)) = self.fetch_once(hash, &begun).await {
                let millis = u64::try_from(round.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.metrics.fetch_millis.add(millis);
                tracing::info!(file = %hash, source, %brought, millis, "file fetched");
                return true;
            }
            self.metrics.fetches_failed.increment();
            // Jitter keeps a hundred nodes from asking one origin at the same instant.
            let spread = pause.mul_f64(0.5 + rand_unit());
            tokio::time::sleep(spread).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        tracing::info!(file = %hash, "gave up: no node had the file in time");
        false
    }

    /// One round over all sources: which one had it, and what it brought, in words.
    async fn fetch_once(&self, hash: &ItemHash, begun: &Begun) -> Option<(&'static str, String)> {
        let progress = || Progress::new();
        let (nodes, trees, beside) = (progress(), progress(), progress());
        let from_nodes = self.fetch_from_nodes(hash, nodes.clone(), begun).boxed();
        let mut stages = vec![Stage { name: "nodes", run: from_nodes, progress: nodes }];
        if let Ok(root) = Cid::try_from(hash)
            && hash.kind() == HashKind::Ipfs
        {
            if self.places.has_any() {
                let run = self.fetch_blocks(hash, root, trees.clone()).boxed();
                stages.push(Stage { name: "blocks", run, progress: trees });
            }
            let run = self.fetch_beside(hash).boxed();
            stages.push(Stage { name: "kubo", run, progress: beside });
        }
        // Somewhat earlier or later on each node, so that a hundred of them don't fall on one origin.
        let (source, brought) = race(stages, NEXT_SOURCE.mul_f64(0.5 + rand_unit())).await?;
        if source != "kubo" {
            self.files.hand_over(hash, &self.stopping);
        }
        Some((source, brought))
    }

    async fn fetch_from_nodes(&self, hash: &ItemHash, progress: Progress, begun: &Begun) -> Option<String> {
        let _slot = self.slots.acquire().await.ok()?;
        let http = Http { files: &self.files, client: &self.client, progress: &progress, begun };
        let sources = self.peers.shuffled();
        let mut attempts = futures_util::stream::iter(sources.into_iter().map(|source| {
            let http = &http;
            async move {
                let outcome = http.fetch_from(&source, hash).await;
                (source, outcome)
            }
        }))
        .buffer_unordered(RACED);
        while let Some((source, outcome)) = attempts.next().await {
            match outcome {
                Ok(()) => return Some(source),
                Err(error) => tracing::debug!(file = %hash, %source, %error, "source skipped"),
            }
        }
        None
    }

    /// Block by block, from peers and gateways.
    async fn fetch_blocks(&self, hash: &ItemHash, root: Cid, progress: Progress) -> Option<String> {
        let _slot = self.trees.acquire().await.ok()?;
        match self.places.fetch(&self.files, root, &progress).await {
            Ok(brought) => {
                self.metrics.fetched_blocks.add(brought.from_peers + brought.from_gateways);
                Some(brought.to_string())
            }
            Err(error) => {
                tracing::debug!(file = %hash, %error, "its blocks did not come");
                None
            }
        }
    }

    /// From the node of IPFS beside this one. What it has to look for takes long, and holds up nobody who
    /// waits for other nodes.
    async fn fetch_beside(&self, hash: &ItemHash) -> Option<String> {
        let kubo = self.files.kubo()?;
        let _slot = self.beside.acquire().await.ok()?;
        match kubo.fetch(&self.files, hash).await {
            Ok(_) => {
                if let Err(error) = kubo.pin(hash).await {
                    tracing::warn!(file = %hash, %error, "the IPFS node does not keep what it gave");
                }
                Some("an archive".to_owned())
            }
            Err(error) => {
                tracing::debug!(file = %hash, %error, "the IPFS node has not given it");
                None
            }
        }
    }
}

/// A number in [0, 1) good enough for jitter.
fn rand_unit() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let word = RandomState::new().hash_one(0u8) >> 11;
    word as f64 / (1u64 << 53) as f64
}

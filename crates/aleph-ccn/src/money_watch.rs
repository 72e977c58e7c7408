//! What an operator should know of the network's money: prices and settings that could not be used as they
//! were published, and posts that look like orders to nodes and are none (`spec: payments.md §2`,
//! `messages.md §13`).
//!
//! Follows what is processed. Faults of prices and settings are logged once per change, counted, and shown
//! under `/api/v1/node/health` for as long as they stand. Posts of publishers that this node does not know
//! are counted, logged once for each publisher, and shown there too: anybody can send one, so they change
//! nothing of the node's verdict on itself. Bounded whatever is published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aleph_ledger::Notice;
use aleph_rules::{Publishers, Tariff, Unheeded};
use aleph_store::Store;
use aleph_types::content::Content;
use aleph_types::{Address, ItemHash};
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::pipeline::{Pipeline, ProcessedMessage};

/// How long further elements are waited for before prices are read anew.
const SETTLE: Duration = Duration::from_millis(200);

/// After a failed read of the prices.
const RETRY: Duration = Duration::from_secs(10);

/// Faults that are logged and shown at once.
const FAULTS: usize = 32;

/// Unheeded publishers that are remembered; further ones are only counted.
const PUBLISHERS: usize = 32;

/// Posts of one address that look like orders to nodes and are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnheededPosts {
    /// Their type, shortened by nothing: node-level types are few.
    pub(crate) post_type: String,
    /// Who published them.
    pub(crate) publisher: Address,
    /// Why they do nothing.
    pub(crate) why: Unheeded,
    /// How many since the node started.
    pub(crate) posts: u64,
    /// The newest of them.
    pub(crate) last: ItemHash,
}

/// Follows prices, settings and node-level posts.
#[derive(Debug)]
pub(crate) struct MoneyWatch {
    store: Store,
    publishers: Publishers,
    /// Whose prices count; `None`: nothing costs anything.
    pricing: Option<Address>,
    metrics: Arc<Metrics>,
    faults: Mutex<Vec<Notice>>,
    unheeded: Mutex<BTreeMap<(String, Address, Unheeded), UnheededPosts>>,
}

impl MoneyWatch {
    pub(crate) fn new(
        store: Store,
        publishers: Publishers,
        pricing: Option<Address>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { store, publishers, pricing, metrics, faults: Mutex::default(), unheeded: Mutex::default() }
    }

    /// What is wrong with prices and settings now.
    pub(crate) fn faults(&self) -> Vec<Notice> {
        self.faults.lock().clone()
    }

    /// Who publishes what this node does not heed.
    pub(crate) fn unheeded(&self) -> Vec<UnheededPosts> {
        self.unheeded.lock().values().cloned().collect()
    }

    /// Whose posts nodes act upon.
    pub(crate) fn publishers(&self) -> &Publishers {
        &self.publishers
    }

    /// Reads prices at the start and after each change of them, until the node stops.
    pub(crate) async fn run(self: Arc<Self>, pipeline: Pipeline, stopping: CancellationToken) {
        let mut feed = pipeline.subscribe();
        drop(pipeline);
        let mut due = self.pricing.is_some().then(Instant::now);
        loop {
            let read = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = read => due = self.read().await,
                next = feed.recv() => match next {
                    Ok(message) => {
                        self.look(&message);
                        if due.is_none() && self.may_change_prices(&message) {
                            due = Some(Instant::now() + SETTLE);
                        }
                    }
                    // What was missed may have been prices; missed posts are not counted.
                    Err(RecvError::Lagged(_)) => {
                        if due.is_none() && self.pricing.is_some() {
                            due = Some(Instant::now() + SETTLE);
                        }
                    }
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn may_change_prices(&self, message: &ProcessedMessage) -> bool {
        let Some(pricing) = &self.pricing else { return false };
        match &message.content {
            Content::Aggregate(aggregate) => message.owner() == pricing && Tariff::is_part(&aggregate.key),
            // Which elements it takes away is not worth a question: prices are seldom forgotten.
            Content::Forget(_) => message.owner() == pricing || message.message.sender == *pricing,
            _ => false,
        }
    }

    /// Reads prices and settings; gives when to try again, if that failed.
    async fn read(&self) -> Option<Instant> {
        let pricing = self.pricing.clone()?;
        match self.store.tariff(pricing).await {
            Ok(tariff) => {
                self.found(tariff.notices);
                None
            }
            Err(error) => {
                tracing::warn!(%error, "prices can't be read to look for faults; the node tries again");
                Some(Instant::now() + RETRY)
            }
        }
    }

    /// Tells what is new and what is over.
    fn found(&self, now: Vec<Notice>) {
        let count = |kind: &str| now.iter().filter(|notice| notice.kind() == kind).count() as u64;
        self.metrics.price_kept.set(count("price_kept"));
        self.metrics.price_unusable.set(count("price_unusable"));
        self.metrics.unknown_product.set(count("unknown_product"));
        self.metrics.setting_kept.set(count("setting_kept"));
        let before = std::mem::take(&mut *self.faults.lock());
        let texts = |list: &[Notice]| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let (were, are) = (texts(&before), texts(&now));
        for notice in now.iter().filter(|notice| !were.contains(&notice.to_string())).take(FAULTS) {
            tracing::warn!(
                kind = notice.kind(),
                element = notice.element().map(ItemHash::as_str),
                "{notice}"
            );
        }
        for text in were.difference(&are).take(FAULTS) {
            tracing::info!("put right: {text}");
        }
        *self.faults.lock() = now.into_iter().take(FAULTS).collect();
    }

    /// Notes a post that looks like an order to nodes and is none.
    fn look(&self, message: &ProcessedMessage) {
        let Content::Post(post) = &message.content else { return };
        let channel = message.message.channel.as_ref();
        let Some(why) = Unheeded::of(&post.post_type, &post.address, channel, &self.publishers) else {
            return;
        };
        self.metrics.unheeded_posts.increment();
        let key = (post.post_type.clone(), post.address.clone(), why);
        let mut unheeded = self.unheeded.lock();
        let last = message.message.item_hash.clone();
        if let Some(known) = unheeded.get_mut(&key) {
            known.posts += 1;
            known.last = last;
            return;
        }
        if unheeded.len() >= PUBLISHERS {
            return;
        }
        tracing::info!(
            post_type = post.post_type,
            publisher = %post.address,
            item_hash = %last,
            "{}",
            unheeded_text(why)
        );
        let (post_type, publisher) = (post.post_type.clone(), post.address.clone());
        unheeded.insert(key, UnheededPosts { post_type, publisher, why, posts: 1, last });
    }
}

/// Why such posts do nothing.
pub(crate) fn unheeded_text(why: Unheeded) -> &'static str {
    match why {
        Unheeded::Publisher => {
            "posts that nodes act upon came from an address that is none of the configured publishers: \
             they are ordinary posts here"
        }
        Unheeded::Channel => {
            "posts that nodes act upon came on another channel than they count on: they are ordinary posts"
        }
    }
}

//! What gossip did not bring: each node reads on in the logs of the others from where it stopped.
//!
//! Every node numbers the messages that it processes ([`aleph_store::LogEntry`]). For each peer this node
//! keeps the last number it has dealt with; asking for what follows finds everything the peer has and this
//! node lacks, whether gossip was lost, a connection was cut or this node was off. Only hashes travel
//! unless a message is really missing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aleph_store::{LogEntry, Store};
use aleph_types::ParsedMessage;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::defaults;
use crate::metrics::Metrics;
use crate::peers::HttpPeers;
use crate::pipeline::{Origin, Outcome, Pipeline, PipelineError};

/// Log entries of one page.
pub(crate) const LOG_PAGE: usize = 5000;

/// Messages of one request.
pub(crate) const MESSAGES_PAGE: usize = 200;

/// Longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 * 1024 * 1024;

/// A peer that does not answer in this time is left for the next round.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// A page of a node's log, as it is served at `/api/v1/sync/log`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LogPage {
    /// Identity of the node's database; another one means another log.
    pub(crate) database: String,
    /// In order.
    pub(crate) entries: Vec<LogEntry>,
}

/// A request for messages, as it is taken at `/api/v1/sync/messages`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MessagesRequest {
    /// At most [`MESSAGES_PAGE`].
    pub(crate) hashes: Vec<aleph_types::ItemHash>,
}

/// The answer to it: envelopes as they are published.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MessagesAnswer {
    pub(crate) messages: Vec<serde_json::Value>,
}

/// Where this node stopped in a peer's log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    database: String,
    seq: i64,
}

#[derive(Debug, thiserror::Error)]
enum CatchUpError {
    #[error("request failed")]
    Http(#[from] reqwest::Error),
    #[error("answered status {0}")]
    Status(u16),
    #[error("did not answer in {} s", REQUEST_LIMIT.as_secs())]
    Slow,
    #[error("answered more than {ANSWER_MAX} bytes")]
    TooLarge,
    #[error("answered something else than asked for")]
    Form(#[from] serde_json::Error),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Store(#[from] aleph_store::StoreError),
}

pub(crate) struct CatchUp {
    pub(crate) peers: HttpPeers,
    pub(crate) client: reqwest::Client,
    pub(crate) store: Store,
    pub(crate) pipeline: Pipeline,
    pub(crate) metrics: Arc<Metrics>,
}

impl CatchUp {
    /// Asks every peer now and then, and at once when `nudge` says that one appeared.
    pub(crate) async fn run(self, nudge: Arc<Notify>, stopping: CancellationToken) {
        let mut positions: HashMap<String, Position> = HashMap::new();
        loop {
            let urls = self.peers.shuffled();
            self.metrics.catching_up.keep(&urls);
            for url in urls {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    result = self.read_on(&url, &mut positions) => {
                        if let Err(error) = result {
                            self.metrics.catching_up.failed(&url, error_chain(&error));
                            tracing::debug!(peer = %url, error = %error_chain(&error), "could not catch up");
                        }
                    }
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(defaults::CATCH_UP_EVERY) => {}
                () = nudge.notified() => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    async fn read_on(
        &self,
        url: &str,
        positions: &mut HashMap<String, Position>,
    ) -> Result<(), CatchUpError> {
        if !positions.contains_key(url) {
            let stored = self.store.meta(&meta_key(url)).await?;
            let position = stored.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            positions.insert(url.to_owned(), position);
        }
        loop {
            let mut position = positions.get(url).cloned().unwrap_or_default();
            let page: LogPage = self
                .request(
                    self.client
                        .get(format!("{url}/api/v1/sync/log"))
                        .query(&[("after", position.seq.to_string()), ("limit", LOG_PAGE.to_string())]),
                )
                .await?;
            if page.database != position.database {
                // Another database than last time: read it from its start.
                let from_start = position.seq == 0;
                position = Position { database: page.database.clone(), seq: 0 };
                if !from_start {
                    positions.insert(url.to_owned(), position);
                    continue;
                }
            }
            let Some(last) = page.entries.last().map(|entry| entry.seq) else {
                self.metrics.catching_up.read_to(url, position.seq, true);
                return Ok(());
            };
            let full = page.entries.len() >= LOG_PAGE;
            let hashes = page.entries.into_iter().map(|entry| entry.item_hash).collect();
            let missing = self.store.missing(hashes).await?;
            for chunk in missing.chunks(MESSAGES_PAGE) {
                self.fetch(url, chunk).await?;
            }
            position.seq = last;
            let text = serde_json::to_string(&position)?;
            let key = meta_key(url);
            self.pipeline.write(move |transaction| transaction.set_meta(&key, &text)).await?;
            self.metrics.catching_up.read_to(url, position.seq, !full);
            positions.insert(url.to_owned(), position);
            if !full {
                return Ok(());
            }
        }
    }

    async fn fetch(&self, url: &str, hashes: &[aleph_types::ItemHash]) -> Result<(), CatchUpError> {
        let request = MessagesRequest { hashes: hashes.to_vec() };
        let answer: MessagesAnswer =
            self.request(self.client.post(format!("{url}/api/v1/sync/messages")).json(&request)).await?;
        let mut fates = Vec::with_capacity(answer.messages.len());
        for value in answer.messages {
            match ParsedMessage::from_value(&value) {
                Ok(parsed) => fates.push(self.pipeline.submit(parsed, Origin::CatchUp)),
                Err(error) => tracing::debug!(peer = %url, %error, "peer stores an invalid message"),
            }
        }
        for fate in futures_util::future::join_all(fates).await {
            if fate? == Outcome::Processed {
                self.metrics.caught_up.increment();
            }
        }
        Ok(())
    }

    /// Sends a request and reads a bounded JSON answer.
    async fn request<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, CatchUpError> {
        let exchange = async {
            let mut response = request.send().await?;
            if !response.status().is_success() {
                return Err(CatchUpError::Status(response.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > ANSWER_MAX {
                    return Err(CatchUpError::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(serde_json::from_slice(&body)?)
        };
        tokio::time::timeout(REQUEST_LIMIT, exchange).await.map_err(|_| CatchUpError::Slow)?
    }
}

fn meta_key(url: &str) -> String {
    format!("catch-up:{url}")
}

/// An error with its causes, on one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

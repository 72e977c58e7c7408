//! Contents of messages that were not published, by their hash: from this disk, or from other nodes. What
//! comes from others is verified and kept nowhere, so that nobody fills a disk by asking.

use std::time::Duration;

use aleph_types::{HashKind, ItemHash};
use axum::http::StatusCode;
use futures_util::StreamExt;

use super::Api;
use super::errors::ApiError;
use crate::pipeline::MAX_CONTENT;

/// Contents that are fetched at once; each takes up to 16 MiB of memory.
pub(super) const AT_ONCE: usize = 4;

/// Nodes that are asked for one content.
const SOURCES: usize = 8;

/// How long one node may take.
const EACH: Duration = Duration::from_secs(5);

/// How long all of them may take, and waiting for a turn.
const ALL: Duration = Duration::from_secs(15);

/// The content of that hash.
pub(super) async fn read(api: &Api, hash: &ItemHash) -> Result<Vec<u8>, ApiError> {
    let (files, name) = (api.node.files.clone(), hash.clone());
    let read = tokio::task::spawn_blocking(move || files.read_sync(&name, MAX_CONTENT));
    if let Some(bytes) = read.await.map_err(|error| ApiError::internal(&error))?? {
        return Ok(bytes.into());
    }
    let next = "send it as 'item_content', or store it on a node first";
    let missing = |why: &str| ApiError::text(StatusCode::NOT_FOUND, format!("Content {hash} {why}: {next}"));
    if hash.kind() != HashKind::Storage {
        return Err(missing("is a file of IPFS that this node does not have"));
    }
    match tokio::time::timeout(ALL, fetch(api, hash)).await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(missing("is on no node that this one reaches")),
        Err(_) => Err(missing("came from no node in time")),
    }
}

/// From the first node that gives it whole.
async fn fetch(api: &Api, hash: &ItemHash) -> Option<Vec<u8>> {
    let _turn = api.contents.acquire().await.ok()?;
    for source in api.node.peers.shuffled().into_iter().take(SOURCES) {
        let url = format!("{source}/api/v0/storage/raw/{hash}");
        match tokio::time::timeout(EACH, fetch_from(api, &url)).await {
            Ok(Ok(Some(bytes))) if ItemHash::sha256(&bytes) == *hash => return Some(bytes),
            Ok(Ok(_)) => tracing::debug!(%hash, source, "gives no such content"),
            Ok(Err(error)) => tracing::debug!(%hash, source, %error, "can't be asked for a content"),
            Err(_) => tracing::debug!(%hash, source, "is too slow"),
        }
    }
    None
}

/// `None`: it has none, or a longer one than contents may be.
async fn fetch_from(api: &Api, url: &str) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let response = api.node.client.get(url).send().await?;
    if !response.status().is_success() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if (bytes.len() + chunk.len()) as u64 > MAX_CONTENT {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

//! A node of IPFS beside this one, by its RPC: what messages name and nobody of this network has is asked of
//! it, and what is stored here is handed to it, so that the rest of IPFS finds it.
//!
//! Nothing that it says is believed: what comes is checked block by block.

use std::sync::Arc;
use std::time::Duration;

use aleph_cid::Cid;
use aleph_rules::FileInfo;
use aleph_types::ItemHash;
use futures_util::StreamExt as _;
use reqwest::multipart::{Form, Part};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::archive::ImportError;
use super::pieces::{self, Blocks};
use super::{Files, Opened, canonical};

/// Finding who has something takes a while (`spec: ccn-config.md`, `ipfs.stat_timeout`).
const FINDING: Duration = Duration::from_secs(30);

/// A transfer that brings nothing for this long is given up.
const STALL: Duration = Duration::from_secs(30);

/// Longest answer to a command.
const ANSWER: Duration = Duration::from_secs(60);

/// Why the node beside did not do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KuboError {
    /// It did not answer.
    #[error(
        "the IPFS node of 'ipfs.kubo' can't be asked ({0}): see that it runs and that its RPC port can be reached"
    )]
    Http(#[source] reqwest::Error),
    /// It did not find it, or sent nothing for a while.
    #[error("the IPFS node sent nothing for {} s", STALL.as_secs())]
    Stalled,
    /// It refused.
    #[error("the IPFS node answered status {status}: {text}")]
    Status {
        /// Of the answer.
        status: u16,
        /// What it says, cut to 300 characters.
        text: String,
    },
    /// What it sent is not what was asked for.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// It is not here.
    #[error("{0} is not here")]
    Absent(ItemHash),
    /// The files of this node.
    #[error(transparent)]
    Blob(#[from] aleph_blobs::BlobError),
}

/// What may wait to be handed over.
const WAITING: usize = 1024;

/// What is handed over at once.
const AT_ONCE: usize = 4;

/// The RPC of a node of IPFS.
#[derive(Debug, Clone)]
pub(crate) struct Kubo {
    url: String,
    client: reqwest::Client,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Kubo {
    pub(super) fn new(url: &str, client: reqwest::Client) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            client,
            places: Arc::new(Semaphore::new(WAITING)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// A place among those that wait to be handed over; none when it is too slow.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    fn command(&self, command: &str) -> reqwest::RequestBuilder {
        self.client.post(format!("{}/api/v0/{command}", self.url))
    }

    /// Fetches `hash` into `files`: the whole tree in one archive.
    pub(crate) async fn fetch(&self, files: &Files, hash: &ItemHash) -> Result<FileInfo, KuboError> {
        let cid = Cid::try_from(hash).map_err(ImportError::from)?;
        let request =
            self.command("dag/export").query(&[("arg", hash.as_str()), ("progress", "false")]).send();
        let response = answered(FINDING, request).await?;
        let mut writer = files.archive_writer(files.limits().archive_bytes);
        let mut body = response.bytes_stream();
        loop {
            match tokio::time::timeout(STALL, body.next()).await {
                Err(_) => return Err(KuboError::Stalled),
                Ok(None) => break,
                Ok(Some(chunk)) => writer.write(&chunk.map_err(KuboError::Http)?).await?,
            }
        }
        Ok(writer.finish(Some(&cid)).await?)
    }

    /// Hands `hash` over, to be kept and told to others.
    pub(crate) async fn give(&self, files: &Files, hash: &ItemHash) -> Result<(), KuboError> {
        let Ok(_turn) = self.turns.acquire().await else { return Ok(()) };
        let cid = Cid::try_from(hash).map_err(ImportError::from)?;
        let opened = files.open(hash).await?.ok_or_else(|| KuboError::Absent(hash.clone()))?;
        let blocks = match opened {
            Opened::Archive(archive) => Blocks::Archive(archive),
            Opened::File(blob) => Blocks::File { blob, root: cid, map: None, room: files.maps() },
        };
        let body = reqwest::Body::wrap_stream(pieces::car(blocks, cid, ()));
        let part = Part::stream(body).file_name("archive.car").mime_str("application/octet-stream");
        let form = Form::new().part("file", part.map_err(KuboError::Http)?);
        let request = self.command("dag/import").query(&[("pin-roots", "true")]).multipart(form).send();
        // No limit on the whole: what is large takes its time.
        let response = request.await.map_err(KuboError::Http)?;
        let response = refused(response).await?;
        // The node tells of failures in its answer, too.
        let text = response.text().await.map_err(KuboError::Http)?;
        let pinned = text.lines().filter_map(|line| aleph_types::json::parse(line.as_bytes()).ok());
        let error = pinned.filter_map(|line| {
            let error = line.get("Root")?.get("PinErrorMsg")?.as_str()?.to_owned();
            (!error.is_empty()).then_some(error)
        });
        match error.into_iter().next() {
            Some(text) => Err(KuboError::Status { status: 200, text }),
            None => Ok(()),
        }
    }

    /// Asks it to keep what it gave.
    pub(crate) async fn pin(&self, hash: &ItemHash) -> Result<(), KuboError> {
        let request = self.command("pin/add").query(&[("arg", hash.as_str())]).send();
        answered(ANSWER, request).await.map(drop)
    }

    /// Says that `hash` is not needed here any more.
    pub(crate) async fn release(&self, hash: &ItemHash) -> Result<(), KuboError> {
        let name = canonical(hash);
        let request = self.command("pin/rm").query(&[("arg", name.as_str())]).send();
        answered(ANSWER, request).await.map(drop)
    }

    /// Whether it answers.
    pub(crate) async fn check(&self) -> Result<(), KuboError> {
        answered(Duration::from_secs(3), self.command("version").send()).await.map(drop)
    }
}

async fn answered(
    patience: Duration,
    request: impl Future<Output = reqwest::Result<reqwest::Response>>,
) -> Result<reqwest::Response, KuboError> {
    let response = tokio::time::timeout(patience, request).await.map_err(|_| KuboError::Stalled)?;
    refused(response.map_err(KuboError::Http)?).await
}

async fn refused(response: reqwest::Response) -> Result<reqwest::Response, KuboError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = tokio::time::timeout(ANSWER, response.text()).await.ok().and_then(Result::ok);
    let text = text.unwrap_or_default().chars().take(300).collect();
    Err(KuboError::Status { status: status.as_u16(), text })
}

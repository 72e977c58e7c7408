//! Files from the HTTP APIs of other core nodes: plain bytes, or an archive of what plain bytes can't show.

use aleph_blobs::BlobWriter;
use aleph_cid::Cid;
use aleph_types::{HashKind, ItemHash, limits};
use futures_util::StreamExt as _;
use http::{HeaderMap, header};

use super::STALL;
use super::race::Progress;
use crate::files::archive::ImportError;
use crate::files::{Files, canonical};

/// Fetches from one node at a time.
pub(super) struct Http<'a> {
    pub(super) files: &'a Files,
    pub(super) client: &'a reqwest::Client,
    pub(super) progress: &'a Progress,
}

impl Http<'_> {
    /// Gets `hash` from the node at `source`.
    pub(super) async fn fetch_from(&self, source: &str, hash: &ItemHash) -> Result<(), FetchError> {
        let url = format!("{source}/api/v0/storage/raw/{hash}");
        if hash.kind() == HashKind::Storage {
            let response = self.ask(&url, limits::STORAGE_FILE).await?;
            let writer = self.files.writer(limits::STORAGE_FILE);
            return self.receive(response, writer, hash).await;
        }
        let cid = Cid::try_from(hash).map_err(ImportError::from)?;
        let most = self.files.limits().file_bytes;
        let response = self.ask(&url, most).await?;
        // Nobody calls plain bytes a tar: that is a directory.
        let plain = if is_type(response.headers(), "application/x-tar") {
            Err(FetchError::Directory)
        } else {
            let writer = self.files.check_writer(most, &cid);
            self.receive(response, writer, &canonical(hash)).await
        };
        match plain {
            Err(FetchError::Directory | FetchError::Blob(aleph_blobs::BlobError::WrongHash { .. })) => {}
            settled => return settled,
        }
        let most = self.files.limits().archive_bytes;
        let response = self.ask(&format!("{url}?format=car"), most).await?;
        if !is_type(response.headers(), CAR) {
            return Err(FetchError::NoArchive);
        }
        let mut writer = self.files.archive_writer(most);
        let mut body = response.bytes_stream();
        while let Some(chunk) = next_chunk(body.next()).await? {
            self.progress.tick();
            writer.write(&chunk).await?;
        }
        writer.finish(Some(&cid)).await?;
        Ok(())
    }

    async fn ask(&self, url: &str, most: u64) -> Result<reqwest::Response, FetchError> {
        let response = tokio::time::timeout(STALL, self.client.get(url).send())
            .await
            .map_err(|_| FetchError::Stalled)?
            .map_err(FetchError::Http)?;
        if !response.status().is_success() {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        if response.content_length().is_some_and(|length| length > most) {
            return Err(FetchError::TooLarge(most));
        }
        Ok(response)
    }

    async fn receive(
        &self,
        response: reqwest::Response,
        mut writer: BlobWriter,
        hash: &ItemHash,
    ) -> Result<(), FetchError> {
        let mut body = response.bytes_stream();
        while let Some(chunk) = next_chunk(body.next()).await? {
            self.progress.tick();
            writer.write(&chunk).await.map_err(FetchError::Blob)?;
        }
        writer.finish(Some(hash)).await.map_err(FetchError::Blob)?;
        Ok(())
    }
}

/// What an archive is called.
const CAR: &str = "application/vnd.ipld.car";

fn is_type(headers: &HeaderMap, expected: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(expected))
}

/// The next piece of a body; none at its end.
async fn next_chunk(
    next: impl Future<Output = Option<reqwest::Result<bytes::Bytes>>>,
) -> Result<Option<bytes::Bytes>, FetchError> {
    match tokio::time::timeout(STALL, next).await {
        Err(_) => Err(FetchError::Stalled),
        Ok(chunk) => chunk.transpose().map_err(FetchError::Http),
    }
}

/// Why a source did not give the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("sent nothing for {} s", STALL.as_secs())]
    Stalled,
    #[error("answered status {0}")]
    Status(u16),
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    #[error("it is a directory")]
    Directory,
    #[error("it gives no archive of what plain bytes can't show")]
    NoArchive,
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("request failed")]
    Http(#[source] reqwest::Error),
    #[error("{0}")]
    Blob(#[source] aleph_blobs::BlobError),
}

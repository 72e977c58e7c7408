//! Files from the HTTP APIs of other core nodes: plain bytes, or an archive of what plain bytes can't show.

use aleph_blobs::{BlobError, BlobWriter};
use aleph_cid::Cid;
use aleph_types::{HashKind, ItemHash, limits};
use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;

use super::STALL;
use super::race::Progress;
use crate::files::archive::ImportError;
use crate::files::{Files, canonical};

/// The plain bytes of a file whose source broke off: the next source goes on where it ended, in this round or
/// a later one. If they don't lead to the hash in the end, all of them are gone.
#[derive(Debug, Default)]
pub(super) struct Begun(Mutex<Option<BlobWriter>>);

impl Begun {
    fn take(&self) -> Option<BlobWriter> {
        self.0.lock().take().filter(|writer| writer.written() > 0)
    }

    /// Keeps what came, if it is more than what is kept.
    fn keep(&self, writer: BlobWriter) {
        let mut kept = self.0.lock();
        if kept.as_ref().is_none_or(|kept| kept.written() < writer.written()) {
            *kept = Some(writer);
        }
    }
}

/// Fetches from one node at a time.
pub(super) struct Http<'a> {
    pub(super) files: &'a Files,
    pub(super) client: &'a reqwest::Client,
    pub(super) progress: &'a Progress,
    pub(super) begun: &'a Begun,
}

impl Http<'_> {
    /// Gets `hash` from the node at `source`.
    pub(super) async fn fetch_from(&self, source: &str, hash: &ItemHash) -> Result<(), FetchError> {
        let url = format!("{source}/api/v0/storage/raw/{hash}");
        if hash.kind() == HashKind::Storage {
            let most = limits::STORAGE_FILE;
            return self.plain(&url, most, || self.files.writer(most), hash).await;
        }
        let cid = Cid::try_from(hash).map_err(ImportError::from)?;
        let most = self.files.limits().file_bytes;
        let plain = self.plain(&url, most, || self.files.check_writer(most, &cid), &canonical(hash)).await;
        match plain {
            Err(FetchError::Directory | FetchError::Blob(BlobError::WrongHash { .. })) => {}
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

    /// Gets the plain bytes, or what is left of them.
    async fn plain(
        &self,
        url: &str,
        most: u64,
        new: impl Fn() -> BlobWriter,
        hash: &ItemHash,
    ) -> Result<(), FetchError> {
        let (response, writer) = self.begin(url, most, &new).await?;
        // Nobody calls plain bytes a tar: that is a directory.
        if is_type(response.headers(), "application/x-tar") {
            return Err(FetchError::Directory);
        }
        let went_on = writer.written() > 0;
        match self.receive(response, writer, hash).await {
            // It may be the one before that lied.
            Err(FetchError::Blob(BlobError::WrongHash { .. })) if went_on => {
                self.receive(self.ask(url, most).await?, new(), hash).await
            }
            settled => settled,
        }
    }

    /// Goes on where another source broke off, if there is such a place and the source can, or begins anew.
    async fn begin(
        &self,
        url: &str,
        most: u64,
        new: impl Fn() -> BlobWriter,
    ) -> Result<(reqwest::Response, BlobWriter), FetchError> {
        let Some(writer) = self.begun.take() else { return Ok((self.ask(url, most).await?, new())) };
        let from = writer.written();
        let request = self.client.get(url).header(header::RANGE, format!("bytes={from}-"));
        // What is counted are the bytes of the file.
        let request = request.header(header::ACCEPT_ENCODING, "identity");
        match self.send(request, most).await {
            Ok(response) if goes_on_from(&response, from) => Ok((response, writer)),
            Ok(response) if response.status() == StatusCode::OK => {
                self.begun.keep(writer);
                Ok((response, new()))
            }
            // The file is no longer than what came: another one lied, or broke off at the very end.
            Err(FetchError::Status(416)) => Ok((self.ask(url, most).await?, new())),
            other => {
                self.begun.keep(writer);
                Err(other.map_or_else(|error| error, |_| FetchError::Range))
            }
        }
    }

    async fn ask(&self, url: &str, most: u64) -> Result<reqwest::Response, FetchError> {
        self.send(self.client.get(url), most).await
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        most: u64,
    ) -> Result<reqwest::Response, FetchError> {
        let response = tokio::time::timeout(STALL, request.send())
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
        loop {
            match next_chunk(body.next()).await {
                Ok(Some(chunk)) => {
                    self.progress.tick();
                    writer.write(&chunk).await.map_err(FetchError::Blob)?;
                }
                Ok(None) => break,
                Err(error) => {
                    self.begun.keep(writer);
                    return Err(error);
                }
            }
        }
        writer.finish(Some(hash)).await.map_err(FetchError::Blob)?;
        Ok(())
    }
}

/// Whether a response is the rest of the file from there on.
fn goes_on_from(response: &reqwest::Response, from: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
    response.status() == StatusCode::PARTIAL_CONTENT && first == Some(from)
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
    #[error("it can't go on in the middle of the file")]
    Range,
    #[error("it is a directory")]
    Directory,
    #[error("it gives no archive of what plain bytes can't show")]
    NoArchive,
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error("request failed")]
    Http(#[source] reqwest::Error),
    #[error("{0}")]
    Blob(#[source] BlobError),
}

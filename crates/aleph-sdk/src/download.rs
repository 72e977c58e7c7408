use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use aleph_types::{HashKind, ItemHash};
use reqwest::StatusCode;
use reqwest::header::RANGE;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::client::{Client, status_error};
use crate::error::{Error, Result};
use crate::transfer::{CHUNK, Phase, Progress, ProgressListener, STALL};

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Hash of its bytes.
    pub file_hash: ItemHash,
    /// Bytes.
    pub size: u64,
    /// How many of them were there already from an earlier attempt.
    pub resumed_from: u64,
    /// Whether the bytes were checked against the hash; CIDs are not.
    pub verified: bool,
}

/// Bytes on disk and the hash of them so far.
struct Partial {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    size: u64,
}

impl Partial {
    /// Opens or creates the partial file beside `target` and hashes what it holds.
    fn open(target: &Path, hash: &ItemHash) -> Result<Self> {
        let name = target.file_name().and_then(|name| name.to_str()).unwrap_or("download");
        let short: String = hash.as_str().chars().take(16).collect();
        let path = target.with_file_name(format!(".{name}.{short}.part"));
        let failed = |error: io::Error| Error::file("write", &path, error);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        if file.try_lock().is_err() {
            return Err(Error::input(format!("{} is being downloaded already", target.display())));
        }
        let mut hasher = Sha256::new();
        let mut size = 0;
        let mut buffer = vec![0u8; CHUNK];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            size += read as u64;
        }
        Ok(Self { path, file, hasher, size })
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Sha256::new();
        self.size = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn hash(&self) -> ItemHash {
        ItemHash::from_digest(self.hasher.clone().finalize().into())
    }
}

impl Client {
    /// Fetches the file with hash `file` into `target`: streamed, checked, and only then moved into place.
    ///
    /// An attempt that broke leaves a hidden file beside the target; the next one goes on from there when
    /// the node supports ranges.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the node has no such file, [`Error::Corrupt`] when its bytes are others.
    pub async fn download(
        &self,
        file: &ItemHash,
        target: &Path,
        progress: ProgressListener,
    ) -> Result<Downloaded> {
        let mut partial = Partial::open(target, file)?;
        let fetched = self.fetch_into(file, &mut partial, &progress).await;
        if fetched.is_err() && partial.size == 0 {
            // Nothing worth resuming.
            let _ = std::fs::remove_file(&partial.path);
        }
        let resumed_from = fetched?;
        let verified = file.kind() == HashKind::Storage;
        if verified {
            let computed = partial.hash();
            if computed != *file {
                // Nothing of it may be trusted for a resumption.
                partial.restart().map_err(|error| Error::file("empty", &partial.path, error))?;
                let _ = std::fs::remove_file(&partial.path);
                return Err(Error::Corrupt {
                    expected: file.clone(),
                    computed,
                    node: self.base_url().to_owned(),
                });
            }
        }
        partial.file.sync_all().map_err(|error| Error::file("write", &partial.path, error))?;
        std::fs::rename(&partial.path, target).map_err(|error| Error::file("write", target, error))?;
        Ok(Downloaded { file_hash: file.clone(), size: partial.size, resumed_from, verified })
    }

    /// Fetches the file with hash `file` into memory, at most `limit` bytes, and checks it.
    pub async fn download_bytes(&self, file: &ItemHash, limit: usize) -> Result<Vec<u8>> {
        let (url, response) = self.get(&format!("/api/v0/storage/raw/{file}"), &[]).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.not_found("file", file));
        }
        if !response.status().is_success() {
            return Err(status_error(&url, response).await);
        }
        let bytes = crate::client::read_bounded(&url, response, limit).await?;
        let computed = ItemHash::sha256(&bytes);
        if file.kind() == HashKind::Storage && computed != *file {
            return Err(Error::Corrupt {
                expected: file.clone(),
                computed,
                node: self.base_url().to_owned(),
            });
        }
        Ok(bytes)
    }

    async fn fetch_into(
        &self,
        file: &ItemHash,
        partial: &mut Partial,
        progress: &ProgressListener,
    ) -> Result<u64> {
        let url = self.url(&format!("/api/v0/storage/raw/{file}"));
        let mut at = partial.size;
        let mut response = self.request_from(&url, at).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // What is there is as long as the file, or longer: the hash decides, from the start if wrong.
            if partial.hash() == *file {
                return Ok(at);
            }
            at = 0;
            response = self.request_from(&url, 0).await?;
        }
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.not_found("file", file));
        }
        if !response.status().is_success() {
            return Err(status_error(&url, response).await);
        }
        let write_failed = |path: &Path, error| Error::file("write", path, error);
        if response.status() != StatusCode::PARTIAL_CONTENT || at == 0 {
            at = 0;
            partial.restart().map_err(|error| write_failed(&partial.path, error))?;
        }
        let total = response.content_length().map(|rest| at + rest);
        loop {
            let chunk = timeout(STALL, response.chunk())
                .await
                .map_err(|_| Error::TimedOut {
                    what: format!("{} sent no more of the file", self.base_url()),
                    after: STALL,
                })?
                .map_err(|error| Error::unreachable(&url, error.without_url()))?;
            let Some(chunk) = chunk else { break };
            // Chunks are small and the file is local: not worth a thread each.
            partial.append(&chunk).map_err(|error| write_failed(&partial.path, error))?;
            progress.tell(Progress { phase: Phase::Receiving, done: partial.size, total });
        }
        Ok(at)
    }

    async fn request_from(&self, url: &str, at: u64) -> Result<reqwest::Response> {
        self.send(url, None, || {
            let request = self.http().get(url);
            Ok(if at > 0 { request.header(RANGE, format!("bytes={at}-")) } else { request })
        })
        .await
    }
}

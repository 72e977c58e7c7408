use std::path::PathBuf;
use std::time::Duration;

use aleph_types::limits::UNAUTHENTICATED_UPLOAD;
use aleph_types::{Address, ItemHash, MessageStatus};
use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, interval};

use crate::account::Account;
use crate::builder::{MessageBuilder, PaymentMethod};
use crate::client::{Client, read_json, status_error};
use crate::error::{Error, Result};
use crate::transfer::{ProgressListener, STALL, SentCounter, UploadSource, hash_file, source_stream};

/// How long a node may think about an upload after its last byte arrived; a `sync` one takes up to 30 s.
const VERDICT: Duration = Duration::from_secs(120);

/// A file on its way to the network, with the STORE message that keeps it.
#[derive(Debug, Clone)]
pub struct Upload {
    source: UploadSource,
    reference: Option<String>,
    metadata: Option<Map<String, Value>>,
    channel: Option<String>,
    owner: Option<Address>,
    payment: PaymentMethod,
    sync: bool,
    progress: ProgressListener,
}

impl Upload {
    fn new(source: UploadSource) -> Self {
        Self {
            source,
            reference: None,
            metadata: None,
            channel: None,
            owner: None,
            payment: PaymentMethod::default(),
            sync: true,
            progress: ProgressListener::silent(),
        }
    }

    /// A local file. It is read twice: for its hash, which is signed first, and to send it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(UploadSource::File(path.into()))
    }

    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(UploadSource::Memory(bytes.into()))
    }

    /// Makes this a new version: the hash of the first STORE message, or a name of the owner's choice.
    pub fn reference(mut self, reference: Option<String>) -> Self {
        self.reference = reference;
        self
    }

    /// A free object to keep with the file.
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// A free label.
    pub fn channel(mut self, channel: Option<String>) -> Self {
        self.channel = channel;
        self
    }

    /// Who owns the file and pays; the account itself unless set.
    pub fn on_behalf_of(mut self, owner: Option<Address>) -> Self {
        self.owner = owner;
        self
    }

    /// How it is paid.
    pub fn payment(mut self, payment: PaymentMethod) -> Self {
        self.payment = payment;
        self
    }

    /// Who is told about the progress.
    pub fn progress(mut self, listener: ProgressListener) -> Self {
        self.progress = listener;
        self
    }
}

/// A file that the network keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Hash of the file's bytes; programs and downloads may use it or `message`.
    pub file_hash: ItemHash,
    /// The STORE message.
    pub message: ItemHash,
    /// Bytes.
    pub size: u64,
    /// Status of the message on that node.
    pub status: MessageStatus,
}

/// What a node knows about a file (`spec: ccn-api.md §10.6`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredFile {
    /// Hash of the file's bytes.
    pub file_hash: ItemHash,
    /// Bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// Owner, where it was asked for by message.
    #[serde(default)]
    pub owner: Option<Address>,
}

impl Client {
    /// Uploads a file together with its signed STORE message and waits for the node's verdict.
    ///
    /// Memory stays bounded whatever the file's size.
    ///
    /// # Errors
    /// [`Error::Rejected`] when the message is refused, [`Error::Status`] with 402 (can't pay) or 413 (too
    /// large) when the upload is.
    pub async fn upload(&self, account: &Account, upload: Upload) -> Result<Stored> {
        let (file_hash, size) = match &upload.source {
            UploadSource::File(path) => hash_file(path, upload.progress.clone()).await?,
            UploadSource::Memory(bytes) => (ItemHash::sha256(bytes), bytes.len() as u64),
        };
        self.check_size(size).await?;
        let builder = MessageBuilder::store(
            &file_hash,
            upload.reference.as_deref(),
            upload.metadata.clone(),
            upload.payment,
        )
        .maybe_channel(upload.channel.as_deref())
        .maybe_on_behalf_of(upload.owner.as_ref());
        let message = builder.build(account)?.sign(account)?;
        let metadata = json!({ "message": message.to_wire(), "sync": upload.sync }).to_string();

        let (url, response) = self.send_file(&upload, size, Some(&metadata)).await?;
        match response.status().as_u16() {
            code @ (200 | 202) => {
                self.check_stored(&url, response, &file_hash).await?;
                let status = if code == 200 { MessageStatus::Processed } else { MessageStatus::Pending };
                Ok(Stored { file_hash, message: message.item_hash, size, status })
            }
            422 => {
                let answer = status_error(&url, response).await;
                Err(self.why_rejected(&message.item_hash, Some(answer)).await)
            }
            _ => Err(status_error(&url, response).await),
        }
    }

    /// Uploads bytes without a message: the node keeps them for a day unless a message refers to them.
    pub async fn add_bytes(&self, bytes: Bytes) -> Result<ItemHash> {
        let file_hash = ItemHash::sha256(&bytes);
        let size = bytes.len() as u64;
        let (url, response) = self.send_file(&Upload::bytes(bytes), size, None).await?;
        if !response.status().is_success() {
            return Err(status_error(&url, response).await);
        }
        self.check_stored(&url, response, &file_hash).await?;
        Ok(file_hash)
    }

    /// Refuses what the node would refuse anyway, before the bytes are sent.
    async fn check_size(&self, size: u64) -> Result<()> {
        #[derive(Deserialize)]
        struct Limits {
            storage: Storage,
        }
        #[derive(Deserialize)]
        struct Storage {
            max_file_size: u64,
        }
        // Every node takes this much.
        if size <= UNAUTHENTICATED_UPLOAD {
            return Ok(());
        }
        let limits: Option<Limits> =
            self.get_optional("/api/v0/storage/limits.json", &[], "the limits of uploads").await?;
        match limits {
            Some(Limits { storage: Storage { max_file_size } }) if size > max_file_size => Err(Error::input(
                format!("the file has {size} bytes and {} takes at most {max_file_size}", self.base_url()),
            )),
            // An older node tells no limits; its answer will.
            _ => Ok(()),
        }
    }

    /// Sends the parts `metadata` and `file`; gives up when nothing moves for a minute.
    async fn send_file(
        &self,
        upload: &Upload,
        size: u64,
        metadata: Option<&str>,
    ) -> Result<(String, Response)> {
        let url = self.url("/api/v0/storage/add_file");
        let counter = SentCounter::default();
        let sending = self.send(&url, None, || {
            let stream = source_stream(&upload.source, size, counter.clone(), upload.progress.clone());
            let file = Part::stream_with_length(Body::wrap_stream(stream), size)
                .file_name("file")
                .mime_str("application/octet-stream")
                .map_err(|error| Error::unreachable(&url, error))?;
            let mut form = Form::new();
            // The message first: a node can refuse before it takes the bytes.
            if let Some(metadata) = metadata {
                let part = Part::text(metadata.to_owned())
                    .mime_str("application/json")
                    .map_err(|error| Error::unreachable(&url, error))?;
                form = form.part("metadata", part);
            }
            Ok(self.http().post(&url).multipart(form.part("file", file)))
        });
        let response = tokio::select! {
            response = sending => response?,
            stalled = stall(&counter, size) => {
                return Err(Error::TimedOut {
                    what: format!("{} took no more of the file", self.base_url()),
                    after: stalled,
                });
            }
        };
        Ok((url, response))
    }

    async fn check_stored(&self, url: &str, response: Response, expected: &ItemHash) -> Result<()> {
        #[derive(Deserialize)]
        struct Answer {
            hash: ItemHash,
        }
        let answer: Answer = read_json(url, response, "the hash of the stored file").await?;
        if answer.hash != *expected {
            return Err(Error::Corrupt {
                expected: expected.clone(),
                computed: answer.hash,
                node: self.base_url().to_owned(),
            });
        }
        Ok(())
    }

    /// The file of a STORE message, or `None`.
    pub async fn file_of_message(&self, message: &ItemHash) -> Result<Option<StoredFile>> {
        let path = format!("/api/v0/storage/by-message-hash/{message}");
        self.get_optional(&path, &[], "what is known about a file").await
    }

    /// What the node knows about a file, or `None`.
    pub async fn file_info(&self, file: &ItemHash) -> Result<Option<StoredFile>> {
        let path = format!("/api/v0/storage/metadata/{file}");
        self.get_optional(&path, &[], "what is known about a file").await
    }
}

/// Ends when the transfer has not moved for too long; returns how long that was.
async fn stall(counter: &SentCounter, size: u64) -> Duration {
    let mut seen = counter.sent();
    let mut since = Instant::now();
    let mut tick = interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        let now = counter.sent();
        if now != seen {
            seen = now;
            since = Instant::now();
        }
        let patience = if now >= size { VERDICT } else { STALL };
        if since.elapsed() > patience {
            return patience;
        }
    }
}

//! Uploads that may be resumed: tus 1.0 with creation, expiration, checksums and termination.
//!
//! A client announces a file with its length, sends it in pieces of any size, and asks after an
//! interruption how much arrived. The bytes grow in a file of their own and survive a restart of the node.
//! With the last byte the file goes the way of every upload: it is hashed, named by its hash, and either
//! kept for a day or stored by the signed STORE message that the client gave in `Upload-Metadata`, under
//! `message`, in the form of the part `metadata` of `/api/v0/storage/add_file`. A STORE may name a CID: the
//! upload is then the file itself, or with the key `car` an archive of what the CID names. A file that does not
//! have the hash of its message is refused and leaves nothing.

mod protocol;
mod shelf;

use std::sync::{Arc, Weak};
use std::time::Duration;

use aleph_blobs::BlobWriter;
use aleph_rules::{FileInfo, FileKind};
use aleph_types::{HashKind, ItemHash, ParsedMessage, limits};
use axum::body::{Body, HttpBody as _};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::{OnceCell, OwnedMutexGuard};

use super::Api;
use super::body;
use super::conditional::momentary;
use super::cors::preflight;
use super::errors::{ApiError, json_value};
use super::limits::Client;
use super::openapi::shapes::UploadState;
use super::publish::status_word;
use super::uploads::{before_stall, finish_blob, keep_for_a_while, publish_with_file, read_metadata};
use super::{ipfs, uploads};
use crate::Outcome;
use crate::files::archive::ArchiveWriter;
use protocol::{Checksum, FILE_HASH, MESSAGE_STATUS, TUS_RESUMABLE, UPLOAD_EXPIRES, UPLOAD_LENGTH};
use protocol::{UPLOAD_METADATA, UPLOAD_OFFSET, VERSION};
use shelf::{Finished, Record, Shelf, ShelfError, Upload};

/// Where uploads are.
const PATH: &str = "/api/v1/uploads";

/// Bytes that are collected before they are written.
const BLOCK: usize = 256 * 1024;

/// How often uploads whose time has come are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// The key of `Upload-Metadata` that holds the signed STORE.
const MESSAGE: &str = "message";

/// The key of `Upload-Metadata` that says that the file is an archive.
const CAR: &str = "car";

/// The unfinished uploads, opened at first use.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    shelf: OnceCell<Arc<Shelf>>,
}

impl Uploads {
    async fn open(&self, api: &Api) -> Result<&Arc<Shelf>, ApiError> {
        let make = || async {
            let folder = api.node.config.storage.data_dir.join("uploads");
            let settings = api.node.config.api.uploads.clone();
            let opened = tokio::task::spawn_blocking(move || Shelf::open(folder, settings)).await;
            opened.map_err(std::io::Error::other).flatten().map(Arc::new)
        };
        self.shelf.get_or_try_init(make).await.map_err(|error| disk(&error))
    }
}

fn disk(error: &std::io::Error) -> ApiError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return ApiError::text(StatusCode::INSUFFICIENT_STORAGE, "507: this node's disk is full");
    }
    ApiError::unavailable(error)
}

impl From<ShelfError> for ApiError {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::Disk(error) => disk(&error),
            ShelfError::Full => Self::unavailable(&error),
            ShelfError::ClientFull(_) => {
                Self::text(StatusCode::TOO_MANY_REQUESTS, format!("429: {error}")).retry_after(60)
            }
        }
    }
}

/// Finishes what was complete when the node ended, and throws away what nobody goes on with.
pub(super) async fn sweep(api: Weak<Api>) {
    let mut first = true;
    loop {
        let stopping = {
            let Some(api) = api.upgrade() else { return };
            if let Err(error) = sweep_once(&api, first).await {
                tracing::warn!(?error, "unfinished uploads can't be read");
            }
            first = false;
            api.node.stopping.clone()
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}

async fn sweep_once(api: &Arc<Api>, first: bool) -> Result<(), ApiError> {
    let shelf = api.uploads.open(api).await?;
    for upload in shelf.expired(crate::clock::now()) {
        // One that is being written to is not left alone.
        if let Ok(_turn) = upload.turn.try_lock() {
            shelf.remove(&upload.id);
        }
    }
    if first {
        for upload in shelf.complete() {
            if let Ok(_turn) = Arc::clone(&upload.turn).try_lock_owned()
                && let Err(error) = finish(api, shelf, &upload).await
            {
                tracing::warn!(upload = %upload.id, ?error, "a complete upload can't be finished");
            }
        }
    }
    Ok(())
}

/// What of tus this node speaks.
pub(super) async fn options(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    use axum::http::Method;
    if headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return preflight(
            &headers,
            &[Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE],
        );
    }
    let most = api.node.config.api.uploads.file_bytes;
    let told = [
        (protocol::TUS_VERSION, HeaderValue::from_static(VERSION)),
        (protocol::TUS_EXTENSION, HeaderValue::from_static(protocol::EXTENSIONS)),
        (protocol::TUS_MAX_SIZE, HeaderValue::from(most)),
        (protocol::TUS_CHECKSUM_ALGORITHM, HeaderValue::from_static("sha256,sha1")),
    ];
    spoken((StatusCode::NO_CONTENT, told).into_response())
}

/// Every answer says which version it is in.
fn spoken(mut response: Response) -> Response {
    response.headers_mut().insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    response
}

fn answered(result: Result<Response, ApiError>) -> Response {
    let mut response = spoken(result.into_response());
    if response.status() == StatusCode::PRECONDITION_FAILED {
        response.headers_mut().insert(protocol::TUS_VERSION, HeaderValue::from_static(VERSION));
    }
    response
}

/// Begins an upload that may be resumed (tus 1.0).
///
/// `Upload-Metadata` may hold, under `message`, the JSON text `{"message": <signed STORE>, "sync": <bool>}` in
/// base64. Without it the file is kept for a day and may have 25 MiB. If the STORE names a CID, the file is what
/// the CID names, or with the key `car` an archive of it (CAR version 1).
#[utoipa::path(
    post,
    path = "/api/v1/uploads",
    tag = "storage",
    operation_id = "tus_create",
    params(
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Length" = u64, Header, description = "Bytes of the file"),
        ("Upload-Metadata" = Option<String>, Header, description = "Keys with values in base64"),
    ),
    responses(
        (status = 201, description = "`Location` says where the pieces go"),
        (status = 403, description = "The signature of the STORE is wrong"),
        (status = 412, description = "Another version of tus"),
        (status = 413, description = "Too long"),
    ),
)]
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answered(begin(api, client, headers, body).await)
}

async fn begin(
    api: Arc<Api>,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    protocol::check_version(&headers)?;
    let length = protocol::length(&headers)?;
    let metadata = protocol::metadata(&headers)?;
    let store = signed_store(&metadata)?;
    let is_archive = is_archive(&metadata)?;
    let most = match &store {
        Some((_, claimed, _)) if claimed.kind() == HashKind::Ipfs => {
            let ipfs = api.node.files.limits();
            if !ipfs.enabled {
                return Err(ApiError::reason(StatusCode::FORBIDDEN, "IPFS is disabled on this node"));
            }
            if is_archive { ipfs.archive_bytes } else { ipfs.file_bytes }
        }
        _ if is_archive => {
            return Err(ApiError::reason(
                StatusCode::UNPROCESSABLE_ENTITY,
                "an archive comes with a signed STORE that names its root",
            ));
        }
        Some(_) => api.node.config.api.uploads.file_bytes,
        None => limits::UNAUTHENTICATED_UPLOAD,
    };
    if length > most {
        return Err(ApiError::too_large(most, Some(length)));
    }
    let shelf = Arc::clone(api.uploads.open(&api).await?);
    let client = client.map(|Extension(client)| client.name());
    let upload = {
        let (shelf, now) = (Arc::clone(&shelf), crate::clock::now());
        let begun = tokio::task::spawn_blocking(move || shelf.begin(length, metadata, client, now)).await;
        begun.map_err(|error| ApiError::internal(&error))??
    };
    let place = format!("{PATH}/{}", upload.id);
    let mut response = StatusCode::CREATED.into_response();
    let told = response.headers_mut();
    if let Ok(place) = HeaderValue::from_str(&place) {
        told.insert(header::LOCATION, place);
    }
    let has_piece = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == protocol::OFFSET_STREAM);
    let offset = if has_piece || length == 0 {
        let body = if has_piece { body } else { Body::empty() };
        append(api, Arc::clone(&shelf), Arc::clone(&upload), 0, Checksum::read(&headers)?, body).await?
    } else {
        0
    };
    told.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
    tell_state(told, &upload.record());
    Ok(response)
}

/// The signed STORE of `Upload-Metadata`, checked.
fn signed_store(metadata: &str) -> Result<Option<(ParsedMessage, ItemHash, bool)>, ApiError> {
    match protocol::metadata_value(metadata, MESSAGE)? {
        Some(text) if !text.is_empty() => read_metadata(&text).map(Some),
        _ => Ok(None),
    }
}

/// Whether `Upload-Metadata` says that the file is an archive.
fn is_archive(metadata: &str) -> Result<bool, ApiError> {
    Ok(protocol::metadata_value(metadata, CAR)?.is_some())
}

/// Headers that say how the upload is.
fn tell_state(headers: &mut HeaderMap, record: &Record) {
    let expires = jiff::Timestamp::from_microsecond(record.expires).ok();
    let expires = expires.map(|time| time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    if let Some(Ok(expires)) = expires.map(|text| HeaderValue::from_str(&text)) {
        headers.insert(UPLOAD_EXPIRES, expires);
    }
    let Some(finished) = &record.finished else { return };
    if let Ok(hash) = HeaderValue::from_str(&finished.hash) {
        headers.insert(FILE_HASH, hash);
    }
    if let Some(Ok(status)) = finished.message_status.as_deref().map(HeaderValue::from_str) {
        headers.insert(MESSAGE_STATUS, status);
    }
}

async fn find(api: &Api, id: &str) -> Result<(Arc<Shelf>, Arc<Upload>), ApiError> {
    let shelf = api.uploads.open(api).await?;
    let upload = shelf.get(id).ok_or_else(|| {
        ApiError::text(StatusCode::NOT_FOUND, "404: no such upload: it expired, was deleted, or never was")
    })?;
    Ok((Arc::clone(shelf), upload))
}

/// How much of an upload arrived (tus 1.0): `Upload-Offset`, `Upload-Length`, `Upload-Expires`.
#[utoipa::path(
    head,
    path = "/api/v1/uploads/{id}",
    tag = "storage",
    operation_id = "tus_offset",
    params(
        ("id" = String, Path, description = "As in `Location`"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
    ),
    responses((status = 200, description = "See the headers"), (status = 412, description = "Another version of tus")),
)]
pub(super) async fn offset(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let told = async {
        protocol::check_version(&headers)?;
        let (shelf, upload) = find(&api, &id).await?;
        let record = upload.record();
        let offset = shelf.offset(&upload).map_err(|error| disk(&error))?;
        let mut response = momentary(StatusCode::OK.into_response());
        let told = response.headers_mut();
        told.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
        told.insert(UPLOAD_LENGTH, HeaderValue::from(record.length));
        if let Some(metadata) = Some(&record.metadata).filter(|text| !text.is_empty())
            && let Ok(metadata) = HeaderValue::from_str(metadata)
        {
            told.insert(UPLOAD_METADATA, metadata);
        }
        tell_state(told, &record);
        Ok(response)
    };
    answered(told.await)
}

/// How an upload is, as JSON: its offset, and at the end the file's hash and what became of the message.
#[utoipa::path(
    get,
    path = "/api/v1/uploads/{id}",
    tag = "storage",
    operation_id = "tus_state",
    params(("id" = String, Path, description = "As in `Location`")),
    responses((status = 200, description = "The answer", body = UploadState)),
)]
pub(super) async fn state(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let (shelf, upload) = find(&api, &id).await?;
    let record = upload.record();
    let offset = shelf.offset(&upload).map_err(|error| disk(&error))?;
    let finished = record.finished.as_ref();
    Ok(momentary(json_value(&serde_json::json!({
        "id": upload.id,
        "offset": offset,
        "length": record.length,
        "expires": aleph_types::Timestamp::from_micros(record.expires).iso_z().to_string(),
        "finished": finished.is_some(),
        "file_hash": finished.map(|finished| finished.hash.as_str()),
        "message_status": finished.and_then(|finished| finished.message_status.as_deref()),
    }))))
}

/// Sends a piece of an upload (tus 1.0); the last one finishes the file. What arrived of a piece that broke off
/// stays, unless it came with a checksum.
#[utoipa::path(
    patch,
    path = "/api/v1/uploads/{id}",
    tag = "storage",
    operation_id = "tus_append",
    params(
        ("id" = String, Path, description = "As in `Location`"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Offset" = u64, Header, description = "Where the piece starts: what the node said last"),
        ("Upload-Checksum" = Option<String>, Header, description = "`sha256 <base64>` or `sha1 <base64>` of the piece"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "`Upload-Offset` says where to go on; at the end `Aleph-File-Hash` and `Aleph-Message-Status`"),
        (status = 409, description = "The piece does not start where the last one ended"),
        (status = 412, description = "Another version of tus"),
        (status = 413, description = "The piece goes beyond the end"),
        (status = 415, description = "The body is not application/offset+octet-stream"),
        (status = 423, description = "Another request is sending a piece of it"),
    ),
)]
pub(super) async fn patch(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let appended = async {
        protocol::check_version(&headers)?;
        if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != protocol::OFFSET_STREAM) {
            let text = format!("415: a piece is of type {}", protocol::OFFSET_STREAM);
            return Err(ApiError::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let from = protocol::number(&headers, &UPLOAD_OFFSET)?
            .ok_or_else(|| ApiError::text(StatusCode::BAD_REQUEST, "400: 'Upload-Offset' is required"))?;
        let checksum = Checksum::read(&headers)?;
        let (shelf, upload) = find(&api, &id).await?;
        let offset = append(Arc::clone(&api), shelf, Arc::clone(&upload), from, checksum, body).await?;
        let mut response = StatusCode::NO_CONTENT.into_response();
        response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(offset));
        tell_state(response.headers_mut(), &upload.record());
        Ok(response)
    };
    answered(appended.await)
}

/// Throws an upload away (tus 1.0). A finished file stays.
#[utoipa::path(
    delete,
    path = "/api/v1/uploads/{id}",
    tag = "storage",
    operation_id = "tus_delete",
    params(
        ("id" = String, Path, description = "As in `Location`"),
        ("Tus-Resumable" = String, Header, description = "1.0.0"),
    ),
    responses(
        (status = 204, description = "Nothing is left of it"),
        (status = 412, description = "Another version of tus"),
        (status = 423, description = "Another request is sending a piece of it"),
    ),
)]
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let deleted = async {
        protocol::check_version(&headers)?;
        let (shelf, upload) = find(&api, &id).await?;
        let _turn = turn_of(&upload)?;
        shelf.remove(&upload.id);
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answered(deleted.await)
}

fn turn_of(upload: &Upload) -> Result<OwnedMutexGuard<()>, ApiError> {
    Arc::clone(&upload.turn).try_lock_owned().map_err(|_| {
        ApiError::text(StatusCode::LOCKED, "423: another request is sending a piece of this upload")
            .retry_after(1)
    })
}

/// Writes a piece, and finishes the file with the last one; says where the next piece starts.
///
/// It runs to its end even when the client goes away: what arrived is on the disk and counted before
/// anybody else may write.
async fn append(
    api: Arc<Api>,
    shelf: Arc<Shelf>,
    upload: Arc<Upload>,
    from: u64,
    checksum: Option<Checksum>,
    body: Body,
) -> Result<u64, ApiError> {
    let turn = turn_of(&upload)?;
    let work = async move {
        let _turn = turn;
        let record = upload.record();
        let here = shelf.offset(&upload).map_err(|error| disk(&error))?;
        if from != here {
            let text = format!("409: {here} bytes are here, and the piece starts at {from}");
            return Err(ApiError::text(StatusCode::CONFLICT, text));
        }
        if record.finished.is_some() {
            return Ok(here);
        }
        let announced = body.size_hint().lower();
        if announced > record.length - here {
            return Err(ApiError::too_large(record.length - here, Some(announced)));
        }
        let here = receive(&shelf, &upload, here, record.length, checksum, body).await?;
        on_disk(&shelf, &upload, |shelf, upload| shelf.touch(upload, crate::clock::now())).await?;
        if here == record.length {
            finish(&api, &shelf, &upload).await?;
        }
        Ok(here)
    };
    tokio::spawn(work).await.map_err(|error| ApiError::internal(&error))?
}

/// Writes a body behind what is here.
async fn receive(
    shelf: &Shelf,
    upload: &Upload,
    here: u64,
    length: u64,
    mut checksum: Option<Checksum>,
    body: Body,
) -> Result<u64, ApiError> {
    let io = |error: std::io::Error| disk(&error);
    let mut file =
        tokio::fs::OpenOptions::new().write(true).open(shelf.bytes_of(&upload.id)).await.map_err(io)?;
    file.seek(std::io::SeekFrom::Start(here)).await.map_err(io)?;
    let mut file = tokio::io::BufWriter::with_capacity(BLOCK, file);
    let mut end = here;
    let mut chunks = body.into_data_stream();
    let received = loop {
        let chunk = match before_stall(chunks.next()).await {
            Err(stalled) => break Err(stalled),
            Ok(None) => break Ok(()),
            Ok(Some(Err(error))) => break Err(body::broken(error)),
            Ok(Some(Ok(chunk))) => chunk,
        };
        if chunk.len() as u64 > length - end {
            break Err(ApiError::too_large(length - here, None));
        }
        if let Some(checksum) = &mut checksum {
            checksum.update(&chunk);
        }
        if let Err(error) = file.write_all(&chunk).await {
            break Err(disk(&error));
        }
        end += chunk.len() as u64;
    };
    // A piece with a checksum counts as a whole or not at all; so does one that went too far.
    let too_long = end > here && received.as_ref().is_err_and(ApiError::is_too_large);
    let whole_or_nothing = checksum.is_some() || too_long;
    let received = match (received, checksum) {
        (Ok(()), Some(checksum)) => checksum.check(),
        (received, _) => received,
    };
    let flushed = file.flush().await;
    let file = file.into_inner();
    if received.is_err() && whole_or_nothing {
        file.set_len(here).await.map_err(io)?;
    }
    flushed.map_err(io)?;
    file.sync_data().await.map_err(io)?;
    received.map(|()| end)
}

/// Hands the file over to where files live, and publishes its message.
async fn finish(api: &Arc<Api>, shelf: &Arc<Shelf>, upload: &Arc<Upload>) -> Result<(), ApiError> {
    let record = upload.record();
    let store = signed_store(&record.metadata)?;
    let bytes = shelf.bytes_of(&upload.id);
    let (hash, message_status) = match store {
        None => {
            let writer = copy(&bytes, api.node.files.writer(record.length)).await?;
            let stored = writer.finish(None).await?;
            keep_for_a_while(api, &stored).await?;
            (stored.hash, None)
        }
        Some((parsed, claimed, sync)) => {
            let stored = store_upload(api, &bytes, &record, (parsed, &claimed, sync)).await;
            let outcome = match stored {
                Ok(outcome) => outcome,
                Err(refusal) => {
                    // It can never become the file of its message, or nobody pays; what passes is tried again.
                    if refusal.is_final() {
                        shelf.remove(&upload.id);
                    }
                    return Err(refusal);
                }
            };
            (claimed, Some(status_word(&outcome).to_owned()))
        }
    };
    let finished = Finished { hash: hash.as_str().to_owned(), message_status };
    on_disk(shelf, upload, move |shelf, upload| shelf.finish(upload, finished)).await
}

/// Makes the bytes of an upload the file of its message, and publishes the message.
async fn store_upload(
    api: &Arc<Api>,
    bytes: &std::path::Path,
    record: &Record,
    (parsed, claimed, sync): (ParsedMessage, &ItemHash, bool),
) -> Result<Outcome, ApiError> {
    match claimed.kind() {
        HashKind::Storage => {
            let writer = copy(bytes, api.node.files.writer(record.length)).await?;
            let stored = finish_blob(writer, claimed).await?;
            let info = FileInfo { size: stored.size, kind: FileKind::File };
            publish_with_file(api, parsed, sync, claimed, info).await
        }
        HashKind::Ipfs if is_archive(&record.metadata)? => {
            let archive = copy_archive(bytes, api.node.files.archive_writer(record.length)).await?;
            Ok(ipfs::store_archive(api, archive, parsed, claimed, sync).await?.0)
        }
        HashKind::Ipfs => {
            let writer = copy(bytes, api.node.files.cid_writer(record.length)).await?;
            Ok(ipfs::store_file(api, writer, parsed, claimed, sync).await?.0)
        }
    }
}

/// Hands the bytes of an upload to where files live.
async fn copy(from: &std::path::Path, mut writer: BlobWriter) -> Result<BlobWriter, ApiError> {
    let mut file = tokio::fs::File::open(from).await.map_err(|error| disk(&error))?;
    let mut block = vec![0; BLOCK];
    loop {
        let read = file.read(&mut block).await.map_err(|error| disk(&error))?;
        if read == 0 {
            return Ok(writer);
        }
        writer.write(&block[..read]).await.map_err(uploads::too_large)?;
    }
}

/// The same for an archive.
async fn copy_archive(from: &std::path::Path, mut writer: ArchiveWriter) -> Result<ArchiveWriter, ApiError> {
    let mut file = tokio::fs::File::open(from).await.map_err(|error| disk(&error))?;
    let mut block = vec![0; BLOCK];
    loop {
        let read = file.read(&mut block).await.map_err(|error| disk(&error))?;
        if read == 0 {
            return Ok(writer);
        }
        writer.write(&block[..read]).await.map_err(ipfs::refused_archive)?;
    }
}

/// Does what waits for the disk where it holds up nobody.
async fn on_disk(
    shelf: &Arc<Shelf>,
    upload: &Arc<Upload>,
    work: impl FnOnce(&Shelf, &Upload) -> std::io::Result<()> + Send + 'static,
) -> Result<(), ApiError> {
    let (shelf, upload) = (Arc::clone(shelf), Arc::clone(upload));
    let done = tokio::task::spawn_blocking(move || work(&shelf, &upload)).await;
    done.map_err(|error| ApiError::internal(&error))?.map_err(|error| disk(&error))
}

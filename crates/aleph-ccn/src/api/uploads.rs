//! Files on their way in (`spec: ccn-api.md §10`): streamed to disk, whatever the order of the parts. What is
//! special about those under CIDs is in [`super::ipfs`].

use std::sync::Arc;
use std::time::Duration;

use aleph_blobs::{BlobError, BlobWriter, Stored};
use aleph_rules::{FileInfo, FileKind};
use aleph_types::content::Content;
use aleph_types::wire::Envelope;
use aleph_types::{
    ErrorCode, FormatError, ItemHash, ItemType, Message, MessageType, ParsedMessage, json, limits,
};
use axum::body::{Body, HttpBody as _};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use multer::{Constraints, Field, Multipart, SizeLimit};
use serde_json::Value;

use super::Api;
use super::body;
use super::errors::{ApiError, json_answer, json_value};
use super::openapi::shapes::{FileForm, StoredFile, UploadLimits};
use super::publish::{status_code, submit, sync_flag};
use crate::Outcome;
use crate::files::archive::ArchiveWriter;

/// How long an uploaded file is kept for a STORE message to follow.
const GRACE_MICROS: i64 = 24 * 3600 * 1_000_000;

/// A client that sends nothing for this long is given up.
const STALL: Duration = Duration::from_secs(60);

/// Largest part `metadata`.
const METADATA: u64 = limits::BUFFERED_BODY as u64;

/// What the parts of a form may add to the file and its metadata.
const OTHER_PARTS: u64 = 1024 * 1024;

/// Stores JSON with sorted keys; kept for a day unless a STORE message names it.
#[utoipa::path(
    post,
    path = "/api/v0/storage/add_json",
    tag = "storage",
    operation_id = "uploads_add_json",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The answer", body = StoredFile),
        (status = 413, description = "Too long"),
    ),
)]
pub(super) async fn add_json(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let stored = api.node.blobs.put_bytes(sorted_json(body).await?).await?;
    keep_for_a_while(&api, &stored).await?;
    Ok(stored_answer(StatusCode::OK, &stored.hash))
}

/// A document of a body, with its keys in order, as it is hashed.
pub(super) async fn sorted_json(body: Body) -> Result<String, ApiError> {
    let most = usize::try_from(limits::UNAUTHENTICATED_UPLOAD).unwrap_or(usize::MAX);
    let bytes = body::whole(body, most).await?;
    let mut document = json::parse(&bytes)
        .map_err(|error| ApiError::reason(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()))?;
    drop(bytes);
    document.sort_all_objects();
    Ok(document.to_string())
}

/// Stores a file, as a form or as the body itself. Without a signed STORE it is kept for a day.
#[utoipa::path(
    post,
    path = "/api/v0/storage/add_file",
    tag = "storage",
    operation_id = "uploads_add_file",
    request_body(content = FileForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The answer", body = StoredFile),
        (status = 202, description = "The file is here, its message waits", body = StoredFile),
        (status = 400, description = "No part `file`"),
        (status = 402, description = "The owner can't pay for the file"),
        (status = 403, description = "The signature of the STORE is wrong"),
        (status = 413, description = "Too long"),
    ),
)]
pub(super) async fn add_file(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.to_ascii_lowercase().starts_with("multipart/form-data") {
        let stored = raw_file(api.node.files.writer(limits::UNAUTHENTICATED_UPLOAD), body).await?;
        keep_for_a_while(&api, &stored).await?;
        return Ok(stored_answer(StatusCode::OK, &stored.hash));
    }
    let file = Incoming::File(api.node.files.writer(limits::STORAGE_FILE));
    let form = Form::read(file, limits::STORAGE_FILE, content_type, body).await?;
    let Some(Incoming::File(file)) = form.file else {
        return Err(ApiError::reason(
            StatusCode::BAD_REQUEST,
            "File should be sent as FormData or Raw Upload",
        ));
    };
    let Some(metadata) = form.metadata.filter(|metadata| !metadata.is_empty()) else {
        if file.written() > limits::UNAUTHENTICATED_UPLOAD {
            return Err(ApiError::too_large(limits::UNAUTHENTICATED_UPLOAD, Some(file.written())));
        }
        let stored = file.finish(None).await?;
        keep_for_a_while(&api, &stored).await?;
        return Ok(stored_answer(StatusCode::OK, &stored.hash));
    };
    let (parsed, claimed, sync) = read_metadata(&metadata)?;
    let stored = finish_blob(file, &claimed).await?;
    let info = FileInfo { size: stored.size, kind: FileKind::File };
    let outcome = publish_with_file(&api, parsed, sync, &claimed, info).await?;
    Ok(stored_answer(status_code(&outcome), &stored.hash))
}

/// Publishes the STORE of a file that is here now. The file is kept for a day if the message does not hold it.
pub(super) async fn publish_with_file(
    api: &Api,
    parsed: ParsedMessage,
    sync: bool,
    file: &ItemHash,
    info: FileInfo,
) -> Result<Outcome, ApiError> {
    let outcome = submit(api, parsed, sync, None).await?;
    let holds = matches!(outcome, Outcome::Processed | Outcome::Removing);
    if !holds && api.node.store.count_pins(file.as_str().to_owned()).await? == 0 {
        // Nothing else keeps track of the file until the message is processed, if ever.
        keep(api, file, info).await?;
    }
    if let Outcome::Rejected(rejection) = &outcome
        && matches!(rejection.code, ErrorCode::BalanceInsufficient | ErrorCode::CreditInsufficient)
    {
        return Err(ApiError::standard(StatusCode::PAYMENT_REQUIRED));
    }
    // As for any message: who does not wait is told that it is safe here.
    Ok(if sync { outcome } else { Outcome::Pending })
}

/// Ends the file, which must be the one that the message names.
pub(super) async fn finish_blob(file: BlobWriter, claimed: &ItemHash) -> Result<Stored, ApiError> {
    file.finish(Some(claimed)).await.map_err(|error| match error {
        BlobError::WrongHash { expected, actual } => mismatch(&actual, &expected),
        // The message names a CID, and what was sent is known by its SHA-256.
        BlobError::Unverifiable(expected) => ApiError::reason(
            StatusCode::UNPROCESSABLE_ENTITY,
            &format!("File hash does not match (a sha256 != {expected}): CIDs are for /api/v0/ipfs/add_file"),
        ),
        other => other.into(),
    })
}

pub(super) fn mismatch(computed: &dyn std::fmt::Display, claimed: &ItemHash) -> ApiError {
    let text = format!("File hash does not match ({computed} != {claimed})");
    ApiError::reason(StatusCode::UNPROCESSABLE_ENTITY, &text)
}

fn stored_answer(status: StatusCode, hash: &ItemHash) -> Response {
    json_answer(status, format!(r#"{{"status":"success","hash":"{hash}"}}"#))
}

/// Puts the file on record for a day, and wakes the messages that wait for it.
pub(super) async fn keep_for_a_while(api: &Api, stored: &Stored) -> Result<(), ApiError> {
    keep(api, &stored.hash, FileInfo { size: stored.size, kind: FileKind::File }).await
}

/// The same for what messages know as `file`.
pub(super) async fn keep(api: &Api, file: &ItemHash, info: FileInfo) -> Result<(), ApiError> {
    let now = crate::clock::now();
    let (hash, file) = (file.clone(), file.clone());
    api.node
        .pipeline
        .write(move |transaction| {
            transaction.add_file(&file, info.size, info.kind.as_str())?;
            transaction.add_grace_pin(&file, now, now.plus_micros(GRACE_MICROS))
        })
        .await?;
    api.node.pipeline.arrived(hash);
    Ok(())
}

/// Refuses a body that announces itself as too long before anything is read.
fn check_announced(body: &Body, limit: u64) -> Result<(), ApiError> {
    let announced = body.size_hint().lower();
    if announced > limit { Err(ApiError::too_large(limit, Some(announced))) } else { Ok(()) }
}

/// A body that is the file itself.
async fn raw_file(mut writer: BlobWriter, body: Body) -> Result<Stored, ApiError> {
    check_announced(&body, limits::UNAUTHENTICATED_UPLOAD)?;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = before_stall(chunks.next()).await? {
        writer.write(&chunk.map_err(body::broken)?).await.map_err(too_large)?;
    }
    Ok(writer.finish(None).await?)
}

pub(super) async fn before_stall<T>(next: impl Future<Output = T>) -> Result<T, ApiError> {
    let stalled = |_| {
        let text = format!("408: nothing came for {} seconds", STALL.as_secs());
        ApiError::text(StatusCode::REQUEST_TIMEOUT, text)
    };
    tokio::time::timeout(STALL, next).await.map_err(stalled)
}

pub(super) fn too_large(error: BlobError) -> ApiError {
    match error {
        BlobError::TooLarge { limit } => ApiError::too_large(limit, None),
        other => other.into(),
    }
}

/// What the part `file` becomes.
pub(super) enum Incoming {
    /// Plain bytes.
    File(BlobWriter),
    /// The blocks of a file or directory.
    Archive(ArchiveWriter),
}

impl Incoming {
    async fn write(&mut self, chunk: &[u8]) -> Result<(), ApiError> {
        match self {
            Self::File(writer) => writer.write(chunk).await.map_err(too_large),
            Self::Archive(writer) => writer.write(chunk).await.map_err(super::ipfs::refused_archive),
        }
    }
}

/// The parts of an upload form.
pub(super) struct Form {
    pub(super) file: Option<Incoming>,
    /// The name that the file has in the form.
    pub(super) name: Option<String>,
    pub(super) metadata: Option<Vec<u8>>,
}

impl Form {
    /// Reads a form whose part `file` of at most `most` bytes goes into `incoming`.
    pub(super) async fn read(
        incoming: Incoming,
        most: u64,
        content_type: &str,
        body: Body,
    ) -> Result<Self, ApiError> {
        let boundary = multer::parse_boundary(content_type)
            .map_err(|error| ApiError::reason(StatusCode::BAD_REQUEST, &error.to_string()))?;
        let whole = most.saturating_add(METADATA + OTHER_PARTS);
        check_announced(&body, whole)?;
        let size = SizeLimit::new().whole_stream(whole).for_field("metadata", METADATA);
        let constraints = Constraints::new().size_limit(size);
        let mut parts = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
        let mut form = Self { file: None, name: None, metadata: None };
        let mut incoming = Some(incoming);
        while let Some(part) = before_stall(parts.next_field()).await?.map_err(form_error)? {
            match part.name() {
                Some("file") => {
                    let Some(incoming) = incoming.take() else { continue };
                    form.name = part.file_name().map(str::to_owned);
                    form.file = Some(spool(incoming, part).await?);
                }
                Some("metadata") if form.metadata.is_none() => {
                    let bytes = before_stall(part.bytes()).await?.map_err(form_error)?;
                    form.metadata = Some(bytes.to_vec());
                }
                _ => {}
            }
        }
        Ok(form)
    }
}

/// Writes a part to disk as it comes.
async fn spool(mut incoming: Incoming, mut part: Field<'_>) -> Result<Incoming, ApiError> {
    while let Some(chunk) = before_stall(part.chunk()).await?.map_err(form_error)? {
        incoming.write(&chunk).await?;
    }
    Ok(incoming)
}

pub(super) fn form_error(error: multer::Error) -> ApiError {
    match error {
        multer::Error::FieldSizeExceeded { limit, .. } | multer::Error::StreamSizeExceeded { limit } => {
            ApiError::too_large(limit, None)
        }
        other => ApiError::reason(StatusCode::BAD_REQUEST, &format!("the form can't be read: {other}")),
    }
}

fn undecodable(errors: &[Value]) -> ApiError {
    let errors = Value::from(errors.to_vec());
    let text = format!("Could not decode metadata: {errors}");
    ApiError::reason(StatusCode::UNPROCESSABLE_ENTITY, &text)
}

fn invalid_content(error: &FormatError) -> ApiError {
    let text = format!("Invalid store message content: {error}");
    ApiError::reason(StatusCode::UNPROCESSABLE_ENTITY, &text)
}

/// Reads the signed STORE message beside a file, in the reference's order of checks: the message, the
/// hash of the file that it names, and whether the caller waits for its fate.
pub(super) fn read_metadata(bytes: &[u8]) -> Result<(ParsedMessage, ItemHash, bool), ApiError> {
    let text = |text: &str| undecodable(&[Value::from(text)]);
    let mut metadata = json::parse(bytes).map_err(|error| text(&error.to_string()))?;
    let sync = sync_flag(metadata.get("sync"))
        .flatten()
        .ok_or_else(|| text("'sync' is required and must be true or false"))?;
    let document = metadata.get_mut("message").ok_or_else(|| text("'message' is required"))?;
    super::publish::signature_as_text(document);
    let message = Envelope::read(document).map_err(|error| undecodable(&error.to_json_errors()))?;
    if message.message_type != MessageType::Store {
        return Err(text("the message must be a STORE"));
    }
    let declared_inline =
        document.get("item_type").and_then(Value::as_str) == Some(ItemType::Inline.as_str());
    let Message { item_content: Some(item_content), .. } = &message else {
        return Err(text("the message must be inline"));
    };
    if !declared_inline {
        return Err(text("'item_type' must be 'inline'"));
    }
    aleph_crypto::check(&message).map_err(|error| {
        tracing::debug!(item_hash = %message.item_hash, %error, "upload refused");
        ApiError::standard(StatusCode::FORBIDDEN)
    })?;
    let content = Content::parse_text(MessageType::Store, &message.item_hash, item_content.as_bytes())
        .map_err(|error| invalid_content(&error))?;
    let Content::Store(store) = &content else {
        return Err(text("the message must be a STORE"));
    };
    let claimed = store.item_hash.clone();
    Ok((ParsedMessage { message, content: Some(content) }, claimed, sync))
}

/// Bytes that uploads may have.
#[utoipa::path(
    get,
    path = "/api/v0/storage/limits.json",
    tag = "storage",
    operation_id = "uploads_upload_limits",
    responses(
        (status = 200, description = "The answer", body = UploadLimits),
    ),
)]
pub(super) async fn upload_limits(State(api): State<Arc<Api>>) -> Response {
    let (file, unauthenticated) = (limits::STORAGE_FILE, limits::UNAUTHENTICATED_UPLOAD);
    let ipfs = api.node.files.limits();
    json_value(&serde_json::json!({
        "storage": { "max_file_size": file, "max_unauthenticated_upload_file_size": unauthenticated },
        "ipfs": {
            "max_upload_file_size": ipfs.file_bytes,
            "max_upload_car_size": ipfs.archive_bytes,
            "max_unauthenticated_upload_file_size": unauthenticated,
        },
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json as json_of;

    use super::*;

    #[test]
    fn sorted_json_has_the_hash_of_the_reference() {
        let mut document = json::parse(r#"{"b":1,"a":"é","c":[1.0,2]}"#.as_bytes()).unwrap();
        document.sort_all_objects();
        assert_eq!(
            ItemHash::sha256(document.to_string().as_bytes()).as_str(),
            "3321a7689c8ef1e67a50d56d1223b91f11e2477c3aa26c2874e51fc020709802"
        );
    }

    #[test]
    fn metadata_must_hold_a_signed_store() {
        for metadata in [
            json_of!({}),
            json_of!({"message": {}, "sync": true}),
            json_of!({"message": {"type": "POST"}}),
            json_of!({"message": 1, "sync": "perhaps"}),
        ] {
            assert!(read_metadata(metadata.to_string().as_bytes()).is_err(), "{metadata}");
        }
    }
}

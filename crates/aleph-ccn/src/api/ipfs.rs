//! Uploads under CIDs (`spec: ccn-api.md §10.2`), without a node of IPFS.

use std::sync::Arc;

use aleph_blobs::{BlobError, BlobWriter};
use aleph_cid::{CarError, Cid, IndexError};
use aleph_rules::{FileInfo, FileKind};
use aleph_types::content::Content;
use aleph_types::{ItemHash, ItemType, ParsedMessage, limits};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;

use super::Api;
use super::errors::{ApiError, json_answer};
use super::json::Object;
use super::openapi::shapes::{ArchiveForm, FileForm, StoredFile};
use super::publish::status_code;
use super::uploads::{
    Form, Incoming, keep_for_a_while, mismatch, publish_with_file, read_metadata, sorted_json, too_large,
};
use crate::Outcome;
use crate::files::archive::{ArchiveWriter, ImportError};
use crate::files::canonical;

/// What a file without a name is called.
const UNNAMED: &str = "file";

fn unprocessable(text: &str) -> ApiError {
    ApiError::reason(StatusCode::UNPROCESSABLE_ENTITY, text)
}

pub(super) fn check_enabled(api: &Api) -> Result<(), ApiError> {
    if api.node.files.limits().enabled {
        return Ok(());
    }
    Err(ApiError::reason(StatusCode::FORBIDDEN, "IPFS is disabled on this node"))
}

/// The type of a body that must be a form.
pub(super) fn form_type(headers: &HeaderMap) -> Result<&str, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.to_ascii_lowercase().starts_with("multipart/form-data") {
        return Ok(kind);
    }
    Err(ApiError::reason(StatusCode::BAD_REQUEST, "Expected Content-Type: multipart/form-data"))
}

/// The signed STORE beside a file under a CID.
fn read_ipfs_metadata(bytes: &[u8]) -> Result<(ParsedMessage, ItemHash, bool), ApiError> {
    let (parsed, claimed, sync) = read_metadata(bytes)?;
    if let Some(Content::Store(store)) = &parsed.content
        && store.engine != ItemType::Ipfs
    {
        let text = format!("Expected item_type=ipfs in STORE message, got {}", store.engine.as_str());
        return Err(unprocessable(&text));
    }
    Ok((parsed, claimed, sync))
}

/// Stores JSON with sorted keys under its CID; kept for a day unless a STORE message names it.
#[utoipa::path(
    post,
    path = "/api/v0/ipfs/add_json",
    tag = "storage",
    operation_id = "ipfs_add_json",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The answer", body = StoredFile),
        (status = 403, description = "IPFS is disabled on this node"),
        (status = 413, description = "Too long"),
    ),
)]
pub(super) async fn add_json(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    check_enabled(&api)?;
    let text = sorted_json(body).await?;
    let mut writer = api.node.files.cid_writer(limits::UNAUTHENTICATED_UPLOAD);
    // As it is hashed it may be longer than it came.
    writer.write(text.as_bytes()).await.map_err(too_large)?;
    let stored = writer.finish(None).await?;
    keep_for_a_while(&api, &stored).await?;
    api.node.files.hand_over(&stored.hash, &api.node.stopping);
    Ok(json_answer(StatusCode::OK, format!(r#"{{"status":"success","hash":"{}"}}"#, stored.hash)))
}

/// Stores a file under its CID: as `ipfs add` gives it, or in version 1 if the signed STORE says so. Without one
/// it is kept for a day.
#[utoipa::path(
    post,
    path = "/api/v0/ipfs/add_file",
    tag = "storage",
    operation_id = "ipfs_add_file",
    request_body(content = FileForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The answer", body = StoredFile),
        (status = 202, description = "The file is here, its message waits", body = StoredFile),
        (status = 400, description = "The body is no form"),
        (status = 402, description = "The owner can't pay for the file"),
        (status = 403, description = "The signature of the STORE is wrong, or IPFS is disabled on this node"),
        (status = 413, description = "Too long"),
    ),
)]
pub(super) async fn add_file(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_enabled(&api)?;
    let most = api.node.files.limits().file_bytes;
    let incoming = Incoming::File(api.node.files.cid_writer(most));
    let form = Form::read(incoming, most, form_type(&headers)?, body).await?;
    let Some(Incoming::File(file)) = form.file else {
        return Err(unprocessable("Missing 'file' in multipart form."));
    };
    let name = form.name.unwrap_or_else(|| UNNAMED.to_owned());
    let Some(metadata) = form.metadata.filter(|metadata| !metadata.is_empty()) else {
        if file.written() > limits::UNAUTHENTICATED_UPLOAD {
            return Err(ApiError::too_large(limits::UNAUTHENTICATED_UPLOAD, Some(file.written())));
        }
        let stored = file.finish(None).await?;
        keep_for_a_while(&api, &stored).await?;
        api.node.files.hand_over(&stored.hash, &api.node.stopping);
        return Ok(stored_answer(StatusCode::OK, &stored.hash, Some(&name), stored.size));
    };
    let (parsed, claimed, sync) = read_ipfs_metadata(&metadata)?;
    let (outcome, info) = store_file(&api, file, parsed, &claimed, sync).await?;
    Ok(stored_answer(status_code(&outcome), &claimed, Some(&name), info.size))
}

/// Ends a file, which must be the one that the message names, and publishes the message.
pub(super) async fn store_file(
    api: &Arc<Api>,
    file: BlobWriter,
    parsed: ParsedMessage,
    claimed: &ItemHash,
    sync: bool,
) -> Result<(Outcome, FileInfo), ApiError> {
    let stored = file.finish(Some(&canonical(claimed))).await.map_err(|error| match error {
        BlobError::WrongHash { actual, .. } => mismatch(&actual, claimed),
        other => other.into(),
    })?;
    let info = FileInfo { size: stored.size, kind: FileKind::File };
    let outcome = publish_with_file(api, parsed, sync, claimed, info).await?;
    api.node.files.hand_over(claimed, &api.node.stopping);
    Ok((outcome, info))
}

/// Stores a file or directory that comes as an archive (CAR version 1): every block is checked, and it must hold
/// the tree of its root, whole and nothing else.
#[utoipa::path(
    post,
    path = "/api/v0/ipfs/add_car",
    tag = "storage",
    operation_id = "ipfs_add_car",
    request_body(content = ArchiveForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The answer", body = StoredFile),
        (status = 202, description = "The file is here, its message waits", body = StoredFile),
        (status = 400, description = "The body is no form"),
        (status = 402, description = "The owner can't pay for it"),
        (status = 403, description = "The signature of the STORE is wrong, or IPFS is disabled on this node"),
        (status = 413, description = "Too long"),
    ),
)]
pub(super) async fn add_car(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_enabled(&api)?;
    let content_type = form_type(&headers)?;
    let most = api.node.files.limits().archive_bytes;
    let incoming = Incoming::Archive(api.node.files.archive_writer(most));
    let form = Form::read(incoming, most, content_type, body).await?;
    let Some(Incoming::Archive(archive)) = form.file else {
        return Err(unprocessable("Missing 'file' in multipart form."));
    };
    let Some(metadata) = form.metadata.filter(|metadata| !metadata.is_empty()) else {
        return Err(unprocessable("metadata is required for CAR upload"));
    };
    let (parsed, claimed, sync) = read_ipfs_metadata(&metadata)?;
    let (outcome, info) = store_archive(&api, archive, parsed, &claimed, sync).await?;
    Ok(stored_answer(status_code(&outcome), &claimed, None, info.size))
}

/// Ends an archive, which must be the one that the message names, and publishes the message.
pub(super) async fn store_archive(
    api: &Arc<Api>,
    archive: ArchiveWriter,
    parsed: ParsedMessage,
    claimed: &ItemHash,
    sync: bool,
) -> Result<(Outcome, FileInfo), ApiError> {
    let expected = Cid::try_from(claimed).map_err(|error| unprocessable(&error.to_string()))?;
    let info = archive.finish(Some(&expected)).await.map_err(refused_archive)?;
    let outcome = publish_with_file(api, parsed, sync, claimed, info).await?;
    api.node.files.hand_over(claimed, &api.node.stopping);
    Ok((outcome, info))
}

/// Why an archive is not taken, as clients know it.
pub(super) fn refused_archive(error: ImportError) -> ApiError {
    match error {
        ImportError::Archive(IndexError::Car(CarError::TooLarge { limit })) => {
            ApiError::too_large(limit, None)
        }
        ImportError::Archive(error) => unprocessable(&format!("Invalid CAR file: {error}")),
        ImportError::WrongRoot { root, expected } => {
            unprocessable(&format!("Root CID does not match ({root} != {expected})"))
        }
        ImportError::Name(error) => unprocessable(&format!("Invalid CAR file: {error}")),
        ImportError::Busy => ApiError::unavailable(&error),
        ImportError::Blob(error) => too_large(error),
    }
}

fn stored_answer(status: StatusCode, hash: &ItemHash, name: Option<&str>, size: u64) -> Response {
    let mut body = Vec::new();
    let mut object = Object::new(&mut body);
    object.text("status", "success").text("hash", hash.as_str());
    if let Some(name) = name {
        object.text("name", name);
    }
    object.number("size", size).end();
    json_answer(status, body)
}

//! Files on their way out to other nodes, and what is on record of them (`spec: ccn-api.md §§10.4, 10.6`).

use std::io;
use std::sync::Arc;

use aleph_rules::FileKind;
use aleph_store::queries::{FileInfo, FileVersion};
use aleph_types::content::StoreContent;
use aleph_types::{Address, HashKind, ItemHash, limits};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::StreamReader;

use super::Api;
use super::errors::{ApiError, json_answer};
use super::json::Object;
use super::openapi::shapes::{Base64File, FileMetadata, FileVersionAnswer};
use super::params::file_hash;
use crate::files::pieces::{self, Blocks};
use crate::files::{Opened, forms};

/// What is answered where no hash can be.
pub(super) const NO_HASH: &str = "Invalid hash provided";

/// Bytes of a file that make one line of 76 characters.
const LINE: usize = 57;

/// What is on record of a file, under any text of its CID.
async fn record(api: &Api, hash: &ItemHash) -> Result<Option<FileInfo>, ApiError> {
    for form in forms(hash) {
        if let Some(found) = api.node.store.file(form.as_str().to_owned()).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A file in base64, for other nodes.
#[utoipa::path(
    get,
    path = "/api/v0/storage/{file_hash}",
    tag = "storage",
    operation_id = "downloads_base64",
    params(("file_hash" = String, Path, description = "Hash of the file")),
    responses(
        (status = 200, description = "The answer", body = Base64File),
        (status = 413, description = "The file is too large for this route"),
    ),
)]
pub(super) async fn base64(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let hash = file_hash(&hash).ok_or_else(|| ApiError::text(StatusCode::BAD_REQUEST, NO_HASH))?;
    let (size, bytes) = match api.node.files.open(&hash).await? {
        Some(Opened::File(blob)) => {
            let size = blob.size();
            (size, blob.stream(0..size).map_err(io::Error::other).boxed())
        }
        Some(Opened::Archive(archive)) if archive.info().kind == FileKind::File => {
            let (size, root) = (archive.info().size, archive.root());
            let bytes = pieces::file(Blocks::Archive(archive), root, 0..size);
            (size, bytes.map_err(io::Error::other).boxed())
        }
        // A directory is no file here, as in the reference.
        here => {
            let known = here.is_some() || record(&api, &hash).await?.is_some();
            let text = if known { format!("No file found for hash {hash}") } else { "Not found".to_owned() };
            return Err(ApiError::text(StatusCode::NOT_FOUND, text));
        }
    };
    if size > limits::STORAGE_FILE {
        return Err(ApiError::too_large(limits::STORAGE_FILE, Some(size)));
    }
    let engine = match hash.kind() {
        HashKind::Storage => "storage",
        HashKind::Ipfs => "ipfs",
    };
    let mut head = Vec::new();
    let mut object = Object::new(&mut head);
    object.text("status", "success").text("hash", hash.as_str()).text("engine", engine);
    object.field("content").push(b'"');
    let file = StreamReader::new(bytes);
    let pieces = futures_util::stream::try_unfold((Some(head), Some(file)), |(head, file)| async move {
        if let Some(head) = head {
            return Ok(Some((Bytes::from(head), (None, file))));
        }
        let Some(mut file) = file else {
            return Ok::<_, io::Error>(None);
        };
        let mut block = Vec::with_capacity(LINE * 4096);
        (&mut file).take((LINE * 4096) as u64).read_to_end(&mut block).await?;
        let is_last = block.len() < LINE * 4096;
        let mut text = Vec::with_capacity(block.len() / LINE * 78 + 80);
        push_lines(&mut text, &block);
        if is_last {
            text.extend_from_slice(b"\"}");
        }
        Ok(Some((Bytes::from(text), (None, (!is_last).then_some(file)))))
    });
    Ok(json_answer(StatusCode::OK, Body::from_stream(pieces)))
}

/// Base64 in lines of 76 characters, as MIME writes it; line ends are escaped for JSON.
fn push_lines(out: &mut Vec<u8>, block: &[u8]) {
    let mut line = [0u8; 76];
    for bytes in block.chunks(LINE) {
        // A line always fits.
        let written = STANDARD.encode_slice(bytes, &mut line).unwrap_or_default();
        out.extend_from_slice(&line[..written]);
        out.extend_from_slice(b"\\n");
    }
}

/// Size and kind of a file.
#[utoipa::path(
    get,
    path = "/api/v0/storage/metadata/{file_hash}",
    tag = "storage",
    operation_id = "downloads_metadata",
    params(("file_hash" = String, Path, description = "Hash of the file")),
    responses(
        (status = 200, description = "The answer", body = FileMetadata),
    ),
)]
pub(super) async fn metadata(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let found = match ItemHash::parse(&hash) {
        Ok(hash) => record(&api, &hash).await?,
        Err(_) => api.node.store.file(hash.clone()).await?,
    };
    let Some(file) = found else {
        return Err(ApiError::text(StatusCode::NOT_FOUND, format!("No file found for hash {hash}")));
    };
    let mut body = Vec::new();
    let mut object = Object::new(&mut body);
    object
        .text("file_hash", file.hash.as_str())
        .text("type", file.kind.as_str())
        .number("size", file.size)
        .text("download_url", &download_url(&file.hash))
        .end();
    Ok(json_answer(StatusCode::OK, body))
}

fn download_url(hash: &ItemHash) -> String {
    format!("/api/v0/storage/raw/{hash}")
}

fn version_answer(version: &FileVersion) -> Response {
    let mut body = Vec::new();
    let mut object = Object::new(&mut body);
    object
        .text("ref", &version.reference)
        .text("owner", version.owner.as_str())
        .text("file_hash", version.file.as_str())
        .text("download_url", &download_url(&version.file))
        .number("size", version.size)
        .end();
    json_answer(StatusCode::OK, body)
}

/// The file that a STORE message names.
#[utoipa::path(
    get,
    path = "/api/v0/storage/by-message-hash/{message_hash}",
    tag = "storage",
    operation_id = "downloads_by_message",
    params(("message_hash" = String, Path, description = "Item hash of the STORE")),
    responses(
        (status = 200, description = "The answer", body = FileVersionAnswer),
    ),
)]
pub(super) async fn by_message(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let message = ItemHash::parse(&hash).map_err(|_| ApiError::text(StatusCode::BAD_REQUEST, NO_HASH))?;
    match api.node.store.file_of_message(message).await? {
        Some(version) => Ok(version_answer(&version)),
        None => Err(ApiError::text(StatusCode::NOT_FOUND, format!("No file found for message {hash}"))),
    }
}

/// The latest version of a file, by its first STORE message.
#[utoipa::path(
    get,
    path = "/api/v0/storage/by-ref/{ref}",
    tag = "storage",
    operation_id = "downloads_by_ref",
    params(("ref" = String, Path, description = "Item hash of the first STORE")),
    responses(
        (status = 200, description = "The answer", body = FileVersionAnswer),
    ),
)]
pub(super) async fn by_ref(
    State(api): State<Arc<Api>>,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    if ItemHash::parse(&reference).is_err() {
        return Err(ApiError::text(StatusCode::BAD_REQUEST, "address is required for user-defined ref"));
    }
    of_tag(&api, reference).await
}

/// The latest version of a file, by the owner's own name for it.
#[utoipa::path(
    get,
    path = "/api/v0/storage/by-ref/{address}/{ref}",
    tag = "storage",
    operation_id = "downloads_by_owner_ref",
    params(("address" = String, Path, description = "The owner"), ("ref" = String, Path, description = "The name; may hold slashes")),
    responses(
        (status = 200, description = "The answer", body = FileVersionAnswer),
    ),
)]
pub(super) async fn by_owner_ref(
    State(api): State<Arc<Api>>,
    Path((address, reference)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    of_tag(&api, StoreContent::tag_of_reference(&Address::from(address), &reference)).await
}

async fn of_tag(api: &Api, tag: String) -> Result<Response, ApiError> {
    match api.node.store.file_of_tag(tag.clone()).await? {
        Some(version) => Ok(version_answer(&version)),
        None => Err(ApiError::text(StatusCode::NOT_FOUND, format!("No file found for tag {tag}"))),
    }
}

/// How many pins a file has, under every text of its CID.
#[utoipa::path(
    get,
    path = "/api/v0/storage/count/{hash}",
    tag = "storage",
    operation_id = "downloads_count",
    params(("hash" = String, Path, description = "Hash of the file")),
    responses(
        (status = 200, description = "The answer", body = u64, content_type = "application/json"),
    ),
)]
pub(super) async fn count(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let forms = match ItemHash::parse(&hash) {
        Ok(hash) => forms(&hash).iter().map(|form| form.as_str().to_owned()).collect(),
        Err(_) => vec![hash],
    };
    let mut pins = 0;
    for form in forms {
        pins += api.node.store.count_pins(form).await?;
    }
    Ok(json_answer(StatusCode::OK, pins.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_mime_lines() {
        let mut text = Vec::new();
        push_lines(&mut text, &[0; 58]);
        assert_eq!(String::from_utf8(text).unwrap(), format!("{}\\nAA==\\n", "A".repeat(76)));
        let mut text = Vec::new();
        push_lines(&mut text, b"");
        assert!(text.is_empty());
    }
}

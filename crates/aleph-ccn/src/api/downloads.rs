//! Files on their way out (`spec: ccn-api.md §§10.4–10.6`).

use std::io;
use std::sync::Arc;

use aleph_store::queries::FileVersion;
use aleph_types::content::StoreContent;
use aleph_types::{Address, HashKind, ItemHash, limits};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::Api;
use super::conditional;
use super::errors::{ApiError, json_answer};
use super::json::Object;
use super::openapi::shapes::{Base64File, FileMetadata, FileVersionAnswer};
use super::params::file_hash;

/// Bytes that are read from disk at a time.
const BLOCK: usize = 256 * 1024;

/// Bytes of a file that make one line of 76 characters.
const LINE: usize = 57;

/// The file of `hash`, if it is here. Hashes of strange characters name no file.
async fn open(api: &Api, hash: &ItemHash) -> Result<Option<(tokio::fs::File, u64)>, ApiError> {
    if ItemHash::parse(hash.as_str()).is_err() {
        return Ok(None);
    }
    Ok(api.node.blobs.open_file(hash).await?)
}

/// A file, or one range of it.
#[utoipa::path(
    get,
    path = "/api/v0/storage/raw/{file_hash}",
    tag = "storage",
    operation_id = "downloads_raw",
    params(("file_hash" = String, Path, description = "Hash of the file"), ("Range" = Option<String>, Header, description = "One range of bytes")),
    responses(
        (status = 200, description = "The answer", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 416, description = "The file has no such range"),
    ),
)]
pub(super) async fn raw(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let hash = file_hash(&hash).ok_or_else(|| ApiError::text(StatusCode::BAD_REQUEST, "Invalid hash"))?;
    let (mut file, size) =
        open(&api, &hash).await?.ok_or_else(|| ApiError::text(StatusCode::NOT_FOUND, "Not found"))?;
    // The hash is the content: it never changes.
    let tag = format!("\"{hash}\"");
    let mut response = Response::new(Body::empty());
    let shown = response.headers_mut();
    shown.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    shown.insert(header::CACHE_CONTROL, conditional::A_DAY);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        shown.insert(header::ETAG, tag);
    }
    if conditional::names(headers.get(header::IF_NONE_MATCH), &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    shown.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let whole_if_changed =
        headers.get(header::IF_RANGE).is_some_and(|value| value.as_bytes() != tag.as_bytes());
    let asked =
        headers.get(header::RANGE).and_then(|range| range.to_str().ok()).filter(|_| !whole_if_changed);
    let (start, length) = match asked.map_or(Asked::Whole, |text| Asked::read(text, size)) {
        Asked::Whole => (0, size),
        Asked::Part { start, end } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set_range(response.headers_mut(), &format!("bytes {start}-{end}/{size}"));
            (start, end - start + 1)
        }
        Asked::Beyond => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set_range(response.headers_mut(), &format!("bytes */{size}"));
            return Ok(response);
        }
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if start > 0 {
        file.seek(io::SeekFrom::Start(start)).await.map_err(|error| ApiError::unavailable(&error))?;
    }
    *response.body_mut() = Body::from_stream(ReaderStream::with_capacity(file.take(length), BLOCK));
    Ok(response)
}

fn set_range(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Everything: no range, several ranges, or something that is none.
    Whole,
    /// From `start` to `end`, both included.
    Part { start: u64, end: u64 },
    /// Nothing that the file has.
    Beyond,
}

impl Asked {
    fn read(text: &str, size: u64) -> Self {
        let Some(range) = text.trim().strip_prefix("bytes=") else { return Self::Whole };
        let Some((first, last)) = range.trim().split_once('-') else { return Self::Whole };
        let number = |text: &str| -> Option<u64> {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        match (number(first), number(last)) {
            (Some(start), Some(end)) if end < start => Self::Whole,
            (Some(start), _) if start >= size && (last.is_empty() || number(last).is_some()) => Self::Beyond,
            (Some(start), Some(end)) => Self::Part { start, end: end.min(size - 1) },
            (Some(start), None) if last.is_empty() => Self::Part { start, end: size - 1 },
            (None, Some(0)) if first.is_empty() => Self::Beyond,
            (None, Some(_)) if first.is_empty() && size == 0 => Self::Beyond,
            (None, Some(suffix)) if first.is_empty() => {
                Self::Part { start: size.saturating_sub(suffix), end: size - 1 }
            }
            _ => Self::Whole,
        }
    }
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
    let hash =
        file_hash(&hash).ok_or_else(|| ApiError::text(StatusCode::BAD_REQUEST, "Invalid hash provided"))?;
    let Some((file, size)) = open(&api, &hash).await? else {
        let known = api.node.store.file(hash.as_str().to_owned()).await?.is_some();
        let text = if known { format!("No file found for hash {hash}") } else { "Not found".to_owned() };
        return Err(ApiError::text(StatusCode::NOT_FOUND, text));
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
    let Some(file) = api.node.store.file(hash.clone()).await? else {
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
    let message = ItemHash::parse(&hash)
        .map_err(|_| ApiError::text(StatusCode::BAD_REQUEST, "Invalid hash provided"))?;
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

/// How many pins a file has.
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
    let pins = api.node.store.count_pins(hash).await?;
    Ok(json_answer(StatusCode::OK, pins.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes=0-4", Asked::Part { start: 0, end: 4 }),
            ("bytes=5-", Asked::Part { start: 5, end: 9 }),
            ("bytes=5-500", Asked::Part { start: 5, end: 9 }),
            ("bytes=-3", Asked::Part { start: 7, end: 9 }),
            ("bytes=-30", Asked::Part { start: 0, end: 9 }),
            ("bytes=10-", Asked::Beyond),
            ("bytes=99999999999999999999-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=4-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("items=0-1", Asked::Whole),
        ] {
            assert_eq!(Asked::read(text, 10), expected, "{text}");
        }
        assert_eq!(Asked::read("bytes=0-", 0), Asked::Beyond);
        assert_eq!(Asked::read("bytes=-5", 0), Asked::Beyond);
    }

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

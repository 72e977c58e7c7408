//! Files, directories and archives as they are (`spec: ccn-api.md §10.5`).

use std::io;
use std::ops::Range;
use std::sync::Arc;

use aleph_cid::{Cid, Codec, ErrorKind, MAX_BLOCK, NodeKind};
use aleph_types::{HashKind, ItemHash};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use super::Api;
use super::conditional;
use super::errors::ApiError;
use super::params::{Params, file_hash};
use super::ranges::Asked;
use crate::files::pieces::{self, Blocks, PieceError};
use crate::files::{Opened, named};

/// What an archive is called (IANA).
const CAR: HeaderValue = HeaderValue::from_static("application/vnd.ipld.car; version=1; order=dfs; dups=n");
const BLOCK: HeaderValue = HeaderValue::from_static("application/vnd.ipld.raw");
const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// In which form something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The bytes of a file; a directory as a tar.
    Plain,
    /// All blocks, as trustless gateways give them.
    Car,
    /// One block.
    Block,
}

impl Form {
    /// `format=` goes before `Accept`, as on gateways.
    fn asked(query: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        match Params::read(query).text(&["format"]).as_deref() {
            Some("car") => return Ok(Self::Car),
            Some("raw") => return Ok(Self::Block),
            Some("tar" | "") | None => {}
            Some(_) => {
                return Err(ApiError::reason(StatusCode::BAD_REQUEST, "'format' is car, raw or tar"));
            }
        }
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let types = accept.split(',').filter_map(|part| part.split(';').next()).map(str::trim);
        for kind in types {
            match kind {
                "application/vnd.ipld.car" => return Ok(Self::Car),
                "application/vnd.ipld.raw" => return Ok(Self::Block),
                _ => {}
            }
        }
        Ok(Self::Plain)
    }
}

/// What a hash or CID of the path means.
struct Target {
    name: ItemHash,
    /// Where blocks are asked for: the CID.
    cid: Option<Cid>,
}

impl Target {
    fn read(text: &str) -> Option<Self> {
        if let Some(name) = file_hash(text) {
            let cid = match name.kind() {
                HashKind::Ipfs => Cid::try_from(&name).ok(),
                // A file by its SHA-256 is a raw block, if it is short enough for one.
                HashKind::Storage => None,
            };
            return Some(Self { name, cid });
        }
        // Forms that messages can't have: other bases, and raw blocks.
        let cid = Cid::parse(text).ok()?;
        Some(Self { name: named(&cid)?, cid: Some(cid) })
    }
}

/// A file, or one range of it; a directory as a tar; either as an archive of its blocks.
#[utoipa::path(
    get,
    path = "/api/v0/storage/raw/{file_hash}",
    tag = "storage",
    operation_id = "downloads_raw",
    params(
        ("file_hash" = String, Path, description = "Hash of the file, or any text of a CID"),
        ("format" = Option<String>, Query, description = "`car`: all blocks (also by `Accept: application/vnd.ipld.car`); `raw`: one block"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The answer", content(
            (Vec<u8> = "application/octet-stream"),
            (Vec<u8> = "application/x-tar"),
            (Vec<u8> = "application/vnd.ipld.car"),
            (Vec<u8> = "application/vnd.ipld.raw"),
        )),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 416, description = "The file has no such range"),
    ),
)]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve(&api, &hash, None, query.as_deref(), &headers).await
}

/// What stands at a path below a directory; a directory as a tar.
#[utoipa::path(
    get,
    path = "/api/v0/storage/raw/{file_hash}/{path}",
    tag = "storage",
    operation_id = "downloads_raw_below",
    params(
        ("file_hash" = String, Path, description = "Any text of the directory's CID"),
        ("path" = String, Path, description = "Names with slashes between them"),
        ("format" = Option<String>, Query, description = "`car` or `raw`, as above"),
        ("Range" = Option<String>, Header, description = "One range of bytes"),
    ),
    responses(
        (status = 200, description = "The answer", content(
            (Vec<u8> = "application/octet-stream"),
            (Vec<u8> = "application/x-tar"),
            (Vec<u8> = "application/vnd.ipld.car"),
            (Vec<u8> = "application/vnd.ipld.raw"),
        )),
        (status = 206, description = "The range", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 416, description = "The file has no such range"),
    ),
)]
pub(super) async fn get_below(
    State(api): State<Arc<Api>>,
    Path((hash, path)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve(&api, &hash, Some(&path), query.as_deref(), &headers).await
}

fn not_found() -> ApiError {
    ApiError::text(StatusCode::NOT_FOUND, "Not found")
}

fn busy() -> ApiError {
    let text = "503: this node gives out as many archives as it can: come back in a moment";
    ApiError::text(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(5)
}

fn unreadable(error: PieceError) -> ApiError {
    match error {
        PieceError::Read(error) => match error.kind() {
            ErrorKind::NotFound => not_found(),
            _ => ApiError::reason(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        PieceError::Blob(error) => error.into(),
        PieceError::Missing(_) => not_found(),
        other => ApiError::internal(&other),
    }
}

async fn serve(
    api: &Api,
    text: &str,
    path: Option<&str>,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let target = Target::read(text).ok_or_else(|| ApiError::text(StatusCode::BAD_REQUEST, "Invalid hash"))?;
    let form = Form::asked(query, headers)?;
    let Target { name, cid } = target;
    let opened = api.node.files.open(&name).await?.ok_or_else(not_found)?;
    if cid.is_some_and(|cid| cid.codec() == Codec::Raw) {
        // Whether the file is a block is known by its length only: it is what its hash says.
        if matches!(&opened, Opened::File(blob) if blob.size() > MAX_BLOCK as u64) {
            return Err(not_found());
        }
    }
    let answer = Answer { headers, cid, text: text.to_owned() };
    match (opened, path, form) {
        (Opened::File(blob), None, Form::Plain) => {
            let size = blob.size();
            Ok(answer.bytes(text, size, |range| blob.stream(range).map_err(io::Error::other)))
        }
        (Opened::File(blob), None, form) => {
            let cid = cid.or_else(|| raw_block(&name, blob.size())).ok_or_else(|| {
                ApiError::reason(
                    StatusCode::BAD_REQUEST,
                    "a file by its sha256 has no blocks: ask for its bytes",
                )
            })?;
            let blocks = if cid.codec() == Codec::Raw {
                Blocks::One(blob)
            } else {
                Blocks::File { blob, root: cid, map: None, room: api.node.files.maps() }
            };
            answer.blocks(api, blocks, cid, form).await
        }
        (Opened::File(_), Some(_), _) => Err(not_found()),
        (Opened::Archive(archive), path, form) => {
            let root = archive.root();
            let mut blocks = Blocks::Archive(archive);
            let at = match path {
                Some(path) => blocks.resolve(root, path).await.map_err(unreadable)?,
                None => root,
            };
            if form != Form::Plain {
                return answer.blocks(api, blocks, at, form).await;
            }
            let stat = blocks.stat(&at).await.map_err(unreadable)?;
            match stat.kind {
                NodeKind::File => {
                    let tag = at.to_string();
                    let read = |range| pieces::file(blocks, at, range).map_err(io::Error::other);
                    Ok(answer.bytes(&tag, stat.size, read))
                }
                NodeKind::Directory | NodeKind::Symlink => Ok(answer.tar(blocks, at)),
                NodeKind::Other => Err(ApiError::reason(
                    StatusCode::BAD_REQUEST,
                    "this is no file and no directory: ask for format=car or format=raw",
                )),
            }
        }
    }
}

/// The CID of a short file as a raw block.
fn raw_block(name: &ItemHash, size: u64) -> Option<Cid> {
    let digest = hex::decode(name.as_str()).ok()?.try_into().ok()?;
    (size <= MAX_BLOCK as u64).then(|| Cid::raw(digest))
}

/// How an answer is given.
struct Answer<'a> {
    headers: &'a HeaderMap,
    cid: Option<Cid>,
    text: String,
}

impl Answer<'_> {
    /// The head of an answer that never changes; whole, if the client has it already.
    fn begun(&self, tag: &str, kind: HeaderValue) -> (Response, bool) {
        let mut response = Response::new(Body::empty());
        let tag = format!("\"{tag}\"");
        let shown = response.headers_mut();
        shown.insert(header::CACHE_CONTROL, conditional::A_DAY);
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            shown.insert(header::ETAG, tag);
        }
        // Nothing of it may be taken for a page of this node.
        shown.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.cid.is_some() {
            shown.insert(header::VARY, HeaderValue::from_static("accept"));
        }
        if conditional::names(self.headers.get(header::IF_NONE_MATCH), &tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return (response, true);
        }
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        (response, false)
    }

    /// A file, or one range of it.
    fn bytes<S>(&self, name: &str, size: u64, read: impl FnOnce(Range<u64>) -> S) -> Response
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let (mut response, known) = self.begun(name, BYTES);
        response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if known {
            return response;
        }
        let tag = format!("\"{name}\"");
        let changed =
            self.headers.get(header::IF_RANGE).is_some_and(|value| value.as_bytes() != tag.as_bytes());
        let asked =
            self.headers.get(header::RANGE).and_then(|range| range.to_str().ok()).filter(|_| !changed);
        let range = match asked.map_or(Asked::Whole, |text| Asked::read(text, size)) {
            Asked::Whole => 0..size,
            Asked::Part { start, end } => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                set_range(response.headers_mut(), &format!("bytes {start}-{end}/{size}"));
                start..end + 1
            }
            Asked::Beyond => {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                set_range(response.headers_mut(), &format!("bytes */{size}"));
                return response;
            }
        };
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        *response.body_mut() = Body::from_stream(read(range));
        response
    }

    /// A directory, made into a tar while it is read.
    fn tar(&self, blocks: Blocks, root: Cid) -> Response {
        let (mut response, known) = self.begun(&format!("{root}.tar"), TAR);
        response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
        if !known {
            *response.body_mut() = body(pieces::tar(blocks, root, self.text.clone()));
        }
        response
    }

    /// All blocks below a root, or the root alone.
    async fn blocks(
        &self,
        api: &Api,
        mut blocks: Blocks,
        root: Cid,
        form: Form,
    ) -> Result<Response, ApiError> {
        let (tag, kind) =
            if form == Form::Car { (format!("{root}.car"), CAR) } else { (format!("{root}.raw"), BLOCK) };
        let (mut response, known) = self.begun(&tag, kind);
        if known {
            return Ok(response);
        }
        *response.body_mut() = if form == Form::Car {
            let room = api.node.files.export(blocks.count()).ok_or_else(busy)?;
            body(pieces::car(blocks, root, room))
        } else {
            let block = blocks.get(&root).await.map_err(unreadable)?;
            // What a gateway gives is checked by its clients; a damaged disk is told all the same.
            if !root.matches(&block) {
                return Err(ApiError::internal(&io::Error::other(format!("block {root} is damaged"))));
            }
            Body::from(block)
        };
        Ok(response)
    }
}

/// A body that breaks off where its blocks can't be read: nothing else can be told then.
fn body(pieces: impl Stream<Item = Result<Bytes, PieceError>> + Send + 'static) -> Body {
    Body::from_stream(pieces.inspect_err(|error| tracing::warn!(%error, "an answer broke off")).boxed())
}

fn set_range(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(header::CONTENT_RANGE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_by_parameter_and_by_header() {
        let asked = |query: Option<&str>, accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
            Form::asked(query, &headers).ok()
        };
        assert_eq!(asked(None, "*/*"), Some(Form::Plain));
        assert_eq!(asked(Some("find"), "text/html, */*"), Some(Form::Plain));
        assert_eq!(asked(None, "application/vnd.ipld.car; version=1, */*;q=0.1"), Some(Form::Car));
        assert_eq!(asked(Some("format=raw"), "application/vnd.ipld.car"), Some(Form::Block));
        assert_eq!(asked(Some("format=tar"), "*/*"), Some(Form::Plain));
        assert_eq!(asked(Some("format=dag-json"), "*/*"), None);
    }

    #[test]
    fn texts_of_a_path() {
        let raw = Target::read("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku").unwrap();
        assert_eq!(raw.name, ItemHash::sha256(b""));
        let base36 = Cid::parse("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH").unwrap().to_v1();
        assert_eq!(Target::read(&base36.to_string()).unwrap().name.as_str(), base36.to_string());
        assert!(Target::read("short").is_none() && Target::read("").is_none());
    }
}

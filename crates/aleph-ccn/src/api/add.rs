//! `POST /api/v0/add` as a node of IPFS has it: whole folders, as parts of a form.
//!
//! What is added has no message yet, so it is kept for a day and bounded like every upload without one: its
//! blocks are held in memory, which all requests share, until the last part came. A STORE of the root makes it stay.

use std::collections::BTreeMap;
use std::sync::Arc;

use aleph_cid::{
    BlockSource as _, Built, Cid, Codec, DagWalk, FileBuilder, Layout, Limits, MemoryBlocks, TreeBuilder,
    TreeError, symlink,
};
use aleph_types::limits;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use multer::{Constraints, Field, Multipart, SizeLimit};
use tokio::sync::OwnedSemaphorePermit;

use super::Api;
use super::errors::ApiError;
use super::ipfs::{check_enabled, form_type, refused_archive};
use super::json::Object;
use super::openapi::shapes::FileForm;
use super::params::Params;
use super::uploads::{before_stall, form_error, keep, keep_for_a_while};
use crate::files::named;

/// Most files and directories of one request.
const ENTRIES: usize = 10_000;

/// What boundaries and heads of parts may add to the files.
const HEADS: u64 = 8 * 1024 * 1024;

/// A file that was added.
struct Added {
    path: String,
    built: Built,
}

fn bad(text: impl std::fmt::Display) -> ApiError {
    ApiError::reason(StatusCode::BAD_REQUEST, &text.to_string())
}

/// How files are cut, as the query says it.
fn layout(params: &mut Params) -> Result<Layout, ApiError> {
    for other in [&["trickle"], &["only-hash"], &["inline"], &["nocopy"]] {
        if params.flag(other, false) {
            return Err(bad(format!("'{}' is not done here", other[0])));
        }
    }
    if params.text(&["chunker"]).is_some_and(|chunker| chunker != "size-262144") {
        return Err(bad("'chunker' is size-262144 here"));
    }
    let version = params.bounded_integer(&["cid-version"], 0, 0, 1);
    let base = if version == 0 { Layout::KUBO_V0 } else { Layout::KUBO_V1 };
    let raw = params.flag(&["raw-leaves"], version == 1);
    Ok(base.with_raw_leaves(raw))
}

/// Adds files and folders, as a node of IPFS does. They are kept for a day unless a STORE names them.
///
/// Every part is a file; its `filename` is its path, percent-encoded, and its type `application/x-directory` or
/// `application/symlink` where it is none. The answer has a line of JSON for each file and each root.
#[utoipa::path(
    post,
    path = "/api/v0/add",
    tag = "storage",
    operation_id = "ipfs_add",
    params(
        ("cid-version" = Option<u8>, Query, description = "0 (default) or 1"),
        ("raw-leaves" = Option<bool>, Query, description = "Leaves as plain bytes; by default in version 1"),
        ("wrap-with-directory" = Option<bool>, Query, description = "One folder around everything"),
    ),
    request_body(content = FileForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "`{\"Name\", \"Hash\", \"Size\"}`, one a line", body = String, content_type = "application/x-ndjson"),
        (status = 400, description = "The body is no form, or a path is none"),
        (status = 403, description = "IPFS is disabled on this node"),
        (status = 413, description = "Too long"),
    ),
)]
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    check_enabled(&api)?;
    let mut params = Params::read(query.as_deref());
    let layout = layout(&mut params)?;
    let wrap = params.flag(&["wrap-with-directory"], false);
    params.finish()?;
    let boundary = multer::parse_boundary(form_type(&headers)?).map_err(bad)?;
    let most = SizeLimit::new().whole_stream(limits::UNAUTHENTICATED_UPLOAD + HEADS);
    let constraints = Constraints::new().size_limit(most);
    let mut parts = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
    let mut blocks = MemoryBlocks::default();
    let mut held = Held { bytes: 0, room: Vec::new() };
    let mut added: Vec<Added> = Vec::new();
    let mut directories: Vec<String> = Vec::new();
    while let Some(part) = before_stall(parts.next_field()).await?.map_err(form_error)? {
        if added.len() + directories.len() >= ENTRIES {
            return Err(bad(TreeError::TooManyEntries(ENTRIES)));
        }
        let path = part.file_name().map(path_of).transpose()?;
        let kind = part.content_type().map(|kind| kind.essence_str().to_owned()).unwrap_or_default();
        match (kind.as_str(), path) {
            ("application/x-directory", Some(path)) => directories.push(path),
            ("application/x-directory", None) => return Err(bad("a directory has a name")),
            (kind, path) => {
                let built = if kind == "application/symlink" {
                    let target = before_stall(part.text()).await?.map_err(form_error)?;
                    let Ok(built) = symlink(layout, &target, &mut blocks);
                    built
                } else {
                    file(&api, part, layout, &mut blocks, &mut held).await?
                };
                added.push(Added { path: path.unwrap_or_else(|| built.cid.to_string()), built });
            }
        }
    }
    if added.is_empty() && directories.is_empty() {
        return Err(bad("no file in the form"));
    }
    let roots = roots(layout, &added, &directories, wrap, &mut blocks)?;
    let mut lines = Vec::new();
    for one in added.iter().filter(|one| !roots.contains_key(&one.path)) {
        line(&one.path, &one.built, &mut lines);
    }
    for (name, root) in &roots {
        store(&api, root, &mut blocks).await?;
        line(name, root, &mut lines);
    }
    let mut response = Response::new(Body::from(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// The path of a part: percent-encoded, with `+` for spaces.
fn path_of(text: &str) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.ok_or_else(|| bad("a file name is not percent-encoded"))?);
                rest = &rest[2..];
            }
            other => bytes.push(*other),
        }
    }
    let path = String::from_utf8(bytes).map_err(|_| bad("a file name is not UTF-8"))?;
    let path = path.trim_matches('/');
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(bad("a path has names only: no '.', no '..', none that is empty"));
    }
    Ok(path.to_owned())
}

/// What a request holds in memory.
struct Held {
    bytes: u64,
    room: Vec<OwnedSemaphorePermit>,
}

impl Held {
    fn grow(&mut self, api: &Api, bytes: usize) -> Result<(), ApiError> {
        self.bytes += bytes as u64;
        if self.bytes > limits::UNAUTHENTICATED_UPLOAD {
            return Err(ApiError::too_large(limits::UNAUTHENTICATED_UPLOAD, None));
        }
        let more = api.node.files.addition(bytes).ok_or_else(|| {
            let text = "503: this node holds as many folders as it can: come back in a moment";
            ApiError::text(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(5)
        })?;
        match self.room.last_mut() {
            Some(room) => room.merge(more),
            None => self.room.push(more),
        }
        Ok(())
    }
}

async fn file(
    api: &Api,
    mut part: Field<'_>,
    layout: Layout,
    blocks: &mut MemoryBlocks,
    held: &mut Held,
) -> Result<Built, ApiError> {
    let mut builder = FileBuilder::new(layout);
    while let Some(chunk) = before_stall(part.chunk()).await?.map_err(form_error)? {
        held.grow(api, chunk.len())?;
        let Ok(()) = builder.update(&chunk, blocks);
    }
    let Ok(built) = builder.finish(blocks);
    Ok(built)
}

/// What stands at the top, by name: one folder around everything, or each file and folder.
fn roots(
    layout: Layout,
    added: &[Added],
    directories: &[String],
    wrap: bool,
    blocks: &mut MemoryBlocks,
) -> Result<BTreeMap<String, Built>, ApiError> {
    let mut trees: BTreeMap<String, TreeBuilder> = BTreeMap::new();
    let mut files: BTreeMap<String, Built> = BTreeMap::new();
    let mut tree_of = |top: &str, below: &str, entry: Option<&Built>| {
        let tree = trees.entry(top.to_owned()).or_insert_with(|| TreeBuilder::new(layout, ENTRIES));
        match entry {
            Some(built) => tree.insert(below, built),
            None if below.is_empty() => Ok(()),
            None => tree.insert_directory(below),
        }
    };
    for (path, entry) in directories
        .iter()
        .map(|path| (path, None))
        .chain(added.iter().map(|one| (&one.path, Some(&one.built))))
    {
        let (top, below) = match path.split_once('/') {
            _ if wrap => ("", path.as_str()),
            Some((top, below)) => (top, below),
            None => match entry {
                Some(built) => {
                    files.insert(path.clone(), *built);
                    continue;
                }
                None => (path.as_str(), ""),
            },
        };
        tree_of(top, below, entry).map_err(bad)?;
    }
    for (top, tree) in trees {
        let Ok(built) = tree.finish(blocks);
        if files.insert(top.clone(), built).is_some() {
            return Err(bad(TreeError::FileAndDirectory(top)));
        }
    }
    Ok(files)
}

/// Keeps a root with everything below for a day.
async fn store(api: &Arc<Api>, root: &Built, blocks: &mut MemoryBlocks) -> Result<(), ApiError> {
    if root.cid.codec() == Codec::Raw {
        // One block of plain bytes: a file by its SHA-256.
        let Ok(Some(block)) = blocks.get(&root.cid) else { return Ok(()) };
        let stored = api.node.blobs.put_bytes(block.into_owned()).await?;
        return keep_for_a_while(api, &stored).await;
    }
    let mut writer = api.node.files.archive_writer(api.node.files.limits().archive_bytes);
    let header = aleph_cid::CarHeader::new(vec![root.cid]).encode();
    writer.write(&header).await.map_err(refused_archive)?;
    let mut walk = DagWalk::new(root.cid, Limits::default());
    while let Some(cid) = walk.wanted().copied() {
        let Ok(found) = blocks.get(&cid);
        let block = found.ok_or_else(|| bad(format!("block {cid} is missing")))?;
        walk.supply(&block).map_err(bad)?;
        let head = aleph_cid::car_section_head(&cid, block.len());
        writer.write(&head).await.map_err(refused_archive)?;
        writer.write(&block).await.map_err(refused_archive)?;
    }
    let info = writer.finish(Some(&root.cid)).await.map_err(refused_archive)?;
    let Some(name) = item_hash(&root.cid) else { return Ok(()) };
    keep(api, &name, info).await?;
    api.node.files.hand_over(&name, &api.node.stopping);
    Ok(())
}

/// The text that a message would have for it.
fn item_hash(cid: &Cid) -> Option<aleph_types::ItemHash> {
    cid.to_item_hash().ok().or_else(|| named(cid))
}

fn line(name: &str, built: &Built, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    object
        .text("Name", name)
        .text("Hash", &built.cid.to_string())
        .text("Size", &built.cumulative_size.to_string())
        .end();
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded() {
        assert_eq!(path_of("a%2Fb+c%20d.txt").unwrap(), "a/b c d.txt");
        assert_eq!(path_of("/site/").unwrap(), "site");
        for broken in ["%", "%4", "%zz", "%ff", "", "/", "..", "a/../b", "a//b", "%2e%2e/a"] {
            assert!(path_of(broken).is_err(), "{broken}");
        }
    }
}

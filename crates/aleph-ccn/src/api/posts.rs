//! Posts: originals merged with their latest amend (`spec: ccn-api.md §5`).

use std::sync::Arc;

use aleph_store::queries::{PostFilter, PostQuery, Start, StoredPost};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::Api;
use super::errors::ApiError;
use super::json::{Object, fields, text_field};
use super::message_filter::by_confirmation;
use super::message_json::push_confirmations;
use super::openapi::params::{PageParams, PostParams};
use super::openapi::shapes::{PostsPage, PostsPageV0};
use super::pages::{self, Cursor, Paging, Piece};
use super::params::Params;

/// The two shapes of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    V0,
    V1,
}

impl Shape {
    fn write(self) -> fn(&mut Vec<u8>, &StoredPost) {
        match self {
            Shape::V0 => push_v0,
            Shape::V1 => push_v1,
        }
    }
}

/// Posts in the older shape.
#[utoipa::path(
    get,
    path = "/api/v0/posts.json",
    tag = "posts",
    operation_id = "posts_list_v0",
    params(PostParams, PageParams),
    responses(
        (status = 200, description = "The answer", body = PostsPageV0),
    ),
)]
pub(super) async fn list_v0(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    answer(&api, query.as_deref(), None, Shape::V0).await
}

/// Posts in the older shape with the page number in the path; old.
#[utoipa::path(
    get,
    path = "/api/v0/posts/page/{page}.json",
    tag = "posts",
    operation_id = "posts_page_v0",
    params(("page" = i64, Path, description = "Which page, from 1"), PostParams, PageParams),
    responses(
        (status = 200, description = "The answer", body = PostsPageV0),
    ),
)]
pub(super) async fn page_v0(
    State(api): State<Arc<Api>>,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let page = pages::page_of_path(&file)?;
    answer(&api, query.as_deref(), Some(page), Shape::V0).await
}

/// Posts: originals with their latest amendments.
#[utoipa::path(
    get,
    path = "/api/v1/posts.json",
    tag = "posts",
    operation_id = "posts_list_v1",
    params(PostParams, PageParams),
    responses(
        (status = 200, description = "The answer", body = PostsPage),
    ),
)]
pub(super) async fn list_v1(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    answer(&api, query.as_deref(), None, Shape::V1).await
}

/// Posts with the page number in the path; old.
#[utoipa::path(
    get,
    path = "/api/v1/posts/page/{page}.json",
    tag = "posts",
    operation_id = "posts_page_v1",
    params(("page" = i64, Path, description = "Which page, from 1"), PostParams, PageParams),
    responses(
        (status = 200, description = "The answer", body = PostsPage),
    ),
)]
pub(super) async fn page_v1(
    State(api): State<Arc<Api>>,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let page = pages::page_of_path(&file)?;
    answer(&api, query.as_deref(), Some(page), Shape::V1).await
}

fn read_filter(params: &mut Params) -> PostFilter {
    PostFilter {
        owners: params.list(&["addresses"]),
        originals: params.hashes(&["hashes"]),
        references: params.list(&["refs"]),
        types: params.list(&["types", "post_types"]),
        tags: params.list(&["tags"]),
        channels: params.list(&["channels"]),
        start: params.date(&["startDate", "start_date"]),
        end: params.date(&["endDate", "end_date"]),
    }
}

async fn answer(
    api: &Arc<Api>,
    query: Option<&str>,
    page: Option<u64>,
    shape: Shape,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query);
    let filter = read_filter(&mut params);
    let by_confirmation = by_confirmation(&mut params);
    let order = params.sort_order(&["sortOrder", "sort_order"]);
    let paging = Paging::read(&mut params, 20, 0, u64::MAX);
    params.finish()?;
    let paging = paging?.at_page(page);
    let start = paging.start()?;
    let write = shape.write();
    if let Paging::Cursor { per_page, ref after } = paging {
        if by_confirmation && after.is_some() {
            return Err(ApiError::unprocessable(
                "Cursor pagination is not supported with tx-time sort order.",
            ));
        }
        let query = PostQuery { filter, by_confirmation, order, start, limit: per_page + 1 };
        let mut found = api.node.store.list_posts(query).await?;
        let more = found.len() as u64 > per_page;
        found.truncate(usize::try_from(per_page).unwrap_or(usize::MAX));
        let piece = Piece::of(&found, write, |post| Cursor::of(post.last_updated, &post.original));
        return Ok(pages::by_cursor(
            "posts",
            per_page,
            &piece.json,
            piece.last.filter(|_| more).as_deref(),
            |_| (),
        ));
    }
    let (store, selected) = (api.node.store.clone(), filter.clone());
    let fetch = move |start: Start, limit: u64| {
        let (store, filter) = (store.clone(), selected.clone());
        async move {
            let before = match &start {
                Start::Offset(offset) => *offset,
                Start::After(..) => 0,
            };
            let found = store.list_posts(PostQuery { filter, by_confirmation, order, start, limit }).await?;
            let next = before + found.len() as u64;
            Ok(Piece::of(&found, write, |post| match by_confirmation {
                // Pages of this order go on by their number.
                true => Start::Offset(next),
                false => Start::After(post.last_updated, post.original.clone()),
            }))
        }
    };
    let count = async { Ok(api.node.store.count_posts(filter.clone()).await?) };
    pages::numbered("posts", &paging, start, fetch, count).await
}

fn push_v1(out: &mut Vec<u8>, post: &StoredPost) {
    let content = fields(post.latest.content());
    let mut object = Object::new(out);
    object
        .text("item_hash", post.latest.message.item_hash.as_str())
        .raw("content", content.get("content").map_or("null", |content| content.get()))
        .text("original_item_hash", post.original.as_str())
        .text("original_type", &post.post_type)
        .text("address", post.owner.as_str())
        .optional_text("ref", post.reference.as_deref())
        .optional_text("channel", post.channel.as_ref().map(|channel| channel.as_str()))
        .iso_offset("created", post.created)
        .iso_offset("last_updated", post.last_updated)
        .end();
}

/// The envelope's fields are those of the latest version; sender and address are the owner.
fn push_v0(out: &mut Vec<u8>, post: &StoredPost) {
    let latest = &post.latest.message;
    let original = post.original_message.as_ref().map_or(latest, |original| &original.message);
    let content = fields(post.latest.content());
    let signature = |message: &aleph_types::Message| message.signature.clone();
    let (latest_signature, original_signature) = (signature(latest), signature(original));
    let shown_type = text_field(&content, "type").unwrap_or_else(|| post.post_type.clone());
    let mut object = Object::new(out);
    object
        .text("chain", original.chain.as_str())
        .text("item_hash", latest.item_hash.as_str())
        .text("sender", post.owner.as_str())
        .text("type", &shown_type)
        .optional_text("channel", post.channel.as_ref().map(|channel| channel.as_str()))
        .raw("confirmed", if post.latest.confirmations.is_empty() { "false" } else { "true" })
        .raw("content", content.get("content").map_or("null", |content| content.get()))
        .optional_text("item_content", latest.item_content.as_deref())
        .text("item_type", latest.item_type.as_str())
        .optional_text("signature", latest_signature.as_ref().map(|signature| signature.as_str()))
        .number("size", post.latest.size)
        .time("time", latest.time);
    push_confirmations(&mut object, &post.latest.confirmations);
    object
        .text("original_item_hash", post.original.as_str())
        .optional_text("original_signature", original_signature.as_ref().map(|signature| signature.as_str()))
        .text("original_type", &post.post_type)
        .text("hash", post.original.as_str())
        .text("address", post.owner.as_str())
        .optional_text("ref", post.reference.as_deref())
        .end();
}

//! Posts: originals merged with their latest amend (`spec: ccn-api.md §5`).

use std::sync::Arc;

use aleph_store::Store;
use aleph_store::queries::{PostFilter, PostQuery, PostRow, Start};
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::Api;
use super::errors::ApiError;
use super::json::{Object, field};
use super::message_filter::by_confirmation;
use super::message_json::push_confirmations;
use super::openapi::params::{PageParams, PostParams};
use super::openapi::shapes::{PostsPage, PostsPageV0};
use super::pages::{self, Paging, Rows};
use super::params::Params;

/// The two shapes of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    V0,
    V1,
}

impl Shape {
    fn write(self) -> fn(&mut Vec<u8>, &PostRow<'_>) {
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
    if let Paging::Cursor { per_page, ref after } = paging {
        if by_confirmation && after.is_some() {
            return Err(ApiError::unprocessable(
                "Cursor pagination is not supported with tx-time sort order.",
            ));
        }
        let query = PostQuery { filter, by_confirmation, order, start, limit: per_page + 1 };
        let rows = page_of(&api.node.store, query, shape, per_page).await?;
        return Ok(rows.into_page("posts", per_page));
    }
    let (store, selected) = (api.node.store.clone(), filter.clone());
    let fetch = move |start: Start, limit: u64| {
        let (store, filter) = (store.clone(), selected.clone());
        async move {
            let before = match &start {
                Start::Offset(offset) => *offset,
                Start::After(..) => 0,
            };
            let query = PostQuery { filter, by_confirmation, order, start, limit };
            let rows = page_of(&store, query, shape, limit).await?;
            let next = before + rows.len();
            rows.into_piece(|time, hash| match by_confirmation {
                // Pages of this order go on by their number.
                true => Ok(Start::Offset(next)),
                false => pages::after(time, hash),
            })
        }
    };
    let count = async { Ok(api.node.store.count_posts(filter.clone()).await?) };
    pages::numbered("posts", &paging, start, fetch, count).await
}

async fn page_of(store: &Store, query: PostQuery, shape: Shape, most: u64) -> Result<Rows, ApiError> {
    let write = shape.write();
    let add = move |rows: &mut Rows, post: &PostRow<'_>| {
        rows.add(post.last_updated, post.original, |out| write(out, post));
    };
    Ok(store.write_posts(query, move || Rows::new(most), add).await?)
}

fn push_v1(out: &mut Vec<u8>, post: &PostRow<'_>) {
    let mut object = Object::new(out);
    object
        .text("item_hash", post.latest.item_hash)
        .raw("content", field(post.latest.content, "content").map_or("null", |content| content.get()))
        .text("original_item_hash", post.original)
        .text("original_type", post.post_type)
        .text("address", post.owner)
        .optional_text("ref", post.reference)
        .optional_text("channel", post.channel)
        .iso_offset("created", post.created)
        .iso_offset("last_updated", post.last_updated)
        .end();
}

/// The envelope's fields are those of the latest version; sender and address are the owner.
fn push_v0(out: &mut Vec<u8>, post: &PostRow<'_>) {
    let latest = &post.latest;
    let (chain, signature) = match &post.original_message {
        Some(original) => {
            let message = &original.message;
            (message.chain.as_str(), message.signature.as_ref().map(|signature| signature.as_str()))
        }
        None => (latest.chain, latest.signature),
    };
    let shown_type: Option<String> =
        field(latest.content, "type").and_then(|text| serde_json::from_str(text.get()).ok());
    let mut object = Object::new(out);
    object
        .text("chain", chain)
        .text("item_hash", latest.item_hash)
        .text("sender", post.owner)
        .text("type", shown_type.as_deref().unwrap_or(post.post_type))
        .optional_text("channel", post.channel)
        .raw("confirmed", if latest.confirmations.is_empty() { "false" } else { "true" })
        .raw("content", field(latest.content, "content").map_or("null", |content| content.get()))
        .optional_text("item_content", latest.item_content)
        .text("item_type", latest.item_type)
        .optional_text("signature", latest.signature)
        .number("size", latest.size)
        .time("time", latest.time);
    push_confirmations(&mut object, &latest.confirmations);
    object
        .text("original_item_hash", post.original)
        .optional_text("original_signature", signature)
        .text("original_type", post.post_type)
        .text("hash", post.original)
        .text("address", post.owner)
        .optional_text("ref", post.reference)
        .end();
}

//! Lists of messages (`spec: ccn-api.md §§3.1–3.4`).

use std::sync::Arc;

use aleph_store::Store;
use aleph_store::queries::{HashesFilter, MessageFilter, MessageQuery, MessageRow, SkeletonQuery, Start};
use aleph_types::MessageStatus;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::Api;
use super::errors::ApiError;
use super::json::Object;
use super::message_filter::MessageRequest;
use super::message_json::{ContentFormat, push_hash, push_row, push_skeleton};
use super::openapi::params::{HashesParams, MessageFilterParams, OrderParams, PageParams};
use super::openapi::shapes::{HashesPage, MessagesPage};
use super::pages::{self, Paging, Piece, Rows};
use super::params::Params;

/// Messages, filtered and in pages.
#[utoipa::path(
    get,
    path = "/api/v0/messages.json",
    tag = "messages",
    operation_id = "messages_list",
    params(MessageFilterParams, PageParams),
    responses(
        (status = 200, description = "The answer", body = MessagesPage),
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    answer(&api, query.as_deref(), None).await
}

/// Messages with the page number in the path; old.
#[utoipa::path(
    get,
    path = "/api/v0/messages/page/{page}.json",
    tag = "messages",
    operation_id = "messages_list_page",
    params(("page" = i64, Path, description = "Which page, from 1"), MessageFilterParams, PageParams),
    responses(
        (status = 200, description = "The answer", body = MessagesPage),
    ),
)]
pub(super) async fn list_page(
    State(api): State<Arc<Api>>,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let page = pages::page_of_path(&file)?;
    answer(&api, query.as_deref(), Some(page)).await
}

async fn answer(api: &Arc<Api>, query: Option<&str>, page: Option<u64>) -> Result<Response, ApiError> {
    let mut params = Params::read(query);
    let request = MessageRequest::read(&mut params);
    let paging = Paging::read(&mut params, 20, 0, u64::MAX);
    params.finish()?;
    if let Some(status) = request.gone {
        let with_cursor = !matches!(paging, Ok(Paging::Page { .. }));
        let paging = if with_cursor { Paging::Page { per_page: 20, page: 1 } } else { paging? };
        return gone(api, &request, status, with_cursor, paging.at_page(page)).await;
    }
    let paging = paging?.at_page(page);
    let (filter, order, format) = (request.filter, request.order, request.format);
    let by_confirmation = request.by_confirmation;
    let start = paging.start()?;
    if let Paging::Cursor { per_page, ref after } = paging {
        if request.by_confirmation && after.is_some() {
            return Err(ApiError::unprocessable(
                "Cursor pagination is not supported with tx-time sort order.",
            ));
        }
        let query = MessageQuery { filter, order, start, limit: per_page + 1 };
        let rows = page_of(&api.node.store, query, by_confirmation, format, per_page).await?;
        return Ok(rows.into_page("messages", per_page));
    }
    let store = api.node.store.clone();
    let selected = filter.clone();
    let fetch = move |start: Start, limit: u64| {
        let (store, filter) = (store.clone(), selected.clone());
        async move {
            let before = match &start {
                Start::Offset(offset) => *offset,
                Start::After(..) => 0,
            };
            let query = MessageQuery { filter, order, start, limit };
            let rows = page_of(&store, query, by_confirmation, format, limit).await?;
            let next = before + rows.len();
            rows.into_piece(|time, hash| match by_confirmation {
                // Pages of this order go on by their number.
                true => Ok(Start::Offset(next)),
                false => pages::after(time, hash),
            })
        }
    };
    let count = async {
        if filter == MessageFilter::default() {
            return Ok(api.totals.messages(&api.node.store).await?);
        }
        Ok(api.node.store.count_messages(filter.clone()).await?)
    };
    pages::numbered("messages", &paging, start, fetch, count).await
}

async fn page_of(
    store: &Store,
    query: MessageQuery,
    by_confirmation: bool,
    format: ContentFormat,
    most: u64,
) -> Result<Rows, ApiError> {
    let add = move |rows: &mut Rows, row: &MessageRow<'_>| {
        rows.add(row.time, row.item_hash, |out| push_row(out, row, format));
    };
    Ok(store.write_messages(query, by_confirmation, move || Rows::new(most), add).await?)
}

/// Messages that are forgotten or removed.
async fn gone(
    api: &Arc<Api>,
    request: &MessageRequest,
    status: MessageStatus,
    with_cursor: bool,
    paging: Paging,
) -> Result<Response, ApiError> {
    let filter = request.gone_filter(status, with_cursor)?;
    let order = request.order;
    let (store, selected) = (api.node.store.clone(), filter.clone());
    let fetch = move |offset: u64, limit: u64| {
        let (store, filter) = (store.clone(), selected.clone());
        async move {
            let found = store.list_skeletons(SkeletonQuery { filter, order, offset, limit }).await?;
            let next = offset + found.len() as u64;
            Ok(Piece::of(&found, push_skeleton, |_| next))
        }
    };
    let count = api.totals.of("gone", &filter, |most| api.node.store.count_skeletons(filter.clone(), most));
    pages::numbered("messages", &paging, paging.offset(), fetch, count).await
}

/// Item hashes of processed messages in the order of their reception.
#[utoipa::path(
    get,
    path = "/api/v0/messages/hashes",
    tag = "messages",
    operation_id = "messages_hashes",
    params(HashesParams, OrderParams),
    responses(
        (status = 200, description = "The answer", body = HashesPage),
    ),
)]
pub(super) async fn hashes(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let status = params.word::<MessageStatus>(&["status"], "message status");
    let (start, end) = params.dates();
    let order = params.sort_order(&["sortOrder", "sort_order"]);
    let hash_only = params.flag(&["hash_only", "hashOnly"], true);
    let per_page = params.integer(&["pagination"], 20, 0);
    let page = params.integer(&["page"], 1, 1);
    params.finish()?;
    let paging = Paging::Page { per_page, page };
    let filter = HashesFilter { status, start, end };
    let (store, selected) = (api.node.store.clone(), filter.clone());
    let fetch = move |offset: u64, limit: u64| {
        let (store, filter) = (store.clone(), selected.clone());
        async move {
            let found = store.list_hashes(filter, order, offset, limit).await?;
            let next = offset + found.len() as u64;
            Ok(Piece::of(
                &found,
                |out, row| {
                    if hash_only {
                        return push_hash(out, &row.item_hash);
                    }
                    let mut object = Object::new(out);
                    object.text("status", row.status.as_str()).text("item_hash", row.item_hash.as_str());
                    object.iso_z("reception_time", row.reception_time).end();
                },
                |_| next,
            ))
        }
    };
    let count = async {
        if filter == HashesFilter::default() {
            return Ok(api.totals.messages(&api.node.store).await?);
        }
        Ok(api.node.store.count_hashes(filter.clone()).await?)
    };
    pages::numbered("hashes", &paging, paging.offset(), fetch, count).await
}

//! Aggregates (`spec: ccn-api.md §6`).

use std::sync::Arc;

use aleph_store::queries::{
    AggregateFilter, AggregateKey, AggregateQuery, AggregateSort, AggregateStart, StoredAggregate,
};
use aleph_types::Address;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::Api;
use super::errors::{ApiError, json_answer};
use super::json::Object;
use super::openapi::params::{AggregateListParams, AggregateParams};
use super::openapi::shapes::{AggregatesAnswer, AggregatesPage};
use super::pages::{self, Cursor, Paging, Piece};
use super::params::Params;

/// Largest page.
const PAGE: u64 = 500;

/// The name in a path such as `<name>.json`.
pub(super) fn name_of_path(file: &str) -> Result<&str, ApiError> {
    file.strip_suffix(".json").filter(|name| !name.is_empty()).ok_or_else(ApiError::not_found)
}

/// The keys of an owner with their values.
#[utoipa::path(
    get,
    path = "/api/v0/aggregates/{address}.json",
    tag = "aggregates",
    operation_id = "aggregates_of_address",
    params(("address" = String, Path, description = "The owner"), AggregateParams),
    responses(
        (status = 200, description = "With `value_only` and one key: the value itself", body = AggregatesAnswer),
    ),
)]
pub(super) async fn of_address(
    State(api): State<Arc<Api>>,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let address = name_of_path(&file)?;
    let mut params = Params::read(query.as_deref()).refuse_in_json();
    let keys = params.list(&["keys"]);
    params.integer(&["limit"], 1000, 0);
    let with_info = params.flag(&["with_info"], false);
    let value_only = params.flag(&["value_only"], false);
    params.finish()?;
    let bare = value_only && keys.as_ref().is_some_and(|keys| keys.len() == 1);
    let found = api.node.store.aggregates_of(Address::from(address), keys).await?;
    let Some(first) = found.first() else {
        return Err(ApiError::text(StatusCode::NOT_FOUND, "No aggregate found for this address"));
    };
    if bare {
        return Ok(json_answer(StatusCode::OK, first.content.clone()));
    }
    let mut body = Vec::with_capacity(256 + found.iter().map(|one| one.content.len()).sum::<usize>());
    let mut object = Object::new(&mut body);
    object.text("address", address);
    let mut data = Object::new(object.field("data"));
    for aggregate in &found {
        data.raw(&aggregate.key, &aggregate.content);
    }
    data.end();
    let mut info = Object::new(object.field("info"));
    if with_info {
        for aggregate in &found {
            let mut about = Object::new(info.field(&aggregate.key));
            about
                .iso_offset("created", aggregate.created)
                .iso_offset("last_updated", aggregate.last_updated)
                .text("original_item_hash", aggregate.first_hash.as_str())
                .text("last_update_item_hash", aggregate.last_hash.as_str())
                .end();
        }
    }
    info.end();
    object.end();
    Ok(json_answer(StatusCode::OK, body))
}

struct SortBy(AggregateSort);

impl std::str::FromStr for SortBy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "last_modified" => Ok(Self(AggregateSort::LastModified)),
            "creation_time" => Ok(Self(AggregateSort::CreationTime)),
            _ => Err(()),
        }
    }
}

fn push_item(out: &mut Vec<u8>, aggregate: &StoredAggregate) {
    let mut object = Object::new(out);
    object
        .text("address", aggregate.owner.as_str())
        .text("key", &aggregate.key)
        .raw("content", &aggregate.content)
        .iso_offset("created", aggregate.created)
        .iso_offset("last_updated", aggregate.last_updated)
        .end();
}

fn place(aggregate: &StoredAggregate, sort: AggregateSort) -> AggregateKey {
    let time = match sort {
        AggregateSort::LastModified => aggregate.last_updated,
        AggregateSort::CreationTime => aggregate.created,
    };
    AggregateKey { time, key: aggregate.key.clone(), owner: aggregate.owner.as_str().to_owned() }
}

/// Aggregates of all owners.
#[utoipa::path(
    get,
    path = "/api/v0/aggregates",
    tag = "aggregates",
    operation_id = "aggregates_list",
    params(AggregateListParams),
    responses(
        (status = 200, description = "The answer", body = AggregatesPage),
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref()).refuse_in_json();
    let filter = AggregateFilter { keys: params.list(&["keys"]), owners: params.list(&["addresses"]) };
    let sort = params
        .word::<SortBy>(&["sortBy"], "order: last_modified, creation_time")
        .map_or_else(AggregateSort::default, |sort| sort.0);
    let order = params.sort_order(&["sortOrder"]);
    let paging = Paging::read(&mut params, 20, 1, PAGE);
    params.finish()?;
    let paging = paging.map_err(ApiError::in_json)?;
    if let Paging::Cursor { per_page, after } = paging {
        let start = match after {
            None => AggregateStart::Offset(0),
            Some(cursor) => AggregateStart::After(AggregateKey {
                time: cursor.time("t")?,
                key: cursor.text("k")?.to_owned(),
                owner: cursor.text("o")?.to_owned(),
            }),
        };
        let query = AggregateQuery { filter, sort, order, start, limit: per_page + 1 };
        let mut found = api.node.store.list_aggregates(query).await?;
        let more = found.len() as u64 > per_page;
        found.truncate(usize::try_from(per_page).unwrap_or(usize::MAX));
        let piece = Piece::of(&found, push_item, |aggregate| {
            let place = place(aggregate, sort);
            let time = place.time.iso_offset().to_string();
            Cursor::encode(&json!({ "k": place.key, "o": place.owner, "t": time }))
        });
        let next = piece.last.filter(|_| more);
        return Ok(pages::by_cursor("aggregates", per_page, piece.json, next.as_deref(), |_| ()));
    }
    let (store, selected) = (api.node.store.clone(), filter.clone());
    let fetch = move |start: AggregateStart, limit: u64| {
        let (store, filter) = (store.clone(), selected.clone());
        async move {
            let found = store.list_aggregates(AggregateQuery { filter, sort, order, start, limit }).await?;
            Ok(Piece::of(&found, push_item, |aggregate| AggregateStart::After(place(aggregate, sort))))
        }
    };
    let count =
        api.totals.of("aggregates", &filter, |most| api.node.store.count_aggregates(filter.clone(), most));
    pages::numbered("aggregates", &paging, AggregateStart::Offset(paging.offset()), fetch, count).await
}

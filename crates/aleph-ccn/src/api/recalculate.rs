//! Costs computed anew with the prices of each message's time, on the order of the network's operators
//! (`spec: ccn-api.md §9.5`).
//!
//! Everything is done a page at a time, each in one transaction between those of messages: reading and
//! publishing go on. A crash, or a client that leaves, ends the work between two pages; the next order
//! begins anew and comes to the same result. Whoever could not be priced keeps the costs that he had.

use std::sync::Arc;

use aleph_store::{CostPlace, Recalculated};
use aleph_types::ItemHash;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use super::errors::{ApiError, json_value};
use super::openapi::shapes::Recalculation;
use super::prices::{self, Priced};
use crate::clock;
use crate::pipeline::PipelineError;

/// Messages that one transaction computes anew.
const PAGE: u64 = 256;

/// Errors that an answer lists.
const ERRORS: usize = 1_000;

/// Where the token is.
const TOKEN: &str = "x-auth-token";

/// Refuses who shows no token of the operators.
fn authorize(api: &Api, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let refuse = |text: &'static str| {
        let mut response = ApiError::text(StatusCode::UNAUTHORIZED, text).into_response();
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Box::new(response)
    };
    let token = headers.get(TOKEN).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| refuse("Missing X-Auth-Token header"))?;
    let max_age = api.node.config.api.operators.max_token_age_seconds;
    let now = clock::now().as_micros().div_euclid(1_000_000);
    let believed = api
        .node
        .operators
        .as_ref()
        .zip(token.to_str().ok())
        .is_some_and(|(key, token)| key.believes(token, now, max_age));
    if believed { Ok(()) } else { Err(refuse("Invalid or expired authentication token")) }
}

/// What was done so far.
#[derive(Debug, Default)]
struct Report {
    done: u64,
    total: u64,
    errors: Vec<Value>,
}

impl Report {
    fn note(&mut self, message: &ItemHash, what: Recalculated) {
        match what {
            Recalculated::Done => self.done += 1,
            // It went between the list and the change.
            Recalculated::Gone => return,
            Recalculated::Unpriced(error) if self.errors.len() < ERRORS => {
                self.errors.push(json!({ "item_hash": message, "error": error.to_string() }));
            }
            Recalculated::Unpriced(_) => {}
        }
        self.total += 1;
    }

    fn answer(self, changes: usize) -> Response {
        if self.total == 0 {
            return json_value(&json!({
                "message": "No messages found for cost recalculation",
                "recalculated_count": 0,
                "total_messages": 0,
            }));
        }
        let mut answer = json!({
            "message": "Cost recalculation completed with historical pricing",
            "recalculated_count": self.done,
            "total_messages": self.total,
            // The prices before the first change count, as in the reference.
            "pricing_changes_found": changes + 1,
        });
        if !self.errors.is_empty() {
            answer["errors"] = self.errors.into();
        }
        json_value(&answer)
    }
}

fn unstored(error: PipelineError) -> ApiError {
    ApiError::unavailable(&error)
}

async fn recalculate(api: &Api, one: Option<ItemHash>) -> Result<Response, ApiError> {
    let Ok(_alone) = api.recalculating.try_lock() else {
        let text = "another recalculation is under way on this node: try again when it is done";
        return Err(ApiError::text(StatusCode::CONFLICT, text));
    };
    let mut report = Report::default();
    let tariff = Arc::new(prices::tariff(api).await?);
    if !api.node.config.network.charge {
        // Nothing costs anything here.
        return Ok(report.answer(tariff.timeline.changes()));
    }
    let mut after: Option<CostPlace> = None;
    loop {
        let page: Vec<ItemHash> = match &one {
            Some(message) => vec![message.clone()],
            None => {
                let page = api.node.store.priced_messages(after.take(), PAGE).await?;
                after = page.last().cloned();
                page.into_iter().map(|place| place.message).collect()
            }
        };
        if page.is_empty() {
            break;
        }
        let tariff = Arc::clone(&tariff);
        let change = move |transaction: &mut aleph_store::Transaction<'_>| {
            let one = |message: ItemHash| {
                let what = transaction.recalculate_costs(&message, &tariff)?;
                Ok((message, what))
            };
            page.into_iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        for (message, what) in api.node.pipeline.write(change).await.map_err(unstored)? {
            report.note(&message, what);
        }
        if one.is_some() {
            break;
        }
    }
    tracing::info!(
        recalculated = report.done,
        messages = report.total,
        unpriced = report.total - report.done,
        "costs were computed anew on an operator's order"
    );
    Ok(report.answer(tariff.timeline.changes()))
}

/// Computes the costs of every resource anew, oldest first, with the prices of each one's time.
#[utoipa::path(
    post,
    path = "/api/v0/price/recalculate",
    tag = "prices",
    operation_id = "prices_recalculate",
    params(("X-Auth-Token" = String, Header, description = "Token of the network's operators")),
    responses(
        (status = 200, description = "The answer", body = Recalculation),
        (status = 401, description = "No token, or one that does not hold", content_type = "text/plain", body = String),
        (status = 409, description = "Another recalculation is under way", content_type = "text/plain", body = String),
    ),
)]
pub(super) async fn all(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, ApiError> {
    match authorize(&api, &headers) {
        Ok(()) => recalculate(&api, None).await,
        Err(refused) => Ok(*refused),
    }
}

/// Computes the costs of one resource anew, with the prices of its time.
#[utoipa::path(
    post,
    path = "/api/v0/price/{item_hash}/recalculate",
    tag = "prices",
    operation_id = "prices_recalculate_one",
    params(
        ("item_hash" = String, Path, description = "Item hash of a STORE, PROGRAM, INSTANCE or V-PROGRAM"),
        ("X-Auth-Token" = String, Header, description = "Token of the network's operators"),
    ),
    responses(
        (status = 200, description = "The answer", body = Recalculation),
        (status = 401, description = "No token, or one that does not hold", content_type = "text/plain", body = String),
        (status = 409, description = "Another recalculation is under way", content_type = "text/plain", body = String),
        (status = 410, description = "The message is gone"),
    ),
)]
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Err(refused) = authorize(&api, &headers) {
        return Ok(*refused);
    }
    let hash = super::message::item_hash(&hash)?;
    match prices::priced(&api, &hash).await? {
        Priced::Stored(..) => recalculate(&api, Some(hash)).await,
        // Its price is computed whenever somebody asks.
        Priced::Gone(_) => {
            let text = format!("This message has been forgotten or removed: {hash}");
            Err(ApiError::text(StatusCode::GONE, text))
        }
    }
}

//! What resources cost (`spec: ccn-api.md §9`).

use std::sync::Arc;

use aleph_ledger::{Amount, CostLine, Costing, Costs, Estimate, Workload};
use aleph_rules::Tariff;
use aleph_store::StoredCost;
use aleph_store::queries::MessageFate;
use aleph_types::content::PaymentType;
use aleph_types::{Address, ItemHash, MessageType, json, limits};
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json as json_of};

use super::Api;
use super::body;
use super::contents;
use super::errors::{ApiError, json_value};
use super::openapi::shapes::{Price, PriceRequest};
use super::params::Params;
use crate::clock;

/// One line as the network shows it.
pub(super) fn line(cost_type: &str, name: &str, costs: &Costs, size_mib: Option<f64>) -> Value {
    json_of!({
        "type": cost_type,
        "name": name,
        "cost_hold": costs.hold.to_string(),
        "cost_stream": costs.stream.to_string(),
        "cost_credit": costs.credit.to_string(),
        "size_mib": size_mib,
    })
}

fn answer(payment: PaymentType, cost: Amount, detail: Vec<Value>, charged: &Address) -> Response {
    json_value(&json_of!({
        "required_tokens": cost.to_f64(),
        "payment_type": payment.as_str(),
        "cost": cost.to_string(),
        "detail": detail,
        "charged_address": charged,
    }))
}

/// A cost that was computed now: sizes are shown when they are known.
fn computed(costing: &Costing, charged: &Address) -> Response {
    let shown = |line_: &CostLine| line(line_.cost_type.as_str(), &line_.name, &line_.costs, line_.size_mib);
    answer(costing.payment, costing.total, costing.lines.iter().map(shown).collect(), charged)
}

fn total(lines: &[StoredCost], payment: PaymentType) -> Amount {
    lines.iter().map(|line| line.costs.of(payment)).sum()
}

/// The prices in force on this node.
pub(super) async fn tariff(api: &Api) -> Result<Tariff, ApiError> {
    let publisher = Address::from(api.node.config.network.price_publisher.as_str());
    Ok(api.node.store.tariff(publisher).await?)
}

/// Prices a workload, or says why that can't be done.
async fn price(api: &Api, workload: &Workload) -> Result<Costing, ApiError> {
    let tariff = tariff(api).await?;
    workload
        .price(tariff.timeline.latest(), &tariff.settings)
        .map_err(|error| ApiError::reason(StatusCode::NOT_FOUND, &error.to_string()))
}

/// How a stored or gone message pays.
fn payment_of(word: Option<&str>) -> PaymentType {
    word.and_then(|word| word.parse().ok()).unwrap_or(PaymentType::Hold)
}

/// Whether messages of this type cost something.
fn has_price(message_type: MessageType) -> bool {
    matches!(
        message_type,
        MessageType::Store | MessageType::Program | MessageType::Instance | MessageType::VProgram
    )
}

/// What the resource of a message costs.
#[utoipa::path(
    get,
    path = "/api/v0/price/{item_hash}",
    tag = "prices",
    operation_id = "prices_of_message",
    params(("item_hash" = String, Path, description = "Item hash of a STORE, PROGRAM, INSTANCE or V-PROGRAM"), ("include_size" = Option<bool>, Query, description = "Show the size of each line, MiB")),
    responses(
        (status = 200, description = "The answer", body = Price),
        (status = 410, description = "The message is gone"),
    ),
)]
pub(super) async fn of_message(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let hash = super::message::item_hash(&hash)?;
    let with_size = Params::read(query.as_deref())
        .text(&["include_size"])
        .is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let (payment, owner) = match priced(&api, &hash).await? {
        Priced::Stored(payment, owner) => (payment, owner),
        Priced::Gone(workload) => {
            return Ok(computed(&price(&api, &workload).await?, &workload.owner));
        }
    };
    let lines = api.node.store.costs_of(hash).await?;
    let shown = |cost: &StoredCost| {
        line(&cost.cost_type, &cost.name, &cost.costs, cost.size_mib.filter(|_| with_size))
    };
    let detail = lines.iter().map(shown).collect();
    Ok(answer(payment, total(&lines, payment), detail, &owner))
}

/// A message that has a price.
pub(super) enum Priced {
    /// Its costs are stored.
    Stored(PaymentType, Address),
    /// A file that is gone: it is priced by what is left of it.
    Gone(Box<Workload>),
}

pub(super) async fn priced(api: &Api, hash: &ItemHash) -> Result<Priced, ApiError> {
    let refuse = |status, text: String| Err(ApiError::text(status, text));
    match api.node.store.message_fate(hash.clone()).await? {
        None => refuse(StatusCode::NOT_FOUND, format!("Message not found with hash: {hash}")),
        Some(MessageFate::Pending { .. }) => {
            refuse(StatusCode::NOT_FOUND, format!("Message still pending: {hash}"))
        }
        Some(MessageFate::Rejected { .. }) => {
            refuse(StatusCode::NOT_FOUND, format!("This message was rejected: {hash}"))
        }
        Some(
            MessageFate::Forgotten { skeleton, .. } | MessageFate::Removed { skeleton: Some(skeleton), .. },
        ) if skeleton.message_type == MessageType::Store && skeleton.size.is_some() => {
            let payment = payment_of(Some(&skeleton.payment_type));
            let bytes = skeleton.size.unwrap_or_default();
            Ok(Priced::Gone(Box::new(Workload::of_file(hash.clone(), skeleton.owner, payment, bytes))))
        }
        Some(MessageFate::Forgotten { .. }) => {
            refuse(StatusCode::GONE, format!("This message has been forgotten: {hash}"))
        }
        Some(MessageFate::Removed { .. }) => {
            refuse(StatusCode::GONE, format!("This message has been removed: {hash}"))
        }
        Some(MessageFate::Processed { message, .. } | MessageFate::Removing { message, .. }) => {
            if !has_price(message.message.message_type) {
                let text = format!("Message is not an executable or store message: {hash}");
                return refuse(StatusCode::BAD_REQUEST, text);
            }
            Ok(Priced::Stored(payment_of(message.payment_type.as_deref()), message.owner))
        }
    }
}

/// How the price of a message came about: every line with the network's price, where that comes from, and
/// each step of the calculation.
#[utoipa::path(
    get,
    path = "/api/v1/price/{item_hash}/explain",
    tag = "prices",
    operation_id = "prices_explain",
    params(("item_hash" = String, Path, description = "Item hash of a STORE, PROGRAM, INSTANCE or V-PROGRAM")),
    responses(
        (status = 200, description = "The answer", body = serde_json::Value),
        (status = 410, description = "The message is gone"),
    ),
)]
pub(super) async fn explain(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let hash = super::message::item_hash(&hash)?;
    let (payment, owner) = match priced(&api, &hash).await? {
        Priced::Stored(payment, owner) => (payment, owner),
        Priced::Gone(workload) => {
            let mut told = price(&api, &workload).await?.explain();
            told["item_hash"] = hash.as_str().into();
            told["charged_address"] = workload.owner.as_str().into();
            return Ok(json_value(&told));
        }
    };
    let costs = api.node.store.costs_of(hash.clone()).await?;
    let unit = match payment {
        PaymentType::Hold => "tokens",
        PaymentType::Superfluid => "tokens/second",
        PaymentType::Credit => "credits/second",
    };
    let lines: Vec<Value> =
        costs.iter().map(|cost| json::parse(cost.workings.as_bytes()).unwrap_or(Value::Null)).collect();
    Ok(json_value(&json_of!({
        "item_hash": hash,
        "charged_address": owner,
        "payment_type": payment.as_str(),
        "total": total(&costs, payment).to_string(),
        "unit": unit,
        "lines": lines,
    })))
}

/// Prices an estimate; `hash` is that of the message, if there is one.
async fn estimated(
    api: &Api,
    message_type: MessageType,
    document: Value,
    hash: Option<ItemHash>,
) -> Result<Response, ApiError> {
    let Estimate { content, sizes } = Estimate::read(message_type, document, clock::now())
        .map_err(|error| ApiError::unprocessable(format!("InvalidMessageFormat: {error}")))?;
    let charged = content.owner().clone();
    let hash = hash.unwrap_or_else(|| ItemHash::sha256(b"estimate"));
    let workload = api.node.store.workload(hash, content, sizes).await?;
    let workload = workload.ok_or_else(|| ApiError::unprocessable("messages of this type have no price"))?;
    if !api.node.config.network.charge {
        return Ok(answer(workload.payment, Amount::ZERO, Vec::new(), &charged));
    }
    Ok(computed(&price(api, &workload).await?, &charged))
}

/// What a message would cost. Without `item_content` the content is looked for by `item_hash`, on this node
/// and the nodes that it reaches.
#[utoipa::path(
    post,
    path = "/api/v0/price/estimate",
    tag = "prices",
    operation_id = "prices_estimate",
    request_body = PriceRequest,
    responses(
        (status = 200, description = "The answer", body = Price),
        (status = 413, description = "The body is longer than 1 MiB"),
    ),
)]
pub(super) async fn estimate(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let bytes = body::whole(body, limits::BUFFERED_BODY).await?;
    let request = json::parse(&bytes).map_err(|_| ApiError::standard(StatusCode::UNPROCESSABLE_ENTITY))?;
    let invalid = |why: &str| ApiError::unprocessable(format!("InvalidMessageFormat: {why}"));
    let message = request.get("message").ok_or_else(|| invalid("'message' is required"))?;
    let message_type = message.get("type").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let Some(message_type) = message_type.filter(|&message_type| has_price(message_type)) else {
        return Err(invalid("'type' must be STORE, PROGRAM, INSTANCE or V-PROGRAM"));
    };
    let hash = match message.get("item_hash").and_then(Value::as_str) {
        Some(text) => Some(ItemHash::parse(text).map_err(|error| invalid(&error.to_string()))?),
        None => None,
    };
    let bytes = match (message.get("item_content").filter(|content| !content.is_null()), &hash) {
        (Some(Value::String(text)), hash) => {
            if hash.as_ref().is_some_and(|hash| *hash != ItemHash::sha256(text.as_bytes())) {
                return Err(invalid("'item_hash' is not the hash of 'item_content'"));
            }
            text.as_bytes().to_vec()
        }
        (Some(_), _) => return Err(invalid("'item_content' must be text")),
        (None, Some(hash)) => contents::read(&api, hash).await?,
        (None, None) => return Err(invalid("'item_content' or 'item_hash' is required")),
    };
    let content = json::parse(&bytes).map_err(|error| invalid(&error.to_string()))?;
    drop(bytes);
    estimated(&api, message_type, content, hash).await
}

/// What an instance would cost: the body is its content.
#[utoipa::path(
    post,
    path = "/api/v0/price/estimate/instance",
    tag = "prices",
    operation_id = "prices_estimate_instance",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "The answer", body = Price),
        (status = 413, description = "The body is longer than 1 MiB"),
    ),
)]
pub(super) async fn estimate_instance(State(api): State<Arc<Api>>, body: Body) -> Result<Response, ApiError> {
    let bytes = body::whole(body, limits::BUFFERED_BODY).await?;
    let content =
        json::parse(&bytes).map_err(|_| ApiError::reason(StatusCode::BAD_REQUEST, "Invalid JSON body"))?;
    estimated(&api, MessageType::Instance, content, None).await
}

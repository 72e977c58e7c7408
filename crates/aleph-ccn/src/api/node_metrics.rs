//! What the network's scoring measured of a node (`spec: ccn-api.md §11.3`), read from the posts that
//! publish it.

use std::sync::Arc;

use aleph_store::queries::{MessageFilter, MessageQuery, SortOrder, Start, StoredMessage};
use aleph_types::MessageType;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::Api;
use super::errors::{ApiError, json_answer};
use super::json::{Object, fields, push_list, text_field};
use super::openapi::params::NodeMetricsParams;
use super::openapi::shapes::NodeMetrics;
use super::params::Params;

/// Where scoring publishes (`spec: ccn-config.md`).
const CHANNEL: &str = "aleph-scoring";
const POST_TYPE: &str = "aleph-network-metrics";

/// Days that are shown when no start is asked for.
const DAYS: i64 = 14;

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

/// A post may carry measurements of a while before it.
const LATE_MICROS: i64 = DAY_MICROS;

/// Posts that are read at once: each has the measurements of all nodes.
const PIECE: u64 = 16;

/// Most posts that one answer is made of: a year of hourly ones.
const POSTS: usize = 9_000;

/// Answers that are made at once: each reads many large posts.
const AT_ONCE: usize = 2;

/// Places for answers that are being made.
#[derive(Debug)]
pub(super) struct Measurements(Semaphore);

impl Default for Measurements {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

/// The two kinds of nodes, and what is measured of them.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Core,
    Compute,
}

impl Kind {
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Core => &[
                "base_latency",
                "base_latency_ipv4",
                "metrics_latency",
                "aggregate_latency",
                "file_download_latency",
                "pending_messages",
                "eth_height_remaining",
            ],
            Self::Compute => {
                &["base_latency", "base_latency_ipv4", "full_check_latency", "diagnostic_vm_latency"]
            }
        }
    }
}

/// What scoring measured of a core node, in parallel lists.
#[utoipa::path(
    get,
    path = "/api/v0/core/{node_id}/metrics",
    tag = "node",
    operation_id = "node_metrics_core",
    params(("node_id" = String, Path, description = "Hash under which the node is registered"), NodeMetricsParams),
    responses((status = 200, description = "A list for each column", body = NodeMetrics)),
)]
pub(super) async fn core(
    State(api): State<Arc<Api>>,
    Path(node): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    answer(&api, Kind::Core, &node, query.as_deref()).await
}

/// What scoring measured of a compute node, in parallel lists.
#[utoipa::path(
    get,
    path = "/api/v0/compute/{node_id}/metrics",
    tag = "node",
    operation_id = "node_metrics_compute",
    params(("node_id" = String, Path, description = "Hash under which the node is registered"), NodeMetricsParams),
    responses((status = 200, description = "A list for each column", body = NodeMetrics)),
)]
pub(super) async fn compute(
    State(api): State<Arc<Api>>,
    Path(node): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    answer(&api, Kind::Compute, &node, query.as_deref()).await
}

struct Ascending(bool);

impl std::str::FromStr for Ascending {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_uppercase().as_str() {
            "ASC" | "ASCENDING" | "1" => Ok(Self(true)),
            "DESC" | "DESCENDING" | "-1" => Ok(Self(false)),
            _ => Err(()),
        }
    }
}

/// One measurement: its time, the post, and the columns as they were published.
#[derive(Debug, PartialEq)]
struct Row {
    measured_at: f64,
    post: String,
    values: Vec<String>,
}

async fn answer(api: &Api, kind: Kind, node: &str, query: Option<&str>) -> Result<Response, ApiError> {
    let mut params = Params::read(query);
    let start = params.date(&["start_date", "startDate"]);
    let end = params.date(&["end_date", "endDate"]);
    let ascending =
        params.word::<Ascending>(&["sort"], "order: ASC, DESC, 1, -1").is_none_or(|order| order.0);
    params.finish()?;
    let until = end.unwrap_or_else(crate::clock::now);
    let from = start.unwrap_or_else(|| until.plus_micros(-DAYS * DAY_MICROS));
    let busy = |_| ApiError::text(StatusCode::SERVICE_UNAVAILABLE, "503: the node is stopping");
    let _place = api.measurements.0.acquire().await.map_err(busy)?;
    let publishers = &api.node.config.network.metrics_publishers;
    let filter = MessageFilter {
        types: Some(vec![MessageType::Post]),
        owners: Some(publishers.clone()),
        channels: Some(vec![CHANNEL.to_owned()]),
        content_types: Some(vec![POST_TYPE.to_owned()]),
        start: Some(from),
        end: Some(until.plus_micros(LATE_MICROS)),
        ..MessageFilter::default()
    };
    let bounds = (from.as_secs_f64(), until.as_secs_f64());
    let mut rows = Vec::new();
    let (mut place, mut read) = (Start::Offset(0), 0);
    loop {
        let query =
            MessageQuery { filter: filter.clone(), order: SortOrder::Ascending, start: place, limit: PIECE };
        let posts = api.node.store.list_messages(query).await?;
        read += posts.len();
        let Some(last) = posts.last() else { break };
        place = Start::After(last.message.time, last.message.item_hash.clone());
        let complete = posts.len() < usize::try_from(PIECE).unwrap_or(usize::MAX) || read >= POSTS;
        let node = node.to_owned();
        // Megabytes of JSON: not for the threads that answer others.
        let found = tokio::task::spawn_blocking(move || {
            posts.iter().flat_map(|post| rows_of(post, kind, &node, bounds)).collect::<Vec<_>>()
        });
        rows.extend(found.await.map_err(|error| ApiError::internal(&error))?);
        if complete {
            break;
        }
    }
    if rows.is_empty() {
        return Err(ApiError::not_found());
    }
    rows.sort_by(|a, b| a.measured_at.total_cmp(&b.measured_at).then_with(|| a.post.cmp(&b.post)));
    if !ascending {
        rows.reverse();
    }
    Ok(json_answer(StatusCode::OK, written(kind, &rows)))
}

#[derive(Deserialize)]
struct Published<'a> {
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    metrics: Lists<'a>,
}

#[derive(Deserialize)]
struct Lists<'a> {
    #[serde(borrow, default)]
    ccn: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    crn: Vec<&'a RawValue>,
}

/// The measurements of `node` in a post; entries of another form are left out.
fn rows_of(post: &StoredMessage, kind: Kind, node: &str, bounds: (f64, f64)) -> Vec<Row> {
    let Ok(published) = serde_json::from_str::<Published<'_>>(post.content()) else { return Vec::new() };
    let Lists { ccn, crn } = published.content.metrics;
    let entries = match kind {
        Kind::Core => ccn,
        Kind::Compute => crn,
    };
    let hash = post.message.item_hash.as_str();
    entries
        .into_iter()
        // Cheap, and nearly always right: only entries that may be of the node are read.
        .filter(|entry| entry.get().contains(node))
        .filter_map(|entry| row_of(entry.get(), kind, node, hash))
        .filter(|row| row.measured_at >= bounds.0 && row.measured_at <= bounds.1)
        .collect()
}

fn row_of(entry: &str, kind: Kind, node: &str, post: &str) -> Option<Row> {
    let fields = fields(entry);
    if text_field(&fields, "node_id")? != node {
        return None;
    }
    let measured_at: f64 = fields.get("measured_at")?.get().parse().ok()?;
    let number = |name: &&str| {
        let value = fields.get(*name).map_or("null", |value| value.get());
        if value.parse::<f64>().is_ok() { value.to_owned() } else { "null".to_owned() }
    };
    Some(Row { measured_at, post: post.to_owned(), values: kind.columns().iter().map(number).collect() })
}

fn written(kind: Kind, rows: &[Row]) -> Vec<u8> {
    let mut body = Vec::with_capacity(rows.len() * 160 + 256);
    let mut object = Object::new(&mut body);
    let mut metrics = Object::new(object.field("metrics"));
    push_list(metrics.field("item_hash"), rows, |out, row| super::json::push_text(out, &row.post));
    push_list(metrics.field("measured_at"), rows, |out, row| {
        let _ = serde_json::to_writer(out, &row.measured_at);
    });
    for (position, column) in kind.columns().iter().enumerate() {
        push_list(metrics.field(column), rows, |out, row| {
            let value = row.values.get(position).map_or("null", String::as_str);
            out.extend_from_slice(value.as_bytes());
        });
    }
    metrics.end();
    object.end();
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_another_form_are_left_out() {
        let read = |entry: &str| row_of(entry, Kind::Compute, "n1", "post");
        let row = read(r#"{"node_id":"n1","measured_at":5.5,"base_latency":0.25,"full_check_latency":null}"#);
        let values = vec!["0.25".to_owned(), "null".to_owned(), "null".to_owned(), "null".to_owned()];
        assert_eq!(row, Some(Row { measured_at: 5.5, post: "post".to_owned(), values }));
        for entry in [
            r#"{"measured_at":5.5}"#,
            r#"{"node_id":"n1"}"#,
            r#"{"node_id":"n1","measured_at":"5"}"#,
            r#"{"node_id":"n2","measured_at":5,"note":"n1"}"#,
            r#"[1]"#,
        ] {
            assert_eq!(read(entry), None, "{entry}");
        }
    }
}

//! The node itself: version, addresses, health, and small lists (`spec: ccn-api.md §12`).

use std::sync::Arc;
use std::time::Duration;

use aleph_store::queries::SortOrder;
use aleph_types::{ItemHash, MessageType};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{Html, Response};
use serde_json::{Value, json};

use super::Api;
use super::errors::{ApiError, json_answer, json_value};
use super::json::{Object, fields, push_list};
use super::metrics::{VERSION, resident_memory};
use super::params::Params;

/// Messages that may wait before it is worth telling.
const MANY_PENDING: u64 = 1_000;

/// A node that just started needs a moment to meet others.
const MEETING: Duration = Duration::from_secs(30);

/// `GET /version`
pub(super) async fn version() -> Response {
    json_answer(StatusCode::OK, format!(r#"{{"version":"{VERSION}"}}"#))
}

/// Where other nodes reach this one; the first is what operators register.
fn multiaddresses(api: &Api) -> Vec<String> {
    let Some(network) = &api.node.network else {
        return Vec::new();
    };
    let peer = network.peer_id();
    match &api.node.config.p2p.announce {
        Some(address) => vec![format!("{address}/p2p/{peer}")],
        None => network.listen_addrs().iter().map(|address| format!("{address}/p2p/{peer}")).collect(),
    }
}

/// `GET /api/v0/info/public.json`
pub(super) async fn public(State(api): State<Arc<Api>>) -> Response {
    json_value(&json!({ "node_multi_addresses": multiaddresses(&api) }))
}

/// `GET /api/v0/channels/list.json`
pub(super) async fn channels(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let make = async { Ok::<_, ApiError>(Arc::new(api.node.store.channels().await?)) };
    let channels = api.channels.get(make).await?;
    Ok(json_value(&json!({ "channels": *channels })))
}

/// `GET /api/v0/programs/on/message`
pub(super) async fn programs_on_message(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    const NAMES: &[&str] = &["sort_order", "sortOrder"];
    let mut params = Params::read(query.as_deref());
    let order: SortOrder = params.sort_order(NAMES);
    let unknown: Vec<Value> = params
        .pairs()
        .iter()
        .filter(|(name, _)| !NAMES.contains(&name.as_str()))
        .map(|(name, value)| {
            json!({ "type": "extra_forbidden", "loc": [name], "msg": "Extra inputs are not permitted", "input": value })
        })
        .collect();
    let mut problems = params.into_problems();
    problems.extend(unknown);
    if !problems.is_empty() {
        // The body is a JSON text that holds the list.
        let body = Value::from(Value::from(problems).to_string()).to_string();
        return Err(ApiError::text(StatusCode::BAD_REQUEST, body).in_json());
    }
    let programs = api.node.store.programs_on_message(order).await?;
    let mut body = Vec::new();
    push_list(&mut body, &programs, |out, program| {
        let content = fields(program.content());
        let on = content.get("on").map_or("{}", |on| on.get());
        let mut object = Object::new(out);
        object.text("item_hash", program.message.item_hash.as_str());
        let mut shown = Object::new(object.field("content"));
        let mut triggers = Object::new(shown.field("on"));
        triggers.raw("message", fields(on).get("message").map_or("null", |triggers| triggers.get()));
        triggers.end();
        shown.end();
        object.end();
    });
    Ok(json_answer(StatusCode::OK, body))
}

/// `GET /api/v1/programs/{hash}/placement`: where a program runs and why.
pub(super) async fn placement(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let program = super::message::item_hash(&hash)?;
    let mut params = Params::read(query.as_deref());
    let local = params.flag(&["local"], false);
    params.finish()?;
    match api.node.placement.explain(&program, !local).await? {
        Some(explanation) => Ok(json_value(&explanation)),
        None => Err(no_program(&api, &program).await?),
    }
}

/// Why there is no placement to explain.
async fn no_program(api: &Api, hash: &ItemHash) -> Result<ApiError, ApiError> {
    use aleph_store::queries::MessageFate;
    let text = match api.node.store.message_fate(hash.clone()).await? {
        None => format!("No message {hash} is known here: publish it, or ask a node that has it"),
        Some(MessageFate::Processed { message, .. })
            if message.message.message_type != MessageType::Program =>
        {
            format!("Message {hash} is a {}, not a program", message.message.message_type)
        }
        Some(fate) => format!("Program {hash} has no placement: its message is {}", fate.status()),
    };
    Ok(ApiError::text(StatusCode::NOT_FOUND, text))
}

/// `GET /api/v1/node/health`: what is wrong, and what to do, in words.
pub(super) async fn health(State(api): State<Arc<Api>>) -> Response {
    let node = &api.node;
    let mut problems = Vec::new();
    let mut problem = |what: String, next: &str| problems.push(json!({ "what": what, "next": next }));
    let counts = super::metrics::counts(&api).await;
    match &counts {
        Ok(counts) if counts.pending > MANY_PENDING => problem(
            format!("{} messages wait for content, files or other messages", counts.pending),
            "check that other nodes are reachable; messages that nobody has are rejected in time",
        ),
        Ok(_) => {}
        Err(error) => problem(format!("the database can't be read: {error}"), "see the node's log"),
    }
    if node.metrics.failed_batches.get() > 0 {
        problem(
            format!("{} writes failed since the node started", node.metrics.failed_batches.get()),
            "check the disk of the data folder for space and errors; nothing that was acknowledged is lost",
        );
    }
    match &node.network {
        None => problem(
            "the peer-to-peer network is off: messages don't leave this node".to_owned(),
            "set 'p2p.enabled = true' unless that is meant",
        ),
        Some(network) if network.peers().is_empty() && node.started.elapsed() > MEETING => problem(
            "no other node is connected".to_owned(),
            "check 'p2p.peers' and that their ports can be reached; open this node's own p2p port",
        ),
        Some(_) => {}
    }
    let counts = counts.unwrap_or_default();
    json_value(&json!({
        "status": if problems.is_empty() { "ok" } else { "attention" },
        "problems": problems,
        "version": VERSION,
        "uptime_seconds": node.started.elapsed().as_secs(),
        "messages": counts.messages,
        "pending_messages": counts.pending,
        "peers": node.network.as_ref().map(|network| network.peers().len()),
        "database_bytes": node.store.disk_size(),
        "resident_memory_bytes": resident_memory(),
    }))
}

/// `GET /`: the node in a browser.
pub(super) async fn page(State(api): State<Arc<Api>>) -> Html<String> {
    let counts = super::metrics::counts(&api).await.unwrap_or_default();
    let peers = api.node.network.as_ref().map_or(0, |network| network.peers().len());
    let rows = [
        ("Version", VERSION.to_owned(), ""),
        ("Messages", counts.messages.to_string(), "pyaleph_status_sync_messages_total"),
        ("Waiting messages", counts.pending.to_string(), "pyaleph_status_sync_pending_messages_total"),
        ("Pinned files", counts.file_pins.to_string(), "pyaleph_status_sync_permanent_files_total"),
        ("Peers", peers.to_string(), "pyaleph_status_peers_total"),
    ];
    let rows: String = rows
        .iter()
        .map(|(label, value, key)| format!("<tr><th>{label}<td data-key=\"{key}\">{value}\n"))
        .collect();
    Html(PAGE.replace("{rows}", &rows))
}

const PAGE: &str = include_str!("status_page.html");

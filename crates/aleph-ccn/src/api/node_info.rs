//! The node itself: version, addresses, health, and small lists (`spec: ccn-api.md §12`).

use std::sync::Arc;
use std::time::Duration;

use aleph_ledger::Notice;
use aleph_rules::Unheeded;
use aleph_store::queries::SortOrder;
use aleph_types::{ItemHash, MessageType};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{Html, Response};
use serde_json::{Value, json};

use super::Api;
use super::conditional::momentary;
use super::errors::{ApiError, json_answer, json_value};
use super::json::{Object, fields, push_list};
use super::metrics::{VERSION, resident_memory};
use super::openapi::shapes::{Channels, Health, ProgramOnMessage, PublicInfo, Version};
use super::params::Params;
use crate::money_watch::{UnheededPosts, unheeded_text};
use crate::node::Node;

/// Bytes of free disk that are little.
const LITTLE_SPACE: u64 = 1024 * 1024 * 1024;

/// What is wrong, and what to do.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) what: String,
    pub(super) next: &'static str,
}

impl Problems {
    pub(super) fn add(&mut self, what: impl Into<String>, next: &'static str) {
        self.0.push(Problem { what: what.into(), next });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn to_json(&self) -> Value {
        self.0.iter().map(|problem| json!({ "what": problem.what, "next": problem.next })).collect()
    }
}

/// Bytes that the disk of a folder has left for this process.
fn free_space(folder: &std::path::Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// How long the health of other services is asked for.
const ASKED: Duration = Duration::from_secs(3);

/// What to do when files can't be stored.
const FILES_NEXT: &str = "uploads are refused until they can, and messages wait for files; see that the disk of \
                          the data folder is fine, or the object store of 'files.s3' runs and lets the node in";

/// Messages that may wait before it is worth telling.
pub(super) const MANY_PENDING: u64 = 1_000;

/// A node that just started needs a moment to meet others.
pub(super) const MEETING: Duration = Duration::from_secs(30);

/// The node's version.
#[utoipa::path(
    get,
    path = "/api/v0/version",
    tag = "node",
    operation_id = "node_info_version",
    responses(
        (status = 200, description = "The answer", body = Version),
    ),
)]
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

/// Where other nodes reach this one; operators register the first address.
#[utoipa::path(
    get,
    path = "/api/v0/info/public.json",
    tag = "node",
    operation_id = "node_info_public",
    responses(
        (status = 200, description = "The answer", body = PublicInfo),
    ),
)]
pub(super) async fn public(State(api): State<Arc<Api>>) -> Response {
    json_value(&json!({ "node_multi_addresses": multiaddresses(&api) }))
}

/// All channels; up to a minute old.
#[utoipa::path(
    get,
    path = "/api/v0/channels/list.json",
    tag = "messages",
    operation_id = "node_info_channels",
    responses(
        (status = 200, description = "The answer", body = Channels),
    ),
)]
pub(super) async fn channels(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let make = async { Ok::<_, ApiError>(Arc::new(api.node.store.channels().await?)) };
    let channels = api.channels.get(make).await?;
    Ok(json_value(&json!({ "channels": *channels })))
}

/// The programs that listen to messages.
#[utoipa::path(
    get,
    path = "/api/v0/programs/on/message",
    tag = "messages",
    operation_id = "node_info_programs_on_message",
    params(("sort_order" = Option<i8>, Query, description = "-1: newest first; 1: oldest first", minimum = -1, maximum = 1)),
    responses(
        (status = 200, description = "The answer", body = Vec<ProgramOnMessage>),
    ),
)]
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

/// Where a program runs and why.
#[utoipa::path(
    get,
    path = "/api/v1/programs/{item_hash}/placement",
    tag = "node",
    operation_id = "node_info_placement",
    params(("item_hash" = String, Path, description = "Item hash of the PROGRAM"), ("local" = Option<bool>, Query, description = "Ask no other node")),
    responses(
        (status = 200, description = "The answer", body = serde_json::Value),
    ),
)]
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

/// What to do about a fault of prices or settings.
fn next_of(fault: &Notice) -> &'static str {
    match fault {
        Notice::PriceKept { .. } => {
            "tell the publisher of the prices ('network.price_publisher'): a correct entry ends this; until \
             then every node goes on with the last good one"
        }
        Notice::PriceUnusable { .. } => {
            "tell the publisher of the prices ('network.price_publisher'): until there is a correct entry, \
             messages of this product wait and are rejected in time"
        }
        Notice::UnknownProduct { .. } => {
            "look for a newer alephd if the network introduced this product; the entry is ignored"
        }
        Notice::SettingKept { .. } => {
            "tell the publisher of the settings ('network.price_publisher'): a correct value ends this"
        }
    }
}

/// What may be meant and may be a mistake: anybody can cause it, so it is no problem of the node.
fn notes(node: &Node) -> Problems {
    let mut notes = Problems::default();
    for posts in node.money.unheeded() {
        let UnheededPosts { post_type, publisher, why, posts, last } = posts;
        let next = match (why, post_type.as_str()) {
            (Unheeded::Channel, _) => "nothing, unless you publish them: send them on the right channel",
            (Unheeded::Publisher, "balances-update") => {
                "nothing if you don't know the address; else add it to 'network.balance_publishers'"
            }
            (Unheeded::Publisher, "aleph-network-metrics") => {
                "nothing if you don't know the address; else add it to 'network.metrics_publishers'"
            }
            (Unheeded::Publisher, _) => {
                "nothing if you don't know the address; else add it to 'network.credit_publishers'"
            }
        };
        let why = unheeded_text(why);
        notes.add(format!("{why} ({post_type} of {publisher}, {posts} since the start, last {last})"), next);
    }
    notes
}

/// What is wrong with the node and what to do, in words.
#[utoipa::path(
    get,
    path = "/api/v1/node/health",
    tag = "node",
    operation_id = "node_info_health",
    responses(
        (status = 200, description = "The answer", body = Health),
    ),
)]
pub(super) async fn health(State(api): State<Arc<Api>>) -> Response {
    let node = &api.node;
    let mut problems = Problems::default();
    let counts = super::metrics::counts(&api).await;
    match &counts {
        Ok(counts) if counts.pending > MANY_PENDING => problems.add(
            format!("{} messages wait for content, files or other messages", counts.pending),
            "check that other nodes are reachable; messages that nobody has are rejected in time",
        ),
        Ok(_) => {}
        Err(error) => problems.add(format!("the database can't be read: {error}"), "see the node's log"),
    }
    if let Some(free) = free_space(&node.config.storage.data_dir)
        && free < LITTLE_SPACE
    {
        problems.add(
            format!("the disk of the data folder has {} MiB left", free / (1024 * 1024)),
            "make room on it, or move 'storage.data_dir': a full disk stops all writing",
        );
    }
    if api.limits.is_blind() {
        problems.add(
            "a proxy on this machine asks for others, and its clients are not told apart: nobody is limited",
            "name the proxy in 'api.trusted_proxies' if it writes X-Forwarded-For",
        );
    }
    match tokio::time::timeout(ASKED, node.files.check()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => problems.add(format!("files can't be stored now: {error}"), FILES_NEXT),
        Err(_) => problems
            .add(format!("the place of files has not answered within {} s", ASKED.as_secs()), FILES_NEXT),
    }
    if let Some(kubo) = node.files.kubo()
        && let Err(error) = kubo.check().await
    {
        problems.add(
            error.to_string(),
            "start it, or take 'ipfs.kubo' out of the settings: without it this node has what core nodes have",
        );
    }
    let states = node.metrics.catching_up.peers();
    if !states.is_empty() && states.values().all(|state| state.error.is_some()) {
        problems.add(
            "no other node could be read from in the last round",
            "see /api/v1/node/sync for each of them and why",
        );
    }
    if let Some(trouble) = node.pipeline.trouble() {
        problems.add(
            format!("this node can't store messages now: {trouble}"),
            "messages are refused until it can; nothing that was acknowledged is lost, and reading goes on",
        );
    }
    let broken = aleph_store::watch::broken();
    if let Some(last) = &broken.last {
        problems.add(
            format!("{} times something was seen that must never happen, last: {last}", broken.count),
            "please report it as a bug; 'alephd inspect digest --node … --node …' compares this node with others",
        );
    }
    for fault in node.money.faults() {
        let element = fault.element().map(|hash| format!(" (element {hash})")).unwrap_or_default();
        problems.add(format!("{fault}{element}"), next_of(&fault));
    }
    match &node.network {
        None => problems.add(
            "the peer-to-peer network is off: messages don't leave this node",
            "set 'p2p.enabled = true' unless that is meant",
        ),
        Some(network) if network.peers().is_empty() && node.started.elapsed() > MEETING => problems.add(
            "no other node is connected",
            "check 'p2p.peers' and that their ports can be reached; open this node's own p2p port",
        ),
        Some(_) => {}
    }
    let counts = counts.unwrap_or_default();
    momentary(json_value(&json!({
        "status": if problems.is_empty() { "ok" } else { "attention" },
        "problems": problems.to_json(),
        "notes": notes(node).to_json(),
        "version": VERSION,
        "uptime_seconds": node.started.elapsed().as_secs(),
        "messages": counts.messages,
        "pending_messages": counts.pending,
        "peers": node.network.as_ref().map(|network| network.peers().len()),
        "database_bytes": node.store.disk_size(),
        "resident_memory_bytes": resident_memory(),
    })))
}

/// The node in a browser.
#[utoipa::path(
    get,
    path = "/",
    tag = "node",
    operation_id = "node_info_page",
    responses(
        (status = 200, description = "The answer", body = String, content_type = "text/html"),
    ),
)]
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

//! The HTTP and WebSocket interface (`spec: ccn-api.md`).
//!
//! Handlers read parameters ([`params`]), ask the store or the pipeline, and write JSON ([`json`]). Lists
//! come in pages by number or by cursor ([`pages`]); large ones are streamed. Everything that goes wrong is
//! an [`errors::ApiError`], whose texts are those of the reference.

mod accounts;
mod aggregates;
mod authorizations;
mod body;
mod cors;
mod counts;
mod digest;
mod downloads;
mod errors;
mod explain;
mod json;
mod live;
mod message;
mod message_filter;
mod message_json;
mod messages;
mod metrics;
mod node_info;
mod pages;
mod params;
mod posts;
mod prices;
mod publish;
mod sync;
mod uploads;
mod websocket;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aleph_store::RecomputedDigest;
use aleph_store::queries::AddressCounts;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Router, extract::DefaultBodyLimit};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::node::Node;
use cors::{on_get, on_post};
use counts::{Cached, Totals};
use errors::ApiError;

/// How old some numbers may be: they cost a walk over the database.
const COUNTS_AGE: Duration = Duration::from_secs(10);
const CHANNELS_AGE: Duration = Duration::from_secs(60);
const ADDRESS_COUNTS_AGE: Duration = Duration::from_secs(300);

/// What handlers share.
struct Api {
    node: Arc<Node>,
    live: live::LiveFeed,
    status: websocket::StatusFeed,
    message_sockets: live::Places,
    message_peak: metrics::Peak,
    status_sockets: live::Places,
    status_peak: metrics::Peak,
    totals: Totals,
    counts: Cached<metrics::Counts>,
    channels: Cached<Arc<Vec<String>>>,
    address_counts: Cached<Arc<BTreeMap<String, AddressCounts>>>,
    recomputed_digest: Cached<Arc<RecomputedDigest>>,
}

/// Every route of a core node.
pub(crate) fn router(node: Arc<Node>) -> Router {
    let api = Arc::new(Api {
        node,
        live: live::LiveFeed::default(),
        status: websocket::StatusFeed::default(),
        message_sockets: live::Places::default(),
        message_peak: metrics::Peak::default(),
        status_sockets: live::Places::default(),
        status_peak: metrics::Peak::default(),
        totals: Totals::default(),
        counts: Cached::new(COUNTS_AGE),
        channels: Cached::new(CHANNELS_AGE),
        address_counts: Cached::new(ADDRESS_COUNTS_AGE),
        recomputed_digest: Cached::new(digest::RECOMPUTED_AGE),
    });
    Router::new()
        .merge(message_routes())
        .merge(compressed_routes())
        .merge(content_routes())
        .merge(storage_routes())
        .merge(node_routes())
        .fallback(|| async { ApiError::not_found() })
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(errors::panicked))
        .layer(from_fn_with_state(Arc::clone(&api), finish_answer))
        .with_state(api)
}

/// What every answer gets, whatever gave it.
async fn finish_answer(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    api.node.metrics.http_requests.increment();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_head = request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        errors::method_not_allowed(&mut response, is_head);
    }
    if let Some(origin) = origin {
        cors::allow_origin(response.headers_mut(), origin);
    }
    response
}

fn message_routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/v0/messages", on_post(publish::post))
        .route("/api/v0/p2p/pubsub/pub", on_post(publish::post_legacy))
        .route("/api/v0/ipfs/pubsub/pub", on_post(publish::post_legacy))
        .route("/api/v0/messages.json", on_get(messages::list))
        .route("/api/v0/messages/page/{file}", on_get(messages::list_page))
        .route("/api/v0/messages/hashes", on_get(messages::hashes))
        .route("/api/v0/messages/{hash}", on_get(message::get))
        .route("/api/v0/messages/{hash}/content", on_get(message::content))
        .route("/api/v0/messages/{hash}/status", on_get(message::status))
        .route("/api/ws0/messages", on_get(websocket::messages))
        .route("/api/ws0/status", on_get(websocket::status))
}

/// The routes that compress for clients that ask for it; the reference compresses no others.
fn compressed_routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/v0/posts.json", on_get(posts::list_v0))
        .route("/api/v0/posts/page/{file}", on_get(posts::page_v0))
        .route("/api/v1/posts.json", on_get(posts::list_v1))
        .route("/api/v1/posts/page/{file}", on_get(posts::page_v1))
        .route("/api/v0/channels/list.json", on_get(node_info::channels))
        .route("/api/v0/programs/on/message", on_get(node_info::programs_on_message))
        .route("/api/v0/storage/{hash}", on_get(downloads::base64))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
}

fn content_routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/v0/aggregates", on_get(aggregates::list))
        .route("/api/v0/aggregates.json", on_get(aggregates::list))
        .route("/api/v0/aggregates/{file}", on_get(aggregates::of_address))
        .route("/api/v0/authorizations/granted/{file}", on_get(authorizations::granted))
        .route("/api/v0/authorizations/received/{file}", on_get(authorizations::received))
        .route("/api/v0/addresses/stats.json", on_get(accounts::stats_v0))
        .route("/api/v1/addresses/stats.json", on_get(accounts::stats_v1))
        .route("/api/v0/addresses/{address}/balance", on_get(accounts::balance))
        .route("/api/v0/addresses/{address}/files", on_get(accounts::files))
        .route("/api/v0/addresses/{address}/post_types", on_get(accounts::post_types))
        .route("/api/v0/addresses/{address}/channels", on_get(accounts::channels))
        .route("/api/v0/price/estimate", on_post(prices::estimate))
        .route("/api/v0/price/estimate/instance", on_post(prices::estimate_instance))
        .route("/api/v0/price/{hash}", on_get(prices::of_message))
}

fn storage_routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/v0/storage/add_json", on_post(uploads::add_json))
        .route("/api/v0/storage/add_file", on_post(uploads::add_file))
        .route("/api/v0/ipfs/add_json", on_post(uploads::ipfs_disabled))
        .route("/api/v0/ipfs/add_file", on_post(uploads::ipfs_disabled))
        .route("/api/v0/ipfs/add_car", on_post(uploads::ipfs_disabled))
        .route("/api/v0/storage/limits.json", on_get(uploads::upload_limits))
        .route("/api/v0/storage/raw/{hash}", on_get(downloads::raw))
        .route("/api/v0/storage/metadata/{hash}", on_get(downloads::metadata))
        .route("/api/v0/storage/by-message-hash/{hash}", on_get(downloads::by_message))
        .route("/api/v0/storage/by-ref/{reference}", on_get(downloads::by_ref))
        .route("/api/v0/storage/by-ref/{address}/{*reference}", on_get(downloads::by_owner_ref))
        .route("/api/v0/storage/count/{hash}", on_get(downloads::count))
}

fn node_routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/", on_get(node_info::page))
        .route("/version", on_get(node_info::version))
        .route("/api/v0/version", on_get(node_info::version))
        .route("/metrics", on_get(metrics::text))
        .route("/metrics.json", on_get(metrics::json))
        .route("/api/v0/info/public.json", on_get(node_info::public))
        .route("/api/v1/programs/{hash}/placement", on_get(node_info::placement))
        .route("/api/v1/node/health", on_get(node_info::health))
        .route("/api/v1/messages/{hash}/explain", on_get(explain::get))
        .route("/api/v1/node/digest", on_get(digest::get))
        .route("/api/v1/sync/log", on_get(sync::log))
        .route("/api/v1/sync/messages", on_post(sync::messages))
}

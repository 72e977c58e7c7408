//! The HTTP and WebSocket interface (`spec: ccn-api.md`).
//!
//! Handlers read parameters ([`params`]), ask the store or the pipeline, and write JSON ([`json`]). Lists
//! come in pages by number or by cursor ([`pages`]); large ones are streamed. Everything that goes wrong is
//! an [`errors::ApiError`], whose texts are those of the reference.

mod accounts;
mod add;
mod aggregates;
mod authorizations;
mod body;
mod compression;
mod conditional;
mod contents;
mod cors;
mod costs;
mod counts;
mod digest;
mod docs;
mod downloads;
mod errors;
mod explain;
mod ipfs;
mod json;
mod ledger;
mod limits;
mod live;
mod message;
mod message_filter;
mod message_json;
mod messages;
mod metrics;
mod node_info;
mod node_metrics;
mod node_peers;
mod node_sync;
mod openapi;
mod pages;
mod params;
mod posts;
mod prices;
mod publish;
mod ranges;
mod raw;
mod recalculate;
mod streams;
mod sync;
mod tus;
mod uploads;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use aleph_store::RecomputedDigest;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::{Router, extract::DefaultBodyLimit};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::routes;

use crate::node::Node;
use counts::{Cached, Totals};
use errors::ApiError;
use openapi::Routes;

/// How old some numbers may be: they cost a walk over the database.
const COUNTS_AGE: Duration = Duration::from_secs(10);
const CHANNELS_AGE: Duration = Duration::from_secs(60);
const ADDRESS_COUNTS_AGE: Duration = Duration::from_secs(300);

/// What handlers share.
struct Api {
    node: Arc<Node>,
    document: openapi::Document,
    live: live::LiveFeed,
    status: websocket::StatusFeed,
    message_sockets: live::Places,
    message_peak: metrics::Peak,
    status_sockets: live::Places,
    status_peak: metrics::Peak,
    totals: Totals,
    counts: Cached<metrics::Counts>,
    channels: Cached<Arc<Vec<String>>>,
    address_counts: Cached<Arc<accounts::Statistics>>,
    file_totals: counts::FileTotals,
    recomputed_digest: Cached<Arc<RecomputedDigest>>,
    cost_sums: costs::Sums,
    recalculating: tokio::sync::Mutex<()>,
    contents: tokio::sync::Semaphore,
    limits: limits::Limits,
    measurements: node_metrics::Measurements,
    uploads: tus::Uploads,
}

/// Every route of a core node.
pub(crate) fn router(node: Arc<Node>) -> Router {
    let (routes, document) = routes().finish();
    let api = Arc::new(Api {
        limits: limits::Limits::new(&node.config.api),
        measurements: node_metrics::Measurements::default(),
        uploads: tus::Uploads::default(),
        node,
        document,
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
        file_totals: counts::FileTotals::default(),
        recomputed_digest: Cached::new(digest::RECOMPUTED_AGE),
        cost_sums: costs::Sums::default(),
        recalculating: tokio::sync::Mutex::default(),
        contents: tokio::sync::Semaphore::new(contents::AT_ONCE),
    });
    tokio::spawn(tus::sweep(Arc::downgrade(&api)));
    routes
        .fallback(|| async { ApiError::not_found() })
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(errors::panicked))
        .layer(from_fn(conditional::answer))
        .layer(compression::layer())
        .layer(from_fn_with_state(compression::Places::default(), compression::bounded))
        .layer(from_fn_with_state(Arc::clone(&api), limits::limit))
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
    cors::vary_by_origin(response.headers_mut());
    if let Some(origin) = origin {
        cors::allow_origin(response.headers_mut(), origin);
    }
    response
}

/// Every route, with its documentation.
fn routes() -> Routes {
    let routes = message_routes(Routes::new());
    node_routes(storage_routes(content_routes(routes)))
}

fn message_routes(routes: Routes) -> Routes {
    routes
        .add(routes!(publish::post))
        .add(routes!(publish::post_legacy))
        .add_also("/api/v0/ipfs/pubsub/pub", routes!(publish::post_legacy))
        .add(routes!(messages::list))
        .add(routes!(messages::list_page))
        .add(routes!(messages::hashes))
        .add(routes!(message::get))
        .add(routes!(message::content))
        .add(routes!(message::status))
        .add(routes!(explain::get))
        .add(routes!(websocket::messages))
        .add(routes!(websocket::status))
        .add(routes!(streams::messages))
        .add(routes!(streams::status))
        .add(routes!(node_info::channels))
        .add(routes!(node_info::programs_on_message))
}

fn content_routes(routes: Routes) -> Routes {
    routes
        .add(routes!(posts::list_v0))
        .add(routes!(posts::page_v0))
        .add(routes!(posts::list_v1))
        .add(routes!(posts::page_v1))
        .add(routes!(aggregates::list))
        .add_also("/api/v0/aggregates.json", routes!(aggregates::list))
        .add(routes!(aggregates::of_address))
        .add(routes!(authorizations::granted))
        .add(routes!(authorizations::received))
        .add(routes!(accounts::stats_v0))
        .add(routes!(accounts::stats_v1))
        .add(routes!(accounts::balance))
        .add(routes!(accounts::files))
        .add(routes!(accounts::post_types))
        .add(routes!(accounts::channels))
        .add(routes!(ledger::credit_history))
        .add(routes!(ledger::credit_summary))
        .add(routes!(ledger::balances))
        .add(routes!(ledger::credit_balances))
        .add(routes!(ledger::consumed_credits))
        .add(routes!(costs::get))
        .add_beside("Invalid message hash: estimate", routes!(prices::estimate))
        .add(routes!(prices::estimate_instance))
        .add(routes!(prices::of_message))
        .add(routes!(prices::explain))
        .add_beside("Invalid message hash: recalculate", routes!(recalculate::all))
        .add(routes!(recalculate::one))
}

fn storage_routes(routes: Routes) -> Routes {
    routes
        .add_beside(downloads::NO_HASH, routes!(uploads::add_json))
        .add_beside(downloads::NO_HASH, routes!(uploads::add_file))
        .add(routes!(ipfs::add_json))
        .add(routes!(ipfs::add_file))
        .add(routes!(ipfs::add_car))
        .add(routes!(add::add))
        .add(routes!(uploads::upload_limits))
        .add_with_options(tus::options, routes!(tus::create))
        .add_with_options(tus::options, routes!(tus::offset, tus::state, tus::patch, tus::delete))
        .add(routes!(downloads::base64))
        .add(routes!(raw::get))
        .add_at("/api/v0/storage/raw/{file_hash}/{*path}", routes!(raw::get_below))
        .add(routes!(downloads::metadata))
        .add(routes!(downloads::by_message))
        .add(routes!(downloads::by_ref))
        .add_at("/api/v0/storage/by-ref/{address}/{*ref}", routes!(downloads::by_owner_ref))
        .add(routes!(downloads::count))
}

fn node_routes(routes: Routes) -> Routes {
    routes
        .add(routes!(node_info::page))
        .add(routes!(docs::document))
        .add_also("/api/docs/swagger.json", routes!(docs::document))
        .add(routes!(docs::page))
        .add_also("/api/docs/", routes!(docs::page))
        .add(routes!(docs::file))
        .add(routes!(node_info::version))
        .add_also("/version", routes!(node_info::version))
        .add(routes!(metrics::text))
        .add(routes!(metrics::json))
        .add(routes!(node_info::public))
        .add(routes!(node_info::placement))
        .add(routes!(node_info::health))
        .add(routes!(node_sync::get))
        .add(routes!(node_peers::get))
        .add(routes!(node_metrics::core))
        .add(routes!(node_metrics::compute))
        .add(routes!(digest::get))
        .add(routes!(sync::exchange))
}

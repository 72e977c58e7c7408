//! The node's numbers under the reference's names (`spec: ccn-api.md §11`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aleph_p2p::{Bitswap, BlockStats, NetworkHandle};
use aleph_store::StoreError;
use aleph_store::queries::NodeCounts;
use axum::extract::State;
use axum::extract::ws::Utf8Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Api;
use super::conditional::momentary;
use super::errors::{ApiError, TEXT, json_value};

/// The most sockets at once since start.
#[derive(Debug, Default)]
pub(super) struct Peak(AtomicUsize);

impl Peak {
    fn at_least(&self, now: usize) -> usize {
        self.0.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

/// The version as clients see it.
pub(super) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// What the database holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) messages: u64,
    pub(super) pending: u64,
    pub(super) file_pins: u64,
}

/// What the database holds, or held a few seconds ago.
pub(super) async fn counts(api: &Api) -> Result<Counts, StoreError> {
    let make = async {
        let NodeCounts { pending, file_pins } = api.node.store.node_counts().await?;
        let messages = api.totals.messages(&api.node.store).await?;
        Ok(Counts { messages, pending, file_pins })
    };
    api.counts.get(make).await
}

/// Everything, in the reference's order; what this node has no number for is null.
async fn fields(api: &Api) -> Result<Map<String, Value>, ApiError> {
    let counts = counts(api).await?;
    let metrics = &api.node.metrics;
    let peers = api.node.network.as_ref().map_or(0, |network| network.peers().len());
    let blocks = api.node.network.as_ref().and_then(NetworkHandle::bitswap).map(Bitswap::stats);
    let of_blocks = |count: fn(&BlockStats) -> u64| Value::from(blocks.as_ref().map(count));
    let (messages, statuses) = (api.message_sockets.taken(), api.status_sockets.taken());
    let fields = [
        ("pyaleph_build_info", json!({ "python_version": "none", "version": VERSION })),
        ("pyaleph_status_peers_total", Value::from(peers)),
        ("pyaleph_status_sync_messages_total", Value::from(counts.messages)),
        ("pyaleph_status_sync_permanent_files_total", Value::from(counts.file_pins)),
        ("pyaleph_status_sync_pending_messages_total", Value::from(counts.pending)),
        ("pyaleph_status_sync_pending_txs_total", Value::from(0)),
        ("pyaleph_status_chain_eth_last_committed_height", Value::Null),
        ("pyaleph_processing_pending_messages_seen_ids_total", Value::Null),
        ("pyaleph_processing_pending_messages_tasks_total", Value::Null),
        ("pyaleph_processing_pending_messages_aggregate_tasks", Value::from(0)),
        ("pyaleph_processing_pending_messages_forget_tasks", Value::from(0)),
        ("pyaleph_processing_pending_messages_post_tasks", Value::from(0)),
        ("pyaleph_processing_pending_messages_program_tasks", Value::from(0)),
        ("pyaleph_processing_pending_messages_store_tasks", Value::from(0)),
        ("pyaleph_processing_pending_messages_action_total", Value::Null),
        ("pyaleph_status_sync_messages_reference_total", Value::Null),
        ("pyaleph_status_sync_messages_remaining_total", Value::Null),
        ("pyaleph_status_chain_eth_height_reference_total", Value::Null),
        ("pyaleph_status_chain_eth_height_remaining_total", Value::Null),
        ("pyaleph_ws_messages_connections_active", Value::from(messages)),
        ("pyaleph_ws_messages_connections_max", Value::from(api.message_peak.at_least(messages))),
        ("pyaleph_ws_status_connections_active", Value::from(statuses)),
        ("pyaleph_ws_status_connections_max", Value::from(api.status_peak.at_least(statuses))),
        ("pyaleph_ws_messages_broadcast_total", Value::from(metrics.ws_frames.get())),
        ("pyaleph_ws_messages_connections_rejected_total", Value::from(metrics.ws_messages_rejected.get())),
        ("pyaleph_ws_status_connections_rejected_total", Value::from(metrics.ws_status_rejected.get())),
        ("pyaleph_ws_broadcaster_consumer_restarts_total", Value::from(0)),
        ("pyaleph_store_fetch_ipfs_total", Value::from(0)),
        ("pyaleph_store_fetch_ipfs_failed_total", Value::from(0)),
        ("pyaleph_store_fetch_ipfs_duration_ms_sum", Value::from(0)),
        ("pyaleph_store_fetch_storage_total", Value::from(metrics.fetches.get())),
        ("pyaleph_store_fetch_storage_failed_total", Value::from(metrics.fetches_failed.get())),
        ("pyaleph_store_fetch_storage_duration_ms_sum", Value::from(metrics.fetch_millis.get())),
        ("aleph_messages_verified_total", Value::from(metrics.verified.get())),
        ("aleph_messages_processed_total", Value::from(metrics.processed.get())),
        ("aleph_messages_rejected_total", Value::from(metrics.rejected.get())),
        ("aleph_messages_duplicate_total", Value::from(metrics.duplicates.get())),
        ("aleph_batches_total", Value::from(metrics.batches.get())),
        ("aleph_batch_messages_total", Value::from(metrics.batch_messages.get())),
        ("aleph_batches_failed_total", Value::from(metrics.failed_batches.get())),
        ("aleph_gossip_received_total", Value::from(metrics.gossip_received.get())),
        ("aleph_gossip_garbage_total", Value::from(metrics.gossip_garbage.get())),
        ("aleph_gossip_published_total", Value::from(metrics.gossip_published.get())),
        ("aleph_gossip_dropped_total", Value::from(metrics.gossip_dropped.get())),
        ("aleph_blocks_sent_total", of_blocks(|blocks| blocks.sent)),
        ("aleph_blocks_sent_bytes_total", of_blocks(|blocks| blocks.sent_bytes)),
        ("aleph_blocks_received_total", of_blocks(|blocks| blocks.received)),
        ("aleph_blocks_received_bytes_total", of_blocks(|blocks| blocks.received_bytes)),
        ("aleph_blocks_unasked_total", of_blocks(|blocks| blocks.unasked)),
        ("aleph_blocks_unmet_total", of_blocks(|blocks| blocks.unmet)),
        ("aleph_blocks_waiting", of_blocks(|blocks| blocks.waiting as u64)),
        ("aleph_http_requests_total", Value::from(metrics.http_requests.get())),
        ("aleph_http_limited_total", Value::from(metrics.http_limited.get())),
        ("aleph_event_streams", Value::from(metrics.event_streams.get())),
        ("aleph_caught_up_total", Value::from(metrics.caught_up.get())),
        ("aleph_ws_dropped_total", Value::from(metrics.ws_dropped.get())),
        ("aleph_tariff_price_kept", Value::from(metrics.price_kept.get())),
        ("aleph_tariff_price_unusable", Value::from(metrics.price_unusable.get())),
        ("aleph_tariff_unknown_product", Value::from(metrics.unknown_product.get())),
        ("aleph_tariff_setting_kept", Value::from(metrics.setting_kept.get())),
        ("aleph_unheeded_posts_total", Value::from(metrics.unheeded_posts.get())),
        ("aleph_invariants_broken_total", Value::from(aleph_store::watch::broken().count)),
        ("aleph_database_bytes", Value::from(api.node.store.disk_size())),
        ("aleph_uptime_seconds", Value::from(api.node.started.elapsed().as_secs())),
        ("aleph_resident_memory_bytes", Value::from(resident_memory())),
    ];
    Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Bytes of memory that this process holds, where the system says so.
pub(super) fn resident_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The node's numbers.
#[utoipa::path(
    get,
    path = "/metrics.json",
    tag = "node",
    operation_id = "metrics_json",
    responses(
        (status = 200, description = "The answer", body = BTreeMap<String, serde_json::Value>),
    ),
)]
pub(super) async fn json(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    Ok(momentary(json_value(&fields(&api).await?)))
}

/// The node's numbers as Prometheus reads them.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "node",
    operation_id = "metrics_text",
    responses(
        (status = 200, description = "The answer", body = String, content_type = "text/plain"),
    ),
)]
pub(super) async fn text(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let mut lines = Vec::new();
    for (name, value) in fields(&api).await? {
        match value {
            Value::Null => {}
            Value::Object(labels) => {
                let labels: Vec<String> =
                    labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
                lines.push(format!("{name}{{{}}} 1", labels.join(",")));
            }
            value => lines.push(format!("{name} {value}")),
        }
    }
    Ok(momentary((StatusCode::OK, [(header::CONTENT_TYPE, TEXT)], lines.join("\n")).into_response()))
}

/// The frame of the status socket: what changes by itself all the time is left out, so that a frame means
/// that something happened.
pub(super) async fn status_frame(api: &Api) -> Result<Utf8Bytes, ApiError> {
    let mut fields = fields(api).await?;
    fields.retain(|name, _| !matches!(name.as_str(), "aleph_uptime_seconds" | "aleph_resident_memory_bytes"));
    Ok(Value::Object(fields).to_string().into())
}

//! `GET /api/v1/node/peers`: who this node gossips with, since when, how good each is, and why not better.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aleph_p2p::{NetworkHandle, PeerInfo, Standing};
use aleph_types::Timestamp;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::conditional::momentary;
use super::errors::json_value;
use super::openapi::shapes::NodePeers;

/// Who this node gossips with, since when, how good each is, and why not better.
#[utoipa::path(
    get,
    path = "/api/v1/node/peers",
    tag = "node",
    operation_id = "node_peers_get",
    responses((status = 200, description = "The answer", body = NodePeers)),
)]
pub(super) async fn get(State(api): State<Arc<Api>>) -> Response {
    let metrics = &api.node.metrics;
    let answer = match &api.node.network {
        None => json!({
            "enabled": false,
            "words": ["The peer-to-peer network is off ('p2p.enabled')."],
            "connected": [], "faulty": [], "known": [],
        }),
        Some(network) => {
            let mut answer = described(network);
            answer["garbage"] = metrics.gossip_garbage.get().into();
            answer["unrecorded"] = metrics.gossip_unrecorded.get().into();
            answer
        }
    };
    momentary(json_value(&answer))
}

fn described(network: &NetworkHandle) -> Value {
    let stats = network.stats();
    let connected = network.peers();
    let faulty = network.faulty_peers();
    let known = network.known_addresses();
    let mut words = vec![format!(
        "{} peers are connected, {} of them listen to messages.",
        stats.peers, stats.subscribers
    )];
    if stats.shunned_peers + stats.shunned_addresses > 0 {
        words.push(format!(
            "{} peers and {} addresses are shunned; 'faulty' says why and for how long.",
            stats.shunned_peers, stats.shunned_addresses
        ));
    }
    if stats.refused > 0 {
        words.push(format!("{} connections were not taken since the start.", stats.refused));
    }
    json!({
        "enabled": true,
        "peer_id": network.peer_id().to_string(),
        "listening": network.listen_addrs().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "words": words,
        "connected": connected.iter().map(of_peer).collect::<Vec<_>>(),
        "faulty": faulty.iter().map(of_standing).collect::<Vec<_>>(),
        "known": known
            .iter()
            .map(|known| json!({
                "peer": known.peer.to_string(),
                "kind": known.kind,
                "address": known.address,
                "seconds_ago": known.age.as_secs(),
            }))
            .collect::<Vec<_>>(),
        "received": stats.received,
        "accepted": stats.accepted,
        "rejected": stats.rejected,
        "ignored": stats.ignored,
        "late": stats.late,
        "published": stats.published,
        "unheard": stats.unheard,
        "missed": stats.missed,
        "failed_dials": stats.failed_dials,
        "refused_connections": stats.refused,
        "shunned_peers": stats.shunned_peers,
        "shunned_addresses": stats.shunned_addresses,
        "remembered_peers": stats.remembered_peers,
    })
}

fn of_peer(info: &PeerInfo) -> Value {
    let mut peer = of_standing(&info.standing);
    peer["addresses"] = info.addresses.iter().map(ToString::to_string).collect();
    peer["since"] = moment(info.since).into();
    peer["dialled"] = info.dialled.into();
    peer["listens"] = info.subscribed.into();
    peer["round_trip_ms"] = info.round_trip.map(millis).into();
    peer["last_message"] = info.last_message.map(moment).into();
    peer["messages"] = info.messages.into();
    peer["rejected"] = info.rejected.into();
    peer["missed"] = info.missed.into();
    peer
}

fn of_standing(standing: &Standing) -> Value {
    let faults: Vec<Value> = standing
        .faults
        .iter()
        .map(|fault| {
            json!({
                "fault": fault.offence.name(),
                "count": fault.count,
                "last": moment(fault.last),
                "words": format!("{} {}", fault.count, fault.offence.words()),
            })
        })
        .collect();
    json!({
        "peer": standing.peer.to_string(),
        "trust": standing.trust.name(),
        "score": (standing.score * 10.0).round() / 10.0,
        "faults": faults,
        "useful": standing.useful,
        "dropped": standing.dropped,
        "shunned_seconds": standing.shunned_for.map(|left| left.as_secs()),
        "last_address": standing.address.map(|address| address.to_string()),
    })
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn moment(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let micros = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Timestamp::from_micros(micros).iso_z().to_string()
}

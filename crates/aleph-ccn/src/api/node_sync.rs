//! `GET /api/v1/node/sync`: what this node lacks and what to do about it, in words.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::conditional::momentary;
use super::errors::{ApiError, json_value};
use super::node_info::{MANY_PENDING, MEETING, Problems};
use super::openapi::shapes::NodeSync;
use crate::metrics::PeerState;
use crate::peers::HttpPeers;

/// What this node lacks and what to do about it, in words.
#[utoipa::path(
    get,
    path = "/api/v1/node/sync",
    tag = "node",
    operation_id = "node_sync_get",
    responses((status = 200, description = "The answer", body = NodeSync)),
)]
pub(super) async fn get(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let node = &api.node;
    let mut words = Vec::new();
    let mut problems = Problems::default();
    // The peers first: what was read from them is then among what is counted.
    let states = node.metrics.catching_up.peers();
    let known = HttpPeers::new(&node.config.network.http_peers, node.network.clone()).urls();
    let unasked_urls = known.into_iter().filter(|url| !states.contains_key(url));
    let all: Vec<(String, PeerState)> =
        states.clone().into_iter().chain(unasked_urls.map(|url| (url, PeerState::default()))).collect();
    let counts = super::metrics::counts(&api).await?;
    let blocked = node.pipeline.trouble();
    let (mut compared, mut behind, mut silent, mut unasked) = (0usize, 0usize, 0usize, 0usize);
    let mut peers: Vec<Value> = Vec::new();
    for (name, state) in &all {
        let words = if state.foreign {
            "it is a node of another kind, which can't be asked what it has; its messages come by gossip"
                .to_owned()
        } else if let Some(error) = &state.error {
            silent += 1;
            format!("could not be read from: {error}")
        } else if state.last_success.is_none() {
            unasked += 1;
            "not asked yet".to_owned()
        } else if state.compared {
            compared += 1;
            "everything that it had accepted is here".to_owned()
        } else {
            behind += 1;
            progress(state)
        };
        peers.push(json!({
            "url": name,
            "via": Some(state.via).filter(|via| !via.is_empty()),
            "words": words,
            "compared": state.compared && state.error.is_none(),
            "foreign": state.foreign,
            "known": state.known,
            "wanted": state.wanted,
            "fetched": state.fetched,
            "verified": state.verified,
            "stored": state.stored,
            "waiting": state.waiting,
            "refused": state.refused,
            "rate": state.rate().map(f64::round),
            "seconds_left": state.seconds_left().map(f64::round),
            "seconds_since_last_answer": state.last_success.map(|at| at.elapsed().as_secs()),
            "error": state.error,
        }));
    }
    let askable = compared + behind + silent + unasked;
    if let Some(trouble) = &blocked {
        words.push(format!("Nothing can be stored: {trouble}."));
        problems.add(
            format!("messages can't be stored: {trouble}"),
            "see that the disk has space and can be written, or that the database's server runs",
        );
    }
    let since_start = node.started.elapsed();
    let status = if askable == 0 {
        words.push("No other node is known: there is nobody to catch up with.".to_owned());
        if since_start > MEETING {
            problems.add(
                "no other node's API is known",
                "set 'network.http_peers', or connect to a network that announces its nodes ('p2p.peers')",
            );
        }
        "alone"
    } else if compared + behind == 0 && silent > 0 {
        words.push(format!("None of {askable} known nodes could be read from."));
        problems.add(
            "no other node could be read from",
            "check this machine's way out, and the addresses under 'peers'; each is asked again every ten seconds",
        );
        "unreachable"
    } else if behind > 0 || (unasked > 0 && compared == 0) {
        words.push(format!(
            "Catching up: {behind} nodes have more than is here, {compared} have not, {unasked} were not asked \
             yet."
        ));
        "catching up"
    } else {
        words.push(format!("Everything that {compared} of {askable} known nodes had is here."));
        if silent > 0 {
            words.push(format!("{silent} nodes could not be read from in the last round."));
        }
        "in sync"
    };
    if counts.pending > 0 {
        words.push(format!(
            "{} messages wait for a file, content or another message; GET /api/v1/messages/{{hash}}/explain says \
             for what one waits.",
            counts.pending
        ));
    }
    if counts.pending > MANY_PENDING {
        problems.add(
            format!("{} messages wait", counts.pending),
            "if the number does not fall, check that nodes with the files can be reached",
        );
    }
    let (fetches, failed) = (node.metrics.fetches.get(), node.metrics.fetches_failed.get());
    if fetches > 20 && failed * 2 > fetches {
        words.push(format!("Of {fetches} tries to fetch a file, {failed} found no node that had it."));
    }
    words.push(format!(
        "{} messages are here; {} came from comparing with other nodes since the start, the rest over gossip and this \
         node's own API.",
        counts.messages,
        node.metrics.caught_up.get()
    ));
    words.extend(problems.iter().map(|problem| format!("Wrong: {}. Next: {}.", problem.what, problem.next)));
    Ok(momentary(json_value(&json!({
        "status": status,
        "blocked": blocked,
        "words": words,
        "problems": problems.to_json(),
        "messages": counts.messages,
        "pending_messages": counts.pending,
        "caught_up": node.metrics.caught_up.get(),
        "log_end": api.totals.last(&node.store).await?,
        "gossip_peers": node.network.as_ref().map(|network| network.peers().len()),
        "peers": peers,
    }))))
}

/// Where a comparison under way stands, in words.
fn progress(state: &PeerState) -> String {
    if state.wanted == 0 {
        return "its messages are being compared with those here".to_owned();
    }
    let PeerState { wanted, stored, waiting, refused, .. } = state;
    let mut words = format!("{stored} of {wanted} messages that it has more are stored");
    if *waiting > 0 {
        words.push_str(&format!(", {waiting} wait for a file or another message"));
    }
    if *refused > 0 {
        words.push_str(&format!(", {refused} were refused"));
    }
    if let Some(seconds) = state.seconds_left() {
        words.push_str(&format!("; about {seconds:.0} seconds are left"));
    }
    words
}

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
    let urls = HttpPeers::new(&node.config.network.http_peers, node.network.clone()).urls();
    // The peers first: what was read from them is then among what is counted.
    let states = node.metrics.catching_up.peers();
    let counts = super::metrics::counts(&api).await?;
    let (mut compared, mut behind, mut silent, mut unasked) = (0usize, 0usize, 0usize, 0usize);
    let mut peers: Vec<Value> = Vec::new();
    for url in &urls {
        let state = states.get(url).cloned().unwrap_or_default();
        let words = match (&state.error, state.last_success, state.compared) {
            (Some(error), ..) => {
                silent += 1;
                format!("could not be read from: {error}")
            }
            (None, None, _) => {
                unasked += 1;
                "not asked yet".to_owned()
            }
            (None, Some(_), true) => {
                compared += 1;
                "everything that it had accepted is here".to_owned()
            }
            (None, Some(_), false) => {
                behind += 1;
                match state.wanted {
                    0 => "its messages are being compared with those here".to_owned(),
                    wanted => format!("{} of {wanted} messages that it has more are stored", state.stored),
                }
            }
        };
        peers.push(json!({
            "url": url,
            "words": words,
            "compared": state.compared && state.error.is_none(),
            "wanted": state.wanted,
            "stored": state.stored,
            "rate": state.since.filter(|_| !state.compared).map(|since| {
                (state.stored as f64 / since.elapsed().as_secs_f64().max(0.001)).round()
            }),
            "seconds_since_last_answer": state.last_success.map(|at| at.elapsed().as_secs()),
            "error": state.error,
        }));
    }
    let since_start = node.started.elapsed();
    let status = if urls.is_empty() {
        words.push("No other node is known: there is nobody to catch up with.".to_owned());
        if since_start > MEETING {
            problems.add(
                "no other node's API is known",
                "set 'network.http_peers', or connect to a network that announces its nodes ('p2p.peers')",
            );
        }
        "alone"
    } else if compared + behind == 0 && silent > 0 {
        words.push(format!("None of {} known nodes could be read from.", urls.len()));
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
        words.push(format!("Everything that {compared} of {} known nodes had is here.", urls.len()));
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

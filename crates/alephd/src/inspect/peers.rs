//! Who a node gossips with, since when, how good each is, and why not better.

use std::fmt::Write as _;

use serde_json::Value;

use super::{list, shown};

/// The node's health and its peers, in words.
pub(super) fn words(answer: &Value) -> String {
    let mut out = String::new();
    let health = &answer["health"];
    super::line(&mut out, "status", &health["status"]);
    super::line(&mut out, "messages", &health["messages"]);
    super::line(&mut out, "waiting", &health["pending_messages"]);
    for problem in list(&health["problems"]) {
        writeln!(out, "✗ {}\n  → {}", shown(&problem["what"]), shown(&problem["next"])).ok();
    }
    let peers = &answer["peers"];
    super::line(&mut out, "this peer", &peers["peer_id"]);
    for words in list(&peers["words"]) {
        writeln!(out, "{}", shown(words)).ok();
    }
    for peer in list(&peers["connected"]) {
        connected(&mut out, peer);
    }
    let faulty = list(&peers["faulty"]);
    if !faulty.is_empty() {
        writeln!(out, "\nnot connected, with faults").ok();
    }
    for peer in faulty {
        let shunned = match peer["shunned_seconds"].as_u64() {
            Some(seconds) => format!("shunned for {} more", time(seconds)),
            None => "not shunned".to_owned(),
        };
        let from = match peer["last_address"].as_str() {
            Some(address) => format!(", was at {address}"),
            None => String::new(),
        };
        writeln!(out, "  {}  {}{from}, {shunned}", shown(&peer["peer"]), shown(&peer["trust"])).ok();
        faults(&mut out, peer);
    }
    out
}

fn connected(out: &mut String, peer: &Value) {
    writeln!(out, "\n  {}", shown(&peer["peer"])).ok();
    let addresses: Vec<String> = list(&peer["addresses"]).iter().map(shown).collect();
    let way = if peer["dialled"] == true { "dialled" } else { "came in" };
    writeln!(out, "    {} at {}", way, addresses.join(", ")).ok();
    let ping = match peer["round_trip_ms"].as_f64() {
        Some(millis) => format!(", {millis} ms away"),
        None => String::new(),
    };
    let listens = if peer["listens"] == true { "listens" } else { "does not listen" };
    writeln!(out, "    {}, since {}, {listens}{ping}", shown(&peer["trust"]), shown(&peer["since"])).ok();
    writeln!(
        out,
        "    score {}: {} new messages, {} useful, {} rejected, {} dropped, {} missed",
        shown(&peer["score"]),
        shown(&peer["messages"]),
        shown(&peer["useful"]),
        shown(&peer["rejected"]),
        shown(&peer["dropped"]),
        shown(&peer["missed"]),
    )
    .ok();
    faults(out, peer);
}

fn faults(out: &mut String, peer: &Value) {
    for fault in list(&peer["faults"]) {
        writeln!(out, "    ✗ {} (last {})", shown(&fault["words"]), shown(&fault["last"])).ok();
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shunned_peer_is_shown_with_the_reason() {
        let fault = json!({
            "fault": "bad_envelope", "count": 20, "last": "2026-11-21T06:00:00Z",
            "words": "20 messages without a right signature of their author",
        });
        let text = words(&json!({
            "health": { "status": "ok", "problems": [], "messages": 1 },
            "peers": {
                "peer_id": "me", "words": ["1 peers are connected, 1 of them listen to messages."],
                "connected": [{
                    "peer": "good", "trust": "configured", "score": 100.0, "faults": [], "useful": 5, "dropped": 0,
                    "addresses": ["/ip4/1.2.3.4/tcp/4025"], "since": "2026-11-21T05:00:00Z", "dialled": true,
                    "listens": true, "round_trip_ms": 1.5, "messages": 5, "rejected": 0, "missed": 0,
                }],
                "faulty": [{
                    "peer": "bad", "trust": "stranger", "score": 0.0, "faults": [fault], "useful": 0, "dropped": 9,
                    "shunned_seconds": 600, "last_address": "5.6.7.8",
                }],
            },
        }));
        for part in [
            "good",
            "dialled at /ip4/1.2.3.4/tcp/4025",
            "1.5 ms away",
            "score 100.0: 5 new messages",
            "bad  stranger, was at 5.6.7.8, shunned for 10 min more",
            "✗ 20 messages without a right signature",
        ] {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    }
}

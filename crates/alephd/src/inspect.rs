//! `alephd inspect`: why a message, a program or a node is in the state that it is in, in words.

mod digest;
mod peers;
mod sync;

use std::fmt::Write as _;

use aleph_sdk::Client;
use aleph_types::ItemHash;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

/// Why things are as they are
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The core node to ask; `digest` compares several
    #[arg(
        long = "node",
        value_name = "URL",
        env = "ALEPH_NODE",
        default_value = "http://127.0.0.1:4024",
        global = true
    )]
    nodes: Vec<String>,
    /// Show the node's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What became of a message on this node, and why
    Message { hash: ItemHash },
    /// Which core node answers for a program, which compute node runs it, and why that one
    Placement { program: ItemHash },
    /// Whether the node is well, who it gossips with, since when, how good each is, and why not better
    Peers,
    /// What the node lacks that others have, and how fast it gets it; in a terminal refreshed until Ctrl-C
    Sync {
        /// Show it once
        #[arg(long)]
        once: bool,
    },
    /// Whether nodes came to the same state: one hash over it, and by table where they differ
    Digest {
        /// Let each node compute its digest from its tables as well (reads every row)
        #[arg(long)]
        recompute: bool,
    },
}

/// Asks and prints.
///
/// # Errors
/// When the node does not answer, or knows nothing of what was asked.
pub(crate) async fn run(args: InspectArgs) -> Result<()> {
    if let What::Digest { recompute } = args.what {
        return digest::run(&args.nodes, recompute, args.json).await;
    }
    let [node] = args.nodes.as_slice() else {
        bail!("only 'inspect digest' asks several nodes; give '--node' once");
    };
    if let What::Sync { once } = args.what {
        return sync::run(node, once, args.json).await;
    }
    let base = Client::new(node)?.base_url().to_owned();
    let (answer, words): (Value, fn(&Value) -> String) = match &args.what {
        What::Message { hash } => {
            if let Some(answer) = get(&format!("{base}/api/v1/messages/{hash}/explain")).await? {
                (answer, story)
            } else {
                // A node that explains nothing: its answer to everybody.
                let answer = get(&format!("{base}/api/v0/messages/{hash}")).await?.with_context(|| {
                    format!(
                        "{base} does not know message {hash}: it never arrived there, or was not signed right"
                    )
                })?;
                (answer, message)
            }
        }
        What::Placement { program } => {
            let path = format!("{base}/api/v1/programs/{program}/placement");
            let answer = get(&path).await?.with_context(|| format!("{base} knows no program {program}"))?;
            (answer, placement)
        }
        What::Peers => {
            let health = get(&format!("{base}/api/v1/node/health")).await?;
            let health = health.with_context(|| format!("{base} is no alephd core node"))?;
            let peers = get(&format!("{base}/api/v1/node/peers")).await?;
            (serde_json::json!({ "health": health, "peers": peers }), peers::words)
        }
        What::Digest { .. } | What::Sync { .. } => return Ok(()),
    };
    let text = if args.json { serde_json::to_string_pretty(&answer)? + "\n" } else { words(&answer) };
    print!("{text}");
    Ok(())
}

async fn get(url: &str) -> Result<Option<Value>> {
    let answer =
        reqwest::get(url).await.with_context(|| format!("can't reach {url}; is the node running?"))?;
    match answer.status().as_u16() {
        404 => Ok(None),
        200..=299 => Ok(Some(answer.json().await.context("the node's answer is not JSON")?)),
        status => bail!("{url} answered {status}: {}", answer.text().await.unwrap_or_default()),
    }
}

/// Text as it is, anything else as JSON; a dash for nothing.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn line(out: &mut String, name: &str, value: &Value) {
    if !value.is_null() {
        writeln!(out, "{name:<14} {}", shown(value)).ok();
    }
}

/// A node's explanation.
fn story(answer: &Value) -> String {
    let mut out = String::new();
    line(&mut out, "message", &answer["item_hash"]);
    line(&mut out, "status", &answer["status"]);
    for (name, key) in [
        ("type", "type"),
        ("chain", "chain"),
        ("sender", "sender"),
        ("owner", "owner"),
        ("channel", "channel"),
    ] {
        line(&mut out, name, &answer["message"][key]);
    }
    writeln!(out).ok();
    for words in list(&answer["words"]) {
        writeln!(out, "{}", shown(words)).ok();
    }
    out
}

fn message(answer: &Value) -> String {
    let mut out = String::new();
    line(&mut out, "message", &answer["item_hash"]);
    line(&mut out, "status", &answer["status"]);
    line(&mut out, "received", &answer["reception_time"]);
    match answer["status"].as_str() {
        Some("rejected") => {
            line(&mut out, "error code", &answer["error_code"]);
            let code = answer["error_code"].as_i64().and_then(|code| i16::try_from(code).ok());
            if let Some(code) = code.and_then(aleph_types::ErrorCode::from_i16) {
                writeln!(out, "{:<14} {}", "which means", code.explanation()).ok();
            }
            line(&mut out, "details", &answer["details"]);
        }
        Some("forgotten") => {
            line(&mut out, "forgotten by", &answer["forgotten_by"]);
            line(&mut out, "forgotten at", &answer["forgotten_at"]);
        }
        Some("removed" | "removing") => line(&mut out, "why", &answer["reason"]),
        _ => {}
    }
    let message = match &answer["message"] {
        Value::Null => &answer["messages"][0],
        message => message,
    };
    for (name, key) in [("type", "type"), ("chain", "chain"), ("sender", "sender"), ("channel", "channel")] {
        line(&mut out, name, &message[key]);
    }
    line(&mut out, "owner", &message["content"]["address"]);
    line(&mut out, "kept", &message["item_type"]);
    out
}

fn placement(answer: &Value) -> String {
    let mut out = String::new();
    line(&mut out, "program", &answer["program"]);
    line(&mut out, "needs", &answer["needs"]);
    let responsible = &answer["responsible"];
    if !responsible.is_null() {
        writeln!(
            out,
            "{:<14} {} ({}) at {}",
            "answers for it",
            shown(&responsible["name"]),
            shown(&responsible["hash"]),
            shown(&responsible["url"])
        )
        .ok();
        let runners: Vec<String> = list(&answer["ranking"])
            .iter()
            .map(|node| format!("{} {}", shown(&node["name"]), shown(&node["weight"])))
            .collect();
        writeln!(out, "{:<14} the highest weight of: {}", "because", runners.join(", ")).ok();
    }
    let allocation = &answer["allocation"];
    if !allocation.is_null() {
        let url = if allocation["crn_url"].is_null() { &allocation["url"] } else { &allocation["crn_url"] };
        writeln!(out, "{:<14} {} at {}", "runs on", shown(&allocation["crn_hash"]), shown(url)).ok();
        line(&mut out, "since", &allocation["allocated_at"]);
    }
    line(&mut out, "state", &answer["note"]);
    let candidates = list(&answer["candidates"]);
    if !candidates.is_empty() {
        writeln!(out, "compute nodes").ok();
    }
    for node in candidates {
        let mark = if node["eligible"] == Value::Bool(true) { "✓" } else { "✗" };
        writeln!(
            out,
            "  {mark} {:<10} {:<28} {}",
            shown(&node["name"]),
            shown(&node["url"]),
            shown(&node["reason"])
        )
        .ok();
    }
    out
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_explained() {
        let text = message(
            &json!({"item_hash": "aa", "status": "rejected", "error_code": 0, "details": {"errors": ["x"]}}),
        );
        assert!(
            text.contains("rejected") && text.contains("which means") && text.contains("errors"),
            "{text}"
        );
    }

    #[test]
    fn a_story_is_told_in_words() {
        let text = story(&json!({
            "item_hash": "aa", "status": "processed", "message": {"type": "POST", "owner": "0xA"},
            "words": ["This node met the message.", "Readers see this text."],
        }));
        assert!(text.ends_with("This node met the message.\nReaders see this text.\n"), "{text}");
        assert!(text.contains("owner          0xA"), "{text}");
    }

    #[test]
    fn a_placement_names_the_loser_and_why() {
        let text = placement(&json!({
            "program": "p", "responsible": {"name": "ccn1", "hash": "aa", "url": "http://a"},
            "ranking": [{"name": "ccn1", "weight": "ff"}, {"name": "ccn0", "weight": "0a"}],
            "allocation": null, "note": "no compute node can run it; the candidates say why",
            "candidates": [{"name": "crn1", "url": "http://c", "eligible": false, "reason": "needs 4096 MiB, has 512"}],
        }));
        assert!(text.contains("ccn1 ff, ccn0 0a"), "{text}");
        assert!(text.contains("✗ crn1") && text.contains("needs 4096 MiB"), "{text}");
    }
}

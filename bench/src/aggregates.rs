//! `bench aggregates`: what one more element costs, and one less, by how many there are.

use std::sync::Arc;

use aleph_crypto::SigningKey;
use aleph_types::{Chain, ItemHash, Message, MessageType};
use anyhow::Result;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::report::Report;
use crate::{corpus, ingest, machine, serve};

/// Elements that are measured as one bulk.
const ADDED: usize = 4_000;

/// FORGETs of one element each, one after the other.
const FORGOTTEN: usize = 10;

/// Which fields the elements set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fields {
    /// Each one of its own.
    Distinct,
    /// All the same three.
    Same,
}

pub(crate) async fn run(sizes: Vec<usize>, as_json: bool) -> Result<()> {
    let mut report = Report::new("aggregates", as_json);
    let key = SigningKey::for_chain(Chain::Eth, [9; 32])?;
    for fields in [Fields::Distinct, Fields::Same] {
        for size in &sizes {
            one_key(&mut report, &key, fields, *size).await?;
        }
    }
    report.finish();
    Ok(())
}

async fn one_key(report: &mut Report, key: &SigningKey, fields: Fields, size: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let stop = CancellationToken::new();
    let running = aleph_ccn::start(serve::config(folder.path().to_owned(), false), stop.clone()).await?;
    let node = Arc::clone(&running.node);
    let serving = tokio::spawn(running.serve());

    let elements = |from: usize, count: usize| {
        (from..from + count).map(|number| element(key, fields, number)).collect::<Result<Vec<_>>>()
    };
    let before = elements(0, size)?;
    let oldest: Vec<ItemHash> =
        before.iter().take(FORGOTTEN).map(|message| message.item_hash.clone()).collect();
    ingest::submit_trusted(&node, before).await?;
    let added = elements(size, ADDED)?;
    let newest: Vec<ItemHash> =
        added.iter().rev().take(FORGOTTEN).map(|message| message.item_hash.clone()).collect();
    let started = machine::own_cpu_seconds();
    ingest::submit_trusted(&node, added).await?;
    let add = (machine::own_cpu_seconds() - started) / ADDED as f64 * 1e6;

    let mut costs = Vec::new();
    for (round, targets) in [oldest, newest].into_iter().enumerate() {
        let started = machine::own_cpu_seconds();
        for (index, target) in targets.iter().enumerate() {
            let forget = forget(key, target, round * FORGOTTEN + index)?;
            ingest::submit_trusted(&node, vec![forget]).await?;
        }
        costs.push((machine::own_cpu_seconds() - started) / FORGOTTEN as f64 * 1e6);
    }
    drop(node);
    stop.cancel();
    serving.await??;
    let name = match fields {
        Fields::Distinct => "distinct fields",
        Fields::Same => "same fields",
    };
    report.line(
        size,
        format_args!(
            "{name}: one more {add:.0} µs of cpu; forget an old one {:.0} µs, a new one {:.0} µs",
            costs[0], costs[1]
        ),
    );
    report.data(json!({
        "elements": size,
        "fields": name,
        "micros_per_new_element": add,
        "micros_per_forgotten_old": costs[0],
        "micros_per_forgotten_new": costs[1],
    }));
    Ok(())
}

fn element(key: &SigningKey, fields: Fields, number: usize) -> Result<Message> {
    let value = json!({ "number": number, "text": "an element of the benchmark" });
    let content: Value = match fields {
        Fields::Distinct => json!({ format!("field-{number}"): value }),
        Fields::Same => json!({ "one": value, "two": value, "three": value }),
    };
    let time = 1_700_000_000.0 + number as f64;
    let text = json!({ "address": key.address(), "time": time, "key": "shared", "content": content });
    corpus::envelope(key, MessageType::Aggregate, text.to_string(), time, None, false)
}

fn forget(key: &SigningKey, target: &ItemHash, number: usize) -> Result<Message> {
    let time = 1_800_000_000.0 + number as f64;
    let text = json!({ "address": key.address(), "time": time, "hashes": [target] });
    corpus::envelope(key, MessageType::Forget, text.to_string(), time, None, false)
}

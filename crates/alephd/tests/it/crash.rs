//! An acknowledged message is never lost: core nodes are killed with -9 while clients publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aleph_sdk::{Account, Client, MessageBuilder, RetryPolicy};
use aleph_types::{ItemHash, MessageStatus};
use serde_json::json;

use crate::harness::{Devnet, PATIENCE, eventually, is_alive, signal};

/// Core nodes killed, one after the other.
const ROUNDS: u64 = 20;

/// Publishes to one node until it is told to stop; gives the hashes of what was acknowledged.
async fn publish_until(
    stop: Arc<AtomicBool>,
    client: Client,
    account: Account,
    publisher: usize,
) -> Vec<ItemHash> {
    let mut acknowledged = Vec::new();
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let note = MessageBuilder::post("crash", json!({"publisher": publisher, "number": number}));
        match client.publish(&account, note, true).await {
            Ok(outcome) if outcome.status == MessageStatus::Processed => acknowledged.push(outcome.item_hash),
            // a node that is being killed answers nothing, and what it did not answer may be lost
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_at_random_instants() {
    let state = tempfile::tempdir().expect("a folder");
    let devnet = Devnet::start(state.path()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..3)
        .map(|node| {
            let client = Client::with_retry(devnet.url(node), RetryPolicy::NEVER).expect("a client");
            tokio::spawn(publish_until(Arc::clone(&stop), client, devnet.account(), node))
        })
        .collect();

    // any instants will do; these are the same in every run
    let mut seed = 0x5DEE_CE66u64;
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round | 1);
        tokio::time::sleep(Duration::from_millis(50 + (seed >> 33) % 400)).await;
        let node = (seed >> 20) as usize % 3;
        let pid = devnet.pids()[node].expect("the node runs");
        signal("KILL", pid).await;
        eventually("the killed node is gone", async || !is_alive(pid)).await;
        let client = devnet.client(node);
        eventually("it is started again and answers", async || {
            devnet.pids()[node].is_some_and(|now| now != pid) && client.node_info().await.is_ok()
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.extend(publisher.await.expect("the publisher ends"));
    }
    println!("{} messages acknowledged in {ROUNDS} rounds", acknowledged.len());
    assert!(acknowledged.len() > ROUNDS as usize, "the publishers got nearly nothing through");
    for node in 0..3 {
        let client = devnet.client(node);
        for hash in &acknowledged {
            client.wait_processed(hash, PATIENCE).await.unwrap_or_else(|error| {
                panic!("core node {node} lost {hash}, which was acknowledged: {error}");
            });
        }
    }
    devnet.stop().await;
}

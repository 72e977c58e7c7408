//! Any order of arrival leads to the same state (`docs/adr/0003-order-independence.md`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aleph_ccn::{Config, Origin, Outcome};
use aleph_crypto::EvmKey;
use aleph_ledger::default_prices;
use aleph_types::{Address, Chain, ItemHash, ItemType, Message, MessageType, ParsedMessage, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config as RunnerConfig, TestRunner};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Messages that come first in any order: prices, and funds of everybody.
const FIRST: usize = 2;

/// Histories, each in three orders of arrival.
const HISTORIES: u32 = 24;

/// One step of a generated history; numbers choose among what exists.
#[derive(Debug, Clone)]
enum Step {
    Post,
    Amend { of: usize },
    Aggregate { key: u8, fields: u8 },
    Store { file: u8 },
    Update { of: usize, file: u8 },
    Named { name: u8, file: u8 },
    Forget { of: usize },
    Balances { chain: u8, height: u8, amount: u8 },
    Grant { to: u8, amount: u8, expires: bool },
    Spend { from: u8, amount: u8 },
    Send { to: u8, amount: u8 },
    Price { holding: u8 },
}

fn step() -> impl Strategy<Value = (Step, u8, u8)> {
    let kind = prop_oneof![
        3 => Just(Step::Post),
        3 => (0usize..64).prop_map(|of| Step::Amend { of }),
        4 => (0u8..3, 1u8..8).prop_map(|(key, fields)| Step::Aggregate { key, fields }),
        2 => (0u8..4).prop_map(|file| Step::Store { file }),
        2 => (0usize..64, 0u8..4).prop_map(|(of, file)| Step::Update { of, file }),
        2 => (0u8..2, 0u8..4).prop_map(|(name, file)| Step::Named { name, file }),
        2 => (0usize..64).prop_map(|of| Step::Forget { of }),
        1 => (0u8..2, 0u8..3, 0u8..9).prop_map(|(chain, height, amount)| {
            Step::Balances { chain, height, amount }
        }),
        1 => (0u8..3, 1u8..50, any::<bool>()).prop_map(|(to, amount, expires)| {
            Step::Grant { to, amount, expires }
        }),
        1 => (0u8..3, 1u8..90).prop_map(|(from, amount)| Step::Spend { from, amount }),
        1 => (0u8..3, 1u8..60).prop_map(|(to, amount)| Step::Send { to, amount }),
        1 => (0u8..4).prop_map(|holding| Step::Price { holding }),
    ];
    // Who writes, and how far the clock moves: often not at all.
    (kind, 0u8..3, 0u8..3)
}

struct Writer {
    keys: Vec<EvmKey>,
    messages: Vec<(Value, usize)>,
    posts: Vec<(usize, ItemHash)>,
    stores: Vec<(usize, ItemHash)>,
    /// What may be forgotten without touching what others build on.
    forgettable: Vec<(usize, ItemHash)>,
    time: f64,
}

impl Writer {
    fn publish(&mut self, author: usize, message_type: MessageType, mut content: Value) -> ItemHash {
        let sender = Address::from(self.keys[author].address().to_string());
        content["address"] = sender.as_str().into();
        content["time"] = self.time.into();
        // Equal contents at equal times would be one message.
        if message_type == MessageType::Post {
            content["content"]["number"] = self.messages.len().into();
        }
        let mut text = content.to_string();
        while self.messages.iter().any(|(message, _)| message["item_content"] == text.as_str()) {
            self.time += 0.5;
            content["time"] = self.time.into();
            text = content.to_string();
        }
        let is_credit = content["type"].as_str().is_some_and(|kind| kind.starts_with("aleph_credit"));
        let mut message = Message {
            item_hash: ItemHash::sha256(text.as_bytes()),
            message_type,
            chain: Chain::Eth,
            sender,
            signature: None,
            item_type: ItemType::Inline,
            item_content: Some(text.into()),
            time: Timestamp::from_secs_f64(self.time).unwrap(),
            channel: is_credit.then(|| "ALEPH_CREDIT".into()),
        };
        message.signature = Some(self.keys[author].sign_message(&message));
        let hash = message.item_hash.clone();
        self.messages.push((serde_json::to_value(message.to_wire()).unwrap(), author));
        hash
    }

    fn address(&self, author: u8) -> String {
        self.keys[usize::from(author)].address().to_string()
    }

    /// By whom everything about money is published.
    fn money(&mut self, kind: &str, body: Value) {
        self.publish(0, MessageType::Post, json!({ "type": kind, "content": body }));
    }

    fn grant(&mut self, to: &[u8], amount: u64, expiration: Option<u64>) {
        let entry = |to: &u8| {
            json!({ "address": self.address(*to), "amount": amount, "price": "1", "tx_hash": "t",
                "provider": "p", "expiration": expiration })
        };
        let credits: Vec<Value> = to.iter().map(entry).collect();
        let body = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": credits } });
        self.money("aleph_credit_distribution", body);
    }

    fn step(&mut self, step: &Step, author: usize, pause: u8) {
        self.time += f64::from(pause);
        let pick =
            |list: &[(usize, ItemHash)], of: usize| (!list.is_empty()).then(|| list[of % list.len()].clone());
        let file = |number: u8| ItemHash::sha256(&file_bytes(number));
        match step {
            Step::Post => {
                let hash = self.publish(author, MessageType::Post, json!({ "type": "note", "content": {} }));
                self.posts.push((author, hash));
            }
            Step::Amend { of } => {
                if let Some((owner, original)) = pick(&self.posts, *of) {
                    let content = json!({ "type": "amend", "ref": original, "content": {} });
                    let hash = self.publish(owner, MessageType::Post, content);
                    self.forgettable.push((owner, hash));
                }
            }
            Step::Aggregate { key, fields } => {
                let set: serde_json::Map<String, Value> = (0..3)
                    .filter(|bit| fields & (1 << bit) != 0)
                    .map(|bit| (format!("f{bit}"), self.messages.len().into()))
                    .collect();
                let content = json!({ "key": format!("k{key}"), "content": set });
                let hash = self.publish(author, MessageType::Aggregate, content);
                self.forgettable.push((author, hash));
            }
            Step::Store { file: number } => {
                let content = json!({
                    "item_type": "storage", "item_hash": file(*number), "metadata": { "n": self.messages.len() },
                });
                let hash = self.publish(author, MessageType::Store, content);
                self.stores.push((author, hash));
            }
            Step::Update { of, file: number } => {
                if let Some((owner, first)) = pick(&self.stores, *of) {
                    let content = json!({
                        "item_type": "storage", "item_hash": file(*number), "ref": first,
                        "metadata": { "n": self.messages.len() },
                    });
                    let hash = self.publish(owner, MessageType::Store, content);
                    self.forgettable.push((owner, hash));
                }
            }
            Step::Named { name, file: number } => {
                let content = json!({
                    "item_type": "storage", "item_hash": file(*number), "ref": format!("name{name}"),
                    "metadata": { "n": self.messages.len() },
                });
                let hash = self.publish(author, MessageType::Store, content);
                self.forgettable.push((author, hash));
            }
            Step::Forget { of } => {
                if !self.forgettable.is_empty() {
                    let index = of % self.forgettable.len();
                    let (owner, target) = self.forgettable.swap_remove(index);
                    self.publish(owner, MessageType::Forget, json!({ "hashes": [target] }));
                }
            }
            Step::Balances { chain, height, amount } => {
                let balances: serde_json::Map<String, Value> =
                    (0..3).map(|to| (self.address(to), json!(amount + to))).collect();
                let chain = ["ETH", "SOL"][usize::from(*chain)];
                self.money(
                    "balances-update",
                    json!({ "chain": chain, "main_height": height, "balances": balances }),
                );
            }
            Step::Grant { to, amount, expires } => {
                let end = expires.then_some((self.time as u64 + 2) * 1000);
                self.grant(&[*to], u64::from(*amount), end);
            }
            Step::Spend { from, amount } => {
                let entry = json!({ "address": self.address(*from), "amount": amount });
                self.money("aleph_credit_expense", json!({ "expense": { "credits": [entry] } }));
            }
            Step::Send { to, amount } => {
                if usize::from(*to) != author {
                    let entry = json!({ "address": self.address(*to), "amount": amount });
                    let body = json!({ "transfer": { "credits": [entry] } });
                    let content = json!({ "type": "aleph_credit_transfer", "content": body });
                    self.publish(author, MessageType::Post, content);
                }
            }
            Step::Price { holding } => {
                let price = match holding {
                    0 => json!("malformed"),
                    _ => json!({ "price": { "storage": { "holding": holding, "credit": "1" } } }),
                };
                let content = json!({ "key": "pricing", "content": { "storage": price } });
                let hash = self.publish(0, MessageType::Aggregate, content);
                self.forgettable.push((0, hash));
            }
        }
    }
}

fn file_bytes(number: u8) -> Vec<u8> {
    vec![number; 100 + usize::from(number)]
}

fn history(steps: &[(Step, u8, u8)]) -> Vec<Value> {
    let mut writer = Writer {
        keys: (1..=3u8).map(|byte| EvmKey::from_bytes([byte; 32]).unwrap()).collect(),
        messages: Vec::new(),
        posts: Vec::new(),
        stores: Vec::new(),
        forgettable: Vec::new(),
        time: 1_700_000_000.0,
    };
    // These come first: every transfer is funded in any order.
    let prices = default_prices();
    writer.publish(0, MessageType::Aggregate, json!({ "key": "pricing", "content": prices }));
    writer.grant(&[0, 1, 2], 1_000_000, None);
    writer.time += 1.0;
    for (step, author, pause) in steps {
        writer.step(step, usize::from(*author), *pause);
    }
    writer.messages.into_iter().map(|(message, _)| message).collect()
}

/// Feeds `messages` to a new node in this order and returns its state; restarts it half-way if told to.
async fn state_after(messages: &[&Value], restart: bool) -> BTreeMap<&'static str, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let parts: Vec<&[&Value]> = if restart {
        let (first, second) = messages.split_at(messages.len() / 2);
        vec![first, second]
    } else {
        vec![messages]
    };
    let mut digest = String::new();
    for (index, part) in parts.iter().enumerate() {
        let mut config = Config::default();
        let publisher = EvmKey::from_bytes([1; 32]).unwrap().address().to_string();
        config.network.balance_publishers = vec![publisher.clone()];
        config.network.credit_publishers = vec![publisher.clone()];
        config.network.price_publisher = publisher;
        config.storage.data_dir = folder.path().join("node");
        config.http.listen = ([127, 0, 0, 1], 0).into();
        config.p2p.enabled = false;
        config.pipeline.verify_threads = 1;
        let stop = CancellationToken::new();
        let running = aleph_ccn::start(config, stop.clone()).await.unwrap();
        let node = std::sync::Arc::clone(&running.node);
        let serving = tokio::spawn(running.serve());
        for number in 0..4 {
            node.blobs.put_bytes(file_bytes(number)).await.unwrap();
        }
        for message in *part {
            let parsed = ParsedMessage::from_value(message).unwrap();
            let outcome = node.pipeline.submit(parsed, Origin::CatchUp).await.unwrap();
            assert!(matches!(outcome, Outcome::Processed | Outcome::Pending), "{outcome:?}: {message}");
        }
        let last = index + 1 == parts.len();
        for _ in 0..500 {
            if !last || node.metrics.pending.get() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if last {
            assert_eq!(node.metrics.pending.get(), 0, "messages still wait after everything arrived");
            let both = node.store.recompute_digest().await.unwrap();
            assert_eq!(both.kept, both.recomputed);
            digest = both.kept.digest;
        }
        stop.cancel();
        drop(node);
        serving.await.unwrap().unwrap();
    }
    let mut state = dump(&folder.path().join("node/node.sqlite3"));
    state.insert("digest", vec![digest]);
    state
}

/// The logical state, without what belongs to this node alone.
fn dump(database: &Path) -> BTreeMap<&'static str, Vec<String>> {
    let connection = rusqlite::Connection::open(database).unwrap();
    let mut state = BTreeMap::new();
    for (name, sql) in [
        (
            "statuses",
            "SELECT item_hash || ' ' || status FROM statuses UNION \
             SELECT item_hash || ' processed' FROM messages \
             WHERE item_hash NOT IN (SELECT item_hash FROM statuses)",
        ),
        ("posts", "SELECT original || ' ' || owner || ' ' || latest || ' ' || last_updated FROM posts"),
        ("amends", "SELECT original || ' ' || time || ' ' || amend FROM amends"),
        (
            "aggregates",
            "SELECT owner || ' ' || key || ' ' || created || ' ' || first_hash || ' ' || updated || ' ' || \
             last_hash || ' ' || elements FROM aggregates",
        ),
        (
            "fields",
            "SELECT owner || ' ' || key || ' ' || field || ' ' || value || ' ' || hash FROM aggregate_fields",
        ),
        ("tags", "SELECT tag || ' ' || file || ' ' || message FROM file_tags"),
        ("pins", "SELECT file || ' ' || kind || ' ' || pinned_by FROM file_pins WHERE kind = 'message'"),
        ("messages", "SELECT item_hash || ' ' || owner || ' ' || time FROM messages"),
        ("skeletons", "SELECT item_hash || ' ' || gone_at || ' ' || forgotten_by FROM skeletons"),
        ("tags of messages", "SELECT tag FROM message_tags"),
        ("balances", "SELECT address || ' ' || chain || ' ' || amount || ' ' || height FROM balances"),
        (
            "lots",
            "SELECT owner || ' ' || credit_ref || ' ' || credit_index || ' ' || remaining FROM credit_lots",
        ),
        (
            "credits",
            "SELECT credit_ref || ' ' || credit_index || ' ' || address || ' ' || amount FROM credit_history",
        ),
    ] {
        let mut rows: Vec<String> = connection
            .prepare(sql)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        rows.sort();
        state.insert(name, rows);
    }
    state
}

#[test]
fn any_order_of_arrival_and_a_restart_lead_to_the_same_state() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let steps = prop::collection::vec(step(), 5..40);
    let cases = steps.prop_flat_map(|steps| {
        let messages = history(&steps);
        let order: Vec<usize> = (FIRST..messages.len()).collect();
        (Just(messages), Just(order.clone()).prop_shuffle(), Just(order).prop_shuffle())
    });
    let config = RunnerConfig {
        cases: HISTORIES,
        max_shrink_iters: 40,
        failure_persistence: None,
        ..RunnerConfig::default()
    };
    TestRunner::new(config)
        .run(&cases, |(messages, one, other)| {
            let in_order: Vec<&Value> = messages.iter().collect();
            let chosen = |order: &[usize]| -> Vec<&Value> {
                (0..FIRST).chain(order.iter().copied()).map(|index| &messages[index]).collect()
            };
            let (shuffled, restarted) = (chosen(&one), chosen(&other));
            let expected = runtime.block_on(state_after(&in_order, false));
            prop_assert_eq!(&runtime.block_on(state_after(&shuffled, false)), &expected);
            prop_assert_eq!(&runtime.block_on(state_after(&restarted, true)), &expected);
            Ok(())
        })
        .unwrap();
    println!("{HISTORIES} histories in 3 orders each");
}

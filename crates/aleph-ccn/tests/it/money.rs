//! Money through a whole node: funds come by posts, prices are shown and explained, and what is no longer
//! paid for goes after its deadline, or comes back before it (`spec: payments.md §§8–12`).

use std::time::SystemTime;

use aleph_types::{Chain, ChainTx, ItemHash, MessageType, Timestamp};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

/// After the free years, before everything is on credit.
const TIME: f64 = 1_760_000_000.0;
const HOUR: i64 = 3600 * 1_000_000;

/// Now, moved.
fn later(hours: i64) -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap()).plus_micros(hours * HOUR)
}

async fn charging(publisher: &Author) -> TestNode {
    let address = publisher.address.clone();
    TestNode::start_with(move |config| {
        config.network.charge = true;
        config.network.balance_publishers = vec![address.clone()];
        config.network.credit_publishers = vec![address];
    })
    .await
}

fn holds(publisher: &Author, owner: &Author, height: u32, amount: &str) -> Value {
    let update = json!({ "chain": "ETH", "main_height": height, "balances": { &owner.address: amount } });
    let time = TIME + f64::from(height);
    publisher.sign(MessageType::Post, time, "c", json!({ "type": "balances-update", "content": update }))
}

async fn confirm(node: &TestNode, message: &Value) {
    let message = ItemHash::parse(hash(message)).unwrap();
    let tx = ChainTx {
        chain: Chain::Eth,
        hash: "0xaa".into(),
        height: 23_000_000,
        time: Timestamp::from_secs(1),
        publisher: "0xP".into(),
    };
    node.node.pipeline.write(move |transaction| transaction.confirm(&message, &tx)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_paid_for_priced_removed_and_brought_back() {
    let (publisher, owner) = (Author::new(1), Author::new(2));
    let node = charging(&publisher).await;
    let file = node.node.blobs.put_bytes(vec![7; 30 << 20]).await.unwrap().hash.as_str().to_owned();
    let store = owner.store(TIME, &file, json!({}));
    assert_eq!(node.publish(&store, true).await.status().as_u16(), 422);
    let refused = node.ok(&format!("/api/v0/messages/{}", hash(&store))).await;
    assert_eq!((&refused["status"], &refused["error_code"]), (&json!("rejected"), &json!(5)));
    node.process(&[&holds(&publisher, &owner, 1, "12.5"), &store]).await;

    let name = hash(&store).to_owned();
    let price = node.ok(&format!("/api/v0/price/{name}?include_size=true")).await;
    assert_eq!(price["cost"], "9.999999990000000000");
    assert_eq!(price["required_tokens"], 9.99999999);
    assert_eq!(price["payment_type"], "hold");
    assert_eq!(price["detail"][0]["type"], "STORAGE");
    assert_eq!(price["detail"][0]["size_mib"], 30.0);
    let told = node.ok(&format!("/api/v1/price/{name}/explain")).await;
    assert_eq!((&told["total"], &told["unit"]), (&price["cost"], &json!("tokens")));
    assert_eq!(told["lines"][0]["origin"]["kind"], "default");
    assert_eq!(told["lines"][0]["hold"]["price"], "0.333333333");
    let balance = node.ok(&format!("/api/v0/addresses/{}/balance", owner.address)).await;
    assert_eq!((&balance["balance"], &balance["locked_amount"]), (&json!(12.5), &json!(9.99999999)));

    // Unconfirmed messages are never removed.
    node.process(&[&holds(&publisher, &owner, 2, "1")]).await;
    assert_eq!(node.node.removals.round(later(0)).await.unwrap().begun, 0);
    confirm(&node, &store).await;
    // Nothing changed since the job ran.
    assert_eq!(node.node.removals.round(later(0)).await.unwrap().accounts, 0, "once an hour");
    node.process(&[&holds(&publisher, &owner, 3, "2")]).await;
    let report = node.node.removals.round(later(2)).await.unwrap();
    assert_eq!((report.begun, report.removed), (1, 0), "{report:?}");
    let status = async || node.ok(&format!("/api/v0/messages/{name}")).await["status"].clone();
    assert_eq!(status().await, "removing");
    assert_eq!(node.ok(&format!("/api/v0/price/{name}")).await["cost"], "9.999999990000000000");

    // Funds come back before the deadline.
    node.process(&[&holds(&publisher, &owner, 4, "20")]).await;
    assert_eq!(node.node.removals.round(later(4)).await.unwrap().recovered, 1);
    assert_eq!(status().await, "processed");

    // They go, and the node is stopped before the deadline: it is kept.
    node.process(&[&holds(&publisher, &owner, 5, "0")]).await;
    assert_eq!(node.node.removals.round(later(6)).await.unwrap().begun, 1);
    let address = publisher.address.clone();
    let folder = node.stop_and_keep().await;
    let node = TestNode::start_in(folder, move |config| {
        config.network.charge = true;
        config.network.balance_publishers = vec![address];
    })
    .await;
    let early = node.node.removals.round(later(6 + 24)).await.unwrap();
    assert_eq!(early.removed, 0);
    assert_eq!(node.node.removals.round(later(6 + 26)).await.unwrap().removed, 1);
    let gone = node.ok(&format!("/api/v0/messages/{name}")).await;
    assert_eq!(gone["status"], "removed");
    let balance = node.ok(&format!("/api/v0/addresses/{}/balance", owner.address)).await;
    assert_eq!(balance["locked_amount"], 0.0);
    // A file that is gone is priced by what is left of it.
    assert_eq!(node.ok(&format!("/api/v0/price/{name}")).await["cost"], "9.999999990000000000");
    let digest = node.node.store.recompute_digest().await.unwrap();
    assert_eq!(digest.kept, digest.recomputed);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_estimated() {
    let node = charging(&Author::new(1)).await;
    let mut content = json!({
        "address": "0xA", "environment": {}, "resources": { "vcpus": 1, "memory": 2048 },
        "payment": { "type": "credit", "chain": "ETH" },
        "rootfs": { "parent": { "ref": "a".repeat(64) }, "persistence": "host", "size_mib": 20480 },
    });
    let ask = async |content: &Value| {
        let response = node.post("/api/v0/price/estimate/instance").json(content).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default())
    };
    let (status, price) = ask(&content).await;
    assert_eq!((status, &price["cost"]), (200, &json!("3.958333333333333333")), "{price}");
    content["payment"] = json!({ "type": "hold", "chain": "ETH" });
    assert_eq!(ask(&content).await.1["cost"], "1000.000000000000000000");
    content["environment"] = json!({ "hypervisor": "qemu" });
    content["requirements"] = json!({ "node": { "node_hash": "b".repeat(64) }, "gpu": [{ "vendor": "NVIDIA", "device_name": "none",
        "device_class": "0300", "device_id": "10de:0000" }] });
    let response = node.post("/api/v0/price/estimate/instance").json(&content).send().await.unwrap();
    let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
    assert_eq!(status, 404, "no card of the network: {text}");
    assert!(text.contains("10de:0000"), "{text}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_are_listed_by_account() {
    let (publisher, owner) = (Author::new(1), Author::new(2));
    let node = charging(&publisher).await;
    let time = 1_780_000_000.0;
    let post = |author: &Author, time: f64, kind: &str, body: Value| {
        author.sign(MessageType::Post, time, "ALEPH_CREDIT", json!({ "type": kind, "content": body }))
    };
    let machine = "b".repeat(64);
    let grant = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": [
        { "address": owner.address, "amount": 100, "price": "0.5", "tx_hash": "0x1", "provider": "P" },
        { "address": owner.address, "amount": 50, "price": "0.5", "tx_hash": "0x2", "provider": "P",
          "expiration": 4_000_000_000_000_u64 } ] } });
    let spend = json!({ "expense": { "credits": [
        { "address": owner.address, "amount": 30, "execution_id": machine, "price": "0.01" } ] } });
    node.process(&[
        &post(&publisher, time, "aleph_credit_distribution", grant),
        &post(&publisher, time + 1.0, "aleph_credit_expense", spend),
    ])
    .await;
    let path = format!("/api/v0/addresses/{}", owner.address);
    let balance = node.ok(&format!("{path}/balance?include_credit_details=true")).await;
    assert_eq!(balance["credit_balance"], 120);
    assert_eq!(
        balance["credit_balance_details"],
        json!([{ "expiration_date": null, "amount": 70 },
               { "expiration_date": "2096-10-02T07:06:40Z", "amount": 50 }])
    );
    let history = node.ok(&format!("{path}/credit_history")).await;
    let amounts = |list: &Value| -> Vec<i64> {
        list["credit_history"].as_array().unwrap().iter().map(|row| row["amount"].as_i64().unwrap()).collect()
    };
    assert_eq!(amounts(&history), [-30, 50, 100], "newest first, ties by place");
    assert_eq!(history["pagination_total"], 3);
    assert_eq!(history["credit_history"][0]["payment_method"], "credit_expense");
    let outgoing = node.ok(&format!("{path}/credit_history?direction=outgoing&resource={machine}")).await;
    assert_eq!(amounts(&outgoing), [-30]);
    let first = node.ok(&format!("{path}/credit_history?pagination=2&cursor=")).await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = node.ok(&format!("{path}/credit_history?pagination=2&cursor={cursor}")).await;
    assert_eq!((amounts(&first), amounts(&rest)), (vec![-30, 50], vec![100]));
    assert_eq!(rest["next_cursor"], Value::Null);
    let (dated, entry) = (&history["credit_history"][0]["message_timestamp"], &first["credit_history"][0]);
    assert!(dated.is_string() && entry["message_timestamp"].is_f64(), "{entry}");
    // One row at a time, in every order, also past those that have no such value.
    for column in ["message_timestamp", "expiration_date", "payment_method", "amount", "origin", "provider"] {
        for order in [-1, 1] {
            let list = format!("{path}/credit_history?pagination=1&sort_by={column}&sort_order={order}");
            let whole = node.ok(&list.replace("pagination=1", "pagination=0")).await;
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = node.ok(&format!("{list}&cursor={cursor}")).await;
                found.extend(amounts(&page));
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(found, amounts(&whole), "{column} {order}");
        }
    }
    let other = format!("{path}/credit_history?pagination=2&sort_by=amount&cursor={cursor}");
    assert_eq!(node.text(&other).await.0.as_u16(), 422, "another order");
    let nulls_last = node.ok(&format!("{path}/credit_history?sort_by=expiration_date&sort_order=1")).await;
    assert_eq!(amounts(&nulls_last)[0], 50);
    let sums = node.ok(&format!("{path}/credit_history/summary")).await;
    assert_eq!(
        (&sums["entry_count"], &sums["total_amount"], &sums["total_outgoing"]),
        (&json!(3), &json!(120), &json!(-30))
    );
    let consumed = node.ok(&format!("/api/v0/messages/{machine}/consumed_credits")).await;
    assert_eq!(consumed["consumed_credits"], 30);
    let all = node.ok("/api/v0/credit_balances?min_balance=120").await;
    assert_eq!(all["credit_balances"], json!([{ "address": owner.address, "credits": 120 }]));
    assert_eq!(node.ok("/api/v0/credit_balances?min_balance=121").await["credit_balances"], json!([]));
    assert_eq!(node.text("/api/v0/addresses/0xNobody/credit_history").await.0.as_u16(), 404);
    node.stop().await;
}

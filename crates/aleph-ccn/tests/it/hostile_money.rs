//! Bad input around money at a running node: each post is refused with what and where, or ignored with a
//! trace; whatever is accepted leaves every list and sum readable.

use aleph_types::MessageType;
use serde_json::{Value, json};

use crate::hostile::{fate, is_well};
use crate::node::{Author, TestNode, hash};

/// After the change of precision: amounts count as they are.
const TIME: f64 = 1_780_000_000.0;
const MOST: i64 = i64::MAX;

async fn charging(publisher: &Author) -> TestNode {
    let address = publisher.address.clone();
    TestNode::start_with(move |config| {
        config.network.charge = true;
        config.network.balance_publishers = vec![address.clone()];
        config.network.credit_publishers = vec![address.clone()];
        config.network.price_publisher = address;
        // What can't be priced waits, not for long.
        config.pipeline.patience_seconds = 2;
    })
    .await
}

/// Posts of one author, each of its own time.
struct Press<'a> {
    author: &'a Author,
    number: f64,
}

impl<'a> Press<'a> {
    fn new(author: &'a Author) -> Self {
        Self { author, number: 0.0 }
    }

    /// `body` is any JSON text: numbers stay as they are written.
    fn post(&mut self, kind: &str, body: &str) -> Value {
        self.number += 1.0;
        let content = json!({ "type": kind, "content": serde_json::from_str::<Value>(body).unwrap() });
        self.author.sign(MessageType::Post, TIME + self.number, "ALEPH_CREDIT", content)
    }
}

/// Every route that shows money answers.
async fn lists_answer(node: &TestNode, address: &str) {
    for path in [
        "/api/v0/balances".to_owned(),
        "/api/v0/balances?min_balance=1&pagination=0".to_owned(),
        "/api/v0/credit_balances".to_owned(),
        "/api/v0/credit_balances?min_balance=1".to_owned(),
        "/api/v0/costs?include_details=1".to_owned(),
        format!("/api/v0/costs?address={address}&include_details=2"),
        format!("/api/v0/addresses/{address}/balance?include_credit_details=true"),
        format!("/api/v0/addresses/{address}/credit_history/summary"),
        format!("/api/v0/messages/{}/consumed_credits", "b".repeat(64)),
    ] {
        node.ok(&path).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_balances_are_refused_as_a_whole() {
    let publisher = Author::new(1);
    let node = charging(&publisher).await;
    let mut press = Press::new(&publisher);
    for (body, words) in [
        (r#"{"chain":"MOON","main_height":1,"balances":{"0xA":1}}"#, "MOON"),
        (r#"{"chain":"eth","main_height":1,"balances":{"0xA":1}}"#, "eth"),
        (r#"{"chain":7,"main_height":1,"balances":{"0xA":1}}"#, "'chain'"),
        (r#"{"main_height":1,"balances":{"0xA":1}}"#, "chain"),
        (r#"{"chain":"ETH","balances":{"0xA":1}}"#, "main_height"),
        (r#"{"chain":"ETH","main_height":1.5,"balances":{"0xA":1}}"#, "main_height"),
        (r#"{"chain":"ETH","main_height":"1","balances":{"0xA":1}}"#, "main_height"),
        (r#"{"chain":"ETH","main_height":1e30,"balances":{"0xA":1}}"#, "main_height"),
        (r#"{"chain":"ETH","main_height":1}"#, "'balances'"),
        (r#"{"chain":"ETH","main_height":1,"balances":[]}"#, "'balances'"),
        (r#"{"chain":"ETH","main_height":1,"balances":{"0xA":true}}"#, "0xA"),
        (r#"{"chain":"ETH","main_height":1,"balances":{"0xA":null}}"#, "0xA"),
        (r#"{"chain":"ETH","main_height":1,"balances":{"0xA":"NaN"}}"#, "0xA"),
        (r#"{"chain":"ETH","main_height":1,"balances":{"0xA":"Infinity"}}"#, "0xA"),
        (r#"{"chain":"ETH","main_height":1,"balances":{"0xA":"1e999999"}}"#, "0xA"),
        (r#"{"chain":"ETH","main_height":1,"balances":{"0xA":"ten"}}"#, "0xA"),
        (r#"{"chain":"ETH","main_height":1,"balances":{"0xA":{}}}"#, "0xA"),
        (r#"{"chain":"ETH","main_height":1,"dapp":[],"balances":{"0xA":1}}"#, "'dapp'"),
        // One wrong amount among right ones: none of them counts.
        (r#"{"chain":"ETH","main_height":9,"balances":{"0xB":5,"0xA":"x","0xC":5}}"#, "0xA"),
    ] {
        let post = press.post("balances-update", body);
        assert_eq!(node.publish(&post, true).await.status().as_u16(), 422, "{body}");
        let (status, code, details) = fate(&node, &post).await;
        assert_eq!((status.as_str(), code), ("rejected", Some(0)), "{body}");
        assert!(details.to_string().contains(words), "{body}: {details}");
        let story = node.ok(&format!("/api/v1/messages/{}/explain", hash(&post))).await;
        assert!(story["words"].to_string().contains(words), "{story:#}");
    }
    assert_eq!(node.ok("/api/v0/balances").await["pagination_total"], 0);

    // Absurd, and still amounts: kept to the last digit, and every sum of them is shown.
    let absurd = format!("1{}", "0".repeat(30));
    let body = format!(
        r#"{{"chain":"ETH","main_height":1,"balances":{{"0xA":1e30,"0xB":"{absurd}.000000000000000001","0xC":-5,"":7}}}}"#
    );
    node.process(&[&press.post("balances-update", &body)]).await;
    let more = r#"{"chain":"AVAX","main_height":-3,"balances":{"0xA":"1e30"}}"#;
    node.process(&[&press.post("balances-update", more)]).await;
    assert_eq!(node.ok("/api/v0/addresses/0xA/balance").await["balance"], 2e30);
    let large = node.ok("/api/v0/balances?min_balance=9223372036854775807").await;
    assert_eq!(large["pagination_total"], 3, "{large}");
    lists_answer(&node, "0xA").await;
    is_well(&node, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_credits_are_refused_as_a_whole() {
    let (publisher, sender) = (Author::new(1), Author::new(2));
    let node = charging(&publisher).await;
    let mut press = Press::new(&publisher);
    let grant = |entry: &str| {
        let good = r#"{"address":"0xB","amount":5,"price":"1","tx_hash":"0x1","provider":"P"}"#;
        format!(r#"{{"distribution":{{"token":"ALEPH","chain":"ETH","credits":[{good},{entry}]}}}}"#)
    };
    let amount = |amount: &str| {
        grant(&format!(r#"{{"address":"0xA","amount":{amount},"price":"1","tx_hash":"0x1","provider":"P"}}"#))
    };
    let expires = |expiration: &str| {
        grant(&format!(
            r#"{{"address":"0xA","amount":5,"price":"1","tx_hash":"0x1","provider":"P","expiration":{expiration}}}"#
        ))
    };
    let ten_to_30 = format!("1{}", "0".repeat(30));
    let mut cases = vec![
        (amount("0"), "greater than 0"),
        (amount("-5"), "greater than 0"),
        (amount("1.5"), "integer"),
        (amount("5.0"), "integer"),
        (amount("\"5\""), "integer"),
        (amount("true"), "integer"),
        (amount("null"), "amount"),
        (amount("[]"), "integer"),
        (amount("1e30"), "amount"),
        (amount(&ten_to_30), "amount"),
        (amount("9223372036854775808"), "too large"),
        (expires("\"soon\""), "expiration"),
        (expires(&ten_to_30), "expiration"),
        (expires("-99999999999999999"), "expiration"),
        (grant(r#"{"address":" ","amount":5,"price":"1","tx_hash":"0x1","provider":"P"}"#), "address"),
        (grant(r#"{"address":7,"amount":5,"price":"1","tx_hash":"0x1","provider":"P"}"#), "address"),
        (grant(r#"{"address":"0xA","amount":5,"price":"cheap","tx_hash":"0x1","provider":"P"}"#), "price"),
        (grant(r#"{"address":"0xA","amount":5,"price":"1","provider":"P"}"#), "tx_hash"),
        (grant("7"), "distribution"),
    ];
    for (token, chain) in [("7", "\"ETH\""), ("\"ALEPH\"", "null"), ("[]", "{}")] {
        let entry = r#"{"address":"0xA","amount":5,"price":"1","tx_hash":"0x1","provider":"P"}"#;
        let body = format!(r#"{{"distribution":{{"token":{token},"chain":{chain},"credits":[{entry}]}}}}"#);
        cases.push((body, if token == "\"ALEPH\"" { "chain" } else { "token" }));
    }
    for (body, words) in &cases {
        let post = press.post("aleph_credit_distribution", body);
        assert_eq!(node.publish(&post, true).await.status().as_u16(), 422, "{body}");
        let (status, code, details) = fate(&node, &post).await;
        assert_eq!((status.as_str(), code), ("rejected", Some(0)), "{body}");
        assert!(details.to_string().contains(words), "{body}: {details}");
    }
    for (kind, body) in [
        ("aleph_credit_expense", r#"{"expense":{"credits":[]}}"#),
        ("aleph_credit_expense", r#"{"expense":{"credits":[{"address":"0xA","amount":1.5}]}}"#),
        ("aleph_credit_expense", r#"{"expense":{"credits":[{"address":"0xA","amount":5,"count":-1}]}}"#),
        ("aleph_credit_expense", r#"{"spend":{}}"#),
        ("aleph_credit_transfer", r#"{"transfer":{"credits":[{"address":"0xA","amount":-1}]}}"#),
    ] {
        let post = press.post(kind, body);
        assert_eq!(node.publish(&post, true).await.status().as_u16(), 422, "{body}");
    }
    assert_eq!(
        node.ok("/api/v0/credit_balances").await["credit_balances"],
        json!([]),
        "not even the good entry"
    );

    // Anybody may hand on what he has, and nothing else.
    let mut own = Press::new(&sender);
    let to = |address: &str, amount: &str| {
        format!(r#"{{"transfer":{{"credits":[{{"address":"{address}","amount":{amount}}}]}}}}"#)
    };
    for (body, words) in [
        (to("0xB", "1"), "Insufficient credit balance for transfer. Required: 1, Available: 0"),
        (to(&sender.address, "1"), "Self-transfer"),
        (to("0xB", &ten_to_30), "amount"),
        (to("0xB", "0.5"), "integer"),
    ] {
        let post = own.post("aleph_credit_transfer", &body);
        assert_eq!(node.publish(&post, true).await.status().as_u16(), 422, "{body}");
        let (_, code, details) = fate(&node, &post).await;
        assert_eq!(code, Some(0), "{details}");
        assert!(details.to_string().contains(words), "{body}: {details}");
    }
    lists_answer(&node, "0xA").await;
    is_well(&node, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_credits_that_are_allowed_break_no_list() {
    let publisher = Author::new(1);
    let node = charging(&publisher).await;
    let mut press = Press::new(&publisher);
    let machine = "b".repeat(64);
    let grant = |amount: i64, more: &str| {
        format!(
            r#"{{"distribution":{{"token":"MOON","chain":"nowhere","credits":[{{"address":"0xA","amount":{amount},"price":"1","tx_hash":"0x1","provider":"P"{more}}}]}}}}"#
        )
    };
    // Expired before it came: it stands in the history and can't be spent.
    node.process(&[&press.post("aleph_credit_distribution", &grant(77, r#","expiration":1000"#))]).await;
    let balance = node.ok("/api/v0/addresses/0xA/balance?include_credit_details=true").await;
    assert_eq!((&balance["credit_balance"], &balance["credit_balance_details"]), (&json!(0), &json!([])));
    let history = node.ok("/api/v0/addresses/0xA/credit_history?token=MOON&chain=nowhere").await;
    assert_eq!(history["credit_history"][0]["expiration_date"], "1970-01-01T00:00:01Z");

    // The largest amount, more than once: sums beyond 64 bits.
    for _ in 0..3 {
        node.process(&[&press.post("aleph_credit_distribution", &grant(MOST, ""))]).await;
    }
    let spend = format!(
        r#"{{"expense":{{"credits":[{{"address":"0xA","amount":{MOST},"execution_id":"{machine}"}}]}}}}"#
    );
    for _ in 0..2 {
        node.process(&[&press.post("aleph_credit_expense", &spend)]).await;
    }
    assert_eq!(node.ok("/api/v0/addresses/0xA/balance").await["credit_balance"], json!(MOST));
    let sums = node.ok("/api/v0/addresses/0xA/credit_history/summary").await;
    assert_eq!(sums["entry_count"], 6, "{sums}");
    assert_eq!((&sums["total_incoming"], &sums["total_outgoing"]), (&json!(MOST), &json!(i64::MIN)));
    let consumed = node.ok(&format!("/api/v0/messages/{machine}/consumed_credits")).await;
    assert_eq!(consumed["consumed_credits"], json!(1_u64 << 63));
    let all = node.ok(&format!("/api/v0/credit_balances?min_balance={MOST}")).await;
    assert_eq!(all["credit_balances"], json!([{ "address": "0xA", "credits": MOST }]));
    lists_answer(&node, "0xA").await;
    is_well(&node, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_prices_price_nothing_and_stop_nobody_else() {
    let (publisher, owner) = (Author::new(1), Author::new(2));
    let node = charging(&publisher).await;
    let time = 1_760_000_000.0;
    let mut press = Press::new(&publisher);
    let funds = format!(r#"{{"chain":"ETH","main_height":1,"balances":{{"{}":"1e30"}}}}"#, owner.address);
    node.process(&[&press.post("balances-update", &funds)]).await;
    let bytes = vec![7; 30 << 20];
    let file = aleph_types::ItemHash::sha256(&bytes);
    node.node.blobs.put_bytes(bytes).await.unwrap();
    let early = Author::new(3).store(1_700_000_000.0, file.as_str(), json!({}));
    node.process(&[&early]).await;
    let store = |number: f64| owner.store(time + number, file.as_str(), json!({}));
    let prices = |number: f64, holding: &str| {
        let text = format!(r#"{{"storage":{{"price":{{"storage":{{"holding":{holding}}}}}}}}}"#);
        publisher.aggregate(time + number, "pricing", serde_json::from_str(&text).unwrap())
    };
    let ten_to_30 = format!("1{}", "0".repeat(30));
    for (number, holding) in [(1.0, "1e30".to_owned()), (2.0, format!("\"{ten_to_30}\"")), (3.0, ten_to_30)] {
        node.process(&[&prices(number, &holding)]).await;
        let content = json!({ "address": "0xA", "time": time, "item_type": "storage", "item_hash": file });
        let body = json!({ "message": { "type": "STORE", "item_content": content.to_string() } });
        let answer = node.post("/api/v0/price/estimate").json(&body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{holding}");
        assert!(answer.text().await.unwrap().contains("can't be computed"), "{holding}");
        // It waits for better prices, and is refused in time: no zero is charged, nor anything else.
        let message = store(number);
        assert_ne!(node.publish(&message, false).await.status().as_u16(), 200, "{holding}");
        let story = node.ok(&format!("/api/v1/messages/{}/explain", hash(&message))).await;
        assert!(story["words"].to_string().contains("pricing"), "{story:#}");
    }
    // Negative and fractional nonsense keeps the last good price: none was good, so the default is.
    let wrong = [r#""-1""#, "-0.5", r#""1/3""#, r#""0x10""#, "[1]", r#"{"a":1}"#, "true"];
    node.process(&[&prices(4.0, r#""2""#)]).await;
    for (number, holding) in wrong.iter().enumerate() {
        node.process(&[&prices(10.0 + number as f64, holding)]).await;
    }
    let good = store(20.0);
    node.process(&[&good]).await;
    let price = node.ok(&format!("/api/v0/price/{}", hash(&good))).await;
    assert_eq!(price["cost"], "60.000000000000000000");
    lists_answer(&node, &owner.address).await;
    is_well(&node, 1).await;
    node.stop().await;
}

//! Balances and costs of everybody, and costs computed anew, through a whole node
//! (`spec: ccn-api.md §§8.3, 9.1, 9.5`).

use std::time::SystemTime;

use aleph_crypto::sign_auth_token;
use aleph_types::MessageType;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::node::{Author, TestNode, each, hash};

/// After the free years, before everything is on credit.
const TIME: f64 = 1_760_000_000.0;
/// Secret and public key of the operators in these tests.
const SECRET: [u8; 32] = [7; 32];
const KEY: &str = "02989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f";

async fn charging(publisher: &Author) -> TestNode {
    let address = publisher.address.clone();
    TestNode::start_with(move |config| {
        config.network.charge = true;
        config.network.balance_publishers = vec![address.clone()];
        config.network.credit_publishers = vec![address.clone()];
        config.network.price_publisher = address;
        config.api.operators.public_key = KEY.to_owned();
    })
    .await
}

fn update(publisher: &Author, number: u32, chain: &str, dapp: Option<&str>, balances: Value) -> Value {
    let body = json!({ "chain": chain, "dapp": dapp, "main_height": number, "balances": balances });
    let time = TIME + f64::from(number);
    publisher.sign(MessageType::Post, time, "c", json!({ "type": "balances-update", "content": body }))
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_of_all_accounts() {
    let publisher = Author::new(1);
    let node = charging(&publisher).await;
    node.process(&[
        &update(&publisher, 1, "ETH", None, json!({ "0xA": "1000.5", "0xB": 7, "0xC": 0.5 })),
        &update(&publisher, 2, "AVAX", None, json!({ "0xA": 500 })),
        &update(&publisher, 3, "ETH", Some("SABLIER"), json!({ "0xA": 3 })),
    ])
    .await;
    let all = node.ok("/api/v0/balances").await;
    assert_eq!(
        all,
        json!({
            "balances": [
                { "address": "0xA", "balance": 500.0, "chain": "AVAX" },
                { "address": "0xA", "balance": 1000.5, "chain": "ETH" },
                { "address": "0xA", "balance": 3.0, "chain": "ETH" },
                { "address": "0xB", "balance": 7.0, "chain": "ETH" },
                { "address": "0xC", "balance": 0.5, "chain": "ETH" },
            ],
            "pagination_per_page": 100, "pagination_page": 1, "pagination_total": 5,
            "pagination_item": "balances",
        })
    );
    let some = node.ok("/api/v0/balances?min_balance=7&chains=ETH,SOL").await;
    assert_eq!(each(&some["balances"], "balance"), [json!(1000.5), json!(7.0)]);
    assert_eq!(some["pagination_total"], 2);
    let second = node.ok("/api/v0/balances?pagination=2&page=2").await;
    assert_eq!(each(&second["balances"], "balance"), [json!(3.0), json!(7.0)]);
    assert_eq!(second["pagination_total"], 5);
    assert_eq!(node.ok("/api/v0/balances?pagination=0").await["balances"], all["balances"]);
    assert_eq!(node.ok("/api/v0/balances?page=9").await["balances"], json!([]));

    // By cursor, with borders inside of an account.
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = node.ok(&format!("/api/v0/balances?pagination=2&cursor={cursor}")).await;
        assert_eq!(page.get("pagination_total"), None);
        rows.extend(page["balances"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    assert_eq!(Value::from(rows), all["balances"]);
    for (query, word) in [
        ("chains=MOON", "enum"),
        ("min_balance=0", "greater_than_equal"),
        ("min_balance=-1", "greater_than_equal"),
        ("min_balance=1.5", "int_parsing"),
        ("min_balance=99999999999999999999999999999999", "less_than_equal"),
        ("pagination=-1", "greater_than_equal"),
        ("page=0", "greater_than_equal"),
    ] {
        let (status, problems) = node.json(&format!("/api/v0/balances?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(problems[0]["type"], word, "{query}: {problems}");
    }
    assert_eq!(node.text("/api/v0/balances?cursor=x").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(node.text("/api/v0/balances?pagination=0&cursor=").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // A cursor of the reference goes on after the address.
    let foreign = "eyJhIjoiMHhBIn0";
    let rest = node.ok(&format!("/api/v0/balances?cursor={foreign}")).await;
    assert_eq!(each(&rest["balances"], "address"), [json!("0xB"), json!("0xC")]);
    node.stop().await;
}

/// Two files of 30 MiB on hold, and one of 1 MiB on credit; their names.
async fn filled(node: &TestNode, publisher: &Author, owner: &Author) -> Vec<String> {
    let funds = update(publisher, 1, "ETH", None, json!({ &owner.address: "100" }));
    let grant = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": [
        { "address": owner.address, "amount": 1_000_000, "price": "1", "tx_hash": "0x1", "provider": "P" } ] } });
    let content = json!({ "type": "aleph_credit_distribution", "content": grant });
    let grant = publisher.sign(MessageType::Post, TIME, "ALEPH_CREDIT", content);
    node.process(&[&funds, &grant]).await;
    let mut names = Vec::new();
    for (number, (mib, payment)) in [(30, "hold"), (30, "hold"), (1, "credit")].into_iter().enumerate() {
        let bytes = vec![number as u8; mib << 20];
        let file = node.node.blobs.put_bytes(bytes).await.unwrap().hash.as_str().to_owned();
        let payment = json!({ "payment": { "type": payment, "chain": "ETH" } });
        let store = owner.store(TIME + 100.0 + number as f64, &file, payment);
        node.process(&[&store]).await;
        names.push(hash(&store).to_owned());
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_of_everybody_and_of_one() {
    let (publisher, owner) = (Author::new(1), Author::new(2));
    let node = charging(&publisher).await;
    let zero = "0.000000000000000000";
    assert_eq!(
        node.ok("/api/v0/costs?address=0xNobody").await,
        json!({
            "summary": { "total_consumed_credits": 0, "total_cost_hold": zero, "total_cost_stream": zero,
                         "total_cost_credit": zero, "resource_count": 0 },
            "filters": { "address": "0xNobody", "item_hash": null, "payment_type": "credit" },
            "resources": null, "pagination_page": null, "pagination_total": null,
            "pagination_per_page": null, "pagination_item": null,
        })
    );
    let names = filled(&node, &publisher, &owner).await;
    let spend = json!({ "expense": { "credits": [
        { "address": owner.address, "amount": 30, "execution_id": names[2], "price": "0.01" } ] } });
    let content = json!({ "type": "aleph_credit_expense", "content": spend });
    node.process(&[&publisher.sign(MessageType::Post, TIME + 500.0, "ALEPH_CREDIT", content)]).await;

    let credit = node.ok("/api/v0/costs").await;
    assert_eq!(credit["summary"]["total_cost_credit"], "0.001247742293793479", "billed as 25 MiB");
    assert_eq!(credit["summary"]["total_consumed_credits"], 300_000, "from before the change of precision");
    assert_eq!(credit["summary"]["resource_count"], 1);
    let address = &owner.address;
    let held = node.ok(&format!("/api/v0/costs?address={address}&payment_type=hold&include_details=1")).await;
    assert_eq!(held["summary"]["total_cost_hold"], "19.999999980000000000");
    assert_eq!(held["summary"]["total_consumed_credits"], 300_000, "of every way to pay");
    let mut expected = names[..2].to_vec();
    expected.sort();
    assert_eq!(each(&held["resources"], "item_hash"), expected);
    assert_eq!(held["resources"][0]["cost_hold"], "9.999999990000000000");
    assert_eq!(held["resources"][0]["detail"], Value::Null);
    assert_eq!((&held["pagination_page"], &held["pagination_total"]), (&json!(1), &json!(2)));
    assert_eq!((&held["pagination_per_page"], &held["pagination_item"]), (&json!(100), &json!("resources")));
    let path = format!("/api/v0/costs?item_hash={}&include_details=2", names[2]);
    let one = node.ok(&path).await;
    assert_eq!(one["resources"][0]["consumed_credits"], 300_000);
    assert_eq!(one["resources"][0]["owner"], json!(address));
    assert_eq!(one["resources"][0]["detail"][0]["type"], "STORAGE");
    assert_eq!(one["resources"][0]["detail"][0]["size_mib"], Value::Null);
    let sized = node.ok(&format!("{path}&include_size=true")).await;
    assert_eq!(sized["resources"][0]["detail"][0]["size_mib"], 1.0);
    assert_eq!(node.ok("/api/v0/costs?item_hash=nonsense").await["summary"]["resource_count"], 0);

    let (status, text) = node.text("/api/v0/costs?include_details=2").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text.starts_with("include_details=2 requires at least one of"), "{text}");
    for query in ["payment_type=gold", "include_details=3", "pagination=9", "pagination=1001", "page=0"] {
        let (status, problems) = node.json(&format!("/api/v0/costs?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(problems[0]["loc"][0], query.split('=').next().unwrap(), "{problems}");
    }
    node.stop().await;
}

async fn order(node: &TestNode, path: &str, token: Option<&str>) -> (StatusCode, String) {
    let mut request = node.post(path);
    if let Some(token) = token {
        request = request.header("X-Auth-Token", token);
    }
    let answer = request.send().await.unwrap();
    if answer.status() == StatusCode::UNAUTHORIZED {
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    }
    (answer.status(), answer.text().await.unwrap())
}

fn token(seconds: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    sign_auth_token(SECRET, i64::try_from(now).unwrap() + seconds).unwrap()
}

const ALL: &str = "/api/v0/price/recalculate";

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_recalculate() {
    let node = charging(&Author::new(1)).await;
    let invalid = "Invalid or expired authentication token";
    for path in [ALL, &format!("/api/v0/price/{}/recalculate", "a".repeat(64))] {
        assert_eq!(order(&node, path, None).await.1, "Missing X-Auth-Token header");
        assert_eq!(order(&node, path, Some("")).await.1, "Missing X-Auth-Token header");
        for wrong in ["x", &token(-301), &token(60), &"a".repeat(5_000)] {
            assert_eq!(order(&node, path, Some(wrong)).await, (StatusCode::UNAUTHORIZED, invalid.to_owned()));
        }
    }
    let (status, text) = order(&node, ALL, Some(&token(0))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({ "message": "No messages found for cost recalculation", "recalculated_count": 0, "total_messages": 0 })
    );
    for (hash, status) in [("x".to_owned(), 400), ("a".repeat(64), 404)] {
        let path = format!("/api/v0/price/{hash}/recalculate");
        assert_eq!(order(&node, &path, Some(&token(0))).await.0.as_u16(), status, "{hash}");
    }
    node.stop().await;
    // A node may have no operators.
    let node = TestNode::start_with(|config| config.api.operators.public_key = String::new()).await;
    assert_eq!(order(&node, ALL, Some(&token(0))).await.1, invalid);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn costs_follow_the_prices_of_their_time() {
    let (publisher, owner) = (Author::new(1), Author::new(2));
    let node = charging(&publisher).await;
    let names = filled(&node, &publisher, &owner).await;
    let note = owner.note(TIME, "c", json!(1));
    node.process(&[&note]).await;
    let post = format!("/api/v0/price/{}/recalculate", hash(&note));
    assert_eq!(order(&node, &post, Some(&token(0))).await.0, StatusCode::BAD_REQUEST);
    // Prices that came late, and are older than the second and third file.
    let prices = json!({ "storage": { "price": { "storage": { "holding": "1", "credit": "3.6" } } } });
    node.process(&[&publisher.aggregate(TIME + 101.0, "pricing", prices)]).await;
    let cost = async |name: &str| node.ok(&format!("/api/v0/price/{name}")).await["cost"].clone();
    let before = [cost(&names[0]).await, cost(&names[1]).await];
    assert_eq!(before[0], before[1], "new prices hold for new messages");

    let one = format!("/api/v0/price/{}/recalculate", names[1]);
    let (status, text) = order(&node, &one, Some(&token(0))).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        report,
        json!({ "message": "Cost recalculation completed with historical pricing",
                "recalculated_count": 1, "total_messages": 1, "pricing_changes_found": 2 })
    );
    assert_eq!(cost(&names[1]).await, "30.000000000000000000");
    assert_eq!(cost(&names[2]).await, "0.001247742293793479", "not asked for");

    let (status, text) = order(&node, ALL, Some(&token(0))).await;
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &report["recalculated_count"]), (StatusCode::OK, &json!(3)), "{text}");
    assert_eq!(cost(&names[0]).await, before[0], "older than the prices");
    assert_eq!(cost(&names[2]).await, "0.025000000000000000");
    let told = node.ok(&format!("/api/v1/price/{}/explain", names[2])).await;
    assert_eq!(told["lines"][0]["origin"]["kind"], "message");
    let balance = node.ok(&format!("/api/v0/addresses/{}/balance", owner.address)).await;
    assert_eq!(balance["locked_amount"], 39.99999999);

    // Prices that lack the product price nothing: the costs stay, and it is said.
    let other = json!({ "program": { "price": { "storage": { "holding": "1" } } } });
    let forgotten = publisher.aggregate(TIME + 50.0, "pricing", other);
    node.process(&[&forgotten]).await;
    let report: Value = serde_json::from_str(&order(&node, ALL, Some(&token(0))).await.1).unwrap();
    assert_eq!((&report["recalculated_count"], &report["total_messages"]), (&json!(2), &json!(3)));
    assert_eq!(report["errors"][0]["item_hash"], json!(names[0]));
    assert!(report["errors"][0]["error"].as_str().unwrap().contains("no price for storage"), "{report}");
    assert_eq!(cost(&names[0]).await, before[0]);
    let digest = node.node.store.recompute_digest().await.unwrap();
    assert_eq!(digest.kept, digest.recomputed);
    node.stop().await;
}

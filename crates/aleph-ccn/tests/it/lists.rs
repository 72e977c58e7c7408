//! Lists: messages, posts, aggregates, authorizations, accounts.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::node::{Author, TestNode, each, hash};

const TIME: f64 = 1_714_564_800.0;

/// Every page of a list by cursor, one after the other.
async fn by_cursor(node: &TestNode, path: &str, item: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = node.ok(&format!("{path}&cursor={cursor}")).await;
        assert_eq!(page.get("pagination_page"), None);
        items.extend(page[item].as_array().unwrap().iter().cloned());
        match &page["next_cursor"] {
            Value::String(next) => cursor = next.clone(),
            next => {
                assert_eq!(next, &Value::Null);
                return items;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_by_filter_page_and_cursor() {
    let node = TestNode::start().await;
    let (alice, bob) = (Author::new(1), Author::new(2));
    let mut notes: Vec<Value> = Vec::new();
    for number in 0..6u8 {
        // Two messages share each second.
        let time = TIME + f64::from(number / 2);
        let author = if number % 2 == 0 { &alice } else { &bob };
        let channel = if number < 4 { "one" } else { "two" };
        notes.push(author.note(time, channel, json!({ "n": number, "tags": [format!("t{}", number % 3)] })));
    }
    for note in &notes {
        node.process(&[note]).await;
    }
    node.process(&[&alice.aggregate(TIME + 10.0, "profile", json!({ "name": "A" }))]).await;

    let all = node.ok("/api/v0/messages.json").await;
    assert_eq!(all["pagination_total"], 7);
    assert_eq!(all["pagination_item"], "messages");
    assert_eq!((&all["pagination_page"], &all["pagination_per_page"]), (&json!(1), &json!(20)));
    let newest = &all["messages"][0];
    assert_eq!(newest["type"], "AGGREGATE");
    assert_eq!(newest["size"], newest["item_content"].as_str().unwrap().len());
    // Newest first; equal times by hash.
    let mut expected: Vec<(i64, String)> =
        notes.iter().map(|note| (-(note["time"].as_f64().unwrap() as i64), hash(note).to_owned())).collect();
    expected.sort();
    let expected: Vec<Value> = expected.into_iter().map(|(_, hash)| hash.into()).collect();
    let posts = node.ok("/api/v0/messages.json?msgType=POST").await;
    assert_eq!(each(&posts["messages"], "item_hash"), expected);

    for (query, count) in [
        (format!("addresses={}", alice.address), 4),
        (format!("owners={}&msgTypes=POST", alice.address), 3),
        (format!("addresses={},{}", alice.address, bob.address), 7),
        ("addresses=".to_owned(), 0),
        ("channels=one".to_owned(), 4),
        ("tags=t0".to_owned(), 2),
        ("tags=t0,t1".to_owned(), 4),
        ("contentTypes=note".to_owned(), 6),
        ("content_types=note&start_date=1714564801".to_owned(), 4),
        (format!("endDate={}", TIME + 1.0), 2),
        ("contentKeys=profile".to_owned(), 1),
        ("chains=ETH,SOL".to_owned(), 7),
        ("chains=SOL".to_owned(), 0),
        ("paymentTypes=hold".to_owned(), 0),
        (format!("hashes={},{}", hash(&notes[0]), hash(&notes[5])), 2),
        ("msgStatuses=processed".to_owned(), 7),
        ("message_statuses=removing".to_owned(), 0),
        ("msgStatuses=pending".to_owned(), 0),
        ("endBlock=5".to_owned(), 0),
        ("startBlock=5".to_owned(), 7),
        ("sortBy=tx-time&limit=3&content.type=x".to_owned(), 7),
        ("refs=nothing".to_owned(), 0),
        ("pagination=0".to_owned(), 7),
    ] {
        let list = node.ok(&format!("/api/v0/messages.json?{query}")).await;
        assert_eq!(list["messages"].as_array().unwrap().len(), count, "{query}");
        assert_eq!(list["pagination_total"], count, "{query}");
    }

    let second = node.ok("/api/v0/messages/page/2.json?pagination=4").await;
    assert_eq!(second["messages"].as_array().unwrap().len(), 3);
    assert_eq!((&second["pagination_page"], &second["pagination_total"]), (&json!(2), &json!(7)));
    let beyond = node.ok("/api/v0/messages.json?pagination=4&page=9").await;
    assert_eq!((beyond["messages"].as_array().unwrap().len(), &beyond["pagination_total"]), (0, &json!(7)));
    assert_eq!(node.text("/api/v0/messages/page/0.json").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(node.text("/api/v0/messages/page/x.json").await.1, "Invalid page value in path: x");

    for order in ["-1", "1"] {
        let all = node.ok(&format!("/api/v0/messages.json?sortOrder={order}")).await;
        let path = format!("/api/v0/messages.json?sortOrder={order}&pagination=2");
        let paged = by_cursor(&node, &path, "messages").await;
        assert_eq!(all["messages"], Value::from(paged));
    }
    for query in
        ["pagination=0&cursor=", "cursor=!!", "cursor=bm9wZQ", "cursor=e30", "pagination=-1", "page=0"]
    {
        let (status, _) = node.text(&format!("/api/v0/messages.json?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }

    let headers = node.ok("/api/v0/messages.json?contentFormat=headers&msgType=POST").await;
    let content = &headers["messages"][0]["content"];
    assert_eq!(content, &json!({ "address": content["address"], "type": "note" }));
    let none = node.ok("/api/v0/messages.json?excludeContent=true").await;
    assert_eq!(none["messages"][0].get("content"), None);
    assert!(none["messages"][0]["item_content"].is_string());

    let hashes = node.ok("/api/v0/messages/hashes?sortOrder=1&pagination=3").await;
    assert_eq!(hashes["pagination_total"], 7);
    assert_eq!(hashes["hashes"][0], notes[0]["item_hash"]);
    let rows = node.ok("/api/v0/messages/hashes?hash_only=false").await;
    assert_eq!(rows["hashes"][0]["status"], "processed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_everything_is_streamed_whole() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let notes: Vec<Value> =
        (0..1205).map(|number| author.note(TIME + f64::from(number / 7), "many", json!(number))).collect();
    let sends = notes.iter().map(|note| async { node.publish(note, true).await.status() });
    let mut sends = futures_util::StreamExt::buffer_unordered(futures_util::stream::iter(sends), 16);
    while let Some(status) = futures_util::StreamExt::next(&mut sends).await {
        assert_eq!(status, StatusCode::OK);
    }
    drop(sends);
    for (query, rows) in [("pagination=0", 1205), ("pagination=1100", 1100), ("pagination=1000&page=2", 205)]
    {
        let list = node.ok(&format!("/api/v0/messages.json?{query}")).await;
        let hashes = each(&list["messages"], "item_hash");
        assert_eq!(hashes.len(), rows, "{query}");
        let distinct: std::collections::HashSet<String> = hashes.iter().map(Value::to_string).collect();
        assert_eq!(distinct.len(), rows);
        assert_eq!(list["pagination_total"], 1205, "{query}");
    }
    let posts = node.ok("/api/v1/posts.json?pagination=0").await;
    assert_eq!(posts["posts"].as_array().unwrap().len(), 1205);
    let hashes = node.ok("/api/v0/messages/hashes?pagination=0").await;
    assert_eq!(hashes["hashes"].as_array().unwrap().len(), 1205);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_show_their_latest_version() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let first = author.note(TIME, "blog", json!({ "v": 1, "tags": ["old"] }));
    let amend = author.amend(TIME + 60.5, &first, json!({ "v": 2, "tags": ["new"] }));
    let other = author.note(TIME + 5.0, "blog", json!("text"));
    node.process(&[&first, &amend, &other]).await;

    let posts = node.ok("/api/v1/posts.json").await;
    assert_eq!((&posts["pagination_total"], &posts["pagination_item"]), (&json!(2), &json!("posts")));
    assert_eq!(
        posts["posts"][0],
        json!({
            "item_hash": hash(&amend), "content": { "v": 2, "tags": ["new"] },
            "original_item_hash": hash(&first), "original_type": "note", "address": author.address,
            "ref": null, "channel": "blog", "created": "2024-05-01T12:00:00+00:00",
            "last_updated": "2024-05-01T12:01:00.500000+00:00",
        })
    );
    assert_eq!(posts["posts"][1]["content"], "text");

    let old = node.ok("/api/v0/posts.json?sortOrder=1").await;
    let post = &old["posts"][1];
    let keys: Vec<&String> = post.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 19, "{keys:?}");
    assert_eq!((&post["type"], &post["original_type"]), (&json!("amend"), &json!("note")));
    assert_eq!((&post["item_hash"], &post["hash"]), (&amend["item_hash"], &first["item_hash"]));
    assert_eq!((&post["signature"], &post["original_signature"]), (&amend["signature"], &first["signature"]));
    assert_eq!((&post["time"], &post["channel"]), (&json!(TIME + 60.5), &json!("blog")));
    assert_eq!(post["content"]["v"], 2);

    for (query, count) in [
        (format!("addresses={}", author.address), 2),
        (format!("hashes={}", hash(&first)), 1),
        (format!("hashes={}", hash(&amend)), 0),
        ("types=note&channels=blog".to_owned(), 2),
        ("types=amend".to_owned(), 0),
        ("tags=new".to_owned(), 1),
        ("tags=old".to_owned(), 0),
        ("refs=x".to_owned(), 0),
        (format!("startDate={}", TIME + 30.0), 1),
        (format!("startDate={}&endDate={}", TIME + 30.0, TIME), 0),
    ] {
        let list = node.ok(&format!("/api/v0/posts/page/1.json?{query}")).await;
        assert_eq!(list["posts"].as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(by_cursor(&node, "/api/v1/posts.json?pagination=1", "posts").await.len(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_and_authorizations() {
    let node = TestNode::start().await;
    let (alice, bob) = (Author::new(1), Author::new(2));
    let first = alice.aggregate(TIME, "profile", json!({ "name": "A", "age": 1 }));
    let second = alice.aggregate(TIME + 1.5, "profile", json!({ "age": 2 }));
    let rules = json!({ "authorizations": [
        { "address": bob.address, "types": ["POST"], "channels": ["c"] },
        { "address": "0xother" },
    ] });
    let security = alice.aggregate(TIME + 3.0, "security", rules);
    node.process(&[&first, &second, &security, &bob.aggregate(TIME, "profile", json!({}))]).await;

    let path = format!("/api/v0/aggregates/{}.json", alice.address);
    let one = node.ok(&format!("{path}?keys=profile&limit=100")).await;
    let expected = json!({
        "address": alice.address, "data": { "profile": { "age": 2, "name": "A" } }, "info": {},
    });
    assert_eq!(one, expected);
    let info = node.ok(&format!("{path}?keys=profile&with_info=true")).await["info"]["profile"].clone();
    assert_eq!(
        info,
        json!({
            "created": "2024-05-01T12:00:00+00:00", "last_updated": "2024-05-01T12:00:01.500000+00:00",
            "original_item_hash": hash(&first), "last_update_item_hash": hash(&second),
        })
    );
    assert_eq!(node.ok(&format!("{path}?keys=profile&value_only=1")).await, json!({ "age": 2, "name": "A" }));
    let (status, text) = node.text(&format!("{path}?keys=nothing")).await;
    assert_eq!((status, text.as_str()), (StatusCode::NOT_FOUND, "No aggregate found for this address"));
    let response = node.get(&format!("{path}?limit=x")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    assert_eq!(response.json::<Value>().await.unwrap()[0]["loc"], json!(["limit"]));

    let list = node.ok("/api/v0/aggregates?sortBy=creation_time&sortOrder=1").await;
    assert_eq!(each(&list["aggregates"], "key"), ["profile", "profile", "security"]);
    assert_eq!(list["pagination_total"], 3);
    let of_bob = node.ok(&format!("/api/v0/aggregates.json?addresses={}&keys=profile", bob.address)).await;
    assert_eq!(of_bob["aggregates"][0]["content"], json!({}));
    assert_eq!(by_cursor(&node, "/api/v0/aggregates?pagination=1", "aggregates").await.len(), 3);
    assert_eq!(node.text("/api/v0/aggregates?pagination=501").await.0, StatusCode::UNPROCESSABLE_ENTITY);

    let granted = node.ok(&format!("/api/v0/authorizations/granted/{}.json", alice.address)).await;
    assert_eq!(granted["pagination_total"], 2);
    assert_eq!(granted["authorizations"][&bob.address], json!([{ "types": ["POST"], "channels": ["c"] }]));
    let received = format!("/api/v0/authorizations/received/{}.json", bob.address);
    assert_eq!(node.ok(&received).await["authorizations"][&alice.address][0]["types"], json!(["POST"]));
    let other = node.ok(&format!("{received}?types=STORE")).await;
    assert_eq!((&other["authorizations"], &other["pagination_total"]), (&json!({}), &json!(0)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_channels() {
    let node = TestNode::start().await;
    let (alice, bob) = (Author::new(1), Author::new(2));
    for number in 0..3 {
        node.process(&[&alice.note(TIME, &format!("c{number}"), json!(number))]).await;
    }
    node.process(&[&bob.aggregate(TIME, "k", json!({ "a": 1 }))]).await;

    let account = |what: &str| format!("/api/v0/addresses/{}/{what}", alice.address);
    assert_eq!(node.ok(&account("channels")).await["channels"], json!(["c0", "c1", "c2"]));
    assert_eq!(node.ok(&account("post_types")).await["post_types"], json!(["note"]));
    let balance = node.ok(&account("balance")).await;
    let expected = json!({
        "address": alice.address, "balance": 0.0, "details": {}, "locked_amount": 0.0, "credit_balance": 0,
        "credit_balance_details": null,
    });
    assert_eq!(balance, expected);
    assert_eq!(node.text(&account("balance?chain=XYZ")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(node.text(&account("files")).await, (StatusCode::NOT_FOUND, "404: Not Found".to_owned()));
    assert_eq!(
        node.ok("/api/v0/channels/list.json").await,
        json!({ "channels": ["c0", "c1", "c2", "keys"] })
    );
    assert_eq!(node.ok("/api/v0/programs/on/message?sort_order=1").await, json!([]));
    let (status, problems) = node.json("/api/v0/programs/on/message?x=1").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problems.as_str().unwrap().starts_with("[{"));

    let some = node.ok(&format!("/api/v0/addresses/stats.json?addresses[]={}", alice.address)).await;
    let counts = json!({
        "messages": 3, "aggregate": 0, "forget": 0, "instance": 0, "post": 3, "program": 0, "store": 0,
    });
    assert_eq!(some, json!({ "data": { &alice.address: counts } }));
    let ranked = node.ok("/api/v1/addresses/stats.json").await;
    let addresses: Vec<&String> = ranked["data"].as_object().unwrap().keys().collect();
    assert_eq!(addresses, [&alice.address, &bob.address]);
    assert_eq!(ranked["pagination_total"], 2);
    let first = node.ok("/api/v1/addresses/stats.json?pagination=1&cursor=").await;
    let rest = node
        .ok(&format!(
            "/api/v1/addresses/stats.json?pagination=1&cursor={}",
            first["next_cursor"].as_str().unwrap()
        ))
        .await;
    assert_eq!(
        (rest["data"][&bob.address]["messages"].clone(), &rest["next_cursor"]),
        (json!(1), &Value::Null)
    );
    node.stop().await;
}

//! How often one client may ask.

use reqwest::{RequestBuilder, StatusCode};

use crate::node::TestNode;

const PROXY: &str = "x-forwarded-for";

/// A node whose clients are limited even on this machine, and that believes a proxy there.
async fn limited() -> TestNode {
    TestNode::start_with(|config| {
        config.api.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.api.limits.reads_per_second = 1;
        config.api.limits.reads_burst = 5;
        config.api.limits.writes_per_second = 1;
        config.api.limits.writes_burst = 2;
        config.api.limits.streams = 1;
    })
    .await
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let node = limited().await;
    let read = |client: &'static str| node.get("/version").header(PROXY, client);
    for _ in 0..5 {
        assert_eq!(status(read("203.0.113.1")).await, StatusCode::OK);
    }
    let refused = read("203.0.113.1").header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(seconds, 1);
    // Scripts of other sites can read why.
    assert_eq!(refused.headers()["access-control-allow-origin"], "https://app.example");
    let text = refused.text().await.unwrap();
    assert!(text.contains("1 of this kind a second") && text.contains("come back in 1 s"), "{text}");

    assert_eq!(status(read("203.0.113.2")).await, StatusCode::OK, "others are not concerned");
    assert_eq!(status(node.get("/version")).await, StatusCode::OK, "nor is this machine");
    let write = || node.post("/api/v0/storage/add_json").header(PROXY, "203.0.113.1").body("{}");
    assert_eq!(status(write()).await, StatusCode::OK, "writing is counted for itself");
    assert_eq!(status(write()).await, StatusCode::OK);
    assert_eq!(status(write()).await, StatusCode::TOO_MANY_REQUESTS);

    // One network of 64 bits is one client.
    for host in 0..5 {
        let client = format!("2001:db8:0:1::{host}");
        assert_eq!(status(node.get("/version").header(PROXY, client)).await, StatusCode::OK);
    }
    assert_eq!(status(read("2001:db8:0:1:ffff::1")).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status(read("2001:db8:0:2::1")).await, StatusCode::OK);
    assert_eq!(node.ok("/metrics.json").await["aleph_http_limited_total"], 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_counted_for_each_client() {
    let node = limited().await;
    let open = |client: &'static str| node.get("/api/v1/messages/stream").header(PROXY, client).send();
    let first = open("203.0.113.1").await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let second = open("203.0.113.1").await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(second.text().await.unwrap().contains("api.limits.streams"));
    assert_eq!(open("203.0.113.2").await.unwrap().status(), StatusCode::OK);
    drop(first);
    // The node notices the end of the first when it next looks at that connection.
    for attempt in 0.. {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        match open("203.0.113.1").await.unwrap().status() {
            StatusCode::OK => break,
            _ if attempt > 10 => panic!("the place is not given back"),
            _ => {}
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_not_limited_by_itself() {
    let node = TestNode::start_with(|config| config.api.limits.reads_burst = 1).await;
    for _ in 0..50 {
        assert_eq!(status(node.get("/version")).await, StatusCode::OK);
    }
    assert_eq!(status(node.get("/version").header(PROXY, "203.0.113.1")).await, StatusCode::OK);
    let health = node.ok("/api/v1/node/health").await;
    let told = health["problems"]
        .as_array()
        .unwrap()
        .iter()
        .any(|problem| problem["next"].as_str().unwrap().contains("api.trusted_proxies"));
    assert!(told, "{health}");
    node.stop().await;
}

//! What holds for every route: methods, paths, cross-origin requests, the node's own pages.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::{Author, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn methods_paths_and_origins() {
    let node = TestNode::start().await;
    let send = |method: Method, path: &str| node.client.request(method, format!("{}{path}", node.url));

    for path in ["/nothing", "/api/v0/messages.json/", "/api/v0/aggregates/0xA", "/api/v2/posts.json"] {
        let response = send(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(response.text().await.unwrap(), "404: Not Found");
    }
    for (method, path, allowed) in [
        (Method::POST, "/api/v0/messages.json", "GET,HEAD,OPTIONS"),
        (Method::GET, "/api/v0/messages", "POST,OPTIONS"),
        (Method::DELETE, "/version", "GET,HEAD,OPTIONS"),
    ] {
        let response = send(method, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()["allow"], allowed);
        assert_eq!(response.text().await.unwrap(), "405: Method Not Allowed");
    }
    for path in ["/version", "/api/v0/messages.json", "/metrics", "/"] {
        let get = send(Method::GET, path).send().await.unwrap();
        let head = send(Method::HEAD, path).send().await.unwrap();
        assert_eq!(head.status(), get.status());
        assert_eq!(head.headers().get("content-length"), get.headers().get("content-length"), "{path}");
        assert_eq!(head.headers().get("content-type"), get.headers().get("content-type"));
    }

    let origin = "https://app.example";
    for path in ["/version", "/nothing", "/api/v0/messages.json?pagination=x"] {
        let response = send(Method::GET, path).header("origin", origin).send().await.unwrap();
        assert_eq!(response.headers()["access-control-allow-origin"], origin, "{path}");
        assert!(response.headers().contains_key("access-control-expose-headers"));
        assert!(!response.headers().contains_key("access-control-allow-credentials"));
        assert!(response.headers().get("vary").is_none_or(|vary| vary != "origin"));
    }
    let preflight = |path: &str, method: &str| {
        send(Method::OPTIONS, path)
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "content-type, x-y")
    };
    for (path, method) in [("/api/v0/messages", "POST"), ("/api/v0/messages.json", "GET")] {
        let response = preflight(path, method).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["access-control-allow-origin"], origin);
        assert_eq!(response.headers()["access-control-allow-methods"], method);
        assert_eq!(response.headers()["access-control-allow-headers"], "CONTENT-TYPE,X-Y");
        assert!(!response.headers().contains_key("access-control-max-age"));
        assert_eq!(response.text().await.unwrap(), "");
    }
    let refused = preflight("/api/v0/messages", "PUT").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.text().await.unwrap().starts_with("CORS preflight request failed: "));
    let refused = send(Method::OPTIONS, "/version").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named() {
    let node = TestNode::start().await;
    let (status, problems) =
        node.json("/api/v0/messages.json?pagination=abc&startDate=nan&chains=ETH,X").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let mut named: Vec<String> =
        problems.as_array().unwrap().iter().map(|problem| problem["loc"][0].to_string()).collect();
    named.sort();
    assert_eq!(named, [r#""chains""#, r#""pagination""#, r#""startDate""#]);
    let integer =
        problems.as_array().unwrap().iter().find(|problem| problem["type"] == "int_parsing").unwrap();
    assert_eq!(integer["input"], "abc");
    let (_, problems) = node.json("/api/v0/messages.json?startDate=9&endDate=5").await;
    assert_eq!(problems[0]["loc"], json!([]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_describes_itself() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    node.process(&[&author.note(1.0, "TEST", json!(1))]).await;
    for path in ["/version", "/api/v0/version"] {
        assert!(node.ok(path).await["version"].as_str().unwrap().starts_with('v'));
    }
    assert_eq!(node.ok("/api/v0/info/public.json").await, json!({ "node_multi_addresses": [] }));
    let metrics = node.ok("/metrics.json").await;
    assert_eq!(metrics["pyaleph_status_sync_messages_total"], 1);
    assert_eq!(metrics["pyaleph_status_sync_pending_txs_total"], 0);
    assert_eq!(metrics["pyaleph_status_chain_eth_height_remaining_total"], Value::Null);
    assert!(metrics["pyaleph_build_info"]["python_version"].is_string());
    let (_, text) = node.text("/metrics").await;
    assert!(text.starts_with(r#"pyaleph_build_info{python_version="none",version="v"#), "{text}");
    assert!(text.contains("\npyaleph_status_sync_messages_total 1\n"));
    assert!(!text.contains("null") && !text.ends_with('\n'));
    let health = node.ok("/api/v1/node/health").await;
    assert_eq!(health["status"], "attention");
    assert!(health["problems"][0]["what"].as_str().unwrap().contains("network is off"));
    let (_, page) = node.text("/").await;
    assert!(page.contains("data-key=\"pyaleph_status_sync_messages_total\">1"), "{page}");

    node.stop().await;
}

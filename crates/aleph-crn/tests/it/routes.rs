//! What is there without any program.

use serde_json::json;

use crate::core_node::CoreNode;
use crate::node::{Node, config};

#[tokio::test]
async fn the_node_describes_itself() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &[&core.url])).await;

    let response = node.get("/status/config").await;
    assert_eq!(response.headers()["server"], "aleph-vm/1.14.0");
    let config: serde_json::Value = response.json().await.unwrap();
    assert_eq!(config["DOMAIN_NAME"], "crn.test");
    assert_eq!(config["networking"]["IPV6_ALLOCATION_POLICY"], "IPv6AllocationPolicy.static");

    let (status, usage) = node.json("/about/usage/system").await;
    assert_eq!(status, 200);
    assert!(usage["cpu"]["count"].as_u64().unwrap() > 0 && usage["mem"]["total_kB"].as_u64().unwrap() > 0);
    assert_eq!(usage["gpu"]["devices"], json!([]));
    assert_eq!(usage["active"], true);

    assert_eq!(node.json("/about/login").await, (401, json!({"success": false})));
    assert_eq!(node.json("/about/login?token=x").await.0, 401);
    assert_eq!(node.json("/about/executions/list").await, (200, json!({})));
    assert_eq!(node.json("/v2/about/executions/list").await, (200, json!({})));
    let (status, ipv6) = node.json("/status/check/ipv6").await;
    assert_eq!((status, &ipv6["vm"]), (200, &json!(false)));
    assert_eq!(node.json("/about/capability").await.0, 200);
    assert_eq!(node.json("/about/nothing").await, (404, json!({"error": "404: Not Found"})));
    for (reference, status) in [("1.13.0", 200), ("1.14.0", 200), ("1.15.0", 403), ("x", 400)] {
        assert_eq!(node.get(&format!("/status/check/version?reference={reference}")).await.status(), status);
    }
    let index = node.request("GET", "/").header("host", "crn.test:4020").send().await.unwrap();
    assert_eq!(index.headers()["content-type"], "text/html; charset=utf-8");
    assert!(index.text().await.unwrap().contains("compute node"));
    node.stop().await;
}

#[tokio::test]
async fn browsers_may_call_the_marked_routes() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &[&core.url])).await;

    let response =
        node.request("GET", "/about/usage/system").header("origin", "https://a.b").send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "https://a.b");
    assert_eq!(response.headers()["access-control-allow-credentials"], "true");
    let preflight = node
        .request("OPTIONS", "/control/allocation/notify")
        .header("origin", "https://a.b")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-headers"], "CONTENT-TYPE");
    let refused = node.request("OPTIONS", "/about/usage/system").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let none = node.request("GET", "/vm/x").header("origin", "https://a.b").send().await.unwrap();
    assert!(!none.headers().contains_key("access-control-allow-origin"));
    node.stop().await;
}

#[tokio::test]
async fn what_is_no_program_is_said() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &[&core.url])).await;

    assert_eq!(
        node.json("/vm/nonsense/x").await,
        (400, json!({"error": "Invalid message reference: nonsense"}))
    );
    let unknown = "a".repeat(64);
    let (status, body) = node.json(&format!("/vm/{unknown}/")).await;
    assert_eq!((status, &body["code"]), (404, &json!("message_not_found")), "{body}");
    let post = core.publish("POST", json!({"type": "note", "content": {}}));
    let (status, body) = node.json(&format!("/vm/{post}/")).await;
    assert_eq!((status, &body["code"]), (400, &json!("not_a_program")), "{body}");
    let (status, _) = node.json(&format!("/api/v1/executions/{post}")).await;
    assert_eq!(status, 404, "nothing is remembered of it");

    let code = core.store("code");
    let program = core.program(&code, &code, json!({}));
    core.set_status(&program, "pending");
    let (status, body) = node.json(&format!("/vm/{program}/")).await;
    assert_eq!((status, &body["code"]), (404, &json!("message_not_processed")), "{body}");

    let by_host = node.request("GET", "/x").header("host", "unknown.example.org").send().await.unwrap();
    assert_eq!(by_host.status(), 404);
    let large =
        node.request("POST", &format!("/vm/{program}/")).body(vec![0; (1 << 20) + 1]).send().await.unwrap();
    assert_eq!(large.status(), 413);
    node.stop().await;
}

#[tokio::test]
async fn no_core_node_is_a_clear_503() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &["http://127.0.0.1:9"])).await;
    let (status, body) = node.json(&format!("/vm/{}/", "a".repeat(64))).await;
    assert_eq!((status, &body["code"]), (503, &json!("core_nodes_unreachable")), "{body}");
    node.stop().await;
}

#[tokio::test]
async fn two_nodes_can_not_share_a_state() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &[&core.url])).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = aleph_crn::run_on(listener, config(folder.path(), &[&core.url]), Default::default()).await;
    assert!(second.unwrap_err().to_string().contains("in use by another compute node"));
    node.stop().await;
}

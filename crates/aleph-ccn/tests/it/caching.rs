//! Answers that a client has already, and answers made smaller.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::node::{Author, TestNode, hash};

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_answer_is_told_so() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(1.0, "TEST", json!({ "n": 1 }));
    node.process(&[&note]).await;
    let body = node.post("/api/v0/storage/add_file").body("a file").send().await.unwrap();
    let file: serde_json::Value = body.json().await.unwrap();
    let file = file["hash"].as_str().unwrap();
    let content = format!("/api/v0/messages/{}/content", hash(&note));
    let raw = format!("/api/v0/storage/raw/{file}");
    let list = "/api/v0/messages.json";
    for (path, strong) in [(list, false), (content.as_str(), true), (raw.as_str(), true)] {
        let first = node.get(path).send().await.unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(tag.starts_with('"'), strong, "{path}: {tag}");
        assert!(first.headers().contains_key("cache-control"));
        for method in [Method::GET, Method::HEAD] {
            let again = node.client.request(method, format!("{}{path}", node.url));
            let again = again.header("if-none-match", format!("\"other\", {tag}")).send().await.unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(again.headers()["etag"], tag.as_str());
            assert_eq!(again.headers().get("content-type"), None);
            assert_eq!(again.bytes().await.unwrap().len(), 0);
        }
        let head = node.client.head(format!("{}{path}", node.url)).send().await.unwrap();
        assert_eq!(head.headers()["etag"], tag.as_str(), "{path}");
        let other = node.get(path).header("if-none-match", "\"other\"").send().await.unwrap();
        assert_eq!(other.status(), StatusCode::OK);
    }
    let before = node.get(list).send().await.unwrap().headers()["etag"].clone();
    node.process(&[&author.note(2.0, "TEST", json!({ "n": 2 }))]).await;
    let after = node.get(list).header("if-none-match", before).send().await.unwrap();
    assert_eq!(after.status(), StatusCode::OK, "the list has changed");
    for path in ["/metrics.json", "/api/v1/node/health"] {
        let now = node.get(path).send().await.unwrap();
        assert_eq!(now.headers()["cache-control"], "no-store", "{path}");
        assert_eq!(now.headers().get("etag"), None);
    }
    let refusal = node.get("/nothing").header("if-none-match", "*").send().await.unwrap();
    assert_eq!(refusal.status(), StatusCode::NOT_FOUND);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_compressed_and_files_are_not() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    for number in 0..700 {
        // The answers are not waited for one by one: this is only to have a long list.
        let note = author.note(f64::from(number), "TEST", json!([number, "x".repeat(100)]));
        node.publish(&note, false).await;
    }
    let body = node.post("/api/v0/storage/add_file").body("y".repeat(5000)).send().await.unwrap();
    let file: serde_json::Value = body.json().await.unwrap();
    let raw = format!("/api/v0/storage/raw/{}", file["hash"].as_str().unwrap());
    let encoding = async |path: &str, accepted: &str| {
        let response = node.get(path).header("accept-encoding", accepted).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers().clone();
        let encoding = headers.get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        let length = response.bytes().await.unwrap().len();
        if encoding.is_some() {
            assert!(headers["vary"].to_str().unwrap().contains("accept-encoding"));
            assert!(headers.get("etag").is_none_or(|tag| tag.as_bytes().starts_with(b"W/")));
        }
        (encoding, length)
    };
    let messages = "/api/v0/messages.json?pagination=100";
    let (_, plain) = encoding(messages, "identity").await;
    for (accepted, expected) in
        [("gzip, deflate", "gzip"), ("deflate", "deflate"), ("zstd", "zstd"), ("gzip;q=0.1, zstd", "zstd")]
    {
        let (encoding, length) = encoding(messages, accepted).await;
        assert_eq!(encoding.as_deref(), Some(expected));
        assert!(length * 3 < plain, "{expected}: {length} of {plain}");
    }
    // A list that is streamed in several pieces arrives whole.
    let all = "/api/v0/messages.json?pagination=0";
    let (found, length) = encoding(all, "zstd").await;
    let (_, plain) = encoding(all, "identity").await;
    assert_eq!(found.as_deref(), Some("zstd"));
    assert!(plain > 500_000 && length * 3 < plain, "{length} of {plain}");
    assert_eq!(encoding(&raw, "gzip, zstd").await, (None, 5000));
    assert_eq!(encoding("/version", "gzip").await.0, None, "short answers are left alone");
    node.stop().await;
}

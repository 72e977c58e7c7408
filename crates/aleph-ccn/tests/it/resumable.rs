//! Uploads that may be resumed (tus 1.0).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::node::{Author, TestNode};

const UPLOADS: &str = "/api/v1/uploads";

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn tus(node: &TestNode, method: Method, path: &str) -> RequestBuilder {
    node.client.request(method, format!("{}{path}", node.url)).header("tus-resumable", "1.0.0")
}

async fn begin(node: &TestNode, length: usize, metadata: &str) -> Response {
    let request = tus(node, Method::POST, UPLOADS).header("upload-length", length);
    let request = if metadata.is_empty() { request } else { request.header("upload-metadata", metadata) };
    request.send().await.unwrap()
}

/// The path of a new upload.
async fn begun(node: &TestNode, length: usize, metadata: &str) -> String {
    let response = begin(node, length, metadata).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["tus-resumable"], "1.0.0");
    response.headers()["location"].to_str().unwrap().to_owned()
}

fn piece(node: &TestNode, path: &str, offset: usize, bytes: &[u8]) -> RequestBuilder {
    tus(node, Method::PATCH, path)
        .header("upload-offset", offset)
        .header("content-type", "application/offset+octet-stream")
        .body(bytes.to_vec())
}

async fn send(node: &TestNode, path: &str, offset: usize, bytes: &[u8]) -> (StatusCode, HeaderMap, String) {
    let response = piece(node, path, offset, bytes).send().await.unwrap();
    (response.status(), response.headers().clone(), response.text().await.unwrap())
}

async fn offset(node: &TestNode, path: &str) -> usize {
    let response = tus(node, Method::HEAD, path).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.headers()["upload-offset"].to_str().unwrap().parse().unwrap()
}

/// `Upload-Metadata` with a signed STORE.
fn metadata(message: &Value, sync: bool) -> String {
    let text = json!({ "message": message, "sync": sync }).to_string();
    format!("filename {},message {}", STANDARD.encode("a file"), STANDARD.encode(text))
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position * 7 % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_pieces_ends_in_a_store() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let told = node.client.request(Method::OPTIONS, format!("{}{UPLOADS}", node.url)).send().await.unwrap();
    assert_eq!(told.status(), StatusCode::NO_CONTENT);
    assert_eq!(told.headers()["tus-version"], "1.0.0");
    for extension in ["creation", "creation-with-upload", "expiration", "checksum", "termination"] {
        assert!(told.headers()["tus-extension"].to_str().unwrap().split(',').any(|one| one == extension));
    }
    let bytes = content(1_000_000);
    let message = author.store(1.0, &sha256(&bytes), json!({}));
    let path = begun(&node, bytes.len(), &metadata(&message, true)).await;
    assert_eq!(offset(&node, &path).await, 0);
    for (from, to) in [(0, 1), (1, 300_000), (300_000, 999_999)] {
        let (status, headers, _) = send(&node, &path, from, &bytes[from..to]).await;
        assert_eq!(
            (status, headers["upload-offset"].to_str().unwrap()),
            (StatusCode::NO_CONTENT, &*to.to_string())
        );
        assert_eq!(offset(&node, &path).await, to);
        assert_eq!(headers.get("aleph-file-hash"), None);
    }
    let (status, headers, _) = send(&node, &path, 999_999, &bytes[999_999..]).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["aleph-file-hash"], sha256(&bytes).as_str());
    assert_eq!(headers["aleph-message-status"], "processed");
    let state = node.ok(&path).await;
    assert_eq!(
        (state["finished"].as_bool(), state["message_status"].as_str()),
        (Some(true), Some("processed"))
    );
    let raw = node.get(&format!("/api/v0/storage/raw/{}", sha256(&bytes))).send().await.unwrap();
    assert_eq!(raw.bytes().await.unwrap(), bytes);
    let stored = node.ok(&format!("/api/v0/addresses/{}/files", author.address)).await;
    assert_eq!(stored["files"][0]["file_hash"], sha256(&bytes));
    // Asking and sending again changes nothing.
    assert_eq!(offset(&node, &path).await, bytes.len());
    assert_eq!(send(&node, &path, bytes.len(), b"").await.0, StatusCode::NO_CONTENT);
    assert_eq!(send(&node, &path, bytes.len(), b"x").await.0, StatusCode::NO_CONTENT);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interruption_and_a_restart_lose_nothing_that_was_counted() {
    let node = TestNode::start().await;
    let bytes = content(600_000);
    let path = begun(&node, bytes.len(), "").await;
    // A client that breaks off in the middle of its piece.
    let address = node.url.strip_prefix("http://").unwrap().to_owned();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nhost: {address}\r\ntus-resumable: 1.0.0\r\nupload-offset: 0\r\ncontent-type: \
         application/offset+octet-stream\r\ncontent-length: {}\r\n\r\n",
        bytes.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&bytes[..200_000]).await.unwrap();
    connection.flush().await.unwrap();
    // While it is open, nobody else may write.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(send(&node, &path, 0, &bytes).await.0, StatusCode::LOCKED);
    let locked = tus(&node, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(locked.status(), StatusCode::LOCKED);
    drop(connection);
    let mut here = 0;
    for _ in 0..50 {
        here = offset(&node, &path).await;
        if here == 200_000 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(here, 200_000, "what arrived stays");

    let folder = node.stop_and_keep().await;
    let node = TestNode::start_in(folder, |_| ()).await;
    assert_eq!(offset(&node, &path).await, 200_000);
    let (status, _, text) = send(&node, &path, 100_000, &bytes[100_000..]).await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::CONFLICT, "409: 200000 bytes are here, and the piece starts at 100000")
    );
    let (status, headers, _) = send(&node, &path, 200_000, &bytes[200_000..]).await;
    assert_eq!(
        (status, headers["aleph-file-hash"].to_str().unwrap()),
        (StatusCode::NO_CONTENT, &*sha256(&bytes))
    );
    let metadata = node.ok(&format!("/api/v0/storage/metadata/{}", sha256(&bytes))).await;
    assert_eq!(metadata["size"], 600_000);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_the_one_of_its_message_leaves_nothing() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let (promised, sent) = (content(5000), vec![1; 5000]);
    let message = author.store(1.0, &sha256(&promised), json!({}));
    let path = begun(&node, 5000, &metadata(&message, true)).await;
    let (status, _, text) = send(&node, &path, 0, &sent).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text.contains("File hash does not match"), "{text}");
    assert_eq!(node.text(&path).await.0, StatusCode::NOT_FOUND);
    for bytes in [&promised, &sent] {
        assert_eq!(
            node.text(&format!("/api/v0/storage/raw/{}", sha256(bytes))).await.0,
            StatusCode::NOT_FOUND
        );
    }
    assert_eq!(
        node.text(&format!("/api/v0/messages/{}", crate::node::hash(&message))).await.0,
        StatusCode::NOT_FOUND
    );
    let folder = node.node.config.storage.data_dir.join("uploads");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_with_checksums_count_whole_or_not_at_all() {
    let node = TestNode::start().await;
    let bytes = content(1000);
    let path = begun(&node, bytes.len(), "").await;
    let with = |checksum: String| piece(&node, &path, 0, &bytes[..600]).header("upload-checksum", checksum);
    let wrong = with(format!("sha256 {}", STANDARD.encode(Sha256::digest(b"other")))).send().await.unwrap();
    assert_eq!(wrong.status().as_u16(), 460);
    assert_eq!(offset(&node, &path).await, 0);
    assert_eq!(with("crc32 AAAA".to_owned()).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let right =
        with(format!("sha256 {}", STANDARD.encode(Sha256::digest(&bytes[..600])))).send().await.unwrap();
    assert_eq!(right.status(), StatusCode::NO_CONTENT);
    assert_eq!(offset(&node, &path).await, 600);
    // Beyond the announced end: refused, and nothing of it stays.
    let (status, _, _) = send(&node, &path, 600, &content(401)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let unannounced = reqwest::Body::wrap_stream(futures_util::stream::iter(
        (0..41).map(|_| Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[1; 10]))),
    ));
    let response = piece(&node, &path, 600, b"").body(unannounced).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(offset(&node, &path).await, 600);
    assert_eq!(send(&node, &path, 600, &bytes[600..]).await.0, StatusCode::NO_CONTENT);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_refusals_and_termination() {
    let node = TestNode::start_with(|config| {
        config.api.uploads.count = 2;
        config.api.uploads.file_bytes = 50 * 1024 * 1024;
    })
    .await;
    let author = Author::new(1);
    // Without a signed message 25 MiB; with one what the operator allows.
    let large = 26 * 1024 * 1024;
    assert_eq!(begin(&node, large, "").await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let message = author.store(1.0, &"ab".repeat(32), json!({}));
    let signed = begun(&node, large, &metadata(&message, false)).await;
    assert_eq!(
        begin(&node, 51 * 1024 * 1024, &metadata(&message, false)).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let mut forged = message.clone();
    forged["signature"] = Author::new(2).store(1.0, &"ab".repeat(32), json!({}))["signature"].clone();
    assert_eq!(begin(&node, 10, &metadata(&forged, false)).await.status(), StatusCode::FORBIDDEN);
    let note = author.note(1.0, "TEST", json!(1));
    assert_eq!(begin(&node, 10, &metadata(&note, false)).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(begin(&node, 10, "message *").await.status(), StatusCode::BAD_REQUEST);

    let path = begun(&node, 10, "").await;
    let full = begin(&node, 10, "").await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(full.headers().contains_key("retry-after"));
    for path in [&path, &signed] {
        assert_eq!(tus(&node, Method::DELETE, path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
        assert_eq!(tus(&node, Method::HEAD, path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }

    let path = begun(&node, 10, "").await;
    let version = node.client.head(format!("{}{path}", node.url)).send().await.unwrap();
    assert_eq!(version.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(version.headers()["tus-version"], "1.0.0");
    let kind = tus(&node, Method::PATCH, &path).header("upload-offset", 0).body("x").send().await.unwrap();
    assert_eq!(kind.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let deferred = tus(&node, Method::POST, UPLOADS).header("upload-defer-length", 1).send().await.unwrap();
    assert_eq!(deferred.status(), StatusCode::BAD_REQUEST);
    for id in ["..%2F..%2Fnode.sqlite3", "x", &"a".repeat(32)] {
        let strange = tus(&node, Method::HEAD, &format!("{UPLOADS}/{id}")).send().await.unwrap();
        assert_eq!(strange.status(), StatusCode::NOT_FOUND, "{id}");
    }
    // Creation with the whole file, and an empty one.
    let whole = tus(&node, Method::POST, UPLOADS)
        .header("upload-length", 5)
        .header("content-type", "application/offset+octet-stream")
        .body("whole")
        .send()
        .await
        .unwrap();
    assert_eq!(whole.status(), StatusCode::CREATED);
    assert_eq!(whole.headers()["upload-offset"], "5");
    assert_eq!(whole.headers()["aleph-file-hash"], sha256(b"whole").as_str());
    tus(&node, Method::DELETE, &path).send().await.unwrap();
    let empty = begin(&node, 0, "").await;
    assert_eq!(empty.headers()["aleph-file-hash"], sha256(b"").as_str());
    let preflight = node
        .client
        .request(Method::OPTIONS, format!("{}{path}", node.url))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "tus-resumable,upload-offset")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), StatusCode::OK);
    assert_eq!(preflight.headers()["access-control-allow-methods"], "PATCH");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_complete_when_the_node_ended_is_finished_and_what_is_old_goes() {
    let node = TestNode::start().await;
    let bytes = content(3000);
    let complete = begun(&node, bytes.len(), "").await;
    let old = begun(&node, bytes.len(), "").await;
    let uploads = node.node.config.storage.data_dir.join("uploads");
    let file = |path: &str, end: &str| uploads.join(format!("{}.{end}", path.rsplit_once('/').unwrap().1));
    let folder = node.stop_and_keep().await;
    // As if the node had been killed between the last byte and the end of the file's way.
    std::fs::write(file(&complete, "part"), &bytes).unwrap();
    let record = std::fs::read_to_string(file(&old, "json")).unwrap();
    let mut record: Value = serde_json::from_str(&record).unwrap();
    record["expires"] = json!(1);
    std::fs::write(file(&old, "json"), record.to_string()).unwrap();
    let node = TestNode::start_in(folder, |_| ()).await;
    let mut state = Value::Null;
    for _ in 0..50 {
        state = node.ok(&complete).await;
        if state["finished"] == true {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(state["file_hash"], sha256(&bytes), "{state}");
    assert_eq!(node.text(&old).await.0, StatusCode::NOT_FOUND);
    assert!(!file(&old, "part").exists() && !file(&complete, "part").exists());
    node.stop().await;
}

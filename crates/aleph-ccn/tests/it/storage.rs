//! Files: uploads in every form, downloads, what names them.

use aleph_types::ItemHash;
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

fn sha256(bytes: &[u8]) -> String {
    ItemHash::sha256(bytes).as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_without_a_message() {
    let node = TestNode::start().await;
    let body = r#"{"b":1,"a":"é","c":[1.0,2]}"#;
    let answer: Value =
        node.post("/api/v0/storage/add_json").body(body).send().await.unwrap().json().await.unwrap();
    let stored = "3321a7689c8ef1e67a50d56d1223b91f11e2477c3aa26c2874e51fc020709802";
    assert_eq!(answer, json!({ "status": "success", "hash": stored }));
    assert_eq!(node.text(&format!("/api/v0/storage/raw/{stored}")).await.1, r#"{"a":"é","b":1,"c":[1.0,2]}"#);
    assert_eq!(node.ok(&format!("/api/v0/storage/count/{stored}")).await, json!(1));
    let not_json = node.post("/api/v0/storage/add_json").body("{").send().await.unwrap();
    assert_eq!(not_json.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let deep = format!("{}{}", "[".repeat(1024), "]".repeat(1024));
    assert_eq!(
        node.post("/api/v0/storage/add_json").body(deep).send().await.unwrap().status(),
        StatusCode::OK
    );

    // The body is the file, even if it is empty.
    for content in [vec![7u8; 300_000], Vec::new()] {
        let response = node.post("/api/v0/storage/add_file").body(content.clone()).send().await.unwrap();
        assert_eq!(response.json::<Value>().await.unwrap()["hash"], sha256(&content));
        let file = node.get(&format!("/api/v0/storage/raw/{}", sha256(&content))).send().await.unwrap();
        assert_eq!(file.bytes().await.unwrap(), content);
    }

    let form = Form::new().text("other", "x").part("file", Part::bytes(b"hello".as_slice()).file_name("f"));
    let response = node.post("/api/v0/storage/add_file").multipart(form).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap()["hash"], sha256(b"hello"));
    let response =
        node.post("/api/v0/storage/add_file").multipart(Form::new().text("x", "y")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.text().await.unwrap(), "400: File should be sent as FormData or Raw Upload");
    for broken in ["--b\r\nhalf", "", "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc"] {
        let response = node
            .post("/api/v0/storage/add_file")
            .header("content-type", "multipart/form-data; boundary=b")
            .body(broken)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{broken}");
    }

    let too_large = vec![0u8; 25 * 1024 * 1024 + 1];
    let response = node.post("/api/v0/storage/add_file").body(too_large).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(node.ok("/api/v0/storage/limits.json").await["storage"]["max_file_size"], 104_857_600);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_with_a_message_in_any_order() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let content = vec![9u8; 700_000];
    let file = sha256(&content);
    let send = |message: Value, file_first: bool, sync: Value| {
        let metadata = json!({ "message": message, "sync": sync }).to_string();
        let part = Part::bytes(content.clone()).file_name("f");
        let form = if file_first {
            Form::new().part("file", part).text("metadata", metadata)
        } else {
            Form::new().text("metadata", metadata).part("file", part)
        };
        node.post("/api/v0/storage/add_file").multipart(form).send()
    };

    let store = author.store(TIME, &file, json!({}));
    for file_first in [true, false] {
        let response = send(store.clone(), file_first, json!(true)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.json::<Value>().await.unwrap(), json!({ "status": "success", "hash": file }));
    }
    assert_eq!(node.ok(&format!("/api/v0/messages/{}/status", hash(&store))).await["status"], "processed");
    assert_eq!(node.ok(&format!("/api/v0/storage/count/{file}")).await, json!(1));
    // The official client publishes the same message once more.
    node.process(&[&store]).await;

    // A new version, and one under a name with a slash in it.
    let update = author.store(TIME + 1.0, &file, json!({ "ref": hash(&store) }));
    assert_eq!(send(update.clone(), true, json!(false)).await.unwrap().status(), StatusCode::ACCEPTED);
    let named = author.store(TIME + 2.0, &file, json!({ "ref": "my/site" }));
    assert_eq!(send(named.clone(), true, json!(true)).await.unwrap().status(), StatusCode::OK);

    let about = json!({
        "ref": hash(&store), "owner": author.address, "file_hash": file,
        "download_url": format!("/api/v0/storage/raw/{file}"), "size": 700_000,
    });
    assert_eq!(node.ok(&format!("/api/v0/storage/by-message-hash/{}", hash(&store))).await, about);
    assert_eq!(node.ok(&format!("/api/v0/storage/by-ref/{}", hash(&store))).await, about);
    let by_name = node.ok(&format!("/api/v0/storage/by-ref/{}/my/site", author.address)).await;
    assert_eq!((&by_name["ref"], &by_name["file_hash"]), (&json!("my/site"), &json!(file)));
    let metadata = node.ok(&format!("/api/v0/storage/metadata/{file}")).await;
    assert_eq!((&metadata["type"], &metadata["size"]), (&json!("file"), &json!(700_000)));
    for (path, status, text) in [
        ("by-ref/name", 400, "address is required for user-defined ref"),
        ("by-ref/0xA/name", 404, "No file found for tag 0xA/name"),
        ("by-message-hash/x", 400, "Invalid hash provided"),
        ("metadata/x", 404, "No file found for hash x"),
    ] {
        let (found, body) = node.text(&format!("/api/v0/storage/{path}")).await;
        assert_eq!((found.as_u16(), body.as_str()), (status, text), "{path}");
    }

    let files = node.ok(&format!("/api/v0/addresses/{}/files?pagination=2", author.address)).await;
    assert_eq!((&files["total_size"], &files["pagination_total"]), (&json!(2_100_000), &json!(3)));
    assert_eq!(files["files"][0]["item_hash"], named["item_hash"]);
    assert_eq!(files["files"][0]["created"], "2024-05-01T12:00:02.000000Z");
    let files = node.ok(&format!("/api/v0/addresses/{}/files?cursor=&sort_order=1", author.address)).await;
    assert_eq!((&files["total_size"], &files["next_cursor"]), (&json!(2_100_000.0), &Value::Null));
    assert_eq!(files["files"][0]["created"], json!(TIME));

    // What is refused leaves nothing behind.
    let other = author.store(TIME, &sha256(b"other"), json!({}));
    let response = send(other, true, json!(true)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let text = format!("422: File hash does not match ({file} != {})", sha256(b"other"));
    assert_eq!(response.text().await.unwrap(), text);
    let mut forged = author.store(TIME + 9.0, &file, json!({}));
    forged["sender"] = Author::new(2).address.into();
    let response = send(forged, true, json!(true)).await.unwrap();
    assert_eq!(
        (response.status(), response.text().await.unwrap().as_str()),
        (StatusCode::FORBIDDEN, "403: Forbidden")
    );
    let response = send(store.clone(), true, Value::Null).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(response.text().await.unwrap().starts_with("422: Could not decode metadata: ["));
    let wrong = author.store(TIME, &file, json!({ "payment": { "type": "superfluid" } }));
    let response = send(wrong, true, json!(true)).await.unwrap();
    assert!(response.text().await.unwrap().starts_with("422: Invalid store message content: "));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_with_ranges_and_tags() {
    let node = TestNode::start().await;
    let content: Vec<u8> = (0..200_000u32).map(|number| number.to_le_bytes()[1]).collect();
    let file = sha256(&content);
    node.post("/api/v0/storage/add_file").body(content.clone()).send().await.unwrap();
    let path = format!("/api/v0/storage/raw/{file}");

    let whole = node.get(&format!("{path}?find")).send().await.unwrap();
    assert_eq!(whole.headers()["content-type"], "application/octet-stream");
    assert_eq!(whole.headers()["content-length"], "200000");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let tag = whole.headers()["etag"].clone();
    assert_eq!(whole.bytes().await.unwrap(), content);
    let head = node.client.head(format!("{}{path}", node.url)).send().await.unwrap();
    assert_eq!(
        (head.status(), head.headers()["content-length"].as_bytes()),
        (StatusCode::OK, &b"200000"[..])
    );
    let same = node.get(&path).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED);

    for (range, part, shown) in [
        ("bytes=0-9", &content[..10], "bytes 0-9/200000"),
        ("bytes=199990-", &content[199_990..], "bytes 199990-199999/200000"),
        ("bytes=-5", &content[199_995..], "bytes 199995-199999/200000"),
    ] {
        let answer = node.get(&path).header("range", range).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.headers()["content-range"], shown);
        assert_eq!(answer.bytes().await.unwrap(), part);
    }
    let beyond = node.get(&path).header("range", "bytes=200000-").send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()["content-range"], "bytes */200000");
    let stale =
        node.get(&path).header("range", "bytes=0-1").header("if-range", "\"x\"").send().await.unwrap();
    assert_eq!(stale.status(), StatusCode::OK);

    let encoded = node.ok(&format!("/api/v0/storage/{file}")).await;
    assert_eq!((&encoded["engine"], &encoded["hash"]), (&json!("storage"), &json!(file)));
    let lines: Vec<&str> = encoded["content"].as_str().unwrap().split('\n').collect();
    assert_eq!((lines[0].len(), *lines.last().unwrap()), (76, ""));
    let decoded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, lines.concat()).unwrap();
    assert_eq!(decoded, content);

    for (path, status, text) in [
        ("raw/short".to_owned(), 400, "Invalid hash"),
        (format!("raw/{}", "ab".repeat(32)), 404, "Not found"),
        (format!("raw/{}", "%2e%2e%2f".repeat(22)), 400, "Invalid hash"),
        (format!("raw/..%2f{}", "a".repeat(61)), 404, "Not found"),
        ("short".to_owned(), 400, "Invalid hash provided"),
        ("ab".repeat(32), 404, "Not found"),
    ] {
        let (found, body) = node.text(&format!("/api/v0/storage/{path}")).await;
        assert_eq!((found.as_u16(), body.as_str()), (status, text), "{path}");
    }
    node.stop().await;
}

//! Files under CIDs: uploads, and every way to them (`spec: ccn-api.md §10.2`).

use aleph_cid::{Cid, Codec, Layout, cid_of};
use aleph_types::{ItemHash, MessageType};
use base64::Engine as _;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 3 % 251) as u8).collect()
}

fn form(content: &[u8], metadata: Option<(&Value, Value)>, file_first: bool) -> Form {
    let file = Part::bytes(content.to_vec()).file_name("a.bin");
    match metadata {
        None => Form::new().part("file", file),
        Some((message, sync)) => {
            let metadata = json!({ "message": message, "sync": sync }).to_string();
            if file_first {
                Form::new().part("file", file).text("metadata", metadata)
            } else {
                Form::new().text("metadata", metadata).part("file", file)
            }
        }
    }
}

async fn add(node: &TestNode, content: &[u8], metadata: Option<(&Value, Value)>) -> Response {
    node.post("/api/v0/ipfs/add_file").multipart(form(content, metadata, true)).send().await.unwrap()
}

async fn told(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

fn store(author: &Author, time: f64, file: &str) -> Value {
    author.store(time, file, json!({ "item_type": "ipfs" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_has_the_cid_that_ipfs_gives_it() {
    let node = TestNode::start().await;
    let response = node.post("/api/v0/ipfs/add_json").body(r#"{"b":1,"a":"é"}"#).send().await.unwrap();
    let cid = cid_of(Layout::KUBO_V0, r#"{"a":"é","b":1}"#.as_bytes()).to_string();
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "status": "success", "hash": cid }));
    assert_eq!(node.text(&format!("/api/v0/storage/raw/{cid}")).await.1, r#"{"a":"é","b":1}"#);
    let broken = node.post("/api/v0/ipfs/add_json").body("{").send().await.unwrap();
    assert_eq!(broken.status(), StatusCode::UNPROCESSABLE_ENTITY);

    for size in [0, 1, 262_144, 262_145, 3_000_000] {
        let bytes = content(size);
        let cid = cid_of(Layout::KUBO_V0, &bytes);
        let answer: Value = add(&node, &bytes, None).await.json().await.unwrap();
        assert_eq!(
            answer,
            json!({ "status": "success", "hash": cid.to_string(), "name": "a.bin", "size": size })
        );
        // Under every text of the CID.
        for text in [cid.to_string(), cid.to_v1().to_string()] {
            let path = format!("/api/v0/storage/raw/{text}");
            let whole = node.get(&path).send().await.unwrap();
            assert_eq!(whole.headers()["content-type"], "application/octet-stream");
            assert_eq!(whole.headers()["content-length"], size.to_string());
            let tag = whole.headers()["etag"].clone();
            assert_eq!(whole.bytes().await.unwrap(), bytes);
            let same = node.get(&path).header("if-none-match", tag).send().await.unwrap();
            assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
            let head = node.client.head(format!("{}{path}", node.url)).send().await.unwrap();
            assert_eq!(head.headers()["content-length"], size.to_string());
            if size > 10 {
                let part = node.get(&path).header("range", "bytes=5-9").send().await.unwrap();
                assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
                assert_eq!(part.bytes().await.unwrap(), bytes[5..10]);
            }
            let encoded = node.ok(&format!("/api/v0/storage/{text}")).await;
            assert_eq!((&encoded["engine"], &encoded["hash"]), (&json!("ipfs"), &json!(text)));
            let lines: String = encoded["content"].as_str().unwrap().split('\n').collect();
            assert_eq!(base64::engine::general_purpose::STANDARD.decode(lines).unwrap(), bytes);
            let about = node.ok(&format!("/api/v0/storage/metadata/{text}")).await;
            assert_eq!((&about["type"], &about["size"]), (&json!("file"), &json!(size)));
            assert_eq!(node.ok(&format!("/api/v0/storage/count/{text}")).await, json!(1));
        }
    }
    // A short file by its SHA-256 is a block of IPFS.
    node.post("/api/v0/storage/add_file").body("block").send().await.unwrap();
    let raw = Cid::v1(Codec::Raw, b"block");
    assert_eq!(node.text(&format!("/api/v0/storage/raw/{raw}")).await.1, "block");
    assert_eq!(node.text(&format!("/api/v0/storage/raw/{raw}?format=raw")).await.1, "block");
    let limits = node.ok("/api/v0/storage/limits.json").await;
    assert_eq!(
        limits["ipfs"],
        json!({
            "max_upload_file_size": 1_073_741_824u64, "max_upload_car_size": 4_294_967_296u64,
            "max_unauthenticated_upload_file_size": 26_214_400,
        })
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_names_its_file_by_any_text_of_its_cid() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let bytes = content(700_000);
    let v0 = cid_of(Layout::KUBO_V0, &bytes);
    // The same root in version 1, and the root that version 1 builds.
    let names = [v0.to_string(), v0.to_v1().to_string(), cid_of(Layout::KUBO_V1, &bytes).to_string()];
    for (index, name) in names.iter().enumerate() {
        let message = store(&author, TIME + index as f64, name);
        for file_first in [true, false] {
            let form = form(&bytes, Some((&message, json!(true))), file_first);
            let response = node.post("/api/v0/ipfs/add_file").multipart(form).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let answer: Value = response.json().await.unwrap();
            assert_eq!((&answer["hash"], &answer["size"]), (&json!(name), &json!(700_000)));
        }
        assert_eq!(
            node.ok(&format!("/api/v0/messages/{}/status", hash(&message))).await["status"],
            "processed"
        );
        let by_message = node.ok(&format!("/api/v0/storage/by-message-hash/{}", hash(&message))).await;
        assert_eq!((&by_message["file_hash"], &by_message["size"]), (&json!(name), &json!(700_000)));
        assert_eq!(node.ok(&format!("/api/v0/storage/by-ref/{}", hash(&message))).await, by_message);
        let raw = node.get(by_message["download_url"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(raw.bytes().await.unwrap(), bytes);
    }
    // Two messages hold one file under two texts.
    for text in &names[..2] {
        assert_eq!(node.ok(&format!("/api/v0/storage/count/{text}")).await, json!(2));
    }
    let files = node.ok(&format!("/api/v0/addresses/{}/files", author.address)).await;
    assert_eq!(files["pagination_total"], 3);
    // A file that is here needs no upload, whatever text a message has for it.
    let later = store(&author, TIME + 9.0, &names[1]);
    node.process(&[&later]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_under_cids_are_refused_as_the_reference_does() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let bytes = content(1000);
    let cid = cid_of(Layout::KUBO_V0, &bytes).to_string();
    let other = cid_of(Layout::KUBO_V0, b"other").to_string();
    let good = store(&author, TIME, &cid);
    let refused = |response: Response, status: u16, text: String| async move {
        assert_eq!(told(response).await, (status, text));
    };
    let raw = node.post("/api/v0/ipfs/add_file").body("x").send().await.unwrap();
    refused(raw, 400, "400: Expected Content-Type: multipart/form-data".into()).await;
    let empty =
        node.post("/api/v0/ipfs/add_file").multipart(Form::new().text("x", "y")).send().await.unwrap();
    refused(empty, 422, "422: Missing 'file' in multipart form.".into()).await;
    let wrong = store(&author, TIME, &other);
    let text = format!("422: File hash does not match ({cid} != {other})");
    refused(add(&node, &bytes, Some((&wrong, json!(true)))).await, 422, text).await;
    let storage = author.store(TIME, ItemHash::sha256(&bytes).as_str(), json!({}));
    let text = "422: Expected item_type=ipfs in STORE message, got storage".into();
    refused(add(&node, &bytes, Some((&storage, json!(true)))).await, 422, text).await;
    let mut forged = good.clone();
    forged["sender"] = Author::new(2).address.into();
    refused(add(&node, &bytes, Some((&forged, json!(true)))).await, 403, "403: Forbidden".into()).await;
    let (status, text) = told(add(&node, &bytes, Some((&good, Value::Null))).await).await;
    assert!(status == 422 && text.starts_with("422: Could not decode metadata: ["), "{text}");
    let large = add(&node, &vec![0; 26_214_401], None).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // An empty part is no message, and takes no more than none.
    let file = Part::bytes(vec![0; 26_214_401]).file_name("f");
    let form = Form::new().part("file", file).text("metadata", "");
    let large = node.post("/api/v0/ipfs/add_file").multipart(form).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // A CID at the place of a SHA-256.
    let form = Form::new()
        .part("file", Part::bytes(bytes.clone()))
        .text("metadata", json!({ "message": good, "sync": true }).to_string());
    let (status, _) = told(node.post("/api/v0/storage/add_file").multipart(form).send().await.unwrap()).await;
    assert_eq!(status, 422);
    for text in [&cid, &other] {
        assert_eq!(node.text(&format!("/api/v0/storage/raw/{text}")).await.0, StatusCode::NOT_FOUND);
        assert_eq!(node.text(&format!("/api/v0/storage/metadata/{text}")).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(node.node.blobs.iter().count(), 0, "what is refused leaves nothing");
    // Texts that only look like CIDs.
    for text in
        [format!("Qm{}", "1".repeat(44)), format!("bafy{}", "a".repeat(55)), format!("Qm{}", "0".repeat(44))]
    {
        let (status, _) = node.text(&format!("/api/v0/storage/raw/{text}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
    }
    node.stop().await;

    let node = TestNode::start_with(|config| config.ipfs.enabled = false).await;
    for route in ["add_file", "add_json", "add_car"] {
        let response = node.post(&format!("/api/v0/ipfs/{route}")).body("x").send().await.unwrap();
        refused(response, 403, "403: IPFS is disabled on this node".into()).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_pay_is_told_and_the_file_has_a_day() {
    let node = TestNode::start_with(|config| config.network.charge = true).await;
    let author = Author::new(1);
    let bytes = content(30 << 20);
    for sync in [true, false] {
        let cid = cid_of(Layout::KUBO_V0, &bytes).to_string();
        let message = store(&author, 1_760_000_000.0 + f64::from(u8::from(sync)), &cid);
        assert_eq!(
            told(add(&node, &bytes, Some((&message, json!(sync)))).await).await,
            (402, "402: Payment Required".into())
        );
        let file = ItemHash::sha256(&bytes);
        let plain = author.store(1_760_000_000.0 + f64::from(u8::from(sync)), file.as_str(), json!({}));
        let form = form(&bytes, Some((&plain, json!(sync))), true);
        let response = node.post("/api/v0/storage/add_file").multipart(form).send().await.unwrap();
        assert_eq!(told(response).await, (402, "402: Payment Required".into()));
        assert_eq!(node.ok(&format!("/api/v0/storage/count/{cid}")).await, json!(1), "its grace");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_of_messages_may_be_files_under_cids() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let like = author.note(TIME, "c", json!(1));
    let document = json!({ "address": author.address, "time": TIME, "type": "note", "content": { "n": 1 } });
    let mut sorted = document.clone();
    sorted.sort_all_objects();
    let cid = cid_of(Layout::KUBO_V0, sorted.to_string().as_bytes());
    // It waits under one text; the file comes under the other.
    let message = author.sign_by_hash(MessageType::Post, TIME, &cid.to_v1().to_string(), &like);
    assert_eq!(node.publish(&message, false).await.status(), StatusCode::ACCEPTED);
    assert_eq!(node.ok(&format!("/api/v0/messages/{}/status", hash(&message))).await["status"], "pending");
    let answer = node.post("/api/v0/ipfs/add_json").body(document.to_string()).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["hash"], cid.to_string());
    node.process(&[&message]).await;
    let found = node.ok(&format!("/api/v0/messages/{}", hash(&message))).await;
    assert_eq!(
        (&found["message"]["item_type"], &found["message"]["content"]["content"]["n"]),
        (&json!("ipfs"), &json!(1))
    );
    assert_eq!(
        node.ok(&format!("/api/v0/storage/count/{cid}")).await,
        json!(2),
        "the message, and its own grace"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_pieces_ends_in_a_store_under_a_cid() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let tus = |method: Method, path: &str| {
        node.client.request(method, format!("{}{path}", node.url)).header("tus-resumable", "1.0.0")
    };
    let bytes = content(2_000_000);
    let cid = cid_of(Layout::KUBO_V0, &bytes).to_string();
    let other = cid_of(Layout::KUBO_V0, b"other").to_string();
    for (name, good) in [(&cid, true), (&other, false)] {
        let message = store(&author, TIME, name);
        let text = json!({ "message": message, "sync": true }).to_string();
        let begun = tus(Method::POST, "/api/v1/uploads")
            .header("upload-length", bytes.len())
            .header("upload-metadata", format!("message {}", encode(&text)))
            .send()
            .await
            .unwrap();
        assert_eq!(begun.status(), StatusCode::CREATED, "{}", begun.text().await.unwrap());
        let place = begun.headers()["location"].to_str().unwrap().to_owned();
        let mut last = None;
        for (index, piece) in bytes.chunks(1_000_000).enumerate() {
            let sent = tus(Method::PATCH, &place)
                .header("upload-offset", index * 1_000_000)
                .header("content-type", "application/offset+octet-stream")
                .body(piece.to_vec());
            last = Some(sent.send().await.unwrap());
        }
        let last = last.unwrap();
        if good {
            assert_eq!(last.status(), StatusCode::NO_CONTENT);
            assert_eq!(
                (&last.headers()["aleph-file-hash"], &last.headers()["aleph-message-status"]),
                (&cid.parse().unwrap(), &"processed".parse().unwrap())
            );
            let raw = node.get(&format!("/api/v0/storage/raw/{cid}")).send().await.unwrap();
            assert_eq!(raw.bytes().await.unwrap(), bytes);
        } else {
            assert_eq!(told(last).await, (422, format!("422: File hash does not match ({cid} != {other})")));
            assert_eq!(tus(Method::HEAD, &place).send().await.unwrap().status(), StatusCode::NOT_FOUND);
            assert_eq!(node.text(&format!("/api/v0/storage/raw/{other}")).await.0, StatusCode::NOT_FOUND);
        }
    }
    // A gigabyte may come under a CID, more may not; an archive needs its message.
    let message = store(&author, TIME, &cid);
    let text = encode(&json!({ "message": message, "sync": true }).to_string());
    for (length, metadata, status) in [
        (1u64 << 30, format!("message {text}"), StatusCode::CREATED),
        ((1 << 30) + 1, format!("message {text}"), StatusCode::PAYLOAD_TOO_LARGE),
        (4 << 30, format!("message {text},car"), StatusCode::CREATED),
        (1000, "car".to_owned(), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let begun = tus(Method::POST, "/api/v1/uploads")
            .header("upload-length", length)
            .header("upload-metadata", metadata)
            .send();
        assert_eq!(begun.await.unwrap().status(), status, "{length}");
    }
    node.stop().await;
}

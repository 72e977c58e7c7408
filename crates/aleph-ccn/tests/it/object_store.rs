//! A node whose files are in an object store.

use aleph_ccn::S3Config;
use aleph_cid::{Layout, cid_of};
use aleph_test_s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use aleph_types::{ItemHash, MessageType};
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::ipfs_archives::{add_car, site, store};
use crate::node::{Author, TestNode};

const TIME: f64 = 1_714_564_800.0;

#[tokio::test(flavor = "multi_thread")]
async fn everything_about_files_is_the_same_in_an_object_store() {
    let Some(server) = S3Server::start().await.unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("node")).unwrap();
    std::fs::write(folder.path().join("node/s3-secret"), format!("{SECRET_KEY}\n")).unwrap();
    let s3 = S3Config {
        endpoint: Some(server.url().to_owned()),
        bucket: BUCKET.to_owned(),
        prefix: "node".to_owned(),
        region: "us-east-1".to_owned(),
        access_key_id: Some(ACCESS_KEY.to_owned()),
        secret_key_file: Some("s3-secret".into()),
    };
    let node = TestNode::start_in(folder, |config| config.files.s3 = Some(s3)).await;
    let author = Author::new(1);
    let content: Vec<u8> = (0..12_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 9) as u8).collect();

    // By SHA-256, small and in several parts.
    for bytes in [&content[..100], &content[..]] {
        let file = ItemHash::sha256(bytes);
        let message = author.store(TIME + bytes.len() as f64, file.as_str(), json!({}));
        let metadata = json!({ "message": message, "sync": true }).to_string();
        let form = Form::new().part("file", Part::bytes(bytes.to_vec())).text("metadata", metadata);
        let response = node.post("/api/v0/storage/add_file").multipart(form).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{}", response.text().await.unwrap());
        let raw = node.get(&format!("/api/v0/storage/raw/{file}")).send().await.unwrap();
        assert_eq!(raw.bytes().await.unwrap(), bytes);
    }
    let part = node.get(&format!("/api/v0/storage/raw/{}", ItemHash::sha256(&content)));
    let part = part.header("range", "bytes=7000000-7000099").send().await.unwrap();
    assert_eq!(part.bytes().await.unwrap(), content[7_000_000..7_000_100]);
    // By CID, and as an archive.
    let cid = cid_of(Layout::KUBO_V0, &content);
    let message = store(&author, TIME, &cid.to_string());
    let metadata = json!({ "message": message, "sync": true }).to_string();
    let form = Form::new().part("file", Part::bytes(content.clone())).text("metadata", metadata);
    let response = node.post("/api/v0/ipfs/add_file").multipart(form).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let raw = node.get(&format!("/api/v0/storage/raw/{}", cid.to_v1())).send().await.unwrap();
    assert_eq!(raw.bytes().await.unwrap(), content);
    let (root, car, files) = site(Layout::KUBO_V0);
    assert_eq!(add_car(&node, &car, &store(&author, TIME, &root.to_string())).await.0, 200);
    let path = format!("/api/v0/storage/raw/{root}/data/large.bin");
    assert_eq!(node.get(&path).send().await.unwrap().bytes().await.unwrap(), files["data/large.bin"]);
    // A message whose content is there.
    let document =
        json!({ "address": author.address, "time": TIME, "type": "note", "content": 1 }).to_string();
    let stored = node.post("/api/v0/storage/add_json").body(document).send().await.unwrap();
    let hash = stored.json::<Value>().await.unwrap()["hash"].as_str().unwrap().to_owned();
    let like = author.note(TIME, "c", json!(1));
    node.process(&[&author.sign_by_hash(MessageType::Post, TIME, &hash, &like)]).await;
    // What does not have its hash leaves nothing.
    let before = server.everything().await.unwrap().len();
    let wrong = author.store(TIME, ItemHash::sha256(b"other").as_str(), json!({}));
    let metadata = json!({ "message": wrong, "sync": true }).to_string();
    let form = Form::new().part("file", Part::bytes(content.clone())).text("metadata", metadata);
    let response = node.post("/api/v0/storage/add_file").multipart(form).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    for _ in 0..250 {
        if server.everything().await.unwrap().len() == before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.everything().await.unwrap().len(), before);
    assert_eq!(std::fs::read_dir(node.node.config.storage.blobs()).map(Iterator::count).unwrap_or(0), 0);
    let healthy = node.ok("/api/v1/node/health").await["problems"].to_string();
    assert!(!healthy.contains("files"), "{healthy}");

    // The store goes down: in words, and nothing else stops.
    drop(server);
    let told = node.ok("/api/v1/node/health").await["problems"].to_string();
    assert!(told.contains("files can't be stored now") && told.contains("files.s3"), "{told}");
    let response = node.post("/api/v0/storage/add_file").body("x").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    node.process(&[&author.note(TIME, "c", json!("goes on"))]).await;
    node.stop().await;
}

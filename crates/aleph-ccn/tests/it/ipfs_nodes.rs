//! Files under CIDs between nodes, and when they go.

use std::time::{Duration, SystemTime};

use aleph_cid::{Cid, Layout, MemoryBlocks, cid_of};
use aleph_types::{ItemHash, Timestamp};
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::ipfs_archives::{add_car, car_of, file, site, store};
use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

async fn add_file(node: &TestNode, content: &[u8]) -> String {
    let form = Form::new().part("file", Part::bytes(content.to_vec()));
    let answer = node.post("/api/v0/ipfs/add_file").multipart(form).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["hash"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_files_under_cids_from_each_other() {
    let first = TestNode::start().await;
    let url = first.url.clone();
    let second = TestNode::start_with(|config| config.network.http_peers = vec![url]).await;
    let author = Author::new(1);
    let content: Vec<u8> = (0..800_000u32).map(|at| (at / 3 % 241) as u8).collect();

    // Plain bytes; bytes whose blocks nobody could guess; a directory; a file in version 1.
    let plain = add_file(&first, &content).await;
    let mut blocks = MemoryBlocks::default();
    let odd = file(Layout::KUBO_V0.with_chunk(999).unwrap(), &content, &mut blocks).cid;
    let odd_message = store(&author, TIME, &odd.to_string());
    assert_eq!(add_car(&first, &car_of(odd, &mut blocks), &odd_message).await.0, 200);
    let (site_root, site_car, files) = site(Layout::KUBO_V1);
    let site_message = store(&author, TIME + 1.0, &site_root.to_string());
    assert_eq!(add_car(&first, &site_car, &site_message).await.0, 200);
    let v1 = cid_of(Layout::KUBO_V1, &content);
    let v1_message = store(&author, TIME + 2.0, &v1.to_string());
    let metadata = json!({ "message": v1_message, "sync": true }).to_string();
    let form = Form::new().part("file", Part::bytes(content.clone())).text("metadata", metadata);
    assert_eq!(first.post("/api/v0/ipfs/add_file").multipart(form).send().await.unwrap().status(), 200);

    let other_text = Cid::parse(&plain).unwrap().to_v1().to_string();
    let plain_message = store(&author, TIME + 3.0, &other_text);
    for message in [&plain_message, &odd_message, &site_message, &v1_message] {
        second.process(&[message]).await;
    }
    for name in [plain.clone(), other_text, odd.to_string(), v1.to_string(), v1.to_v0().unwrap().to_string()]
    {
        let raw = second.get(&format!("/api/v0/storage/raw/{name}")).send().await.unwrap();
        assert_eq!(raw.bytes().await.unwrap(), content, "{name}");
    }
    let page = second.text(&format!("/api/v0/storage/raw/{site_root}/index.html")).await.1;
    assert_eq!(page.as_bytes(), files["index.html"]);
    // Both say the same of all of them, so that they cost the same.
    for name in [odd.to_string(), site_root.to_string(), v1.to_string()] {
        let path = format!("/api/v0/storage/metadata/{name}");
        assert_eq!(first.ok(&path).await, second.ok(&path).await);
    }
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lies_about_a_cid_is_not_believed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let liar = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", liar.local_addr().unwrap());
    let (root, car, _) = site(Layout::KUBO_V0);
    let (_, wrong, _) = site(Layout::KUBO_V1);
    let cut = car[..car.len() / 2].to_vec();
    let serving = tokio::spawn(async move {
        for index in 0.. {
            let (mut socket, _) = liar.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = socket.read(&mut request).await.unwrap();
            let wants_car = String::from_utf8_lossy(&request[..read]).contains("format=car");
            let (kind, body) = match (wants_car, index % 3) {
                (false, 0) => ("application/octet-stream", b"nonsense".to_vec()),
                (false, _) => ("application/x-tar", Vec::new()),
                (true, 0) => ("application/vnd.ipld.car", wrong.clone()),
                (true, 1) => ("application/vnd.ipld.car; version=1", cut.clone()),
                (true, _) => ("application/x-tar", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            socket.write_all(head.as_bytes()).await.ok();
            socket.write_all(&body).await.ok();
        }
    });
    let honest = TestNode::start().await;
    let peers = vec![url, honest.url.clone()];
    let node = TestNode::start_with(|config| {
        config.network.http_peers = peers;
    })
    .await;
    let author = Author::new(1);
    let message = store(&author, TIME, &root.to_string());
    assert_eq!(node.publish(&message, false).await.status(), StatusCode::ACCEPTED);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(node.ok(&format!("/api/v0/messages/{}/status", hash(&message))).await["status"], "pending");
    assert_eq!(node.text(&format!("/api/v0/storage/raw/{root}")).await.0, StatusCode::NOT_FOUND);
    // Then somebody has it.
    assert_eq!(add_car(&honest, &car, &message).await.0, 200);
    node.process(&[&message]).await;
    serving.abort();
    node.stop().await;
    honest.stop().await;
}

/// Now, moved.
fn later(hours: i64) -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap()).plus_micros(hours * 3_600_000_000)
}

/// Makes everything look as if it had been stored long ago.
fn age(node: &TestNode) {
    for store in [node.node.blobs.clone(), node.node.blobs.archives()] {
        for entry in store.iter() {
            let path = store.local_path(&entry.unwrap().0).unwrap().unwrap();
            let file = std::fs::File::open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(48 * 3600)).unwrap();
        }
    }
}

async fn is_here(node: &TestNode, name: &str) -> bool {
    node.get(&format!("/api/v0/storage/raw/{name}")).send().await.unwrap().status() == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_when_no_text_of_its_cid_is_held() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let cid = add_file(&node, b"held twice").await;
    let v1 = Cid::parse(&cid).unwrap().to_v1().to_string();
    let (by_v0, by_v1) = (store(&author, TIME, &cid), store(&author, TIME + 1.0, &v1));
    let (root, car, _) = site(Layout::KUBO_V0);
    let site_message = store(&author, TIME + 2.0, &root.to_string());
    node.process(&[&by_v0, &by_v1]).await;
    assert_eq!(add_car(&node, &car, &site_message).await.0, 200);
    let loose = add_file(&node, b"loose").await;
    age(&node);
    let collect = |hours| node.node.collector.collect(later(hours));

    assert_eq!(collect(0).await.unwrap().files, 0);
    // One of two lets go: the record goes, the file stays.
    node.process(&[&author.forget(TIME + 3.0, &[&by_v0, &site_message])]).await;
    let report = collect(25).await.unwrap();
    assert_eq!(report.failed, 0);
    assert!(is_here(&node, &cid).await && is_here(&node, &v1).await);
    assert!(!is_here(&node, &loose).await && !is_here(&node, &root.to_string()).await);
    assert_eq!(node.node.blobs.archives().iter().count(), 0);
    node.process(&[&author.forget(TIME + 4.0, &[&by_v1])]).await;
    age(&node);
    collect(50).await.unwrap();
    assert!(!is_here(&node, &cid).await && !is_here(&node, &v1).await);
    assert_eq!(node.node.blobs.iter().count(), 0);
    assert!(!node.node.blobs.contains(&ItemHash::parse(&cid).unwrap()).await.unwrap());
    node.stop().await;
}

/// Against a real node of IPFS: `ALEPH_KUBO` names its RPC, such as `http://127.0.0.1:5001`.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_ipfs_beside_this_one_gives_and_takes() {
    let Ok(kubo) = std::env::var("ALEPH_KUBO") else {
        eprintln!("skipped: ALEPH_KUBO names no node of IPFS");
        return;
    };
    let url = kubo.clone();
    let node = TestNode::start_with(|config| config.ipfs.kubo = Some(url)).await;
    let author = Author::new(1);
    let command = |command: String| node.client.post(format!("{kubo}/api/v0/{command}"));
    let unique = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let content = |what: &str, size: usize| {
        format!("{what} {unique} ").into_bytes().into_iter().cycle().take(size).collect::<Vec<u8>>()
    };

    let part = |bytes: &[u8], name: &str| {
        let part = Part::bytes(bytes.to_vec()).file_name(name.to_owned());
        part.mime_str("application/octet-stream").unwrap()
    };

    // What only IPFS has comes from there: a small file, one of several blocks, in both versions, and a folder.
    let mut number = 0.0;
    for (version, size) in [(0, 50), (0, 900_000), (1, 900_000)] {
        let bytes = content("theirs", size + version);
        let form = Form::new().part("file", part(&bytes, "f"));
        let added = command(format!("add?cid-version={version}")).multipart(form).send().await.unwrap();
        let added: Value = added.json().await.unwrap();
        // Some write version 1 in base58.
        let name = Cid::parse(added["Hash"].as_str().unwrap()).unwrap().to_string();
        let layout = if version == 0 { Layout::KUBO_V0 } else { Layout::KUBO_V1 };
        assert_eq!(name, cid_of(layout, &bytes).to_string(), "it builds what we build");
        number += 1.0;
        node.process(&[&store(&author, TIME + number, &name)]).await;
        let raw = node.get(&format!("/api/v0/storage/raw/{name}")).send().await.unwrap();
        assert_eq!(raw.bytes().await.unwrap(), bytes);
        let about = node.ok(&format!("/api/v0/storage/metadata/{name}")).await;
        assert_eq!((&about["type"], &about["size"]), (&json!("file"), &json!(bytes.len())));
    }
    let page = content("page", 30);
    let form = Form::new().part("file", part(&page, "index.html"));
    let added =
        command("add?cid-version=0&wrap-with-directory=true".into()).multipart(form).send().await.unwrap();
    let folder = added.text().await.unwrap();
    let folder: Value = serde_json::from_str(folder.lines().last().unwrap()).unwrap();
    let root = folder["Hash"].as_str().unwrap();
    node.process(&[&store(&author, TIME + 9.0, root)]).await;
    assert_eq!(node.text(&format!("/api/v0/storage/raw/{root}/index.html")).await.1.as_bytes(), page);

    // What is stored here is handed over and pinned there.
    let ours = content("ours", 700_000);
    let cid = add_file(&node, &ours).await;
    let mut blocks = MemoryBlocks::default();
    let odd = file(Layout::KUBO_V1.with_chunk(5000).unwrap(), &ours, &mut blocks).cid;
    let message = store(&author, TIME + 10.0, &odd.to_string());
    assert_eq!(add_car(&node, &car_of(odd, &mut blocks), &message).await.0, 200);
    for name in [cid, odd.to_string()] {
        let mut pinned = false;
        for _ in 0..300 {
            let listed = command(format!("pin/ls?arg={name}")).send().await.unwrap();
            pinned = listed.status().is_success() && listed.text().await.unwrap().contains("recursive");
            if pinned {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(pinned, "{name} is not pinned");
        let read = command(format!("cat?arg={name}")).send().await.unwrap();
        assert_eq!(read.bytes().await.unwrap(), ours);
    }
    let healthy = node.ok("/api/v1/node/health").await["problems"].to_string();
    assert!(!healthy.contains("ipfs.kubo"), "{healthy}");
    node.stop().await;

    let node = TestNode::start_with(|config| config.ipfs.kubo = Some("http://127.0.0.1:9".into())).await;
    let told = node.ok("/api/v1/node/health").await["problems"].to_string();
    assert!(told.contains("ipfs.kubo") && told.contains("see that it runs"), "{told}");
    node.stop().await;
}

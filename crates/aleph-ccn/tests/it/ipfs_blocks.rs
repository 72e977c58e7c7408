//! Files and directories that come block by block.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aleph_cid::{Cid, FileBuilder, Layout, MemoryBlocks, cid_of};
use aleph_p2p::{Announce, BlockSource, ConfiguredPeer, KeyType, Network, NetworkHandle, NodeKey};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::ipfs_archives::{add_car, car_of, file, site, store};
use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

fn noise(words: u32) -> Vec<u8> {
    (0..words).flat_map(|word| word.wrapping_mul(0x9e37_79b9).rotate_left(word % 31).to_le_bytes()).collect()
}

/// The node's address with its identity.
fn address_of(node: &TestNode) -> String {
    let network = node.node.network.as_ref().unwrap();
    format!("{}/p2p/{}", network.listen_addrs()[0], network.peer_id())
}

async fn with_gossip(change: impl FnOnce(&mut aleph_ccn::Config)) -> TestNode {
    TestNode::start_with(|config| {
        config.p2p.enabled = true;
        config.p2p.listen = "/ip4/127.0.0.1/tcp/0".to_owned();
        // Its HTTP API is told to nobody: blocks come over the other port.
        config.http.public_url = Some("http://127.0.0.1:9".to_owned());
        change(config);
    })
    .await
}

/// A peer with blocks that gives as many as it may.
#[derive(Debug, Default)]
struct Shelf {
    blocks: HashMap<[u8; 32], Bytes>,
    left: AtomicUsize,
    given: AtomicUsize,
}

impl Shelf {
    fn of(blocks: &MemoryBlocks, left: usize) -> Arc<Self> {
        let all = blocks.iter().map(|(cid, block)| (cid.digest().unwrap(), Bytes::copy_from_slice(block)));
        Arc::new(Self { blocks: all.collect(), left: left.into(), given: AtomicUsize::new(0) })
    }
}

impl BlockSource for Shelf {
    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Option<Bytes>> {
        let block = cid.digest().and_then(|digest| self.blocks.get(&digest).cloned());
        let may =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if may && block.is_some() {
            self.given.fetch_add(1, Ordering::SeqCst);
        }
        async move { block.filter(|_| may) }.boxed()
    }

    fn has<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, bool> {
        let has = cid.digest().is_some_and(|digest| self.blocks.contains_key(&digest));
        async move { has }.boxed()
    }
}

/// A peer of IPFS; its network lives as long as what it returns.
async fn peer(shelf: &Arc<Shelf>) -> (String, NetworkHandle) {
    let config = aleph_p2p::NetworkConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        announce: Announce::default(),
        blocks: Some(Arc::clone(shelf) as Arc<dyn BlockSource>),
        ..aleph_p2p::NetworkConfig::default()
    };
    let key = NodeKey::generate(KeyType::Ed25519).unwrap();
    let (handle, mut events) = Network::start(config, key).await.unwrap();
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let address = format!("{}/p2p/{}", handle.listen_addrs()[0], handle.peer_id());
    assert!(address.parse::<ConfiguredPeer>().unwrap().peer_id().is_some());
    (address, handle)
}

fn tree(content: &[u8], chunk: usize) -> (Cid, MemoryBlocks) {
    let mut blocks = MemoryBlocks::default();
    let mut builder = FileBuilder::new(Layout::KUBO_V1.with_chunk(chunk).unwrap());
    builder.update(content, &mut blocks).unwrap();
    (builder.finish(&mut blocks).unwrap().cid, blocks)
}

async fn raw(node: &TestNode, path: &str) -> Option<Bytes> {
    let answer = node.get(&format!("/api/v0/storage/raw/{path}")).send().await.unwrap();
    if answer.status() == StatusCode::NOT_FOUND {
        return None;
    }
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    Some(answer.bytes().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_files_and_directories_block_by_block() {
    let author = Author::new(1);
    let first = with_gossip(|_| ()).await;
    let content = noise(900_000);
    let plain = cid_of(Layout::KUBO_V0, &content);
    let metadata = json!({ "message": store(&author, TIME, &plain.to_string()), "sync": true }).to_string();
    let form = Form::new().part("file", Part::bytes(content.clone())).text("metadata", metadata);
    assert_eq!(first.post("/api/v0/ipfs/add_file").multipart(form).send().await.unwrap().status(), 200);
    let mut blocks = MemoryBlocks::default();
    let odd = file(Layout::KUBO_V0.with_chunk(999).unwrap(), &content, &mut blocks).cid;
    let odd_message = store(&author, TIME + 1.0, &odd.to_string());
    assert_eq!(add_car(&first, &car_of(odd, &mut blocks), &odd_message).await.0, 200);
    let (root, car, files) = site(Layout::KUBO_V1);
    let site_message = store(&author, TIME + 2.0, &root.to_string());
    assert_eq!(add_car(&first, &car, &site_message).await.0, 200);

    let peer = address_of(&first);
    let second = with_gossip(|config| config.ipfs.peers = vec![peer]).await;
    let plain_message = store(&author, TIME, &plain.to_string());
    for message in [&plain_message, &odd_message, &site_message] {
        second.process(&[message]).await;
    }
    for name in [plain, plain.to_v1(), odd] {
        assert!(raw(&second, &name.to_string()).await.unwrap() == content, "{name}");
    }
    for (path, bytes) in files {
        assert!(raw(&second, &format!("{root}/{path}")).await.unwrap() == bytes, "{path}");
    }
    let stats = |node: &TestNode| node.node.network.as_ref().unwrap().bitswap().unwrap().stats();
    assert!(stats(&first).sent > 3_600, "{:?}", stats(&first));
    assert_eq!(stats(&second).unasked, 0);
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_stays_and_the_next_try_goes_on_also_after_a_restart() {
    let content = noise(300_000);
    let (root, blocks) = tree(&content, 10_000);
    let all = blocks.len();
    let shelf = Shelf::of(&blocks, all / 2);
    let (address, _peer) = peer(&shelf).await;
    let peers = vec![address];
    let config = |config: &mut aleph_ccn::Config| {
        config.p2p.enabled = true;
        config.p2p.listen = "/ip4/127.0.0.1/tcp/0".to_owned();
        config.ipfs.peers = peers.clone();
    };
    let node = TestNode::start_with(config).await;
    let message = store(&Author::new(1), TIME, &root.to_string());
    assert_eq!(node.publish(&message, false).await.status(), StatusCode::ACCEPTED);
    while shelf.left.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What was given is on its way to the disk.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(node.ok(&format!("/api/v0/messages/{}/status", hash(&message))).await["status"], "pending");
    assert!(raw(&node, &root.to_string()).await.is_none(), "half of it is nothing yet");
    let folder = node.stop_and_keep().await;
    let partial = folder.path().join("node/partial").join(format!("{}.car", root.to_v1()));
    assert!(std::fs::metadata(&partial).unwrap().len() > 300_000, "most of what was given is kept");

    shelf.left.store(all, Ordering::SeqCst);
    let given = shelf.given.load(Ordering::SeqCst);
    let node = TestNode::start_in(folder, config).await;
    node.process(&[&message]).await;
    assert!(raw(&node, &root.to_string()).await.unwrap() == content);
    let again = shelf.given.load(Ordering::SeqCst) - given;
    assert!(again < all * 3 / 4, "{again} of {all} blocks came again");
    assert!(!partial.exists(), "it is kept as an archive now");
    node.stop().await;
}

/// A trustless gateway; it lies while it is told to.
async fn gateway(blocks: MemoryBlocks, lies: Arc<AtomicBool>, asked: Arc<AtomicUsize>) -> String {
    let blocks: HashMap<[u8; 32], Vec<u8>> =
        blocks.iter().map(|(cid, block)| (cid.digest().unwrap(), block.to_vec())).collect();
    let blocks = Arc::new(blocks);
    let answer = move |axum::extract::Path(cid): axum::extract::Path<String>,
                       axum::extract::RawQuery(query): axum::extract::RawQuery| {
        let (blocks, lies, asked) = (Arc::clone(&blocks), Arc::clone(&lies), Arc::clone(&asked));
        async move {
            assert_eq!(query.as_deref(), Some("format=raw"));
            asked.fetch_add(1, Ordering::SeqCst);
            let digest = Cid::parse(&cid).unwrap().digest().unwrap();
            match blocks.get(&digest) {
                Some(_) if lies.load(Ordering::SeqCst) => (StatusCode::OK, b"something else".to_vec()),
                Some(block) => (StatusCode::OK, block.clone()),
                None => (StatusCode::NOT_FOUND, Vec::new()),
            }
        }
    };
    let router = axum::Router::new().route("/ipfs/{cid}", axum::routing::get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_give_blocks_that_are_checked() {
    let content = noise(200_000);
    let (root, blocks) = tree(&content, 20_000);
    let (lies, asked, lied) = (Arc::new(AtomicBool::new(true)), Arc::default(), Arc::default());
    let liar = gateway(blocks.clone(), Arc::clone(&lies), Arc::clone(&lied)).await;
    let honest = gateway(blocks.clone(), Arc::new(AtomicBool::new(false)), Arc::clone(&asked)).await;
    let node = TestNode::start_with(|config| config.ipfs.gateways = vec![liar, honest]).await;
    let message = store(&Author::new(1), TIME, &root.to_string());
    node.process(&[&message]).await;
    assert!(raw(&node, &root.to_string()).await.unwrap() == content);
    assert!(asked.load(Ordering::SeqCst) >= blocks.len() - 1);
    let story: Value = node.ok(&format!("/api/v0/storage/metadata/{root}")).await;
    assert_eq!(story["size"], content.len());
    node.stop().await;
}

//! Blocks between nodes.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aleph_cid::{Cid, DagWalk, FileBuilder, Layout, Limits, MemoryBlocks, read_file};
use aleph_p2p::{BlockSource, DhtConfig, DhtScope, Event, SessionEvent};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;

use crate::node::{Node, PATIENCE, config, key};

/// Blocks in memory, and how often somebody asked for one.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    blocks: Mutex<HashMap<[u8; 32], Bytes>>,
    asked: AtomicU64,
    /// It gives other bytes than it should.
    lies: bool,
    /// How long it takes for a block.
    pause: Duration,
}

impl Shelf {
    fn of(blocks: &MemoryBlocks) -> Self {
        let all = blocks.iter().map(|(cid, block)| (cid.digest().unwrap(), Bytes::copy_from_slice(block)));
        Self { blocks: Mutex::new(all.collect()), ..Self::default() }
    }
}

impl BlockSource for Shelf {
    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Option<Bytes>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let block = cid.digest().and_then(|digest| self.blocks.lock().get(&digest).cloned());
        let block = if self.lies { block.map(|_| Bytes::from_static(b"something else")) } else { block };
        let pause = self.pause;
        async move {
            tokio::time::sleep(pause).await;
            block
        }
        .boxed()
    }

    fn has<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, bool> {
        let has = cid.digest().is_some_and(|digest| self.blocks.lock().contains_key(&digest));
        async move { has }.boxed()
    }
}

async fn node(shelf: Shelf, peers: &[&Node]) -> Node {
    let config = aleph_p2p::NetworkConfig { blocks: Some(Arc::new(shelf)), ..config(peers) };
    Node::with(config, key()).await
}

async fn meet(node: &mut Node, peers: usize) {
    for _ in 0..peers {
        node.wait_for(|event| matches!(event, Event::PeerConnected { .. }).then_some(())).await;
    }
}

fn tree(size: u32) -> (Cid, MemoryBlocks, Vec<u8>) {
    let content: Vec<u8> = (0..size).flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let mut blocks = MemoryBlocks::default();
    let mut builder = FileBuilder::new(Layout::KUBO_V1);
    builder.update(&content, &mut blocks).unwrap();
    let root = builder.finish(&mut blocks).unwrap().cid;
    (root, blocks, content)
}

/// How long a fetch that is stuck waits for another peer. Only the tests of what nobody has take so long.
const ARRIVAL: Duration = Duration::from_secs(3);

/// Everything below `root`, or none when nobody has it.
async fn fetch(node: &Node, root: Cid) -> Option<MemoryBlocks> {
    let mut session = node.handle.bitswap().unwrap().session(root);
    let mut walk = DagWalk::new(root, Limits::default());
    let mut here: HashMap<[u8; 32], Bytes> = HashMap::new();
    let mut blocks = MemoryBlocks::default();
    let mut stuck = false;
    while let Some(wanted) = walk.wanted().copied() {
        if let Some(block) = here.get(&wanted.digest().unwrap()) {
            walk.supply(block).unwrap();
            blocks.insert(wanted, block.to_vec());
            continue;
        }
        walk.upcoming().take(64).for_each(|cid| {
            if !here.contains_key(&cid.digest().unwrap()) {
                session.want(*cid);
            }
        });
        // Peers may be on their way still.
        match tokio::time::timeout(if stuck { ARRIVAL } else { PATIENCE }, session.next()).await {
            Ok(SessionEvent::Block { cid, data, .. }) => {
                stuck = false;
                here.insert(cid.digest().unwrap(), data);
            }
            Ok(SessionEvent::Stuck) => stuck = true,
            Err(_) => return None,
        }
    }
    Some(blocks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_from_several_nodes_at_once() {
    // More blocks than one peer is asked for at once, and none so fast that it has sent all of them before the
    // other one says that it has them too.
    let (root, blocks, content) = tree(5_000_000);
    let shelf = || Shelf { pause: Duration::from_millis(5), ..Shelf::of(&blocks) };
    let (first, second) = (node(shelf(), &[]).await, node(shelf(), &[]).await);
    let empty = node(Shelf::default(), &[]).await;
    let mut reader = node(Shelf::default(), &[&first, &second, &empty]).await;
    meet(&mut reader, 3).await;
    let mut fetched = tokio::time::timeout(PATIENCE, fetch(&reader, root)).await.unwrap().unwrap();
    let mut read = Vec::new();
    read_file(&mut fetched, root, .., Limits::default(), |bytes| {
        read.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    assert!(read == content);
    let of = |node: &Node| node.handle.bitswap().unwrap().stats();
    let (a, b) = (of(&first), of(&second));
    assert!(a.sent > 5 && b.sent > 5, "both had a part in it: {a:?} {b:?}");
    // On a busy machine one node may stall for long enough that the other is asked too.
    let blocks = blocks.len() as u64;
    assert!((blocks..blocks * 3 / 2).contains(&(a.sent + b.sent)), "few blocks came twice: {a:?} {b:?}");
    assert_eq!(of(&reader).received, blocks);
    assert_eq!((of(&reader).unasked, of(&empty).sent), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_is_told_and_a_node_without_blocks_is_no_obstacle() {
    let (root, mut blocks, _) = tree(500_000);
    let silent = Node::start(&[]).await;
    let lost = blocks.iter().map(|(cid, _)| *cid).find(|cid| *cid != root).unwrap();
    blocks.remove(&lost);
    let holed = node(Shelf::of(&blocks), &[]).await;
    let mut reader = node(Shelf::default(), &[&silent, &holed]).await;
    meet(&mut reader, 2).await;
    let fetched = tokio::time::timeout(PATIENCE, fetch(&reader, root)).await.unwrap();
    assert!(fetched.is_none(), "a block is missing");
    let nowhere = Cid::v0(b"nowhere");
    assert!(tokio::time::timeout(PATIENCE, fetch(&reader, nowhere)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lies_is_not_believed_and_another_one_is_asked() {
    let (root, blocks, _) = tree(500_000);
    let liar = node(Shelf { lies: true, ..Shelf::of(&blocks) }, &[]).await;
    let mut reader = node(Shelf::default(), &[&liar]).await;
    meet(&mut reader, 1).await;
    let honest = node(Shelf::of(&blocks), &[]).await;
    let reading = fetch(&reader, root);
    let meeting = async {
        // It is met when the liar was asked for the root.
        let lied = || reader.handle.bitswap().unwrap().stats().unasked > 0;
        while !lied() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        reader.handle.dial(honest.as_peer()).await;
    };
    let (fetched, ()) =
        tokio::time::timeout(PATIENCE, futures_util::future::join(reading, meeting)).await.unwrap();
    assert_eq!(fetched.unwrap().len(), blocks.len());
    let peers = reader.handle.peers();
    let liar = peers.iter().find(|info| info.peer == liar.id()).unwrap();
    assert!(liar.standing.faults.iter().any(|fault| fault.offence == aleph_p2p::Offence::UnaskedBlock));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_something_is_found_in_the_table() {
    let with_table = async |shelf: Shelf, bootstrap: &[&Node]| {
        let bootstrap = bootstrap.iter().map(|node| node.as_peer()).collect();
        let dht = Some(DhtConfig { scope: DhtScope::Private, bootstrap });
        let config = aleph_p2p::NetworkConfig { blocks: Some(Arc::new(shelf)), dht, ..config(&[]) };
        Node::with(config, key()).await
    };
    let (root, blocks, _) = tree(100_000);
    let middle = with_table(Shelf::default(), &[]).await;
    let giver = with_table(Shelf::of(&blocks), &[&middle]).await;
    let reader = with_table(Shelf::default(), &[&middle]).await;
    // Once, though its table has no peers yet.
    giver.handle.provide(root).await;
    let found = async {
        loop {
            // Again: the table may not have heard of it.
            reader.handle.find_providers(root).await;
            if let Some(blocks) = fetch(&reader, root).await {
                return blocks;
            }
        }
    };
    let fetched = tokio::time::timeout(PATIENCE, found).await.unwrap();
    assert_eq!(fetched.len(), blocks.len());
    assert!(reader.handle.peers().iter().any(|info| info.peer == giver.id()));
}

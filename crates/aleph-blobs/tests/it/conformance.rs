//! What must hold wherever files are: run on a folder here, and on an object store in `s3.rs`.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::{Duration, SystemTime};

use aleph_blobs::{BLOCK_SIZE, BlobError, BlobStore, ErrorKind, Verifier, Withdrawal};
use aleph_test_s3::S3Server;
use aleph_types::ItemHash;
use futures_util::TryStreamExt as _;
use tempfile::TempDir;

use crate::{files_below, noise};

/// As much as an object store takes in one part.
const PART: usize = 5 << 20;

const IDLE: Duration = Duration::from_secs(3600);

const CID: &str = "QmYULJoNGPDmoRq4WNWTDTUvJGJv1hosox8H6vVd1kCsY8";

/// A store, and the place behind it.
pub(crate) enum World {
    Folder(TempDir, BlobStore),
    S3(S3Server, BlobStore),
}

impl World {
    fn store(&self) -> &BlobStore {
        match self {
            Self::Folder(_, store) | Self::S3(_, store) => store,
        }
    }

    /// Everything that takes place, named or not.
    async fn everything(&self) -> Vec<String> {
        match self {
            Self::Folder(folder, _) => files_below(folder.path()),
            Self::S3(server, _) => server.everything().await.unwrap(),
        }
    }

    /// What is thrown away in the background goes.
    async fn comes_down_to(&self, count: usize) {
        for _ in 0..500 {
            if self.everything().await.len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("left behind: {:?}", self.everything().await);
    }

    /// As [`BlobStore::withdraw_sync`], of a file that has rested where `rested`.
    async fn withdraw(&self, hash: &ItemHash, rested: bool) -> Withdrawal {
        let (store, hash) = (self.store().clone(), hash.clone());
        if let (true, Some(path)) = (rested, store.local_path(&hash).unwrap()) {
            let file = std::fs::File::open(path).unwrap();
            file.set_modified(SystemTime::now() - 2 * IDLE).unwrap();
        }
        // An object store's clock can't be turned.
        let idle = if rested && matches!(self, Self::S3(..)) { Duration::ZERO } else { IDLE };
        blocking(move || store.withdraw_sync(&hash, idle).unwrap()).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_does_it() {
    let (folder, store) = crate::store();
    all(&World::Folder(folder, store)).await;
}

/// Every case, on an empty store that is empty again at the end.
pub(crate) async fn all(world: &World) {
    sizes(world).await;
    once(world).await;
    refused(world).await;
    dropped(world).await;
    names(world).await;
    archives(world).await;
    withdrawing(world).await;
    contested(world).await;
    at_once(world).await;
}

async fn clear(world: &World) {
    for store in [world.store().clone(), world.store().archives()] {
        let listed = store.clone();
        let all: Vec<ItemHash> =
            blocking(move || listed.iter().map(|entry| entry.unwrap().0).collect()).await;
        for hash in all {
            assert!(store.remove(&hash).await.unwrap());
        }
    }
    world.comes_down_to(0).await;
}

async fn sizes(world: &World) {
    let store = world.store();
    for size in
        [0, 1, 1000, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, PART, PART + 1, 2 * PART + 3 * BLOCK_SIZE]
    {
        let content = noise(size);
        let hash = ItemHash::sha256(&content);
        let mut writer = store.writer(size as u64);
        for chunk in content.chunks(700_001) {
            writer.write(chunk).await.unwrap();
        }
        assert_eq!(writer.written(), size as u64);
        assert_eq!(store.find(&hash).await.unwrap().map(|blob| blob.size()), None, "not before its end");
        let stored = writer.finish(Some(&hash)).await.unwrap();
        assert_eq!((&stored.hash, stored.size), (&hash, size as u64));
        assert_eq!(store.size(&hash).await.unwrap(), Some(size as u64));
        assert_eq!(store.read(&hash, u64::MAX).await.unwrap().unwrap(), content);
        assert_eq!(store.verify(&hash).await.unwrap(), Some(true));

        let blob = store.find(&hash).await.unwrap().unwrap();
        let size = size as u64;
        for (start, end) in [
            (0, 1),
            (0, size),
            (size / 2, size / 2 + 300_000),
            (size, size + 5),
            (7, 3),
            (size + 9, size + 10),
        ] {
            let expected = &content[start.min(size) as usize..end.clamp(start.min(size), size) as usize];
            assert_eq!(blob.read_at(start..end).await.unwrap(), expected, "{start}..{end} of {size}");
            let pieces: Vec<bytes::Bytes> = blob.stream(start..end).try_collect().await.unwrap();
            assert_eq!(pieces.concat(), expected, "{start}..{end} of {size}");
        }
        let (store, expected) = (store.clone(), content);
        blocking(move || {
            assert_eq!(store.read_sync(&hash, u64::MAX).unwrap().unwrap(), expected);
            assert_eq!(store.size_sync(&hash).unwrap(), Some(size));
            let blob = store.find_sync(&hash).unwrap().unwrap();
            assert_eq!(blob.read_at_sync(1..3).unwrap(), expected.get(1..3).unwrap_or_default());
        })
        .await;
    }
    let listed = store.clone();
    let total: u64 = blocking(move || listed.iter().map(|entry| entry.unwrap().1).sum()).await;
    assert_eq!(total, (1 + 1000 + 3 * BLOCK_SIZE + 2 * PART + 1 + 2 * PART + 3 * BLOCK_SIZE) as u64);
    clear(world).await;
}

async fn once(world: &World) {
    let store = world.store();
    for size in [5, PART + 7] {
        let content = noise(size);
        let first = store.put_bytes(content.clone()).await.unwrap();
        let (again, copy) = (store.clone(), content.clone());
        assert_eq!(blocking(move || again.put_bytes_sync(&copy).unwrap()).await, first);
        let mut writer = store.writer(size as u64);
        writer.write(&content).await.unwrap();
        assert_eq!(writer.finish(None).await.unwrap(), first);
        world.comes_down_to(1).await;
        clear(world).await;
    }
}

async fn refused(world: &World) {
    let store = world.store();
    for size in [10, BLOCK_SIZE + 1, 2 * PART + 1] {
        let expected = ItemHash::sha256(b"something else");
        let mut writer = store.writer(u64::MAX);
        writer.write(&noise(size)).await.unwrap();
        match writer.finish(Some(&expected)).await.unwrap_err() {
            BlobError::WrongHash { expected: wanted, actual } => {
                assert_eq!((wanted, actual), (expected, ItemHash::sha256(&noise(size))));
            }
            other => panic!("{other}"),
        }
        world.comes_down_to(0).await;
        let mut writer = store.writer(size as u64);
        writer.write(&noise(size)).await.unwrap();
        assert!(matches!(writer.write(b"x").await, Err(BlobError::TooLarge { .. })));
        assert!(matches!(writer.finish(None).await, Err(BlobError::Interrupted)));
        world.comes_down_to(0).await;
    }
    let hash = store.put_bytes(noise(1000)).await.unwrap().hash;
    assert!(matches!(store.read(&hash, 999).await, Err(BlobError::TooLarge { limit: 999 })));
    clear(world).await;
}

async fn dropped(world: &World) {
    for size in [10, 2 * BLOCK_SIZE, 2 * PART + 5, 3 * PART] {
        let mut writer = world.store().writer(u64::MAX);
        writer.write(&noise(size)).await.unwrap();
        drop(writer);
        world.comes_down_to(0).await;
    }
}

async fn names(world: &World) {
    let store = world.store();
    for text in [format!("../../../{}", "a".repeat(55)), "A".repeat(64), format!("Qm{}", "/".repeat(44))] {
        let hash = ItemHash::recognise(&text).unwrap();
        let error = store.read(&hash, 10).await.unwrap_err();
        assert!(matches!(&error, BlobError::UnsafeName(_)), "{text}");
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(store.find(&hash).await.is_err() && store.remove(&hash).await.is_err());
    }
    let missing = ItemHash::sha256(b"missing");
    assert_eq!(store.read(&missing, 10).await.unwrap(), None);
    assert_eq!(store.verify(&missing).await.unwrap(), None);
    assert!(!store.remove(&missing).await.unwrap());
    store.check().await.unwrap();
    world.comes_down_to(0).await;
}

/// Says that everything is the same CID, and what it saw.
#[derive(Debug, Default)]
struct Tree(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Verifier for Tree {
    fn update(&mut self, block: &[u8]) {
        self.0.fetch_add(block.len(), std::sync::atomic::Ordering::SeqCst);
    }

    fn finish(self: Box<Self>, _: Option<&ItemHash>) -> ItemHash {
        ItemHash::parse(CID).unwrap()
    }
}

async fn archives(world: &World) {
    let (files, archives) = (world.store(), world.store().archives());
    let cid = ItemHash::parse(CID).unwrap();
    let seen = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
    let mut writer = archives.writer_with(100, Box::new(Tree(seen.clone())));
    writer.write(b"archive").await.unwrap();
    writer.pass().await.unwrap();
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 7, "everything was passed on");
    writer.pass().await.unwrap();
    writer.write(b" and index").await.unwrap();
    writer.finish(Some(&cid)).await.unwrap();
    assert_eq!(files.size(&cid).await.unwrap(), None);
    let mut writer = files.writer_with(100, Box::new(Tree::default()));
    writer.write(b"file").await.unwrap();
    writer.finish(Some(&cid)).await.unwrap();
    assert_eq!(archives.read(&cid, 100).await.unwrap().unwrap(), "archive and index");
    assert_eq!(files.read(&cid, 100).await.unwrap().unwrap(), "file");
    for store in [files.clone(), archives.clone()] {
        assert_eq!(blocking(move || store.iter().count()).await, 1);
    }
    assert!(files.remove(&cid).await.unwrap());
    assert!(archives.contains(&cid).await.unwrap());
    clear(world).await;
}

async fn withdrawing(world: &World) {
    let store = world.store();
    let stored = store.put_bytes("content").await.unwrap();
    // Stored a moment ago: it stays.
    assert!(matches!(world.withdraw(&stored.hash, false).await, Withdrawal::InUse));
    let Withdrawal::Done(withdrawn) = world.withdraw(&stored.hash, true).await else {
        panic!("not withdrawn")
    };
    assert_eq!(withdrawn.size(), 7);
    assert!(!store.contains(&stored.hash).await.unwrap());
    assert_eq!(store.read(&stored.hash, 10).await.unwrap(), None);
    assert!(matches!(world.withdraw(&stored.hash, true).await, Withdrawal::Absent));
    blocking(move || drop(withdrawn)).await;
    assert_eq!(store.read(&stored.hash, 100).await.unwrap().unwrap(), "content");

    // Stored anew while it is taken out: it stays.
    let Withdrawal::Done(withdrawn) = world.withdraw(&stored.hash, true).await else {
        panic!("not withdrawn")
    };
    store.put_bytes("content").await.unwrap();
    blocking(move || withdrawn.delete().unwrap()).await;
    assert_eq!(store.read(&stored.hash, 100).await.unwrap().unwrap(), "content");

    let Withdrawal::Done(withdrawn) = world.withdraw(&stored.hash, true).await else {
        panic!("not withdrawn")
    };
    blocking(move || withdrawn.delete().unwrap()).await;
    assert!(!store.contains(&stored.hash).await.unwrap());
    world.comes_down_to(0).await;
}

async fn contested(world: &World) {
    let store = world.store().clone();
    let hash = store.put_bytes("contested").await.unwrap().hash;
    let rounds = 50;
    let storing = async {
        for _ in 0..rounds {
            store.put_bytes("contested").await.unwrap();
        }
    };
    let withdrawing = async {
        for _ in 0..rounds {
            if let Withdrawal::Done(withdrawn) = world.withdraw(&hash, true).await {
                blocking(move || withdrawn.delete().unwrap()).await;
            }
        }
    };
    tokio::join!(storing, withdrawing);
    // The last word is a store's.
    store.put_bytes("contested").await.unwrap();
    assert!(matches!(world.withdraw(&hash, false).await, Withdrawal::InUse));
    assert_eq!(store.read(&hash, 100).await.unwrap().unwrap(), "contested");
    clear(world).await;
}

async fn at_once(world: &World) {
    let tasks: Vec<_> = (0..32_u32)
        .map(|index| {
            let store = world.store().clone();
            tokio::spawn(async move { store.put_bytes((index / 2).to_le_bytes().to_vec()).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert!(world.store().contains(&task.await.unwrap().hash).await.unwrap());
    }
    let listed = world.store().clone();
    assert_eq!(blocking(move || listed.iter().count()).await, 16);
    clear(world).await;
}

use aleph_blobs::{BLOCK_SIZE, BlobError, BlobStore, ErrorKind, Verifier};
use aleph_types::ItemHash;

use crate::{files_below, noise, store};

#[tokio::test]
async fn files_of_every_size_come_back_as_they_went_in() {
    let (folder, store) = store();
    for size in [0, 1, 1000, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 3 * BLOCK_SIZE + 17] {
        let content = noise(size);
        let hash = ItemHash::sha256(&content);
        let mut writer = store.writer(size as u64);
        for chunk in content.chunks(70_001) {
            writer.write(chunk).await.unwrap();
        }
        assert_eq!(writer.written(), size as u64);
        let stored = writer.finish(Some(&hash)).await.unwrap();
        assert_eq!((&stored.hash, stored.size), (&hash, size as u64));
        assert_eq!(store.read(&hash, u64::MAX).await.unwrap().unwrap(), content);
        assert_eq!(store.verify(&hash).await.unwrap(), Some(true));
        let text = hash.as_str();
        let path = folder.path().join("files").join(&text[..2]).join(&text[2..4]).join(text);
        assert!(path.is_file(), "the layout is part of the contract");
    }
}

#[tokio::test]
async fn the_same_content_is_stored_once() {
    let (folder, store) = store();
    let first = store.put_bytes("twice").await.unwrap();
    assert_eq!(store.put_bytes("twice").await.unwrap(), first);
    assert_eq!(store.put_bytes_sync(b"twice").unwrap(), first);
    let mut writer = store.writer(5);
    writer.write(b"twice").await.unwrap();
    assert_eq!(writer.finish(None).await.unwrap(), first);
    assert_eq!(files_below(folder.path()).len(), 1);
}

#[tokio::test]
async fn a_cut_copy_is_replaced() {
    let (_folder, store) = store();
    let stored = store.put_bytes("whole").await.unwrap();
    std::fs::write(store.local_path(&stored.hash).unwrap().unwrap(), "who").unwrap();
    assert_eq!(store.verify(&stored.hash).await.unwrap(), Some(false));
    store.put_bytes("whole").await.unwrap();
    assert_eq!(store.verify(&stored.hash).await.unwrap(), Some(true));
}

#[tokio::test]
async fn a_wrong_hash_is_refused_and_nothing_stays() {
    let (folder, store) = store();
    for size in [10, 2 * BLOCK_SIZE + 1] {
        let expected = ItemHash::sha256(b"something else");
        let mut writer = store.writer(u64::MAX);
        writer.write(&noise(size)).await.unwrap();
        let error = writer.finish(Some(&expected)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        match error {
            BlobError::WrongHash { expected: wanted, actual } => {
                assert_eq!(wanted, expected);
                assert_eq!(actual, ItemHash::sha256(&noise(size)));
            }
            other => panic!("{other}"),
        }
    }
    assert!(files_below(folder.path()).is_empty());
}

#[tokio::test]
async fn too_much_is_refused_and_nothing_stays() {
    let (folder, store) = store();
    let limit = BLOCK_SIZE as u64 + 10;
    let mut writer = store.writer(limit);
    writer.write(&noise(BLOCK_SIZE + 10)).await.unwrap();
    let error = writer.write(b"x").await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { limit: told } if told == limit));
    let error = writer.finish(None).await.unwrap_err();
    assert!(matches!(error, BlobError::Interrupted), "{error}");
    leftovers_go(folder.path()).await;
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let (folder, store) = store();
    let mut writer = store.writer(u64::MAX);
    writer.write(&noise(2 * BLOCK_SIZE)).await.unwrap();
    drop(writer);
    leftovers_go(folder.path()).await;
}

/// A block that is still being written is removed when it is done.
async fn leftovers_go(folder: &std::path::Path) {
    for _ in 0..500 {
        if files_below(folder).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("left behind: {:?}", files_below(folder));
}

#[tokio::test]
async fn leftovers_of_a_crash_go_at_the_next_start_and_living_writers_stay() {
    let (folder, store) = store();
    let root = folder.path().join("files");
    let kept = store.put_bytes("kept").await.unwrap();
    std::fs::write(root.join("tmp").join("upload-crashed"), noise(1000)).unwrap();
    let mut living = store.writer(u64::MAX);
    living.write(&noise(BLOCK_SIZE)).await.unwrap();
    while std::fs::read_dir(root.join("tmp")).unwrap().count() < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }

    let again = BlobStore::open(&root).unwrap();
    assert!(!root.join("tmp").join("upload-crashed").exists());
    assert!(again.contains(&kept.hash).await.unwrap());
    let stored = living.finish(None).await.unwrap();
    assert_eq!(stored.hash, ItemHash::sha256(&noise(BLOCK_SIZE)));
    assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn many_small_files_at_once() {
    let (_folder, store) = store();
    let tasks: Vec<_> = (0..64_u32)
        .map(|index| {
            let store = store.clone();
            tokio::spawn(async move { store.put_bytes(index.to_le_bytes().to_vec()).await.unwrap() })
        })
        .collect();
    for task in tasks {
        let stored = task.await.unwrap();
        assert!(store.contains_sync(&stored.hash).unwrap());
    }
    assert_eq!(store.iter().count(), 64);
}

/// Stands for the tree hash of a CID.
#[derive(Debug, Default)]
struct FirstBytes(Vec<u8>);

const CID: &str = "QmYULJoNGPDmoRq4WNWTDTUvJGJv1hosox8H6vVd1kCsY8";

impl Verifier for FirstBytes {
    fn update(&mut self, block: &[u8]) {
        self.0.extend_from_slice(block);
    }

    fn finish(self: Box<Self>, _: Option<&ItemHash>) -> ItemHash {
        let text = if self.0 == b"tree" { CID.to_owned() } else { CID.replace("Y8", "Y9") };
        ItemHash::parse(&text).expect("a CID")
    }
}

#[tokio::test]
async fn cids_need_their_own_verifier() {
    let (folder, store) = store();
    let cid = ItemHash::parse(CID).unwrap();
    let mut writer = store.writer(10);
    writer.write(b"tree").await.unwrap();
    let error = writer.finish(Some(&cid)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert!(files_below(folder.path()).is_empty());

    let mut writer = store.writer_with(10, Box::<FirstBytes>::default());
    writer.write(b"leaf").await.unwrap();
    assert!(matches!(writer.finish(Some(&cid)).await, Err(BlobError::WrongHash { .. })));

    let mut writer = store.writer_with(10, Box::<FirstBytes>::default());
    writer.write(b"tree").await.unwrap();
    assert_eq!(writer.finish(Some(&cid)).await.unwrap().hash, cid);
    assert_eq!(store.read(&cid, 10).await.unwrap().as_deref(), Some(&b"tree"[..]));
    assert!(folder.path().join("files/Cs/Y8").join(CID).is_file());
    assert!(store.verify(&cid).await.is_err());
}

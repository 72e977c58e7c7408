use aleph_blobs::{BlobError, ErrorKind};
use aleph_types::ItemHash;

use crate::{files_below, noise, store};

#[tokio::test]
async fn what_is_not_there_is_none() {
    let (_folder, store) = store();
    let hash = ItemHash::sha256(b"missing");
    assert_eq!(store.read(&hash, 10).await.unwrap(), None);
    assert_eq!(store.read_sync(&hash, 10).unwrap(), None);
    assert!(store.find(&hash).await.unwrap().is_none());
    assert!(store.find_sync(&hash).unwrap().is_none());
    assert_eq!(store.size(&hash).await.unwrap(), None);
    assert!(!store.contains(&hash).await.unwrap());
    assert!(!store.remove(&hash).await.unwrap());
    assert_eq!(store.verify(&hash).await.unwrap(), None);
    assert_eq!(store.local_path(&hash).unwrap(), None);
    assert_eq!(store.iter().count(), 0);
}

#[tokio::test]
async fn reading_into_memory_is_capped() {
    let (_folder, store) = store();
    let hash = store.put_bytes(noise(1000)).await.unwrap().hash;
    assert_eq!(store.read(&hash, 1000).await.unwrap().unwrap().len(), 1000);
    let error = store.read(&hash, 999).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { limit: 999 }));
}

#[tokio::test]
async fn an_open_file_survives_its_removal() {
    let (folder, store) = store();
    let content = noise(100_000);
    let hash = store.put_bytes(content.clone()).await.unwrap().hash;
    let blob = store.find(&hash).await.unwrap().unwrap();
    assert_eq!(blob.size(), 100_000);
    assert!(store.remove(&hash).await.unwrap());
    assert!(files_below(folder.path()).is_empty());
    assert_eq!(blob.read_at(0..u64::MAX).await.unwrap(), content);
}

#[tokio::test]
async fn names_that_could_leave_the_folder_are_refused() {
    let (folder, store) = store();
    let outside = folder.path().join("secret");
    std::fs::write(&outside, "secret").unwrap();
    // The envelope's recogniser lets any 64 characters pass.
    for text in [
        format!("../../../{}", "a".repeat(55)),
        format!("/{}", "a".repeat(63)),
        format!("{}/{}", "a".repeat(31), "b".repeat(32)),
        format!("{}\0", "a".repeat(63)),
        "A".repeat(64),
        "é".repeat(64),
        format!("Qm{}", "/".repeat(44)),
        format!("bafy{}", ".".repeat(55)),
    ] {
        let hash = ItemHash::recognise(&text).unwrap();
        let error = store.read(&hash, 10).await.unwrap_err();
        assert!(matches!(&error, BlobError::UnsafeName(_)), "{text}");
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(store.find(&hash).await.is_err());
        assert!(store.remove(&hash).await.is_err());
        assert!(store.size_sync(&hash).is_err());
    }
    assert_eq!(files_below(folder.path()).len(), 1);
}

#[tokio::test]
async fn the_walk_finds_every_file_and_nothing_else() {
    let (folder, store) = store();
    let root = folder.path().join("files");
    let mut expected = Vec::new();
    for index in 0..20_usize {
        let stored = store.put_bytes(noise(index)).await.unwrap();
        expected.push((stored.hash, stored.size));
    }
    std::fs::write(root.join("tmp/upload-x"), "x").unwrap();
    std::fs::write(root.join("README"), "x").unwrap();
    std::fs::create_dir_all(root.join("ab/cd")).unwrap();
    std::fs::write(root.join("ab/cd/notes.txt"), "x").unwrap();
    let mut found: Vec<_> = store.iter().map(Result::unwrap).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_folder_that_can_not_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = aleph_blobs::BlobStore::open(file.join("store")).unwrap_err();
    assert!(error.to_string().contains("file/store"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

//! An object store that is real, goes down, and comes back.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::Duration;

use aleph_blobs::{BlobStore, ErrorKind, S3Options};
use aleph_test_s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use aleph_types::ItemHash;

use crate::conformance::{World, all};
use crate::noise;

fn options(server: &S3Server) -> S3Options {
    S3Options {
        endpoint: Some(server.url().to_owned()),
        bucket: BUCKET.to_owned(),
        prefix: "node/one".to_owned(),
        region: "us-east-1".to_owned(),
        access_key_id: Some(ACCESS_KEY.to_owned()),
        secret_access_key: Some(SECRET_KEY.to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_does_it() {
    let Some(server) = S3Server::start().await.unwrap() else { return };
    let store = BlobStore::open_s3(&options(&server)).unwrap();
    all(&World::S3(server, store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_down_is_told_and_comes_back() {
    let Some(server) = S3Server::start().await.unwrap() else { return };
    // What a killed process left.
    server.put("node/one/tmp/other-1", b"x".to_vec()).await.unwrap();
    let store = BlobStore::open_s3(&options(&server)).unwrap();
    for _ in 0..250 {
        if server.everything().await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.everything().await.unwrap(), Vec::<String>::new());

    let stored = store.put_bytes(noise(1000)).await.unwrap();
    assert_eq!(store.verify(&stored.hash).await.unwrap(), Some(true));
    // What was changed behind the node's back is noticed.
    server.put(&format!("node/one/files/{}", stored.hash), vec![0; 1000]).await.unwrap();
    assert_eq!(server.everything().await.unwrap().len(), 1);
    assert_eq!(store.verify(&stored.hash).await.unwrap(), Some(false));

    // Half of an upload is there when the store goes.
    let content = noise(30 << 20);
    let mut writer = store.writer(u64::MAX);
    writer.write(&content[..12 << 20]).await.unwrap();
    let server = server.restart().await.unwrap();
    let written = writer.write(&content[12 << 20..]).await;
    let finished = match written {
        Ok(()) => writer.finish(None).await.map(drop),
        Err(error) => Err(error),
    };
    let error = finished.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(!store.contains(&ItemHash::sha256(&content)).await.unwrap());
    // It goes on without being opened again.
    let again = store.put_bytes(content).await.unwrap();
    assert_eq!(store.verify(&again.hash).await.unwrap(), Some(true));

    // Down, and in another bucket: in words.
    let elsewhere = S3Options { bucket: "other".to_owned(), ..options(&server) };
    let error = BlobStore::open_s3(&elsewhere).unwrap().check().await.unwrap_err().to_string();
    assert!(error.contains("object store") && error.contains("files.s3"), "{error}");
    drop(server);
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("see that it runs"), "{error}");
    assert!(store.put_bytes("x").await.is_err());
}

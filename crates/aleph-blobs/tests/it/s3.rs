//! An object store that is real, goes down, and comes back.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::Duration;

use aleph_blobs::{BlobStore, ErrorKind, S3Options};
use aleph_types::ItemHash;

use crate::conformance::{World, all};
use crate::noise;
use crate::s3_server::{BUCKET, S3Server};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_store_does_it() {
    let Some(server) = S3Server::start().await else { return };
    let store = server.store();
    all(&World::S3(server, store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_down_is_told_and_comes_back() {
    let Some(server) = S3Server::start().await else { return };
    let client = reqwest::Client::new();
    // What a killed process left.
    let leftover = format!("{}/{BUCKET}/node/one/tmp/other-1", server.url);
    let put = client.put(&leftover).header("authorization", "AWS key:x").body("x").send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    let store = server.store();
    for _ in 0..250 {
        if server.everything().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.everything().await, Vec::<String>::new());

    let stored = store.put_bytes(noise(1000)).await.unwrap();
    assert_eq!(store.verify(&stored.hash).await.unwrap(), Some(true));
    // What was changed behind the node's back is noticed.
    let object = format!("{}/{BUCKET}/node/one/files/{}", server.url, stored.hash);
    let put =
        client.put(&object).header("authorization", "AWS key:x").body(vec![0; 1000]).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    assert_eq!(server.everything().await.len(), 1);
    assert_eq!(store.verify(&stored.hash).await.unwrap(), Some(false));

    // Half of an upload is there when the store goes.
    let content = noise(30 << 20);
    let mut writer = store.writer(u64::MAX);
    writer.write(&content[..12 << 20]).await.unwrap();
    let server = server.restart().await;
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
    let elsewhere = S3Options { bucket: "other".to_owned(), ..server.options() };
    let error = BlobStore::open_s3(&elsewhere).unwrap().check().await.unwrap_err().to_string();
    assert!(error.contains("object store") && error.contains("files.s3"), "{error}");
    drop(server);
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("see that it runs"), "{error}");
    assert!(store.put_bytes("x").await.is_err());
}

//! Taking files out, while others store them again.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::time::{Duration, SystemTime};

use aleph_blobs::{BlobStore, Withdrawal};

use crate::{files_below, store};

const IDLE: Duration = Duration::from_secs(3600);

fn age(store: &BlobStore, hash: &aleph_types::ItemHash) {
    let path = store.local_path(hash).unwrap().unwrap();
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(SystemTime::now() - 2 * IDLE).unwrap();
}

#[test]
fn a_file_is_taken_out_and_deleted_or_put_back() {
    let (folder, store) = store();
    let stored = store.put_bytes_sync(b"content").unwrap();
    let withdraw = || store.withdraw_sync(&stored.hash, IDLE).unwrap();

    // Stored a moment ago: it stays.
    assert!(matches!(withdraw(), Withdrawal::InUse));
    assert!(store.contains_sync(&stored.hash).unwrap());

    age(&store, &stored.hash);
    let Withdrawal::Done(withdrawn) = withdraw() else { panic!("not withdrawn") };
    assert_eq!(withdrawn.size(), 7);
    assert!(!store.contains_sync(&stored.hash).unwrap());
    assert!(matches!(withdraw(), Withdrawal::Absent));
    drop(withdrawn);
    assert_eq!(store.read_sync(&stored.hash, 100).unwrap().as_deref(), Some(&b"content"[..]));

    // Stored again counts as stored a moment ago.
    store.put_bytes_sync(b"content").unwrap();
    assert!(matches!(withdraw(), Withdrawal::InUse));

    age(&store, &stored.hash);
    let Withdrawal::Done(withdrawn) = withdraw() else { panic!("not withdrawn") };
    withdrawn.delete().unwrap();
    assert!(!store.contains_sync(&stored.hash).unwrap());
    assert_eq!(files_below(folder.path()), Vec::<String>::new());
}

#[test]
fn what_was_stored_anew_survives_the_deletion() {
    let (_folder, store) = store();
    let stored = store.put_bytes_sync(b"content").unwrap();
    age(&store, &stored.hash);
    let Withdrawal::Done(withdrawn) = store.withdraw_sync(&stored.hash, IDLE).unwrap() else {
        panic!("not withdrawn")
    };
    store.put_bytes_sync(b"content").unwrap();
    withdrawn.delete().unwrap();
    assert!(store.contains_sync(&stored.hash).unwrap());
}

#[test]
fn a_dead_process_leaves_no_withdrawn_files() {
    let (folder, store) = store();
    let stored = store.put_bytes_sync(b"content").unwrap();
    age(&store, &stored.hash);
    let withdrawal = store.withdraw_sync(&stored.hash, IDLE).unwrap();
    std::mem::forget(withdrawal);
    assert_eq!(files_below(folder.path()).len(), 1);
    drop(store);
    let again = BlobStore::open(folder.path().join("files")).unwrap();
    assert!(!again.contains_sync(&stored.hash).unwrap());
    assert_eq!(files_below(folder.path()), Vec::<String>::new());
}

#[test]
fn storing_and_withdrawing_at_once_never_loses_what_was_stored_last() {
    let (_folder, store) = store();
    let hash = store.put_bytes_sync(b"contested").unwrap().hash;
    std::thread::scope(|scope| {
        let withdrawing = scope.spawn(|| {
            for _ in 0..300 {
                if let Some(path) = store.local_path(&hash).unwrap()
                    && let Ok(file) = std::fs::File::open(path)
                {
                    file.set_modified(SystemTime::now() - 2 * IDLE).unwrap();
                }
                if let Withdrawal::Done(withdrawn) = store.withdraw_sync(&hash, IDLE).unwrap() {
                    withdrawn.delete().unwrap();
                }
            }
        });
        for _ in 0..300 {
            store.put_bytes_sync(b"contested").unwrap();
        }
        withdrawing.join().unwrap();
    });
    // The last word is a store's.
    store.put_bytes_sync(b"contested").unwrap();
    assert!(matches!(store.withdraw_sync(&hash, IDLE).unwrap(), Withdrawal::InUse));
    assert!(store.contains_sync(&hash).unwrap());
}

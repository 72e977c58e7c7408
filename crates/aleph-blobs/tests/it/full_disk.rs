//! A full disk, made of a small memory file system in a mount namespace of its own.

use std::process::Command;

use aleph_blobs::{BlobError, BlobStore, ErrorKind};
use aleph_types::ItemHash;

use crate::{files_below, noise};

const SMALL_DISK: &str = "ALEPH_BLOBS_SMALL_DISK";
const INNER: &str = "full_disk::inside_the_small_disk";

/// Runs [`inside_the_small_disk`] where a 2 MiB file system is mounted.
#[test]
fn a_full_disk_is_told_apart_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        r#"mount -t tmpfs -o size=2m none "$1" || exit 77; exec "$2" --exact "$3" --ignored --nocapture"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg(INNER)
        .env(SMALL_DISK, folder.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("1 passed"), "{text}");
        }
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("running 1 test") => {
            panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        _ => eprintln!("skipped: no mount namespace can be made here"),
    }
}

#[tokio::test]
#[ignore = "run by a_full_disk_is_told_apart_and_leaves_nothing"]
async fn inside_the_small_disk() {
    let Some(root) = std::env::var_os(SMALL_DISK) else {
        eprintln!("skipped: run by another test");
        return;
    };
    let store = BlobStore::open(&root).unwrap();
    let kept = store.put_bytes(noise(100_000)).await.unwrap();

    let content = noise(4 << 20);
    let mut writer = store.writer(u64::MAX);
    let mut failed = None;
    for chunk in content.chunks(100_000) {
        if let Err(error) = writer.write(chunk).await {
            failed = Some(error);
            break;
        }
    }
    let error = match failed {
        Some(error) => {
            drop(writer);
            error
        }
        None => writer.finish(None).await.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(matches!(error, BlobError::NoSpace { .. }));
    assert!(error.to_string().contains("free space"), "{error}");

    let error = store.put_bytes(content).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(files_below(root.as_ref()).len(), 1, "{:?}", files_below(root.as_ref()));

    // What fits still works.
    assert_eq!(store.verify(&kept.hash).await.unwrap(), Some(true));
    let small = store.put_bytes("small").await.unwrap();
    assert_eq!(small.hash, ItemHash::sha256(b"small"));
}

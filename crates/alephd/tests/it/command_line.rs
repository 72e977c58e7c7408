//! Configurations and keys from the command line.

use std::path::Path;
use std::process::Output;

use crate::harness::alephd;

async fn run(args: &[&str], file: &Path) -> Output {
    alephd().args(args).arg(file).output().await.expect("it runs")
}

#[tokio::test]
async fn a_misspelt_key_is_answered_with_the_right_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ccn.toml");
    std::fs::write(&file, "[http]\nlissten = \"127.0.0.1:4024\"\n").expect("written");
    let ended = run(&["config", "check", "ccn", "--config"], &file).await;
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("`http.lissten`") && said.contains("did you mean `listen`?"), "{said}");
}

#[tokio::test]
async fn a_check_shows_what_a_node_would_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ccn.toml");
    std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:1111\"\n").expect("written");
    let ended = alephd()
        .args(["config", "check", "ccn", "--data-dir", "/tmp/of-a-flag", "--config"])
        .arg(&file)
        .env("ALEPHD_CCN__HTTP__LISTEN", "127.0.0.1:2222")
        .output()
        .await
        .expect("it runs");
    let shown = String::from_utf8_lossy(&ended.stdout);
    assert!(shown.contains("127.0.0.1:2222") && shown.contains("/tmp/of-a-flag"), "{shown}");
}

#[tokio::test]
async fn a_key_is_made_and_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("operator.key");
    let made = run(&["keys", "generate"], &file).await;
    let shown = run(&["keys", "show"], &file).await;
    assert!(made.status.success() && shown.status.success());
    assert_eq!(made.stdout, shown.stdout);
    assert!(String::from_utf8_lossy(&shown.stdout).starts_with("0x"));
    let again = run(&["keys", "generate"], &file).await;
    assert!(!again.status.success(), "a key is never overwritten");
}

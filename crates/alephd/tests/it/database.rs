//! A node whose database is on a PostgreSQL server: what it says when that can't be used.

use std::sync::Arc;

use aleph_test_postgres::{Options, Server};
use reqwest::StatusCode;

use crate::core_node::CoreNode;
use crate::harness::{alephd, eventually};
use crate::traffic::{Item, history};

fn node(folder: &tempfile::TempDir, url: &str) -> CoreNode {
    CoreNode::new(folder.path()).with("STORAGE__DATABASE", url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_used_is_refused_in_words() {
    let mut server = Server::start(Options::fast()).expect("a server");
    let url = server.database("node").expect("a database");
    let folder = || tempfile::tempdir().expect("a folder");
    let mut said = Vec::new();

    let wrong = folder();
    let other_password = url.replace(server.password(), "another-password");
    said.push(("refuses the account", node(&wrong, &other_password).fails_to_start().await));

    let missing = folder();
    let other_name = server.url("nowhere");
    said.push(("createdb", node(&missing, &other_name).fails_to_start().await));

    let (first, second) = (folder(), folder());
    let mut running = node(&first, &url);
    running.start().await;
    said.push(("another alephd writes this database", node(&second, &url).fails_to_start().await));
    running.stop().await;

    server.query("node", "INSERT INTO migrations VALUES (99, 'x')").expect("a row");
    let newer = folder();
    said.push(("run a newer alephd", node(&newer, &url).fails_to_start().await));

    server.stop().expect("it runs");
    let down = folder();
    said.push(("can't be reached", node(&down, &url).fails_to_start().await));

    for (words, log) in &said {
        println!("{}", log.trim_end());
        assert!(log.contains(words), "{words:?} is not said: {log}");
        assert!(log.contains("storage.database"), "the setting is not named: {log}");
        assert!(!log.contains(server.password()) && !log.contains("another-password"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_told_to_clients_and_missed_by_no_message() {
    let items: Arc<[Item]> = history(6, 400).into();
    let mut server = Server::start(Options::durable()).expect("a server");
    let url = server.database("node").expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = node(&folder, &url);
    node.start().await;
    node.take_all(&items, 0..200).await;
    let state = node.digest().await;
    let item = items.iter().skip(200).find(|item| item.file.is_none()).expect("there is one");

    server.kill9().expect("it runs");
    for _ in 0..5 {
        let (status, text) = node.publish_once(item).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(text.contains("database server") && text.contains("by itself"), "{text}");
    }
    let health = node.get("/api/v1/node/health").await;
    let problems = health["problems"].to_string();
    assert!(problems.contains("can't store messages now"), "{health:#}");
    assert!(!problems.contains(server.password()), "{health:#}");

    server.start_again().expect("it starts again");
    eventually("it takes messages again", async || node.publish_once(item).await.0.is_success()).await;
    let health = node.get("/api/v1/node/health").await;
    assert!(!health["problems"].to_string().contains("can't store"), "{health:#}");
    assert_ne!(node.digest().await["digest"], state["digest"]);
    node.take_all(&items, 0..items.len()).await;
    assert_eq!(node.digest().await["rows"]["statuses"], items.len());
    node.stop().await;
}

#[tokio::test]
async fn a_checked_configuration_shows_no_password() {
    let url = "postgres://alephd:my-secret@127.0.0.1:5432/node";
    for (flag, environment) in [(Some(url), None), (None, Some(url))] {
        let mut command = alephd();
        command.args(["config", "check", "ccn"]);
        command.args(flag.iter().flat_map(|url| ["--database", url]));
        command.envs(environment.map(|url| ("ALEPHD_CCN__STORAGE__DATABASE", url)));
        let output = command.output().await.expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(r#"database = "postgres://alephd@127.0.0.1:5432/node""#), "{text}");
        assert!(!text.contains("my-secret"), "{text}");
    }
    let output = alephd()
        .args(["config", "check", "ccn", "--database", "postgres://alephd:my-secret@/node?port=x"])
        .output()
        .await
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("postgres://user:password@host"), "{text}");
    assert!(!text.contains("my-secret"), "{text}");
}

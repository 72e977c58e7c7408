//! `alephd devnet` starts, spreads, resumes and ends.

use std::net::TcpListener;

use aleph_sdk::MessageBuilder;
use aleph_types::MessageStatus;
use serde_json::json;

use crate::harness::{Devnet, alephd, eventually, is_alive};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_on_every_core_node_and_is_there_after_a_restart() {
    let state = tempfile::tempdir().expect("a folder");
    let devnet = Devnet::start(state.path()).await;
    let account = devnet.account();
    let note = MessageBuilder::post("note", json!({"text": "hello"}));
    let published = devnet.client(0).publish(&account, note, true).await.expect("it is taken");
    assert_eq!(published.status, MessageStatus::Processed);
    for node in 0..3 {
        devnet
            .client(node)
            .wait_processed(&published.item_hash, crate::harness::PATIENCE)
            .await
            .expect("it spreads");
    }
    eventually("all nodes have the same state", async || {
        let mut inspect = alephd();
        inspect.args(["inspect", "digest"]);
        for node in 0..3 {
            inspect.args(["--node", devnet.url(node)]);
        }
        inspect.output().await.expect("it runs").status.success()
    })
    .await;
    let keys_before = (account.address().clone(), devnet.description["core_nodes"][0]["node_hash"].clone());
    devnet.stop().await;

    let devnet = Devnet::start(state.path()).await;
    let keys_after =
        (devnet.account().address().clone(), devnet.description["core_nodes"][0]["node_hash"].clone());
    assert_eq!(keys_after, keys_before);
    for node in 0..3 {
        let status = devnet.client(node).message_status(&published.item_hash).await.expect("it answers");
        assert_eq!(status, Some(MessageStatus::Processed));
    }
    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_the_devnet_is_killed() {
    let state = tempfile::tempdir().expect("a folder");
    let devnet = Devnet::start(state.path()).await;
    let nodes: Vec<u64> = devnet.pids().into_iter().flatten().collect();
    assert_eq!(nodes.len(), 5);
    assert!(nodes.iter().copied().all(is_alive));
    devnet.kill().await;
    eventually("every node ends", async || !nodes.iter().copied().any(is_alive)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_list_is_there_from_the_beginning() {
    let state = tempfile::tempdir().expect("a folder");
    let devnet = Devnet::start(state.path()).await;
    let publisher = aleph_types::Address::from("0xa1B3bb7d2332383D96b7796B908fB7f7F3c2Be10");
    for node in 0..3 {
        let found = devnet.client(node).aggregates(&publisher, &["corechannel"]).await.expect("it answers");
        let list = found.get("corechannel").expect("the genesis says it");
        assert_eq!(list["nodes"].as_array().map(Vec::len), Some(3));
        assert_eq!(list["resource_nodes"].as_array().map(Vec::len), Some(2));
    }
    devnet.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    // any port whose followers are in range
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("an address").port();
    if port > 60_000 {
        return;
    }
    let ended = alephd()
        .args(["devnet", "--ephemeral", "--no-vm", "--base-port", &port.to_string()])
        .output()
        .await
        .expect("it runs");
    assert!(!ended.status.success());
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        said.contains(&format!("port {port} of core node 0 (HTTP)")) && said.contains("--base-port"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_networks_do_not_share_a_folder() {
    let state = tempfile::tempdir().expect("a folder");
    let devnet = Devnet::start(state.path()).await;
    let second = alephd()
        .args(["devnet", "--no-vm", "--base-port", "0", "--state"])
        .arg(state.path())
        .output()
        .await
        .expect("it runs");
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another devnet runs"), "{second:?}");
    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_against_the_network_and_its_code_is_the_devnets() {
    let script = "test -s \"$ALEPH_DEVNET\" && exit 7";
    let ended = alephd()
        .args([
            "--log",
            "warn",
            "devnet",
            "--ephemeral",
            "--no-vm",
            "--base-port",
            "0",
            "--",
            "sh",
            "-c",
            script,
        ])
        .output()
        .await
        .expect("it runs");
    assert_eq!(ended.status.code(), Some(7), "{}", String::from_utf8_lossy(&ended.stderr));
}

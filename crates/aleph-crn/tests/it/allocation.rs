//! Schedulers: who may, once, and what follows.

use aleph_crypto::EvmKey;
use serde_json::json;

use crate::core_node::CoreNode;
use crate::node::{Node, config, scheduler, status_and_json};

const REFUSED: &str = "Authentication token received is invalid";

#[tokio::test]
async fn only_the_right_signer_and_only_once() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &[&core.url])).await;
    let body = r#"{"persistent_vms":[],"instances":[]}"#;

    let request = node.signed_allocation(&scheduler(), body);
    let replay = request.try_clone().unwrap();
    let (status, answer) = status_and_json(request.send().await.unwrap()).await;
    assert_eq!((status, &answer["success"]), (200, &json!(true)), "{answer}");
    for refused in [
        replay,
        node.signed_allocation(&EvmKey::from_bytes([5; 32]).unwrap(), body),
        node.signed_allocation(&scheduler(), body).body("{}"),
        node.request("POST", "/control/allocations").body(body),
        node.request("POST", "/control/allocations").header("x-auth-signature", "token").body(body),
        node.request("POST", "/control/allocations?x=1").body(body),
    ] {
        let answer = status_and_json(refused.send().await.unwrap()).await;
        assert_eq!(answer, (401, json!({"error": REFUSED})));
    }
    let bad = node.signed_allocation(&scheduler(), r#"{"persistent_vms":["x"]}"#).send().await.unwrap();
    let (status, answer) = status_and_json(bad).await;
    assert_eq!(status, 400);
    assert_eq!(answer[0]["loc"], json!(["persistent_vms", 0]));
    node.stop().await;
}

#[tokio::test]
async fn the_parent_core_node_may_allocate() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &[&core.url]);
    let node_hash = "b".repeat(64);
    config.allocation_signers = vec!["0x0000000000000000000000000000000000000001".into()];
    config.node_hash = Some(node_hash.parse().unwrap());
    let operator = EvmKey::from_bytes([6; 32]).unwrap();
    let list = json!({
        "nodes": [{"hash": "c", "owner": operator.address().to_string(), "manager": ""}],
        "resource_nodes": [{"hash": node_hash, "parent": "c"}],
    });
    let owner = config.corechannel_owner.to_string();
    core.set_aggregate(&owner, "corechannel", list);
    let node = Node::start(config).await;
    let allowed = node.signed_allocation(&operator, "{}").send().await.unwrap();
    assert_eq!(allowed.status(), 200);
    let refused = node.signed_allocation(&scheduler(), "{}").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    node.stop().await;
}

#[tokio::test]
async fn allocated_programs_are_listed_prepared_and_dropped() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &[&core.url]);
    // Files only: what runs is another test's business.
    config.vm.templates = false;
    // A stand-in for the kernel, so that a plan can be made without `runtimes/build`.
    std::fs::write(folder.path().join("image"), "x").unwrap();
    config.vm.kernel = Some(folder.path().join("image").to_string_lossy().into_owned().into());
    config.vm.initramfs = config.vm.kernel.clone();
    let node = Node::start(config.clone()).await;
    let (code, runtime) = (core.store("app = None"), core.store("runtime"));
    let program = core.program(&code, &runtime, json!({}));
    let unknown = "a".repeat(64);
    let (status, answer) = node.allocate(json!({"on_demand_vms": [program, unknown], "instances": []})).await;
    assert_eq!(status, 207, "{answer}");
    assert_eq!(answer["successful"], json!([program]));
    assert_eq!(answer["failing"], json!([unknown]));
    assert!(answer["errors"][&unknown].as_str().unwrap().contains("not found"), "{answer}");

    let hash = program.to_string();
    let report = node.until(&hash, |report| report["stages"].to_string().contains("images_fetched")).await;
    assert_eq!(report["allocated"], true);
    assert_eq!(report["allocated_by"], json!([scheduler().address().to_string().to_lowercase()]));
    assert_eq!(report["starts"], 0);
    let (_, list) = node.json("/v2/about/executions/list").await;
    assert_eq!(list[&hash]["running"], false);
    assert_eq!(list[&hash]["vm_type"], "microvm");
    let downloads = core.downloads();
    assert_eq!(downloads, 2, "code and runtime, once each");
    node.stop().await;

    // A restarted node still knows, and fetches nothing again.
    let node = Node::start(config).await;
    let report = node.until(&hash, |report| report["stages"].to_string().contains("images_fetched")).await;
    assert_eq!(report["allocated"], true);
    assert_eq!(core.downloads(), downloads);
    let (status, answer) = node.allocate(json!({"on_demand_vms": []})).await;
    assert_eq!((status, &answer["stopped"]), (200, &json!([unknown, program])), "{answer}");
    let report = node.until(&hash, |report| report["allocated"] == false).await;
    assert_eq!(report["allocated_by"], json!([]));

    // The message is forgotten: so is the program.
    while core.listeners() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    core.forget(&program);
    node.until(&hash, |report| report["error"].as_str().is_some_and(|text| text.contains("does not know")))
        .await;
    let (status, body) = node.json(&format!("/vm/{hash}/")).await;
    assert_eq!((status, &body["code"]), (410, &json!("message_gone")), "{body}");
    node.stop().await;
}

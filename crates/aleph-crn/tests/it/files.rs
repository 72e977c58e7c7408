//! Files: verified, bounded, fetched once, from whichever core node has the right one.

use aleph_types::ItemHash;
use serde_json::json;

use crate::core_node::CoreNode;
use crate::node::{Node, config};

const CODE: &str = "app = None";

#[tokio::test]
async fn a_corrupt_file_is_refused_and_another_source_is_tried() {
    let (bad, good) = (CoreNode::start().await, CoreNode::start().await);
    let folder = tempfile::tempdir().unwrap();
    let runtime = "not really a runtime";
    for core in [&bad, &good] {
        core.store(runtime);
    }
    let code = bad.store(CODE);
    let runtime_store = bad.store(runtime);
    let program = bad.program(&code, &runtime_store, json!({}));
    bad.corrupt(&ItemHash::sha256(CODE.as_bytes()), b"something else");
    let node = Node::start(config(folder.path(), &[&bad.url])).await;
    let (status, body) = node.json(&format!("/vm/{program}/")).await;
    assert_eq!((status, &body["code"]), (400, &json!("file_corrupt")), "{body}");
    assert!(body["error"].as_str().unwrap().contains("hash to"), "{body}");
    let (_, report) = node.json(&format!("/api/v1/executions/{program}")).await;
    assert_eq!(report["starts"], 0, "nothing was started: {report}");
    assert_eq!(report["failure"]["code"], "file_corrupt");
    node.stop().await;

    // A second core node with the right bytes.
    good.store(CODE);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &[&bad.url, &good.url])).await;
    let (_, body) = node.json(&format!("/vm/{program}/")).await;
    assert_ne!(body["code"], json!("file_corrupt"), "{body}");
    let (_, report) = node.json(&format!("/api/v1/executions/{program}")).await;
    assert_eq!(report["files"][0]["size"], CODE.len(), "{report}");
    node.stop().await;
}

#[tokio::test]
async fn a_missing_file_and_a_missing_store_message() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let code = core.store(CODE);
    let nowhere: ItemHash = "a".repeat(64).parse().unwrap();
    let node = Node::start(config(folder.path(), &[&core.url])).await;

    let program = core.program(&code, &nowhere, json!({}));
    let (status, body) = node.json(&format!("/vm/{program}/")).await;
    assert_eq!((status, &body["code"]), (400, &json!("file_unavailable")), "{body}");
    assert!(
        body["error"].as_str().unwrap().starts_with("400: Code, runtime or data not available"),
        "{body}"
    );

    let lost = "# lost";
    let lost_store = core.store(lost);
    core.remove_file(&ItemHash::sha256(lost.as_bytes()));
    let program = core.program(&lost_store, &code, json!({}));
    let (status, body) = node.json(&format!("/vm/{program}/")).await;
    assert_eq!((status, &body["code"]), (400, &json!("file_unavailable")), "{body}");

    // The next request soon after gets the kept answer, with a time to come back.
    let again = node.get(&format!("/vm/{program}/")).await;
    assert_eq!(again.status(), 400);
    assert!(again.headers().contains_key("retry-after"));
    node.stop().await;
}

#[tokio::test]
async fn code_that_is_too_large() {
    let core = CoreNode::start().await;
    let folder = tempfile::tempdir().unwrap();
    let code = core.store(vec![b'#'; 2000]);
    let runtime = core.store("runtime");
    let program = core.program(&code, &runtime, json!({}));
    let mut config = config(folder.path(), &[&core.url]);
    config.limits.inline_code_bytes = 1999;
    let node = Node::start(config).await;
    let (status, body) = node.json(&format!("/vm/{program}/")).await;
    assert_eq!((status, &body["code"]), (500, &json!("file_too_large")), "{body}");
    let words = body["error"].as_str().unwrap();
    assert!(words.starts_with("500: Program file too large to pass as an inline zip"), "{words}");
    node.stop().await;
}

#[tokio::test]
async fn many_programs_share_one_download_and_a_silent_source_is_left() {
    let (silent, good) = (CoreNode::start().await, CoreNode::start().await);
    let folder = tempfile::tempdir().unwrap();
    let (code, runtime) = (good.store(CODE), good.store("runtime"));
    let programs: Vec<_> =
        (0..5).map(|n| good.program(&code, &runtime, json!({"metadata": {"n": n}}))).collect();
    silent.stall(&ItemHash::sha256(CODE.as_bytes()));
    let mut config = config(folder.path(), &[&silent.url, &good.url]);
    config.limits.download_stall_seconds = 1;
    config.vm.templates = false;
    std::fs::write(folder.path().join("image"), "x").unwrap();
    config.vm.kernel = Some(folder.path().join("image").to_string_lossy().into_owned().into());
    config.vm.initramfs = config.vm.kernel.clone();
    let node = Node::start(config).await;
    let (status, answer) = node.allocate(json!({"on_demand_vms": programs})).await;
    assert_eq!(status, 200, "{answer}");
    for program in &programs {
        node.until(program.as_str(), |report| report["stages"].to_string().contains("images_fetched")).await;
    }
    assert_eq!(good.downloads(), 2, "code and runtime, once each for five programs");
    node.stop().await;
}

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use super::{aleph, run};

#[test]
fn accounts_are_made_listed_and_chosen() {
    let home = tempfile::tempdir().unwrap();
    let made = run(home.path(), &["account", "create", "me", "--json"]).expect(0).json();
    assert_eq!(made["default"], true);
    assert!(made["address"].as_str().unwrap().starts_with("0x"));
    run(home.path(), &["account", "create", "other"]).expect(0);

    let again = run(home.path(), &["account", "create", "me"]).expect(2);
    assert!(again.stderr.starts_with("error: there is an account 'me' already\nhint: "), "{}", again.stderr);

    run(home.path(), &["account", "use", "other"]).expect(0);
    let listed = run(home.path(), &["account", "list", "--json"]).expect(0).json();
    let defaults: Vec<(&str, bool)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap(), entry["default"].as_bool().unwrap()))
        .collect();
    assert_eq!(defaults, [("me", false), ("other", true)]);

    // No node is needed to show an account.
    let shown = run(home.path(), &["account", "show", "me", "--json"]).expect(0).json();
    assert_eq!(shown["address"], made["address"]);
    run(home.path(), &["account", "use", "nobody"]).expect(4);
}

#[test]
fn keys_are_imported_from_files_and_pipes() {
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("ethereum.key");
    let digits = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    std::fs::write(
        &key,
        (0..32).map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap()).collect::<Vec<u8>>(),
    )
    .unwrap();
    let key = key.to_str().unwrap();
    let raw = run(home.path(), &["account", "import", "raw", "--from-file", key, "--json"]).expect(0).json();
    assert_eq!(raw["address"], "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");

    let text = home.path().join("text");
    std::fs::write(&text, format!("0x{digits}\n")).unwrap();
    let piped = aleph(home.path())
        .args(["account", "import", "piped", "--json"])
        .stdin(std::fs::File::open(&text).unwrap())
        .output()
        .unwrap();
    let piped: Value = serde_json::from_slice(&piped.stdout).unwrap();
    assert_eq!(piped["address"], raw["address"]);

    let bad = aleph(home.path()).args(["account", "import", "bad"]).output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn without_a_node_the_next_step_is_told() {
    let home = tempfile::tempdir().unwrap();
    let lost = run(home.path(), &["message", "list"]).expect(2);
    assert!(lost.stderr.starts_with("error: no core node is chosen\nhint: "), "{}", lost.stderr);
    assert!(lost.stderr.contains("alephd devnet"));
    let lost = run(home.path(), &["message", "list", "--json"]).expect(2);
    let error: Value = serde_json::from_str(&lost.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
    assert_eq!(lost.stdout, "");

    let signer =
        run(home.path(), &["post", "create", "--type", "t", "--content", "1", "--node", "127.0.0.1:1"]);
    assert!(signer.expect(2).stderr.contains("aleph account create"));
}

#[test]
fn a_node_that_is_not_there_is_unavailable() {
    let home = tempfile::tempdir().unwrap();
    // Nothing listens on port 1.
    let gone = run(home.path(), &["message", "list", "--node", "http://127.0.0.1:1"]).expect(3);
    assert!(gone.stderr.contains("error: no answer from http://127.0.0.1:1/"), "{}", gone.stderr);
    assert!(gone.stderr.contains("caused by:") && gone.stderr.contains("hint:"), "{}", gone.stderr);
}

#[test]
fn settings_are_kept_and_checked() {
    let home = tempfile::tempdir().unwrap();
    run(home.path(), &["config", "set", "node", "127.0.0.1:4024/"]).expect(0);
    run(home.path(), &["config", "set", "channel", "demo"]).expect(0);
    let shown = run(home.path(), &["config", "show", "--json"]).expect(0).json();
    assert_eq!((&shown["node"], &shown["channel"]), (&"http://127.0.0.1:4024".into(), &"demo".into()));
    run(home.path(), &["config", "unset", "channel"]).expect(0);
    assert_eq!(run(home.path(), &["config", "show", "--json"]).expect(0).json()["channel"], Value::Null);
    run(home.path(), &["config", "set", "nod", "x"]).expect(2);
    run(home.path(), &["config", "set", "node", "ftp://x"]).expect(2);

    std::fs::write(home.path().join("config.toml"), "odd = 1").unwrap();
    let broken = run(home.path(), &["config", "show"]).expect(1);
    assert!(broken.stderr.contains("can't be understood"), "{}", broken.stderr);
}

#[test]
fn wrong_use_is_told_before_anything_is_sent() {
    let home = tempfile::tempdir().unwrap();
    run(home.path(), &["account", "create", "me"]).expect(0);
    let node = ["--node", "127.0.0.1:1"];
    let with = |arguments: &[&str]| run(home.path(), &[arguments, &node].concat());
    let bad_json = with(&["post", "create", "--type", "t", "--content", "hello"]).expect(2);
    assert!(bad_json.stderr.contains("is not JSON"), "{}", bad_json.stderr);
    with(&["message", "get", "nonsense"]).expect(2);
    with(&["aggregate", "set", "k", "--content", "[1]"]).expect(2);
    // Nobody can be asked: --yes is wanted.
    let hash = "0".repeat(64);
    assert!(with(&["message", "forget", &hash]).expect(2).stderr.contains("--yes"));
    with(&["program", "deploy", "/nowhere", "--runtime", &hash]).expect(2);
    run(home.path(), &[]).expect(2);
}

#[test]
fn completions_come_for_every_shell() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(home.path(), &["completions", shell]).expect(0).stdout.contains("aleph"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let mut child =
        aleph(home.path()).arg("reference").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
    assert!(child.wait().unwrap().success());
}

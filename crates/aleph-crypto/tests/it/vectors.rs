use std::path::PathBuf;

use aleph_crypto::{SignatureError, check};
use aleph_types::{
    Address, Channel, ErrorCode, ItemHash, ItemType, Message, Rejection, Signature, SignatureFamily,
    Timestamp,
};
use serde_json::Value;

/// Every recorded file: one a chain, and one for the EVM chains beside ETH.
const FILES: [&str; 11] = [
    "avax.json",
    "csdk.json",
    "dot.json",
    "es.json",
    "eth.json",
    "evm_other_chains.json",
    "neo.json",
    "nuls.json",
    "nuls2.json",
    "sol.json",
    "tezos.json",
];

fn folder() -> PathBuf {
    std::env::var_os("ALEPH_VECTORS")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"))
        .join("signatures")
}

pub(crate) fn recorded(name: &str) -> Option<Vec<Value>> {
    let path = folder().join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: no recorded data at {}; set ALEPH_VECTORS", path.display());
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// The signed parts of a recording, whose content may have been altered or left out.
pub(crate) fn message(value: &Value) -> Message {
    let text = |key: &str| value[key].as_str().unwrap();
    Message {
        item_hash: ItemHash::recognise(text("item_hash")).unwrap(),
        message_type: text("type").parse().unwrap(),
        chain: text("chain").parse().unwrap(),
        sender: Address::from(text("sender")),
        signature: value["signature"].as_str().map(Signature::from),
        item_type: ItemType::Storage,
        item_content: None,
        time: Timestamp::from_secs_f64(value["time"].as_f64().unwrap_or_default()).unwrap(),
        channel: value["channel"].as_str().map(Channel::from),
    }
}

fn run(name: &str) {
    let Some(cases) = recorded(name) else { return };
    let (mut ran, mut valid) = (0, 0);
    let mut disagreements = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let message = message(&case["message"]);
        let verdict = check(&message);
        ran += 1;
        valid += usize::from(verdict.is_ok());
        // Genuine NULS messages of 2019 and 2020, which the reference refuses today, are accepted: they can
        // only be what their senders signed (`spec: signatures.md §15`).
        let expected = case["valid"] == true || case["valid_legacy_raw_bytes"] == true;
        if verdict.is_ok() != expected {
            disagreements.push(format!("{name}[{index}] {}: {verdict:?}", case["note"]));
        }
        if let Err(error) = verdict {
            let unverifiable = message.chain.family() == SignatureFamily::None;
            let code = if unverifiable { ErrorCode::InvalidFormat } else { ErrorCode::InvalidSignature };
            assert_eq!(Rejection::from(error).code, code, "{name}[{index}] {}", case["note"]);
        }
    }
    println!("{name}: {ran} ran, {valid} valid");
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

#[test]
fn eth() {
    run("eth.json");
}

#[test]
fn evm_other_chains() {
    run("evm_other_chains.json");
}

#[test]
fn neo() {
    run("neo.json");
}

#[test]
fn other_families() {
    for name in
        ["avax.json", "csdk.json", "dot.json", "es.json", "nuls.json", "nuls2.json", "sol.json", "tezos.json"]
    {
        run(name);
    }
}

#[test]
fn what_the_client_is_told() {
    let Some(cases) = recorded("eth.json") else { return };
    let mut message = message(&cases[0]["message"]);
    let told = |message: &Message| Rejection::from(check(message).unwrap_err());
    message.signature = Some(Signature::from("0x00"));
    assert_eq!(
        told(&message).details.unwrap(),
        serde_json::json!({ "errors": ["The signature of the message is invalid"] })
    );
    message.signature = None;
    assert_eq!(told(&message).details.unwrap(), serde_json::json!({ "errors": ["Missing signature"] }));
    message.signature = Some(Signature::from(""));
    assert_eq!(check(&message), Err(SignatureError::Missing));
}

/// A recording that nobody runs would look like agreement.
#[test]
fn every_recorded_file_is_run() {
    let mut all = 0;
    for name in FILES {
        let Some(cases) = recorded(name) else { return };
        all += cases.len();
    }
    let folder = folder();
    let mut found: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    found.sort();
    assert_eq!(found, FILES);
    println!("signatures: {all} in {} files", found.len());
    assert!(all >= 235, "{all}");
}

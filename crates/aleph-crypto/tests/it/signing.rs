use aleph_crypto::{
    KeyError, Nuls2Network, NulsTemplate, SigningKey, TezosCurve, TezosPayload, check, verify, verify_batch,
};
use aleph_types::{
    Address, Chain, ItemHash, ItemType, Message, MessageType, ParsedMessage, Signature, SignatureFamily,
    Timestamp,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::vectors;

fn unsigned(key: &SigningKey, message_type: MessageType, content: &[u8], micros: i64) -> Message {
    Message {
        item_hash: ItemHash::sha256(content),
        message_type,
        chain: key.chain(),
        sender: key.address().clone(),
        signature: None,
        item_type: ItemType::Storage,
        item_content: None,
        time: Timestamp::from_micros(micros),
        channel: None,
    }
}

/// Every family, and every parameter that changes what is signed or shown.
fn keys(secret: [u8; 32]) -> Vec<SigningKey> {
    let micheline = || TezosPayload::Micheline { dapp: "https://aleph.im/\"é\\".into() };
    let mut keys: Vec<_> =
        Chain::ALL.into_iter().filter_map(|chain| SigningKey::for_chain(chain, secret).ok()).collect();
    for curve in [TezosCurve::Ed25519, TezosCurve::Secp256k1, TezosCurve::P256] {
        keys.extend(SigningKey::tezos(secret, curve, TezosPayload::Raw));
        keys.extend(SigningKey::tezos(secret, curve, micheline()));
    }
    keys.extend(["osmo", "persistence"].map(|hrp| SigningKey::cosmos(secret, hrp).unwrap()));
    for network in [0, 2, 42, 63, 64, 255, 256, 7391, 16383] {
        keys.push(SigningKey::substrate(secret, network, false).unwrap());
        keys.push(SigningKey::substrate(secret, network, true).unwrap());
    }
    keys.extend(["X", "P", "C"].map(|chain| SigningKey::avalanche(secret, chain).unwrap()));
    keys.push(SigningKey::nuls2(secret, Nuls2Network::Test).unwrap());
    for chain_id in [8964, 261, -1] {
        keys.push(SigningKey::nuls(secret, chain_id, NulsTemplate::Shown).unwrap());
        keys.push(SigningKey::nuls(secret, chain_id, NulsTemplate::Bytes).unwrap());
    }
    keys
}

#[test]
fn every_chain_with_a_verifier_has_a_signer() {
    for chain in Chain::ALL {
        let key = SigningKey::for_chain(chain, [5; 32]);
        if chain.family() == SignatureFamily::None {
            assert_eq!(key.unwrap_err(), KeyError::NoVerifier(chain));
        } else {
            assert_eq!(key.unwrap().chain(), chain);
        }
    }
}

#[test]
fn bad_parameters() {
    let secret = [5; 32];
    for hrp in ["", "a1b", "Cosmos", "é", &"a".repeat(84)] {
        assert!(SigningKey::cosmos(secret, hrp).is_err(), "{hrp}");
    }
    for network in [46, 47, 16384, u16::MAX] {
        assert!(SigningKey::substrate(secret, network, false).is_err(), "{network}");
    }
    assert!(SigningKey::avalanche(secret, "D").is_err());
    assert_eq!(SigningKey::solana(Chain::Eth, secret).unwrap_err(), KeyError::OtherFamily(Chain::Eth));
    assert!(
        SigningKey::tezos(secret, TezosCurve::Ed25519, TezosPayload::Micheline { dapp: "x".repeat(2049) })
            .is_err()
    );
    for curve in [TezosCurve::Secp256k1, TezosCurve::P256] {
        for secret in [[0; 32], [0xff; 32]] {
            assert!(SigningKey::tezos(secret, curve, TezosPayload::Raw).is_err());
        }
    }
    for chain in [Chain::Csdk, Chain::Avax, Chain::Nuls, Chain::Nuls2, Chain::Eth] {
        assert_eq!(SigningKey::for_chain(chain, [0; 32]).unwrap_err(), KeyError::OutOfRange);
    }
    let key = SigningKey::for_chain(Chain::Sol, [0xab; 32]).unwrap();
    assert!(!format!("{key:?}").contains("abab"));
    assert_eq!(key.to_secret_hex(), "ab".repeat(32));
}

/// The text forms of the official clients.
#[test]
fn shapes() {
    let text = |key: SigningKey| {
        let message = unsigned(&key, MessageType::Post, b"x", 1_663_944_079_029_400);
        key.sign_message(&message).as_str().to_owned()
    };
    let of = |chain| text(SigningKey::for_chain(chain, [9; 32]).unwrap());
    assert!(of(Chain::Sol).starts_with(r#"{"publicKey": ""#));
    assert!(of(Chain::Tezos).contains(r#""signature": "edsig"#));
    assert!(of(Chain::Csdk).ends_with(r#"}, "account_number": "0", "sequence": "0"}"#));
    assert!(of(Chain::Dot).starts_with(r#"{"curve": "sr25519", "data": "0x"#));
    assert_eq!(of(Chain::Nuls2).len(), 88);
    assert!(of(Chain::Nuls).starts_with("2102") || of(Chain::Nuls).starts_with("2103"));
    let payload = TezosPayload::Micheline { dapp: "https://aleph.im".into() };
    let wallet = text(SigningKey::tezos([9; 32], TezosCurve::Ed25519, payload).unwrap());
    assert!(wallet.starts_with(r#"{"signature":"sig"#), "{wallet}");
    assert!(wallet.ends_with(r#""signingType":"micheline","dAppUrl":"https://aleph.im"}"#), "{wallet}");
}

/// The throw-away keys of the recordings (`spec: signatures.md §16`).
fn recorded_key(name: &str) -> [u8; 32] {
    Sha256::digest(format!("aleph-test-vector-{name}")).into()
}

#[test]
fn recorded_keys() {
    use TezosCurve::{Ed25519, P256, Secp256k1};
    let (dot, csdk, avax, nuls) =
        (recorded_key("dot"), recorded_key("csdk"), recorded_key("avax"), recorded_key("nuls"));
    let tezos = |name, curve| SigningKey::tezos(recorded_key(name), curve, TezosPayload::Raw).unwrap();
    let wallet = |name, curve| {
        let payload = TezosPayload::Micheline { dapp: "https://example.org".into() };
        SigningKey::tezos(recorded_key(name), curve, payload).unwrap()
    };
    let evm = SigningKey::for_chain(Chain::Eth, recorded_key("evm")).unwrap();
    let keys: Vec<(&str, Vec<SigningKey>)> = vec![
        ("eth.json", vec![evm]),
        ("sol.json", vec![SigningKey::for_chain(Chain::Sol, recorded_key("sol")).unwrap()]),
        ("es.json", vec![SigningKey::for_chain(Chain::Es, recorded_key("sol")).unwrap()]),
        (
            "tezos.json",
            vec![
                tezos("tzed", Ed25519),
                tezos("tzsp", Secp256k1),
                tezos("tzp2", P256),
                wallet("tzed", Ed25519),
                wallet("tzsp", Secp256k1),
                wallet("tzp2", P256),
            ],
        ),
        ("csdk.json", ["cosmos", "osmo", "persistence"].map(|h| SigningKey::cosmos(csdk, h).unwrap()).into()),
        (
            "dot.json",
            vec![
                SigningKey::substrate(dot, 42, false).unwrap(),
                SigningKey::substrate(dot, 42, true).unwrap(),
                SigningKey::substrate(dot, 0, false).unwrap(),
            ],
        ),
        ("avax.json", ["X", "P", "C"].map(|c| SigningKey::avalanche(avax, c).unwrap()).into()),
        (
            "nuls2.json",
            [Nuls2Network::Main, Nuls2Network::Test].map(|n| SigningKey::nuls2(nuls, n).unwrap()).into(),
        ),
        (
            "nuls.json",
            [NulsTemplate::Shown, NulsTemplate::Bytes]
                .into_iter()
                .flat_map(|t| [8964, 261].map(|id| SigningKey::nuls(nuls, id, t).unwrap()))
                .collect(),
        ),
    ];
    // Of each recorded signature the part that is the signature itself, as JSON spells it in any way.
    let parts = |signature: &Signature| match serde_json::from_str::<serde_json::Value>(signature.as_str()) {
        Ok(serde_json::Value::Object(fields)) => {
            fields.get("signature").or(fields.get("data")).unwrap().to_string()
        }
        _ => signature.as_str().to_owned(),
    };
    for (file, keys) in keys {
        let Some(cases) = vectors::recorded(file) else { return };
        let cases: Vec<_> = cases
            .iter()
            .filter(|case| case["valid"] == true || case["valid_legacy_raw_bytes"] == true)
            .map(|case| vectors::message(&case["message"]))
            .collect();
        let (mut compared, mut same) = (0, 0);
        for key in &keys {
            let of_key: Vec<_> = cases.iter().filter(|case| case.sender == *key.address()).collect();
            assert!(!of_key.is_empty(), "{file}: nothing recorded of {key:?}");
            let mut found = false;
            for case in of_key {
                let mut message = case.clone();
                let signature = key.sign_message(&message);
                found |= parts(&signature) == parts(case.signature.as_ref().unwrap());
                message.signature = Some(signature);
                assert_eq!(check(&message), Ok(()), "{file} {key:?}");
                compared += 1;
            }
            same += usize::from(found);
        }
        println!(
            "{file}: {compared} signed again and verified; {same} of {} keys made recorded bytes",
            keys.len()
        );
        // Every other library took its nonces from RFC 6979, too; sr25519 has random ones.
        if file != "dot.json" {
            assert_eq!(same, keys.len(), "{file}");
        }
    }
}

fn any_type() -> impl Strategy<Value = MessageType> {
    prop::sample::select(MessageType::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_signed_verifies(
        secret in any::<[u8; 32]>(),
        message_type in any_type(),
        content in any::<[u8; 8]>(),
        micros in 0i64..4_000_000_000_000_000,
    ) {
        for key in keys(secret) {
            let mut message = unsigned(&key, message_type, &content, micros);
            let signature = key.sign_message(&message);
            prop_assert_eq!(&key.sign_message(&message), &signature);
            message.signature = Some(signature);
            let parsed = ParsedMessage { message: message.clone(), content: None };
            prop_assert!(verify(parsed).is_ok(), "{key:?}");
            for changed in [
                Message { item_hash: ItemHash::sha256(b"other"), ..message.clone() },
                Message { sender: Address::from("someone"), ..message.clone() },
                Message { chain: if key.chain() == Chain::Eth { Chain::Base } else { Chain::Eth }, ..message.clone() },
            ] {
                prop_assert!(check(&changed).is_err(), "{key:?}");
            }
        }
    }

    #[test]
    fn a_batch_has_the_verdicts_of_one_by_one(
        picks in prop::collection::vec((any::<prop::sample::Index>(), 0u8..3, 0u8..6, any::<u8>()), 0..60),
    ) {
        let keys: Vec<_> = (1..4u8).flat_map(|secret| keys([secret; 32])).collect();
        let solana: Vec<_> =
            keys.iter().filter(|key| key.chain().family() == SignatureFamily::Solana).collect();
        let messages: Vec<_> = picks
            .iter()
            .map(|(index, kind, damage, byte)| {
                let key = if *kind == 0 { index.get(&keys) } else { *index.get(&solana) };
                let mut message = unsigned(key, MessageType::Post, &[*byte], 1);
                let mut text = key.sign_message(&message).as_str().to_owned();
                match damage {
                    0 => message.item_hash = ItemHash::sha256(b"other"),
                    1 => { text.truncate(usize::from(*byte)); }
                    2 => text = text.replace('2', "3"),
                    _ => {}
                }
                message.signature = Some(Signature::from(text));
                ParsedMessage { message, content: None }
            })
            .collect();
        let one_by_one: Vec<_> = messages.iter().cloned().map(verify).collect();
        prop_assert_eq!(verify_batch(messages), one_by_one);
    }
}

#[test]
fn recorded_signatures_in_batches() {
    let mut messages = Vec::new();
    for name in [
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
    ] {
        let Some(cases) = vectors::recorded(name) else { return };
        messages.extend(
            cases
                .iter()
                .map(|case| ParsedMessage { message: vectors::message(&case["message"]), content: None }),
        );
    }
    let one_by_one: Vec<_> = messages.iter().cloned().map(verify).collect();
    println!("{} recorded signatures in one batch", messages.len());
    assert_eq!(verify_batch(messages), one_by_one);
}

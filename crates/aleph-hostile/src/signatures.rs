//! Signatures: any text gets a verdict, and no damage to what is signed goes unnoticed.

use aleph_crypto::{EvmSignature, check, recover_eip191, verify, verify_batch};
use aleph_types::{
    Address, Chain, ItemHash, ItemType, Message, MessageType, ParsedMessage, Signature, SignatureFamily,
    Timestamp,
};
use serde_json::{Value, json};

use crate::codec::Codec;
use crate::family::{self, Family, Signed};
use crate::script::Script;

/// Bytes of a refusal's text.
const MOST_TOLD: usize = 200;
/// Damages of one message: each leaves a message that joins the batch.
const MOST_STEPS: usize = 6;
/// Keys of the families' JSON.
const KEYS: [&str; 12] = [
    "signature",
    "publicKey",
    "version",
    "signingType",
    "dAppUrl",
    "curve",
    "data",
    "pub_key",
    "type",
    "value",
    "account_number",
    "",
];

/// Three lines, chain, sender and signature: whatever they hold, there is a verdict.
pub(crate) fn any(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (Some(chain), Some(sender), Some(signature)) = (lines.next(), lines.next(), lines.next()) else {
        return;
    };
    let Ok(chain) = chain.parse::<Chain>() else { return };
    let message = Message {
        item_hash: ItemHash::sha256(b""),
        message_type: MessageType::Post,
        chain,
        sender: Address::from(sender),
        signature: Some(Signature::from(signature)),
        item_type: ItemType::Storage,
        item_content: None,
        time: Timestamp::EPOCH,
        channel: None,
    };
    if let Err(error) = check(&message) {
        assert!(error.to_string().len() < MOST_TOLD);
    }
}

/// A signature text, a newline, a payload: whoever is recovered is recovered from every other form of the
/// text too.
pub(crate) fn evm_text(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (text, payload) = (&bytes[..end], &bytes[end + 1..]);
    let Ok(text) = str::from_utf8(text) else { return };
    let Ok(signature) = text.parse::<EvmSignature>() else { return };
    let Ok(signer) = recover_eip191(payload, &signature) else { return };
    let upper = signature.to_string().to_ascii_uppercase();
    let again: EvmSignature = upper.parse().expect("upper case is accepted");
    assert_eq!(recover_eip191(payload, &again), Ok(signer));
}

macro_rules! families {
    ($($name:ident: $family:path;)*) => {
        $(pub(crate) fn $name(bytes: &[u8]) {
            damaged(&$family, bytes);
        })*
    };
}

families! {
    evm: family::EVM;
    solana: family::SOLANA;
    tezos: family::TEZOS;
    cosmos: family::COSMOS;
    substrate: family::SUBSTRATE;
    avalanche: family::AVALANCHE;
    nuls2: family::NULS2;
    nuls: family::NULS;
}

/// A validly signed message is damaged step by step. Every verdict is the same when asked again and in a
/// batch, and whatever the signature covers can't change without it being refused.
fn damaged(family: &Family, bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let signed = family.signed(&mut script);
    let mut message = signed.message.clone();
    let mut seen = vec![message.clone()];
    while seen.len() <= MOST_STEPS && !script.is_over() {
        damage(&mut message, family, &mut script);
        seen.push(message.clone());
    }
    let batch: Vec<_> =
        seen.iter().map(|message| ParsedMessage { message: message.clone(), content: None }).collect();
    let together = verify_batch(batch.clone());
    assert_eq!(together.len(), batch.len());
    for (parsed, together) in batch.into_iter().zip(together) {
        let message = parsed.message.clone();
        let alone = verify(parsed);
        assert_eq!(alone, together, "{message:?}");
        let verdict = check(&message);
        assert_eq!(verdict.is_ok(), alone.is_ok(), "{message:?}");
        if let Err(error) = &verdict {
            assert!(error.to_string().len() < MOST_TOLD);
        }
        if covered(&message, &signed) != covered(&signed.message, &signed) {
            assert!(verdict.is_err(), "another text verifies: {message:?}");
        } else if verdict.is_ok() && message.chain.family() == SignatureFamily::Solana {
            // Ed25519 with libsodium's rules has one signature for a key and a text.
            assert_eq!(ed25519_of(&message), ed25519_of(&signed.message));
        }
    }
}

/// Everything that the signature of `signed` covers, as it stands in `message`.
fn covered(message: &Message, signed: &Signed) -> (Vec<u8>, Option<i64>) {
    let milliseconds = signed.covers_time.then(|| message.time.as_micros().div_euclid(1000));
    (message.verification_buffer(), milliseconds)
}

fn ed25519_of(message: &Message) -> Option<String> {
    let signature: Value = serde_json::from_str(message.signature.as_ref()?.as_str()).ok()?;
    Some(signature["signature"].as_str()?.trim_ascii_end().to_owned())
}

fn damage(message: &mut Message, family: &Family, script: &mut Script<'_>) {
    let signature = message.signature.as_ref().map(|text| text.as_str().to_owned()).unwrap_or_default();
    let change_signature = |text: String| Some(Signature::from(text));
    match script.byte() % 12 {
        0 | 1 => message.signature = change_signature(characters(&signature, script)),
        2..=4 => {
            let (way, codec) = *script.pick(family.parts);
            if let Some(text) = part(&signature, way, codec, script) {
                message.signature = change_signature(text);
            }
        }
        5 => {
            if let Some(text) = field(&signature, script) {
                message.signature = change_signature(text);
            }
        }
        6 => message.sender = Address::from(characters(message.sender.as_str(), script)),
        7 => {
            let sender = message.sender.as_str();
            if let Some(text) = family.address.and_then(|codec| recoded(sender, codec, script)) {
                message.sender = Address::from(text);
            }
        }
        8 => message.chain = *script.pick(&Chain::ALL),
        9 => message.message_type = *script.pick(&MessageType::ALL),
        10 => {
            let hash = characters(message.item_hash.as_str(), script);
            message.item_hash =
                ItemHash::recognise(&hash).unwrap_or_else(|_| ItemHash::sha256(hash.as_bytes()));
        }
        _ => {
            let by = i64::from(script.byte()) * i64::from(script.byte()) * i64::from(script.byte());
            message.time = message.time.plus_micros(-by);
        }
    }
}

/// `text` with a character replaced, inserted or removed, with its end cut off, or twice.
fn characters(text: &str, script: &mut Script<'_>) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let kind = script.byte() % 6;
    let at = script.below(characters.len() + 1);
    match kind {
        0 | 1 => characters.iter_mut().skip(at).take(1).for_each(|old| *old = script.character()),
        2 => characters.insert(at, script.character()),
        3 if at < characters.len() => drop(characters.remove(at)),
        4 if characters.len() < 4096 => characters.extend_from_within(at..),
        _ => characters.truncate(at),
    }
    characters.into_iter().collect()
}

/// The signature with other bytes in one of its parts.
fn part(signature: &str, way: &str, codec: Codec, script: &mut Script<'_>) -> Option<String> {
    if way.is_empty() {
        return recoded(signature, codec, script);
    }
    let mut document: Value = serde_json::from_str(signature).ok()?;
    let place = document.pointer_mut(way)?;
    *place = recoded(place.as_str()?, codec, script)?.into();
    Some(document.to_string())
}

fn recoded(text: &str, codec: Codec, script: &mut Script<'_>) -> Option<String> {
    let mut bytes = codec.decode(text)?;
    let kind = script.byte() % 6;
    let at = script.below(bytes.len() + 1);
    let byte = script.byte();
    match kind {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|old| *old ^= byte),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
        2 => bytes.iter_mut().skip(at).take(32).for_each(|old| *old = byte),
        3 => bytes.insert(at, byte),
        4 if at < bytes.len() => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
    Some(codec.encode(&bytes, text))
}

/// The signature's JSON with another value under one of its keys.
fn field(signature: &str, script: &mut Script<'_>) -> Option<String> {
    let mut document: Value = serde_json::from_str(signature).ok()?;
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!(1e308),
        json!(-1),
        json!(""),
        json!("raw"),
        json!("micheline"),
        json!("sr25519"),
        json!("ed25519"),
        json!("https://example.org/"),
        json!({}),
        json!([]),
        json!([[[]]]),
        json!({ "type": null, "value": [] }),
        json!("\u{0}\u{10ffff}"),
    ];
    let key = *script.pick(&KEYS);
    let value = script.pick(&values).clone();
    match &mut document {
        Value::Object(object) if script.below(4) == 0 => drop(object.remove(key)),
        Value::Object(object) => drop(object.insert(key.to_owned(), value)),
        _ => document = value,
    }
    Some(document.to_string())
}

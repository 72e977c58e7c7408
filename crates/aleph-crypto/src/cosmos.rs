//! Cosmos chains: an amino sign document over secp256k1 (`spec: signatures.md §7`).

use std::fmt::Write as _;

use aleph_types::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secp256k1::{PublicKey, SecretKey, ecdsa};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::SignatureError::{self, Invalid, Malformed};
use crate::hash160::hash160;
use crate::json_signature::JsonSignature;
use crate::{base64_lenient, bech32};

const KEY_TYPE: &str = "tendermint/PubKeySecp256k1";

pub(crate) fn check(message: &Message, signature: &str) -> Result<(), SignatureError> {
    let fields = JsonSignature::parse(signature)?;
    let signature = base64_lenient::decode(fields.text("signature")?)?;
    let key = fields.get("pub_key").and_then(Value::as_object).ok_or(Malformed("pub_key is missing"))?;
    if key.get("type").and_then(Value::as_str) != Some(KEY_TYPE) {
        return Err(Malformed("unsupported type of key"));
    }
    let key = key.get("value").and_then(Value::as_str).ok_or(Malformed("the key has no value"))?;
    let key = base64_lenient::decode(key)?;

    let sender = message.sender.as_str();
    let (hrp, _) = sender.split_once('1').ok_or(Malformed("the sender is no bech32 address"))?;
    if bech32::encode(hrp, &hash160(&key)) != sender {
        return Err(Invalid);
    }
    let key = PublicKey::from_slice(&key).map_err(|_| Malformed("not a public key"))?;
    let mut signature = ecdsa::Signature::from_compact(&signature).map_err(|_| Invalid)?;
    // The network accepts both signs of s, the library one.
    signature.normalize_s();
    let digest = secp256k1::Message::from_digest(Sha256::digest(sign_document(message)).into());
    key.verify(digest, &signature).map_err(|_| Invalid)
}

/// The account of a key on the chain whose addresses start with `hrp`.
pub(crate) fn address(hrp: &str, key: &PublicKey) -> String {
    bech32::encode(hrp, &hash160(&key.serialize()))
}

/// The sign document's signature with low s, and the key.
pub(crate) fn sign(message: &Message, key: &SecretKey) -> String {
    let digest = secp256k1::Message::from_digest(Sha256::digest(sign_document(message)).into());
    let signature = STANDARD.encode(ecdsa::sign(digest, key).serialize_compact());
    let public = STANDARD.encode(PublicKey::from_secret_key(key).serialize());
    format!(
        concat!(
            r#"{{"signature": "{}", "pub_key": {{"type": "{}", "value": "{}"}}, "#,
            r#""account_number": "0", "sequence": "0"}}"#
        ),
        signature, KEY_TYPE, public
    )
}

/// The document that a wallet signs: keys sorted, no white space, ASCII only. Account and sequence are
/// always 0.
fn sign_document(message: &Message) -> String {
    let mut document = String::with_capacity(512);
    document.push_str(concat!(
        r#"{"account_number":"0","chain_id":"signed-message-v1","fee":{"amount":[],"gas":"0"},"memo":"","#,
        r#""msgs":[{"type":"signutil/MsgSignText","value":{"message":""#
    ));
    let buffer = message.verification_buffer();
    push_escaped(&mut document, &String::from_utf8_lossy(&buffer));
    document.push_str(r#"","signer":""#);
    push_escaped(&mut document, message.sender.as_str());
    document.push_str(r#""}}],"sequence":"0"}"#);
    document
}

/// The inside of a JSON string with everything beyond ASCII escaped.
fn push_escaped(document: &mut String, text: &str) {
    let mut units = [0; 2];
    for character in text.chars() {
        match character {
            '"' => document.push_str("\\\""),
            '\\' => document.push_str("\\\\"),
            '\n' => document.push_str("\\n"),
            '\r' => document.push_str("\\r"),
            '\t' => document.push_str("\\t"),
            '\u{8}' => document.push_str("\\b"),
            '\u{c}' => document.push_str("\\f"),
            ' '..='\u{7f}' => document.push(character),
            _ => {
                for unit in character.encode_utf16(&mut units) {
                    // Writing to a String can't fail.
                    let _ = write!(document, "\\u{unit:04x}");
                }
            }
        }
    }
}

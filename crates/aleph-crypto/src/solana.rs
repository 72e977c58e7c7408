//! Solana and Eclipse: Ed25519 over the plain text (`spec: signatures.md §5`).

use aleph_types::Message;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;

use crate::SignatureError::{self, Invalid, Malformed};
use crate::base58;
use crate::ed25519::{self, Claim};
use crate::json_signature::JsonSignature;

pub(crate) fn check(message: &Message, signature: &str) -> Result<(), SignatureError> {
    let claim = read(message, signature)?;
    ed25519::verify(&claim.key, &claim.payload, &claim.signature)
}

/// What the signature claims, with every rule kept but the curve's.
pub(crate) fn read(message: &Message, signature: &str) -> Result<Claim, SignatureError> {
    let fields = JsonSignature::parse(signature)?;
    let key_text = fields.text("publicKey")?;
    let signature_text = fields.text("signature")?;
    match fields.get("version") {
        None => {}
        Some(Value::Number(version)) if version.as_f64() == Some(1.0) => {}
        Some(_) => return Err(Malformed("unsupported version")),
    }
    if key_text != message.sender.as_str() {
        return Err(Invalid);
    }
    let key: [u8; 32] = base58::decode(key_text.trim_ascii_end())?;
    let signature: [u8; 64] = base58::decode(signature_text.trim_ascii_end())?;
    Ok(Claim { key, payload: message.verification_buffer(), signature })
}

/// The account of a key: the public key itself.
pub(crate) fn address(key: &SigningKey) -> String {
    bs58::encode(key.verifying_key().as_bytes()).into_string()
}

/// Key and signature in base58.
pub(crate) fn sign(message: &Message, key: &SigningKey) -> String {
    let signature = bs58::encode(key.sign(&message.verification_buffer()).to_bytes()).into_string();
    format!(r#"{{"publicKey": "{}", "signature": "{signature}"}}"#, address(key))
}

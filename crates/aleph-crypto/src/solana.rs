//! Solana and Eclipse: Ed25519 over the plain text (`spec: signatures.md §5`).

use aleph_types::Message;
use serde_json::Value;

use crate::SignatureError::{self, Invalid, Malformed};
use crate::base58;
use crate::ed25519;
use crate::json_signature::JsonSignature;

pub(crate) fn check(message: &Message, signature: &str) -> Result<(), SignatureError> {
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
    ed25519::verify(&key, &message.verification_buffer(), &signature)
}

//! Substrate chains: sr25519 (`spec: signatures.md §8`).

use aleph_types::Message;
use blake2::{Blake2b512, Digest};
use schnorrkel::{PublicKey, Signature};
use serde_json::Value;

use crate::SignatureError::{self, Invalid, Malformed};
use crate::base58;
use crate::json_signature::JsonSignature;

const CONTEXT: &[u8] = b"substrate";
/// Network prefixes that name no network.
const RESERVED: [u16; 2] = [46, 47];

pub(crate) fn check(message: &Message, signature: &str) -> Result<(), SignatureError> {
    let fields = JsonSignature::parse(signature)?;
    match fields.get("curve") {
        None => {}
        Some(Value::String(curve)) if curve == "sr25519" => {}
        Some(_) => return Err(Malformed("unsupported curve")),
    }
    let digits = fields.text("data")?.strip_prefix("0x").ok_or(Malformed("data does not start with 0x"))?;
    let mut bytes = [0; 64];
    hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| Malformed("data is not 64 bytes in hexadecimal form"))?;
    let signature = Signature::from_bytes(&bytes).map_err(|_| Invalid)?;
    let key = PublicKey::from_bytes(&account(message.sender.as_str())?).map_err(|_| Invalid)?;

    let buffer = message.verification_buffer();
    if key.verify_simple(CONTEXT, &buffer, &signature).is_ok() {
        return Ok(());
    }
    // What browser extensions sign.
    let wrapped = [b"<Bytes>".as_slice(), &buffer, b"</Bytes>"].concat();
    key.verify_simple(CONTEXT, &wrapped, &signature).map_err(|_| Invalid)
}

/// The public key inside an SS58 address of any network; a bare `0x…` key is accepted too.
fn account(sender: &str) -> Result<[u8; 32], SignatureError> {
    if let Some(digits) = sender.strip_prefix("0x") {
        let mut key = [0; 32];
        hex::decode_to_slice(digits, &mut key).map_err(|_| Malformed("the sender is no public key"))?;
        return Ok(key);
    }
    let bytes = base58::decode_any(sender)?;
    let first = *bytes.first().ok_or(Malformed("the sender is empty"))?;
    let (prefix, network) = match (first & 0x40, bytes.get(1)) {
        (0, _) => (1, u16::from(first)),
        (_, Some(&second)) => {
            let low = (first & 0x3f) << 2 | second >> 6;
            (2, u16::from(low) | u16::from(second & 0x3f) << 8)
        }
        (_, None) => return Err(Malformed("the sender is no SS58 address")),
    };
    if RESERVED.contains(&network) || bytes.len() != prefix + 32 + 2 {
        return Err(Malformed("the sender is no SS58 address of an account"));
    }
    let (data, sum) = bytes.split_at(prefix + 32);
    let mut hasher = Blake2b512::new();
    hasher.update(b"SS58PRE");
    hasher.update(data);
    if hasher.finalize()[..2] != *sum {
        return Err(Malformed("the sender has a bad checksum"));
    }
    data[prefix..].try_into().map_err(|_| Malformed("the sender is no SS58 address"))
}

//! Substrate chains: sr25519 (`spec: signatures.md §8`).

use aleph_types::Message;
use blake2::{Blake2b512, Digest};
use rand_core_06::{CryptoRng, RngCore};
use schnorrkel::context::{attach_rng, signing_context};
use schnorrkel::{Keypair, PublicKey, Signature};
use serde_json::Value;

use crate::SignatureError::{self, Invalid, Malformed};
use crate::base58;
use crate::json_signature::JsonSignature;

const CONTEXT: &[u8] = b"substrate";
/// Network prefixes that name no network.
const RESERVED: [u16; 2] = [46, 47];
/// Prefixes have 14 bits.
const NETWORKS: u16 = 1 << 14;

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
    key.verify_simple(CONTEXT, &wrapped(&buffer), &signature).map_err(|_| Invalid)
}

fn wrapped(buffer: &[u8]) -> Vec<u8> {
    [b"<Bytes>".as_slice(), buffer, b"</Bytes>"].concat()
}

/// Whether a prefix names a network.
pub(crate) fn is_network(network: u16) -> bool {
    network < NETWORKS && !RESERVED.contains(&network)
}

/// The account of a key on a network (SS58).
pub(crate) fn address(network: u16, key: &PublicKey) -> String {
    let [low, high] = network.to_le_bytes();
    let mut bytes = if network < 64 { vec![low] } else { vec![0x40 | low >> 2, low << 6 | high] };
    bytes.extend_from_slice(&key.to_bytes());
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bs58::encode(bytes).into_string()
}

/// The buffer's signature, or that of the wrapped buffer.
pub(crate) fn sign(message: &Message, key: &Keypair, as_extension: bool) -> String {
    let buffer = message.verification_buffer();
    let text = if as_extension { wrapped(&buffer) } else { buffer };
    let signature = key.sign(attach_rng(signing_context(CONTEXT).bytes(&text), NoRandomness));
    format!(r#"{{"curve": "sr25519", "data": "0x{}"}}"#, hex::encode(signature.to_bytes()))
}

/// Adds nothing to the nonce, which then comes from the message, the public key and the half of the secret
/// key that is kept for nonces: two messages never share one, and the same message always gets the same.
struct NoRandomness;

impl RngCore for NoRandomness {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core_06::Error> {
        bytes.fill(0);
        Ok(())
    }
}

impl CryptoRng for NoRandomness {}

fn checksum(data: &[u8]) -> [u8; 2] {
    let mut hasher = Blake2b512::new();
    hasher.update(b"SS58PRE");
    hasher.update(data);
    let digest: [u8; 64] = hasher.finalize().into();
    [digest[0], digest[1]]
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
    if checksum(data) != *sum {
        return Err(Malformed("the sender has a bad checksum"));
    }
    data[prefix..].try_into().map_err(|_| Malformed("the sender is no SS58 address"))
}

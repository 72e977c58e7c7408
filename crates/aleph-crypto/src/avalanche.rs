//! Avalanche X, P and C chains: recoverable secp256k1 (`spec: signatures.md §9`).

use aleph_types::Message;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};

use crate::SignatureError::{self, Invalid, Malformed};
use crate::hash160::hash160;
use crate::{base58, bech32};

/// The network part of every address that verifies, whatever the sender says.
const HRP: &str = "avax";

pub(crate) fn check(message: &Message, signature: &str) -> Result<(), SignatureError> {
    let sender = message.sender.as_str();
    let (chain, address) = sender.split_once('-').ok_or(Malformed("the sender has no chain part"))?;
    address.split_once('1').ok_or(Malformed("the sender is no bech32 address"))?;

    // cb58: 65 bytes and the end of their SHA-256.
    let bytes: [u8; 69] = base58::decode(signature)?;
    let (signed, sum) = bytes.split_at(65);
    if Sha256::digest(signed)[28..] != *sum {
        return Err(Malformed("bad checksum"));
    }
    if signed[64] > 3 {
        return Err(Invalid);
    }
    let recovery = RecoveryId::from_u8_masked(signed[64]);
    let signature = RecoverableSignature::from_compact(&signed[..64], recovery).map_err(|_| Invalid)?;
    let digest = secp256k1::Message::from_digest(digest(&message.verification_buffer()));
    let key = signature.recover_ecdsa(digest).map_err(|_| Invalid)?;
    if self::address(chain, &key) == sender { Ok(()) } else { Err(Invalid) }
}

/// The account of a key on the chain `X`, `P` or `C`.
pub(crate) fn address(chain: &str, key: &PublicKey) -> String {
    format!("{chain}-{}", bech32::encode(HRP, &hash160(&key.serialize())))
}

/// cb58 of r, s and the recovery number.
pub(crate) fn sign(message: &Message, key: &SecretKey) -> String {
    let digest = secp256k1::Message::from_digest(digest(&message.verification_buffer()));
    let (recovery, compact) = RecoverableSignature::sign_ecdsa_recoverable(digest, key).serialize_compact();
    let mut bytes = compact.to_vec();
    bytes.push(recovery.to_u8());
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum[28..]);
    bs58::encode(bytes).into_string()
}

fn digest(buffer: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"\x1aAvalanche Signed Message:\n");
    // Reception bounds messages far below 4 GiB.
    hasher.update(u32::try_from(buffer.len()).unwrap_or(u32::MAX).to_be_bytes());
    hasher.update(buffer);
    hasher.finalize().into()
}

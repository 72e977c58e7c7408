//! Base58 in the shapes that chains use, with bounded input.

use sha2::{Digest, Sha256};

use crate::SignatureError::{self, Malformed};

/// Longest text that is decoded, as the effort grows with its square: the longest genuine one has 99.
const MOST_CHARS: usize = 128;

/// The bytes of a text.
pub(crate) fn decode_any(text: &str) -> Result<Vec<u8>, SignatureError> {
    if text.len() > MOST_CHARS {
        return Err(Malformed("too long for base58"));
    }
    bs58::decode(text).into_vec().map_err(|_| Malformed("not base58"))
}

/// Exactly `N` bytes.
pub(crate) fn decode<const N: usize>(text: &str) -> Result<[u8; N], SignatureError> {
    decode_any(text)?.try_into().map_err(|_| Malformed("wrong length"))
}

/// Base58check: the payload without the four bytes of double SHA-256 at its end.
pub(crate) fn decode_checked(text: &str) -> Result<Vec<u8>, SignatureError> {
    let mut bytes = decode_any(text)?;
    let Some(end) = bytes.len().checked_sub(4) else { return Err(Malformed("too short")) };
    let sum = bytes.split_off(end);
    if Sha256::digest(Sha256::digest(&bytes))[..4] == sum[..] {
        Ok(bytes)
    } else {
        Err(Malformed("bad checksum"))
    }
}

/// Base58check of `prefix` and `payload`.
pub(crate) fn encode_checked(prefix: &[u8], payload: &[u8]) -> String {
    let mut bytes = [prefix, payload].concat();
    let sum = Sha256::digest(Sha256::digest(&bytes));
    bytes.extend_from_slice(&sum[..4]);
    bs58::encode(bytes).into_string()
}

//! The short hash of public keys that Bitcoin introduced.

use ripemd::Ripemd160;
use sha2::{Digest, Sha256};

/// RIPEMD-160 of SHA-256.
pub(crate) fn hash160(bytes: &[u8]) -> [u8; 20] {
    Ripemd160::digest(Sha256::digest(bytes)).into()
}

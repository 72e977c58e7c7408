//! Ed25519 with the verdicts of libsodium, which the reference uses.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::SignatureError::{self, Invalid};

/// Verifies with libsodium's rules: canonical key and `s`, no key or `R` of small order.
pub(crate) fn verify(key: &[u8; 32], payload: &[u8], signature: &[u8; 64]) -> Result<(), SignatureError> {
    if !is_canonical(key) {
        return Err(Invalid);
    }
    let key = VerifyingKey::from_bytes(key).map_err(|_| Invalid)?;
    key.verify_strict(payload, &Signature::from_bytes(signature)).map_err(|_| Invalid)
}

/// Whether the coordinate of a point is below 2²⁵⁵ − 19; the highest bit is the sign of the other one.
fn is_canonical(key: &[u8; 32]) -> bool {
    key[0] < 0xed || key[1..31].iter().any(|&byte| byte != 0xff) || key[31] & 0x7f != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_small_order_and_odd_encodings_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(verify(&identity, b"x", &signature), Err(Invalid));
        assert!(!is_canonical(&[0xff; 32]));
        assert!(is_canonical(&identity));
    }
}

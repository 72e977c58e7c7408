//! EVM chains: secp256k1 with key recovery over an EIP-191 text (`spec: signatures.md §4`).
//!
//! The chain's own rules do not enter: no chain id, no typed data, no low-s rule.

mod address;
mod key;
mod signature;

pub use address::EvmAddress;
pub use key::EvmKey;
pub use signature::EvmSignature;

use aleph_types::Message;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use sha3::{Digest, Keccak256};

use crate::SignatureError;

/// Keccak-256 of the text that wallets sign for `payload`.
fn eip191_digest(payload: &[u8]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    hasher.update(b"\x19Ethereum Signed Message:\n");
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = payload.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    hasher.update(&digits[at..]);
    hasher.update(payload);
    hasher.finalize().into()
}

/// The address whose key signed `payload` as a wallet does.
///
/// # Errors
/// [`SignatureError::Invalid`] when no key can have made the signature.
pub fn recover_eip191(payload: &[u8], signature: &EvmSignature) -> Result<EvmAddress, SignatureError> {
    let recovery = RecoveryId::from_u8_masked(signature.recovery().ok_or(SignatureError::Invalid)?);
    let recoverable = RecoverableSignature::from_compact(signature.compact(), recovery)
        .map_err(|_| SignatureError::Invalid)?;
    let digest = secp256k1::Message::from_digest(eip191_digest(payload));
    let public = recoverable.recover_ecdsa(digest).map_err(|_| SignatureError::Invalid)?;
    Ok(EvmAddress::of_public_key(&public))
}

/// Whatever is wrong, the reference calls the signature invalid.
pub(crate) fn check(message: &Message, signature: &str) -> Result<(), SignatureError> {
    let signature: EvmSignature = signature.parse().map_err(|_| SignatureError::Invalid)?;
    let signer = recover_eip191(&message.verification_buffer(), &signature)?;
    if signer.is_address(&message.sender) { Ok(()) } else { Err(SignatureError::Invalid) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_digest() {
        // EIP-191 of "hello", as every wallet computes it.
        assert_eq!(
            hex::encode(eip191_digest(b"hello")),
            "50b2c43fd39106bafbba0da34fc430e1f91e3c96ea2acee2bc34119f92b37750"
        );
    }

    #[test]
    fn known_address() {
        let key =
            EvmKey::from_hex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80").unwrap();
        assert_eq!(key.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }

    #[test]
    fn every_accepted_form_of_v() {
        let key = EvmKey::from_bytes([3; 32]).unwrap();
        let signature = key.sign_eip191(b"x");
        let bytes = *signature.as_bytes();
        let id = bytes[64] - 27;
        for v in [id, 27 + id, 35 + id, 37 + id, 251 + id] {
            let mut other = bytes;
            other[64] = v;
            assert_eq!(recover_eip191(b"x", &EvmSignature::from_bytes(other)).unwrap(), key.address(), "{v}");
        }
        for v in (2..27).chain(29..35) {
            let mut other = bytes;
            other[64] = v;
            assert!(recover_eip191(b"x", &EvmSignature::from_bytes(other)).is_err(), "{v}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_is_recovered(secret in any::<[u8; 32]>(), payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let Ok(key) = EvmKey::from_bytes(secret) else { return Ok(()) };
            let signature = key.sign_eip191(&payload);
            prop_assert_eq!(recover_eip191(&payload, &signature).unwrap(), key.address());
            let read: EvmSignature = signature.to_string().parse().unwrap();
            prop_assert_eq!(read, signature);
            prop_assert_eq!(key.address().to_string().parse::<EvmAddress>().unwrap(), key.address());
        }

        #[test]
        fn any_signature_is_judged(bytes in any::<[u8; 65]>()) {
            let _ = recover_eip191(b"x", &EvmSignature::from_bytes(bytes));
        }
    }
}

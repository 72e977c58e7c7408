use std::fmt;

use aleph_types::{Message, Signature};
use secp256k1::ecdsa::RecoverableSignature;
use secp256k1::{PublicKey, SecretKey};

use super::{EvmAddress, EvmSignature, eip191_digest};
use crate::KeyError;

/// The private key of an EVM account. Never shown, not even by `Debug`.
#[derive(Clone)]
pub struct EvmKey {
    secret: SecretKey,
    address: EvmAddress,
}

impl EvmKey {
    /// From 32 bytes; for a new key, from 32 random ones.
    ///
    /// # Errors
    /// [`KeyError::OutOfRange`] for zero and for numbers not below the order of the curve, which random
    /// bytes are with a chance of 2⁻¹²⁸.
    pub fn from_bytes(secret: [u8; 32]) -> Result<Self, KeyError> {
        let secret = SecretKey::from_secret_bytes(secret).map_err(|_| KeyError::OutOfRange)?;
        let address = EvmAddress::of_public_key(&PublicKey::from_secret_key(&secret));
        Ok(Self { secret, address })
    }

    /// From 64 hexadecimal digits, with or without `0x`.
    ///
    /// # Errors
    /// [`KeyError`] for a text of another form and for numbers outside of the curve's range.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        super::signature::decode_hex(text.trim(), &mut secret)?;
        Self::from_bytes(secret)
    }

    /// The secret itself, 64 hexadecimal digits, for key files only.
    pub fn to_secret_hex(&self) -> String {
        hex::encode(self.secret.to_secret_bytes())
    }

    /// The account of the key.
    pub fn address(&self) -> EvmAddress {
        self.address
    }

    /// Signs `payload` as a wallet does (EIP-191, `personal_sign`); v is 27 or 28.
    pub fn sign_eip191(&self, payload: &[u8]) -> EvmSignature {
        let digest = secp256k1::Message::from_digest(eip191_digest(payload));
        let signed = RecoverableSignature::sign_ecdsa_recoverable(digest, &self.secret);
        let (recovery, compact) = signed.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = 27 + recovery.to_u8();
        EvmSignature::from_bytes(bytes)
    }

    /// The signature of a message whose sender is this key's account on an EVM chain.
    pub fn sign_message(&self, message: &Message) -> Signature {
        self.sign_eip191(&message.verification_buffer()).into()
    }
}

impl fmt::Debug for EvmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvmKey").field("address", &self.address).finish_non_exhaustive()
    }
}

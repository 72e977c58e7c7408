use std::fmt;
use std::str::FromStr;

use aleph_types::Address;
use secp256k1::PublicKey;
use sha3::{Digest, Keccak256};

use crate::KeyError;

/// An account of an EVM chain: 20 bytes, shown with the checksum of EIP-55.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EvmAddress([u8; 20]);

impl EvmAddress {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The account of a public key.
    pub(super) fn of_public_key(key: &PublicKey) -> Self {
        let digest: [u8; 32] = Keccak256::digest(&key.serialize_uncompressed()[1..]).into();
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&digest[12..]);
        Self(bytes)
    }

    /// `0x` and 40 lower-case digits.
    fn lower(&self) -> [u8; 42] {
        let mut text = [0; 42];
        text[..2].copy_from_slice(b"0x");
        // The length fits by construction.
        let _ = hex::encode_to_slice(self.0, &mut text[2..]);
        text
    }

    /// Whether `address` is the text of this account in any case.
    pub fn is_address(&self, address: &Address) -> bool {
        address.as_str().as_bytes().eq_ignore_ascii_case(&self.lower())
    }
}

impl fmt::Display for EvmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.lower();
        let digest: [u8; 32] = Keccak256::digest(&text[2..]).into();
        for (position, digit) in text[2..].iter_mut().enumerate() {
            let nibble =
                if position % 2 == 0 { digest[position / 2] >> 4 } else { digest[position / 2] & 15 };
            if nibble >= 8 {
                digit.make_ascii_uppercase();
            }
        }
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for EvmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EvmAddress {
    type Err = KeyError;

    /// With or without `0x`, in any case; the checksum is not looked at.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 20];
        super::signature::decode_hex(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl From<EvmAddress> for Address {
    fn from(address: EvmAddress) -> Self {
        Address::from(address.to_string())
    }
}

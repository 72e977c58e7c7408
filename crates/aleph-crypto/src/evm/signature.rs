use std::fmt;
use std::str::FromStr;

use aleph_types::Signature;

use crate::KeyError;

/// A signature with the recovery number: r, s, v.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EvmSignature([u8; 65]);

impl EvmSignature {
    /// From r (32 bytes), s (32 bytes) and v.
    pub const fn from_bytes(bytes: [u8; 65]) -> Self {
        Self(bytes)
    }

    /// r, s and v.
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    pub(super) fn compact(&self) -> &[u8] {
        &self.0[..64]
    }

    /// Which of the possible keys signed: v is 0, 1, 27, 28, or from 35 on as in EIP-155.
    pub(super) fn recovery(&self) -> Option<u8> {
        match self.0[64] {
            v @ (0 | 1) => Some(v),
            v @ (27 | 28) => Some(v - 27),
            v @ 35.. => Some((v - 35) % 2),
            _ => None,
        }
    }
}

/// With or without `0x` or `0X`, digits of any case, nothing else.
pub(super) fn decode_hex(text: &str, bytes: &mut [u8]) -> Result<(), KeyError> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    hex::decode_to_slice(digits, bytes).map_err(|_| KeyError::Hex(bytes.len()))
}

impl FromStr for EvmSignature {
    type Err = KeyError;

    /// With or without `0x`, digits of any case.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 65];
        decode_hex(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for EvmSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for EvmSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<EvmSignature> for Signature {
    fn from(signature: EvmSignature) -> Self {
        Signature::from(signature.to_string())
    }
}

//! Text forms of bytes, so that damage goes below checksums and not only into them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::Blake2b512;
use sha2::{Digest, Sha256};

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Hex,
    /// With `0x` before the digits.
    PrefixedHex,
    Base58,
    /// Four bytes of double SHA-256 at the end.
    Base58Check,
    /// The last four bytes of SHA-256 at the end.
    Cb58,
    /// Two bytes of Blake2b at the end.
    Ss58,
    Base64,
    /// Base58 after a prefix of that many characters.
    After(usize),
}

impl Codec {
    /// The bytes, without the checksum, whether that was right or not.
    pub(crate) fn decode(self, text: &str) -> Option<Vec<u8>> {
        let base58 = |text: &str| (text.len() <= 256).then(|| bs58::decode(text).into_vec().ok()).flatten();
        let without = |sum: usize| {
            let mut bytes = base58(text)?;
            bytes.truncate(bytes.len().checked_sub(sum)?);
            Some(bytes)
        };
        match self {
            Self::Hex => hex::decode(text).ok(),
            Self::PrefixedHex => hex::decode(text.strip_prefix("0x")?).ok(),
            Self::Base58 => base58(text),
            Self::Base58Check | Self::Cb58 => without(4),
            Self::Ss58 => without(2),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::After(prefix) => base58(text.get(prefix..)?),
        }
    }

    /// The text of `bytes`, with a checksum that fits; `old` is what stood there.
    pub(crate) fn encode(self, bytes: &[u8], old: &str) -> String {
        let with = |sum: &[u8]| bs58::encode([bytes, sum].concat()).into_string();
        match self {
            Self::Hex => hex::encode(bytes),
            Self::PrefixedHex => format!("0x{}", hex::encode(bytes)),
            Self::Base58 => with(&[]),
            Self::Base58Check => with(&Sha256::digest(Sha256::digest(bytes))[..4]),
            Self::Cb58 => with(&Sha256::digest(bytes)[28..]),
            Self::Ss58 => {
                with(&Blake2b512::new().chain_update(b"SS58PRE").chain_update(bytes).finalize()[..2])
            }
            Self::Base64 => STANDARD.encode(bytes),
            Self::After(prefix) => {
                format!("{}{}", old.get(..prefix).unwrap_or_default(), with(&[]))
            }
        }
    }
}

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Which store a hash belongs to (`spec: messages.md §3`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashKind {
    /// SHA-256 of the bytes, as 64 hexadecimal digits.
    Storage,
    /// A CID: `Qm…` (version 0) or `bafy…` (version 1).
    Ipfs,
}

/// The identity of a message or of a file: lower-case hexadecimal SHA-256, or a CID.
///
/// Two recognisers exist with different strictness (`spec: messages.md §3`):
/// [`ItemHash::recognise`] for envelopes and storage routes, [`ItemHash::parse`] for hashes inside
/// contents and API paths. Both look at the text only; no CID is decoded.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemHash(Arc<str>);

/// A text that is no item hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown hash type: '{0}'")]
pub struct InvalidHash(pub String);

fn kind_by_shape(text: &str) -> Option<HashKind> {
    // Lengths count characters, as in the reference: those of other alphabets have more bytes.
    match text.chars().count() {
        44..=46 if text.starts_with("Qm") => Some(HashKind::Ipfs),
        59 if text.starts_with("bafy") => Some(HashKind::Ipfs),
        64 => Some(HashKind::Storage),
        _ => None,
    }
}

fn is_base58(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && !matches!(byte, b'0' | b'O' | b'I' | b'l')
}

impl ItemHash {
    /// The loose recogniser of envelopes: any 64 characters, `Qm…` of 44 to 46, `bafy…` of 59.
    pub fn recognise(text: &str) -> Result<Self, InvalidHash> {
        match kind_by_shape(text) {
            Some(_) => Ok(Self(text.into())),
            None => Err(InvalidHash(shortened(text))),
        }
    }

    /// The strict recogniser of hashes inside contents and API paths: alphabets are checked as well.
    pub fn parse(text: &str) -> Result<Self, InvalidHash> {
        let well_formed = match kind_by_shape(text) {
            Some(HashKind::Storage) => text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            Some(HashKind::Ipfs) if text.starts_with("Qm") => text.bytes().all(is_base58),
            Some(HashKind::Ipfs) => text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')),
            None => false,
        };
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidHash(shortened(text))) }
    }

    /// The storage hash of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::from_digest(Sha256::digest(bytes).into())
    }

    /// The storage hash whose SHA-256 digest is `digest`.
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&digest).into())
    }

    /// The text, as it travels on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The store this hash belongs to.
    pub fn kind(&self) -> HashKind {
        // A value was recognised when it was made; what is not a CID is a storage hash.
        kind_by_shape(&self.0).unwrap_or(HashKind::Storage)
    }
}

/// Keeps error texts bounded whatever was sent.
fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MOST).collect();
    short.push('…');
    short
}

impl fmt::Display for ItemHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ItemHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ItemHash {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ItemHash {
    type Err = InvalidHash;

    /// Same as [`ItemHash::parse`] (strict).
    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        Self::parse(text)
    }
}

impl Serialize for ItemHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ItemHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_recognisers_differ_in_alphabet_only() {
        let upper = "A".repeat(64);
        assert_eq!(ItemHash::recognise(&upper).unwrap().kind(), HashKind::Storage);
        assert!(ItemHash::parse(&upper).is_err());
        let cid0 = "QmYULJoNGPDmoRq4WNWTDTUvJGJv1hosox8H6vVd1kCsY8";
        assert_eq!(ItemHash::parse(cid0).unwrap().kind(), HashKind::Ipfs);
        assert!(ItemHash::parse("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy").is_err());
        assert!(ItemHash::recognise("").is_err());
    }

    #[test]
    fn lengths_count_characters() {
        let wide = format!("Qm{}", "é".repeat(44));
        assert_eq!(ItemHash::recognise(&wide).map(|hash| hash.kind()), Ok(HashKind::Ipfs));
        assert!(ItemHash::parse(&wide).is_err());
        assert!(ItemHash::recognise(&format!("Qm{}", "é".repeat(22))).is_err());
    }

    #[test]
    fn sha256_of_nothing() {
        assert_eq!(
            ItemHash::sha256(b"").as_str(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}

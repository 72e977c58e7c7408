//! The two recognisers of item hashes.

use aleph_types::{HashKind, ItemHash};
use sha2::{Digest, Sha256};

/// Bytes of a refusal's text: 80 characters of four bytes, and the words around them.
const MOST_TOLD: usize = 400;

/// Both recognisers agree with a description of the forms in other words, on the input itself, and on a hash
/// of every form that one character of the input damages.
pub(crate) fn item_hash(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    judge(text);
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let position = bytes.first().copied().unwrap_or_default();
    let character = text.chars().next_back().unwrap_or_default();
    for good in genuine(&digest) {
        assert!(ItemHash::parse(&good).is_ok(), "{good}");
        judge(&good);
        let mut characters: Vec<char> = good.chars().collect();
        let at = usize::from(position) % characters.len();
        characters[at] = character;
        judge(&characters.iter().collect::<String>());
        characters.remove(at);
        judge(&characters.iter().collect::<String>());
        characters.insert(at, character);
        characters.insert(at, character);
        judge(&characters.iter().collect::<String>());
    }
}

/// A storage hash and CIDs of both versions.
fn genuine(digest: &[u8; 32]) -> [String; 3] {
    let multihash = [&[0x12, 0x20], digest.as_slice()].concat();
    // Version 1 of a dag-pb block. One of a raw block starts with `bafk`, which nobody here takes for a hash.
    let version_1 = format!("b{}", base32(&[&[1, 0x70], multihash.as_slice()].concat()));
    [hex::encode(digest), bs58::encode(&multihash).into_string(), version_1]
}

/// RFC 4648, lower case, without padding.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits = bytes.len() * 8;
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    (0..bits.div_ceil(5))
        .map(|group| (0..5).fold(0, |digit, at| digit << 1 | usize::from(bit(group * 5 + at))))
        .map(|digit| char::from(ALPHABET[digit]))
        .collect()
}

fn expected(text: &str) -> Option<(HashKind, bool)> {
    let is_base58 =
        |character: char| "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".contains(character);
    let is_base32 = |character: char| matches!(character, 'a'..='z' | '2'..='7');
    let is_digit = |character: char| character.is_ascii_digit() || matches!(character, 'a'..='f');
    match text.chars().count() {
        44..=46 if text.starts_with("Qm") => Some((HashKind::Ipfs, text.chars().all(is_base58))),
        59 if text.starts_with("bafy") => Some((HashKind::Ipfs, text.chars().all(is_base32))),
        64 => Some((HashKind::Storage, text.chars().all(is_digit))),
        _ => None,
    }
}

fn judge(text: &str) {
    let (loose, strict) = (ItemHash::recognise(text), ItemHash::parse(text));
    let expected = expected(text);
    assert_eq!(loose.is_ok(), expected.is_some(), "{text}");
    assert_eq!(strict.is_ok(), expected.is_some_and(|(_, clean)| clean), "{text}");
    assert_eq!(text.parse::<ItemHash>(), strict);
    if let Ok(hash) = &strict {
        assert_eq!(loose.as_ref(), Ok(hash));
    }
    if let (Ok(hash), Some((kind, _))) = (&loose, expected) {
        assert_eq!((hash.as_str(), hash.kind()), (text, kind));
    }
    for error in [loose.err(), strict.err()].into_iter().flatten() {
        assert!(error.to_string().len() < MOST_TOLD, "{} bytes are told", error.to_string().len());
    }
    let read = serde_json::from_value::<ItemHash>(text.into());
    assert_eq!(read.is_ok(), ItemHash::parse(text).is_ok(), "{text}");
}

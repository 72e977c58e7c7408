//! Tokens of operators: who holds the key may order work that costs a node time
//! (`spec: ccn-api.md §9.5`).
//!
//! A token is base64 of `<unix seconds>:<signature>`; the signature is base64 of ECDSA over secp256k1 in
//! DER, of the SHA-256 of the seconds as text. It says when, not what: whoever sees one can use it until
//! it is too old, so it is sent over TLS only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey, SecretKey};
use sha2::{Digest, Sha256};

use crate::KeyError;

/// Seconds that the signer's clock may be ahead.
const AHEAD: i64 = 30;

/// Longest text that is looked at: tokens have about 150 characters.
const LONGEST: usize = 512;

/// A public key whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthKey(PublicKey);

impl AuthKey {
    /// From the compressed key, 66 hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyError`] for a text of another form, and for bytes that are no point of the curve.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let bytes = hex::decode(text.trim()).map_err(|_| KeyError::Hex(33))?;
        let bytes: [u8; 33] = bytes.try_into().map_err(|_| KeyError::Hex(33))?;
        PublicKey::from_byte_array_compressed(bytes)
            .map(Self)
            .map_err(|_| KeyError::Parameter("not a compressed public key of the curve secp256k1"))
    }

    /// Whether `token` was signed by this key, not more than `max_age` seconds before `now` and hardly
    /// after it; both in seconds since 1970.
    pub fn believes(&self, token: &str, now: i64, max_age: u64) -> bool {
        self.judge(token, now, max_age).unwrap_or(false)
    }

    /// `None`: it can't be read.
    fn judge(&self, token: &str, now: i64, max_age: u64) -> Option<bool> {
        if token.len() > LONGEST {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
        let (seconds, signature) = text.split_once(':')?;
        let age = now.checked_sub(seconds.parse().ok()?)?;
        if age < -AHEAD || age > i64::try_from(max_age).unwrap_or(i64::MAX) {
            return Some(false);
        }
        let signature = Signature::from_der(&STANDARD.decode(signature).ok()?).ok()?;
        Some(secp256k1::ecdsa::verify(&signature, digest(seconds), &self.0).is_ok())
    }
}

fn digest(seconds: &str) -> Message {
    Message::from_digest(Sha256::digest(seconds.as_bytes()).into())
}

/// Makes a token for `now`, seconds since 1970.
///
/// # Errors
/// [`KeyError::OutOfRange`] for bytes that are no secret key.
pub fn sign_auth_token(secret: [u8; 32], now: i64) -> Result<String, KeyError> {
    let secret = SecretKey::from_secret_bytes(secret).map_err(|_| KeyError::OutOfRange)?;
    let seconds = now.to_string();
    let signature = secp256k1::ecdsa::sign(digest(&seconds), &secret);
    Ok(STANDARD.encode(format!("{seconds}:{}", STANDARD.encode(signature.serialize_der()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "02989c0b76cb563971fdc9bef31ec06c3560f3249d6ee9e5d83c57625596e05f6f";
    /// Made by the library that the network's operators use, with a key of 32 times 7.
    const TOKEN: &str = "MTc4MDAwMDAwMDpNRVVDSVFDOE9wV0hwaTd6OVpXSnJsZ3JUNUwzajJPTUszdEIwNjNmVENVTU5rSVRvd0lnYXk5dVNRMDl4bEZzSEozZ2pXWmU1QjhXRE1icTkvcUcydmhxQXgvci9wND0=";
    const NOW: i64 = 1_780_000_000;

    #[test]
    fn a_token_holds_for_its_time() {
        let key = AuthKey::from_hex(KEY).unwrap();
        for (now, believed) in
            [(NOW, true), (NOW + 300, true), (NOW + 301, false), (NOW - 30, true), (NOW - 31, false)]
        {
            assert_eq!(key.believes(TOKEN, now, 300), believed, "{now}");
        }
        assert_eq!(sign_auth_token([7; 32], NOW).unwrap(), TOKEN);
    }

    #[test]
    fn everything_else_is_not_believed() {
        let other =
            AuthKey::from_hex("0209fe82e08ec3c5c3ee4904fa147a11d49c7130579066c8a452d279d539959389").unwrap();
        assert!(!other.believes(TOKEN, NOW, 300), "another key");
        let key = AuthKey::from_hex(KEY).unwrap();
        let part = |seconds: &str, signature: &str| STANDARD.encode(format!("{seconds}:{signature}"));
        for token in [
            "".to_owned(),
            "!".to_owned(),
            STANDARD.encode("1780000000"),
            part("1780000000", ""),
            part("soon", "MEUC"),
            part("99999999999999999999", "MEUC"),
            part("-9223372036854775808", "MEUC"),
            TOKEN.replace("MTc4MDAw", "MTc4MDAx"),
            TOKEN.repeat(100),
        ] {
            assert!(!key.believes(&token, NOW, u64::MAX), "{token}");
        }
        for text in ["", "zz", "02", &"00".repeat(33)] {
            assert!(AuthKey::from_hex(text).is_err(), "{text}");
        }
    }
}

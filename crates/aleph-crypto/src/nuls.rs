//! NULS, both versions: secp256k1 over a prefixed text (`spec: signatures.md §§10, 11`).

use aleph_types::Message;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secp256k1::ecdsa::{self, RecoverableSignature, RecoveryId};
use secp256k1::{PublicKey, SecretKey};
use sha2::{Digest, Sha256};

use crate::SignatureError::{self, Invalid, Malformed};
use crate::hash160::hash160;
use crate::{base58, base64_lenient};

const PREFIX: &[u8] = b"\x18NULS Signed Message:\n";
/// Chain id, type, key hash.
const ADDRESS_BYTES: usize = 23;
/// Longest signature of version 1 that is looked at, in hexadecimal digits.
const MOST_DIGITS: usize = 1024;

/// The length of what follows, as Bitcoin writes it.
fn push_length(bytes: &mut Vec<u8>, length: usize) {
    match length {
        0..=0xfc => bytes.push(length as u8),
        0xfd..=0xffff => {
            bytes.push(0xfd);
            bytes.extend_from_slice(&(length as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u32).to_le_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_le_bytes());
        }
    }
}

fn with_length(buffer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(buffer.len() + 9);
    push_length(&mut bytes, buffer.len());
    bytes.extend_from_slice(buffer);
    bytes
}

fn digest(text: &[u8]) -> secp256k1::Message {
    let mut hasher = Sha256::new();
    hasher.update(PREFIX);
    hasher.update(text);
    secp256k1::Message::from_digest(hasher.finalize().into())
}

/// Chain id, 1, key hash, and the XOR of all these bytes; base58.
fn address(chain: [u8; 2], key: &[u8]) -> String {
    let mut bytes = [0; ADDRESS_BYTES + 1];
    bytes[..2].copy_from_slice(&chain);
    bytes[2] = 1;
    bytes[3..ADDRESS_BYTES].copy_from_slice(&hash160(key));
    bytes[ADDRESS_BYTES] = bytes[..ADDRESS_BYTES].iter().fold(0, |sum, byte| sum ^ byte);
    bs58::encode(bytes).into_string()
}

/// A network of NULS 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nuls2Network {
    /// Chain id 1: addresses start with `NULSd`.
    Main,
    /// Chain id 2: addresses start with `tNULSe`.
    Test,
}

impl Nuls2Network {
    fn of(chain: [u8; 2]) -> Option<Self> {
        match i16::from_le_bytes(chain) {
            1 => Some(Self::Main),
            2 => Some(Self::Test),
            _ => None,
        }
    }

    fn chain(self) -> [u8; 2] {
        match self {
            Self::Main => 1i16.to_le_bytes(),
            Self::Test => 2i16.to_le_bytes(),
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Main => "NULSd",
            Self::Test => "tNULSe",
        }
    }
}

/// Which text a NULS 1 key signs (`spec: signatures.md §11`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NulsTemplate {
    /// The way Python shows the bytes: what today's clients sign and every node accepts.
    Shown,
    /// The bytes themselves, as the clients of 2019 and 2020 signed: accepted here, refused by the reference.
    Bytes,
}

/// The account of a key on NULS 2.
pub(crate) fn address_v2(network: Nuls2Network, key: &PublicKey) -> String {
    format!("{}{}", network.prefix(), address(network.chain(), &key.serialize()))
}

/// Header, r and s in base64.
pub(crate) fn sign_v2(message: &Message, key: &SecretKey) -> String {
    let digest = digest(&with_length(&message.verification_buffer()));
    let (recovery, compact) = RecoverableSignature::sign_ecdsa_recoverable(digest, key).serialize_compact();
    let mut bytes = vec![27 + recovery.to_u8()];
    bytes.extend_from_slice(&compact);
    STANDARD.encode(bytes)
}

/// The account of a key on NULS 1.
pub(crate) fn address_v1(chain: i16, key: &PublicKey) -> String {
    address(chain.to_le_bytes(), &key.serialize())
}

/// Public key, curve and DER signature with low s.
pub(crate) fn sign_v1(message: &Message, key: &SecretKey, template: NulsTemplate) -> String {
    let text = with_length(&message.verification_buffer());
    let digest = match template {
        NulsTemplate::Shown => digest(python_repr(&text).as_bytes()),
        NulsTemplate::Bytes => digest(&text),
    };
    let mut bytes = with_length(&PublicKey::from_secret_key(key).serialize());
    bytes.push(0);
    bytes.extend_from_slice(&with_length(&ecdsa::sign(digest, key).serialize_der()));
    hex::encode(bytes)
}

/// Version 2: a recoverable signature in base64.
pub(crate) fn check_v2(message: &Message, signature: &str) -> Result<(), SignatureError> {
    let sender = message.sender.as_str();
    // The letter after the prefix is not looked at here: the whole address is compared below.
    let dropped = if sender.starts_with("NULS") {
        5
    } else if sender.starts_with("tNULS") {
        6
    } else {
        return Err(Malformed("the sender is no address of NULS 2"));
    };
    let encoded = sender.get(dropped..).ok_or(Malformed("the sender is too short"))?;
    let network = base58::decode_any(encoded)?
        .first_chunk::<2>()
        .and_then(|&chain| Nuls2Network::of(chain))
        .ok_or(Malformed("the sender is of an unknown network"))?;

    let bytes: [u8; 65] =
        base64_lenient::decode(signature)?.try_into().map_err(|_| Malformed("must have 65 bytes"))?;
    let recovery = match bytes[0] {
        header @ 27..=30 => RecoveryId::from_u8_masked(header - 27),
        _ => return Err(Malformed("unsupported header")),
    };
    let signature = RecoverableSignature::from_compact(&bytes[1..], recovery).map_err(|_| Invalid)?;
    let key =
        signature.recover_ecdsa(digest(&with_length(&message.verification_buffer()))).map_err(|_| Invalid)?;
    if address_v2(network, &key) == sender { Ok(()) } else { Err(Invalid) }
}

/// Version 1: the public key and a DER signature in hexadecimal form.
pub(crate) fn check_v1(message: &Message, signature: &str) -> Result<(), SignatureError> {
    if signature.len() > MOST_DIGITS {
        return Err(Malformed("too long"));
    }
    let bytes = hex::decode(signature).map_err(|_| Malformed("not in hexadecimal form"))?;
    let (key, rest) = split_counted(&bytes)?;
    // One byte names the curve; there is only one.
    let rest = rest.get(1..).ok_or(Malformed("too short"))?;
    let (der, _) = split_counted(rest)?;

    let sender = message.sender.as_str();
    let chain =
        *base58::decode_any(sender)?.first_chunk::<2>().ok_or(Malformed("the sender is too short"))?;
    if address(chain, key) != sender {
        return Err(Invalid);
    }
    let key = PublicKey::from_slice(key).map_err(|_| Malformed("not a public key"))?;
    let signature = ecdsa::Signature::from_der(der).map_err(|_| Malformed("not a DER signature"))?;

    let text = with_length(&message.verification_buffer());
    // Today's clients sign the way Python shows these bytes, the clients of 2019 and 2020 the bytes.
    let shown = python_repr(&text);
    if key.verify(digest(shown.as_bytes()), &signature).is_ok() {
        return Ok(());
    }
    key.verify(digest(&text), &signature).map_err(|_| Invalid)
}

/// What follows a length of one byte, and the rest. Longer lengths fit no genuine part.
fn split_counted(bytes: &[u8]) -> Result<(&[u8], &[u8]), SignatureError> {
    let (&length, rest) = bytes.split_first().ok_or(Malformed("too short"))?;
    match length {
        0..=0xfc => rest.split_at_checked(usize::from(length)).ok_or(Malformed("too short")),
        _ => Err(Malformed("a part is too long")),
    }
}

/// The text of a byte string in Python.
fn python_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut text = String::with_capacity(bytes.len() + 8);
    text.push('b');
    text.push(quote);
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\'' if quote == '\'' => text.push_str("\\'"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                text.push_str("\\x");
                text.push_str(&hex::encode([byte]));
            }
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_python_shows_them() {
        assert_eq!(python_repr(b"kN\n\x00\xff\\"), r"b'kN\n\x00\xff\\'");
        assert_eq!(python_repr(b"it's"), "b\"it's\"");
        assert_eq!(python_repr(b"it's \"so\""), r#"b'it\'s "so"'"#);
    }

    #[test]
    fn lengths() {
        let mut bytes = Vec::new();
        for length in [0, 0xfc, 0xfd, 0xffff, 0x1_0000] {
            push_length(&mut bytes, length);
        }
        assert_eq!(bytes, [0, 0xfc, 0xfd, 0xfd, 0, 0xfd, 0xff, 0xff, 0xfe, 0, 0, 1, 0]);
    }
}

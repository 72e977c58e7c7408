//! Tezos: three curves over a Blake2b digest (`spec: signatures.md §6`).

use aleph_types::{Message, Timestamp};
use blake2::digest::consts::{U20, U32};
use blake2::{Blake2b, Digest};
use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use secp256k1::ecdsa;
use serde_json::Value;

use crate::KeyError;
use crate::SignatureError::{self, Invalid, Malformed};
use crate::json_signature::JsonSignature;
use crate::{base58, ed25519};

/// Bytes before the payload that make base58 start with the given text.
struct Curve {
    key: &'static [u8],
    address: &'static [u8],
    signature: &'static [u8],
    kind: TezosCurve,
}

/// The curve of a Tezos key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TezosCurve {
    /// Addresses start with `tz1`.
    Ed25519,
    /// Addresses start with `tz2`.
    Secp256k1,
    /// Addresses start with `tz3`.
    P256,
}

impl TezosCurve {
    fn encodings(self) -> &'static Curve {
        match self {
            Self::Ed25519 => &CURVES[0],
            Self::Secp256k1 => &CURVES[1],
            Self::P256 => &CURVES[2],
        }
    }
}

/// What a Tezos key signs (`spec: signatures.md §6`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TezosPayload {
    /// The buffer itself, as the Python client does.
    Raw,
    /// Packed Micheline with the envelope's time in milliseconds, as wallets show it; `dapp` is the URL of
    /// who asks for the signature. `https://aleph.im` is what the TypeScript client says.
    Micheline {
        /// Travels with the signature.
        dapp: String,
    },
}

/// The private key of a Tezos account.
#[derive(Clone)]
pub(crate) enum TezosKey {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Secp256k1(secp256k1::SecretKey),
    P256(Box<p256::ecdsa::SigningKey>),
}

impl TezosKey {
    pub(crate) fn from_bytes(curve: TezosCurve, secret: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(match curve {
            TezosCurve::Ed25519 => Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(secret))),
            TezosCurve::Secp256k1 => Self::Secp256k1(
                secp256k1::SecretKey::from_secret_bytes(*secret).map_err(|_| KeyError::OutOfRange)?,
            ),
            TezosCurve::P256 => Self::P256(Box::new(
                p256::ecdsa::SigningKey::from_slice(secret).map_err(|_| KeyError::OutOfRangeP256)?,
            )),
        })
    }

    fn curve(&self) -> &'static Curve {
        match self {
            Self::Ed25519(_) => TezosCurve::Ed25519,
            Self::Secp256k1(_) => TezosCurve::Secp256k1,
            Self::P256(_) => TezosCurve::P256,
        }
        .encodings()
    }

    fn public(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.verifying_key().as_bytes().to_vec(),
            Self::Secp256k1(key) => secp256k1::PublicKey::from_secret_key(key).serialize().to_vec(),
            Self::P256(key) => key.verifying_key().to_sec1_point(true).as_bytes().to_vec(),
        }
    }

    /// The account of the key.
    pub(crate) fn address(&self) -> String {
        let hash: [u8; 20] = Blake2b::<U20>::digest(self.public()).into();
        base58::encode_checked(self.curve().address, &hash)
    }

    fn sign_digest(&self, digest: [u8; 32]) -> [u8; 64] {
        match self {
            Self::Ed25519(key) => key.sign(&digest).to_bytes(),
            Self::Secp256k1(key) => {
                ecdsa::sign(secp256k1::Message::from_digest(digest), key).serialize_compact()
            }
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(&digest).expect("a digest of 32 bytes is what the curve takes");
                signature.to_bytes().into()
            }
        }
    }

    /// Key and signature in base58check. As the clients do, a signature of the plain buffer names its curve
    /// and one for wallets does not.
    pub(crate) fn sign(&self, message: &Message, payload: &TezosPayload) -> String {
        let buffer = message.verification_buffer();
        let key = base58::encode_checked(self.curve().key, &self.public());
        match payload {
            TezosPayload::Raw => {
                let signature = self.sign_digest(Blake2b::<U32>::digest(buffer).into());
                let signature = base58::encode_checked(self.curve().signature, &signature);
                format!(r#"{{"publicKey": "{key}", "signature": "{signature}"}}"#)
            }
            TezosPayload::Micheline { dapp } => {
                let signed = micheline(&buffer, dapp, message.time);
                let signature = self.sign_digest(Blake2b::<U32>::digest(signed).into());
                let signature = base58::encode_checked(GENERIC_SIGNATURE, &signature);
                let dapp = Value::from(dapp.as_str());
                format!(
                    concat!(
                        r#"{{"signature":"{}","publicKey":"{}","#,
                        r#""signingType":"micheline","dAppUrl":{}}}"#
                    ),
                    signature, key, dapp
                )
            }
        }
    }
}

const CURVES: [Curve; 3] = [
    // edpk, tz1, edsig
    Curve {
        key: &[13, 15, 37, 217],
        address: &[6, 161, 159],
        signature: &[9, 245, 205, 134, 18],
        kind: TezosCurve::Ed25519,
    },
    // sppk, tz2, spsig1
    Curve {
        key: &[3, 254, 226, 86],
        address: &[6, 161, 161],
        signature: &[13, 115, 101, 19, 63],
        kind: TezosCurve::Secp256k1,
    },
    // p2pk, tz3, p2sig
    Curve {
        key: &[3, 178, 139, 127],
        address: &[6, 161, 164],
        signature: &[54, 240, 44, 52],
        kind: TezosCurve::P256,
    },
];
/// `sig`: a signature that does not name its curve.
const GENERIC_SIGNATURE: &[u8] = &[4, 130, 43];
const DEFAULT_DAPP: &str = "aleph.im";

pub(crate) fn check(message: &Message, signature: &str) -> Result<(), SignatureError> {
    let fields = JsonSignature::parse(signature)?;
    let key = base58::decode_checked(fields.text("publicKey")?)?;
    let (curve, key) = CURVES
        .iter()
        .find_map(|curve| Some((curve, key.strip_prefix(curve.key)?)))
        .ok_or(Malformed("unknown kind of public key"))?;
    let address: [u8; 20] = Blake2b::<U20>::digest(key).into();
    if base58::encode_checked(curve.address, &address) != message.sender.as_str() {
        return Err(Invalid);
    }

    let signature = base58::decode_checked(fields.text("signature")?)?;
    let signature: [u8; 64] = signature
        .strip_prefix(curve.signature)
        .or_else(|| signature.strip_prefix(GENERIC_SIGNATURE))
        .and_then(|payload| payload.try_into().ok())
        .ok_or(Malformed("not a signature of the key's curve"))?;

    let buffer = message.verification_buffer();
    let signed = match fields.get("signingType") {
        None => buffer,
        Some(Value::String(kind)) if kind == "raw" => buffer,
        Some(Value::String(kind)) if kind == "micheline" => {
            let dapp = match fields.get("dAppUrl") {
                None => DEFAULT_DAPP,
                Some(Value::String(dapp)) => dapp,
                Some(_) => return Err(Malformed("dAppUrl is no string")),
            };
            micheline(&buffer, dapp, message.time)
        }
        Some(_) => return Err(Malformed("unsupported signingType")),
    };
    let digest: [u8; 32] = Blake2b::<U32>::digest(signed).into();
    match curve.kind {
        TezosCurve::Ed25519 => {
            let key = key.try_into().map_err(|_| Malformed("wrong length of key"))?;
            ed25519::verify(key, &digest, &signature)
        }
        // libsecp256k1 refuses high s, as the network does for this curve.
        TezosCurve::Secp256k1 => {
            let key = secp256k1::PublicKey::from_slice(key).map_err(|_| Malformed("not a public key"))?;
            let signature = ecdsa::Signature::from_compact(&signature).map_err(|_| Invalid)?;
            key.verify(secp256k1::Message::from_digest(digest), &signature).map_err(|_| Invalid)
        }
        TezosCurve::P256 => {
            let key =
                p256::ecdsa::VerifyingKey::from_sec1_bytes(key).map_err(|_| Malformed("not a public key"))?;
            let signature = p256::ecdsa::Signature::from_slice(&signature).map_err(|_| Invalid)?;
            key.verify_prehash(&digest, &signature).map_err(|_| Invalid)
        }
    }
}

/// What wallets sign for a text: packed Micheline, whose length field is the decimal text of the number of
/// hexadecimal digits. The only signature that covers the time of the envelope.
fn micheline(buffer: &[u8], dapp: &str, time: Timestamp) -> Vec<u8> {
    let text = [format!("Tezos Signed Message: {dapp} {} ", milliseconds(time)).as_bytes(), buffer].concat();
    let mut payload = vec![5, 1, 0];
    payload.extend_from_slice((2 * text.len()).to_string().as_bytes());
    payload.extend_from_slice(&text);
    payload
}

/// ISO 8601 with three fraction digits; what is finer is cut off.
fn milliseconds(time: Timestamp) -> String {
    let micros = time.as_micros();
    let seconds = Timestamp::from_secs(micros.div_euclid(1_000_000)).iso_z().to_string();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), micros.rem_euclid(1_000_000) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_milliseconds() {
        let shown = |seconds| milliseconds(Timestamp::from_secs_f64(seconds).unwrap());
        assert_eq!(shown(1_663_944_079.029), "2022-09-23T14:41:19.029Z");
        assert_eq!(shown(1_663_944_079.029_9), "2022-09-23T14:41:19.029Z");
        assert_eq!(shown(1_663_944_079.0), "2022-09-23T14:41:19.000Z");
    }
}

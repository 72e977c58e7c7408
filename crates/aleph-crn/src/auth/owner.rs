//! `X-SignedPubKey` and `X-SignedOperation`: a wallet vouches for a short-lived P-256 key, which signs
//! each operation (`spec: crn-api.md §3.2`).

use aleph_types::{Address, Chain};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use jiff::Timestamp;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use serde_json::Value;

use super::recover::eip191_signer;
use crate::defaults::OPERATION_SKEW;

/// The request that an operation claims to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperationTarget<'a> {
    /// This node's domain name.
    pub(crate) domain: &'a str,
    /// Method of the request.
    pub(crate) method: &'a str,
    /// Percent-decoded path without query.
    pub(crate) path: &'a str,
}

/// Why an operation is refused; [`OwnerAuthError::status`] is its code on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OwnerAuthError {
    #[error("Missing X-SignedPubKey header")]
    KeyAbsent,
    #[error("Invalid X-SignedPubKey format")]
    KeyNotJson,
    #[error("Token expired")]
    Expired,
    #[error("Invalid signature")]
    WalletSignature,
    #[error("Invalid X-SignedPubKey data")]
    KeyData,
    #[error("Missing X-SignedOperation header")]
    OperationAbsent,
    #[error("Invalid X-SignedOperation fields")]
    OperationFields,
    #[error("Invalid domain: Signed: '{signed}' != Request: '{actual}'")]
    Domain { signed: String, actual: String },
    #[error("Invalid path. Signed: '{signed}' !=  requested path: '{actual}'")]
    Path { signed: String, actual: String },
    #[error("Invalid method. Signed: '{signed}' !=  request:'{actual}")]
    Method { signed: String, actual: String },
    #[error("Signature could not verified")]
    OperationSignature,
}

impl OwnerAuthError {
    /// 400 for what can't be read, 401 for what is not believed.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::KeyAbsent
            | Self::KeyNotJson
            | Self::KeyData
            | Self::OperationAbsent
            | Self::OperationFields => StatusCode::BAD_REQUEST,
            Self::Expired
            | Self::WalletSignature
            | Self::Domain { .. }
            | Self::Path { .. }
            | Self::Method { .. }
            | Self::OperationSignature => StatusCode::UNAUTHORIZED,
        }
    }
}

/// `{"payload": hex, "signature": hex}` of one header.
struct Sealed {
    payload: Vec<u8>,
    signature: String,
}

impl Sealed {
    fn read(header: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(header).ok()?;
        let payload = hex::decode(value.get("payload")?.as_str()?).ok()?;
        Some(Self { payload, signature: value.get("signature")?.as_str()?.to_owned() })
    }

    fn signature_bytes(&self) -> Option<Vec<u8>> {
        hex::decode(self.signature.strip_prefix("0x").unwrap_or(&self.signature)).ok()
    }
}

/// Authenticates a request by its two headers; returns the wallet's address.
///
/// The `domain` of the wallet's part is not compared: consoles use one key for many nodes.
pub(crate) fn authenticate(
    key_header: Option<&str>,
    operation_header: Option<&str>,
    target: OperationTarget<'_>,
    now: Timestamp,
) -> Result<Address, OwnerAuthError> {
    let (address, public_key) = read_key(key_header.ok_or(OwnerAuthError::KeyAbsent)?, now)?;
    let operation = Sealed::read(operation_header.ok_or(OwnerAuthError::OperationAbsent)?)
        .ok_or(OwnerAuthError::OperationFields)?;
    let fields: Value =
        serde_json::from_slice(&operation.payload).map_err(|_| OwnerAuthError::OperationFields)?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str).ok_or(OwnerAuthError::OperationFields);
    let time: Timestamp = text("time")?.parse().map_err(|_| OwnerAuthError::OperationFields)?;
    let (domain, path, method) = (text("domain")?, text("path")?, text("method")?);
    if !matches!(method, "POST" | "GET" | "DELETE")
        || now.duration_since(time).unsigned_abs() > OPERATION_SKEW
    {
        return Err(OwnerAuthError::OperationFields);
    }
    if domain != target.domain {
        return Err(OwnerAuthError::Domain { signed: domain.into(), actual: target.domain.into() });
    }
    if path != target.path {
        return Err(OwnerAuthError::Path { signed: path.into(), actual: target.path.into() });
    }
    if method != target.method {
        return Err(OwnerAuthError::Method { signed: method.into(), actual: target.method.into() });
    }
    let signature = operation.signature_bytes().ok_or(OwnerAuthError::OperationSignature)?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key)
        .verify(&operation.payload, &signature)
        .map_err(|_| OwnerAuthError::OperationSignature)?;
    Ok(address)
}

/// The same for the first frame of a WebSocket, where path and method are not compared: consoles sign
/// `POST`, SDKs `GET` (`spec: crn-api.md §3.3`).
pub(crate) fn authenticate_socket(
    key: Option<&str>,
    operation: Option<&str>,
    domain: &str,
    now: Timestamp,
) -> Result<Address, OwnerAuthError> {
    let signed =
        operation.and_then(Sealed::read).and_then(|sealed| serde_json::from_slice(&sealed.payload).ok());
    let signed: Value = signed.unwrap_or_default();
    let text = |name: &str| signed.get(name).and_then(Value::as_str).unwrap_or_default();
    let target = OperationTarget { domain, method: text("method"), path: text("path") };
    authenticate(key, operation, target, now)
}

/// Checks the wallet's part; returns its address and the uncompressed point of the short-lived key.
fn read_key(header: &str, now: Timestamp) -> Result<(Address, Vec<u8>), OwnerAuthError> {
    if serde_json::from_str::<Value>(header).is_err() {
        return Err(OwnerAuthError::KeyNotJson);
    }
    let sealed = Sealed::read(header).ok_or(OwnerAuthError::KeyData)?;
    let fields: Value = serde_json::from_slice(&sealed.payload).map_err(|_| OwnerAuthError::KeyData)?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str).ok_or(OwnerAuthError::KeyData);
    let expires: Timestamp = text("expires")?.parse().map_err(|_| OwnerAuthError::KeyData)?;
    if expires <= now {
        return Err(OwnerAuthError::Expired);
    }
    let address = Address::from(text("address")?);
    let chain = match fields.get("chain") {
        None | Some(Value::Null) => Chain::Eth,
        Some(value) => value.as_str().and_then(|text| text.parse().ok()).ok_or(OwnerAuthError::KeyData)?,
    };
    let genuine = match chain {
        Chain::Eth => sealed
            .signature_bytes()
            .and_then(|signature| eip191_signer(&sealed.payload, &signature))
            .is_some_and(|signer| signer.eq_ignore_ascii_case(address.as_str())),
        Chain::Sol => match (bs58::decode(address.as_str()).into_vec(), sealed.signature_bytes()) {
            // Solana wallets sign the hex text of the payload, not its bytes.
            (Ok(key), Some(signature)) => UnparsedPublicKey::new(&ED25519, key)
                .verify(hex::encode(&sealed.payload).as_bytes(), &signature)
                .is_ok(),
            _ => false,
        },
        _ => return Err(OwnerAuthError::KeyData),
    };
    if !genuine {
        return Err(OwnerAuthError::WalletSignature);
    }
    let public_key = fields.get("pubkey").and_then(point_of_jwk).ok_or(OwnerAuthError::KeyData)?;
    Ok((address, public_key))
}

/// `04 ‖ x ‖ y` of an EC P-256 JWK.
fn point_of_jwk(jwk: &Value) -> Option<Vec<u8>> {
    if jwk.get("kty")?.as_str()? != "EC" || jwk.get("crv")?.as_str()? != "P-256" {
        return None;
    }
    let mut point = vec![4];
    for coordinate in ["x", "y"] {
        let bytes = URL_SAFE_NO_PAD.decode(jwk.get(coordinate)?.as_str()?.trim_end_matches('=')).ok()?;
        if bytes.len() != 32 {
            return None;
        }
        point.extend_from_slice(&bytes);
    }
    Some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"NdmYuFtchTg1nbJb_ru1f4fESVWvI5OLvynYR6J6rIA","y":"TqN_bCovj5XHCTiZrPyeLrDa1DswI5lIFktn4z3kOck"}"#;
    const ETH_SIGNATURE: &str = "0x03d5bcf8e12c17904a7ccbca11a8883426783ff267df5eb48efec555c6e8e8184c3b1eb60884d84089656a9969dbaf7cfe327662bd4bd655f93a539c43aca0981b";
    const SOL_SIGNATURE: &str = "cf26c2d4b89c5b2f314da8f2c3631e9ba3730195739b358e2b42d99cfeb19c73ba96b5fe7723727b823abdd981ce88059d910481e5916f46219f8694bd5a060d";
    const OPERATION: &str = r#"{"time":"2026-08-07T12:00:00.000000Z","method":"POST","path":"/control/machine/abababababababababababababababababababababababababababababababab/stop","domain":"crn.example.org"}"#;
    const OPERATION_SIGNATURE: &str = "a8544993d585e797c02ae7a59f597d31cb0091b540266df66ca57f8db22f00500a72d57abf0160219c2c99b6989e6264671b1b02a1ea39ea16cbfb04d99c4e9a";

    fn eth_payload() -> String {
        format!(
            r#"{{"pubkey":{JWK},"alg":"ECDSA","domain":"crn.example.org","address":"0x735e45D27138457E66E8B5CBB9E3b7E2fC2555D2","expires":"2099-01-01T00:00:00Z","chain":"ETH"}}"#
        )
    }

    fn sol_payload() -> String {
        format!(
            r#"{{"pubkey":{JWK},"address":"HnYKFR9NnjdsQKUck1hHbZz3sFtda4kNHFgbo48rG8pH","expires":"2099-01-01T00:00:00Z","chain":"SOL"}}"#
        )
    }

    fn sealed(payload: &str, signature: &str) -> String {
        format!(r#"{{"payload":"{}","signature":"{signature}","more":1}}"#, hex::encode(payload))
    }

    fn now() -> Timestamp {
        "2026-08-07T12:00:00Z".parse().unwrap()
    }

    fn target() -> OperationTarget<'static> {
        OperationTarget {
            domain: "crn.example.org",
            method: "POST",
            path: "/control/machine/abababababababababababababababababababababababababababababababab/stop",
        }
    }

    #[test]
    fn the_published_vectors() {
        let operation = sealed(OPERATION, OPERATION_SIGNATURE);
        for (payload, signature, address) in [
            (eth_payload(), ETH_SIGNATURE, "0x735e45D27138457E66E8B5CBB9E3b7E2fC2555D2"),
            (sol_payload(), SOL_SIGNATURE, "HnYKFR9NnjdsQKUck1hHbZz3sFtda4kNHFgbo48rG8pH"),
        ] {
            let key = sealed(&payload, signature);
            let signer = authenticate(Some(&key), Some(&operation), target(), now()).unwrap();
            assert_eq!(signer.as_str(), address);
        }
    }

    #[test]
    fn refusals_have_the_published_words() {
        let key = sealed(&eth_payload(), ETH_SIGNATURE);
        let operation = sealed(OPERATION, OPERATION_SIGNATURE);
        let (key, operation) = (key.as_str(), operation.as_str());
        let refused = |key: Option<&str>, operation: Option<&str>, target, now| {
            let error = authenticate(key, operation, target, now).unwrap_err();
            (error.status().as_u16(), error.to_string())
        };
        let later: Timestamp = "2026-08-07T12:02:01Z".parse().unwrap();
        let next_century: Timestamp = "2100-01-01T00:00:00Z".parse().unwrap();
        let wrong_wallet = sealed(&eth_payload(), SOL_SIGNATURE);
        let unknown_chain = sealed(&eth_payload().replace("\"ETH\"", "\"TEZOS\""), ETH_SIGNATURE);
        let wrong_operation = sealed(OPERATION, SOL_SIGNATURE);
        for (actual, status, words) in [
            (refused(None, None, target(), now()), 400, "Missing X-SignedPubKey header"),
            (refused(Some("{"), None, target(), now()), 400, "Invalid X-SignedPubKey format"),
            (refused(Some("{}"), None, target(), now()), 400, "Invalid X-SignedPubKey data"),
            (refused(Some(key), None, target(), next_century), 401, "Token expired"),
            (refused(Some(&wrong_wallet), None, target(), now()), 401, "Invalid signature"),
            (refused(Some(&unknown_chain), None, target(), now()), 400, "Invalid X-SignedPubKey data"),
            (refused(Some(key), None, target(), now()), 400, "Missing X-SignedOperation header"),
            (refused(Some(key), Some("x"), target(), now()), 400, "Invalid X-SignedOperation fields"),
            (refused(Some(key), Some(operation), target(), later), 400, "Invalid X-SignedOperation fields"),
            (
                refused(Some(key), Some(operation), OperationTarget { domain: "b", ..target() }, now()),
                401,
                "Invalid domain: Signed: 'crn.example.org' != Request: 'b'",
            ),
            (
                refused(Some(key), Some(operation), OperationTarget { method: "GET", ..target() }, now()),
                401,
                "Invalid method. Signed: 'POST' !=  request:'GET",
            ),
            (
                refused(Some(key), Some(&wrong_operation), target(), now()),
                401,
                "Signature could not verified",
            ),
        ] {
            assert_eq!(actual, (status, words.to_owned()));
        }
        let (status, words) =
            refused(Some(key), Some(operation), OperationTarget { path: "/x", ..target() }, now());
        assert_eq!(status, 401);
        assert!(words.starts_with("Invalid path. Signed: '/control/machine/abab"), "{words}");
    }
}

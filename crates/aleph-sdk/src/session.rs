//! How an owner proves itself to a compute node (`spec: crn-api.md §3.2`).

use aleph_types::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::account::Account;
use crate::builder::now;
use crate::error::{Error, Result};

/// How long a session key is good for.
const LIFETIME_MICROS: i64 = 24 * 3600 * 1_000_000;

/// An ephemeral P-256 key that the account's wallet vouched for; it signs single operations.
pub(crate) struct SessionKey {
    key: EcdsaKeyPair,
    random: SystemRandom,
    domain: String,
    /// The object of the header `X-SignedPubKey`.
    vouched: Value,
}

/// One signed operation: the two header objects.
pub(crate) struct SignedOperation {
    pub(crate) public_key: Value,
    pub(crate) operation: Value,
}

fn no_key(error: impl std::fmt::Display) -> Error {
    Error::Sign(format!("no session key: {error}").into())
}

impl SessionKey {
    /// A new key for the node with that host name, vouched for by `account`.
    pub(crate) fn new(account: &Account, domain: &str) -> Result<Self> {
        let random = SystemRandom::new();
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(no_key)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
            .map_err(no_key)?;
        // 0x04, then the two coordinates of 32 bytes each.
        let (x, y) = match key.public_key().as_ref() {
            [4, point @ ..] if point.len() == 64 => point.split_at(32),
            _ => return Err(no_key("the public key has an unexpected form")),
        };
        let expires = now()?.plus_micros(LIFETIME_MICROS);
        let payload = json!({
            "pubkey": {
                "kty": "EC",
                "crv": "P-256",
                "x": URL_SAFE_NO_PAD.encode(x),
                "y": URL_SAFE_NO_PAD.encode(y),
            },
            "alg": "ECDSA",
            "domain": domain,
            "address": account.address(),
            "expires": expires.iso_z().to_string(),
            // All EVM wallets vouch as ETH, whatever their chain.
            "chain": "ETH",
        })
        .to_string();
        let signature = account.sign(payload.as_bytes())?;
        let vouched = json!({
            "sender": account.address(),
            "payload": hex::encode(&payload),
            "signature": signature.as_str(),
            "content": { "domain": domain },
        });
        Ok(Self { key, random, domain: domain.to_owned(), vouched })
    }

    /// Signs one operation, valid for two minutes around now.
    pub(crate) fn sign(&self, method: &str, path: &str) -> Result<SignedOperation> {
        self.sign_at(method, path, now()?)
    }

    fn sign_at(&self, method: &str, path: &str, time: Timestamp) -> Result<SignedOperation> {
        let payload = json!({
            "time": time.iso_z().to_string(),
            "method": method,
            "path": path,
            "domain": self.domain,
        })
        .to_string();
        let signature = self.key.sign(&self.random, payload.as_bytes()).map_err(no_key)?;
        Ok(SignedOperation {
            public_key: self.vouched.clone(),
            operation: json!({
                "payload": hex::encode(&payload),
                "signature": hex::encode(signature.as_ref()),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn decoded(value: &Value) -> Vec<u8> {
        hex::decode(value["payload"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn operations_verify_with_the_vouched_key() {
        let account = Account::generate().unwrap();
        let key = SessionKey::new(&account, "crn.example.org").unwrap();
        let signed = key.sign("GET", "/control/machine/ab/logs").unwrap();

        let vouched: Value = serde_json::from_slice(&decoded(&signed.public_key)).unwrap();
        assert_eq!(vouched["address"], account.address().as_str());
        assert!(vouched["expires"].as_str().unwrap().ends_with('Z'));
        let mut point = vec![4u8];
        for coordinate in ["x", "y"] {
            let text = vouched["pubkey"][coordinate].as_str().unwrap();
            point.extend(URL_SAFE_NO_PAD.decode(text).unwrap());
        }
        let bytes = decoded(&signed.operation);
        let signature = hex::decode(signed.operation["signature"].as_str().unwrap()).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(&bytes, &signature).unwrap();
        let operation: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(operation["domain"], "crn.example.org");
        assert_eq!(operation["path"], "/control/machine/ab/logs");
    }
}

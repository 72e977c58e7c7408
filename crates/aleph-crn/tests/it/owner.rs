//! An owner with a wallet and a short-lived key, as consoles and SDKs are.

use aleph_crypto::EvmKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use reqwest::RequestBuilder;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;

pub(crate) struct Owner {
    key: EcdsaKeyPair,
    /// The header by which the wallet vouches for the key.
    vouched: Value,
}

impl Owner {
    pub(crate) fn new(wallet: &EvmKey) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref();
        let payload = json!({
            "pubkey": {
                "kty": "EC", "crv": "P-256",
                "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
            },
            "address": wallet.address().to_string(), "expires": "2099-01-01T00:00:00Z", "chain": "ETH",
        })
        .to_string();
        let signature = wallet.sign_eip191(payload.as_bytes());
        let vouched = json!({"payload": hex::encode(&payload), "signature": signature.to_string()});
        Self { key, vouched }
    }

    fn operation(&self, method: &str, path: &str) -> Value {
        let time = jiff::Timestamp::now().to_string();
        let payload = json!({"time": time, "method": method, "path": path, "domain": "crn.test"}).to_string();
        let signature = self.key.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
        json!({"payload": hex::encode(&payload), "signature": hex::encode(signature)})
    }

    /// Adds both headers.
    pub(crate) fn sign(&self, request: RequestBuilder, method: &str, path: &str) -> RequestBuilder {
        request
            .header("x-signedpubkey", self.vouched.to_string())
            .header("x-signedoperation", self.operation(method, path).to_string())
    }

    /// The first `count` frames of a program's log.
    pub(crate) async fn follow(&self, url: &str, hash: &str, count: usize) -> Vec<Value> {
        let path = format!("/control/machine/{hash}/stream_logs");
        let url = format!("{}{path}", url.replacen("http", "ws", 1));
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        // Any method and path will do here.
        let auth = json!({"auth": {
            "X-SignedPubKey": self.vouched, "X-SignedOperation": self.operation("POST", "/elsewhere"),
        }});
        socket.send(Frame::Text(auth.to_string().into())).await.unwrap();
        let mut frames = Vec::new();
        while frames.len() < count {
            match socket.next().await {
                Some(Ok(Frame::Text(text))) => frames.push(serde_json::from_str(text.as_str()).unwrap()),
                Some(Ok(_)) => {}
                other => panic!("the log ended: {other:?} after {frames:?}"),
            }
        }
        frames
    }
}

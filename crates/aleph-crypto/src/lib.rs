//! Signatures of messages: verify and sign, one module per chain family (`spec: signatures.md`).
//!
//! Everything here is pure: keys and random bytes are given by the caller.
//!
//! A [`Verified`] value can be made in two ways only: by [`verify`], or by naming the [`TrustedSource`] that
//! needs no signature. Whatever stores or applies a message takes it in this form, so that an unverified
//! message can't get there by mistake.
//!
//! ```
//! use aleph_crypto::{EvmKey, verify};
//! use aleph_types::{ItemHash, ParsedMessage};
//!
//! let key = EvmKey::from_bytes([7; 32])?;
//! let text = format!(r#"{{"address":"{}","time":1.5,"content":1,"type":"note"}}"#, key.address());
//! let mut parsed = ParsedMessage::from_json(serde_json::json!({
//!     "chain": "ETH", "sender": key.address().to_string(), "type": "POST", "time": 1.5,
//!     "item_content": text, "item_hash": ItemHash::sha256(text.as_bytes()).as_str(),
//! }).to_string().as_bytes())?;
//! parsed.message.signature = Some(key.sign_message(&parsed.message));
//! assert!(verify(parsed).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod avalanche;
mod base58;
mod base64_lenient;
mod bech32;
mod cosmos;
mod ed25519;
mod error;
mod evm;
mod hash160;
mod json_signature;
mod nuls;
mod solana;
mod substrate;
mod tezos;
mod verified;

pub use error::{KeyError, SignatureError};
pub use evm::{EvmAddress, EvmKey, EvmSignature, recover_eip191};
pub use verified::{Refused, TrustedSource, Verified, check, verify};

//! Signatures of messages: verify and sign, one module per chain family (`spec: signatures.md`).
//!
//! Everything here is pure: keys are given by the caller, and no signature needs random bytes.
//!
//! A [`Verified`] value can be made in two ways only: by [`verify`] and [`verify_batch`], or by naming the
//! [`TrustedSource`] that needs no signature. Whatever stores or applies a message takes it in this form, so that an unverified
//! message can't get there by mistake.
//!
//! [`verify_batch`] gives the verdicts of [`verify`] one by one, for Ed25519 faster: every equation is still
//! computed on its own, as sums of equations accept what is refused alone.
//!
//! [`SigningKey`] signs for every chain that has a verifier, in the text form of the official clients.
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

mod auth_token;
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
mod signing_key;
mod solana;
mod substrate;
mod tezos;
mod verified;

pub use auth_token::{AuthKey, sign_auth_token};
pub use error::{KeyError, SignatureError};
pub use evm::{EvmAddress, EvmKey, EvmSignature, recover_eip191};
pub use nuls::{Nuls2Network, NulsTemplate};
pub use signing_key::SigningKey;
pub use tezos::{TezosCurve, TezosPayload};
pub use verified::{Refused, TrustedSource, Verified, check, verify, verify_batch};

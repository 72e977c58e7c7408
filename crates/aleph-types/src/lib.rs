//! The vocabulary of Aleph Cloud: hashes, addresses, chains, times, messages, contents, codes.
//!
//! Everything here is pure: no IO, no clock, no randomness. Two families of types exist:
//!
//! * **wire** types ([`wire::Envelope`]) mirror what a client may send, leniently;
//! * **domain** types ([`Message`], [`content::Content`]) can only hold what the network accepts.
//!
//! `TryFrom`-like functions lead from the first to the second and name what was wrong and where
//! ([`FormatError`]).
//!
//! ```
//! use aleph_types::{ItemHash, ParsedMessage};
//!
//! let text = r#"{"address":"0xA","time":1.5,"content":{"hi":1},"type":"note"}"#;
//! let envelope = serde_json::json!({
//!     "chain": "ETH", "sender": "0xA", "signature": "0x", "type": "POST", "time": 1.5,
//!     "item_content": text, "item_hash": ItemHash::sha256(text.as_bytes()).as_str(),
//! });
//! let parsed = ParsedMessage::from_json(envelope.to_string().as_bytes()).unwrap();
//! assert_eq!(parsed.message.message_type, aleph_types::MessageType::Post);
//! ```

mod address;
mod chain;
pub mod content;
mod error_code;
mod format_error;
mod hash;
pub mod json;
pub mod limits;
mod message;
mod on_chain;
mod status;
mod time;
pub mod wire;

pub use address::{Address, Channel};
pub use chain::{Chain, SignatureFamily, UnknownChain};
pub use error_code::{ErrorCode, Rejection};
pub use format_error::{FormatError, Issue, Loc};
pub use hash::{HashKind, InvalidHash, ItemHash};
pub use message::{ItemType, Message, MessageType, ParsedMessage, Signature};
pub use on_chain::{ChainTx, ContractEvent};
pub use status::MessageStatus;
pub use time::{Timestamp, TimestampError};

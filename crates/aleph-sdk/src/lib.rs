//! Client library of Aleph Cloud: publish messages, read them, store files, watch, deploy programs.
//!
//! * [`Client`] talks to one **core node** over its public HTTP and WebSocket API, the same API that the
//!   reference serves (`spec: ccn-api.md`). It is cheap to clone.
//! * [`Account`] is a key that signs. [`MessageBuilder`] makes messages; what it writes is checked by the
//!   network's own rules before it is signed, so that a message which every node would refuse is never sent.
//! * [`ComputeNode`] talks to one **compute node**: calls programs, reads their logs.
//! * [`deploy`] takes a program the whole way from a folder to its first answer.
//!
//! What always holds:
//!
//! * The text that is hashed is the text that is signed and sent; nothing writes it anew.
//! * Bytes that were asked for by hash are checked against it before anyone sees them.
//! * Requests are repeated with growing pauses where the network is at fault ([`RetryPolicy`]). That is
//!   safe: a message is its hash, a second copy changes nothing. Calls of programs are sent once.
//! * Files of any size need a bounded amount of memory.
//! * Every error says whose move it is: [`Error::kind`].
//!
//! ```no_run
//! use aleph_sdk::{Account, Client, MessageBuilder};
//!
//! # async fn example() -> aleph_sdk::Result<()> {
//! let client = Client::new("http://127.0.0.1:4024")?;
//! let account = Account::generate()?;
//! let note = MessageBuilder::post("note", serde_json::json!({ "body": "hello" }));
//! let outcome = client.publish(&account, note, true).await?;
//! println!("{} is {}", outcome.item_hash, outcome.status);
//! # Ok(())
//! # }
//! ```

mod account;
mod builder;
mod client;
mod compute;
mod deploy;
mod download;
mod error;
mod files;
mod pack;
mod placement;
mod program;
mod query;
mod retry;
mod runtime;
mod served;
mod session;
mod transfer;
mod watch;

pub use aleph_types as types;

pub use account::Account;
pub use builder::{INLINE_BYTES, MessageBuilder, PaymentMethod, Unsigned};
pub use client::{AccountFile, AggregateEntry, Balance, Client, NodeInfo, Post, Publication, PublishOutcome};
pub use compute::{ComputeNode, Execution, LogLine, LogStream, ProgramAnswer, ProgramRequest};
pub use deploy::{DeployEvent, DeployRequest, DeployStage, Deployed, StageFacts, deploy};
pub use download::Downloaded;
pub use error::{Error, ErrorKind, RejectedMessage, Result};
pub use files::{Stored, StoredFile, Upload};
pub use pack::{LARGEST_INLINE_CODE, PackedCode, pack};
pub use placement::{Allocation, Candidate, PlacedNode, Placement};
pub use program::{ProgramSpec, VolumeSpec};
pub use query::{CursorPage, MessageFilter, NumberedPage, PageRequest, PostFilter, SortOrder};
pub use retry::RetryPolicy;
pub use runtime::{Runtimes, SETTINGS_ADDRESS};
pub use served::{MessageState, ServedMessage};
pub use transfer::{Phase, Progress, ProgressListener};
pub use watch::{LONGEST_HISTORY, Watch, WatchEvent};

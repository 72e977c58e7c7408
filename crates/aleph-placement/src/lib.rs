//! Which core node answers for a program, and which compute node runs it.
//!
//! Pure decisions over facts that the caller gathered: no IO, no clock, no randomness. Every core node that
//! has the same node list names the same responsible node, without a word between them; and the responsible
//! node can show why it chose a compute node, or why it could not.
//!
//! 1. [`NodeList::read`] reads the network's `corechannel` aggregate, tolerantly (`spec: nodes.md §6`).
//! 2. [`responsible`] picks the core node by rendezvous hashing: when a node leaves, only its own programs
//!    move; when one joins, it takes an even share from all.
//! 3. [`choose_compute`] picks among the compute nodes linked to that core node. A program stays where it
//!    is as long as it may; what was not measured is a reason to look elsewhere first, never to refuse.
//!
//! ```
//! use aleph_placement::{ComputeFacts, Needs, NodeList, Reach, choose_compute, responsible};
//! use aleph_types::ItemHash;
//!
//! let (core, crn) = ("a".repeat(64), "b".repeat(64));
//! let reading = NodeList::read(&serde_json::json!({
//!     "nodes": [{"hash": core, "owner": "0xA", "status": "active", "resource_nodes": [crn]}],
//!     "resource_nodes": [{"hash": crn, "owner": "0xB", "status": "linked", "parent": core,
//!                         "address": "http://127.0.0.1:4120"}],
//! }));
//! let program = ItemHash::sha256(b"program");
//! let node = responsible(&program, None, &reading.list).unwrap();
//! let facts: Vec<ComputeFacts> = reading.list.linked_to(&node.hash)
//!     .map(|compute| ComputeFacts { reach: Reach::Reachable, ..ComputeFacts::unknown(compute) })
//!     .collect();
//! let placement = choose_compute(&program, &Needs::default(), &facts);
//! assert_eq!(placement.chosen.unwrap().as_str(), crn);
//! ```

mod allocation;
mod choice;
mod needs;
mod node_list;
mod rendezvous;

pub use allocation::Allocation;
pub use choice::{Candidate, ComputeFacts, Placement, Reach, Refusal, Usage, Verdict, choose_compute};
pub use needs::Needs;
pub use node_list::{ComputeNode, CoreNode, CoreStatus, NodeList, NodeListReading, SkippedEntry};
pub use rendezvous::{Ranked, Weight, rank, responsible};

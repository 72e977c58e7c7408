//! Networks of core nodes under faults, simulated: fifty nodes on one thread, in a time of their own.
//!
//! The nodes are real where it matters ([`aleph_ccn::stepped`]): databases on disk, the pipeline's stages,
//! the rules, signatures, the comparison of sets, what is believed of forgotten messages. The network
//! between them, the clock, clients and all trouble are a queue of events whose order follows from one
//! number, the seed: [`run`] with the same options does the same, event for event, and
//! [`Report::trace`] shows it.
//!
//! While clients publish, packets are lost, doubled, delayed and overtaken; the network is cut; nodes crash
//! and lose what was not committed; disks are full; some nodes are slow, and some lie in all that they send.
//! Then the trouble ends, and after a while all of [`aleph_rules::invariants`] must hold of the honest nodes.
//!
//! ```no_run
//! let report = aleph_sim::run(&aleph_sim::Options::new(7)).expect("all invariants hold");
//! println!("{report}");
//! ```
//!
//! [`Broken`] switches a node's behaviour to a wrong one: the tests see that the simulation finds it.
//! Tests only: no part of alephd depends on this crate.

mod dice;
mod history;
mod liar;
mod world;

pub use world::{Broken, Failure, Options, Report, Wrong, run};

//! Money: what things cost, who can pay, what accounts own, and what follows from a shortfall.
//!
//! Everything here is pure: facts in, decisions and effects out; no IO, no clock. The store answers the
//! fact traits from one instant and applies the effects in one transaction.
//!
//! | question | answer |
//! |---|---|
//! | what does this message cost? | [`Workload::of`], then [`Workload::price`] with a [`Timeline`]'s prices |
//! | why? | [`Costing::explain`]: every line keeps its inputs |
//! | may its owner have it? | [`Gate::terms`], then [`Terms::check`] |
//! | what does a `balances-update` say? | [`BalanceUpdate::read`], [`StoredBalance::change`] |
//! | what does a credit post do? | [`credit::CreditPost::read`], [`credit::Operation::new`], [`credit::admit`], [`credit::apply`] |
//! | who can't pay any more? | [`removal::settle_page`] over sorted pages, [`removal::step`] for each message |
//!
//! Invariants:
//!
//! * Arithmetic is the network's ([`Decimal`]): 28 significant digits, half to even, floors to 18
//!   decimals. Binary floating point appears only where the network itself used it: prices sent as JSON
//!   numbers, file sizes in MiB, the community's share of streams.
//! * Credits are conserved: granted = spent + expired + available, after every history in every order
//!   of arrival. Applying a post twice changes nothing.
//! * Malformed prices change nothing: the last good ones stay, the same on every node, and a [`Notice`]
//!   tells the operator.
//! * Nothing is removed on missing knowledge.
//!
//! ```
//! use aleph_ledger::{Estimates, FileSizes, PriceTable, Settings, Workload};
//! use aleph_types::{ItemHash, MessageType, content::Content};
//!
//! /// A node that stores one file of 100 MiB.
//! struct OneFile;
//! impl FileSizes for OneFile {
//!     type Error = std::convert::Infallible;
//!     fn size_behind(&mut self, _: &ItemHash, _: bool) -> Result<Option<u64>, Self::Error> { Ok(None) }
//!     fn size_of_file(&mut self, _: &ItemHash) -> Result<Option<u64>, Self::Error> { Ok(Some(100 << 20)) }
//! }
//!
//! let content = serde_json::json!({
//!     "address": "0xA", "time": 1, "item_type": "storage", "item_hash": "a".repeat(64),
//! });
//! let content = Content::parse_value(MessageType::Store, content).unwrap();
//! let message = ItemHash::sha256(b"the message");
//! let workload = Workload::of(&message, &content, &Estimates::default(), &mut OneFile).unwrap().unwrap();
//! let costing = workload.price(&PriceTable::default(), &Settings::default()).unwrap();
//! assert_eq!(costing.total.to_string(), "33.333333300000000000");
//! ```

mod acceptance;
mod amount;
mod balance;
mod cost;
pub mod credit;
pub mod cutoffs;
mod decimal;
mod estimate;
mod explain;
mod notice;
mod pricing;
pub mod removal;
mod settings;
mod stream;

pub use acceptance::{AccountFacts, Allocation, FreeBecause, Gate, PaymentRules, Refusal, Terms};
pub use amount::Amount;
pub use balance::{BalanceChange, BalanceUpdate, StoredBalance, total_balance};
pub use cost::{
    CostError, CostLine, CostType, Costing, Costs, Estimates, FileSizes, Inputs, MINIMUM_CREDIT, Machine,
    MachineKind, Quantity, Size, Volume, Way, Ways, Workload, WorkloadKind,
};
pub use decimal::{Decimal, DecimalError};
pub use estimate::Estimate;
pub use notice::Notice;
pub use pricing::{
    ComputeUnit, Element, Origin, PRICE_KEY, PRICE_PUBLISHER, PriceFault, PriceTable, Prices, Product,
    ProductPrices, Tier, Timeline, default_prices,
};
pub use settings::{Card, SETTINGS_KEY, Settings};
pub use stream::{STREAM_TOLERANCE, StreamShares};

//! Credits: grants, expenses, transfers (`spec: payments.md §11`).
//!
//! * [`CreditPost`] is what a post says, [`Operation`] what it does, with old amounts scaled.
//! * An account owns [`Lot`]s; the oldest that has not expired is spent first. The history
//!   ([`HistoryRow`]) never forgets.
//! * [`apply`] gives the effects of an operation. Operations count in the order of their [`Moment`]s:
//!   one that arrives late makes the accounts that it touches be computed anew from their history, so
//!   that the order of arrival does not matter.

mod apply;
mod balance;
mod history;
mod lot;
mod operation;
mod post;
mod rebuild;
mod settle;

pub use apply::{Applied, CreditEffect, CreditFacts, CreditRules, Unfunded, admit, apply, recompute};
pub use balance::{CreditBalance, CreditShare};
pub use history::{EntryKind, HistoryPlace, HistoryRow};
pub use lot::{Lot, LotKey, Moment};
pub use operation::{Action, CreditRefusal, Grant, Operation, Payment, Transfer};
pub use post::{
    CreditFormatError, CreditKind, CreditPost, CreditPublishers, Distribution, DistributionEntry,
    ExpenseEntry, TransferEntry,
};
pub use settle::{SettledPage, settle};

//! The tables of money: balances, costs, credits, removals, jobs. What they mean is decided in
//! `aleph-ledger`; here its facts are answered and its effects are stored.

mod backfill;
mod balances;
mod costs;
mod credits;
mod deferred;
mod jobs;
mod lists;
#[cfg(test)]
mod plans;
mod queries;
mod recalculate;
mod removals;

pub(crate) use balances::{set_balances, token_balance};
pub(crate) use costs::{remove_costs, set_costs, total};
pub(crate) use credits::{Credits, apply_credits, valid_credits};
pub(crate) use removals::forget_removal;

pub use backfill::Backfill;
pub use jobs::JobPage;
pub use lists::{AccountBalance, BalanceFilter, BalanceStart, CostFilter, CostSummary, ResourceCost};
pub use queries::{
    HistoryColumn, HistoryFilter, HistorySort, HistoryStart, HistorySummary, HistoryValue, StoredCost,
};
pub use recalculate::{CostPlace, Recalculated};
pub use removals::{DueRemoval, Removal};

use std::time::{SystemTime, UNIX_EPOCH};

use aleph_types::Timestamp;

/// The node's clock: jobs look at what changed since they last ran.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

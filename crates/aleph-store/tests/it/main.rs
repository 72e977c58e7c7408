//! The database as the pipeline uses it.
#![allow(clippy::unwrap_used, missing_docs)]

mod aggregates;
mod author;
mod backfill;
mod digest;
mod encryption;
mod gates;
mod histories;
mod jobs;
mod ledger;
mod money_lists;
mod opening;
mod place;
mod recorded_money;
mod rules;
mod settling;

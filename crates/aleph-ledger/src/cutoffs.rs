//! The dates and heights at which the network changed its payment rules (`spec: payments.md §9`).

use aleph_types::Timestamp;

/// STORE and on-demand PROGRAM cost something from this envelope time on; judged so while unconfirmed.
pub const STORE_AND_PROGRAM_COST: Timestamp = Timestamp::from_secs(1_743_775_079);
/// The same once a message is confirmed: Ethereum height of its first confirmation. Messages below are
/// never removed for lack of tokens.
pub const STORE_AND_PROGRAM_COST_HEIGHT: u64 = 22_196_000;
/// INSTANCE and persistent PROGRAM must pay by credit from this envelope time on (2026-03-11).
pub const HOLD_AND_STREAM: Timestamp = Timestamp::from_secs(1_773_187_200);
/// STORE, PROGRAM and INSTANCE must all pay by credit from this envelope time on (2027-01-01); the free
/// 25 MiB end with it.
pub const CREDIT_ONLY: Timestamp = Timestamp::from_secs(1_798_761_600);
/// Credit amounts of posts with an earlier `content.time` (2026-02-02) count [`CREDIT_PRECISION_FACTOR`] times.
pub const CREDIT_PRECISION: Timestamp = Timestamp::from_secs(1_769_990_400);
/// Factor of old credit amounts.
pub const CREDIT_PRECISION_FACTOR: i64 = 10_000;
/// Largest file that is free on hold and never removed for lack of funds, MiB.
pub const FREE_FILE_MIB: u64 = 25;
/// A day of credits must be there before a message is accepted, and for it to stay, seconds.
pub const MIN_RUNTIME_SECONDS: u32 = 86_400;

//! What follows when an account can no longer pay, and when it can again (`spec: payments.md §10`,
//! `messages.md §24`).
//!
//! * [`Walk`] goes through what an account pays for, oldest first, and says what to remove or recover.
//! * [`step`] is the life of one message under removal: `processed → removing → removed`, or back.
//! * [`JobState`] and [`settle_page`] are the hourly job over all accounts, in pages that survive a crash.
//!
//! Nothing is removed on missing knowledge: a balance that was never read is not zero, a node that is
//! still catching up removes nothing, and a message without a stored deadline gets one first.

mod job;
mod machine;
mod walk;

pub use job::{Account, Change, JobState, PageReport, settle_page};
pub use machine::{Circumstances, Event, GRACE_MICROS, RemovalEffect, Standing, Subject, reason, step};
pub use walk::{Job, PricedMessage, RemovalRules, Verdict, Walk};

//! The clock on the wall.

use std::time::{SystemTime, UNIX_EPOCH};

use aleph_types::Timestamp;

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Seconds since the epoch.
pub(crate) fn now_seconds() -> i64 {
    (now_ms() / 1000) as i64
}

/// `2026-08-07T11:21:21.744000Z`.
pub(crate) fn iso(ms: u64) -> String {
    timestamp(ms).iso_z().to_string()
}

/// The reference's other style, with a space: `2026-08-07 11:21:21.744592+00:00` (`spec: crn-api.md §1`).
pub(crate) fn spaced(ms: u64) -> String {
    timestamp(ms).iso_offset().to_string().replacen('T', " ", 1)
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(ms).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
}

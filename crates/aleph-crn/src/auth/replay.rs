//! Signed requests are accepted once.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::defaults::REPLAY_ENTRIES;

/// Remembers what was accepted until it would be refused for its age anyway.
///
/// Keyed on the payload, not the signature: ECDSA signatures can be changed into other valid ones.
#[derive(Debug, Default)]
pub(crate) struct ReplayGuard {
    accepted: Mutex<HashMap<[u8; 32], i64>>,
}

/// Why a payload is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Replay {
    #[error("this request was already accepted once")]
    Seen,
    #[error("too many signed requests in the last minutes")]
    Full,
}

impl ReplayGuard {
    /// Accepts `key` if it is new, remembering it until `forget_at` (seconds since the epoch). Atomic.
    pub(crate) fn accept(&self, key: [u8; 32], forget_at: i64, now: i64) -> Result<(), Replay> {
        let mut accepted = self.accepted.lock();
        if accepted.len() >= REPLAY_ENTRIES {
            accepted.retain(|_, forget_at| *forget_at >= now);
        }
        if accepted.get(&key).is_some_and(|forget_at| *forget_at >= now) {
            return Err(Replay::Seen);
        }
        if accepted.len() >= REPLAY_ENTRIES {
            return Err(Replay::Full);
        }
        accepted.insert(key, forget_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_until_forgotten_and_bounded() {
        let guard = ReplayGuard::default();
        assert_eq!(guard.accept([1; 32], 10, 5), Ok(()));
        assert_eq!(guard.accept([1; 32], 10, 10), Err(Replay::Seen));
        assert_eq!(guard.accept([1; 32], 20, 11), Ok(()));
        for n in 0..REPLAY_ENTRIES - 1 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(n as u64 + 7).to_le_bytes());
            assert_eq!(guard.accept(key, 20, 11), Ok(()));
        }
        assert_eq!(guard.accept([9; 32], 20, 11), Err(Replay::Full));
        assert_eq!(guard.accept([9; 32], 40, 21), Ok(()), "old ones make room");
    }
}

//! What the writer tells the readers' catalogue: rows that changed or went. New ones show themselves.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Changed rows that are remembered one by one; with more, everything counts as changed.
const REMEMBERED: usize = 64 * 1024;

/// Messages (by their place in the order of processing) that were changed or deleted by commits since
/// somebody looked, together with what hangs on them: their status, their confirmations, their post.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    touched: Mutex<Touched>,
    count: AtomicU64,
    gone: AtomicU64,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Touched {
    /// These messages, perhaps some of them twice.
    Messages(Vec<i64>),
    /// More than are remembered one by one.
    Everything,
}

impl Default for Touched {
    fn default() -> Self {
        Self::Messages(Vec::new())
    }
}

impl Changes {
    /// A commit changed these.
    pub(crate) fn add(&self, messages: &[i64]) {
        self.count.fetch_add(1, Ordering::Release);
        let mut touched = self.touched.lock();
        if let Touched::Messages(known) = &mut *touched {
            if known.len() + messages.len() > REMEMBERED {
                *touched = Touched::Everything;
            } else {
                known.extend_from_slice(messages);
            }
        }
    }

    /// A commit changed what can't be listed.
    pub(crate) fn add_everything(&self) {
        self.count.fetch_add(1, Ordering::Release);
        *self.touched.lock() = Touched::Everything;
    }

    /// How many commits changed something that was stored.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// A commit let messages go: the lists of forgotten and removed ones have more rows.
    pub(crate) fn add_gone(&self) {
        self.gone.fetch_add(1, Ordering::Release);
    }

    /// How many commits let messages go.
    pub(crate) fn gone(&self) -> u64 {
        self.gone.load(Ordering::Acquire)
    }

    /// Whether nothing changed since the last [`Changes::take`].
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&*self.touched.lock(), Touched::Messages(messages) if messages.is_empty())
    }

    /// What changed since the last call.
    pub(crate) fn take(&self) -> Touched {
        std::mem::take(&mut *self.touched.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_changes_are_a_change_of_everything() {
        let changes = Changes::default();
        changes.add(&[3, 4]);
        changes.add(&[3]);
        assert!(!changes.is_empty());
        assert_eq!(changes.take(), Touched::Messages(vec![3, 4, 3]));
        assert!(changes.is_empty());
        changes.add(&vec![1; REMEMBERED + 1]);
        changes.add(&[2]);
        assert_eq!(changes.take(), Touched::Everything);
        assert!(changes.is_empty());
    }
}

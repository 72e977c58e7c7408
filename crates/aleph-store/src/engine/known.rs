//! What an open transaction has learned of the statuses of hashes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use aleph_types::MessageStatus;

/// A status as far as the open transaction knows it: `None` where there is none.
pub(crate) type KnownStatus = Option<(MessageStatus, Option<i64>)>;

/// The statuses that one session need not ask for again while its transaction is open.
#[derive(Debug, Default)]
pub(super) struct KnownStatuses {
    is_open: Cell<bool>,
    statuses: RefCell<HashMap<Box<str>, KnownStatus>>,
}

impl KnownStatuses {
    /// A transaction that writes begins.
    pub(super) fn open(&self) {
        self.is_open.set(true);
    }

    /// It is over: others may write.
    pub(super) fn close(&self) {
        self.is_open.set(false);
        self.statuses.borrow_mut().clear();
    }

    pub(super) fn get(&self, hash: &str) -> Option<KnownStatus> {
        self.statuses.borrow().get(hash).copied()
    }

    pub(super) fn put(&self, hash: &str, status: KnownStatus) {
        if self.is_open.get() {
            self.statuses.borrow_mut().insert(hash.into(), status);
        }
    }
}

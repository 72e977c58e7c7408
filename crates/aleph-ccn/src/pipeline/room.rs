//! How much of what came from outside is held in memory at once.
//!
//! A document takes up to thirty times its length once it is read (`[{},{},…]`), so what bounds memory is the
//! length of what is inside, not the number of messages.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Bytes of contents that were read from files and are not durable yet; a longer one goes in alone.
pub(super) const CONTENTS: u64 = 8 * 1024 * 1024;

/// Bytes of text that one permit stands for: most messages are shorter.
const PERMIT: usize = 4096;

/// How many permits a text of that many bytes needs, of `all` that there are.
pub(super) fn permits(bytes: usize, all: usize) -> u32 {
    u32::try_from((1 + bytes / PERMIT).min(all)).unwrap_or(u32::MAX)
}

/// A count of bytes with a limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rooms(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    taken: Mutex<u64>,
    freed: Condvar,
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    counted: Arc<Counted>,
    bytes: u64,
}

impl Rooms {
    /// Waits until `bytes` fit below [`CONTENTS`], or nothing else is inside. The caller must have handed on
    /// what it took before: whoever frees it can't wait for the caller.
    pub(crate) fn take(&self, bytes: u64) -> Room {
        let mut taken = self.0.taken.lock();
        while *taken > 0 && taken.saturating_add(bytes) > CONTENTS {
            self.0.freed.wait(&mut taken);
        }
        *taken += bytes;
        Room { counted: Arc::clone(&self.0), bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *self.counted.taken.lock() -= self.bytes;
        self.counted.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits_for_what_is_inside() {
        let rooms = Rooms::default();
        let first = rooms.take(CONTENTS - 1);
        let one = rooms.take(1);
        let other = rooms.clone();
        let waiting = std::thread::spawn(move || drop(other.take(2 * CONTENTS)));
        drop(one);
        assert!(!waiting.is_finished());
        drop(first);
        waiting.join().unwrap();
        assert_eq!(*rooms.0.taken.lock(), 0);
    }

    #[test]
    fn short_texts_need_one_permit_and_none_needs_more_than_there_are() {
        assert_eq!(permits(0, 8192), 1);
        assert_eq!(permits(4095, 8192), 1);
        assert_eq!(permits(800_000, 8192), 196);
        assert_eq!(permits(usize::MAX / 2, 8192), 8192);
    }
}

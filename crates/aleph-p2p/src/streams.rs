//! Streams of protocols beside gossip, opened and taken outside the swarm's task.

use std::fmt;

use libp2p_stream::Control;

/// What opens streams to connected peers and takes theirs.
pub(crate) struct Streams {
    control: Control,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl Streams {
    pub(crate) fn new(control: Control) -> Self {
        Self { control }
    }

    /// A control of its own for a protocol. Opening a stream to a peer that is not connected tries to dial
    /// it; ask [`crate::NetworkHandle::peers`] first.
    pub(crate) fn control(&self) -> Control {
        self.control.clone()
    }
}

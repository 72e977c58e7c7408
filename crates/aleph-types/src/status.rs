use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a message is in its life on this node (`spec: messages.md §6`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageStatus {
    /// Known, but waiting for something: its content, a file, another message.
    Pending,
    /// Valid and applied.
    Processed,
    /// Refused, with a code.
    Rejected,
    /// The target of a FORGET; its content is gone.
    Forgotten,
    /// Its owner can't pay for it any more; the grace time runs.
    Removing,
    /// The grace time is over and its resources are gone.
    Removed,
}

impl MessageStatus {
    /// Every status.
    pub const ALL: [MessageStatus; 6] = [
        MessageStatus::Pending,
        MessageStatus::Processed,
        MessageStatus::Rejected,
        MessageStatus::Forgotten,
        MessageStatus::Removing,
        MessageStatus::Removed,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageStatus::Pending => "pending",
            MessageStatus::Processed => "processed",
            MessageStatus::Rejected => "rejected",
            MessageStatus::Forgotten => "forgotten",
            MessageStatus::Removing => "removing",
            MessageStatus::Removed => "removed",
        }
    }
}

impl fmt::Display for MessageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MessageStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        MessageStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

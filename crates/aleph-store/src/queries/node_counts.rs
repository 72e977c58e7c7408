use rusqlite::Connection;

use super::sql::Sql;
use crate::{Store, StoreError};

/// Numbers for the node's metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounts {
    /// Stored messages.
    pub messages: u64,
    /// Distinct copies of messages that wait for something.
    pub pending: u64,
    /// Pins of files.
    pub file_pins: u64,
}

fn node_counts(conn: &Connection) -> Result<NodeCounts, StoreError> {
    let count = |table: &str| Sql::new(&format!("SELECT count(*) FROM {table}")).count(conn);
    Ok(NodeCounts {
        messages: count("messages")?,
        pending: count("pending")?,
        file_pins: count("file_pins")?,
    })
}

impl Store {
    /// Numbers for the node's metrics.
    pub async fn node_counts(&self) -> Result<NodeCounts, StoreError> {
        self.read(node_counts).await
    }
}

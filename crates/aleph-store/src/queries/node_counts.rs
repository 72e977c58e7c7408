use super::sql::Sql;
use crate::engine::Session;
use crate::{Store, StoreError};

/// Numbers for the node's metrics; see also [`Store::total_messages`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounts {
    /// Distinct copies of messages that wait for something.
    pub pending: u64,
    /// Pins of files.
    pub file_pins: u64,
}

fn node_counts(session: &Session) -> Result<NodeCounts, StoreError> {
    let count = |table: &str| Sql::new(&format!("SELECT count(*) FROM {table}")).count(session);
    Ok(NodeCounts { pending: count("pending")?, file_pins: count("file_pins")? })
}

impl Store {
    /// Numbers for the node's metrics.
    pub async fn node_counts(&self) -> Result<NodeCounts, StoreError> {
        let store = self.clone();
        self.read(move |session| {
            store.measure(session)?;
            node_counts(session)
        })
        .await
    }
}

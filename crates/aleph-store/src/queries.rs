//! What the API reads: lists, single records, counts.
//!
//! Signatures name no database engine. Every list picks its driving index on purpose ([`message_plan`]),
//! and a test asks the planner that no list walks a table without one.

mod accounts;
mod aggregates;
mod catalogue;
mod fate;
mod files;
mod hashes;
mod message_filter;
mod message_plan;
mod messages;
mod node_counts;
mod posts;
mod rows;
mod skeletons;
mod sql;
mod story;

pub use accounts::{AddressCounts, Balance};
pub use aggregates::{
    AggregateFilter, AggregateKey, AggregateQuery, AggregateSort, AggregateStart, StoredAggregate,
};
pub(crate) use catalogue::Catalogue;
pub use fate::{MessageFate, PendingCopy};
pub use files::{AccountFile, FileInfo, FileKind, FileQuery, FileVersion};
pub use hashes::{HashesFilter, ProcessedHash};
pub use message_filter::{MessageFilter, MessageQuery, Start, StoredStatuses};
pub use messages::{MessageRow, MessageTotal, StoredMessage};
pub use node_counts::NodeCounts;
pub use posts::{PostFilter, PostQuery, PostRow, StoredPost};
pub use skeletons::{Skeleton, SkeletonFilter, SkeletonQuery};
#[cfg(test)]
pub(crate) use sql::plan;
pub(crate) use sql::{Sql, bound};
pub use story::{HeldFile, MessageStory, Permission, Trace, Waiting};

/// The direction of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SortOrder {
    /// Newest or greatest first: `-1` on the wire.
    #[default]
    Descending,
    /// Oldest or smallest first: `1` on the wire.
    Ascending,
}

impl SortOrder {
    pub(crate) fn sql(self) -> &'static str {
        match self {
            SortOrder::Descending => "DESC",
            SortOrder::Ascending => "ASC",
        }
    }

    /// The comparison that means "comes later in this order".
    pub(crate) fn later(self) -> &'static str {
        match self {
            SortOrder::Descending => "<",
            SortOrder::Ascending => ">",
        }
    }
}

/// Rows up to which counting and sorting a selection costs less than a millisecond or two.
const SMALL: u64 = 2_000;

/// A count, and whether counting stopped at the limit that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Rows counted.
    pub rows: u64,
    /// Whether there are no more than these.
    pub exact: bool,
}

#[cfg(test)]
mod tests;

//! The network as this node sees it: core nodes ([`core_nodes`]), messages and references
//! ([`messages`]), files ([`files`]), the feed of new messages ([`feed`]), and who may allocate
//! ([`signers`]).

pub(crate) mod core_nodes;
pub(crate) mod feed;
pub(crate) mod files;
pub(crate) mod messages;
pub(crate) mod permissions;
pub(crate) mod signers;

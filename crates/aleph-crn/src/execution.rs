//! One program on this node: its state machine ([`machine`]), what it looks like from outside
//! ([`view`]), how a message becomes a VM's plan ([`plan`]), the task that drives it ([`driver`]), and
//! the handle that requests use ([`handle`]).

pub(crate) mod driver;
pub(crate) mod handle;
pub(crate) mod machine;
pub(crate) mod plan;
pub(crate) mod record;
pub(crate) mod view;

//! Who may tell this node what to do: schedulers ([`scheduler`]) and owners of VMs ([`owner`]).

pub(crate) mod owner;
mod recover;
pub(crate) mod replay;
pub(crate) mod scheduler;

//! Answers and bodies as the document describes them. The handlers write them directly.

#![allow(dead_code, reason = "described, never made")]

mod accounts;
mod files;
mod messages;
mod money;
mod node;
mod posts;

pub(in crate::api) use self::accounts::*;
pub(in crate::api) use self::files::*;
pub(in crate::api) use self::messages::*;
pub(in crate::api) use self::money::*;
pub(in crate::api) use self::node::*;
pub(in crate::api) use self::posts::*;

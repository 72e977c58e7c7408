//! Boots real VMs. Needs QEMU and the images of `runtimes/build`; without them the tests say so and
//! pass, unless `CI` is set: then they fail.

#![allow(clippy::unwrap_used, reason = "a test that meets an error is over")]

mod asgi;
mod executable;
mod failures;
mod host;
mod isolation;
mod lifetime;
mod templates;
mod volumes;

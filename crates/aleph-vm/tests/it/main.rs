//! Boots real VMs. Needs QEMU and the images of `runtimes/build`; without them the tests say so and
//! pass, unless `CI` is set: then they fail.

mod asgi;
mod executable;
mod failures;
mod host;
mod isolation;
mod lifetime;
mod templates;

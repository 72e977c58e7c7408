//! The guest's first process: sets the machine up as the host says, starts the application and
//! carries its HTTP connections and its output over the channel.
//!
//! One thread and one `poll`: memory and start-up time matter more here than anything else.
//! Whatever fails is told to the host; then the guest waits to be ended by it.

mod guest;

fn main() {
    guest::run();
}

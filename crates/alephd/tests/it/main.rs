//! The binary as people use it: networks of real processes on free ports, in folders of their own.

mod command_line;
mod crash;
mod devnet;
mod harness;

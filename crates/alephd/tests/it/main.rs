//! The binary as people use it: networks of real processes on free ports, in folders of their own.

mod command_line;
mod convert;
mod core_node;
mod crash;
mod database;
mod devnet;
mod disk;
mod harness;
mod helia;
mod hostile_peers;
mod interop;
mod kills;
mod money_books;
mod money_convert;
mod money_kills;
mod money_traffic;
mod old_peer;
mod private_network;
mod traffic;
mod weather;

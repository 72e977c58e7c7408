//! Many simulated networks, each of its own seed, and simulations that must fail.

mod broken;
mod seeds;

//! What must hold for every network.

mod properties;

//! Client library of Aleph Cloud.

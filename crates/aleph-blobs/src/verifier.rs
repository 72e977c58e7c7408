use std::fmt;

use aleph_types::ItemHash;
use sha2::{Digest, Sha256};

/// Computes the hash that a file will be known by, while its bytes pass.
///
/// The store calls it on blocking threads, block by block and in order. Storage hashes are
/// computed by [`Sha256Verifier`]; CIDs come from whoever knows how the tree is built.
pub trait Verifier: Send + fmt::Debug {
    /// Takes the next bytes of the file.
    fn update(&mut self, block: &[u8]);

    /// The hash of everything that passed. Where the same bytes have several names and `expected` is one of
    /// them, it is that one.
    fn finish(self: Box<Self>, expected: Option<&ItemHash>) -> ItemHash;
}

/// The verifier of storage hashes (`spec: messages.md §3`).
#[derive(Debug, Default)]
pub struct Sha256Verifier(Sha256);

impl Verifier for Sha256Verifier {
    fn update(&mut self, block: &[u8]) {
        self.0.update(block);
    }

    fn finish(self: Box<Self>, _: Option<&ItemHash>) -> ItemHash {
        ItemHash::from_digest(self.0.finalize().into())
    }
}

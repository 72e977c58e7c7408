//! What must hold for any input: the bodies of the fuzz targets, and a mutator that tests them without a
//! fuzzer.
//!
//! A [`Target`] takes bytes and panics when something that was promised does not hold. libFuzzer runs the
//! targets from `fuzz/`, which needs a nightly compiler; the tests of this crate run the same code on stable,
//! over the seeds that the fuzzer left and over mutations of them ([`Mutator`]), so that every change is
//! tried on what once was hard.
//!
//! ```
//! let target = aleph_hostile::target("item_hash").expect("it is a target");
//! (target.run)(b"QmYULJoNGPDmoRq4WNWTDTUvJGJv1hosox8H6vVd1kCsY8");
//! ```

#![allow(clippy::missing_panics_doc, reason = "a target tells what it found by a panic")]

mod codec;
mod dags;
mod family;
mod forms;
mod hashes;
mod mutator;
mod script;
mod signatures;

pub use mutator::Mutator;

/// One thing that is fed with any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name of the fuzzer's binary and of the folder of seeds.
    pub name: &'static str,
    /// Panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Longest input that is worth trying, in bytes.
    pub longest: usize,
}

macro_rules! targets {
    ($($name:ident: $run:path, $longest:literal;)*) => {
        /// Every target.
        pub const TARGETS: &[Target] = &[
            $(Target { name: stringify!($name), run: $run, longest: $longest }),*
        ];
    };
}

targets! {
    json: forms::json, 8192;
    content: forms::content, 16384;
    envelope: forms::envelope, 16384;
    item_hash: hashes::item_hash, 256;
    cid: dags::cid, 256;
    car: dags::car, 4096;
    dag: dags::dag, 1024;
    signature: signatures::any, 4096;
    evm_signature: signatures::evm_text, 1024;
    signed_evm: signatures::evm, 512;
    signed_solana: signatures::solana, 512;
    signed_tezos: signatures::tezos, 512;
    signed_cosmos: signatures::cosmos, 512;
    signed_substrate: signatures::substrate, 512;
    signed_avalanche: signatures::avalanche, 512;
    signed_nuls2: signatures::nuls2, 512;
    signed_nuls: signatures::nuls, 512;
}

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

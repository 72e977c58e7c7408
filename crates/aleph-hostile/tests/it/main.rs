//! Every target on its seeds and on mutations of them, without a fuzzer.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::{Path, PathBuf};

use aleph_hostile::{Mutator, TARGETS, Target};

/// Mutated inputs of each target.
const MUTATED: usize = 10_000;
/// The same where each verifies up to fourteen signatures, unoptimised.
const MUTATED_SIGNED: usize = 800;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let folder = fuzz().join("seeds").join(target.name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    // The order is the file system's; which seed is mutated how must not depend on it.
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// What a panic needs to be told: the input that led to it.
struct Culprit<'a>(&'a str, Vec<u8>);

impl Drop for Culprit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} failed on {:?}", self.0, self.1.escape_ascii().to_string());
        }
    }
}

fn run(name: &str) {
    let target = aleph_hostile::target(name).unwrap();
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let mut mutator = Mutator::new(1);
    let count = if name.starts_with("signed_") { MUTATED_SIGNED } else { MUTATED };
    let mutated = (0..count).map(|_| mutator.mutate(&seeds, target.longest));
    for input in seeds.iter().cloned().chain(mutated) {
        let culprit = Culprit(name, input);
        (target.run)(&culprit.1);
    }
    println!("{name}: {} seeds, {count} mutations", seeds.len());
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        const TRIED: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*
    };
}

targets!(
    json,
    content,
    envelope,
    item_hash,
    cid,
    car,
    dag,
    signature,
    evm_signature,
    signed_evm,
    signed_solana,
    signed_tezos,
    signed_cosmos,
    signed_substrate,
    signed_avalanche,
    signed_nuls2,
    signed_nuls,
);

#[test]
fn every_target_is_tried_here_and_built_for_the_fuzzer() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TRIED);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "fuzz/Cargo.toml lacks {name}");
        let source = fuzz().join(format!("fuzz_targets/{name}.rs"));
        let source = std::fs::read_to_string(source).unwrap();
        assert!(
            source.contains(&format!("target(\"{name}\")")),
            "fuzz_targets/{name}.rs runs another target"
        );
    }
}

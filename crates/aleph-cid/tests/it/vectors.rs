//! CIDs and CARs that the JavaScript implementation of UnixFS gave with Kubo's settings
//! (`tests/vectors/generate.mjs`).

use aleph_cid::{
    Built, Cid, Codec, DirectoryBuilder, Discard, FileBuilder, Layout, TreeBuilder, Version, symlink,
};
use serde_json::Value;

pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/vectors.json")).expect("vectors.json is JSON")
}

pub(crate) fn list<'a>(vectors: &'a Value, key: &str) -> &'a [Value] {
    let list = vectors[key].as_array().expect("a list of vectors");
    assert!(!list.is_empty(), "no vectors under {key}");
    list
}

pub(crate) fn text<'a>(vector: &'a Value, key: &str) -> &'a str {
    vector[key].as_str().expect("a text")
}

fn layout(name: &str) -> Layout {
    match name {
        "v0" => Layout::KUBO_V0,
        "v0_raw" => Layout::KUBO_V0.with_raw_leaves(true),
        "v1" => Layout::KUBO_V1,
        "v1_wrapped" => Layout::KUBO_V1.with_raw_leaves(false),
        "v1_2025" => Layout::UNIXFS_V1_2025,
        "narrow" => Layout::KUBO_V0.with_chunk(1024).unwrap().with_max_links(3).unwrap(),
        other => panic!("no layout is called {other}"),
    }
}

/// The generator of the vectors' files: xorshift32, four bytes little-endian a step.
pub(crate) fn random(size: usize) -> Vec<u8> {
    let mut state = 0x616c_6570_u32;
    let mut bytes = Vec::with_capacity(size + 4);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn file(layout: Layout, bytes: &[u8]) -> Built {
    let mut builder = FileBuilder::new(layout);
    builder.update(bytes, &mut Discard).unwrap();
    builder.finish(&mut Discard).unwrap()
}

fn check(built: &Built, vector: &Value) {
    assert_eq!(built.cid.to_string(), text(vector, "cid"), "{vector}");
    assert_eq!(built.cumulative_size, vector["cumulative_size"].as_u64().unwrap(), "{vector}");
}

#[test]
fn files() {
    let vectors = vectors();
    let largest = random(100 << 20);
    for vector in list(&vectors, "files") {
        let size = vector["size"].as_u64().unwrap();
        let built = file(layout(text(vector, "layout")), &largest[..size as usize]);
        assert_eq!(built.size, size);
        check(&built, vector);
    }
}

fn many(count: usize, layout: Layout, name: impl Fn(usize) -> String) -> Built {
    let mut directory = DirectoryBuilder::new(layout);
    for index in 0..count {
        let entry = file(layout, format!("content {index}").as_bytes());
        directory.insert(&name(index), &entry).unwrap();
    }
    directory.finish(&mut Discard).unwrap()
}

#[test]
fn directories() {
    let vectors = vectors();
    for vector in list(&vectors, "directories") {
        let layout = layout(text(vector, "layout"));
        let name = text(vector, "name");
        let built = match name {
            "1000 entries" => many(1000, layout, |i| format!("file-{i}.txt")),
            "just below sharding" => many(6721, layout, |i| format!("f{i:04}")),
            "just above sharding" => many(6722, layout, |i| format!("f{i:04}")),
            "10000 entries" => many(10_000, layout, |i| format!("file-{i}.txt")),
            "6000 entries with long names" => many(6000, layout, |i| format!("{}{i}", "long ".repeat(20))),
            _ => {
                let mut tree = TreeBuilder::new(layout, 1000);
                for (path, content) in vectors["trees"][name].as_object().expect("a tree") {
                    let entry = match content {
                        Value::String(text) => file(layout, text.as_bytes()),
                        size => file(layout, &random(size.as_u64().unwrap() as usize)),
                    };
                    tree.insert(path.strip_prefix("d/").unwrap(), &entry).unwrap();
                }
                tree.finish(&mut Discard).unwrap()
            }
        };
        check(&built, vector);
    }
}

#[test]
fn symlinks() {
    for vector in list(&vectors(), "symlinks") {
        for (layout, key) in [(Layout::KUBO_V0, "v0"), (Layout::KUBO_V1, "v1")] {
            let built = symlink(layout, text(vector, "target"), &mut Discard).unwrap();
            assert_eq!(built.cid.to_string(), text(vector, key));
        }
    }
}

#[test]
fn cids_in_every_base() {
    for vector in list(&vectors(), "cids") {
        let cid = Cid::parse(text(vector, "base32")).unwrap();
        for (base, text) in vector.as_object().unwrap() {
            let Some(text) = text.as_str() else { continue };
            let same = Cid::parse(text).unwrap();
            assert!(same.is_same_block(&cid), "{base} {text}");
            assert_eq!(same.version(), if base == "v0" { Version::V0 } else { Version::V1 });
        }
        match cid.codec() {
            Codec::DagPb => assert_eq!(cid.to_v0().unwrap().to_string(), text(vector, "v0")),
            _ => assert!(cid.to_v0().is_err()),
        }
    }
}

#[test]
fn well_known_directories() {
    // Listings of directories that Kubo made: the examples of every new node, and the repository in
    // the tests of its command line. Sizes and CIDs are public.
    let examples = [
        ("about", "QmZTR5bcpQD7cFgTorqxZDYaew1Wqgfbd2ud9QqGPAkK2V", 1688),
        ("contact", "QmYCvbfNbCwFR45HiNP45rwJgvatpiW38D961L5qAhUM5Y", 200),
        ("help", "QmY5heUM5qgRubMDD1og9fhCPA6QdkMp3QCwd4s7gJsyE7", 322),
        ("ping", "QmejvEPop4D7YUadeGqYWmZxHhLc4JBUCzJJHWMzdcMe2y", 12),
        ("quick-start", "QmXgqKTbzdh83pQtKFb19SpMCpDDcKR2ujqk3pKph9aCNF", 1692),
        ("readme", "QmPZ9gcCEpqKTo6aq61g2nXGUhM4iCL3ewB6LDXZCtioEB", 1102),
        ("security-notes", "QmQ5vhrL7uv6tuoN9KeVBwd4PwfQkXdVVmDLUZuTNxqgvm", 1173),
    ];
    let documents = [
        ("about", "QmZTR5bcpQD7cFgTorqxZDYaew1Wqgfbd2ud9QqGPAkK2V", 1688),
        ("contact", "QmYCvbfNbCwFR45HiNP45rwJgvatpiW38D961L5qAhUM5Y", 200),
        ("docs", "QmegvLXxpVKiZ4b57Xs1syfBVRd8CbucVHAp7KpLQdGieC", 65),
        ("help", "QmY5heUM5qgRubMDD1og9fhCPA6QdkMp3QCwd4s7gJsyE7", 322),
        ("quick-start", "QmdncfsVm2h5Kqq9hPmU7oAVX2zTSVP3L869tgTbPYnsha", 1728),
        ("readme", "QmPZ9gcCEpqKTo6aq61g2nXGUhM4iCL3ewB6LDXZCtioEB", 1102),
        ("security-notes", "QmTumTjvcYCAvRRwQ8sDRxh8ezmrcr88YFU7iYNroGGTBZ", 1027),
        ("tour", "QmciSU8hfpAXKjvK5YLUSwApomGSWN5gFbP4EpDAEzu2Te", 863),
    ];
    let repository = [
        ("blocks", "QmamKEPmEH9RUsqRQsfNf5evZQDQPYL9KXg1ADeT7mkHkT", 123_530),
        ("config", "QmPkWYfSLCEBLZu7BZt4kigGDMe3cpogMbeVf97gN2xJDN", 3939),
        ("datastore", "QmUqyZtPmsRy1U5Mo8kz2BAMmk1hfJ7yW1KAFTMB2odsFv", 5503),
        ("init-docs", "QmUhUuiTKkkK8J6JZ9zmj8iNHPuNfGYcszgRumzhHBxEEU", 7397),
        ("version", "QmR56UJmAaZLXLdTT1ALrE9vVqV8soUEekm9BMd4FnuYqV", 10),
    ];
    for (cid, size, entries) in [
        ("QmS4ustL54uo8FzR9455qaxZwuMiUhyvMcX9Ba8nUH4uVv", None, &examples[..]),
        ("QmUhUuiTKkkK8J6JZ9zmj8iNHPuNfGYcszgRumzhHBxEEU", Some(7397), &documents),
        ("Qmaj2NmcyAXT8dFmZRRytE12wpcaHADzbChKToMEjBsj5Z", None, &repository),
    ] {
        let mut directory = DirectoryBuilder::new(Layout::KUBO_V0);
        for (name, cid, size) in entries {
            let entry = Built { cid: Cid::parse(cid).unwrap(), size: *size, cumulative_size: *size };
            directory.insert(name, &entry).unwrap();
        }
        let built = directory.finish(&mut Discard).unwrap();
        assert_eq!(built.cid.to_string(), cid);
        assert_eq!(built.cumulative_size, size.unwrap_or(built.cumulative_size));
    }
}

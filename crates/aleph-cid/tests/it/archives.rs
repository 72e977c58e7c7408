//! CARs that the JavaScript implementation wrote.

use aleph_cid::{
    BlockSink, CarError, CarItem, CarLimits, CarReader, Cid, Limits, MemoryBlocks, NodeKind, ReadError,
    SourceError, Stat, check_dag, list_directory, read_file, resolve_path,
};
use data_encoding::BASE64;
use serde_json::Value;

use crate::vectors::{list, random, text, vectors};

pub(crate) fn import(car: &[u8], step: usize) -> Result<(Vec<Cid>, MemoryBlocks), CarError> {
    let mut reader = CarReader::new(CarLimits::default());
    let (mut roots, mut blocks) = (Vec::new(), MemoryBlocks::default());
    for mut piece in car.chunks(step) {
        while let Some(item) = reader.next_item(&mut piece)? {
            match item {
                CarItem::Header(header) => roots.extend(header.roots()),
                CarItem::Block { cid, block, .. } => blocks.put(&cid, block).unwrap(),
            }
        }
    }
    reader.finish()?;
    Ok((roots, blocks))
}

fn car(vector: &Value) -> Vec<u8> {
    BASE64.decode(text(vector, "base64").as_bytes()).unwrap()
}

fn named<'a>(vectors: &'a Value, key: &str, name: &str) -> &'a Value {
    list(vectors, key).iter().find(|vector| vector["name"] == name).expect("a vector of that name")
}

#[test]
fn every_archive_is_read() {
    let vectors = vectors();
    for vector in list(&vectors, "cars") {
        let car = car(vector);
        for step in [1, 37, car.len()] {
            let (roots, blocks) = import(&car, step).unwrap();
            let expected: Vec<&str> =
                vector["roots"].as_array().unwrap().iter().map(|root| root.as_str().unwrap()).collect();
            assert_eq!(roots.iter().map(Cid::to_string).collect::<Vec<_>>(), expected);
            assert_eq!(blocks.len() as u64, vector["blocks"].as_u64().unwrap());
        }
    }
}

#[test]
fn a_directory_comes_out_of_its_archive() {
    let vectors = vectors();
    let (roots, mut blocks) = import(&car(named(&vectors, "cars", "nested, version 1")), 100).unwrap();
    let limits = Limits::default();
    for (path, content) in vectors["trees"]["nested"].as_object().unwrap() {
        let path = path.strip_prefix("d/").unwrap();
        let cid = resolve_path(&mut blocks, roots[0], path, limits).unwrap();
        let mut read = String::new();
        read_file(&mut blocks, cid, .., limits, |bytes| {
            read.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(())
        })
        .unwrap();
        assert_eq!(read, content.as_str().unwrap(), "{path}");
    }
    let names: Vec<String> =
        list_directory(&mut blocks, roots[0], limits).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a", "z"]);

    let totals = check_dag(&mut blocks, roots[0], limits).unwrap();
    assert_eq!(totals.blocks, blocks.len() as u64);
    let directory = vectors["directories"].as_array().unwrap();
    let expected = directory.iter().find(|v| v["name"] == "nested" && v["layout"] == "v1").unwrap();
    assert_eq!(roots[0].to_string(), text(expected, "cid"));
    let root = blocks.remove(&roots[0]).unwrap();
    let stat = Stat::read(&roots[0], &root, &limits).unwrap();
    assert_eq!(stat.kind, NodeKind::Directory);
    assert_eq!(Some(stat.cumulative_size), expected["cumulative_size"].as_u64());
    // the root is gone now
    assert!(
        matches!(check_dag(&mut blocks, roots[0], limits), Err(SourceError::Missing(cid)) if cid == roots[0])
    );
}

#[test]
fn a_file_comes_out_of_its_archive() {
    let (roots, mut blocks) = import(&car(named(&vectors(), "cars", "a file, version 0")), 100).unwrap();
    let expected = random(5000);
    for (start, end) in [(0, 5000), (0, 1), (1023, 1025), (4999, 5000), (2000, 9000), (5000, 6000)] {
        let mut read = Vec::new();
        let size = read_file(&mut blocks, roots[0], start..end, Limits::default(), |bytes| {
            read.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(size, 5000);
        assert_eq!(read, expected[start as usize..(end as usize).min(5000)]);
    }
}

#[test]
fn links_in_cbor_are_followed() {
    let (roots, mut blocks) = import(&car(named(&vectors(), "cars", "dag-cbor")), 100).unwrap();
    assert_eq!(check_dag(&mut blocks, roots[0], Limits::default()).unwrap().blocks, 2);
    let leaf = *blocks.iter().find(|(cid, _)| **cid != roots[0]).unwrap().0;
    blocks.remove(&leaf);
    let missing = check_dag(&mut blocks, roots[0], Limits::default());
    assert!(matches!(missing, Err(SourceError::Missing(cid)) if cid == leaf), "{missing:?}");
}

#[test]
fn shards_written_data_first_are_read() {
    let vectors = vectors();
    let vector = named(&vectors, "dataFirst", "shards, data first");
    let (roots, mut blocks) = import(&car(vector), 1000).unwrap();
    assert_eq!(roots[0].to_string(), text(vector, "root"));
    let limits = Limits::default();
    let entries = list_directory(&mut blocks, roots[0], limits).unwrap();
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    let mut expected: Vec<String> = (0..40).map(|i| format!("entry {i}")).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for entry in &entries {
        assert_eq!(resolve_path(&mut blocks, roots[0], &entry.name, limits).unwrap(), entry.cid);
    }
    let missing = resolve_path(&mut blocks, roots[0], "entry 40", limits);
    assert!(matches!(missing, Err(SourceError::Read(ReadError::NotFound { .. }))), "{missing:?}");
}

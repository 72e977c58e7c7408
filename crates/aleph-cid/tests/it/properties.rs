//! What must hold for every file, directory and archive.

use std::collections::BTreeMap;

use aleph_cid::{
    BlockSink, Built, CarHeader, CarIndexer, CarItem, CarLimits, CarReader, Cid, Codec, DirectoryBuilder,
    Discard, FileBuilder, Layout, Limits, MemoryBlocks, ReadError, SourceError, car_section_head, check_dag,
    cid_of, list_directory, read_file, resolve_path,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::archives::import;
use crate::vectors::random;

/// Small chunks and narrow trees, so that small files have deep ones.
fn layout() -> impl Strategy<Value = Layout> {
    (1usize..40, 2usize..5, any::<bool>(), any::<bool>()).prop_map(|(chunk, links, raw, v0)| {
        let base = if v0 { Layout::KUBO_V0 } else { Layout::KUBO_V1 };
        base.with_raw_leaves(raw).with_chunk(chunk).unwrap().with_max_links(links).unwrap()
    })
}

fn build<S: BlockSink>(layout: Layout, pieces: &[&[u8]], sink: &mut S) -> Result<Built, S::Error> {
    let mut builder = FileBuilder::new(layout);
    for piece in pieces {
        builder.update(piece, sink)?;
    }
    builder.finish(sink)
}

fn read(blocks: &mut MemoryBlocks, root: Cid, start: u64, end: u64) -> Result<Vec<u8>, ReadError> {
    let mut read = Vec::new();
    let result = read_file(blocks, root, start..end, Limits::default(), |bytes| {
        read.extend_from_slice(bytes);
        Ok(())
    });
    match result {
        Ok(_) => Ok(read),
        Err(SourceError::Read(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn car(roots: Vec<Cid>, blocks: &MemoryBlocks) -> Vec<u8> {
    let mut car = CarHeader::new(roots).encode();
    for (cid, block) in blocks.iter() {
        car.extend(car_section_head(cid, block.len()));
        car.extend(block);
    }
    car
}

proptest! {
    #[test]
    fn what_was_built_is_read(layout in layout(), size in 0usize..3000) {
        let bytes = random(size);
        let mut blocks = MemoryBlocks::default();
        let built = build(layout, &[&bytes], &mut blocks).unwrap();
        prop_assert_eq!(built.size, size as u64);
        prop_assert_eq!(read(&mut blocks, built.cid, 0, u64::MAX).unwrap(), bytes);
        let totals = check_dag(&mut blocks, built.cid, Limits::default()).unwrap();
        prop_assert_eq!(totals.blocks, blocks.len() as u64);
        // Nothing but the blocks of the file was made, and each was counted at least once.
        prop_assert!(totals.bytes <= built.cumulative_size);
    }

    #[test]
    fn cuts_change_nothing(layout in layout(), size in 0usize..2000, cuts in vec(0usize..2000, 0..8)) {
        let bytes = random(size);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(size)).collect();
        cuts.extend([0, size]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(build(layout, &pieces, &mut Discard).unwrap().cid, cid_of(layout, &bytes));
    }

    #[test]
    fn ranges_are_parts_of_the_whole(layout in layout(), size in 0usize..2000, start in 0u64..2500, len in 0u64..2500) {
        let bytes = random(size);
        let mut blocks = MemoryBlocks::default();
        let built = build(layout, &[&bytes], &mut blocks).unwrap();
        let from = (start as usize).min(size);
        let to = ((start + len) as usize).min(size);
        prop_assert_eq!(read(&mut blocks, built.cid, start, start + len).unwrap(), &bytes[from..to]);
    }

    #[test]
    fn leaves_are_the_file(layout in layout(), size in 0usize..2000) {
        struct Leaves(Vec<u8>);
        impl BlockSink for Leaves {
            type Error = String;
            fn put(&mut self, _: &Cid, _: &[u8]) -> Result<(), String> {
                Ok(())
            }
            fn put_leaf(&mut self, leaf: &aleph_cid::Leaf<'_>) -> Result<(), String> {
                if leaf.offset != self.0.len() as u64 || !leaf.cid.matches(leaf.block) {
                    return Err(format!("{leaf:?}"));
                }
                self.0.extend_from_slice(leaf.content);
                Ok(())
            }
        }
        let bytes = random(size);
        let mut leaves = Leaves(Vec::new());
        build(layout, &[&bytes], &mut leaves).unwrap();
        prop_assert_eq!(leaves.0, bytes);
    }

    /// A source that lies about one block is found out, and never changes what is read.
    #[test]
    fn a_changed_block_is_never_read(size in 1usize..800, which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let bytes = random(size);
        let layout = Layout::KUBO_V0.with_chunk(50).unwrap().with_max_links(3).unwrap();
        let mut blocks = MemoryBlocks::default();
        let built = build(layout, &[&bytes], &mut blocks).unwrap();
        let mut cids: Vec<Cid> = blocks.iter().map(|(cid, _)| *cid).collect();
        cids.sort_unstable();
        let cid = *which.get(&cids);
        let mut block = blocks.remove(&cid).unwrap();
        let at = at.index(block.len());
        block[at] ^= 1 << bit;
        blocks.insert(cid, block);
        prop_assert_eq!(read(&mut blocks, built.cid, 0, u64::MAX), Err(ReadError::WrongBlock { cid }));
    }

    /// Whatever stands under an honest hash, reading ends and nothing panics.
    #[test]
    fn strange_blocks_are_refused_in_order(mut bytes in vec(any::<u8>(), 0..200), edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), real in any::<bool>()) {
        if real {
            let mut blocks = MemoryBlocks::default();
            let built = build(Layout::KUBO_V0.with_chunk(9).unwrap(), &[&bytes], &mut blocks).unwrap();
            bytes = blocks.remove(&built.cid).unwrap();
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let mut blocks = MemoryBlocks::default();
        let root = Cid::v0(&bytes);
        blocks.insert(root, bytes);
        let limits = Limits::default();
        let _ = read_file(&mut blocks, root, .., limits, |_| Ok(()));
        let _ = list_directory(&mut blocks, root, limits);
        let _ = resolve_path(&mut blocks, root, "a/b", limits);
        let _ = check_dag(&mut blocks, root, limits);
    }

    #[test]
    fn directories_list_what_was_put_in(names in btree_map("[^/\0]{1,30}", 0u8..255, 0..40)) {
        let mut blocks = MemoryBlocks::default();
        let mut builder = DirectoryBuilder::new(Layout::KUBO_V0);
        let mut expected = BTreeMap::new();
        for (name, content) in names {
            let entry = build(Layout::KUBO_V0, &[&[content]], &mut blocks).unwrap();
            if builder.insert(&name, &entry).is_ok() {
                expected.insert(name, entry.cid);
            } else {
                prop_assert!(name == "." || name == ".." || name.len() > 255);
            }
        }
        let root = builder.finish(&mut blocks).unwrap().cid;
        let listed: Vec<(String, Cid)> = list_directory(&mut blocks, root, Limits::default())
            .unwrap().into_iter().map(|entry| (entry.name, entry.cid)).collect();
        prop_assert_eq!(listed, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn archives_come_back(layout in layout(), size in 0usize..1000, step in 1usize..300) {
        let mut blocks = MemoryBlocks::default();
        let built = build(layout, &[&random(size)], &mut blocks).unwrap();
        let (roots, read) = import(&car(vec![built.cid], &blocks), step).unwrap();
        prop_assert_eq!(roots, vec![built.cid]);
        prop_assert_eq!(read.iter().collect::<BTreeMap<_, _>>(), blocks.iter().collect::<BTreeMap<_, _>>());
    }

    /// An archive is indexed if it is one whole tree, in whatever order its blocks come, and only then.
    #[test]
    fn whole_trees_only_are_indexed(
        layout in layout(),
        sizes in (0usize..400, 0usize..400),
        order in any::<u64>(),
        dropped in vec(any::<prop::sample::Index>(), 0..2),
        stray in prop::bool::weighted(0.3),
        step in 1usize..300,
    ) {
        let mut blocks = MemoryBlocks::default();
        let mut directory = DirectoryBuilder::new(layout);
        for (name, size) in [("a", sizes.0), ("b", sizes.1)] {
            let file = build(layout, &[&random(size)], &mut blocks).unwrap();
            directory.insert(name, &file).unwrap();
        }
        let root = directory.finish(&mut blocks).unwrap().cid;
        let mut sections: Vec<(Cid, Vec<u8>)> = blocks.iter().map(|(cid, block)| (*cid, block.to_vec())).collect();
        sections.sort_by_key(|(cid, _)| cid.digest().map(|digest| u64::from_le_bytes(digest[..8].try_into().unwrap()) ^ order));
        for gone in &dropped {
            sections.remove(gone.index(sections.len()));
        }
        if stray {
            let block = b"nobody links to this".to_vec();
            let at = sections.len() / 2;
            sections.insert(at, (Cid::v1(Codec::Raw, &block), block));
        }
        let mut car = CarHeader::new(vec![root]).encode();
        for (cid, block) in &sections {
            car.extend(car_section_head(cid, block.len()));
            car.extend(block);
        }
        let mut indexer = CarIndexer::new(CarLimits::default());
        let indexed = car.chunks(step).try_for_each(|piece| indexer.update(piece)).and_then(|()| indexer.finish());
        prop_assert_eq!(indexed.is_ok(), dropped.is_empty() && !stray, "{:?}", indexed.err());
        if let Ok(index) = indexed {
            prop_assert_eq!(index.blocks.len(), blocks.len());
            for entry in index.blocks {
                let block = &car[entry.offset as usize..][..entry.len as usize];
                prop_assert_eq!(Cid::raw(entry.digest).matches(block), true);
            }
        }
    }

    /// However an archive is damaged: no panic, no wrong block, and no more memory than it is long.
    #[test]
    fn a_damaged_archive_gives_no_wrong_block(
        size in 0usize..500,
        step in 1usize..300,
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        version_2 in any::<bool>(),
    ) {
        let mut blocks = MemoryBlocks::default();
        let layout = Layout::KUBO_V1.with_chunk(60).unwrap();
        let built = build(layout, &[&random(size)], &mut blocks).unwrap();
        let mut car = car(vec![built.cid], &blocks);
        for (at, byte) in edits {
            let at = at.index(car.len());
            car[at] = byte;
        }
        car.truncate(cut.index(car.len() * 2));
        let mut reader = CarReader::new(CarLimits { version_2, ..CarLimits::default() });
        let mut taken = 0;
        'archive: for mut piece in car.chunks(step) {
            loop {
                match reader.next_item(&mut piece) {
                    Ok(Some(CarItem::Block { cid, block, .. })) => {
                        prop_assert!(cid.matches(block));
                        taken += block.len();
                    }
                    Ok(Some(CarItem::Header(_))) => {}
                    Ok(None) => break,
                    Err(_) => break 'archive,
                }
            }
        }
        prop_assert!(taken <= car.len());
        let _ = reader.finish();
    }

    #[test]
    fn any_bytes_are_no_archive_or_one(bytes in vec(any::<u8>(), 0..300), step in 1usize..50) {
        let _ = import(&bytes, step);
    }

    #[test]
    fn cids_have_one_text_and_one_form(digest in any::<[u8; 32]>(), text in "[a-zA-Z0-9_]{0,80}") {
        let cid = Cid::raw(digest);
        prop_assert_eq!(Cid::parse(&cid.to_string()), Ok(cid));
        prop_assert_eq!(Cid::from_bytes(&cid.to_bytes()), Ok(cid));
        if let Ok(other) = Cid::parse(&text) {
            prop_assert_eq!(Cid::parse(&other.to_string()), Ok(other));
        }
    }
}

#[test]
fn sharded_directories_list_and_resolve() {
    let mut blocks = MemoryBlocks::default();
    let mut builder = DirectoryBuilder::new(Layout::KUBO_V0);
    let names: Vec<String> = (0..10_000).map(|i| format!("file-{i}.txt")).collect();
    let entry = build(Layout::KUBO_V0, &[b"same"], &mut blocks).unwrap();
    for name in &names {
        builder.insert(name, &entry).unwrap();
    }
    let root = builder.finish(&mut blocks).unwrap();
    assert!(blocks.len() > 256, "{} blocks: it is not sharded", blocks.len());
    let limits = Limits::default();
    let mut listed: Vec<String> =
        list_directory(&mut blocks, root.cid, limits).unwrap().into_iter().map(|entry| entry.name).collect();
    listed.sort_unstable();
    let mut expected = names.clone();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for name in names.iter().step_by(97) {
        assert_eq!(resolve_path(&mut blocks, root.cid, name, limits).unwrap(), entry.cid);
    }
    let missing = resolve_path(&mut blocks, root.cid, "file-10000.txt", limits);
    assert!(matches!(missing, Err(SourceError::Read(ReadError::NotFound { .. }))));
}

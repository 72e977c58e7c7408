//! CIDs, archives, and trees of blocks that nobody built.

use aleph_cid::{
    CarItem, CarLimits, CarReader, Cid, Codec, DirectoryWalk, Entry, FileWalk, Limits, MemoryBlocks,
    ReadError, Stat, check_dag, read_file, resolve_path,
};
use aleph_types::ItemHash;

use crate::script::Script;

/// Bytes of a refusal's text.
const MOST_TOLD: usize = 600;
/// Blocks of a tree, and links of a node: doubling in each node makes few blocks a very large tree.
const MOST_BLOCKS: usize = 24;
const MOST_LINKS: usize = 5;
/// Small, so that a walk that runs away is seen; the depth is the readers' own.
const LIMITS: Limits =
    Limits { block: 1 << 16, depth: 16, file: 1 << 16, links: 1 << 10, entries: 1 << 10, blocks: 1 << 10 };
/// Sizes that a node may claim.
const SIZES: [u64; 8] = [0, 1, 3, 1000, 1 << 16, u32::MAX as u64, i64::MAX as u64, u64::MAX];

/// A text or bytes: what is read is written again as the same, and texts that travel as item hashes are the
/// ones that [`ItemHash`] knows.
pub(crate) fn cid(bytes: &[u8]) {
    if let Ok((cid, taken)) = Cid::read(bytes) {
        assert_eq!(cid.to_bytes(), &bytes[..taken]);
        assert_eq!(Cid::from_bytes(&bytes[..taken]), Ok(cid));
        written_again(&cid);
    }
    let _ = Cid::from_bytes(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    match Cid::parse(text) {
        Ok(cid) => written_again(&cid),
        Err(error) => {
            assert!(error.to_string().len() < MOST_TOLD);
            // Whatever the network takes for a CID by its alphabet may still be none; never the reverse.
        }
    }
}

fn written_again(cid: &Cid) {
    assert_eq!(Cid::parse(&cid.to_string()).as_ref(), Ok(cid));
    assert_eq!(Cid::from_bytes(&cid.to_bytes()).as_ref(), Ok(cid));
    assert_eq!(cid.encoded_len(), cid.to_bytes().len());
    assert!(cid.is_same_block(&cid.to_v1()));
    if let Ok(version_0) = cid.to_v0() {
        assert_eq!(version_0.to_v1(), cid.to_v1());
    }
    if let Ok(hash) = cid.to_item_hash() {
        assert_eq!(ItemHash::parse(hash.as_str()).as_ref(), Ok(&hash));
    }
}

/// Any bytes are an archive or none, however they are cut, and every block that comes out is the one that
/// its CID names.
pub(crate) fn car(bytes: &[u8]) {
    for version_2 in [false, true] {
        let limits = CarLimits { bytes: 1 << 20, blocks: 64, block: 1 << 16, version_2 };
        let whole = items(bytes, bytes.len().max(1), limits);
        assert_eq!(items(bytes, 1, limits), whole);
        assert_eq!(items(bytes, 37, limits), whole);
        if let Err(error) = whole {
            assert!(!error.is_empty() && error.len() < MOST_TOLD);
        }
    }
}

/// Roots and blocks, or why there are none.
fn items(bytes: &[u8], step: usize, limits: CarLimits) -> Result<(Vec<Cid>, Vec<Vec<u8>>), String> {
    let mut reader = CarReader::new(limits);
    let (mut roots, mut blocks) = (Vec::new(), Vec::new());
    for mut piece in bytes.chunks(step) {
        while let Some(item) = reader.next_item(&mut piece).map_err(|error| error.to_string())? {
            match item {
                CarItem::Header(header) => roots.extend(header.roots().iter().copied()),
                CarItem::Block { cid, block, .. } => {
                    assert!(cid.matches(block));
                    blocks.push(block.to_vec());
                }
            }
        }
    }
    reader.finish().map_err(|error| error.to_string())?;
    Ok((roots, blocks))
}

/// A tree whose blocks have the right hashes and any content: every reader ends, within its limits.
pub(crate) fn dag(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut blocks = MemoryBlocks::default();
    let mut made: Vec<(Cid, Vec<u8>)> = Vec::new();
    while made.len() < MOST_BLOCKS && !script.is_over() {
        let (cid, block) = block(&mut script, &made);
        blocks.insert(cid, block.clone());
        made.push((cid, block));
    }
    let Some((root, first)) = made.last().cloned() else { return };

    let _ = Stat::read(&root, &first, &LIMITS);
    let read = |blocks: &mut MemoryBlocks, from: u64, to: u64| {
        let mut content = Vec::new();
        let end = read_file(blocks, root, from..to, LIMITS, |bytes| {
            content.extend_from_slice(bytes);
            Ok(())
        });
        assert!(content.len() as u64 <= LIMITS.file);
        end.map(|_| content)
    };
    let whole = read(&mut blocks, 0, u64::MAX);
    if let Ok(whole) = &whole {
        let middle = whole.len() as u64 / 2;
        if let Ok(part) = read(&mut blocks, middle, u64::MAX) {
            assert_eq!(part, whole[middle as usize..]);
        }
    }
    let _ = check_dag(&mut blocks, root, LIMITS);
    for path in ["a", "a/b", "b/a/a", "00", ""] {
        let _ = resolve_path(&mut blocks, root, path, LIMITS);
    }
    let entries = listed(&made, root);
    if let Ok(entries) = entries {
        assert!(entries.len() <= LIMITS.entries);
        for entry in entries {
            assert!(!matches!(entry.name.as_str(), "" | "." | "..") && !entry.name.contains(['/', '\0']));
        }
    }
    damaged(&made, root);
}

fn find(made: &[(Cid, Vec<u8>)], cid: &Cid) -> Option<Vec<u8>> {
    made.iter().find(|(known, _)| known == cid).map(|(_, block)| block.clone())
}

fn listed(made: &[(Cid, Vec<u8>)], root: Cid) -> Result<Vec<Entry>, ReadError> {
    let mut walk = DirectoryWalk::new(root, LIMITS);
    let mut entries = Vec::new();
    while let Some(wanted) = walk.wanted().copied() {
        let Some(block) = find(made, &wanted) else { break };
        entries.extend(walk.supply(&block)?);
    }
    Ok(entries)
}

/// A block that is not the one that is wanted is refused.
fn damaged(made: &[(Cid, Vec<u8>)], root: Cid) {
    let mut walk = FileWalk::new(root, .., LIMITS);
    if let Some(wanted) = walk.wanted().copied() {
        let mut block = find(made, &wanted).unwrap_or_default();
        block.push(0);
        assert!(walk.supply(&block).is_err());
    }
}

fn block(script: &mut Script<'_>, made: &[(Cid, Vec<u8>)]) -> (Cid, Vec<u8>) {
    let kind = script.byte() % 8;
    let bytes = match kind {
        0 | 1 => free(script),
        _ => node(script, made),
    };
    let cid = match (kind, script.byte() % 4) {
        (0, _) => Cid::v1(Codec::Raw, &bytes),
        (_, 0) => Cid::v0(&bytes),
        (_, 1) => Cid::v1(Codec::DagCbor, &bytes),
        _ => Cid::v1(Codec::DagPb, &bytes),
    };
    (cid, bytes)
}

fn free(script: &mut Script<'_>) -> Vec<u8> {
    let length = script.below(64);
    (0..length).map(|_| script.byte()).collect()
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn length_delimited(bytes: &mut Vec<u8>, field: u8, value: &[u8]) {
    bytes.push(field << 3 | 2);
    varint(bytes, value.len() as u64);
    bytes.extend_from_slice(value);
}

fn number(bytes: &mut Vec<u8>, field: u8, value: u64) {
    bytes.push(field << 3);
    varint(bytes, value);
}

/// A dag-pb node with UnixFS data that may claim anything.
fn node(script: &mut Script<'_>, made: &[(Cid, Vec<u8>)]) -> Vec<u8> {
    const NAMES: [&str; 12] = ["", "a", "b", "00", "0a", "FF", "00a", "..", "/", "a\0", "\u{202e}", "a/b"];
    let mut out = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..script.below(MOST_LINKS + 1) {
        if made.is_empty() {
            break;
        }
        let (cid, target) = script.pick(made);
        let mut link = Vec::new();
        length_delimited(&mut link, 1, &cid.to_bytes());
        length_delimited(&mut link, 2, script.pick(&NAMES).as_bytes());
        number(&mut link, 3, *script.pick(&SIZES));
        length_delimited(&mut out, 2, &link);
        // What a leaf holds, or a claim.
        sizes.push(if script.below(2) == 0 { target.len() as u64 } else { *script.pick(&SIZES) });
    }
    let mut data = Vec::new();
    number(&mut data, 1, u64::from(script.byte() % 8));
    let inner = if script.below(2) == 0 { Vec::new() } else { free(script) };
    if !inner.is_empty() {
        length_delimited(&mut data, 2, &inner);
    }
    let sum = sizes.iter().fold(inner.len() as u64, |sum, size| sum.wrapping_add(*size));
    match script.below(3) {
        0 => number(&mut data, 3, sum),
        1 => number(&mut data, 3, *script.pick(&SIZES)),
        _ => {}
    }
    let told = if script.below(4) == 0 { script.below(MOST_LINKS) } else { sizes.len() };
    sizes.iter().chain(&SIZES).take(told).for_each(|size| number(&mut data, 4, *size));
    if script.below(2) == 0 {
        number(&mut data, 5, if script.below(4) == 0 { *script.pick(&SIZES) } else { 0x22 });
        number(&mut data, 6, *script.pick(&[256, 8, 16, 1, 0, 3, u64::MAX]));
    }
    match script.below(8) {
        0 => {}
        1 => length_delimited(&mut out, 1, &free(script)),
        _ => length_delimited(&mut out, 1, &data),
    }
    out
}

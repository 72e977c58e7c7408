use std::collections::BTreeMap;

use super::directory::link;
use super::{Built, put_node, total};
use crate::block::BlockSink;
use crate::dag_pb::{self, Link};
use crate::hamt;
use crate::layout::Layout;
use crate::unixfs;

/// Kubo's fan-out: one byte of the hash a level.
const BITS: u32 = 8;
const FANOUT: u64 = 1 << BITS;

/// An entry with the hash of its name.
type Hashed<'a> = (u64, &'a str, &'a Built);

/// Builds a sharded directory.
pub(super) fn build<S: BlockSink>(
    layout: Layout,
    entries: &BTreeMap<String, Built>,
    sink: &mut S,
) -> Result<Built, S::Error> {
    let mut hashed: Vec<Hashed<'_>> =
        entries.iter().map(|(name, entry)| (hamt::name_hash(name), name.as_str(), entry)).collect();
    hashed.sort_unstable_by_key(|(hash, name, _)| (*hash, *name));
    node(layout, &hashed, 0, sink)
}

/// A shard of entries whose hashes agree in the first `consumed` bits. As deep as a hash has bytes.
fn node<S: BlockSink>(
    layout: Layout,
    entries: &[Hashed<'_>],
    consumed: u32,
    sink: &mut S,
) -> Result<Built, S::Error> {
    let mut bitfield = [0u8; FANOUT as usize / 8];
    let mut names = Vec::new();
    let mut built = Vec::new();
    for group in entries.chunk_by(|a, b| hamt::place(a.0, consumed, BITS) == hamt::place(b.0, consumed, BITS))
    {
        let [(hash, ..), rest @ ..] = group else { continue };
        let place = hamt::place(*hash, consumed, BITS).unwrap_or_default() as usize;
        bitfield[FANOUT as usize / 8 - 1 - place / 8] |= 1 << (place % 8);
        // Names whose hashes agree in all 64 bits can't be told apart below: they stand side by
        // side in the last shard. (Kubo gives up there; nobody has such names by accident.)
        if rest.is_empty() || consumed + BITS == u64::BITS {
            for (_, name, entry) in group {
                names.push(format!("{place:02X}{name}"));
                built.push(**entry);
            }
        } else {
            names.push(format!("{place:02X}"));
            built.push(node(layout, group, consumed + BITS, sink)?);
        }
    }
    let links = names.iter().zip(&built).map(|(name, entry)| -> Link<'_> { link(name, entry) });
    let used = bitfield.iter().position(|byte| *byte != 0).unwrap_or(bitfield.len());
    let block = dag_pb::encode(links, &unixfs::shard(&bitfield[used..], FANOUT));
    let cid = put_node(layout, &block, sink)?;
    let below = total(built.iter().map(|entry| entry.cumulative_size));
    Ok(Built { cid, size: 0, cumulative_size: below.saturating_add(block.len() as u64) })
}

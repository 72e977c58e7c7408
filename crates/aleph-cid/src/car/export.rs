use super::{CarHeader, car_section_head};
use crate::block::BlockSource;
use crate::cid::Cid;
use crate::read::{DagTotals, DagWalk, Limits, SourceError, with_block};

/// Writes everything below `root` as an archive of version 1: each block once, parents first, as
/// `ipfs dag export` does. The pieces are handed over as they come; a missing block ends the archive
/// in its middle, so check with [`crate::check_dag`] first where that matters.
///
/// # Errors
///
/// The source's, a missing block, or more than the limits allow; `write`'s own as
/// [`SourceError::Source`].
pub fn export_car<S: BlockSource>(
    source: &mut S,
    root: Cid,
    limits: Limits,
    mut write: impl FnMut(&[u8]) -> Result<(), S::Error>,
) -> Result<DagTotals, SourceError<S::Error>> {
    write(&CarHeader::new(vec![root]).encode()).map_err(SourceError::Source)?;
    let mut walk = DagWalk::new(root, limits);
    while let Some(cid) = walk.wanted().copied() {
        let is_inline = cid.inline_block().is_some();
        with_block(source, &cid, |block| {
            walk.supply(block)?;
            // What stands inside a CID needs no section of its own.
            if is_inline {
                return Ok(Ok(()));
            }
            Ok(write(&car_section_head(&cid, block.len())).and_then(|()| write(block)))
        })?
        .map_err(SourceError::Source)?;
    }
    Ok(walk.totals())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::MemoryBlocks;
    use crate::build::{FileBuilder, TreeBuilder};
    use crate::car::{CarItem, CarLimits, CarReader};
    use crate::layout::Layout;

    #[test]
    fn an_export_is_an_archive_of_the_same_tree() {
        let layout = Layout::KUBO_V1.with_chunk(10).unwrap().with_max_links(3).unwrap();
        let mut blocks = MemoryBlocks::default();
        let mut builder = FileBuilder::new(layout);
        builder.update(&(0..=255).collect::<Vec<u8>>(), &mut blocks).unwrap();
        let file = builder.finish(&mut blocks).unwrap();
        let mut tree = TreeBuilder::new(layout, 10);
        tree.insert("a/one", &file).unwrap();
        tree.insert("b/same", &file).unwrap();
        let root = tree.finish(&mut blocks).unwrap().cid;

        let mut car = Vec::new();
        let export = |blocks: &mut MemoryBlocks, car: &mut Vec<u8>| {
            export_car(blocks, root, Limits::default(), |bytes| {
                car.extend_from_slice(bytes);
                Ok(())
            })
        };
        let totals = export(&mut blocks, &mut car).unwrap();
        assert_eq!(totals.blocks, blocks.len() as u64);

        let mut reader = CarReader::new(CarLimits::default());
        let mut seen = Vec::new();
        let mut input = &car[..];
        while let Some(item) = reader.next_item(&mut input).unwrap() {
            match item {
                CarItem::Header(header) => assert_eq!(header.single_root(), Ok(&root)),
                CarItem::Block { cid, .. } => seen.push(cid),
            }
        }
        assert_eq!((seen.len(), seen[0]), (blocks.len(), root));
        assert_eq!(reader.finish().unwrap().block_bytes, totals.bytes);

        blocks.remove(&seen[3]);
        assert!(
            matches!(export(&mut blocks, &mut Vec::new()), Err(SourceError::Missing(cid)) if cid == seen[3])
        );
    }
}

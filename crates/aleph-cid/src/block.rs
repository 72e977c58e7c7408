use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;

use crate::cid::Cid;

/// Takes the blocks that a builder makes: stores them, counts them, or drops them.
///
/// A block comes after every block that it links to, so what was taken so far never has a hole.
/// The same block may come more than once.
pub trait BlockSink {
    /// Why a block can't be taken. It ends the build.
    type Error;

    /// Takes a block; `block` hashes to `cid`.
    ///
    /// # Errors
    ///
    /// The sink's own.
    fn put(&mut self, cid: &Cid, block: &[u8]) -> Result<(), Self::Error>;

    /// Takes a block that holds a piece of a file and nothing else.
    ///
    /// A sink that keeps the file itself can note where the piece stands and drop the bytes.
    ///
    /// # Errors
    ///
    /// The sink's own.
    fn put_leaf(&mut self, leaf: &Leaf<'_>) -> Result<(), Self::Error> {
        self.put(&leaf.cid, leaf.block)
    }
}

/// A block that holds a piece of a file.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// Its name.
    pub cid: Cid,
    /// The whole block.
    pub block: &'a [u8],
    /// The piece of the file inside the block.
    pub content: &'a [u8],
    /// Where the piece starts in the file, in bytes.
    pub offset: u64,
}

/// Gives blocks by their names.
///
/// What it gives need not be trusted: readers check every block. It should look blocks up by
/// [`Cid::block_hash`]: links to one block may differ in version and codec.
pub trait BlockSource {
    /// Why a block can't be looked up.
    type Error;

    /// The block, or none if it isn't there. Identity CIDs are never asked for.
    ///
    /// # Errors
    ///
    /// The source's own.
    fn get(&mut self, cid: &Cid) -> Result<Option<Cow<'_, [u8]>>, Self::Error>;
}

/// A sink that keeps nothing: for the CID alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl BlockSink for Discard {
    type Error = Infallible;

    fn put(&mut self, _: &Cid, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Blocks in memory: for tests and for small trees. A block is found under every name that its bytes
/// have; identity CIDs are not kept.
#[derive(Debug, Clone, Default)]
pub struct MemoryBlocks(HashMap<[u8; 32], (Cid, Vec<u8>)>);

impl MemoryBlocks {
    /// How many different blocks there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every block with the last name it was put under, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Cid, &[u8])> {
        self.0.values().map(|(cid, block)| (cid, block.as_slice()))
    }

    /// A block, under any of its names.
    pub(crate) fn find(&self, cid: &Cid) -> Option<&[u8]> {
        cid.digest().and_then(|digest| self.0.get(&digest)).map(|(_, block)| block.as_slice())
    }

    /// Puts a block under any name: readers find out.
    pub fn insert(&mut self, cid: Cid, block: Vec<u8>) {
        if let Some(digest) = cid.digest() {
            self.0.insert(digest, (cid, block));
        }
    }

    /// Takes a block out.
    pub fn remove(&mut self, cid: &Cid) -> Option<Vec<u8>> {
        self.0.remove(&cid.digest()?).map(|(_, block)| block)
    }
}

impl BlockSink for MemoryBlocks {
    type Error = Infallible;

    fn put(&mut self, cid: &Cid, block: &[u8]) -> Result<(), Infallible> {
        self.insert(*cid, block.to_vec());
        Ok(())
    }
}

impl BlockSource for MemoryBlocks {
    type Error = Infallible;

    fn get(&mut self, cid: &Cid) -> Result<Option<Cow<'_, [u8]>>, Infallible> {
        Ok(self.find(cid).map(Cow::Borrowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::Codec;

    #[test]
    fn a_block_has_many_names() {
        let mut blocks = MemoryBlocks::default();
        let v0 = Cid::v0(b"block");
        blocks.put(&v0, b"block").unwrap();
        for name in [v0, v0.to_v1(), Cid::v1(Codec::Raw, b"block")] {
            assert_eq!(blocks.get(&name).unwrap().as_deref(), Some(&b"block"[..]));
        }
        let inline = Cid::from_bytes(&[1, 0x55, 0, 1, b'x']).unwrap();
        blocks.put(&inline, b"x").unwrap();
        assert_eq!((blocks.len(), blocks.get(&inline).unwrap()), (1, None));
    }
}

use super::{Built, FileBuilder};
use crate::block::Discard;
use crate::cid::{Cid, Codec, Version};
use crate::layout::Layout;

/// Checks the plain bytes of a file against its CID, without its blocks.
///
/// A CID does not say how its file was cut. This tries the layouts that are in use side by side, each
/// for one pass of SHA-256: Kubo's defaults of both versions, that of the CID's version with the other kind of
/// leaves, and `unixfs-v1-2025`. A file of yet another layout can't be checked like this: fetch its blocks and
/// read them with [`crate::FileWalk`].
///
/// ```
/// use aleph_cid::{Cid, FileCheck};
///
/// let cid = Cid::parse("QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o").unwrap();
/// let mut check = FileCheck::new(cid);
/// check.update(b"hello world\n");
/// assert_eq!(check.finish().unwrap().size, 12);
/// ```
#[derive(Debug)]
pub struct FileCheck {
    expected: Cid,
    builders: Vec<FileBuilder>,
}

impl FileCheck {
    /// Before the first byte of the file that should be `expected`.
    pub fn new(expected: Cid) -> Self {
        let layouts = layouts(&expected);
        Self { expected, builders: layouts.iter().map(|layout| FileBuilder::new(*layout)).collect() }
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        for builder in &mut self.builders {
            let Ok(()) = builder.update(bytes, &mut Discard);
        }
    }

    /// What the file is, if one of the layouts leads to the CID.
    pub fn finish(self) -> Option<Built> {
        self.builders.into_iter().find_map(|builder| {
            let Ok(built) = builder.finish(&mut Discard);
            built.cid.is_same_block(&self.expected).then_some(built)
        })
    }
}

/// The layouts that may have led to a CID. A root has two names, so one of version 0 may be that of a file
/// whose other blocks are named in version 1, and the other way round.
pub(super) fn layouts(expected: &Cid) -> &'static [Layout] {
    match (expected.version(), expected.codec()) {
        (Version::V0, _) => &[Layout::KUBO_V0, Layout::KUBO_V1, WITH_RAW_LEAVES, Layout::UNIXFS_V1_2025],
        // A file of one block: larger leaves give it whenever smaller ones do.
        (Version::V1, Codec::Raw) => &[Layout::UNIXFS_V1_2025],
        (Version::V1, Codec::DagPb) => &[Layout::KUBO_V1, Layout::KUBO_V0, WRAPPED, Layout::UNIXFS_V1_2025],
        (Version::V1, _) => &[],
    }
}

const WITH_RAW_LEAVES: Layout = Layout { raw_leaves: true, ..Layout::KUBO_V0 };
const WRAPPED: Layout = Layout { raw_leaves: false, ..Layout::KUBO_V1 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::cid_of;

    fn check(cid: Cid, bytes: &[u8]) -> Option<u64> {
        let mut check = FileCheck::new(cid);
        for piece in bytes.chunks(100_000) {
            check.update(piece);
        }
        check.finish().map(|built| built.size)
    }

    #[test]
    fn the_layouts_in_use_are_recognised() {
        for size in [0, 10, 300 << 10, 1 << 20, 3 << 20] {
            let bytes = vec![7; size];
            let mut other = bytes.clone();
            other.push(7);
            for layout in [Layout::KUBO_V0, WITH_RAW_LEAVES, Layout::KUBO_V1, WRAPPED, Layout::UNIXFS_V1_2025]
            {
                let cid = cid_of(layout, &bytes);
                assert_eq!(check(cid, &bytes), Some(size as u64), "{layout:?} {size}");
                assert_eq!(check(cid, &other), None, "{layout:?} {size}");
            }
            let narrow = cid_of(Layout::KUBO_V0.with_chunk(1000).unwrap(), &bytes);
            assert_eq!(check(narrow, &bytes).is_some(), size <= 1000);
        }
        assert_eq!(check(Cid::v1(Codec::DagCbor, b"x"), b"x"), None);
    }
}

use aleph_blobs::Verifier;
use aleph_cid::{Discard, FileBuilder, Layout};
use aleph_types::ItemHash;

/// Computes the CIDs that a file has under several layouts, while it streams.
#[derive(Debug)]
pub(super) struct CidVerifier(Vec<FileBuilder>);

impl CidVerifier {
    /// The first layout gives the name of a file that nothing is expected of.
    pub(super) fn new(layouts: &[Layout]) -> Self {
        Self(layouts.iter().map(|layout| FileBuilder::new(*layout)).collect())
    }
}

impl Verifier for CidVerifier {
    fn update(&mut self, block: &[u8]) {
        for builder in &mut self.0 {
            let Ok(()) = builder.update(block, &mut Discard);
        }
    }

    fn finish(self: Box<Self>, expected: Option<&ItemHash>) -> ItemHash {
        let names = self.0.into_iter().filter_map(|builder| {
            let Ok(built) = builder.finish(&mut Discard);
            // Small files of version 1 are raw blocks, which messages can't name.
            built.cid.to_v0().ok()?.to_item_hash().ok()
        });
        let names: Vec<ItemHash> = names.collect();
        let found = names.iter().find(|name| Some(*name) == expected).or(names.first());
        found.cloned().unwrap_or_else(|| ItemHash::sha256(b""))
    }
}

#[cfg(test)]
mod tests {
    use aleph_cid::{Cid, cid_of};

    use super::*;

    #[test]
    fn the_expected_name_is_given_if_it_is_one() {
        let bytes = vec![7; 600_000];
        let name = |layout| cid_of(layout, &bytes).to_v0().unwrap().to_item_hash().unwrap();
        let (v0, v1) = (name(Layout::KUBO_V0), name(Layout::KUBO_V1));
        assert_ne!(v0, v1);
        let other = Cid::v0(b"other").to_item_hash().unwrap();
        for (expected, found) in [(None, &v0), (Some(&v0), &v0), (Some(&v1), &v1), (Some(&other), &v0)] {
            let mut verifier = Box::new(CidVerifier::new(&[Layout::KUBO_V0, Layout::KUBO_V1]));
            for piece in bytes.chunks(70_000) {
                verifier.update(piece);
            }
            assert_eq!(&verifier.finish(expected), found);
        }
    }
}

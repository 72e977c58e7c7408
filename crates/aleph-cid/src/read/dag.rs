use std::collections::HashSet;

use super::{Limits, ReadError};
use crate::cbor;
use crate::cid::{Cid, Codec};
use crate::dag_pb::Node;

/// Visits every block below a root once, parents first: to check that nothing is missing, to count,
/// or to write a CAR. The caller fetches.
///
/// Follows dag-pb and dag-cbor. Raw blocks have no links; dag-json and unknown codecs are refused,
/// since links could hide in them.
#[derive(Debug)]
pub struct DagWalk {
    /// What is still to be visited; the next one last.
    pending: Vec<Cid>,
    /// Codec and digest of everything that was ever pending.
    seen: HashSet<(u64, [u8; 32])>,
    totals: DagTotals,
    limits: Limits,
}

/// What a [`DagWalk`] has visited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DagTotals {
    /// Different blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl DagWalk {
    /// Visits everything below `root`, and `root` itself.
    pub fn new(root: Cid, limits: Limits) -> Self {
        let mut walk =
            Self { pending: Vec::new(), seen: HashSet::new(), totals: DagTotals::default(), limits };
        walk.remember(root);
        walk
    }

    /// The block that is needed next; none when everything was visited.
    pub fn wanted(&self) -> Option<&Cid> {
        self.pending.last()
    }

    /// Blocks that will be needed, as far as it is known: to fetch them ahead.
    pub fn upcoming(&self) -> impl Iterator<Item = &Cid> {
        self.pending.iter().rev()
    }

    /// What was visited so far.
    pub fn totals(&self) -> DagTotals {
        self.totals
    }

    /// Takes the block that is wanted.
    ///
    /// # Errors
    ///
    /// Another block, one whose links can't be read, or more than the [`Limits`] allow.
    pub fn supply(&mut self, block: &[u8]) -> Result<(), ReadError> {
        let cid = *self.pending.last().ok_or(ReadError::Finished)?;
        self.limits.verify(&cid, block)?;
        let malformed = |why| ReadError::Malformed { cid, why };
        let links = match cid.codec() {
            Codec::Raw => Vec::new(),
            Codec::DagPb => {
                Node::decode(block).map_err(malformed)?.links.iter().map(|link| link.cid).collect()
            }
            Codec::DagCbor => cbor::links(block).map_err(malformed)?,
            Codec::DagJson | Codec::Other(_) => {
                return Err(ReadError::UnknownCodec { cid, code: cid.codec().code() });
            }
        };
        self.pending.pop();
        self.totals.blocks += 1;
        self.totals.bytes += block.len() as u64;
        for link in links.into_iter().rev() {
            self.remember(link);
        }
        if self.seen.len().max(self.pending.len()) > self.limits.blocks {
            return Err(ReadError::TooMany { what: "blocks", limit: self.limits.blocks });
        }
        Ok(())
    }

    fn remember(&mut self, cid: Cid) {
        // Identity CIDs hold their block; each is smaller than what links to it, so they end.
        let is_new = match cid.digest() {
            Some(digest) => self.seen.insert((cid.codec().code(), digest)),
            None => true,
        };
        if is_new {
            self.pending.push(cid);
        }
    }
}

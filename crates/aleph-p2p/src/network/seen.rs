use std::collections::HashSet;

use crate::GossipId;

/// Ids remembered, in each of two generations.
const GENERATION: usize = 32_768;

/// The payloads that were taken lately, so that their copies, up to a dozen in a mesh, cost their author
/// nothing. One that is forgotten too early only costs once more.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    generations: [HashSet<GossipId>; 2],
}

impl Seen {
    pub(crate) fn contains(&self, id: GossipId) -> bool {
        self.generations.iter().any(|generation| generation.contains(&id))
    }

    pub(crate) fn insert(&mut self, id: GossipId) {
        if self.generations[0].len() >= GENERATION {
            self.generations.swap(0, 1);
            self.generations[0].clear();
        }
        self.generations[0].insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_and_memory_is_bounded() {
        let mut seen = Seen::default();
        for id in 0..5 * GENERATION as u64 {
            seen.insert(GossipId(id));
            assert!(seen.contains(GossipId(id)));
            assert!(id == 0 || seen.contains(GossipId(id - 1)));
        }
        assert!(!seen.contains(GossipId(0)));
        assert!(seen.generations.iter().map(HashSet::len).sum::<usize>() <= 2 * GENERATION);
    }
}

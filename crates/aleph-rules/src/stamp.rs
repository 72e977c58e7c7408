use aleph_types::{ItemHash, Timestamp};

/// The place of a message among those that compete to be the latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `content.time`.
    pub time: Timestamp,
    /// The message.
    pub hash: ItemHash,
}

impl Stamp {
    /// Whether this message wins over `other`: later time, and among equal times the smaller hash.
    ///
    /// The reference keeps whichever of two equal times it processed first, which differs between nodes;
    /// a rule on the hash is one of its possible outcomes and the same everywhere.
    pub fn supersedes(&self, other: &Stamp) -> bool {
        (self.time, std::cmp::Reverse(&self.hash)) > (other.time, std::cmp::Reverse(&other.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_wins_and_ties_go_to_the_smaller_hash() {
        let stamp = |seconds, digit: &str| Stamp {
            time: Timestamp::from_secs(seconds),
            hash: ItemHash::parse(&digit.repeat(64)).unwrap(),
        };
        assert!(stamp(2, "b").supersedes(&stamp(1, "a")));
        assert!(stamp(1, "a").supersedes(&stamp(1, "b")));
        assert!(!stamp(1, "b").supersedes(&stamp(1, "a")));
        assert!(!stamp(1, "a").supersedes(&stamp(1, "a")));
    }
}

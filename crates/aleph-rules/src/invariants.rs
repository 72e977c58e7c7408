//! What must hold of nodes whatever happens to them: one function each, asked by the simulation, by tests
//! with real processes, and by running nodes.
//!
//! | invariant | asked at run time |
//! |---|---|
//! | [`fate_may_follow`]: nothing is decided twice, and what is gone stays gone | at each change of a status (`aleph-store`) |
//! | [`sound`]: the digest that is kept is that of the tables | `GET /api/v1/node/digest?recompute=true` |
//! | [`one_state`]: nodes that are at rest have one state | `alephd inspect digest` |
//! | [`nothing_lost`]: what was acknowledged has its fate | – |
//! | [`one_set`]: nodes that compared their sets have one set | – |
//!
//! A running node that finds one broken counts it and says so in its health and metrics; it goes on, since
//! stopping would take away what still works.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aleph_types::{ItemHash, MessageStatus};

/// An invariant that does not hold, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A fate that is final was decided again, or something came back.
    Fate {
        /// The message.
        hash: ItemHash,
        /// Its status before.
        before: MessageStatus,
        /// Its status now.
        after: MessageStatus,
    },
    /// The digest that is kept is not that of the tables.
    Unsound {
        /// The one that is kept.
        kept: String,
        /// The one of the tables.
        recomputed: String,
    },
    /// Nodes at rest have different states.
    States {
        /// Names of nodes by their digest.
        nodes: BTreeMap<String, Vec<String>>,
    },
    /// A message was acknowledged and has no fate.
    Lost {
        /// The message.
        hash: ItemHash,
        /// What the node says of it.
        status: Option<MessageStatus>,
    },
    /// Nodes that compared their sets have different ones.
    Sets {
        /// Elements that only the first node has.
        only_first: usize,
        /// Elements that only the second has.
        only_second: usize,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fate { hash, before, after } => {
                write!(f, "message {hash} was {} and became {}", before.as_str(), after.as_str())
            }
            Self::Unsound { kept, recomputed } => {
                write!(f, "the digest {kept} is kept, that of the tables is {recomputed}")
            }
            Self::States { nodes } => {
                write!(f, "{} states among nodes at rest:", nodes.len())?;
                nodes.iter().try_for_each(|(digest, names)| write!(f, " {digest} on {};", names.join(", ")))
            }
            Self::Lost { hash, status } => {
                let status = status.map_or("unknown", MessageStatus::as_str);
                write!(f, "message {hash} was acknowledged and is {status}")
            }
            Self::Sets { only_first, only_second } => {
                write!(
                    f,
                    "after a comparison {only_first} elements are here only and {only_second} there only"
                )
            }
        }
    }
}

impl std::error::Error for Violation {}

/// Whether a message of status `before` may come to `after`: it is processed once, and what is forgotten or
/// removed for good never comes back. Refusals are not final: another copy may be right.
///
/// # Errors
/// When it may not.
pub fn fate_may_follow(
    hash: &ItemHash,
    before: Option<MessageStatus>,
    after: MessageStatus,
) -> Result<(), Violation> {
    use MessageStatus::{Forgotten, Pending, Processed, Rejected, Removed, Removing};
    let may = match (before, after) {
        (None | Some(Pending | Rejected), _) => true,
        (Some(Processed), Forgotten | Removing | Removed) => true,
        // who pays again keeps what was about to go
        (Some(Removing), Processed | Forgotten | Removed) => true,
        (Some(Removed), Forgotten) => true,
        (Some(Processed | Removing | Removed | Forgotten), _) => false,
    };
    match before {
        Some(before) if !may => Err(Violation::Fate { hash: hash.clone(), before, after }),
        _ => Ok(()),
    }
}

/// Whether the digest that a node keeps is that of its tables.
///
/// # Errors
/// When it is not.
pub fn sound(kept: &str, recomputed: &str) -> Result<(), Violation> {
    if kept == recomputed {
        return Ok(());
    }
    Err(Violation::Unsound { kept: kept.to_owned(), recomputed: recomputed.to_owned() })
}

/// Whether nodes, named here with the digests of their states, are in one state. It holds when they are at
/// rest: nobody publishes, and all have heard of all.
///
/// # Errors
/// When they are in several.
pub fn one_state<N: fmt::Display, D: fmt::Display>(
    nodes: impl IntoIterator<Item = (N, D)>,
) -> Result<(), Violation> {
    let mut by_digest: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, digest) in nodes {
        by_digest.entry(digest.to_string()).or_default().push(name.to_string());
    }
    if by_digest.len() <= 1 { Ok(()) } else { Err(Violation::States { nodes: by_digest }) }
}

/// Whether every message that was acknowledged has its final fate on a node at rest.
///
/// # Errors
/// The first one that has not.
pub fn nothing_lost<'h, E: From<Violation>>(
    acknowledged: impl IntoIterator<Item = &'h ItemHash>,
    mut status: impl FnMut(&ItemHash) -> Result<Option<MessageStatus>, E>,
) -> Result<(), E> {
    for hash in acknowledged {
        let status = status(hash)?;
        if matches!(status, None | Some(MessageStatus::Pending)) {
            return Err(Violation::Lost { hash: hash.clone(), status }.into());
        }
    }
    Ok(())
}

/// Whether two nodes whose comparison came to its end, while both were at rest, have one set of messages.
///
/// # Errors
/// When they have not.
pub fn one_set<T: Ord>(first: &BTreeSet<T>, second: &BTreeSet<T>) -> Result<(), Violation> {
    let only_first = first.difference(second).count();
    let only_second = second.difference(first).count();
    if only_first + only_second == 0 { Ok(()) } else { Err(Violation::Sets { only_first, only_second }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> ItemHash {
        ItemHash::sha256(b"a message")
    }

    #[test]
    fn a_fate_is_decided_once_and_what_is_gone_stays_gone() {
        use MessageStatus::{Forgotten, Pending, Processed, Rejected, Removed, Removing};
        for after in MessageStatus::ALL {
            assert!(fate_may_follow(&hash(), None, after).is_ok());
            assert!(fate_may_follow(&hash(), Some(Pending), after).is_ok());
            assert!(fate_may_follow(&hash(), Some(Rejected), after).is_ok());
            assert!(fate_may_follow(&hash(), Some(Forgotten), after).is_err(), "{after:?}");
            assert_eq!(fate_may_follow(&hash(), Some(Removed), after).is_ok(), after == Forgotten);
        }
        assert!(fate_may_follow(&hash(), Some(Processed), Processed).is_err(), "decided twice");
        assert!(fate_may_follow(&hash(), Some(Removing), Processed).is_ok(), "paid again");
        let told = fate_may_follow(&hash(), Some(Processed), Pending).unwrap_err().to_string();
        assert!(told.contains("was processed and became pending"), "{told}");
    }

    #[test]
    fn states_and_sets_that_differ_are_told_apart() {
        assert!(one_state([("a", 1), ("b", 1)]).is_ok());
        let told = one_state([("a", 1), ("b", 2), ("c", 1)]).unwrap_err().to_string();
        assert!(told.contains("1 on a, c;") && told.contains("2 on b;"), "{told}");
        assert!(sound("x", "x").is_ok() && sound("x", "y").is_err());
        let told = one_set(&[1, 2, 3].into(), &[3, 4].into()).unwrap_err();
        assert_eq!(told, Violation::Sets { only_first: 2, only_second: 1 });
        let lost = nothing_lost([&hash()], |_| Ok::<_, Violation>(Some(MessageStatus::Pending)));
        assert!(lost.is_err(), "waiting is no final fate");
        assert!(nothing_lost([&hash()], |_| Ok::<_, Violation>(Some(MessageStatus::Forgotten))).is_ok());
    }
}

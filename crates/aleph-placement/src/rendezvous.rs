use std::collections::HashSet;
use std::fmt;

use aleph_types::ItemHash;
use sha2::{Digest, Sha256};

use crate::{CoreNode, CoreStatus, NodeList};

/// How much a core node is drawn to a program: SHA-256 of the node's hash followed by the program's, both
/// as text. Compared as a big-endian number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight([u8; 32]);

impl Weight {
    /// The weight of a pair.
    pub fn of(node: &ItemHash, program: &ItemHash) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(node.as_str().as_bytes());
        hasher.update(program.as_str().as_bytes());
        Self(hasher.finalize().into())
    }

    /// The first 64 bits, for display.
    pub fn leading(&self) -> u64 {
        self.0[..8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}…", self.leading())
    }
}

/// A core node and its weight for one program.
#[derive(Debug, Clone, Copy)]
pub struct Ranked<'a> {
    /// The node.
    pub node: &'a CoreNode,
    /// The higher, the earlier.
    pub weight: Weight,
}

/// Active core nodes that have a compute node to give a program to; every active one while none has.
fn weighed<'a>(program: &'a ItemHash, nodes: &'a NodeList) -> impl Iterator<Item = Ranked<'a>> {
    let parents: HashSet<&ItemHash> = nodes
        .compute
        .iter()
        .filter(|compute| compute.address.is_some())
        .filter_map(|compute| compute.parent.as_ref())
        .collect();
    let active = |node: &&CoreNode| node.status == CoreStatus::Active;
    let some_can = nodes.core.iter().filter(active).any(|node| parents.contains(&node.hash));
    nodes
        .core
        .iter()
        .filter(active)
        .filter(move |node| !some_can || parents.contains(&node.hash))
        .map(move |node| Ranked { node, weight: Weight::of(&node.hash, program) })
}

/// The core node that answers for `program`; `None` when no node is active. A program that demands a
/// compute node belongs to the core node which that one is linked to.
///
/// The same on every core node that has the same list, in whatever order it is listed.
pub fn responsible<'a>(
    program: &'a ItemHash,
    demanded: Option<&ItemHash>,
    nodes: &'a NodeList,
) -> Option<&'a CoreNode> {
    let parent = demanded
        .and_then(|hash| nodes.compute_node(hash))
        .and_then(|compute| nodes.core_node(compute.parent.as_ref()?))
        .filter(|node| node.status == CoreStatus::Active);
    if parent.is_some() {
        return parent;
    }
    // Equal weights would be a collision of SHA-256; the hash decides even so.
    weighed(program, nodes)
        .max_by(|one, other| (one.weight, &one.node.hash).cmp(&(other.weight, &other.node.hash)))
        .map(|ranked| ranked.node)
}

/// The core nodes that may answer for a program which demands no compute node, the responsible one first:
/// who would answer if the ones before left.
pub fn rank<'a>(program: &'a ItemHash, nodes: &'a NodeList) -> Vec<Ranked<'a>> {
    let mut ranked: Vec<Ranked<'a>> = weighed(program, nodes).collect();
    ranked.sort_by(|one, other| (other.weight, &other.node.hash).cmp(&(one.weight, &one.node.hash)));
    ranked
}

use std::cmp::Reverse;
use std::fmt;

use aleph_types::ItemHash;
use aleph_types::content::PaymentType;
use serde::Serialize;

use crate::{ComputeNode, Needs, Weight};

/// Points of a perfect node.
const FULL: u32 = 1000;
/// Shares of the points, in thousandths: quality, room, price.
const SCORE_SHARE: u32 = 400;
const ROOM_SHARE: u32 = 400;
const PRICE_SHARE: u32 = 200;
/// A node with room for this many programs of the kind has all the room that counts.
const ROOM_PROGRAMS: u64 = 16;

/// Whether a compute node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// It answered lately.
    Reachable,
    /// It did not answer when asked lately.
    Unreachable,
    /// Nobody asked yet.
    Unknown,
}

/// What a compute node has free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Virtual processors that no program was promised.
    pub free_vcpus: u32,
    /// Memory that no program was promised, MiB.
    pub free_memory_mib: u64,
}

/// What is known of a compute node when a program is placed.
#[derive(Debug, Clone, PartialEq)]
pub struct ComputeFacts {
    /// The node.
    pub node: ItemHash,
    /// Whether it publishes an address.
    pub has_address: bool,
    /// Whether it answers.
    pub reach: Reach,
    /// What it has free; `None` when nothing was read.
    pub usage: Option<Usage>,
    /// Quality, 0 to 1.
    pub score: f64,
    /// Price relative to the network's: 1 is the usual one. `None` when it publishes none.
    pub price: Option<f64>,
    /// Whether it publishes an account for streams.
    pub receives_streams: bool,
    /// Whether the program is allocated to it now.
    pub holds: bool,
}

impl ComputeFacts {
    /// What the node list alone tells.
    pub fn unknown(node: &ComputeNode) -> Self {
        Self {
            node: node.hash.clone(),
            has_address: node.address.is_some(),
            reach: Reach::Unknown,
            usage: None,
            score: node.score,
            price: None,
            receives_streams: node.stream_reward.is_some(),
            holds: false,
        }
    }
}

/// Why a compute node can't run a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The owner demands another node.
    NotDemanded,
    /// The node publishes no address, so nobody can reach it.
    NoAddress,
    /// Programs with GPUs are placed by their owners, on a node they demand.
    NeedsGpu,
    /// The program is paid by a stream and the node receives none.
    NoStreams,
    /// The node did not answer.
    Unreachable,
    /// Not enough memory is free, MiB.
    Memory {
        /// What the program needs.
        needed: u32,
        /// What the node has free.
        free: u64,
    },
    /// Not enough processors are free.
    Vcpus {
        /// What the program needs.
        needed: u32,
        /// What the node has free.
        free: u32,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotDemanded => f.write_str("the owner demands another node"),
            Refusal::NoAddress => f.write_str("publishes no address"),
            Refusal::NeedsGpu => f.write_str("needs a GPU: demand a node that has one"),
            Refusal::NoStreams => f.write_str("is paid by a stream, but the node receives none"),
            Refusal::Unreachable => f.write_str("did not answer"),
            Refusal::Memory { needed, free } => write!(f, "needs {needed} MiB, has {free}"),
            Refusal::Vcpus { needed, free } => write!(f, "needs {needed} vCPUs, has {free}"),
        }
    }
}

/// What was found about one compute node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has the program and keeps it.
    Holds,
    /// It can run the program; what it has free is known.
    Fits {
        /// Out of 1000.
        points: u32,
    },
    /// It may have room: nothing is known against it, but its usage or its reach was not measured.
    Unmeasured {
        /// Out of 1000.
        points: u32,
    },
    /// It has the program but does not answer; it keeps it only while no other node can take it.
    HoldsUnanswered,
    /// It can't.
    Refused(Refusal),
}

impl Verdict {
    /// Whether the node may run the program.
    pub fn is_eligible(&self) -> bool {
        !matches!(self, Verdict::Refused(_))
    }

    /// Out of 1000; the present holder has them all, a refused node none.
    pub fn points(&self) -> u32 {
        match self {
            Verdict::Holds => FULL,
            Verdict::Fits { points } | Verdict::Unmeasured { points } => *points,
            Verdict::HoldsUnanswered | Verdict::Refused(_) => 0,
        }
    }

    /// Holders before measured nodes before unmeasured ones before holders that don't answer.
    fn tier(&self) -> u8 {
        match self {
            Verdict::Holds => 4,
            Verdict::Fits { .. } => 3,
            Verdict::Unmeasured { .. } => 2,
            Verdict::HoldsUnanswered => 1,
            Verdict::Refused(_) => 0,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Holds => f.write_str("has the program already"),
            Verdict::Fits { points } => write!(f, "has room, {points} points"),
            Verdict::Unmeasured { points } => write!(f, "its load is not known, {points} points"),
            Verdict::HoldsUnanswered => f.write_str("has the program, but did not answer"),
            Verdict::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// A compute node that was considered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// The node.
    pub node: ItemHash,
    /// What was found.
    pub verdict: Verdict,
}

/// The decision and its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The node that runs the program; `None` when none can.
    pub chosen: Option<ItemHash>,
    /// Every node that was considered, best first.
    pub candidates: Vec<Candidate>,
}

/// Picks the compute node for `program` among the nodes linked to its responsible core node.
///
/// The outcome depends on the facts alone, not on their order. A node that has the program keeps it unless
/// the owner demands another. One that does not answer keeps a persistent program, which may well be running
/// there; a program that requests start moves, if another node can take it: a second copy does no harm.
pub fn choose_compute(program: &ItemHash, needs: &Needs, facts: &[ComputeFacts]) -> Placement {
    let cheapest = facts.iter().filter_map(price_of).fold(f64::INFINITY, f64::min);
    let mut judged: Vec<(Verdict, Weight, &ItemHash)> = facts
        .iter()
        .map(|facts| (judge(needs, facts, cheapest), Weight::of(&facts.node, program), &facts.node))
        .collect();
    // Equal points are spread by hashing, so that programs don't pile up on the first node of the list.
    judged.sort_by_key(|(verdict, weight, node)| Reverse((verdict.tier(), verdict.points(), *weight, *node)));
    let candidates: Vec<Candidate> =
        judged.into_iter().map(|(verdict, _, node)| Candidate { node: node.clone(), verdict }).collect();
    let chosen = candidates.first().filter(|best| best.verdict.is_eligible()).map(|best| best.node.clone());
    Placement { chosen, candidates }
}

fn judge(needs: &Needs, facts: &ComputeFacts, cheapest: f64) -> Verdict {
    if needs.demanded_node.as_ref().is_some_and(|demanded| *demanded != facts.node) {
        return Verdict::Refused(Refusal::NotDemanded);
    }
    if !facts.has_address {
        return Verdict::Refused(Refusal::NoAddress);
    }
    // What the program uses where it is was counted when it came: room is not asked for again.
    if facts.holds {
        return match needs.persistent || facts.reach != Reach::Unreachable {
            true => Verdict::Holds,
            false => Verdict::HoldsUnanswered,
        };
    }
    if needs.gpus > 0 && needs.demanded_node.is_none() {
        return Verdict::Refused(Refusal::NeedsGpu);
    }
    if needs.payment == PaymentType::Superfluid && !facts.receives_streams {
        return Verdict::Refused(Refusal::NoStreams);
    }
    if facts.reach == Reach::Unreachable {
        return Verdict::Refused(Refusal::Unreachable);
    }
    match facts.usage {
        Some(usage) if usage.free_memory_mib < u64::from(needs.memory_mib) => {
            Verdict::Refused(Refusal::Memory { needed: needs.memory_mib, free: usage.free_memory_mib })
        }
        Some(usage) if usage.free_vcpus < needs.vcpus => {
            Verdict::Refused(Refusal::Vcpus { needed: needs.vcpus, free: usage.free_vcpus })
        }
        usage => {
            let points = points(needs, facts, usage, cheapest);
            match (usage, facts.reach) {
                (Some(_), Reach::Reachable) => Verdict::Fits { points },
                _ => Verdict::Unmeasured { points },
            }
        }
    }
}

/// A price that can be compared.
fn price_of(facts: &ComputeFacts) -> Option<f64> {
    facts.price.filter(|price| price.is_finite() && *price > 0.0)
}

/// Whole numbers out of 1000, so that the order does not hang on the last bit of a double.
fn points(needs: &Needs, facts: &ComputeFacts, usage: Option<Usage>, cheapest: f64) -> u32 {
    let score = (facts.score.clamp(0.0, 1.0) * f64::from(SCORE_SHARE)) as u32;
    let room = usage.map_or(0, |usage| {
        let by_memory = usage.free_memory_mib / u64::from(needs.memory_mib.max(1));
        let by_vcpus = u64::from(usage.free_vcpus / needs.vcpus.max(1));
        by_memory.min(by_vcpus).min(ROOM_PROGRAMS) as u32 * ROOM_SHARE / ROOM_PROGRAMS as u32
    });
    // A node without a price takes the network's, which is the price 1.
    let price = price_of(facts).unwrap_or(1.0);
    let price = (cheapest.min(1.0) / price).clamp(0.0, 1.0) * f64::from(PRICE_SHARE);
    score + room + price as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(letter: char) -> ItemHash {
        ItemHash::parse(&letter.to_string().repeat(64)).unwrap()
    }

    fn node(letter: char) -> ComputeFacts {
        ComputeFacts {
            node: hash(letter),
            has_address: true,
            reach: Reach::Reachable,
            usage: Some(Usage { free_vcpus: 8, free_memory_mib: 8192 }),
            score: 0.5,
            price: None,
            receives_streams: false,
            holds: false,
        }
    }

    fn verdict(placement: &Placement, letter: char) -> Verdict {
        placement.candidates.iter().find(|candidate| candidate.node == hash(letter)).unwrap().verdict
    }

    #[test]
    fn the_better_node_is_chosen() {
        let program = ItemHash::sha256(b"p");
        let better = ComputeFacts { score: 0.9, ..node('b') };
        assert_eq!(choose_compute(&program, &Needs::default(), &[node('a'), better]).chosen, Some(hash('b')));
        let cheaper = ComputeFacts { price: Some(0.5), ..node('c') };
        assert_eq!(
            choose_compute(&program, &Needs::default(), &[node('a'), cheaper]).chosen,
            Some(hash('c'))
        );
        let full = ComputeFacts { usage: Some(Usage { free_vcpus: 1, free_memory_mib: 130 }), ..node('d') };
        assert_eq!(choose_compute(&program, &Needs::default(), &[full, node('a')]).chosen, Some(hash('a')));
    }

    #[test]
    fn every_refusal_names_its_reason() {
        let program = ItemHash::sha256(b"p");
        let needs =
            Needs { vcpus: 4, memory_mib: 1024, payment: PaymentType::Superfluid, ..Needs::default() };
        let streams = |facts: ComputeFacts| ComputeFacts { receives_streams: true, ..facts };
        let placement = choose_compute(
            &program,
            &needs,
            &[
                node('a'),
                streams(ComputeFacts { has_address: false, ..node('b') }),
                streams(ComputeFacts { reach: Reach::Unreachable, ..node('c') }),
                streams(ComputeFacts {
                    usage: Some(Usage { free_vcpus: 8, free_memory_mib: 512 }),
                    ..node('d')
                }),
                streams(ComputeFacts {
                    usage: Some(Usage { free_vcpus: 2, free_memory_mib: 8192 }),
                    ..node('e')
                }),
            ],
        );
        assert_eq!(placement.chosen, None);
        for (letter, refusal) in [
            ('a', Refusal::NoStreams),
            ('b', Refusal::NoAddress),
            ('c', Refusal::Unreachable),
            ('d', Refusal::Memory { needed: 1024, free: 512 }),
            ('e', Refusal::Vcpus { needed: 4, free: 2 }),
        ] {
            assert_eq!(verdict(&placement, letter), Verdict::Refused(refusal));
        }
        assert_eq!(verdict(&placement, 'd').to_string(), "needs 1024 MiB, has 512");
    }

    #[test]
    fn not_knowing_is_no_refusal() {
        let program = ItemHash::sha256(b"p");
        let unknown = ComputeFacts { usage: None, reach: Reach::Unknown, score: 1.0, ..node('a') };
        let measured = ComputeFacts { score: 0.0, ..node('b') };
        let placement = choose_compute(&program, &Needs::default(), &[unknown.clone(), measured]);
        assert_eq!(placement.chosen, Some(hash('b')));
        assert_eq!(choose_compute(&program, &Needs::default(), &[unknown]).chosen, Some(hash('a')));
    }

    #[test]
    fn a_program_stays_where_it_is() {
        let program = ItemHash::sha256(b"p");
        let full = Some(Usage { free_vcpus: 0, free_memory_mib: 0 });
        let holder = ComputeFacts { holds: true, score: 0.0, usage: full, ..node('a') };
        let better = ComputeFacts { score: 1.0, ..node('b') };
        let choose = |needs: &Needs, holder: &ComputeFacts| {
            choose_compute(&program, needs, &[better.clone(), holder.clone()]).chosen
        };
        let on_demand = Needs::default();
        let persistent = Needs { persistent: true, ..Needs::default() };
        assert_eq!(choose(&on_demand, &holder), Some(hash('a')));
        let silent = ComputeFacts { reach: Reach::Unreachable, ..holder.clone() };
        assert_eq!(choose(&on_demand, &silent), Some(hash('b')));
        assert_eq!(
            choose_compute(&program, &on_demand, std::slice::from_ref(&silent)).chosen,
            Some(hash('a'))
        );
        assert_eq!(choose(&persistent, &silent), Some(hash('a')));
        let moved = Needs { demanded_node: Some(hash('b')), persistent: true, ..Needs::default() };
        assert_eq!(choose(&moved, &holder), Some(hash('b')));
    }

    #[test]
    fn a_demanded_node_is_taken_or_none() {
        let program = ItemHash::sha256(b"p");
        let needs = Needs { demanded_node: Some(hash('c')), gpus: 1, ..Needs::default() };
        assert_eq!(choose_compute(&program, &needs, &[node('a'), node('c')]).chosen, Some(hash('c')));
        assert_eq!(choose_compute(&program, &needs, &[node('a')]).chosen, None);
        let gpu = Needs { gpus: 1, ..Needs::default() };
        assert_eq!(choose_compute(&program, &gpu, &[node('a')]).chosen, None);
    }
}

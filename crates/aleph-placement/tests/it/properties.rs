use std::collections::BTreeMap;

use aleph_placement::{
    ComputeFacts, CoreStatus, Needs, NodeList, Reach, Usage, choose_compute, rank, responsible,
};
use aleph_types::ItemHash;
use proptest::prelude::*;
use serde_json::json;

fn hash(kind: &str, number: usize) -> ItemHash {
    ItemHash::sha256(format!("{kind} {number}").as_bytes())
}

fn network(nodes: impl IntoIterator<Item = usize>) -> NodeList {
    let entries: Vec<_> = nodes
        .into_iter()
        .map(|number| json!({"hash": hash("core", number), "owner": "0xA", "status": "active"}))
        .collect();
    let reading = NodeList::read(&json!({ "nodes": entries, "resource_nodes": [] }));
    assert!(reading.skipped.is_empty());
    reading.list
}

fn assignment(nodes: &NodeList, programs: usize) -> Vec<Option<ItemHash>> {
    (0..programs)
        .map(|number| responsible(&hash("program", number), None, nodes).map(|node| node.hash.clone()))
        .collect()
}

fn facts() -> impl Strategy<Value = Vec<ComputeFacts>> {
    let one = (
        0usize..1000,
        prop_oneof![Just(Reach::Reachable), Just(Reach::Unreachable), Just(Reach::Unknown)],
        prop::option::of((0u32..4, 0u64..512)),
        prop_oneof![0.0..=1.0f64, Just(f64::NAN), Just(f64::INFINITY), Just(-1.0)],
        prop::option::of(prop_oneof![0.1..3.0f64, Just(0.0), Just(f64::NAN)]),
        any::<bool>(),
    )
        .prop_map(|(number, reach, usage, score, price, has_address)| ComputeFacts {
            node: hash("compute", number),
            has_address,
            reach,
            usage: usage.map(|(free_vcpus, free_memory_mib)| Usage { free_vcpus, free_memory_mib }),
            score,
            price,
            receives_streams: false,
            holds: false,
        });
    prop::collection::vec(one, 0..12).prop_map(|facts| {
        let distinct: BTreeMap<ItemHash, ComputeFacts> =
            facts.into_iter().map(|facts| (facts.node.clone(), facts)).collect();
        distinct.into_values().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A node that leaves takes nothing with it but its own programs, and back it gets exactly these.
    #[test]
    fn only_the_programs_of_a_leaving_node_move(count in 2usize..20, leaving in any::<prop::sample::Index>()) {
        let leaving = leaving.index(count);
        let before = assignment(&network(0..count), 200);
        let after = assignment(&network((0..count).filter(|&number| number != leaving)), 200);
        for (old, new) in before.iter().zip(&after) {
            if old.as_ref() == Some(&hash("core", leaving)) {
                prop_assert_ne!(old, new);
            } else {
                prop_assert_eq!(old, new);
            }
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(
        numbers in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
        program in 0usize..1000,
    ) {
        let (sorted, shuffled) = (network(0..12), network(numbers));
        let program = hash("program", program);
        prop_assert_eq!(responsible(&program, None, &sorted), responsible(&program, None, &shuffled));
        let order = |nodes: &NodeList| -> Vec<ItemHash> {
            rank(&program, nodes).iter().map(|ranked| ranked.node.hash.clone()).collect()
        };
        prop_assert_eq!(order(&sorted), order(&shuffled));
        let first = order(&sorted).into_iter().next();
        prop_assert_eq!(first, responsible(&program, None, &sorted).map(|node| node.hash.clone()));
    }

    #[test]
    fn the_order_of_the_facts_does_not_matter(
        (sorted, shuffled) in facts().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle())),
        program in 0usize..1000,
    ) {
        let program = hash("program", program);
        let placement = choose_compute(&program, &Needs::default(), &sorted);
        prop_assert_eq!(&choose_compute(&program, &Needs::default(), &shuffled), &placement);
        prop_assert_eq!(placement.candidates.len(), sorted.len());
        // Someone is chosen exactly when someone may be.
        let eligible = placement.candidates.iter().any(|candidate| candidate.verdict.is_eligible());
        prop_assert_eq!(placement.chosen.is_some(), eligible);
    }

    /// Whatever else changes, a program that has a node keeps it as long as that node is there.
    #[test]
    fn placement_is_sticky(facts in facts(), later in facts(), program in 0usize..1000) {
        let program = hash("program", program);
        let needs = Needs { persistent: true, ..Needs::default() };
        let Some(first) = choose_compute(&program, &needs, &facts).chosen else { return Ok(()) };
        let mut later: Vec<ComputeFacts> = later.into_iter().filter(|facts| facts.node != first).collect();
        let mut holder = facts.into_iter().find(|facts| facts.node == first).ok_or_else(|| {
            TestCaseError::fail("the chosen node was given")
        })?;
        holder.holds = true;
        holder.reach = Reach::Unreachable;
        holder.usage = Some(Usage { free_vcpus: 0, free_memory_mib: 0 });
        later.push(holder);
        prop_assert_eq!(choose_compute(&program, &needs, &later).chosen, Some(first));
    }
}

#[test]
fn programs_are_spread_evenly() {
    let (nodes, programs) = (10, 10_000);
    let mut counts: BTreeMap<Option<ItemHash>, usize> = BTreeMap::new();
    for node in assignment(&network(0..nodes), programs) {
        *counts.entry(node).or_default() += 1;
    }
    assert_eq!(counts.len(), nodes);
    // Five standard deviations of a binomial distribution around the fair share of 1000.
    for (node, count) in counts {
        assert!((850..=1150).contains(&count), "{node:?} has {count}");
    }
}

#[test]
fn equal_compute_nodes_share_the_programs() {
    let facts: Vec<ComputeFacts> = (0..4)
        .map(|number| ComputeFacts {
            node: hash("compute", number),
            has_address: true,
            reach: Reach::Reachable,
            usage: Some(Usage { free_vcpus: 64, free_memory_mib: 65_536 }),
            score: 0.8,
            price: None,
            receives_streams: false,
            holds: false,
        })
        .collect();
    let mut counts: BTreeMap<ItemHash, usize> = BTreeMap::new();
    for number in 0..1000 {
        if let Some(chosen) = choose_compute(&hash("program", number), &Needs::default(), &facts).chosen {
            *counts.entry(chosen).or_default() += 1;
        }
    }
    assert!(counts.len() == 4 && counts.values().all(|count| (180..=320).contains(count)), "{counts:?}");
}

#[test]
fn waiting_nodes_answer_for_nothing() {
    let mut nodes = network(0..3);
    for node in &mut nodes.core {
        node.status = CoreStatus::Waiting;
    }
    assert_eq!(responsible(&hash("program", 0), None, &nodes), None);
    assert!(rank(&hash("program", 0), &nodes).is_empty());
}

#[test]
fn only_core_nodes_that_have_a_compute_node_answer() {
    let compute = |number: usize, parent: Option<usize>| {
        let parent = parent.map(|number| hash("core", number));
        json!({
            "hash": hash("compute", number), "owner": "0xA", "status": "linked", "parent": parent,
            "address": "http://crn.example.org", "score": 1.0,
        })
    };
    let core: Vec<_> = (0..4usize)
        .map(|number| json!({ "hash": hash("core", number), "owner": "0xA", "status": "active" }))
        .collect();
    let list = NodeList::read(&json!({ "nodes": core, "resource_nodes": [compute(0, Some(2))] })).list;
    for number in 0..50 {
        let program = hash("program", number);
        assert_eq!(responsible(&program, None, &list).map(|node| &node.hash), Some(&hash("core", 2)));
    }
    // A demanded compute node brings its own core node.
    let both = json!({ "nodes": core, "resource_nodes": [compute(0, Some(2)), compute(1, Some(3))] });
    let list = NodeList::read(&both).list;
    for number in 0..50 {
        let program = hash("program", number);
        let demanded = hash("compute", 1);
        let node = responsible(&program, Some(&demanded), &list).unwrap();
        assert_eq!(node.hash, hash("core", 3));
    }
}

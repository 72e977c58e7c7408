use super::*;

fn hash_of(member: u32) -> String {
    // Not in the order of the members.
    format!("{:08}", (u64::from(member) * 7_919) % 100_003)
}

fn sorted(mut rows: Vec<(i64, u32)>, direction: SortOrder) -> Vec<u32> {
    rows.sort_by_key(|(key, member)| (*key, hash_of(*member)));
    if direction == SortOrder::Descending {
        rows.sort_by_key(|(key, _)| Reverse(*key));
    }
    rows.into_iter().map(|(_, member)| member).collect()
}

/// Members 1 to 3,000, few of a key and many of a key.
fn rows() -> Vec<(i64, u32)> {
    (1..=3_000u32)
        .map(|member| (i64::from(if member % 5 == 0 { 77 } else { member * 31 % 701 }), member))
        .collect()
}

fn order(rows: &[(i64, u32)]) -> Order<i64> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|(key, member)| (*key, hash_of(*member)));
    Order::of(rows)
}

#[test]
fn pages_are_those_of_a_sorted_list() {
    let order = order(&rows());
    let sets = [
        None,
        Some(Ids::of((1..=3_000).step_by(2).collect())),
        Some(Ids::of(vec![5, 10, 15, 17, 999, 2_000, 2_995, 4_000])),
        Some(Ids::of(Vec::new())),
    ];
    for set in &sets {
        for direction in [SortOrder::Ascending, SortOrder::Descending] {
            for (low, high) in [(i64::MIN, i64::MAX), (50, 400), (77, 78)] {
                let within = order.lower(low)..order.lower(high);
                let kept = rows().into_iter().filter(|(key, member)| {
                    (low..high).contains(key) && set.as_ref().is_none_or(|set| set.contains(*member))
                });
                let all = sorted(kept.collect(), direction);
                assert_eq!(order.count(set.as_ref(), within.clone()), all.len());
                let page = |from, limit| {
                    order
                        .page(set.as_ref(), within.clone(), direction, from, limit, |m| Ok(hash_of(m)))
                        .unwrap()
                };
                for skip in [0, 1, 19, 600, 601, 1_400, 2_999, 9_000] {
                    for limit in [0, 1, 20, 5_000] {
                        let end = all.len().min(skip + limit);
                        assert_eq!(page(From::Skip(skip), limit), all[skip.min(end)..end]);
                    }
                }
                for place in [0, 1, 7, 333, 600].into_iter().filter(|place| *place < all.len()) {
                    let (key, _) = rows()[all[place] as usize - 1];
                    let rest = &all[place + 1..all.len().min(place + 41)];
                    assert_eq!(page(From::After(key, hash_of(all[place])), 40), rest);
                }
                // A cursor whose row went.
                let gone = page(From::After(77, "00050000".to_owned()), 5_000);
                let later = |member: &&u32| {
                    let (key, hash) = (rows()[**member as usize - 1].0, hash_of(**member));
                    match direction {
                        SortOrder::Ascending => (key, hash.as_str()) > (77, "00050000"),
                        SortOrder::Descending => key < 77 || key == 77 && hash.as_str() > "00050000",
                    }
                };
                assert_eq!(gone, all.iter().filter(later).copied().collect::<Vec<_>>());
            }
        }
    }
}

fn places(set: &Ids) -> Vec<u32> {
    let mut places = Vec::new();
    set.each(|place| places.push(place));
    places
}

/// In about the order of their numbers: groups of equal keys, neighbours that changed places, and some
/// that are far from theirs; `shuffled` puts all of them anywhere.
fn many_rows(shuffled: bool) -> Vec<(i64, u32)> {
    let key = |member: u32| match member {
        _ if shuffled || member.is_multiple_of(1_009) => i64::from(member) * 7_919 % 60_013,
        30_000..30_700 => 6_000,
        _ => i64::from(member / 5 + member * 31 % 97),
    };
    (1..=90_000).map(|member| (key(member), member)).collect()
}

#[test]
fn long_lists_are_counted_by_blocks() {
    let sets = [
        Ids::of((1..=90_000).filter(|member| member % 3 != 0).collect()),
        Ids::of((1..=90_000).step_by(7).collect()),
        Ids::of((1..=90_000).step_by(40).collect()),
        // All in one place, and places that are no members.
        Ids::of((70_000..=95_000).collect()),
        Ids::of((1..=30_000).collect()),
    ];
    assert!(sets.iter().all(|set| set.len() > FEW));
    for (shuffled, direction) in [
        (false, SortOrder::Ascending),
        (false, SortOrder::Descending),
        (true, SortOrder::Ascending),
        (true, SortOrder::Descending),
    ] {
        let rows = many_rows(shuffled);
        let order = order(&rows);
        assert_eq!(places(&order.all()), (1..=90_000).collect::<Vec<_>>());
        let in_direction = sorted(rows.clone(), direction);
        for (low, high) in [(i64::MIN, i64::MAX), (3_000, 14_000), (6_000, 6_001), (100_000, 200_000)] {
            let within = order.lower(low)..order.lower(high);
            let is_within = |member: &u32| (low..high).contains(&rows[*member as usize - 1].0);
            let members: Vec<u32> = (1..=90_000).filter(is_within).collect();
            assert_eq!(places(&order.set(within.clone())), members);
            for set in &sets {
                let is_wanted = |member: &&u32| set.contains(**member) && is_within(member);
                let all: Vec<u32> = in_direction.iter().filter(is_wanted).copied().collect();
                assert_eq!(order.count(Some(set), within.clone()), all.len());
                let page = |from, limit| {
                    order.page(Some(set), within.clone(), direction, from, limit, |m| Ok(hash_of(m))).unwrap()
                };
                for skip in [0, 900, 11_000, 29_990, 80_000] {
                    for limit in [20, 3_000] {
                        let end = all.len().min(skip + limit);
                        assert_eq!(page(From::Skip(skip), limit), all[skip.min(end)..end]);
                    }
                }
                for place in [7, 9_999].into_iter().filter(|place| *place < all.len()) {
                    let (key, _) = rows[all[place] as usize - 1];
                    let rest = &all[place + 1..all.len().min(place + 41)];
                    assert_eq!(page(From::After(key, hash_of(all[place])), 40), rest);
                }
            }
        }
    }
}

#[test]
fn blocks_follow_what_comes_and_goes() {
    let rows = many_rows(false);
    let mut order = order(&rows[..80_000]);
    let new = rows[80_000..].iter().map(|(key, member)| (*key, hash_of(*member), *member)).collect();
    order.insert(new, |member| Ok(hash_of(member))).unwrap();
    order.remove(&Ids::of((0..90_000).step_by(11).collect()));
    // What moves back and forth leaves nothing behind.
    for key in [-7, 99_999, 4] {
        order.remove(&Ids::of(vec![40_001]));
        order.insert(vec![(key, hash_of(40_001), 40_001)], |member| Ok(hash_of(member))).unwrap();
    }
    let mut left: Vec<(i64, u32)> = rows.into_iter().filter(|(_, member)| member % 11 != 0).collect();
    left.iter_mut().filter(|(_, member)| *member == 40_001).for_each(|(key, _)| *key = 4);
    let anew = self::order(&left);
    assert_eq!((&order.zones, &order.keys, &order.members), (&anew.zones, &anew.keys, &anew.members));
    assert_eq!(places(&order.all()), places(&anew.all()));
}

#[test]
fn what_comes_and_goes_finds_its_place() {
    let mut rows = rows();
    let late = rows.split_off(2_000);
    let mut order = order(&rows);
    let new = late.iter().map(|(key, member)| (*key, hash_of(*member), *member)).collect();
    order.insert(new, |member| Ok(hash_of(member))).unwrap();
    rows.extend(late);
    order.remove(&Ids::of((0..3_000).step_by(7).collect()));
    rows.retain(|(_, member)| member % 7 != 0);
    let all: Vec<u32> = order.entries().map(|(_, member)| member).collect();
    assert_eq!(all, sorted(rows.clone(), SortOrder::Ascending));
    assert!(order.entries().all(|(key, member)| rows.contains(&(key, member))));
    // What is out can come back with another key.
    order.insert(vec![(-5, hash_of(7), 7)], |member| Ok(hash_of(member))).unwrap();
    assert_eq!(order.entries().next(), Some((-5, 7)));
    assert_eq!((order.rank_of(7), order.rank_of(14)), (Some(0), None));
}

//! The members of a list in its order.

use std::cmp::Reverse;
use std::ops::Range;

use super::ids::Ids;
use crate::StoreError;
use crate::queries::SortOrder;

/// The rank of what is no member.
const NONE: u32 = u32::MAX;

/// Members by key, ties by hash, both ascending. The hashes are in the database only: they are asked for
/// where two keys are equal.
#[derive(Debug, Clone)]
pub(super) struct Order<K> {
    /// By rank.
    keys: Vec<K>,
    /// By rank.
    members: Vec<u32>,
    /// By member.
    ranks: Vec<u32>,
}

/// Where a page starts.
#[derive(Debug, Clone)]
pub(super) enum From<K> {
    /// After so many rows.
    Skip(usize),
    /// After the row with this key and hash.
    After(K, String),
}

/// The ranks that a page may show, in their order: `head` from low to high, then `tail` in the direction of
/// the list. `head` is the rest of a group of equal keys in a descending list, whose ties ascend.
struct Span {
    head: Range<usize>,
    tail: Range<usize>,
}

impl<K: Copy + Ord> Order<K> {
    /// Of members in their order.
    pub(super) fn of(sorted: Vec<(K, u32)>) -> Self {
        let (keys, members) = sorted.into_iter().unzip();
        let mut order = Self { keys, members, ranks: Vec::new() };
        order.rank_from(0);
        order
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Members with their keys, in their order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (K, u32)> + '_ {
        self.keys.iter().copied().zip(self.members.iter().copied())
    }

    /// The key at a rank.
    pub(super) fn key(&self, rank: usize) -> K {
        self.keys[rank]
    }

    fn rank_of(&self, member: u32) -> Option<usize> {
        self.ranks.get(member as usize).filter(|rank| **rank != NONE).map(|rank| *rank as usize)
    }

    fn rank_from(&mut self, first: usize) {
        for (rank, member) in self.members.iter().enumerate().skip(first) {
            let member = *member as usize;
            if member >= self.ranks.len() {
                self.ranks.resize(member + 1 + member / 16, NONE);
            }
            self.ranks[member] = rank as u32;
        }
    }

    /// Takes out what of `gone` is in.
    pub(super) fn remove(&mut self, gone: &Ids) {
        let mut first = usize::MAX;
        gone.each(|member| {
            if let Some(rank) = self.rank_of(member) {
                first = first.min(rank);
                self.ranks[member as usize] = NONE;
            }
        });
        if first == usize::MAX {
            return;
        }
        let mut kept = first;
        for rank in first..self.members.len() {
            if self.ranks[self.members[rank] as usize] != NONE {
                self.members[kept] = self.members[rank];
                self.keys[kept] = self.keys[rank];
                kept += 1;
            }
        }
        self.members.truncate(kept);
        self.keys.truncate(kept);
        self.rank_from(first);
    }

    /// Puts new members in; `hash_of` tells the hash of any member.
    pub(super) fn insert(
        &mut self,
        mut new: Vec<(K, String, u32)>,
        hash_of: impl Fn(u32) -> Result<String, StoreError>,
    ) -> Result<(), StoreError> {
        new.sort_unstable();
        // Where each goes among those that are there.
        let mut places = Vec::with_capacity(new.len());
        for (key, hash, _) in &new {
            places.push(self.after(*key, hash, &hash_of)?);
        }
        let Some(first) = places.first().copied() else { return Ok(()) };
        let (tail_keys, tail_members) = (self.keys.split_off(first), self.members.split_off(first));
        let mut old = tail_keys.into_iter().zip(tail_members).enumerate().peekable();
        for (place, (key, _, member)) in places.into_iter().zip(new) {
            while let Some((_, (key, member))) = old.next_if(|(position, _)| first + position < place) {
                self.keys.push(key);
                self.members.push(member);
            }
            self.keys.push(key);
            self.members.push(member);
        }
        for (_, (key, member)) in old {
            self.keys.push(key);
            self.members.push(member);
        }
        self.rank_from(first);
        Ok(())
    }

    /// The first rank whose key is not below `key`.
    pub(super) fn lower(&self, key: K) -> usize {
        self.keys.partition_point(|other| *other < key)
    }

    /// The first rank of the rows after `(key, hash)`, both ascending.
    fn after(
        &self,
        key: K,
        hash: &str,
        hash_of: &impl Fn(u32) -> Result<String, StoreError>,
    ) -> Result<usize, StoreError> {
        let (mut low, mut high) = (self.lower(key), self.keys.partition_point(|other| *other <= key));
        while low < high {
            let middle = low + (high - low) / 2;
            if hash_of(self.members[middle])?.as_str() <= hash { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn whole(&self, within: &Range<usize>) -> Span {
        Span { head: 0..0, tail: within.clone() }
    }

    fn span(
        &self,
        within: &Range<usize>,
        direction: SortOrder,
        key: K,
        hash: &str,
        hash_of: impl Fn(u32) -> Result<String, StoreError>,
    ) -> Result<Span, StoreError> {
        let next = self.after(key, hash, &hash_of)?;
        let clip = |range: Range<usize>| range.start.max(within.start)..range.end.min(within.end);
        Ok(match direction {
            SortOrder::Ascending => Span { head: 0..0, tail: clip(next..self.len()) },
            SortOrder::Descending => Span {
                head: clip(next..self.keys.partition_point(|other| *other <= key)),
                tail: clip(0..self.lower(key)),
            },
        })
    }

    /// How many members are within these ranks and in `set`.
    pub(super) fn count(&self, set: Option<&Ids>, within: Range<usize>) -> usize {
        let Some(set) = set else { return within.len() };
        if set.len() <= within.len() {
            let mut count = 0;
            set.each(|member| {
                count += usize::from(self.rank_of(member).is_some_and(|r| within.contains(&r)))
            });
            return count;
        }
        self.members[within].iter().filter(|member| set.contains(**member)).count()
    }

    /// A page of the members within these ranks and in `set`. Takes time that grows with the smaller of
    /// two numbers: members of the set, and ranks that are walked until the page is full.
    pub(super) fn page(
        &self,
        set: Option<&Ids>,
        within: Range<usize>,
        direction: SortOrder,
        from: From<K>,
        limit: usize,
        hash_of: impl Fn(u32) -> Result<String, StoreError>,
    ) -> Result<Vec<u32>, StoreError> {
        let within = within.start.min(within.end)..within.end;
        let (span, skip) = match from {
            From::Skip(skip) => (self.whole(&within), skip),
            From::After(key, hash) => (self.span(&within, direction, key, &hash, hash_of)?, 0),
        };
        let Some(set) = set else {
            return Ok(self.jump(span, direction, skip, limit));
        };
        let candidates = span.head.len() + span.tail.len();
        let walked = skip.saturating_add(limit).saturating_mul(candidates) / set.len().max(1);
        if matches!(set, Ids::Many { .. }) && walked / 2 <= set.len() {
            return Ok(self.walk(set, span, direction, skip, limit));
        }
        Ok(self.gather(set, &span, direction, skip, limit))
    }

    /// A page of all members.
    fn jump(&self, span: Span, direction: SortOrder, skip: usize, limit: usize) -> Vec<u32> {
        let Span { mut head, mut tail } = span;
        let of_head = skip.min(head.len());
        head.start += of_head;
        let skip = skip - of_head;
        if skip >= tail.len() && skip > 0 {
            return Vec::new();
        }
        match direction {
            SortOrder::Ascending => tail.start += skip,
            SortOrder::Descending if skip > 0 => {
                let group = self.group(tail.end - 1 - skip, &tail);
                // The head is used up, and the page starts inside this group.
                head = group.start + (skip - (tail.end - group.end))..group.end;
                tail.end = group.start;
            }
            SortOrder::Descending => {}
        }
        let mut page = Vec::with_capacity(limit.min(head.len() + tail.len()));
        self.visit(Span { head, tail }, direction, |member| {
            if page.len() < limit {
                page.push(member);
            }
            page.len() < limit
        });
        page
    }

    fn walk(&self, set: &Ids, span: Span, direction: SortOrder, mut skip: usize, limit: usize) -> Vec<u32> {
        let mut page = Vec::new();
        self.visit(span, direction, |member| {
            if set.contains(member) {
                if skip > 0 {
                    skip -= 1;
                } else if page.len() < limit {
                    page.push(member);
                }
            }
            page.len() < limit
        });
        page
    }

    fn gather(&self, set: &Ids, span: &Span, direction: SortOrder, skip: usize, limit: usize) -> Vec<u32> {
        let mut ranks = Vec::new();
        set.each(|member| {
            if let Some(rank) = self.rank_of(member)
                && (span.tail.contains(&rank) || span.head.contains(&rank))
            {
                ranks.push(rank as u32);
            }
        });
        let key = |rank: &u32| match direction {
            SortOrder::Ascending => (None, *rank),
            SortOrder::Descending => (Some(Reverse(self.keys[*rank as usize])), *rank),
        };
        if skip >= ranks.len() {
            return Vec::new();
        }
        if skip > 0 {
            ranks.select_nth_unstable_by_key(skip, key);
        }
        let mut page = ranks.split_off(skip);
        if limit < page.len() {
            page.select_nth_unstable_by_key(limit, key);
            page.truncate(limit);
        }
        page.sort_unstable_by_key(key);
        page.into_iter().map(|rank| self.members[rank as usize]).collect()
    }

    /// The ranks of the key at `rank`, within a range.
    fn group(&self, rank: usize, within: &Range<usize>) -> Range<usize> {
        let key = self.keys[rank];
        let before = self.keys[within.start..rank].partition_point(|other| *other < key);
        let after = self.keys[rank..within.end].partition_point(|other| *other <= key);
        within.start + before..rank + after
    }

    /// Every member of a span until `visit` wants no more.
    fn visit(&self, span: Span, direction: SortOrder, mut visit: impl FnMut(u32) -> bool) {
        for rank in span.head {
            if !visit(self.members[rank]) {
                return;
            }
        }
        match direction {
            SortOrder::Ascending => {
                for rank in span.tail {
                    if !visit(self.members[rank]) {
                        return;
                    }
                }
            }
            SortOrder::Descending => {
                let mut end = span.tail.end;
                while end > span.tail.start {
                    let key = self.keys[end - 1];
                    let mut start = end - 1;
                    // Groups are mostly of one: a step is less than a search.
                    if start > span.tail.start && self.keys[start - 1] == key {
                        start = self.group(start, &(span.tail.start..end)).start;
                    }
                    for rank in start..end {
                        if !visit(self.members[rank]) {
                            return;
                        }
                    }
                    end = start;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}

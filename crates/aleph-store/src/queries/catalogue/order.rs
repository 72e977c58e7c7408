//! The members of a list in its order.

use std::cmp::Ordering::{Greater, Less};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;

use super::ids::{Ids, each_bit};
use crate::StoreError;
use crate::queries::SortOrder;

/// The rank of what is no member.
const NONE: u32 = u32::MAX;

/// Words of bits, one a member, of a block: 1,024 members that follow each other by their numbers.
const BLOCK: usize = 16;

/// Sets up to this size are put in order whole.
const FEW: usize = 2_048;

/// Ranks that are walked at the start of a list before its blocks are counted.
const STEPS: usize = 4_096;

/// Members of blocks that are put in order rather than to walk to them.
const GATHERED: usize = 16 * 1_024;

/// Members by key, ties by hash, both ascending. The hashes are in the database only: they are asked for
/// where two keys are equal.
///
/// Members are numbered in about the order of their keys, so that the keys of a block lie close together:
/// where rows are counted or skipped, a block that is inside is counted by its bits, and only the members of
/// blocks at the borders are looked at one by one. Where keys and numbers have nothing in common, all are.
#[derive(Debug, Clone)]
pub(super) struct Order<K> {
    /// By rank.
    keys: Vec<K>,
    /// By rank.
    members: Vec<u32>,
    /// By member.
    ranks: Vec<u32>,
    /// Which numbers are members, a bit each; whole blocks.
    present: Vec<u64>,
    /// By block: the least and the greatest key of its members.
    zones: Vec<Option<(K, K)>>,
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

impl Span {
    fn contains(&self, rank: usize) -> bool {
        self.tail.contains(&rank) || self.head.contains(&rank)
    }

    fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }
}

/// The keys of a span.
struct Reach<K> {
    least: K,
    /// Whether everything with the least key is in the span.
    with_least: bool,
    greatest: K,
    with_greatest: bool,
}

/// How much of a block a span holds.
enum Part {
    Nothing,
    Some,
    Everything,
}

impl<K: Ord> Reach<K> {
    fn part(&self, (least, greatest): &(K, K)) -> Part {
        if *greatest < self.least || *least > self.greatest {
            return Part::Nothing;
        }
        let begins = *least > self.least || self.with_least && *least == self.least;
        let ends = *greatest < self.greatest || self.with_greatest && *greatest == self.greatest;
        if begins && ends { Part::Everything } else { Part::Some }
    }
}

/// A block that holds rows of a page or rows before it.
struct Block<K> {
    number: usize,
    /// Its first and last key in the direction of the list.
    ends: (K, K),
    rows: usize,
}

impl<K: Copy + Ord> Order<K> {
    /// Of members in their order.
    pub(super) fn of(sorted: Vec<(K, u32)>) -> Self {
        let (keys, members) = sorted.into_iter().unzip();
        let (ranks, present, zones) = (Vec::new(), Vec::new(), Vec::new());
        let mut order = Self { keys, members, ranks, present, zones };
        order.rank_from(0);
        order.enter(0..order.len());
        for block in 0..order.zones.len() {
            order.measure(block);
        }
        order
    }

    /// Notes that what is at these ranks is there.
    fn enter(&mut self, ranks: Range<usize>) {
        for member in &self.members[ranks] {
            let word = *member as usize / 64;
            if word >= self.present.len() {
                let blocks = (word + 1).div_ceil(BLOCK);
                self.present.resize(blocks * BLOCK, 0);
                self.zones.resize(blocks, None);
            }
            self.present[word] |= 1 << (member % 64);
        }
    }

    /// Finds the least and the greatest key of a block.
    fn measure(&mut self, block: usize) {
        let mut zone: Option<(K, K)> = None;
        each_bit(block * BLOCK, &self.present[block * BLOCK..(block + 1) * BLOCK], |member| {
            if let Some(rank) = self.rank_of(member) {
                let key = self.keys[rank];
                let (least, greatest) = zone.unwrap_or((key, key));
                zone = Some((least.min(key), greatest.max(key)));
            }
        });
        self.zones[block] = zone;
    }

    /// The members.
    pub(super) fn all(&self) -> Ids {
        Ids::of_words(self.present.clone())
    }

    /// The members within these ranks.
    pub(super) fn set(&self, within: Range<usize>) -> Ids {
        let span = self.whole(&within);
        let mut words = vec![0u64; self.present.len()];
        let Some(reach) = self.reach(&span) else { return Ids::of_words(Vec::new()) };
        for (block, zone) in self.zones.iter().enumerate() {
            let bits = block * BLOCK..(block + 1) * BLOCK;
            match zone.as_ref().map_or(Part::Nothing, |zone| reach.part(zone)) {
                Part::Nothing => {}
                Part::Everything => words[bits.clone()].copy_from_slice(&self.present[bits]),
                Part::Some => each_bit(bits.start, &self.present[bits], |member| {
                    if self.rank_of(member).is_some_and(|rank| span.contains(rank)) {
                        words[member as usize / 64] |= 1 << (member % 64);
                    }
                }),
            }
        }
        Ids::of_words(words)
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
        let mut blocks = Vec::new();
        gone.each(|member| {
            if let Some(rank) = self.rank_of(member) {
                first = first.min(rank);
                self.ranks[member as usize] = NONE;
                self.present[member as usize / 64] &= !(1 << (member % 64));
                blocks.push(member as usize / 64 / BLOCK);
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
        // Members come ascending.
        blocks.dedup();
        for block in blocks {
            self.measure(block);
        }
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
        let blocks: BTreeSet<usize> =
            new.iter().map(|(_, _, member)| *member as usize / 64 / BLOCK).collect();
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
        self.enter(first..self.len());
        for block in blocks {
            self.measure(block);
        }
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

    fn reach(&self, span: &Span) -> Option<Reach<K>> {
        let (head, tail) = (&span.head, &span.tail);
        let (start, end) = match (head.is_empty(), tail.is_empty()) {
            (true, true) => return None,
            (true, false) => (tail.start, tail.end),
            (false, true) => (head.start, head.end),
            (false, false) => (head.start.min(tail.start), head.end.max(tail.end)),
        };
        let (least, greatest) = (self.keys[start], self.keys[end - 1]);
        Some(Reach {
            least,
            with_least: start == 0 || self.keys[start - 1] < least,
            greatest,
            // Before a head are others with its key.
            with_greatest: head.is_empty() && (end == self.len() || self.keys[end] > greatest),
        })
    }

    /// How many members of `set` and of a span each block holds.
    fn counts(&self, set: &Ids, span: &Span) -> Vec<usize> {
        let mut counts = vec![0; self.zones.len()];
        let Some(reach) = self.reach(span) else { return counts };
        for (block, (zone, count)) in self.zones.iter().zip(&mut counts).enumerate() {
            let (first, bits) = (block * BLOCK, &self.present[block * BLOCK..(block + 1) * BLOCK]);
            match zone.as_ref().map_or(Part::Nothing, |zone| reach.part(zone)) {
                Part::Nothing => {}
                Part::Everything => *count = set.count_in(first, bits),
                Part::Some => set.each_in(first, bits, |member| {
                    *count += usize::from(self.rank_of(member).is_some_and(|rank| span.contains(rank)));
                }),
            }
        }
        counts
    }

    /// How many members are within these ranks and in `set`.
    pub(super) fn count(&self, set: Option<&Ids>, within: Range<usize>) -> usize {
        let within = within.start.min(within.end)..within.end;
        let Some(set) = set else { return within.len() };
        if set.len() <= FEW {
            let mut count = 0;
            set.each(|member| {
                count += usize::from(self.rank_of(member).is_some_and(|rank| within.contains(&rank)));
            });
            return count;
        }
        self.counts(set, &self.whole(&within)).into_iter().sum()
    }

    /// A page of the members within these ranks and in `set`.
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
        if set.len() <= FEW {
            let mut ranks = Vec::new();
            set.each(|member| self.push_rank(member, &span, &mut ranks));
            return Ok(self.in_order(ranks, direction, skip, limit));
        }
        let wanted = skip.saturating_add(limit);
        let walked = wanted.saturating_mul(span.len()) / set.len();
        let is_dense = matches!(set, Ids::Many { .. });
        if is_dense
            && walked <= STEPS / 2
            && let Some(page) = self.walk(set, &span, direction, skip, limit, STEPS)
        {
            return Ok(page);
        }
        let counts = self.counts(set, &span);
        let (blocks, before) = self.blocks_of(&counts, direction, skip, wanted);
        let gathered: usize = blocks.iter().map(|block| block.rows).sum();
        if is_dense
            && gathered > GATHERED
            && walked / 2 <= gathered
            && let Some(page) = self.walk(set, &span, direction, skip, limit, usize::MAX)
        {
            return Ok(page);
        }
        let mut ranks = Vec::with_capacity(gathered);
        for Block { number, .. } in blocks {
            let bits = &self.present[number * BLOCK..(number + 1) * BLOCK];
            set.each_in(number * BLOCK, bits, |member| self.push_rank(member, &span, &mut ranks));
        }
        Ok(self.in_order(ranks, direction, skip - before, limit))
    }

    /// The blocks that may hold rows from `skip` to `wanted`, and how many rows (at most `skip`) are in the
    /// blocks before them.
    fn blocks_of(
        &self,
        counts: &[usize],
        direction: SortOrder,
        skip: usize,
        wanted: usize,
    ) -> (Vec<Block<K>>, usize) {
        let in_direction = |one: &K, other: &K| match direction {
            SortOrder::Ascending => one.cmp(other),
            SortOrder::Descending => other.cmp(one),
        };
        let mut blocks: Vec<Block<K>> = self
            .zones
            .iter()
            .zip(counts)
            .enumerate()
            .filter_map(|(number, (zone, rows))| {
                let (least, greatest) = zone.filter(|_| *rows > 0)?;
                let ends = match direction {
                    SortOrder::Ascending => (least, greatest),
                    SortOrder::Descending => (greatest, least),
                };
                Some(Block { number, ends, rows: *rows })
            })
            .collect();
        // At most `skip` rows come before the first key of this block, so the page begins there or later.
        blocks.sort_unstable_by(|one, other| in_direction(&one.ends.0, &other.ends.0));
        let mut rows = 0;
        let first = blocks.iter().find(|block| {
            rows += block.rows;
            rows > skip
        });
        let Some(first) = first.map(|block| block.ends.0) else { return (Vec::new(), skip) };
        // Enough rows come up to the last key of this block, so the page ends there or before.
        blocks.sort_unstable_by(|one, other| in_direction(&one.ends.1, &other.ends.1));
        let mut rows = 0;
        let last = blocks.iter().find(|block| {
            rows += block.rows;
            rows >= wanted
        });
        let last = last.map(|block| block.ends.1);
        let is_before = |block: &Block<K>| in_direction(&block.ends.1, &first) == Less;
        let is_after =
            |block: &Block<K>| last.is_some_and(|last| in_direction(&block.ends.0, &last) == Greater);
        let before = blocks.iter().filter(|block| is_before(block)).map(|block| block.rows).sum();
        blocks.retain(|block| !is_before(block) && !is_after(block));
        (blocks, before)
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

    /// A page that is found by at most so many steps.
    fn walk(
        &self,
        set: &Ids,
        span: &Span,
        direction: SortOrder,
        mut skip: usize,
        limit: usize,
        mut steps: usize,
    ) -> Option<Vec<u32>> {
        let mut page = Vec::new();
        let is_long = span.len() > steps;
        self.visit(Span { head: span.head.clone(), tail: span.tail.clone() }, direction, |member| {
            if set.contains(member) {
                if skip > 0 {
                    skip -= 1;
                } else if page.len() < limit {
                    page.push(member);
                }
            }
            steps = steps.saturating_sub(1);
            page.len() < limit && steps > 0
        });
        (page.len() == limit || !is_long).then_some(page)
    }

    fn push_rank(&self, member: u32, span: &Span, ranks: &mut Vec<u32>) {
        if let Some(rank) = self.rank_of(member).filter(|rank| span.contains(*rank)) {
            ranks.push(rank as u32);
        }
    }

    /// A page of the members at these ranks.
    fn in_order(&self, mut ranks: Vec<u32>, direction: SortOrder, skip: usize, limit: usize) -> Vec<u32> {
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
mod tests;

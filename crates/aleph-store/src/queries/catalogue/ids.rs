//! Sets of messages by their places in the order of processing.

/// A set: a list of a few, or one bit for every place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ids {
    /// Ascending.
    Few(Vec<u32>),
    /// A bit for each place from 0, and how many are set.
    Many { words: Vec<u64>, len: usize },
}

/// A list takes as much memory as bits when it holds one place in so many.
const SPARSE: usize = 32;

impl Ids {
    /// Of places in any order, some perhaps twice.
    pub(super) fn of(mut places: Vec<u32>) -> Self {
        let end = places.iter().max().map_or(0, |last| *last as usize + 1);
        if places.len() * SPARSE <= end.max(4096) {
            places.sort_unstable();
            places.dedup();
            places.shrink_to_fit();
            return Self::Few(places);
        }
        let mut words = vec![0u64; end.div_ceil(64)];
        for place in &places {
            words[*place as usize / 64] |= 1 << (place % 64);
        }
        Self::of_words(words)
    }

    /// Of a bit for each place from 0.
    pub(super) fn of_words(words: Vec<u64>) -> Self {
        let len = words.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        if len * SPARSE > words.len() * 64 {
            return Self::Many { words, len };
        }
        let set = Self::Many { words, len };
        let mut places = Vec::with_capacity(len);
        set.each(|place| places.push(place));
        Self::Few(places)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(places) => places.len(),
            Self::Many { len, .. } => *len,
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Few(places) => places.capacity() * 4,
            Self::Many { words, .. } => words.capacity() * 8,
        }
    }

    pub(super) fn contains(&self, place: u32) -> bool {
        match self {
            Self::Few(places) => places.binary_search(&place).is_ok(),
            Self::Many { words, .. } => has(words, place),
        }
    }

    /// Puts a place in or takes it out.
    pub(super) fn set(&mut self, place: u32, present: bool) {
        match self {
            Self::Few(places) => match (places.binary_search(&place), present) {
                (Err(at), true) => places.insert(at, place),
                (Ok(at), false) => {
                    places.remove(at);
                }
                _ => {}
            },
            Self::Many { words, len } => {
                let (word, bit) = (place as usize / 64, 1u64 << (place % 64));
                if word >= words.len() {
                    if !present {
                        return;
                    }
                    words.resize(word + 1 + word / 8, 0);
                }
                let was = words[word] & bit != 0;
                match (was, present) {
                    (false, true) => *len += 1,
                    (true, false) => *len -= 1,
                    _ => return,
                }
                words[word] ^= bit;
            }
        }
    }

    /// Every place, ascending.
    pub(super) fn each(&self, visit: impl FnMut(u32)) {
        match self {
            Self::Few(places) => places.iter().copied().for_each(visit),
            Self::Many { words, .. } => each_bit(0, words, visit),
        }
    }

    /// How many of the places in `bits` are here; its first bit is that of the place 64 × `first`.
    pub(super) fn count_in(&self, first: usize, bits: &[u64]) -> usize {
        match self {
            Self::Few(_) => {
                let mut count = 0;
                self.each_in(first, bits, |_| count += 1);
                count
            }
            Self::Many { words, .. } => {
                let here = words.get(first..).unwrap_or_default().iter();
                here.zip(bits).map(|(word, bits)| (word & bits).count_ones() as usize).sum()
            }
        }
    }

    /// Every place in `bits` that is here, ascending.
    pub(super) fn each_in(&self, first: usize, bits: &[u64], mut visit: impl FnMut(u32)) {
        match self {
            Self::Few(places) => {
                let end = (first + bits.len()) * 64;
                let begin = places.partition_point(|place| (*place as usize) < first * 64);
                for place in places[begin..].iter().take_while(|place| (**place as usize) < end) {
                    if has(bits, place - first as u32 * 64) {
                        visit(*place);
                    }
                }
            }
            Self::Many { words, .. } => {
                let here = words.get(first..).unwrap_or_default().iter();
                for (number, (word, bits)) in here.zip(bits).enumerate() {
                    each_bit(first + number, &[word & bits], &mut visit);
                }
            }
        }
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Few(few), other) | (other, Self::Few(few)) => {
                Self::Few(few.iter().copied().filter(|place| other.contains(*place)).collect())
            }
            (Self::Many { words, .. }, Self::Many { words: others, .. }) => {
                Self::of_words(words.iter().zip(others).map(|(one, other)| one & other).collect())
            }
        }
    }

    /// What is here and not there.
    pub(super) fn without(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Few(few), other) => {
                Self::Few(few.iter().copied().filter(|place| !other.contains(*place)).collect())
            }
            (Self::Many { words, .. }, Self::Many { words: others, .. }) => {
                let others = others.iter().copied().chain(std::iter::repeat(0));
                Self::of_words(words.iter().zip(others).map(|(one, other)| one & !other).collect())
            }
            (many, Self::Few(others)) => {
                let mut left = many.clone();
                for place in others {
                    left.set(*place, false);
                }
                left
            }
        }
    }
}

/// Every place whose bit is set, ascending; the first bit is that of the place 64 × `first`.
pub(super) fn each_bit(first: usize, words: &[u64], mut visit: impl FnMut(u32)) {
    for (number, word) in words.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            visit((first + number) as u32 * 64 + left.trailing_zeros());
            left &= left - 1;
        }
    }
}

/// Whether a place's bit is set.
fn has(words: &[u64], place: u32) -> bool {
    words.get(place as usize / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn places(set: &Ids) -> Vec<u32> {
        let mut places = Vec::new();
        set.each(|place| places.push(place));
        places
    }

    /// Dense, sparse, empty, and of different lengths.
    fn examples() -> Vec<BTreeSet<u32>> {
        vec![
            BTreeSet::new(),
            (0..20_000).collect(),
            (0..20_000).step_by(3).collect(),
            (5_000..9_000).collect(),
            (0..20_000).step_by(997).collect(),
            BTreeSet::from([63, 64, 65, 19_999]),
        ]
    }

    #[test]
    fn they_are_what_sets_are() {
        for one in examples() {
            let ours = Ids::of(one.iter().rev().copied().chain(one.iter().copied()).collect());
            assert_eq!((ours.len(), places(&ours)), (one.len(), one.iter().copied().collect()));
            assert!(ours.bytes() <= 20_000 * 4);
            for other in examples() {
                let theirs = Ids::of(other.iter().copied().collect());
                let both: Vec<u32> = one.intersection(&other).copied().collect();
                assert_eq!((ours.and(&theirs).len(), places(&ours.and(&theirs))), (both.len(), both));
                let left: Vec<u32> = one.difference(&other).copied().collect();
                assert_eq!((ours.without(&theirs).len(), places(&ours.without(&theirs))), (left.len(), left));
            }
            let (mut ours, mut one) = (ours, one);
            for place in [0, 7, 64, 8_000, 19_999, 50_000, 64] {
                let present = !one.contains(&place);
                ours.set(place, present);
                ours.set(place, present);
                if present {
                    one.insert(place)
                } else {
                    one.remove(&place)
                };
                assert_eq!(ours.contains(place), present);
            }
            assert_eq!((ours.len(), places(&ours)), (one.len(), one.into_iter().collect()));
        }
    }
}

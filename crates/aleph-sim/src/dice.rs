/// A small generator of numbers (SplitMix64): everything in a simulation follows from its seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// Below `sides`, which is not 0.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        (self.word() % sides as u64) as usize
    }

    /// From `least` to below `most`.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.word() % (most - least).max(1)
    }

    /// True in that many of a thousand cases.
    pub(crate) fn per_mille(&mut self, share: u64) -> bool {
        self.word() % 1000 < share
    }

    pub(crate) fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        if list.is_empty() { None } else { Some(list[self.roll(list.len())].clone()) }
    }
}

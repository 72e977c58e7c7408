//! Mutations as a fuzzer makes them, from a seed.

/// Texts that matter to our parsers, next to what is in the seeds.
const WORDS: &[&str] = &[
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-0",
    "-1",
    "1e400",
    "1e-400",
    "1e308",
    "NaN",
    "1.5",
    "18446744073709551616",
    "9223372036854775807",
    "\\u0000",
    "\\ud800",
    "\\udc00",
    "\u{0}",
    "\u{10ffff}",
    "\u{feff}",
    "[[[[[[[[",
    "{\"a\":{\"a\":",
    "}}}}",
    ",",
    ":",
    "\n",
    "\r",
    " ",
    "0x",
    "\"address\":",
    "\"time\":",
    "\"ref\":",
    "\"type\":",
    "\"content\":",
    "\"signature\":",
    "\"publicKey\":",
    "\"item_hash\":",
];

/// Makes inputs out of seeds. The same seed makes the same inputs on every machine.
#[derive(Debug, Clone)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// A sequence of its own for each `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// One of the seeds with one to eight changes, at most `longest` bytes.
    pub fn mutate(&mut self, seeds: &[Vec<u8>], longest: usize) -> Vec<u8> {
        let mut input = seeds.get(self.below(seeds.len())).cloned().unwrap_or_default();
        for _ in 0..=self.below(8) {
            self.change(&mut input, seeds);
        }
        input.truncate(longest);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let length = self.below((input.len() - at).min(32) + 1);
        let byte = self.next() as u8;
        match self.below(9) {
            0 => input.iter_mut().skip(at).take(1).for_each(|old| *old ^= 1 << (byte % 8)),
            1 => input.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
            2 => input.insert(at, byte),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let piece = input[at..at + length].to_vec();
                let to = self.below(input.len() + 1);
                drop(input.splice(to..to, piece));
            }
            5 | 6 => {
                let word = WORDS[self.below(WORDS.len())];
                drop(input.splice(at..at + length, word.bytes()));
            }
            7 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                let to = from + self.below((other.len() - from).min(64) + 1);
                drop(input.splice(at..at + length, other[from..to].iter().copied()));
            }
            _ => input.truncate(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let seeds = vec![b"{\"a\":1}".to_vec(), b"[]".to_vec()];
        let made = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..100).map(|_| mutator.mutate(&seeds, 64)).collect::<Vec<_>>()
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        assert!(made(3).iter().all(|input| input.len() <= 64));
    }
}

//! Where a name stands in a sharded directory (HAMT).

/// The part of the name's hash that is used: the first half of murmur3-x64-128 with seed 0.
pub(crate) fn name_hash(name: &str) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let (mut h1, mut h2) = (0u64, 0u64);
    let bytes = name.as_bytes();
    let blocks = bytes.chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        let (low, high) = block.split_at(8);
        h1 = (h1 ^ mix1(word(low))).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix2(word(high))).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (low, high) = tail.split_at(tail.len().min(8));
    h2 ^= mix2(word(high));
    h1 ^= mix1(word(low));
    let len = bytes.len() as u64;
    h1 ^= len;
    h2 ^= len;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    avalanche(h1).wrapping_add(avalanche(h2))
}

fn avalanche(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// The place of a hash in a shard: the next `bits` (1 to 64) after the first `consumed`; none where
/// the hash has too few.
pub(crate) fn place(hash: u64, consumed: u32, bits: u32) -> Option<u64> {
    let end = consumed.checked_add(bits).filter(|end| *end <= 64)?;
    Some(hash >> (64 - end) & (u64::MAX >> (64 - bits)))
}

/// Hexadecimal digits before a name in a shard of `fanout` places.
pub(crate) fn prefix_len(fanout: u64) -> usize {
    (64 - (fanout - 1).leading_zeros() as usize).div_ceil(4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_the_reference_implementation() {
        // murmur3-x64-128 (seed 0), first eight bytes read big-endian.
        for (text, hash) in [
            ("", 0),
            ("hello", 0xcbd8_a7b3_41bd_9b02),
            ("hello, world", 0x342f_ac62_3a5e_bc8e),
            ("19 Jan 2038 at 3:14:07 AM", 0xb89e_5988_b737_affc),
            ("The quick brown fox jumps over the lazy dog.", 0xcd99_481f_9ee9_02c9),
        ] {
            assert_eq!(name_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn places_are_read_from_the_top() {
        let hash = 0x1234_5678_9abc_def0;
        assert_eq!([0, 8, 56].map(|at| place(hash, at, 8)), [Some(0x12), Some(0x34), Some(0xf0)]);
        assert_eq!(place(hash, 64, 8), None);
        assert_eq!(place(hash, 60, 8), None);
        assert_eq!(place(hash, 4, 4), Some(2));
        assert_eq!(place(hash, 0, 64), Some(hash));
        assert_eq!([2, 16, 17, 256, 1024].map(prefix_len), [1, 1, 2, 2, 3]);
    }
}

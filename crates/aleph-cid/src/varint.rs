//! Unsigned LEB128 of at most 64 bits, as CIDs, CARs and protobuf write it.

/// Most bytes of a 64-bit number.
pub(crate) const MOST_BYTES: usize = 10;

/// Why the first bytes are no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The last byte says that more follow, and none do.
    Short,
    /// More than 64 bits.
    Overflow,
}

/// The number at the start of `bytes`, and how many bytes it takes.
pub(crate) fn read(bytes: &[u8]) -> Result<(u64, usize), Fault> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(MOST_BYTES).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == MOST_BYTES - 1 && *byte > 1 {
            return Err(Fault::Overflow);
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Err(if bytes.len() < MOST_BYTES { Fault::Short } else { Fault::Overflow })
}

/// How many bytes [`write()`] appends for `value`.
pub(crate) fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends `value` in its shortest form.
pub(crate) fn write(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                write(value, &mut bytes);
                assert_eq!(bytes.len(), len(value), "{value}");
                assert_eq!(read(&bytes), Ok((value, bytes.len())), "{value}");
                assert_eq!(read(&bytes[..bytes.len() - 1]), Err(Fault::Short), "{value}");
            }
        }
    }

    #[test]
    fn more_than_64_bits_overflow() {
        let mut bytes = [0xff; 10];
        bytes[9] = 0x01;
        assert_eq!(read(&bytes), Ok((u64::MAX, 10)));
        bytes[9] = 0x02;
        assert_eq!(read(&bytes), Err(Fault::Overflow));
        assert_eq!(read(&[0x80; 11]), Err(Fault::Overflow));
    }
}

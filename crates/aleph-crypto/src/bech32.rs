//! Bech32 addresses, original checksum (BIP 173). Only encoding is needed: addresses are compared as text.

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];

fn step(checksum: u32, value: u8) -> u32 {
    let top = checksum >> 25;
    let mut next = (checksum & 0x01ff_ffff) << 5 ^ u32::from(value);
    for (bit, generator) in GENERATOR.iter().enumerate() {
        if top >> bit & 1 == 1 {
            next ^= generator;
        }
    }
    next
}

/// `hrp`, `1`, the five-bit groups of `data`, six characters of checksum.
pub(crate) fn encode(hrp: &str, data: &[u8]) -> String {
    let mut groups = Vec::with_capacity(data.len() * 8 / 5 + 1);
    let (mut pending, mut bits) = (0u32, 0u32);
    for &byte in data {
        pending = pending << 8 | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            groups.push((pending >> bits & 31) as u8);
        }
        pending &= (1 << bits) - 1;
    }
    if bits > 0 {
        groups.push((pending << (5 - bits) & 31) as u8);
    }
    let high = hrp.bytes().map(|byte| byte >> 5);
    let low = hrp.bytes().map(|byte| byte & 31);
    let values = high.chain([0]).chain(low).chain(groups.iter().copied()).chain([0; 6]);
    let checksum = values.fold(1, step) ^ 1;
    let sum = (0..6u32).map(|position| (checksum >> (5 * (5 - position)) & 31) as u8);
    let mut text = String::with_capacity(hrp.len() + 1 + groups.len() + 6);
    text.push_str(hrp);
    text.push('1');
    text.extend(groups.iter().copied().chain(sum).map(|group| char::from(ALPHABET[usize::from(group & 31)])));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_addresses() {
        // BIP 173: the data part of a witness program without its version.
        assert_eq!(encode("a", &[]), "a12uel5l");
        let all: Vec<u8> = vec![
            0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf, 0x84, 0x65, 0x3a, 0x56, 0xd7, 0xc6,
            0x75, 0xbe, 0x77, 0xdf,
        ];
        assert_eq!(encode("abcdef", &all), "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw");
    }
}

//! Base64 as the reference's decoder reads it: characters outside the alphabet are skipped.

use crate::SignatureError::{self, Malformed};

/// Longest text that is looked at.
const MOST_CHARS: usize = 1024;

fn value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// The bytes of `text`. What follows complete padding is not read; missing padding is refused.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, SignatureError> {
    if !text.is_ascii() || text.len() > MOST_CHARS {
        return Err(Malformed("not base64"));
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut position, mut padding, mut left) = (0, 0, 0u8);
    for byte in text.bytes() {
        if byte == b'=' {
            if position >= 2 {
                padding += 1;
                if position + padding >= 4 {
                    return Ok(bytes);
                }
            }
            continue;
        }
        let Some(bits) = value(byte) else { continue };
        padding = 0;
        match position {
            0 => left = bits,
            1 => {
                bytes.push(left << 2 | bits >> 4);
                left = bits & 0x0f;
            }
            2 => {
                bytes.push(left << 4 | bits >> 2);
                left = bits & 0x03;
            }
            _ => bytes.push(left << 6 | bits),
        }
        position = (position + 1) % 4;
    }
    if position == 0 { Ok(bytes) } else { Err(Malformed("incomplete base64")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reference_reads() {
        assert_eq!(decode("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(decode("aGVs\nb!G8=").unwrap(), b"hello");
        assert_eq!(decode("aGVsbG8=trailing").unwrap(), b"hello");
        assert_eq!(decode("aGVsbG8hIQ==").unwrap(), b"hello!!");
        assert_eq!(decode("=aGVs").unwrap(), b"hel");
        assert!(decode("aGVsbG8").is_err());
        assert!(decode("a").is_err());
        assert!(decode("é===").is_err());
    }
}

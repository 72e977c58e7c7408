//! How messages are written into gossip payloads and read from them, without any IO.

use std::borrow::Cow;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::GossipId;

/// The identity of a payload: SipHash-1-3 with key zero over the length (8 bytes, little-endian)
/// and the bytes (`spec: p2p.md §2.3`). All nodes of the network must agree on it.
pub fn gossip_id(data: &[u8]) -> GossipId {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(&(data.len() as u64).to_le_bytes());
    hasher.write(data);
    GossipId(hasher.finish())
}

/// Escapes every `%` as `%25`, since reference nodes percent-decode every payload
/// (`spec: p2p.md §3.1`).
pub fn encode_payload(text: &[u8]) -> Cow<'_, [u8]> {
    let signs = text.iter().filter(|byte| **byte == b'%').count();
    if signs == 0 {
        return Cow::Borrowed(text);
    }
    let mut encoded = Vec::with_capacity(text.len() + 2 * signs);
    for byte in text {
        match byte {
            b'%' => encoded.extend_from_slice(b"%25"),
            other => encoded.push(*other),
        }
    }
    Cow::Owned(encoded)
}

/// The texts that a payload may stand for, the likelier first: the bytes as they are, then
/// percent-decoded when that is another text.
///
/// Senders differ: some escape, some don't. Take the first candidate whose item hash matches; a
/// payload that is no UTF-8 has no candidate (`spec: p2p.md §3.1`).
pub fn decode_payload(data: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let raw = std::str::from_utf8(data).ok();
    let decoded = raw.and_then(percent_decoded);
    raw.map(Cow::Borrowed).into_iter().chain(decoded.map(Cow::Owned))
}

/// `%XX` to bytes; incomplete sequences and `+` stay, bytes that form no UTF-8 are replaced.
/// `None` when nothing changes.
fn percent_decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let first = bytes.iter().position(|byte| *byte == b'%')?;
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((byte, tail)) = rest.split_first() {
        let value = match (byte, tail) {
            (b'%', [high, low, ..]) => hex_value(*high).zip(hex_value(*low)),
            _ => None,
        };
        match value {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    if decoded == bytes {
        return None;
    }
    Some(
        String::from_utf8(decoded)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(data: &[u8]) -> Vec<String> {
        decode_payload(data).map(Cow::into_owned).collect()
    }

    #[test]
    fn gossip_ids_of_the_specification() {
        let digits: Vec<u8> = (0..=9).collect();
        for (data, id) in [
            (&b""[..], "13646096770106105413"),
            (b"hello", "9754003402134539932"),
            (br#"{"a":1}"#, "17034156829674657847"),
            (&digits, "3328966132932256247"),
        ] {
            assert_eq!(gossip_id(data).to_string(), id);
        }
    }

    #[test]
    fn what_is_sent_is_recovered_by_those_who_decode_and_by_us() {
        for text in [r#"{"a":"100%"}"#, r#"{"a":"%41 %25 %zz % %"}"#, r#"{"a":"é+%C3%A9"}"#] {
            let sent = encode_payload(text.as_bytes()).into_owned();
            let reference = percent_decoded(std::str::from_utf8(&sent).unwrap()).unwrap();
            assert_eq!(reference, text);
            assert!(candidates(&sent).contains(&text.to_owned()));
        }
        assert!(matches!(encode_payload(b"plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn candidates_are_raw_first_and_only_different_ones() {
        assert_eq!(candidates(b"{}"), ["{}"]);
        assert_eq!(candidates(b"%7B%7d"), ["%7B%7d", "{}"]);
        assert_eq!(candidates(b"100% +"), ["100% +"]);
        assert_eq!(candidates(b"%4"), ["%4"]);
        assert_eq!(candidates("%ff".as_bytes()), ["%ff", "\u{fffd}"]);
        assert_eq!(candidates("%\u{e9}1%41".as_bytes()), ["%\u{e9}1%41", "%\u{e9}1A"]);
        assert!(candidates(&[0xff, 0xfe]).is_empty());
    }
}

//! As much of DAG-CBOR as CAR headers and links need. Values that are not needed are passed over.

use crate::cid::Cid;

/// Deepest nesting.
const MAX_DEPTH: u32 = 128;

/// One item's head: major type and argument, and for floats and simple values their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) major: u8,
    pub(crate) value: u64,
}

/// Reads items one after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: u64) -> Result<&'a [u8], &'static str> {
        let count = usize::try_from(count).map_err(|_| "an item is longer than its block")?;
        let (head, rest) = self.0.split_at_checked(count).ok_or("an item is longer than its block")?;
        self.0 = rest;
        Ok(head)
    }

    /// The next item's head. Lengths are always given, and in their shortest form.
    pub(crate) fn head(&mut self) -> Result<Head, &'static str> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let width = match info {
            0..=23 => return simple(major, u64::from(info)),
            24..=27 => 1u64 << (info - 24),
            _ => return Err("an item of no given length"),
        };
        let value = self.take(width)?.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        if major == 7 {
            return if width == 8 { Ok(Head { major, value }) } else { Err("a float of less than 64 bits") };
        }
        let least = if width == 1 { 24 } else { 1u64 << (width * 4) };
        if value < least { Err("a number is not in its shortest form") } else { Ok(Head { major, value }) }
    }

    /// The bytes of an item of the given major type (2 bytes, 3 text).
    pub(crate) fn string(&mut self, major: u8) -> Result<&'a [u8], &'static str> {
        let head = self.head()?;
        if head.major != major {
            return Err("an item of another type was expected");
        }
        self.take(head.value)
    }

    /// A link: tag 42 around bytes that start with a zero.
    pub(crate) fn link(&mut self) -> Result<Cid, &'static str> {
        if self.head()? != (Head { major: 6, value: 42 }) {
            return Err("a link was expected");
        }
        self.link_bytes()
    }

    fn link_bytes(&mut self) -> Result<Cid, &'static str> {
        let bytes = self.string(2)?.strip_prefix(&[0]).ok_or("a link without its leading zero")?;
        Cid::from_bytes(bytes).map_err(|_| "a link to no CID of a known hash")
    }
}

fn simple(major: u8, value: u64) -> Result<Head, &'static str> {
    // false, true, null; nothing else exists in DAG-CBOR.
    if major == 7 && !(20..=22).contains(&value) {
        Err("an unknown simple value")
    } else {
        Ok(Head { major, value })
    }
}

/// Every link of a block, in order.
pub(crate) fn links(block: &[u8]) -> Result<Vec<Cid>, &'static str> {
    let mut reader = Reader::of(block);
    let mut links = Vec::new();
    // How many items are still to come at each level.
    let mut open = vec![1u64];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let head = reader.head()?;
        match head.major {
            0 | 1 | 7 => {}
            2 => drop(reader.take(head.value)?),
            3 => drop(std::str::from_utf8(reader.take(head.value)?).map_err(|_| "a text is not UTF-8")?),
            4 => open.push(head.value),
            5 => open.push(head.value.checked_mul(2).ok_or("a map is longer than its block")?),
            _ if head.value == 42 => links.push(reader.link_bytes()?),
            _ => return Err("a tag other than 42"),
        }
        if open.len() > MAX_DEPTH as usize {
            return Err("values are nested too deeply");
        }
    }
    if reader.is_empty() { Ok(links) } else { Err("bytes follow the value") }
}

/// Appends an item's head.
pub(crate) fn write_head(major: u8, value: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match value {
        0..=23 => out.push(major | value as u8),
        24..=0xff => out.extend([major | 24, value as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(value.to_be_bytes());
        }
    }
}

/// Appends a link.
pub(crate) fn write_link(cid: &Cid, out: &mut Vec<u8>) {
    write_head(6, 42, out);
    write_head(2, cid.encoded_len() as u64 + 1, out);
    out.push(0);
    out.extend(cid.to_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::Codec;

    #[test]
    fn heads_come_back() {
        for value in [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let mut bytes = Vec::new();
            write_head(4, value, &mut bytes);
            assert_eq!(Reader::of(&bytes).head(), Ok(Head { major: 4, value }));
        }
        assert!(Reader::of(&[0x18, 23]).head().is_err(), "not the shortest form");
        assert!(Reader::of(&[0x9f]).head().is_err(), "no length");
        assert!(Reader::of(&[0xf9, 0, 0]).head().is_err(), "half a float");
    }

    #[test]
    fn links_are_found_wherever_they_stand() {
        let cid = Cid::v1(Codec::Raw, b"x");
        let mut block = vec![0x82, 0xa1, 0x61, b'k'];
        write_link(&cid, &mut block);
        write_link(&cid, &mut block);
        assert_eq!(links(&block), Ok(vec![cid, cid]));
        for cut in 0..block.len() {
            assert!(links(&block[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn bombs_cost_nothing() {
        assert!(links(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err(), "a long list");
        assert!(links(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err(), "a long map");
        assert!(links(&[0x81; 200]).is_err(), "a deep list");
        assert!(links(&[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err(), "long bytes");
        assert_eq!(links(&[0xf6]), Ok(vec![]));
        assert!(links(&[0xf6, 0xf6]).is_err(), "two values");
    }
}

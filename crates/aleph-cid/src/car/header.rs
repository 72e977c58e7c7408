use super::CarError;
use crate::cbor::{self, Reader};
use crate::cid::Cid;
use crate::varint;

/// The header of an archive of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarHeader {
    roots: Vec<Cid>,
}

impl CarHeader {
    /// The header of an archive of these roots.
    pub fn new(roots: Vec<Cid>) -> Self {
        Self { roots }
    }

    /// What the archive is about. Nothing says that these blocks are in it.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// The only root.
    ///
    /// # Errors
    ///
    /// Uploads have exactly one (`spec: ccn-api.md §10.2`).
    pub fn single_root(&self) -> Result<&Cid, CarError> {
        match self.roots.as_slice() {
            [root] => Ok(root),
            roots => Err(CarError::NotOneRoot(roots.len())),
        }
    }

    /// The first bytes of an archive: the header with its length.
    pub fn encode(&self) -> Vec<u8> {
        let mut map = Vec::new();
        cbor::write_head(5, 2, &mut map);
        write_text("roots", &mut map);
        cbor::write_head(4, self.roots.len() as u64, &mut map);
        for root in &self.roots {
            cbor::write_link(root, &mut map);
        }
        write_text("version", &mut map);
        cbor::write_head(0, 1, &mut map);
        let mut out = Vec::with_capacity(map.len() + 2);
        varint::write(map.len() as u64, &mut out);
        out.extend(map);
        out
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    cbor::write_head(3, text.len() as u64, out);
    out.extend(text.as_bytes());
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Version1(CarHeader),
    /// The first bytes of an archive of version 2: a longer header of its own follows.
    Version2,
}

/// Reads the map of a header; keys may stand in any order.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, CarError> {
    let malformed = CarError::MalformedHeader;
    let mut reader = Reader::of(bytes);
    let map = reader.head().map_err(malformed)?;
    if map.major != 5 {
        return Err(malformed("it is no map"));
    }
    let (mut version, mut roots) = (None, None);
    for _ in 0..map.value {
        let twice = match reader.string(3).map_err(malformed)? {
            b"version" => {
                let head = reader.head().map_err(malformed)?;
                if head.major != 0 {
                    return Err(malformed("the version is no number"));
                }
                version.replace(head.value).is_some()
            }
            b"roots" => roots.replace(read_roots(&mut reader).map_err(malformed)?).is_some(),
            _ => return Err(malformed("it says more than 'version' and 'roots'")),
        };
        if twice {
            return Err(malformed("it says a thing twice"));
        }
    }
    if !reader.is_empty() {
        return Err(malformed("bytes follow it"));
    }
    match (version, roots) {
        (Some(1), Some(roots)) => Ok(Parsed::Version1(CarHeader { roots })),
        (Some(1), None) => Err(malformed("it has no 'roots'")),
        (Some(2), None) => Ok(Parsed::Version2),
        (Some(other), _) => Err(CarError::UnsupportedVersion(other)),
        (None, _) => Err(malformed("it has no 'version'")),
    }
}

fn read_roots(reader: &mut Reader<'_>) -> Result<Vec<Cid>, &'static str> {
    let list = reader.head()?;
    if list.major != 4 {
        return Err("'roots' is no list");
    }
    // Each root takes bytes of a header that is bounded, so the count needs no bound of its own.
    let mut roots = Vec::new();
    for _ in 0..list.value {
        roots.push(reader.link()?);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::Codec;

    fn map(header: &CarHeader) -> Vec<u8> {
        header.encode()[1..].to_vec()
    }

    #[test]
    fn comes_back() {
        for count in 0..3 {
            let roots = (0..count).map(|i| Cid::v1(Codec::Raw, &[i])).collect();
            let header = CarHeader::new(roots);
            assert_eq!(parse(&map(&header)), Ok(Parsed::Version1(header.clone())));
            assert_eq!(header.single_root().is_ok(), count == 1);
        }
    }

    #[test]
    fn every_cut_and_every_other_map_is_refused() {
        let good = map(&CarHeader::new(vec![Cid::v1(Codec::Raw, b"x")]));
        for cut in 0..good.len() {
            assert!(matches!(parse(&good[..cut]), Err(CarError::MalformedHeader(_))), "{cut}");
        }
        let version = b"\x67version";
        let cases = [
            ([&[0xa1][..], version, &[1]].concat(), "it has no 'roots'"),
            ([&[0xa2][..], version, &[1], version, &[1]].concat(), "it says a thing twice"),
            (b"\xa1\x65roots\x80".to_vec(), "it has no 'version'"),
            (b"\xa1\x61x\x01".to_vec(), "it says more than 'version' and 'roots'"),
            (vec![0x01], "it is no map"),
            (b"\xa1\x65roots\xa0".to_vec(), "'roots' is no list"),
            (
                b"\xa1\x65roots\x9b\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
                "an item is longer than its block",
            ),
        ];
        for (bytes, why) in cases {
            assert_eq!(parse(&bytes), Err(CarError::MalformedHeader(why)));
        }
        assert_eq!(parse(&[&[0xa1][..], version, &[2]].concat()), Ok(Parsed::Version2));
        assert_eq!(parse(&[&[0xa1][..], version, &[3]].concat()), Err(CarError::UnsupportedVersion(3)));
    }
}

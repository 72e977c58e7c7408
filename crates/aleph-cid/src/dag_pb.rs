//! Nodes with named links (dag-pb): `{ Links: [{Hash, Name, Tsize}], Data }`.

use crate::cid::Cid;
use crate::protobuf::{self, Fields, Value};
use crate::varint;

const NODE_DATA: u64 = 1;
const NODE_LINKS: u64 = 2;
const LINK_HASH: u64 = 1;
const LINK_NAME: u64 = 2;
const LINK_TSIZE: u64 = 3;

/// A link of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    pub(crate) cid: Cid,
    pub(crate) name: &'a str,
    /// What the writer says about the size of everything below, in bytes.
    pub(crate) tsize: u64,
}

/// A node, borrowing from its block.
#[derive(Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) links: Vec<Link<'a>>,
    pub(crate) data: Option<&'a [u8]>,
}

impl<'a> Node<'a> {
    /// Reads a block. Both orders of links and data are read: Kubo writes links first, others don't.
    pub(crate) fn decode(block: &'a [u8]) -> Result<Self, &'static str> {
        let mut node = Self::default();
        for field in Fields::of(block) {
            match field? {
                (NODE_LINKS, Value::Bytes(bytes)) => node.links.push(Link::decode(bytes)?),
                (NODE_DATA, Value::Bytes(bytes)) => {
                    if node.data.replace(bytes).is_some() {
                        return Err("a node has one data field");
                    }
                }
                _ => return Err("a node has links and data only"),
            }
        }
        Ok(node)
    }

    /// The size of this node and everything below, as far as its links say the truth, in bytes.
    pub(crate) fn cumulative_size(&self, block: &[u8]) -> u64 {
        self.links.iter().fold(block.len() as u64, |sum, link| sum.saturating_add(link.tsize))
    }
}

impl<'a> Link<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let (mut cid, mut name, mut tsize) = (None, None, None);
        for field in Fields::of(bytes) {
            let twice = match field? {
                (LINK_HASH, Value::Bytes(hash)) => {
                    let read = Cid::from_bytes(hash).map_err(|_| "a link to no CID of a known hash")?;
                    cid.replace(read).is_some()
                }
                (LINK_NAME, Value::Bytes(text)) => {
                    let text = std::str::from_utf8(text).map_err(|_| "a link's name is not UTF-8")?;
                    name.replace(text).is_some()
                }
                (LINK_TSIZE, Value::Number(size)) => tsize.replace(size).is_some(),
                _ => return Err("a link has a hash, a name and a size only"),
            };
            if twice {
                return Err("a link says a thing twice");
            }
        }
        let cid = cid.ok_or("a link without a hash")?;
        Ok(Self { cid, name: name.unwrap_or_default(), tsize: tsize.unwrap_or_default() })
    }

    fn encoded_len(&self) -> usize {
        let hash = self.cid.encoded_len();
        1 + varint::len(hash as u64)
            + hash
            + 1
            + varint::len(self.name.len() as u64)
            + self.name.len()
            + 1
            + varint::len(self.tsize)
    }
}

/// The block of a node: links in the order given, then data, as Kubo writes it.
pub(crate) fn encode<'a>(links: impl IntoIterator<Item = Link<'a>>, data: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for link in links {
        protobuf::write_head(NODE_LINKS, link.encoded_len(), &mut block);
        protobuf::write_bytes(LINK_HASH, &link.cid.to_bytes(), &mut block);
        // An empty name is written as well: Kubo does.
        protobuf::write_bytes(LINK_NAME, link.name.as_bytes(), &mut block);
        protobuf::write_number(LINK_TSIZE, link.tsize, &mut block);
    }
    protobuf::write_bytes(NODE_DATA, data, &mut block);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::Codec;

    #[test]
    fn comes_back() {
        let links = ["", "a", "ünï"].map(|name| Link {
            cid: Cid::v1(Codec::Raw, name.as_bytes()),
            name,
            tsize: 1 << (name.len() * 9),
        });
        let block = encode(links, b"data");
        let node = Node::decode(&block).unwrap();
        assert_eq!(node.links, links);
        assert_eq!(node.data, Some(&b"data"[..]));
        for cut in 1..block.len() {
            // never a panic; a cut between fields is a smaller node
            let _ = Node::decode(&block[..cut]);
        }
    }

    #[test]
    fn what_is_no_node_is_refused() {
        assert!(Node::decode(&[0x0a, 0, 0x0a, 0]).is_err(), "two data fields");
        assert!(Node::decode(&[0x12, 0]).is_err(), "a link without a hash");
        assert!(Node::decode(&[0x1a, 0]).is_err(), "an unknown field");
        assert!(Node::decode(&[0x08, 0]).is_err(), "data as a number");
        assert!(Node::decode(b"hello").is_err());
    }
}

//! What a dag-pb node says about itself in its data field.

use crate::protobuf::{self, Fields, Value};
use crate::varint;

const TYPE: u64 = 1;
const DATA: u64 = 2;
const FILE_SIZE: u64 = 3;
const BLOCK_SIZES: u64 = 4;
const HASH_TYPE: u64 = 5;
const FANOUT: u64 = 6;

/// The hash of names in sharded directories: first half of murmur3-x64-128.
pub(crate) const MURMUR3_X64_64: u64 = 0x22;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeType {
    /// A piece of a file; what old writers call their leaves.
    Raw,
    Directory,
    File,
    /// A file with a description beside it; nobody writes it.
    Metadata,
    Symlink,
    HamtShard,
}

/// The message, borrowing from its block.
#[derive(Debug)]
pub(crate) struct UnixFs<'a> {
    pub(crate) node_type: NodeType,
    pub(crate) data: &'a [u8],
    pub(crate) file_size: Option<u64>,
    pub(crate) block_sizes: Vec<u64>,
    pub(crate) hash_type: Option<u64>,
    pub(crate) fanout: Option<u64>,
}

impl<'a> UnixFs<'a> {
    /// Reads the message. Modes, times and fields of later versions are passed over.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut node_type = None;
        let mut read = Self {
            node_type: NodeType::Raw,
            data: &[],
            file_size: None,
            block_sizes: Vec::new(),
            hash_type: None,
            fanout: None,
        };
        for field in Fields::of(bytes) {
            match field? {
                (TYPE, Value::Number(number)) => {
                    node_type = Some(match number {
                        0 => NodeType::Raw,
                        1 => NodeType::Directory,
                        2 => NodeType::File,
                        3 => NodeType::Metadata,
                        4 => NodeType::Symlink,
                        5 => NodeType::HamtShard,
                        _ => return Err("a UnixFS type that nobody knows"),
                    });
                }
                (DATA, Value::Bytes(data)) => read.data = data,
                (FILE_SIZE, Value::Number(size)) => read.file_size = Some(size),
                (BLOCK_SIZES, Value::Number(size)) => read.block_sizes.push(size),
                (BLOCK_SIZES, Value::Bytes(packed)) => {
                    let mut rest = packed;
                    while !rest.is_empty() {
                        let (size, taken) = varint::read(rest).map_err(|_| "broken block sizes")?;
                        read.block_sizes.push(size);
                        rest = &rest[taken..];
                    }
                }
                (HASH_TYPE, Value::Number(number)) => read.hash_type = Some(number),
                (FANOUT, Value::Number(number)) => read.fanout = Some(number),
                (TYPE..=FANOUT, _) => return Err("a UnixFS field of the wrong form"),
                _ => {}
            }
        }
        read.node_type = node_type.ok_or("UnixFS data without a type")?;
        Ok(read)
    }
}

/// The bytes before and after a leaf's content in its dag-pb block.
///
/// The content itself is never copied: a leaf's block is `head ‖ content ‖ tail`.
pub(crate) fn leaf_frame(content: usize) -> (Vec<u8>, Vec<u8>) {
    let mut inner = Vec::with_capacity(16);
    protobuf::write_number(TYPE, 2, &mut inner);
    if content > 0 {
        protobuf::write_head(DATA, content, &mut inner);
    }
    let mut tail = Vec::with_capacity(8);
    protobuf::write_number(FILE_SIZE, content as u64, &mut tail);
    let mut head = Vec::with_capacity(LEAF_HEAD);
    protobuf::write_head(1, inner.len() + content + tail.len(), &mut head);
    head.extend(inner);
    (head, tail)
}

/// Longest head that [`leaf_frame`] gives for contents below 2^35 bytes.
pub(crate) const LEAF_HEAD: usize = 16;

/// The message of a node between a file's root and its leaves.
pub(crate) fn file_node(sizes: impl Iterator<Item = u64> + Clone) -> Vec<u8> {
    let mut out = Vec::new();
    protobuf::write_number(TYPE, 2, &mut out);
    protobuf::write_number(FILE_SIZE, sizes.clone().sum(), &mut out);
    for size in sizes {
        protobuf::write_number(BLOCK_SIZES, size, &mut out);
    }
    out
}

/// The message of a directory.
pub(crate) fn directory() -> Vec<u8> {
    let mut out = Vec::new();
    protobuf::write_number(TYPE, 1, &mut out);
    out
}

/// The message of a symlink.
pub(crate) fn symlink(target: &str) -> Vec<u8> {
    let mut out = Vec::new();
    protobuf::write_number(TYPE, 4, &mut out);
    protobuf::write_bytes(DATA, target.as_bytes(), &mut out);
    out
}

/// The message of a shard of a directory; `bitfield` says which places are taken, without leading zeros.
pub(crate) fn shard(bitfield: &[u8], fanout: u64) -> Vec<u8> {
    let mut out = Vec::new();
    protobuf::write_number(TYPE, 5, &mut out);
    protobuf::write_bytes(DATA, bitfield, &mut out);
    protobuf::write_number(HASH_TYPE, MURMUR3_X64_64, &mut out);
    protobuf::write_number(FANOUT, fanout, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_a_file_node() {
        for content in [&b""[..], b"x", &[7; 300]] {
            let (head, tail) = leaf_frame(content.len());
            assert!(head.len() <= LEAF_HEAD);
            let block = [&head, content, &tail].concat();
            let node = crate::dag_pb::Node::decode(&block).unwrap();
            let message = UnixFs::decode(node.data.unwrap()).unwrap();
            assert_eq!((message.node_type, message.data), (NodeType::File, content));
            assert_eq!(message.file_size, Some(content.len() as u64));
        }
    }

    #[test]
    fn packed_and_plain_sizes_are_the_same() {
        let plain = file_node([1u64, 300].into_iter());
        let packed = [0x08, 2, 0x18, 0xad, 2, 0x22, 3, 1, 0xac, 2];
        for bytes in [&plain[..], &packed] {
            let message = UnixFs::decode(bytes).unwrap();
            assert_eq!((message.file_size, message.block_sizes), (Some(301), vec![1, 300]));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(UnixFs::decode(&[]).is_err(), "no type");
        assert!(UnixFs::decode(&[0x08, 9]).is_err(), "an unknown type");
        assert!(UnixFs::decode(&[0x0a, 0]).is_err(), "a type in bytes");
        assert!(UnixFs::decode(&[0x08, 1, 0x38, 0xed, 3]).is_ok(), "a mode is passed over");
    }
}

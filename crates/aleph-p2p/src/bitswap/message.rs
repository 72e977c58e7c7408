//! The messages of bitswap 1.2 on the wire: protobuf, each after its length.
//!
//! What peers send is read without trust: a message names at most [`MOST_ENTRIES`] things of a kind, and
//! what is read points into the bytes that came, so that a frame takes no more memory than it has.

use aleph_cid::{Cid, Codec, Version};
use bytes::Bytes;

/// Most bytes of a message, as everybody has it.
pub(crate) const MAX_MESSAGE: usize = 4 << 20;

/// Wants, blocks or presences in one message; what is beyond it makes the message unreadable.
pub(crate) const MOST_ENTRIES: usize = 8192;

/// Bytes of a CID that is remembered; those of SHA-256 have 36.
const MOST_CID: usize = 128;

/// What a peer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As it came, for the answer.
    pub(crate) cid: Bytes,
    pub(crate) priority: i32,
    pub(crate) cancel: bool,
    pub(crate) kind: WantKind,
    pub(crate) send_dont_have: bool,
}

/// What of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WantKind {
    Block,
    Have,
}

/// A block and the name that its sender has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Version, codec, hash function and its length, each a number.
    pub(crate) prefix: Bytes,
    pub(crate) data: Bytes,
}

/// Whether a block is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) cid: Bytes,
    pub(crate) has: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) entries: Vec<Entry>,
    /// The entries replace whatever was asked for before.
    pub(crate) full: bool,
    pub(crate) blocks: Vec<Block>,
    pub(crate) presences: Vec<Presence>,
    /// Bytes that wait to be sent.
    pub(crate) pending_bytes: i32,
}

/// Why a frame is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no bitswap message: {0}")]
pub(crate) struct Malformed(&'static str);

impl Block {
    pub(crate) fn new(cid: &Cid, data: Bytes) -> Self {
        let mut prefix = Vec::with_capacity(8);
        let version = match cid.version() {
            Version::V0 => 0,
            Version::V1 => 1,
        };
        for number in [version, cid.codec().code(), SHA2_256, 32] {
            write_number(number, &mut prefix);
        }
        Self { prefix: prefix.into(), data }
    }

    /// The name that the bytes have under its prefix; none for another hash function than SHA-256. All of
    /// them are hashed.
    pub(crate) fn cid(&self) -> Option<Cid> {
        let mut rest = &self.prefix[..];
        let mut number = || {
            let (number, taken) = read_number(rest)?;
            rest = &rest[taken..];
            Some(number)
        };
        let (version, codec, hash, len) = (number()?, number()?, number()?, number()?);
        if hash != SHA2_256 || len != 32 || !rest.is_empty() {
            return None;
        }
        match (version, codec) {
            (0, DAG_PB) => Some(Cid::v0(&self.data)),
            (1, code) => Some(Cid::v1(codec_of(code), &self.data)),
            _ => None,
        }
    }
}

fn codec_of(code: u64) -> Codec {
    let known = [Codec::Raw, Codec::DagPb, Codec::DagCbor, Codec::DagJson];
    known.into_iter().find(|codec| codec.code() == code).unwrap_or(Codec::Other(code))
}

const SHA2_256: u64 = 0x12;
const DAG_PB: u64 = 0x70;

impl Message {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.blocks.is_empty() && self.presences.is_empty() && !self.full
    }

    /// The message without the length before it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let bytes: usize = self.blocks.iter().map(|block| block.data.len() + 32).sum();
        let mut out = Vec::with_capacity(bytes + 64 * (self.entries.len() + self.presences.len()) + 16);
        if !self.entries.is_empty() || self.full {
            let mut list = Vec::with_capacity(64 * self.entries.len() + 8);
            for entry in &self.entries {
                write_bytes(1, &entry.encode(), &mut list);
            }
            if self.full {
                write_varint(2, 1, &mut list);
            }
            write_bytes(1, &list, &mut out);
        }
        for block in &self.blocks {
            let prefix = field_len(block.prefix.len());
            let len = prefix + field_len(block.data.len());
            write_number(3 << 3 | 2, &mut out);
            write_number(len as u64, &mut out);
            write_bytes(1, &block.prefix, &mut out);
            write_bytes(2, &block.data, &mut out);
        }
        for presence in &self.presences {
            let mut field = Vec::with_capacity(presence.cid.len() + 8);
            write_bytes(1, &presence.cid, &mut field);
            if !presence.has {
                write_varint(2, 1, &mut field);
            }
            write_bytes(4, &field, &mut out);
        }
        if self.pending_bytes > 0 {
            write_varint(5, u64::from(self.pending_bytes.unsigned_abs()), &mut out);
        }
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// What is none, or names too many things.
    pub(crate) fn decode(frame: &Bytes) -> Result<Self, Malformed> {
        let mut message = Self::default();
        let mut fields = Fields::of(frame);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(list)) => message.read_wants(&list)?,
                (2, Value::Bytes(_)) => return Err(Malformed("blocks of bitswap 1.0")),
                (3, Value::Bytes(block)) => {
                    let block = Block::decode(&block)?;
                    room(message.blocks.len())?;
                    message.blocks.push(block);
                }
                (4, Value::Bytes(presence)) => {
                    let presence = Presence::decode(&presence)?;
                    room(message.presences.len())?;
                    message.presences.push(presence);
                }
                (5, Value::Number(bytes)) => message.pending_bytes = int32(bytes),
                _ => {}
            }
        }
        Ok(message)
    }

    fn read_wants(&mut self, list: &Bytes) -> Result<(), Malformed> {
        let mut fields = Fields::of(list);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(entry)) => {
                    room(self.entries.len())?;
                    self.entries.push(Entry::decode(&entry)?);
                }
                (2, Value::Number(full)) => self.full = full != 0,
                _ => {}
            }
        }
        Ok(())
    }
}

fn room(have: usize) -> Result<(), Malformed> {
    if have < MOST_ENTRIES { Ok(()) } else { Err(Malformed("it names too many things")) }
}

fn cid_bytes(bytes: Bytes) -> Result<Bytes, Malformed> {
    if bytes.is_empty() || bytes.len() > MOST_CID { Err(Malformed("that is no CID")) } else { Ok(bytes) }
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.cid.len() + 20);
        write_bytes(1, &self.cid, &mut out);
        // Negative numbers have ten bytes; ours never are.
        write_varint(2, u64::from(self.priority.max(0).unsigned_abs()), &mut out);
        if self.cancel {
            write_varint(3, 1, &mut out);
        }
        if self.kind == WantKind::Have {
            write_varint(4, 1, &mut out);
        }
        if self.send_dont_have {
            write_varint(5, 1, &mut out);
        }
        out
    }

    fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut entry = Self {
            cid: Bytes::new(),
            priority: 0,
            cancel: false,
            kind: WantKind::Block,
            send_dont_have: false,
        };
        let mut fields = Fields::of(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(cid)) => entry.cid = cid_bytes(cid)?,
                (2, Value::Number(priority)) => entry.priority = int32(priority),
                (3, Value::Number(cancel)) => entry.cancel = cancel != 0,
                (4, Value::Number(kind)) => {
                    entry.kind = if kind == 1 { WantKind::Have } else { WantKind::Block };
                }
                (5, Value::Number(send)) => entry.send_dont_have = send != 0,
                _ => {}
            }
        }
        if entry.cid.is_empty() { Err(Malformed("a want without a CID")) } else { Ok(entry) }
    }
}

impl Block {
    fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut block = Self { prefix: Bytes::new(), data: Bytes::new() };
        let mut fields = Fields::of(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(prefix)) if prefix.len() <= MOST_CID => block.prefix = prefix,
                (2, Value::Bytes(data)) => block.data = data,
                (1 | 2, _) => return Err(Malformed("a block's fields are bytes")),
                _ => {}
            }
        }
        Ok(block)
    }
}

impl Presence {
    fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut presence = Self { cid: Bytes::new(), has: true };
        let mut fields = Fields::of(bytes);
        while let Some((field, value)) = fields.next()? {
            match (field, value) {
                (1, Value::Bytes(cid)) => presence.cid = cid_bytes(cid)?,
                (2, Value::Number(kind)) => presence.has = kind == 0,
                _ => {}
            }
        }
        if presence.cid.is_empty() { Err(Malformed("a presence without a CID")) } else { Ok(presence) }
    }
}

/// Protobuf writes an int32 as 64 bits.
fn int32(number: u64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "so protobuf reads it")]
    {
        number as i32
    }
}

enum Value {
    Number(u64),
    Bytes(Bytes),
}

/// The fields of a protobuf message, in order.
struct Fields {
    rest: Bytes,
}

impl Fields {
    fn of(bytes: &Bytes) -> Self {
        Self { rest: bytes.clone() }
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let (number, taken) = read_number(&self.rest).ok_or(Malformed("a number is cut or too long"))?;
        let _ = self.rest.split_to(taken);
        Ok(number)
    }

    fn skip(&mut self, bytes: usize) -> Result<Bytes, Malformed> {
        if bytes > self.rest.len() { Err(Malformed("a field is cut")) } else { Ok(self.rest.split_to(bytes)) }
    }

    fn next(&mut self) -> Result<Option<(u64, Value)>, Malformed> {
        while !self.rest.is_empty() {
            let key = self.number()?;
            let field = key >> 3;
            match key & 7 {
                0 => return Ok(Some((field, Value::Number(self.number()?)))),
                2 => {
                    let len = usize::try_from(self.number()?).unwrap_or(usize::MAX);
                    return Ok(Some((field, Value::Bytes(self.skip(len)?))));
                }
                1 => drop(self.skip(8)?),
                5 => drop(self.skip(4)?),
                _ => return Err(Malformed("an unknown kind of field")),
            }
        }
        Ok(None)
    }
}

/// The number at the start, and how many bytes it takes.
pub(crate) fn read_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

pub(crate) fn write_number(value: u64, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

fn write_varint(field: u64, value: u64, out: &mut Vec<u8>) {
    write_number(field << 3, out);
    write_number(value, out);
}

fn write_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    write_number(field << 3 | 2, out);
    write_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Bytes of a field of so many bytes whose number is below 16.
fn field_len(bytes: usize) -> usize {
    let number = (64 - (bytes as u64 | 1).leading_zeros() as usize).div_ceil(7);
    1 + number + bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let cid = Cid::v0(b"a node");
        let raw = Cid::v1(Codec::Raw, b"bytes");
        let entry = |cid: &Cid, kind, cancel| Entry {
            cid: cid.to_bytes().into(),
            priority: 7,
            cancel,
            kind,
            send_dont_have: !cancel,
        };
        Message {
            entries: vec![entry(&cid, WantKind::Have, false), entry(&raw, WantKind::Block, true)],
            full: true,
            blocks: vec![
                Block::new(&cid, Bytes::from_static(b"a node")),
                Block::new(&raw, Bytes::from_static(b"bytes")),
                Block::new(&raw, Bytes::from(vec![7; 300])),
            ],
            presences: vec![
                Presence { cid: cid.to_bytes().into(), has: true },
                Presence { cid: raw.to_bytes().into(), has: false },
            ],
            pending_bytes: 70_000,
        }
    }

    #[test]
    fn comes_back_and_no_cut_makes_it_panic() {
        let message = message();
        let bytes = Bytes::from(message.encode());
        assert_eq!(Message::decode(&bytes), Ok(message));
        for cut in 0..bytes.len() {
            let _ = Message::decode(&bytes.slice(..cut));
        }
        for at in 0..bytes.len() {
            let mut other = bytes.to_vec();
            other[at] ^= 0xff;
            let _ = Message::decode(&other.into());
        }
    }

    #[test]
    fn the_bytes_are_those_of_other_implementations() {
        // Written by hand from the protocol's schema.
        let cid = Cid::v1(Codec::Raw, b"x").to_bytes();
        let mut entry = vec![0x0a, 36];
        entry.extend(&cid);
        entry.extend([0x10, 1, 0x20, 1, 0x28, 1]);
        let mut expected = vec![0x0a, 2 + 44, 0x0a, 44];
        expected.extend(&entry);
        let message = Message {
            entries: vec![Entry {
                cid: cid.into(),
                priority: 1,
                cancel: false,
                kind: WantKind::Have,
                send_dont_have: true,
            }],
            ..Message::default()
        };
        assert_eq!(message.encode(), expected);
        let block = Block::new(&Cid::v1(Codec::Raw, b"x"), Bytes::from_static(b"x"));
        assert_eq!(&block.prefix[..], [1, 0x55, 0x12, 0x20]);
        let message = Message { blocks: vec![block], ..Message::default() };
        assert_eq!(message.encode(), [0x1a, 9, 0x0a, 4, 1, 0x55, 0x12, 0x20, 0x12, 1, b'x']);
    }

    #[test]
    fn a_block_has_the_name_that_its_bytes_give_it() {
        for cid in [Cid::v0(b"x"), Cid::v1(Codec::Raw, b"x"), Cid::v1(Codec::DagCbor, b"x")] {
            assert_eq!(Block::new(&cid, Bytes::from_static(b"x")).cid(), Some(cid));
            assert_ne!(Block::new(&cid, Bytes::from_static(b"y")).cid(), Some(cid));
        }
        for prefix in [&[][..], &[1, 0x55, 0x13, 64], &[1, 0x55, 0x12], &[0, 0x55, 0x12, 32], &[2; 200]] {
            let block = Block { prefix: Bytes::copy_from_slice(prefix), data: Bytes::new() };
            assert_eq!(block.cid(), None);
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let entry = message().entries.remove(0);
        let mut many = Message { entries: vec![entry; MOST_ENTRIES], ..Message::default() };
        assert!(Message::decode(&many.encode().into()).is_ok());
        many.entries.push(many.entries[0].clone());
        assert!(Message::decode(&many.encode().into()).is_err());
        let empty = [0x22, 0].repeat(10);
        assert!(Message::decode(&empty.into()).is_err(), "a presence without a CID");
        assert!(Message::decode(&Bytes::from_static(b"GET / HTTP/1.1")).is_err());
    }
}

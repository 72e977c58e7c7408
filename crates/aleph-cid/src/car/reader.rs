use super::error::MAX_HEADER;
use super::header::{self, Parsed};
use super::{CarError, CarHeader};
use crate::cid::Cid;
use crate::layout::MAX_BLOCK;
use crate::varint;

/// Most bytes of a CID before a block.
const MAX_CID: u64 = 128;
/// The header of version 2 after its first eleven bytes.
const VERSION_2_HEADER: usize = 40;
/// Where that header ends in the archive.
const VERSION_2_START: u64 = 51;

/// What a [`CarReader`] puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarLimits {
    /// Largest archive, in bytes.
    pub bytes: u64,
    /// Most blocks.
    pub blocks: u64,
    /// Largest block, in bytes.
    pub block: usize,
    /// Whether archives of version 2 are taken: their inner archive is read, the index is passed over.
    pub version_2: bool,
}

impl Default for CarLimits {
    /// The reference's largest upload (`spec: ccn-api.md §10`), version 1 only, as it takes.
    fn default() -> Self {
        Self { bytes: 4 << 30, blocks: 1 << 22, block: MAX_BLOCK, version_2: false }
    }
}

/// What a [`CarReader`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarItem<'a> {
    /// The header: always the first item, and there is one.
    Header(CarHeader),
    /// A block that matches its CID.
    Block {
        /// Its name.
        cid: Cid,
        /// Its bytes.
        block: &'a [u8],
        /// Where those bytes start in the archive: an index of an archive needs no copy of its blocks.
        offset: u64,
    },
}

/// What a [`CarReader`] has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CarTotals {
    /// Bytes of the archive.
    pub bytes: u64,
    /// Blocks, counted as often as they stand in it.
    pub blocks: u64,
    /// Bytes of those blocks.
    pub block_bytes: u64,
}

/// Reads an archive piece by piece, however it is cut; every block is checked against its CID.
///
/// Holds at most one block. That a block is right says nothing about what is missing: follow the
/// root with [`crate::DagWalk`] afterwards. See [`crate::car_section_head`] for an example.
#[derive(Debug)]
pub struct CarReader {
    limits: CarLimits,
    state: State,
    /// The start of a length, or of a part that is not complete yet.
    buffer: Vec<u8>,
    /// Whether `buffer` was handed out and is to be forgotten.
    used: bool,
    totals: CarTotals,
    /// Where the inner archive of version 2 ends.
    end: Option<u64>,
    has_header: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A length comes next.
    Length,
    /// A part of this many bytes: the header, or a block with its CID.
    Part(usize),
    /// The header of version 2.
    Version2,
    /// Bytes to pass over before the inner archive.
    Skip(u64),
    /// The index of version 2, up to the end of the input.
    Rest,
    /// An error was found.
    Refused,
}

/// Where the bytes of a complete part are.
enum Part<'a> {
    Input(&'a [u8]),
    Buffer,
}

impl CarReader {
    /// Before the first byte.
    pub fn new(limits: CarLimits) -> Self {
        Self {
            limits,
            state: State::Length,
            buffer: Vec::new(),
            used: false,
            totals: CarTotals::default(),
            end: None,
            has_header: false,
        }
    }

    /// Takes bytes off the front of `input` up to the next item; none when `input` is used up.
    ///
    /// # Errors
    ///
    /// What is no archive, a block that does not match its CID, or more than the limits allow. All
    /// are final.
    pub fn next_item<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<CarItem<'a>>, CarError> {
        let found = self.advance(input);
        match found {
            Ok(None) => Ok(None),
            Ok(Some(Found::Header(header))) => Ok(Some(CarItem::Header(header))),
            Ok(Some(Found::Block(cid, part))) => {
                let block = match part {
                    Part::Input(block) => block,
                    Part::Buffer => &self.buffer[cid.encoded_len()..],
                };
                // A block is handed out when its last byte came, and before the next is looked at.
                let offset = self.totals.bytes - block.len() as u64;
                Ok(Some(CarItem::Block { cid, block, offset }))
            }
            Err(error) => {
                self.state = State::Refused;
                self.buffer = Vec::new();
                Err(error)
            }
        }
    }

    /// What was read so far.
    pub fn totals(&self) -> CarTotals {
        self.totals
    }

    /// Says that the input has ended.
    ///
    /// # Errors
    ///
    /// The archive is not complete.
    pub fn finish(self) -> Result<CarTotals, CarError> {
        let at = self.totals.bytes;
        match self.state {
            State::Refused => Err(CarError::Refused),
            _ if !self.has_header => Err(CarError::TruncatedHeader),
            State::Rest => Ok(self.totals),
            State::Length if self.end.is_none() && (self.used || self.buffer.is_empty()) => Ok(self.totals),
            _ => Err(CarError::Truncated { at }),
        }
    }

    fn advance<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Found<'a>>, CarError> {
        if self.used {
            self.buffer.clear();
            self.used = false;
        }
        loop {
            match self.state {
                State::Refused => return Err(CarError::Refused),
                State::Length => {
                    if self.end == Some(self.totals.bytes) && self.buffer.is_empty() {
                        self.end = None;
                        self.state = State::Rest;
                        continue;
                    }
                    let Some(len) = self.length(input)? else { return Ok(None) };
                    self.state = State::Part(self.check_length(len)?);
                }
                State::Part(len) => {
                    let Some(part) = self.part(len, input)? else { return Ok(None) };
                    self.state = State::Length;
                    let bytes = match &part {
                        Part::Input(bytes) => bytes,
                        Part::Buffer => self.buffer.as_slice(),
                    };
                    if self.has_header {
                        let at = self.totals.bytes - len as u64;
                        let cid = check_block(bytes, at, self.limits.block)?;
                        self.totals.blocks += 1;
                        self.totals.block_bytes += (len - cid.encoded_len()) as u64;
                        self.used = matches!(part, Part::Buffer);
                        let part = match part {
                            Part::Input(bytes) => Part::Input(&bytes[cid.encoded_len()..]),
                            Part::Buffer => Part::Buffer,
                        };
                        return Ok(Some(Found::Block(cid, part)));
                    }
                    let parsed = header::parse(bytes)?;
                    self.buffer.clear();
                    match parsed {
                        Parsed::Version1(header) => {
                            self.has_header = true;
                            return Ok(Some(Found::Header(header)));
                        }
                        Parsed::Version2 if self.limits.version_2 && self.end.is_none() => {
                            self.state = State::Version2;
                        }
                        Parsed::Version2 => return Err(CarError::UnsupportedVersion(2)),
                    }
                }
                State::Version2 => {
                    let Some(part) = self.part(VERSION_2_HEADER, input)? else { return Ok(None) };
                    let bytes = match &part {
                        Part::Input(bytes) => bytes,
                        Part::Buffer => self.buffer.as_slice(),
                    };
                    let (skip, end) = version_2(bytes)?;
                    self.buffer.clear();
                    self.end = Some(end);
                    self.state = State::Skip(skip);
                }
                State::Skip(0) => self.state = State::Length,
                State::Skip(left) => {
                    let step = left.min(input.len() as u64);
                    if step == 0 {
                        return Ok(None);
                    }
                    self.take(step as usize, input)?;
                    self.state = State::Skip(left - step);
                }
                State::Rest => {
                    self.take(input.len(), input)?;
                    return Ok(None);
                }
            }
        }
    }

    /// A length, once all its bytes came.
    fn length(&mut self, input: &mut &[u8]) -> Result<Option<u64>, CarError> {
        while let Some(byte) = input.first() {
            self.buffer.push(*byte);
            self.take(1, input)?;
            if byte & 0x80 != 0 && self.buffer.len() < varint::MOST_BYTES {
                continue;
            }
            let at = self.totals.bytes - self.buffer.len() as u64;
            let (value, taken) = varint::read(&self.buffer).map_err(|_| CarError::MalformedVarint { at })?;
            if taken != varint::len(value) {
                return Err(CarError::MalformedVarint { at });
            }
            self.buffer.clear();
            return Ok(Some(value));
        }
        Ok(None)
    }

    fn check_length(&self, len: u64) -> Result<usize, CarError> {
        let at = self.totals.bytes;
        if !self.has_header {
            return match len {
                0 => Err(CarError::MalformedHeader("it is empty")),
                1..=MAX_HEADER => Ok(len as usize),
                _ => Err(CarError::HeaderTooLarge(len)),
            };
        }
        let limit = self.limits.block as u64 + MAX_CID;
        if len == 0 {
            return Err(CarError::EmptySection { at });
        }
        if len > limit {
            return Err(CarError::SectionTooLarge { at, len, limit });
        }
        if self.end.is_some_and(|end| at.saturating_add(len) > end) {
            return Err(CarError::MalformedVersion2("a block reaches beyond the inner archive"));
        }
        if self.totals.blocks == self.limits.blocks {
            return Err(CarError::TooManyBlocks { limit: self.limits.blocks });
        }
        Ok(len as usize)
    }

    /// The next `len` bytes: straight from the input when they are all there.
    fn part<'a>(&mut self, len: usize, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, CarError> {
        if self.buffer.is_empty() && input.len() >= len {
            return Ok(Some(Part::Input(self.take(len, input)?)));
        }
        let bytes = self.take(input.len().min(len - self.buffer.len()), input)?;
        self.buffer.extend_from_slice(bytes);
        Ok((self.buffer.len() == len).then_some(Part::Buffer))
    }

    fn take<'a>(&mut self, count: usize, input: &mut &'a [u8]) -> Result<&'a [u8], CarError> {
        let (head, rest) = input.split_at(count);
        *input = rest;
        self.totals.bytes += count as u64;
        if self.totals.bytes > self.limits.bytes {
            return Err(CarError::TooLarge { limit: self.limits.bytes });
        }
        Ok(head)
    }
}

enum Found<'a> {
    Header(CarHeader),
    Block(Cid, Part<'a>),
}

fn check_block(part: &[u8], at: u64, limit: usize) -> Result<Cid, CarError> {
    let (cid, taken) = Cid::read(part).map_err(|source| CarError::MalformedSection { at, source })?;
    let block = &part[taken..];
    if block.len() > limit {
        return Err(CarError::SectionTooLarge { at, len: part.len() as u64, limit: limit as u64 });
    }
    if cid.matches(block) { Ok(cid) } else { Err(CarError::WrongBlock(cid)) }
}

/// How many bytes stand before the inner archive, and where it ends.
fn version_2(header: &[u8]) -> Result<(u64, u64), CarError> {
    let number =
        |at: usize| header[at..at + 8].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let (data, size, index) = (number(16), number(24), number(32));
    let skip = data
        .checked_sub(VERSION_2_START)
        .ok_or(CarError::MalformedVersion2("the inner archive starts inside the header"))?;
    let end = data.checked_add(size).ok_or(CarError::MalformedVersion2("the inner archive never ends"))?;
    if size == 0 {
        return Err(CarError::MalformedVersion2("there is no inner archive"));
    }
    if index != 0 && index < end {
        return Err(CarError::MalformedVersion2("the index stands inside the archive"));
    }
    Ok((skip, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::car::car_section_head;
    use crate::cid::Codec;

    type Read = (Vec<Cid>, Vec<(Cid, Vec<u8>)>, CarTotals);

    /// Reads an archive in pieces of `step` bytes.
    fn read(archive: &[u8], step: usize, limits: CarLimits) -> Result<Read, CarError> {
        let mut reader = CarReader::new(limits);
        let (mut roots, mut blocks) = (Vec::new(), Vec::new());
        for piece in archive.chunks(step) {
            let mut input = piece;
            while let Some(item) = reader.next_item(&mut input)? {
                match item {
                    CarItem::Header(header) => roots.extend(header.roots()),
                    CarItem::Block { cid, block, offset } => {
                        assert!(archive[offset as usize..].starts_with(block));
                        blocks.push((cid, block.to_vec()));
                    }
                }
            }
            assert!(input.is_empty());
        }
        Ok((roots, blocks, reader.finish()?))
    }

    fn archive(blocks: &[&[u8]]) -> Vec<u8> {
        let cids: Vec<Cid> = blocks.iter().map(|block| Cid::v1(Codec::Raw, block)).collect();
        let mut archive = CarHeader::new(cids[..1].to_vec()).encode();
        for (cid, block) in cids.iter().zip(blocks) {
            archive.extend(car_section_head(cid, block.len()));
            archive.extend(*block);
        }
        archive
    }

    fn version_2_of(inner: &[u8], padding: usize, index: &[u8]) -> Vec<u8> {
        let mut out = b"\x0a\xa1\x67version\x02".to_vec();
        out.extend([0; 16]);
        let start = VERSION_2_START + padding as u64;
        let end = start + inner.len() as u64;
        for number in [start, inner.len() as u64, if index.is_empty() { 0 } else { end }] {
            out.extend(number.to_le_bytes());
        }
        out.extend(vec![0; padding]);
        out.extend(inner);
        out.extend(index);
        out
    }

    #[test]
    fn every_cut_reads_the_same() {
        let archive = archive(&[b"one", b"", b"three"]);
        let whole = read(&archive, archive.len(), CarLimits::default()).unwrap();
        assert_eq!(whole.2, CarTotals { bytes: archive.len() as u64, blocks: 3, block_bytes: 8 });
        for step in 1..archive.len() {
            assert_eq!(read(&archive, step, CarLimits::default()), Ok(whole.clone()), "{step}");
        }
    }

    #[test]
    fn a_cut_archive_is_refused_unless_it_ends_with_a_block() {
        let archive = archive(&[b"one", b"two"]);
        let ends: Vec<usize> = [0, 1, 2].map(|blocks| archive.len() - (2 - blocks) * 40).to_vec();
        for cut in 0..archive.len() {
            let read = read(&archive[..cut], 7, CarLimits::default());
            assert_eq!(read.is_ok(), ends.contains(&cut), "{cut}: {read:?}");
            if cut < ends[0] {
                assert_eq!(read, Err(CarError::TruncatedHeader));
            }
        }
    }

    #[test]
    fn bounds_hold_before_memory_is_taken() {
        let good = archive(&[b"one", b"two"]);
        let header = good.len() - 80;
        let with = |limits| read(&good, 11, limits);
        let limits = CarLimits::default();
        assert_eq!(with(CarLimits { blocks: 1, ..limits }), Err(CarError::TooManyBlocks { limit: 1 }));
        assert_eq!(with(CarLimits { bytes: 100, ..limits }), Err(CarError::TooLarge { limit: 100 }));
        assert!(matches!(with(CarLimits { block: 2, ..limits }), Err(CarError::SectionTooLarge { .. })));

        let mut huge = good[..header].to_vec();
        varint::write(u64::MAX, &mut huge);
        assert!(matches!(read(&huge, 3, limits), Err(CarError::SectionTooLarge { len: u64::MAX, .. })));
        let mut empty = good.clone();
        empty.push(0);
        assert!(matches!(read(&empty, 3, limits), Err(CarError::EmptySection { .. })));

        assert_eq!(read(&[0x81, 0x40], 1, limits), Err(CarError::HeaderTooLarge(8193)));
        assert_eq!(read(&[0xff; 11], 1, limits), Err(CarError::MalformedVarint { at: 0 }));
        assert_eq!(read(&[0x81, 0x00], 1, limits), Err(CarError::MalformedVarint { at: 0 }));
        assert_eq!(read(&[], 1, limits), Err(CarError::TruncatedHeader));
    }

    #[test]
    fn a_refused_archive_stays_refused() {
        let mut bad = archive(&[b"one", b"two"]);
        let at = bad.len() - 41;
        bad[at] ^= 1;
        let mut reader = CarReader::new(CarLimits::default());
        let mut input = &bad[..];
        assert!(matches!(reader.next_item(&mut input), Ok(Some(CarItem::Header(_)))));
        assert!(matches!(reader.next_item(&mut input), Err(CarError::WrongBlock(_))));
        assert_eq!(reader.next_item(&mut input), Err(CarError::Refused));
        assert_eq!(reader.finish(), Err(CarError::Refused));
    }

    #[test]
    fn version_2_is_read_where_it_is_allowed() {
        let inner = archive(&[b"one", b"two"]);
        let expected = read(&inner, 9, CarLimits::default()).unwrap();
        let limits = CarLimits { version_2: true, ..CarLimits::default() };
        for (padding, index) in [(0, &b""[..]), (13, b""), (0, b"index"), (5, b"index")] {
            let archive = version_2_of(&inner, padding, index);
            for step in [1, 8, archive.len()] {
                let (roots, blocks, totals) = read(&archive, step, limits).unwrap();
                assert_eq!((&roots, &blocks), (&expected.0, &expected.1));
                assert_eq!(totals.bytes, archive.len() as u64);
            }
            assert_eq!(read(&archive, 8, CarLimits::default()), Err(CarError::UnsupportedVersion(2)));
            let cut = VERSION_2_START as usize + padding + inner.len() - 1;
            assert!(read(&archive[..cut], 8, limits).is_err());
        }
        let nested = version_2_of(&version_2_of(&inner, 0, b""), 0, b"");
        assert_eq!(read(&nested, 8, limits), Err(CarError::UnsupportedVersion(2)));
        for (at, value) in [(27, 0u64), (27, u64::MAX), (35, 0), (35, u64::MAX), (35, 100), (43, 60)] {
            let mut archive = version_2_of(&inner, 0, b"index");
            archive[at..at + 8].copy_from_slice(&value.to_le_bytes());
            assert!(read(&archive, 8, limits).is_err(), "{at} {value}");
        }
    }
}

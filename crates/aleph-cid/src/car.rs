mod error;
mod export;
mod header;
mod index;
mod reader;

pub use error::CarError;
pub use export::export_car;
pub use header::CarHeader;
pub use index::{CarIndex, CarIndexer, IndexEntry, IndexError, MAX_INDEXED};
pub use reader::{CarItem, CarLimits, CarReader, CarTotals};

use crate::cid::Cid;
use crate::varint;

/// What stands before a block in a CAR: its length with its CID, and the CID. The block follows.
///
/// ```
/// use aleph_cid::{CarHeader, CarItem, CarLimits, CarReader, Cid, Codec, car_section_head};
///
/// let cid = Cid::v1(Codec::Raw, b"hello");
/// let mut car = CarHeader::new(vec![cid]).encode();
/// car.extend(car_section_head(&cid, 5));
/// car.extend(b"hello");
///
/// let mut reader = CarReader::new(CarLimits::default());
/// let mut input = &car[..];
/// let mut blocks = Vec::new();
/// while let Some(item) = reader.next_item(&mut input).unwrap() {
///     if let CarItem::Block { cid, block, .. } = item {
///         blocks.push((cid, block.to_vec()));
///     }
/// }
/// assert_eq!(reader.finish().unwrap().blocks, 1);
/// assert_eq!(blocks, [(cid, b"hello".to_vec())]);
/// ```
pub fn car_section_head(cid: &Cid, block_len: usize) -> Vec<u8> {
    let cid_len = cid.encoded_len();
    let mut head = Vec::with_capacity(varint::MOST_BYTES + cid_len);
    varint::write((cid_len + block_len) as u64, &mut head);
    head.extend(cid.to_bytes());
    head
}

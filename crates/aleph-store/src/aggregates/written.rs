//! What the digest will need when a field is overwritten that was written lately.

use std::hash::{BuildHasher, RandomState};

use aleph_types::ItemHash;

use crate::digest::RowHash;

/// Fields that are remembered, some 200 bytes each.
const PLACES: usize = 2_048;

/// The hashes of rows of `aggregate_fields`, by the element that set the field. They never change, for a
/// content does not: whether the row was committed plays no part. Each field has one place, where a later
/// one overwrites it. Keys that many elements share save a question and a hash for every field.
#[derive(Debug, Default)]
pub(crate) struct WrittenFields {
    places: Vec<Option<Written>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Written {
    element: ItemHash,
    field: Box<str>,
    row: RowHash,
}

impl WrittenFields {
    pub(crate) fn remember(&mut self, element: &ItemHash, field: &str, row: RowHash) {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = self.place(element, field);
        self.places[place] = Some(Written { element: element.clone(), field: field.into(), row });
    }

    /// The hash of the row with which this element set the field, if that is remembered; most often it is
    /// asked for once.
    pub(crate) fn take(&mut self, element: &ItemHash, field: &str) -> Option<RowHash> {
        let place = self.place(element, field);
        let written = self.places.get_mut(place)?;
        let row = written.as_ref().filter(|known| known.element == *element && *known.field == *field)?.row;
        *written = None;
        Some(row)
    }

    fn place(&self, element: &ItemHash, field: &str) -> usize {
        self.hasher.hash_one((element.as_str(), field)) as usize % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_element_and_name_only() {
        let (one, other) = (ItemHash::sha256(b"1"), ItemHash::sha256(b"2"));
        let mut written = WrittenFields::default();
        assert_eq!(written.take(&one, "a"), None);
        written.remember(&one, "a", [1; 4]);
        assert_eq!(written.take(&other, "a"), None);
        assert_eq!(written.take(&one, "b"), None);
        assert_eq!(written.take(&one, "a"), Some([1; 4]));
        assert_eq!(written.take(&one, "a"), None);
        for number in 0..100_000_u32 {
            written.remember(&ItemHash::sha256(&number.to_le_bytes()), "a", [2; 4]);
        }
        assert_eq!(written.places.len(), PLACES);
    }
}

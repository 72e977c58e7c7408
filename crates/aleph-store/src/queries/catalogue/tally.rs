//! How many messages each sender sent.

use aleph_types::MessageType;

use super::facts::Column;
use super::{Known, removing};

/// How many messages each sender has of each type, by the numbers of the columns' texts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// [`KINDS`] for each sender.
    counts: Vec<u32>,
}

/// Types of messages, and none.
const KINDS: usize = MessageType::ALL.len() + 1;

impl Tally {
    pub(super) fn of(known: &Known) -> Self {
        let mut tally = Self::default();
        if let Some(types) = known.columns.get(&Column::Type) {
            for place in (0u32..).take(types.value.of.len()) {
                tally.add(known, place, u32::wrapping_add);
            }
        }
        tally
    }

    /// Counts a message that counts, up or down.
    pub(super) fn add(&mut self, known: &Known, place: u32, count: fn(u32, u32) -> u32) {
        let number = |column| known.columns.get(&column).map_or(0, |values| values.value.number_of(place));
        let (sender, kind) = (number(Column::Sender) as usize, number(Column::Type) as usize);
        let is_removing = known.sets.get(&removing()).is_some_and(|set| set.value.contains(place));
        if sender == 0 || kind == 0 || kind >= KINDS || is_removing {
            return;
        }
        let at = sender * KINDS + kind;
        if at >= self.counts.len() {
            self.counts.resize((sender + 1) * KINDS, 0);
        }
        self.counts[at] = count(self.counts[at], 1);
    }

    pub(super) fn get(&self, sender: u32, kind: u32) -> u32 {
        self.counts.get(sender as usize * KINDS + kind as usize).copied().unwrap_or_default()
    }
}

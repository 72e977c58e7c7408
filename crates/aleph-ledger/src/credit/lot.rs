use aleph_types::{Address, ItemHash, Timestamp};

/// When an operation counts: operations are applied in this order, whenever they arrive.
///
/// At the same `content.time` expenses come last, so that a lot can pay for what was spent in the
/// instant in which it was granted; then the hash decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// `content.time` of the post.
    pub time: Timestamp,
    /// Whether it is an expense.
    pub is_expense: bool,
    /// The post.
    pub message: ItemHash,
}

/// The identity of a lot, and its place in the order in which lots are spent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LotKey {
    /// `content.time` of the post that made it.
    pub time: Timestamp,
    /// The post (`credit_ref`).
    pub message: ItemHash,
    /// Place within the post (`credit_index`).
    pub index: u32,
}

/// Credits of one account that came together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lot {
    /// Identity and place.
    pub key: LotKey,
    /// Whose.
    pub owner: Address,
    /// Credits left, 0 or more.
    pub remaining: i64,
    /// From when on it can't be used; `None`: never.
    pub expiration: Option<Timestamp>,
}

impl Lot {
    /// Whether an operation at `moment` may spend this lot: it was there before, and has not expired.
    pub fn is_usable_at(&self, moment: &Moment) -> bool {
        let exists = self.key.time < moment.time
            || (self.key.time == moment.time && (moment.is_expense || self.key.message < moment.message));
        exists && self.is_valid_at(moment.time)
    }

    /// Whether the lot has not expired at `time`.
    pub fn is_valid_at(&self, time: Timestamp) -> bool {
        self.expiration.is_none_or(|expiration| expiration > time)
    }
}

/// A part of a lot that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Portion {
    pub(super) amount: i64,
    pub(super) expiration: Option<Timestamp>,
}

/// Takes up to `amount` from lots in their order; what is lacking is dropped. Returns what was taken.
pub(super) fn drain(lots: &mut [Lot], moment: &Moment, amount: i64) -> Vec<Portion> {
    lots.sort_by(|a, b| a.key.cmp(&b.key));
    let mut open = amount;
    let mut portions = Vec::new();
    for lot in lots.iter_mut().filter(|lot| lot.remaining > 0 && lot.is_usable_at(moment)) {
        if open == 0 {
            break;
        }
        let taken = lot.remaining.min(open);
        lot.remaining -= taken;
        open -= taken;
        portions.push(Portion { amount: taken, expiration: lot.expiration });
    }
    portions
}

/// What a recipient gets of these portions: each expires at the earlier of its own and the requested
/// time, neighbours that expire together are one.
pub(super) fn received(portions: &[Portion], requested: Option<Timestamp>) -> Vec<Portion> {
    let mut merged: Vec<Portion> = Vec::with_capacity(portions.len());
    for portion in portions {
        let expiration = match (portion.expiration, requested) {
            (Some(own), Some(requested)) => Some(own.min(requested)),
            (own, requested) => own.or(requested),
        };
        match merged.last_mut().filter(|last| last.expiration == expiration) {
            Some(last) => last.amount = last.amount.saturating_add(portion.amount),
            None => merged.push(Portion { amount: portion.amount, expiration }),
        }
    }
    merged
}

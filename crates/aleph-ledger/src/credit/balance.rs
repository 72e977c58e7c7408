use std::collections::BTreeMap;

use aleph_types::Timestamp;

use super::Lot;

/// The part of a balance that expires at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditShare {
    /// When; `None`: never.
    pub expiration: Option<Timestamp>,
    /// Credits, above 0.
    pub amount: i128,
}

/// What an account can spend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreditBalance {
    /// Credits, 0 or more.
    pub total: i128,
    /// By expiration: never first, then ascending.
    pub shares: Vec<CreditShare>,
}

impl CreditBalance {
    /// The balance of the account that owns these lots, at `now`.
    pub fn of<'a>(lots: impl IntoIterator<Item = &'a Lot>, now: Timestamp) -> Self {
        let mut shares: BTreeMap<Option<Timestamp>, i128> = BTreeMap::new();
        for lot in lots.into_iter().filter(|lot| lot.remaining > 0 && lot.is_valid_at(now)) {
            *shares.entry(lot.expiration).or_default() += i128::from(lot.remaining);
        }
        // `None` is the smallest key.
        let shares: Vec<CreditShare> =
            shares.into_iter().map(|(expiration, amount)| CreditShare { expiration, amount }).collect();
        Self { total: shares.iter().map(|share| share.amount).sum(), shares }
    }
}

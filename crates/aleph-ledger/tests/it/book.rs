//! A ledger in memory: what a database does with the effects, as simply as possible.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use aleph_ledger::credit::{
    Applied, CreditBalance, CreditEffect, CreditFacts, CreditRules, EntryKind, HistoryPlace, HistoryRow, Lot,
    LotKey, Moment, Operation, apply,
};
use aleph_types::{Address, ItemHash, Timestamp};

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Book {
    pub(crate) rows: BTreeMap<HistoryPlace, HistoryRow>,
    pub(crate) lots: BTreeMap<LotKey, Lot>,
    /// Accounts to compute anew.
    pub(crate) deferred: BTreeSet<Address>,
}

impl Book {
    /// Applies an operation; how many accounts were computed anew, or `None` if it was known.
    pub(crate) fn apply(&mut self, operation: &Operation, rules: &CreditRules) -> Option<usize> {
        let Applied::Now { effects, rebuilt } = apply(operation, rules, self).unwrap() else { return None };
        self.store(effects);
        Some(rebuilt)
    }

    pub(crate) fn store(&mut self, effects: Vec<CreditEffect>) {
        for effect in effects {
            match effect {
                CreditEffect::AddRows(rows) => {
                    for row in rows {
                        assert!(self.rows.insert(row.place.clone(), row).is_none(), "a row twice");
                    }
                }
                CreditEffect::AddLot(lot) => {
                    assert!(self.lots.insert(lot.key.clone(), lot).is_none(), "a lot twice");
                }
                CreditEffect::SetRemaining { owner, key, remaining } => {
                    let lot = self.lots.get_mut(&key).unwrap();
                    assert_eq!(lot.owner, owner);
                    lot.remaining = remaining;
                }
                CreditEffect::ReplaceLots { owner, lots } => {
                    self.lots.retain(|_, lot| lot.owner != owner);
                    self.lots.extend(lots.into_iter().map(|lot| (lot.key.clone(), lot)));
                }
                CreditEffect::Defer(accounts) => self.deferred.extend(accounts),
                CreditEffect::ReplaceRows { message, rows } => {
                    self.rows.retain(|place, _| place.moment.message != message);
                    self.rows.extend(rows.into_iter().map(|row| (row.place.clone(), row)));
                }
            }
        }
    }

    pub(crate) fn balance(&self, account: &Address, now: Timestamp) -> CreditBalance {
        CreditBalance::of(self.lots.values().filter(|lot| lot.owner == *account), now)
    }

    pub(crate) fn sum_of_rows(&self, kind: EntryKind) -> i128 {
        self.rows.values().filter(|row| row.kind == kind).map(|row| i128::from(row.amount)).sum()
    }

    pub(crate) fn sum_of_lots(&self) -> i128 {
        self.lots.values().map(|lot| i128::from(lot.remaining)).sum()
    }
}

impl CreditFacts for Book {
    type Error = Infallible;

    fn is_applied(&mut self, message: &ItemHash) -> Result<bool, Infallible> {
        Ok(self.rows.keys().any(|place| place.moment.message == *message))
    }

    fn newest_drain(&mut self, account: &Address) -> Result<Option<Moment>, Infallible> {
        let drains = self
            .rows
            .values()
            .filter(|row| row.address == *account && matches!(row.kind, EntryKind::Spent | EntryKind::Sent));
        Ok(drains.map(|row| row.place.moment.clone()).max())
    }

    fn lots(&mut self, account: &Address) -> Result<Vec<Lot>, Infallible> {
        let lots = self.lots.values().filter(|lot| lot.owner == *account && lot.remaining > 0);
        Ok(lots.cloned().collect())
    }

    fn history(
        &mut self,
        account: &Address,
        after: Option<&HistoryPlace>,
        limit: usize,
    ) -> Result<Vec<HistoryRow>, Infallible> {
        let rows = self.rows.values().filter(|row| row.address == *account);
        Ok(rows.filter(|row| after.is_none_or(|after| row.place > *after)).take(limit).cloned().collect())
    }

    fn recipients(&mut self, sender: &Address, since: Option<&Moment>) -> Result<Vec<Address>, Infallible> {
        let sent = self.rows.values().filter(|row| {
            row.kind == EntryKind::Sent
                && row.address == *sender
                && since.is_none_or(|since| row.place.moment > *since)
        });
        let mut to: Vec<Address> =
            sent.map(|row| Address::from(row.origin.as_deref().unwrap_or_default())).collect();
        to.sort();
        to.dedup();
        Ok(to)
    }
}

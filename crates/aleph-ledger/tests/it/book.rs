//! A ledger in memory: what a database does with the effects, as simply as possible.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use aleph_ledger::credit::{
    Applied, CreditBalance, CreditEffect, CreditFacts, CreditRules, EntryKind, HistoryPlace, HistoryRow, Lot,
    LotKey, Moment, Operation, apply, settle,
};
use aleph_types::{Address, ItemHash, Timestamp};

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Book {
    pub(crate) rows: BTreeMap<HistoryPlace, HistoryRow>,
    /// By owner too: until everybody is settled, two accounts may have lots of one place.
    pub(crate) lots: BTreeMap<(Address, LotKey), Lot>,
    /// Accounts to compute anew.
    pub(crate) deferred: BTreeSet<Address>,
    /// How far that is for some of them, and their lots so far.
    pub(crate) settling: BTreeMap<Address, (HistoryPlace, BTreeMap<LotKey, Lot>)>,
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
                        self.touch(&row);
                        assert!(self.rows.insert(row.place.clone(), row).is_none(), "a row twice");
                    }
                }
                CreditEffect::AddLot(lot) => {
                    assert!(
                        self.lots.insert((lot.owner.clone(), lot.key.clone()), lot).is_none(),
                        "a lot twice"
                    );
                }
                CreditEffect::SetRemaining { owner, key, remaining } => {
                    let lot = self.lots.get_mut(&(owner, key)).unwrap();
                    lot.remaining = remaining;
                }
                CreditEffect::ReplaceLots { owner, lots } => {
                    self.lots.retain(|_, lot| lot.owner != owner);
                    self.lots.extend(lots.into_iter().map(|lot| ((lot.owner.clone(), lot.key.clone()), lot)));
                }
                CreditEffect::Defer(accounts) => {
                    for account in accounts {
                        self.settling.remove(&account);
                        self.deferred.insert(account);
                    }
                }
                CreditEffect::ReplaceRows { message, rows } => {
                    rows.iter().for_each(|row| self.touch(row));
                    self.rows.retain(|place, _| place.moment.message != message);
                    self.rows.extend(rows.into_iter().map(|row| (row.place.clone(), row)));
                }
            }
        }
    }

    /// Who is settled beyond a row that comes begins anew.
    fn touch(&mut self, row: &HistoryRow) {
        if self.settling.get(&row.address).is_some_and(|(after, _)| row.place.moment <= after.moment) {
            self.settling.remove(&row.address);
        }
    }

    /// One page of one deferred account.
    pub(crate) fn settle(&mut self, account: &Address, most: usize, rules: &CreditRules) {
        let (after, mut lots) = match self.settling.remove(account) {
            Some((after, lots)) => (Some(after), lots),
            None => (None, BTreeMap::new()),
        };
        let open = lots.values().filter(|lot| lot.remaining > 0).cloned().collect();
        let page = settle(account, after.as_ref(), open, most, rules, self).unwrap();
        lots.extend(page.lots.into_iter().map(|lot| (lot.key.clone(), lot)));
        self.store(page.effects);
        match page.after {
            Some(after) => {
                self.settling.insert(account.clone(), (after, lots));
            }
            None => {
                self.deferred.remove(account);
                self.lots.retain(|_, lot| lot.owner != *account);
                self.lots.extend(lots.into_iter().map(|(key, lot)| ((lot.owner.clone(), key), lot)));
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

    fn post(&mut self, message: &ItemHash) -> Result<Vec<HistoryRow>, Infallible> {
        Ok(self.rows.values().filter(|row| row.place.moment.message == *message).cloned().collect())
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

//! Computing accounts anew from their history, when an operation arrives after later ones.
//!
//! Whom does it concern? The accounts that the operation touches, and everybody who got something from
//! them at or after it, and so on. Their histories are merged and replayed with the late operation in
//! its place. Histories are read in pages; only lots and one post at a time are in memory. How much is
//! read has a limit: beyond it the caller defers the work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aleph_types::Address;

use super::apply::Books;
use super::{
    CreditEffect, CreditFacts, CreditRules, EntryKind, HistoryPlace, HistoryRow, Moment, Operation, Transfer,
};

/// Rows that are read at once.
const PAGE: usize = 512;

/// One account's history, read in pages.
struct Stream {
    account: Address,
    rows: VecDeque<HistoryRow>,
    read_to: Option<HistoryPlace>,
    is_complete: bool,
}

impl Stream {
    fn head<F: CreditFacts>(&mut self, facts: &mut F) -> Result<Option<&HistoryRow>, F::Error> {
        if self.rows.is_empty() && !self.is_complete {
            let page = facts.history(&self.account, self.read_to.as_ref(), PAGE)?;
            self.is_complete = page.len() < PAGE;
            self.read_to = page.last().map(|row| row.place.clone()).or(self.read_to.take());
            self.rows = page.into();
        }
        Ok(self.rows.front())
    }
}

/// Everybody whom the operation concerns.
fn concerned<F: CreditFacts>(
    start: Vec<Address>,
    since: Option<&Moment>,
    limit: u64,
    facts: &mut F,
) -> Result<Option<BTreeSet<Address>>, F::Error> {
    let mut known = BTreeSet::new();
    let mut open = start;
    while let Some(account) = open.pop() {
        if known.insert(account.clone()) {
            if known.len() as u64 > limit {
                return Ok(None);
            }
            open.extend(facts.recipients(&account, since)?);
        }
    }
    Ok(Some(known))
}

/// Replays one post's rows. Returns the rows of a transfer by an account that is computed anew.
pub(super) fn replay(
    books: &mut Books,
    moment: &Moment,
    rows: &[HistoryRow],
    rules: &CreditRules,
) -> Vec<HistoryRow> {
    let sent: Vec<&HistoryRow> = rows.iter().filter(|row| row.kind == EntryKind::Sent).collect();
    if let Some(first) = sent.first() {
        // What others received of it follows from the sender's lots.
        let sender = first.address.clone();
        let transfers: Vec<Transfer> = sent
            .iter()
            .map(|row| Transfer {
                recipient: row.counterparty(),
                amount: row.amount.saturating_neg(),
                expiration: row.requested_expiration,
            })
            .collect();
        return books.transfer(&sender, moment, &transfers, rules);
    }
    for row in rows {
        match row.kind {
            EntryKind::Granted | EntryKind::Received => books.credit(row),
            EntryKind::Spent => books.spend(&row.address, moment, row.amount.saturating_neg()),
            EntryKind::Sent => {}
        }
    }
    Vec::new()
}

/// The effects, and how many accounts were computed anew; with `late` in its place. `None` when more than
/// `limit` accounts or rows would have to be read.
pub(super) fn run<F: CreditFacts>(
    late: Option<&Operation>,
    rules: &CreditRules,
    touched: Vec<Address>,
    limit: u64,
    facts: &mut F,
) -> Result<Option<(Vec<CreditEffect>, usize)>, F::Error> {
    let since = late.map(|late| &late.moment);
    let Some(accounts) = concerned(touched, since, limit, facts)? else { return Ok(None) };
    let mut read = 0u64;
    let rebuilt = accounts.len();
    let mut books = Books { lots: accounts.iter().map(|account| (account.clone(), Vec::new())).collect() };
    let mut streams: Vec<Stream> = accounts
        .into_iter()
        .map(|account| Stream { account, rows: VecDeque::new(), read_to: None, is_complete: false })
        .collect();
    // Which stream is next: by the place of its head.
    let mut heads: BTreeMap<(HistoryPlace, usize), ()> = BTreeMap::new();
    for (number, stream) in streams.iter_mut().enumerate() {
        if let Some(row) = stream.head(facts)? {
            heads.insert((row.place.clone(), number), ());
        }
    }
    let mut effects = Vec::new();
    let mut late = late;
    let mut own_rows: Option<Vec<HistoryRow>> = None;
    let mut is_affected = late.is_none();
    while let Some(((place, _), ())) = heads.first_key_value() {
        let moment = place.moment.clone();
        if let Some(operation) = late.take_if(|operation| moment > operation.moment) {
            own_rows = Some(books.operate(operation, rules));
            is_affected = true;
        }
        let mut rows: Vec<HistoryRow> = Vec::new();
        while let Some(first) = heads.first_entry().filter(|first| first.key().0.moment == moment) {
            let ((_, number), ()) = first.remove_entry();
            let Some(stream) = streams.get_mut(number) else { continue };
            rows.extend(stream.rows.pop_front());
            if let Some(row) = stream.head(facts)? {
                heads.insert((row.place.clone(), number), ());
            }
        }
        read += rows.len() as u64;
        if read > limit {
            return Ok(None);
        }
        let anew = replay(&mut books, &moment, &rows, rules);
        if is_affected && !anew.is_empty() && anew != rows {
            effects.push(CreditEffect::ReplaceRows { message: moment.message, rows: anew });
        }
    }
    let own_rows = own_rows.or_else(|| late.map(|operation| books.operate(operation, rules)));
    if let Some(rows) = own_rows {
        effects.insert(0, CreditEffect::AddRows(rows));
    }
    for (owner, mut lots) in books.lots {
        lots.sort_by(|a, b| a.key.cmp(&b.key));
        effects.push(CreditEffect::ReplaceLots { owner, lots });
    }
    Ok(Some((effects, rebuilt)))
}

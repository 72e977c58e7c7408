//! Settling what was deferred, one account and one page at a time.
//!
//! An account's lots follow from its own history: what it was given, and what it spent and sent, in the
//! order of moments. Its rows may be read in pages, for between two posts only its open lots matter. If a
//! transfer comes out split otherwise than its rows say, the rows are replaced and its recipients are
//! deferred in turn. What is right up to some moment stays right, and each step makes the next transfer
//! right: however the accounts are chosen, the end is the ledger of the definition.

use std::collections::BTreeMap;

use aleph_types::Address;

use super::apply::Books;
use super::rebuild::replay;
use super::{CreditEffect, CreditFacts, CreditRules, EntryKind, HistoryPlace, HistoryRow, Lot, LotKey};

/// Rows that are read at once.
const READ_AT_ONCE: usize = 512;

/// How far a page brought an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledPage {
    /// Lots of the account that the page made or spent from, as they are after it. They count when the
    /// account is complete.
    pub lots: Vec<Lot>,
    /// Rows of transfers that are split otherwise now, and the recipients whom that concerns.
    pub effects: Vec<CreditEffect>,
    /// Where the next page begins; `None`: the account is complete.
    pub after: Option<HistoryPlace>,
}

/// Replays the posts of an account after `after`, beginning with its lots there that have something left.
/// Stops with the post in which `most` rows are reached.
///
/// Errors are those of the facts' source.
pub fn settle<F: CreditFacts>(
    account: &Address,
    after: Option<&HistoryPlace>,
    open: Vec<Lot>,
    most: usize,
    rules: &CreditRules,
    facts: &mut F,
) -> Result<SettledPage, F::Error> {
    let before: BTreeMap<LotKey, i64> = open.iter().map(|lot| (lot.key.clone(), lot.remaining)).collect();
    let mut books = Books { lots: BTreeMap::from([(account.clone(), open)]) };
    let mut effects = Vec::new();
    let mut after = after.cloned();
    let mut read = 0;
    let mut rest: Vec<HistoryRow> = Vec::new();
    let next = loop {
        // Whole posts only: what follows the last row may belong to it.
        let mut reading = rest.last().map(|row: &HistoryRow| row.place.clone()).or_else(|| after.clone());
        let is_last = loop {
            let page = facts.history(account, reading.as_ref(), READ_AT_ONCE)?;
            let is_last = page.len() < READ_AT_ONCE;
            reading = page.last().map(|row| row.place.clone()).or(reading);
            rest.extend(page);
            let is_whole =
                rest.first().map(|row| &row.place.moment) != rest.last().map(|row| &row.place.moment);
            if is_last || is_whole {
                break is_last;
            }
        };
        let mut rows = std::mem::take(&mut rest);
        if !is_last && let Some(last) = rows.last().map(|row| row.place.moment.clone()) {
            let whole = rows.partition_point(|row| row.place.moment < last);
            rest = rows.split_off(whole);
        }
        let mut is_full = false;
        let mut posts = rows.chunk_by(|a, b| a.place.moment == b.place.moment);
        for post in posts.by_ref() {
            let Some(first) = post.first() else { continue };
            let moment = &first.place.moment;
            read += post.len();
            let anew = replay(&mut books, moment, post, rules);
            if !anew.is_empty() {
                let stored = facts.post(&moment.message)?;
                read += stored.len();
                if stored != anew {
                    effects.push(CreditEffect::Defer(recipients(&stored, &anew)));
                    effects.push(CreditEffect::ReplaceRows { message: moment.message.clone(), rows: anew });
                }
            }
            // The rows of a transfer may be numbered otherwise now.
            after = Some(HistoryPlace { moment: moment.clone(), index: u32::MAX });
            if read >= most {
                is_full = true;
                break;
            }
        }
        if is_full {
            break after;
        }
        if is_last {
            break None;
        }
    };
    let mut lots: Vec<Lot> = books.lots.into_values().flatten().collect();
    lots.retain(|lot| before.get(&lot.key) != Some(&lot.remaining));
    lots.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(SettledPage { lots, effects, after: next })
}

/// Who got something by the old rows or gets something by the new ones.
fn recipients(stored: &[HistoryRow], anew: &[HistoryRow]) -> Vec<Address> {
    let received = |row: &&HistoryRow| row.kind == EntryKind::Received;
    let mut accounts: Vec<Address> =
        stored.iter().chain(anew).filter(received).map(|row| row.address.clone()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

//! Settling accounts whose lots differ from their histories since a late post: an account and a page of its
//! history at a time, each in a transaction of its own (`aleph_ledger::credit::settle`). Until an account is
//! complete its lots stay as they are, and new ones are kept beside them; a crash repeats a page.

use aleph_ledger::credit::{CreditRules, HistoryPlace, HistoryRow, Lot, LotKey, Moment, settle};
use aleph_types::{Address, Timestamp};

use super::credits::{self, Credits, add_lot, note_change, read_lot};
use crate::digest::{Part, Sums};
use crate::engine::{Session, values};
use crate::{StoreError, Transaction};

/// Rows of histories after which a page ends; the post in which that happens is finished.
const PAGE_ROWS: usize = 500;

/// Lets an account be settled from the beginning of its history.
pub(super) fn defer(session: &Session, account: &Address) -> Result<(), StoreError> {
    session.execute(
        "INSERT INTO credit_deferred (address) VALUES (?1) ON CONFLICT (address) DO UPDATE SET \
         time = NULL, is_expense = NULL, credit_ref = NULL",
        values![account.as_str()],
    )
}

/// Rows come: who is settled beyond them begins anew.
pub(super) fn begin_anew(session: &Session, rows: &[HistoryRow]) -> Result<(), StoreError> {
    let begun = "SELECT 1 FROM credit_deferred WHERE time IS NOT NULL LIMIT 1";
    if session.first(begun, &[], |row| row.int(0))?.is_none() {
        return Ok(());
    }
    for HistoryRow { place: HistoryPlace { moment, .. }, address, .. } in rows {
        session.execute(
            "UPDATE credit_deferred SET time = NULL, is_expense = NULL, credit_ref = NULL \
             WHERE address = ?1 AND (time, is_expense, credit_ref) >= (?2, ?3, ?4)",
            values![address.as_str(), moment.time.as_micros(), moment.is_expense, moment.message.as_str(),],
        )?;
    }
    Ok(())
}

/// Up to which post an account is settled; `None`: it does not wait for that.
fn settled_to(session: &Session, account: &Address) -> Result<Option<Option<HistoryPlace>>, StoreError> {
    session.first(
        "SELECT time, is_expense, credit_ref FROM credit_deferred WHERE address = ?1",
        values![account.as_str()],
        |row| {
            let Some(time) = row.opt_int(0)? else { return Ok(None) };
            let moment = Moment {
                time: Timestamp::from_micros(time),
                is_expense: row.flag(1)?,
                message: row.hash(2)?,
            };
            Ok(Some(HistoryPlace { moment, index: u32::MAX }))
        },
    )
}

fn page(session: &Session, sums: &mut Sums, account: &Address) -> Result<(), StoreError> {
    let Some(after) = settled_to(session, account)? else { return Ok(()) };
    let of_account = values![account.as_str()];
    if after.is_none() {
        session.execute("DELETE FROM credit_lots_anew WHERE owner = ?1", of_account)?;
    }
    let open = session.rows(
        "SELECT time, credit_ref, credit_index, owner, remaining, expiration FROM credit_lots_anew \
         WHERE owner = ?1 AND remaining > 0",
        of_account,
        read_lot,
    )?;
    let rules = CreditRules::default();
    let settled = settle(account, after.as_ref(), open, PAGE_ROWS, &rules, &mut Credits(session))?;
    for lot in &settled.lots {
        let LotKey { time, message, index } = &lot.key;
        session.execute(
            "INSERT INTO credit_lots_anew (time, credit_ref, credit_index, owner, remaining, expiration) \
             VALUES (?1,?2,?3,?4,?5,?6) ON CONFLICT (owner, time, credit_ref, credit_index) \
             DO UPDATE SET remaining = excluded.remaining",
            values![
                time.as_micros(),
                message.as_str(),
                i64::from(*index),
                lot.owner.as_str(),
                lot.remaining,
                lot.expiration.map(Timestamp::as_micros),
            ],
        )?;
    }
    credits::apply_credits(session, sums, &settled.effects)?;
    // Last: the account's own rows may be among those that were replaced.
    match settled.after {
        Some(HistoryPlace { moment, .. }) => session.execute(
            "UPDATE credit_deferred SET time = ?2, is_expense = ?3, credit_ref = ?4 WHERE address = ?1",
            values![account.as_str(), moment.time.as_micros(), moment.is_expense, moment.message.as_str()],
        ),
        None => {
            replace_lots(session, sums, account)?;
            session.execute("DELETE FROM credit_deferred WHERE address = ?1", of_account)
        }
    }
}

/// Lots of one table that the other has not just so.
pub(super) fn different(from: &str, other: &str) -> String {
    format!(
        "SELECT l.time, l.credit_ref, l.credit_index, l.owner, l.remaining, l.expiration FROM {from} l \
         WHERE l.owner = ?1 AND NOT EXISTS (SELECT 1 FROM {other} o WHERE o.owner = l.owner \
         AND o.time = l.time AND o.credit_ref = l.credit_ref AND o.credit_index = l.credit_index \
         AND o.remaining = l.remaining AND COALESCE(o.expiration, -1) = COALESCE(l.expiration, -1))"
    )
}

/// The lots that were computed anew take the place of those that differ.
fn replace_lots(session: &Session, sums: &mut Sums, account: &Address) -> Result<(), StoreError> {
    let of_account = values![account.as_str()];
    let lots = |from, other| session.rows(&different(from, other), of_account, read_lot);
    let (stale, fresh) = (lots("credit_lots", "credit_lots_anew")?, lots("credit_lots_anew", "credit_lots")?);
    for Lot { key: LotKey { time, message, index }, owner, remaining, expiration } in &stale {
        session.execute(
            "DELETE FROM credit_lots WHERE owner = ?1 AND time = ?2 AND credit_ref = ?3 \
             AND credit_index = ?4",
            values![owner.as_str(), time.as_micros(), message.as_str(), i64::from(*index)],
        )?;
        let expiration = expiration.map(Timestamp::as_micros);
        sums.subtract(
            Part::CreditLots,
            values![
                time.as_micros(),
                message.as_str(),
                i64::from(*index),
                owner.as_str(),
                *remaining,
                expiration
            ],
        );
    }
    for lot in &fresh {
        add_lot(session, sums, lot)?;
    }
    session.execute("DELETE FROM credit_lots_anew WHERE owner = ?1", of_account)?;
    if stale.is_empty() && fresh.is_empty() { Ok(()) } else { note_change(session, account) }
}

impl Transaction<'_> {
    /// Brings each of these accounts, if it waits for that, one page on: some hundred rows of its history
    /// at most, and at the end of it the lots that differ. Who is not complete stays among
    /// [`deferred_accounts`](crate::Store::deferred_accounts).
    pub fn settle_deferred(&mut self, accounts: Vec<Address>) -> Result<(), StoreError> {
        let (session, sums) = self.parts();
        accounts.iter().try_for_each(|account| page(session, sums, account))
    }
}

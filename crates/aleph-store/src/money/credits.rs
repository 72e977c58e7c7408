use std::collections::HashMap;

use aleph_ledger::Decimal;
use aleph_ledger::credit::{
    CreditBalance, CreditEffect, CreditFacts, EntryKind, HistoryPlace, HistoryRow, Lot, LotKey, Moment,
};
use aleph_types::{Address, ItemHash, Timestamp};

use super::deferred;
use crate::digest::{Part, Sums};
use crate::engine::{Row, Session, values};
use crate::{Store, StoreError, Transaction};

/// Columns of a row of the history, as [`read_row`] reads them.
pub(super) const HISTORY: &str = "h.credit_ref, h.credit_index, h.time, h.is_expense, h.kind, h.address, \
     h.amount, h.expiration, h.requested_expiration, h.price, h.bonus_amount, h.tx_hash, h.token, h.chain, \
     h.provider, h.origin, h.origin_ref, h.payment_method, h.expense_count, h.expense_size_mib";

fn read_index(row: &Row<'_>, column: usize) -> Result<u32, StoreError> {
    let number = row.int(column)?;
    u32::try_from(number).map_err(|_| StoreError::corrupt("credit index", number.to_string()))
}

fn opt_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.opt_int(column)?.map(Timestamp::from_micros))
}

pub(super) fn read_row(row: &Row<'_>) -> Result<HistoryRow, StoreError> {
    let kind = row.text(4)?;
    let count = |text: &str| text.parse::<i128>().map_err(|_| StoreError::corrupt("count", text));
    Ok(HistoryRow {
        place: HistoryPlace {
            moment: Moment { time: row.time(2)?, is_expense: row.flag(3)?, message: row.hash(0)? },
            index: read_index(row, 1)?,
        },
        kind: EntryKind::of_word(kind).ok_or_else(|| StoreError::corrupt("kind of credit entry", kind))?,
        address: row.address(5)?,
        amount: row.int(6)?,
        expiration: opt_time(row, 7)?,
        requested_expiration: opt_time(row, 8)?,
        price: row.opt_string(9)?,
        bonus_amount: row.opt_string(10)?,
        tx_hash: row.opt_string(11)?,
        token: row.opt_string(12)?,
        chain: row.opt_string(13)?,
        provider: row.opt_string(14)?,
        origin: row.opt_string(15)?,
        origin_ref: row.opt_string(16)?,
        payment_method: row.opt_string(17)?,
        expense_count: row.opt_text(18)?.map(count).transpose()?,
        expense_size_mib: row.opt_string(19)?,
    })
}

pub(super) fn read_lot(row: &Row<'_>) -> Result<Lot, StoreError> {
    Ok(Lot {
        key: LotKey { time: row.time(0)?, message: row.hash(1)?, index: read_index(row, 2)? },
        owner: row.address(3)?,
        remaining: row.int(4)?,
        expiration: opt_time(row, 5)?,
    })
}

/// Whether a post has rows.
pub(super) const IS_APPLIED: &str = "SELECT credit_index FROM credit_history WHERE credit_ref = ?1 LIMIT 1";

/// The newest row of an account that took something away.
pub(super) const NEWEST_DRAIN: &str = "SELECT time, is_expense, credit_ref FROM credit_history \
     WHERE address = ?1 AND kind IN ('spent', 'sent') \
     ORDER BY time DESC, is_expense DESC, credit_ref DESC LIMIT 1";

/// The lots of an account that have something left.
pub(super) const OPEN_LOTS: &str = "SELECT time, credit_ref, credit_index, owner, remaining, expiration \
     FROM credit_lots WHERE owner = ?1 AND remaining > 0";

/// To whom an account ever sent something, and since a post.
pub(super) const RECIPIENTS: &str =
    "SELECT DISTINCT origin FROM credit_history WHERE address = ?1 AND kind = 'sent' ORDER BY 1";
pub(super) const RECIPIENTS_SINCE: &str = "SELECT DISTINCT origin FROM credit_history \
     WHERE address = ?1 AND kind = 'sent' AND (time, is_expense, credit_ref) > (?2, ?3, ?4) ORDER BY 1";

/// A page of an account's history, from its beginning or from a place on.
pub(super) fn history_sql(is_first: bool, limit: usize) -> String {
    let after = match is_first {
        true => "",
        false => " AND (h.time, h.is_expense, h.credit_ref, h.credit_index) > (?2, ?3, ?4, ?5)",
    };
    format!(
        "SELECT {HISTORY} FROM credit_history h WHERE h.address = ?1{after} \
         ORDER BY h.time, h.is_expense, h.credit_ref, h.credit_index LIMIT {limit}"
    )
}

/// Every row of a post.
pub(super) fn post_sql() -> String {
    format!("SELECT {HISTORY} FROM credit_history h WHERE h.credit_ref = ?1 ORDER BY h.credit_index")
}

/// What [`OPEN_LOTS`] finds.
pub(super) fn open_lots(session: &Session, owner: &str) -> Result<Vec<Lot>, StoreError> {
    session.rows(OPEN_LOTS, values![owner], read_lot)
}

/// What is left of the lots of accounts.
pub(super) const LOTS_OF_ACCOUNTS: &str = "SELECT time, credit_ref, credit_index, owner, remaining, expiration \
     FROM credit_lots WHERE owner IN (SELECT value FROM json_each(?1)) AND remaining > 0";

/// What several accounts can spend at `now`; who is missing has no lots.
pub(super) fn credit_totals(
    session: &Session,
    owners: &[String],
    now: Timestamp,
) -> Result<HashMap<Address, Decimal>, StoreError> {
    let mut totals: HashMap<Address, i128> = HashMap::with_capacity(owners.len());
    session.each(LOTS_OF_ACCOUNTS, values![owners], |row| {
        let lot = read_lot(row)?;
        if lot.is_valid_at(now) {
            *totals.entry(lot.owner).or_default() += i128::from(lot.remaining);
        }
        Ok(())
    })?;
    Ok(totals.into_iter().map(|(owner, total)| (owner, Decimal::from(total))).collect())
}

/// What an account can spend at `now`.
pub(crate) fn valid_credits(
    session: &Session,
    owner: &str,
    now: Timestamp,
) -> Result<CreditBalance, StoreError> {
    Ok(CreditBalance::of(&open_lots(session, owner)?, now))
}

/// The credit ledger as one session sees it.
#[derive(Debug)]
pub(crate) struct Credits<'a>(pub(crate) &'a Session);

impl CreditFacts for Credits<'_> {
    type Error = StoreError;

    fn is_applied(&mut self, message: &ItemHash) -> Result<bool, StoreError> {
        Ok(self.0.first(IS_APPLIED, values![message.as_str()], |row| row.int(0))?.is_some())
    }

    fn newest_drain(&mut self, account: &Address) -> Result<Option<Moment>, StoreError> {
        self.0.first(NEWEST_DRAIN, values![account.as_str()], |row| {
            Ok(Moment { time: row.time(0)?, is_expense: row.flag(1)?, message: row.hash(2)? })
        })
    }

    fn lots(&mut self, account: &Address) -> Result<Vec<Lot>, StoreError> {
        open_lots(self.0, account.as_str())
    }

    fn history(
        &mut self,
        account: &Address,
        after: Option<&HistoryPlace>,
        limit: usize,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        let sql = history_sql(after.is_none(), limit);
        match after {
            None => self.0.rows(&sql, values![account.as_str()], read_row),
            Some(HistoryPlace { moment, index }) => self.0.rows(
                &sql,
                values![
                    account.as_str(),
                    moment.time.as_micros(),
                    moment.is_expense,
                    moment.message.as_str(),
                    i64::from(*index),
                ],
                read_row,
            ),
        }
    }

    fn post(&mut self, message: &ItemHash) -> Result<Vec<HistoryRow>, StoreError> {
        self.0.rows(&post_sql(), values![message.as_str()], read_row)
    }

    fn recipients(&mut self, sender: &Address, since: Option<&Moment>) -> Result<Vec<Address>, StoreError> {
        let recipient = |row: &Row<'_>| Ok(Address::from(row.opt_text(0)?.unwrap_or_default()));
        match since {
            None => self.0.rows(RECIPIENTS, values![sender.as_str()], recipient),
            Some(since) => self.0.rows(
                RECIPIENTS_SINCE,
                values![sender.as_str(), since.time.as_micros(), since.is_expense, since.message.as_str()],
                recipient,
            ),
        }
    }
}

fn add_rows(session: &Session, sums: &mut Sums, rows: &[HistoryRow]) -> Result<(), StoreError> {
    let now = super::now();
    for row in rows {
        let HistoryPlace { moment, index } = &row.place;
        let count = row.expense_count.map(|count| count.to_string());
        session.execute(
            "INSERT INTO credit_history (credit_ref, credit_index, time, is_expense, kind, address, amount, \
             expiration, requested_expiration, price, bonus_amount, tx_hash, token, chain, provider, origin, \
             origin_ref, payment_method, expense_count, expense_size_mib, changed) \
             VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21)",
            values![
                moment.message.as_str(),
                i64::from(*index),
                moment.time.as_micros(),
                moment.is_expense,
                row.kind.as_str(),
                row.address.as_str(),
                row.amount,
                row.expiration.map(Timestamp::as_micros),
                row.requested_expiration.map(Timestamp::as_micros),
                row.price.as_deref(),
                row.bonus_amount.as_deref(),
                row.tx_hash.as_deref(),
                row.token.as_deref(),
                row.chain.as_deref(),
                row.provider.as_deref(),
                row.origin.as_deref(),
                row.origin_ref.as_deref(),
                row.payment_method.as_deref(),
                count.as_deref(),
                row.expense_size_mib.as_deref(),
                now.as_micros(),
            ],
        )?;
    }
    for message in rows.iter().map(|row| &row.place.moment.message).collect::<std::collections::BTreeSet<_>>()
    {
        sums.add_stored(session, Part::CreditHistory, "credit_ref = ?1", values![message.as_str()])?;
    }
    Ok(())
}

pub(super) fn add_lot(session: &Session, sums: &mut Sums, lot: &Lot) -> Result<(), StoreError> {
    let LotKey { time, message, index } = &lot.key;
    let columns = values![
        time.as_micros(),
        message.as_str(),
        i64::from(*index),
        lot.owner.as_str(),
        lot.remaining,
        lot.expiration.map(Timestamp::as_micros),
    ];
    session.execute(
        "INSERT INTO credit_lots (time, credit_ref, credit_index, owner, remaining, expiration) \
         VALUES (?1,?2,?3,?4,?5,?6)",
        columns,
    )?;
    sums.add(Part::CreditLots, columns);
    Ok(())
}

/// The credit job must look at the account.
pub(super) fn note_change(session: &Session, owner: &Address) -> Result<(), StoreError> {
    session.execute(
        "UPDATE credit_history SET changed = ?2 WHERE address = ?1 AND (credit_ref, credit_index) = \
         (SELECT credit_ref, credit_index FROM credit_history WHERE address = ?1 \
         ORDER BY time DESC, is_expense DESC, credit_ref DESC, credit_index DESC LIMIT 1)",
        values![owner.as_str(), super::now().as_micros()],
    )
}

/// Applies what a credit post does, or what an account that was computed anew owns.
pub(crate) fn apply_credits(
    session: &Session,
    sums: &mut Sums,
    effects: &[CreditEffect],
) -> Result<(), StoreError> {
    // All lots that are computed anew go before the first comes: the parts of a transfer may be numbered
    // otherwise now, and belong to several accounts.
    for effect in effects {
        if let CreditEffect::ReplaceLots { owner, .. } = effect {
            let of_owner = values![owner.as_str()];
            sums.subtract_stored(session, Part::CreditLots, "owner = ?1", of_owner)?;
            session.execute("DELETE FROM credit_lots WHERE owner = ?1", of_owner)?;
        }
    }
    for effect in effects {
        match effect {
            CreditEffect::AddRows(rows) => {
                deferred::begin_anew(session, rows)?;
                add_rows(session, sums, rows)?;
            }
            CreditEffect::AddLot(lot) => add_lot(session, sums, lot)?,
            CreditEffect::SetRemaining { owner, key, remaining } => {
                const ONE: &str = "owner = ?1 AND time = ?2 AND credit_ref = ?3 AND credit_index = ?4";
                let LotKey { time, message, index } = key;
                let one = values![owner.as_str(), time.as_micros(), message.as_str(), i64::from(*index)];
                sums.subtract_stored(session, Part::CreditLots, ONE, one)?;
                session.execute(
                    &format!("UPDATE credit_lots SET remaining = ?5 WHERE {ONE}"),
                    values![
                        owner.as_str(),
                        time.as_micros(),
                        message.as_str(),
                        i64::from(*index),
                        *remaining,
                    ],
                )?;
                sums.add_stored(session, Part::CreditLots, ONE, one)?;
            }
            CreditEffect::ReplaceLots { owner, lots } => {
                for lot in lots {
                    add_lot(session, sums, lot)?;
                }
                note_change(session, owner)?;
            }
            CreditEffect::Defer(accounts) => {
                for account in accounts {
                    deferred::defer(session, account)?;
                }
            }
            CreditEffect::ReplaceRows { message, rows } => {
                deferred::begin_anew(session, rows)?;
                let of_post = values![message.as_str()];
                sums.subtract_stored(session, Part::CreditHistory, "credit_ref = ?1", of_post)?;
                session.execute("DELETE FROM credit_history WHERE credit_ref = ?1", of_post)?;
                add_rows(session, sums, rows)?;
            }
        }
    }
    Ok(())
}

impl Transaction<'_> {
    /// Changes the credit ledger outside of any message.
    pub fn apply_credits(&mut self, effects: &[CreditEffect]) -> Result<(), StoreError> {
        let (session, sums) = self.parts();
        apply_credits(session, sums, effects)
    }
}

impl Store {
    /// What an account can spend at `now`, by expiration.
    pub async fn credit_balance(&self, owner: Address, now: Timestamp) -> Result<CreditBalance, StoreError> {
        self.read(move |session| valid_credits(session, owner.as_str(), now)).await
    }
}

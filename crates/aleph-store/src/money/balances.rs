use aleph_ledger::{BalanceChange, Decimal, StoredBalance, total_balance};
use aleph_rules::BalanceEntry;
use aleph_types::ItemHash;

use crate::StoreError;
use crate::digest::{Part, Sums};
use crate::engine::{Session, values};

pub(super) fn decimal(text: &str) -> Result<Decimal, StoreError> {
    Decimal::parse(text).map_err(|_| StoreError::corrupt("decimal number", text))
}

/// Stores what a post says of balances; older heights change nothing.
pub(crate) fn set_balances(
    session: &Session,
    sums: &mut Sums,
    (chain, dapp, height): (&str, &str, i64),
    entries: &[BalanceEntry],
    source: &ItemHash,
) -> Result<(), StoreError> {
    const ONE: &str = "address = ?1 AND chain = ?2 AND dapp = ?3";
    let now = super::now();
    for entry in entries {
        let place = values![entry.address.as_str(), chain, dapp];
        let stored = session.first(
            &format!("SELECT amount, height, source FROM balances WHERE {ONE}"),
            place,
            |row| Ok((row.string(0)?, row.int(1)?, row.string(2)?)),
        )?;
        let reported = StoredBalance { amount: decimal(&entry.amount)?, height, source: source.clone() };
        let (change, was_height) = match &stored {
            None => (BalanceChange::Changed, None),
            // From before posts were noted: the height alone decides.
            Some((amount, was, noted)) => match ItemHash::recognise(noted) {
                Ok(noted) => {
                    let stored = StoredBalance { amount: decimal(amount)?, height: *was, source: noted };
                    (StoredBalance::change(Some(&stored), &reported), Some(*was))
                }
                Err(_) if height > *was => (BalanceChange::Changed, Some(*was)),
                Err(_) => (BalanceChange::Stale, Some(*was)),
            },
        };
        if change == BalanceChange::Stale {
            continue;
        }
        if was_height.is_some() {
            sums.subtract_stored(session, Part::Balances, ONE, place)?;
        }
        session.execute(
            "INSERT INTO balances (address, chain, dapp, amount, height, source, changed) \
             VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT (address, chain, dapp) DO UPDATE SET \
             amount = excluded.amount, height = excluded.height, source = excluded.source",
            values![
                entry.address.as_str(),
                chain,
                dapp,
                &entry.amount,
                height,
                source.as_str(),
                now.as_micros(),
            ],
        )?;
        if change == BalanceChange::Changed && was_height.is_some() {
            session.execute(
                &format!("UPDATE balances SET changed = ?4 WHERE {ONE}"),
                values![entry.address.as_str(), chain, dapp, now.as_micros()],
            )?;
        }
        sums.add_stored(session, Part::Balances, ONE, place)?;
    }
    Ok(())
}

/// The account's tokens over all chains, without dapps; `None`: none was ever reported.
pub(crate) fn token_balance(session: &Session, owner: &str) -> Result<Option<Decimal>, StoreError> {
    let amounts = session.rows(
        "SELECT amount FROM balances WHERE address = ?1 AND dapp = ''",
        values![owner],
        |row| decimal(row.text(0)?),
    )?;
    Ok(total_balance(amounts.iter().map(|amount| (None, amount))))
}

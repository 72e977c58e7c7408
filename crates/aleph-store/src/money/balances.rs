use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aleph_ledger::{BalanceChange, Decimal, StoredBalance, total_balance};
use aleph_rules::BalanceEntry;
use aleph_types::{Address, ItemHash};

use crate::StoreError;
use crate::digest::{Part, Sums};
use crate::engine::{Session, values};

pub(super) fn decimal(text: &str) -> Result<Decimal, StoreError> {
    Decimal::parse(text).map_err(|_| StoreError::corrupt("decimal number", text))
}

/// Accounts whose stored balances are read at once.
const READ_AT_ONCE: usize = 500;

/// What is stored of some accounts.
pub(super) const STORED: &str = "SELECT address, amount, height, source FROM balances \
     WHERE address IN (SELECT value FROM json_each(?1)) AND chain = ?2 AND dapp = ?3";

/// No job needs to look at an account whose amount is the same.
const SAME: &str = "INSERT INTO balances (address, chain, dapp, amount, height, source, changed) \
     VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT (address, chain, dapp) DO UPDATE SET \
     amount = excluded.amount, height = excluded.height, source = excluded.source";
const CHANGED: &str = "INSERT INTO balances (address, chain, dapp, amount, height, source, changed) \
     VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT (address, chain, dapp) DO UPDATE SET \
     amount = excluded.amount, height = excluded.height, source = excluded.source, \
     changed = excluded.changed";

/// What accounts own without dapps.
pub(super) const OF_ACCOUNTS: &str = "SELECT address, amount FROM balances \
     WHERE address IN (SELECT value FROM json_each(?1)) AND dapp = ''";

/// A balance as it is stored.
struct Kept {
    amount: String,
    height: i64,
    source: String,
}

/// Stores what a post says of balances; older heights change nothing. A post may name some hundred thousand
/// accounts: each costs one change and a share of a query.
pub(crate) fn set_balances(
    session: &Session,
    sums: &mut Sums,
    (chain, dapp, height): (&str, &str, i64),
    entries: &[BalanceEntry],
    source: &ItemHash,
) -> Result<(), StoreError> {
    let now = super::now();
    // In the order of the table: each of its pages is changed once.
    let mut entries: Vec<&BalanceEntry> = entries.iter().collect();
    entries.sort_by(|a, b| a.address.cmp(&b.address));
    for entries in entries.chunks(READ_AT_ONCE) {
        let addresses: Vec<String> = entries.iter().map(|entry| entry.address.as_str().to_owned()).collect();
        let mut stored: HashMap<String, Kept> = HashMap::with_capacity(entries.len());
        session.each(STORED, values![&addresses[..], chain, dapp], |row| {
            let kept = Kept { amount: row.string(1)?, height: row.int(2)?, source: row.string(3)? };
            stored.insert(row.string(0)?, kept);
            Ok(())
        })?;
        for entry in entries {
            let address = entry.address.as_str();
            let before = stored.get(address);
            let change = change_of(before, entry, height, source)?;
            if change == BalanceChange::Stale {
                continue;
            }
            if let Some(Kept { amount, height, .. }) = before {
                sums.subtract(Part::Balances, values![address, chain, dapp, amount, *height]);
            }
            let sql = if change == BalanceChange::Same { SAME } else { CHANGED };
            session.execute(
                sql,
                values![address, chain, dapp, &entry.amount, height, source.as_str(), now.as_micros()],
            )?;
            sums.add(Part::Balances, values![address, chain, dapp, &entry.amount, height]);
            let source = source.as_str().to_owned();
            // A list may name an account twice.
            stored.insert(address.to_owned(), Kept { amount: entry.amount.clone(), height, source });
        }
    }
    Ok(())
}

/// What a report does to what is stored.
fn change_of(
    stored: Option<&Kept>,
    entry: &BalanceEntry,
    height: i64,
    source: &ItemHash,
) -> Result<BalanceChange, StoreError> {
    let Some(Kept { amount, height: was, source: noted }) = stored else {
        return Ok(BalanceChange::Changed);
    };
    // From before posts were noted: the one that said so comes again, or the height decides.
    let Ok(noted) = ItemHash::recognise(noted) else {
        return Ok(if height >= *was { BalanceChange::Changed } else { BalanceChange::Stale });
    };
    let stored = StoredBalance { amount: decimal(amount)?, height: *was, source: noted };
    let reported = StoredBalance { amount: decimal(&entry.amount)?, height, source: source.clone() };
    Ok(StoredBalance::change(Some(&stored), &reported))
}

/// The tokens of several accounts, by address; who is missing was never reported.
pub(super) fn token_balances(
    session: &Session,
    owners: &[String],
) -> Result<HashMap<Address, Decimal>, StoreError> {
    let mut totals: HashMap<Address, Decimal> = HashMap::with_capacity(owners.len());
    session.each(OF_ACCOUNTS, values![owners], |row| {
        let amount = decimal(row.text(1)?)?;
        match totals.entry(row.address(0)?) {
            Entry::Occupied(mut total) => {
                let sum = total.get().plus_exact(&amount);
                total.insert(sum);
            }
            Entry::Vacant(first) => {
                first.insert(amount);
            }
        }
        Ok(())
    })?;
    Ok(totals)
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

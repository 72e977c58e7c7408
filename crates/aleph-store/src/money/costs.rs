use aleph_ledger::{Amount, Costing};
use aleph_types::content::PaymentType;
use aleph_types::{Address, ItemHash};

use crate::StoreError;
use crate::engine::{Session, values};

pub(super) fn amount(text: &str) -> Result<Amount, StoreError> {
    Amount::parse(text).map_err(|_| StoreError::corrupt("amount", text))
}

/// The sum of what an account pays in one way.
pub(super) const TOTAL: &str = "SELECT total FROM account_totals WHERE owner = ?1 AND payment_type = ?2";

/// Owner, payment type and paid amount of each line of a message.
pub(super) const PAID: &str = "SELECT owner, payment_type, CASE payment_type WHEN 'hold' THEN cost_hold \
     WHEN 'superfluid' THEN cost_stream ELSE cost_credit END FROM account_costs WHERE item_hash = ?1";

/// What [`TOTAL`] finds; sums may pass the bound of single amounts.
pub(crate) fn total(session: &Session, owner: &str, payment: PaymentType) -> Result<Amount, StoreError> {
    let stored = session.first(TOTAL, values![owner, payment.as_str()], |row| {
        let text = row.text(0)?;
        text.parse::<i128>().map_err(|_| StoreError::corrupt("total of costs", text))
    })?;
    Ok(stored.map_or(Amount::ZERO, Amount::from_atto))
}

fn change_total(session: &Session, owner: &str, payment: &str, by: Amount) -> Result<(), StoreError> {
    if by == Amount::ZERO {
        return Ok(());
    }
    let payment: PaymentType = payment.parse().map_err(|_| StoreError::corrupt("payment type", payment))?;
    let sum = total(session, owner, payment)? + by;
    session.execute(
        "INSERT INTO account_totals (owner, payment_type, total) VALUES (?1, ?2, ?3) \
         ON CONFLICT (owner, payment_type) DO UPDATE SET total = excluded.total",
        values![owner, payment.as_str(), &sum.as_atto().to_string()],
    )
}

/// Stores what a message costs; lines that are stored already keep their place in the order of age.
pub(crate) fn set_costs(
    session: &Session,
    owner: &Address,
    message: &ItemHash,
    costing: &Costing,
) -> Result<(), StoreError> {
    for (owner, payment, paid) in paid(session, message)? {
        change_total(session, &owner, &payment, -paid)?;
    }
    session.execute(
        "DELETE FROM account_costs WHERE item_hash = ?1 AND line >= ?2",
        values![message.as_str(), costing.lines.len() as u64],
    )?;
    let mut sum = Amount::ZERO;
    for (place, line) in costing.lines.iter().enumerate() {
        sum += line.costs.of(costing.payment);
        session.execute(
            "INSERT INTO account_costs (owner, item_hash, line, cost_type, name, ref, payment_type, cost_hold, \
             cost_stream, cost_credit, size_mib, workings) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12) \
             ON CONFLICT (item_hash, line) DO UPDATE SET owner = excluded.owner, \
             cost_type = excluded.cost_type, name = excluded.name, ref = excluded.ref, \
             payment_type = excluded.payment_type, cost_hold = excluded.cost_hold, \
             cost_stream = excluded.cost_stream, cost_credit = excluded.cost_credit, \
             size_mib = excluded.size_mib, workings = excluded.workings",
            values![
                owner.as_str(),
                message.as_str(),
                place as u64,
                line.cost_type.as_str(),
                &line.name,
                line.reference.as_deref(),
                costing.payment.as_str(),
                &line.costs.hold.to_string(),
                &line.costs.stream.to_string(),
                &line.costs.credit.to_string(),
                line.size_mib.map(|size| size.to_string()).as_deref(),
                &line.explain().to_string(),
            ],
        )?;
    }
    change_total(session, owner.as_str(), costing.payment.as_str(), sum)
}

/// Owner, payment type and paid amount of each line.
fn paid(session: &Session, message: &ItemHash) -> Result<Vec<(String, String, Amount)>, StoreError> {
    session.rows(PAID, values![message.as_str()], |row| {
        Ok((row.string(0)?, row.string(1)?, amount(row.text(2)?)?))
    })
}

/// Deletes what a message cost, when it goes.
pub(crate) fn remove_costs(session: &Session, message: &ItemHash) -> Result<(), StoreError> {
    let before = paid(session, message)?;
    if before.is_empty() {
        return Ok(());
    }
    session.execute("DELETE FROM account_costs WHERE item_hash = ?1", values![message.as_str()])?;
    for (owner, payment, paid) in before {
        change_total(session, &owner, &payment, -paid)?;
    }
    Ok(())
}

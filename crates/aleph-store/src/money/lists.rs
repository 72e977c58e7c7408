//! Lists over all accounts: balances, and what resources cost (`spec: ccn-api.md §§8.3, 9.1`).

use std::cmp::Ordering;
use std::collections::HashMap;

use aleph_ledger::Costs;
use aleph_types::content::PaymentType;
use aleph_types::{Address, Chain, ItemHash};

use super::costs;
use super::queries::{halves, joined};
use crate::engine::Session;
use crate::queries::{Count, Sql, bound};
use crate::{Store, StoreError};

/// A balance of the list over all accounts.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountBalance {
    /// Whose.
    pub address: Address,
    /// Where.
    pub chain: Chain,
    /// The application that holds the tokens; empty for none.
    pub dapp: String,
    /// Decimal, tokens.
    pub amount: String,
}

/// Which balances; all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BalanceFilter {
    /// On one of these chains.
    pub chains: Option<Vec<Chain>>,
    /// At least so many tokens.
    pub least: Option<u64>,
}

/// Where a list of balances starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BalanceStart {
    /// After so many rows.
    Offset(u64),
    /// After the row of this address, chain and application.
    After(Address, String, String),
}

/// Sorts after every name of an application.
const LAST: &str = "\u{10ffff}";

/// The statement over the balances that a filter lets through, from a place on.
fn selected(session: &Session, columns: &str, filter: &BalanceFilter, start: &BalanceStart) -> Sql {
    let chains: Option<Vec<&str>> =
        filter.chains.as_ref().map(|chains| chains.iter().map(|chain| chain.as_str()).collect());
    let mut sql = Sql::new(&format!("SELECT {columns} FROM balances b "));
    if let Some([chain]) = chains.as_deref() {
        // One range of its index: SQLite walks two conditions on chain and address as many ranges, and sorts.
        let (operation, address, dapp) = match start {
            BalanceStart::Offset(_) => (">=", "", ""),
            BalanceStart::After(address, of, dapp) => match (*chain).cmp(of.as_str()) {
                Ordering::Less => (">", address.as_str(), LAST),
                Ordering::Equal => (">", address.as_str(), dapp.as_str()),
                Ordering::Greater => (">=", address.as_str(), ""),
            },
        };
        sql.push("INDEXED BY balances_chain WHERE (b.chain, b.address, b.dapp) ").push(operation);
        sql.push(" (").bind((*chain).to_owned()).push(", ").bind(address.to_owned());
        sql.push(", ").bind(dapp.to_owned()).push(") AND b.chain <= ").bind((*chain).to_owned());
    } else {
        // The table itself has the order of the list.
        sql.push("NOT INDEXED WHERE TRUE");
        let chains: Option<Vec<String>> =
            chains.map(|chains| chains.into_iter().map(str::to_owned).collect());
        sql.and_one_of("b.chain", chains.as_deref());
        if let BalanceStart::After(address, chain, dapp) = start {
            sql.push(" AND (b.address, b.chain, b.dapp) > (").bind(address.as_str().to_owned());
            sql.push(", ").bind(chain.clone()).push(", ").bind(dapp.clone()).push(")");
        }
    }
    if let Some(least) = filter.least {
        // Whole tokens: both are exact, also for amounts beyond 64 bits.
        sql.push(match session {
            Session::Sqlite(_) => " AND CAST(b.amount AS INTEGER) >= ",
            Session::Postgres(_) => " AND CAST(b.amount AS NUMERIC) >= ",
        });
        sql.push("CAST(").bind(i64::try_from(least).unwrap_or(i64::MAX)).push(" AS BIGINT)");
    }
    sql
}

/// A page of balances, in their order.
pub(super) fn balances_sql(
    session: &Session,
    filter: &BalanceFilter,
    start: &BalanceStart,
    limit: u64,
) -> Sql {
    let mut sql = selected(session, "b.address, b.chain, b.dapp, b.amount", filter, start);
    sql.push(match filter.chains.as_deref() {
        Some([_]) => " ORDER BY b.chain, b.address, b.dapp LIMIT ",
        _ => " ORDER BY b.address, b.chain, b.dapp LIMIT ",
    });
    sql.bind(bound(limit));
    if let BalanceStart::Offset(offset) = start {
        sql.push(" OFFSET ").bind(bound(*offset));
    }
    sql
}

/// Which resources; all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostFilter {
    /// Who pays.
    pub owner: Option<Address>,
    /// The message.
    pub message: Option<ItemHash>,
    /// How it is paid.
    pub payment: PaymentType,
}

/// Sums over resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CostSummary {
    /// In each of the three ways.
    pub costs: Costs,
    /// Messages.
    pub resources: u64,
}

/// What one message costs, summed over its lines.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceCost {
    /// The message.
    pub message: ItemHash,
    /// Who pays.
    pub owner: Address,
    /// How.
    pub payment: PaymentType,
    /// In each of the three ways.
    pub costs: Costs,
    /// Credits that it has used up.
    pub consumed: u64,
}

impl CostFilter {
    fn sql(&self, columns: &str, index: &str) -> Sql {
        let mut sql = Sql::new(&format!("SELECT {columns} FROM account_costs c{index} WHERE TRUE"));
        if let Some(owner) = &self.owner {
            sql.push(" AND c.owner = ").bind(owner.as_str().to_owned());
        }
        if let Some(message) = &self.message {
            sql.push(" AND c.item_hash = ").bind(message.as_str().to_owned());
        }
        sql.push(" AND c.payment_type = ").bind(self.payment.as_str().to_owned());
        sql
    }
}

const AMOUNTS: &str = "c.cost_hold, c.cost_stream, c.cost_credit";

/// A column of amounts, summed exactly: the engines' own sums are not.
fn add(sum: &mut Costs, [hold, stream, credit]: [&str; 3]) -> Result<(), StoreError> {
    sum.hold += costs::amount(hold)?;
    sum.stream += costs::amount(stream)?;
    sum.credit += costs::amount(credit)?;
    Ok(())
}

/// Credits that each of these resources has used up; those that used none are not in it.
fn consumed_by(session: &Session, messages: &[String]) -> Result<HashMap<String, u64>, StoreError> {
    let mut consumed = HashMap::new();
    for (column, also) in [("h.origin", ""), ("h.origin_ref", " AND COALESCE(h.origin, '') = ''")] {
        let mut sql = Sql::new(&format!(
            "SELECT {column}, {} FROM credit_history h WHERE h.payment_method = 'credit_expense'{also}",
            halves("h.amount")
        ));
        sql.and_one_of(column, Some(messages)).push(&format!(" GROUP BY {column}"));
        for (message, credits) in sql.rows(session, |row| Ok((row.string(0)?, joined(row, 1)?)))? {
            let sum: &mut u64 = consumed.entry(message).or_default();
            *sum = sum.saturating_add(credits.unsigned_abs());
        }
    }
    Ok(consumed)
}

/// The resources of a page, in their order. Every message has a first line, and one only.
pub(super) fn page_sql(filter: &CostFilter, offset: u64, limit: u64) -> Sql {
    let index = match filter {
        CostFilter { owner: None, message: None, .. } => " INDEXED BY account_costs_resource",
        _ => "",
    };
    let mut sql = filter.sql("c.item_hash, c.owner, c.payment_type", index);
    sql.push(" AND c.line = 0 ORDER BY c.item_hash LIMIT ").bind(bound(limit));
    sql.push(" OFFSET ").bind(bound(offset));
    sql
}

fn resources(
    session: &Session,
    filter: &CostFilter,
    (offset, limit): (u64, u64),
) -> Result<Vec<ResourceCost>, StoreError> {
    let mut page = page_sql(filter, offset, limit).rows(session, |row| {
        Ok(ResourceCost {
            message: row.hash(0)?,
            owner: row.address(1)?,
            payment: row.word(2, "payment type")?,
            costs: Costs::default(),
            consumed: 0,
        })
    })?;
    let hashes: Vec<String> = page.iter().map(|resource| resource.message.as_str().to_owned()).collect();
    if hashes.is_empty() {
        return Ok(page);
    }
    let mut sql = Sql::new(&format!("SELECT c.item_hash, {AMOUNTS} FROM account_costs c WHERE TRUE"));
    sql.and_one_of("c.item_hash", Some(&hashes));
    let mut sums: HashMap<String, Costs> = HashMap::new();
    // What is read of a row takes no place.
    sql.rows(session, |row| {
        let sum = sums.entry(row.string(0)?).or_default();
        add(sum, [row.text(1)?, row.text(2)?, row.text(3)?])
    })?;
    let consumed = consumed_by(session, &hashes)?;
    for resource in &mut page {
        let hash = resource.message.as_str();
        resource.costs = sums.get(hash).copied().unwrap_or_default();
        resource.consumed = consumed.get(hash).copied().unwrap_or_default();
    }
    Ok(page)
}

impl Store {
    /// Balances of all accounts, by address, chain and application; at most `limit`.
    pub async fn list_balances(
        &self,
        filter: BalanceFilter,
        start: BalanceStart,
        limit: u64,
    ) -> Result<Vec<AccountBalance>, StoreError> {
        self.read(move |session| {
            balances_sql(session, &filter, &start, limit).rows(session, |row| {
                Ok(AccountBalance {
                    address: row.address(0)?,
                    chain: row.word(1, "chain")?,
                    dapp: row.string(2)?,
                    amount: row.string(3)?,
                })
            })
        })
        .await
    }

    /// How many balances a filter lets through, counted up to `most`.
    pub async fn count_balances(&self, filter: BalanceFilter, most: u64) -> Result<Count, StoreError> {
        self.read(move |session| {
            let mut sql = selected(session, "count(*) FROM (SELECT 1", &filter, &BalanceStart::Offset(0));
            sql.push(" LIMIT ").bind(bound(most.saturating_add(1)));
            let rows = sql.push(") AS counted").count(session)?;
            Ok(Count { rows: rows.min(most), exact: rows <= most })
        })
        .await
    }

    /// The sums of what resources cost: a walk over their lines, one at a time.
    pub async fn cost_summary(&self, filter: CostFilter) -> Result<CostSummary, StoreError> {
        self.read(move |session| {
            let mut summary = CostSummary::default();
            // What is read of a row takes no place.
            filter.sql(&format!("c.line, {AMOUNTS}"), "").rows(session, |row| {
                summary.resources += u64::from(row.int(0)? == 0);
                add(&mut summary.costs, [row.text(1)?, row.text(2)?, row.text(3)?])
            })?;
            Ok(summary)
        })
        .await
    }

    /// What resources cost, by message: at most `limit` after `offset`, and what each has used up.
    pub async fn resource_costs(
        &self,
        filter: CostFilter,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<ResourceCost>, StoreError> {
        self.read(move |session| resources(&*session.snapshot()?, &filter, (offset, limit))).await
    }

    /// Credits that were used up, of one account, one resource, or altogether.
    pub async fn total_consumed_credits(
        &self,
        owner: Option<Address>,
        resource: Option<ItemHash>,
    ) -> Result<u64, StoreError> {
        self.read(move |session| {
            let of_owner = owner.as_ref().map(Address::as_str);
            if let (None, Some(resource)) = (of_owner, &resource) {
                let hash = resource.as_str();
                return Ok(consumed_by(session, &[hash.to_owned()])?.get(hash).copied().unwrap_or_default());
            }
            let mut sql = Sql::new(&format!(
                "SELECT {} FROM credit_history h WHERE h.payment_method = 'credit_expense'",
                halves("h.amount")
            ));
            if let Some(owner) = of_owner {
                sql.push(" AND h.address = ").bind(owner.to_owned());
            }
            if let Some(resource) = resource {
                sql.push(" AND COALESCE(NULLIF(h.origin, ''), h.origin_ref) = ");
                sql.bind(resource.as_str().to_owned());
            }
            let sums = sql.rows(session, |row| joined(row, 0))?;
            Ok(sums.first().map_or(0, |sum| sum.unsigned_abs()))
        })
        .await
    }
}

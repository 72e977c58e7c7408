use aleph_ledger::credit::HistoryRow;
use aleph_ledger::{Amount, Costs, Estimates, Workload};
use aleph_rules::Tariff;
use aleph_types::content::{Content, PaymentType};
use aleph_types::{Address, ItemHash, Timestamp};

use super::{costs, credits};
use crate::engine::{Row, values};
use crate::facts::{self, Ledger};
use crate::queries::{Count, SortOrder, Sql, bound};
use crate::statuses::HASH_START;
use crate::{Store, StoreError};

/// One stored line of what a message costs.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCost {
    /// Who pays.
    pub owner: Address,
    /// The message.
    pub item_hash: ItemHash,
    /// The network's word for what the line is for.
    pub cost_type: String,
    /// Unique with the type within a message.
    pub name: String,
    /// How it is paid.
    pub payment: PaymentType,
    /// The amounts.
    pub costs: Costs,
    /// MiB that the API shows.
    pub size_mib: Option<f64>,
    /// JSON: what the amounts were computed from.
    pub workings: String,
}

fn read_cost(row: &Row<'_>) -> Result<StoredCost, StoreError> {
    let size = |text: &str| text.parse().map_err(|_| StoreError::corrupt("size", text));
    Ok(StoredCost {
        owner: row.address(0)?,
        item_hash: row.hash(1)?,
        cost_type: row.string(2)?,
        name: row.string(3)?,
        payment: row.word(4, "payment type")?,
        costs: Costs {
            hold: costs::amount(row.text(5)?)?,
            stream: costs::amount(row.text(6)?)?,
            credit: costs::amount(row.text(7)?)?,
        },
        size_mib: row.opt_text(8)?.map(size).transpose()?,
        workings: row.string(9)?,
    })
}

/// The sums of an account's credit history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistorySummary {
    /// Rows.
    pub entries: u64,
    /// Credits that came.
    pub incoming: i64,
    /// Credits that went: 0 or less.
    pub outgoing: i64,
}

/// What an account's credit history is asked for; all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Columns that must have this text: of `tx_hash`, `token`, `chain`, `provider`, `origin`,
    /// `origin_ref`, `payment_method`.
    pub exact: Vec<(HistoryColumn, String)>,
    /// Whether it expires.
    pub has_expiration: Option<bool>,
    /// Payment methods to leave out, and rows without one.
    pub without_methods: Option<Vec<String>>,
    /// First time.
    pub start: Option<Timestamp>,
    /// Last time.
    pub end: Option<Timestamp>,
    /// Only what came (`true`), or only what went.
    pub incoming: Option<bool>,
    /// The machine or file that it is about.
    pub resource: Option<String>,
    /// Only rows about stored messages of these types.
    pub resource_types: Option<Vec<String>>,
}

/// A column of texts of the credit history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum HistoryColumn {
    TxHash,
    Token,
    Chain,
    Provider,
    Origin,
    OriginRef,
    PaymentMethod,
}

impl HistoryColumn {
    fn sql(self) -> &'static str {
        match self {
            Self::TxHash => "h.tx_hash",
            Self::Token => "h.token",
            Self::Chain => "h.chain",
            Self::Provider => "h.provider",
            Self::Origin => "h.origin",
            Self::OriginRef => "h.origin_ref",
            Self::PaymentMethod => "h.payment_method",
        }
    }
}

/// By what a credit history is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum HistorySort {
    #[default]
    Time,
    Expiration,
    PaymentMethod,
    Amount,
    Origin,
    TxHash,
    Provider,
}

impl HistorySort {
    fn sql(self) -> &'static str {
        match self {
            Self::Time => "h.time",
            Self::Expiration => "h.expiration",
            Self::PaymentMethod => "h.payment_method",
            Self::Amount => "h.amount",
            Self::Origin => "h.origin",
            Self::TxHash => "h.tx_hash",
            Self::Provider => "h.provider",
        }
    }
}

/// Where a page of a credit history starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryStart {
    /// After so many rows.
    Offset(u64),
    /// After the row of this post and place in it, which has this value in the column of the order.
    After(Option<HistoryValue>, String, i64),
}

/// A value of a column by which a history is sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryValue {
    /// Microseconds, or credits.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl HistoryStart {
    /// ` AND …` that keeps the rows after the start, in a list by `column` with nulls last.
    fn push_to(&self, sql: &mut Sql, sort: HistorySort, order: SortOrder) {
        let Self::After(value, post, index) = self else { return };
        let (column, later) = (sort.sql(), order.later());
        let bind = |sql: &mut Sql, value: &HistoryValue| match value {
            HistoryValue::Number(number) => _ = sql.bind(*number),
            HistoryValue::Text(text) => _ = sql.bind(text.clone()),
        };
        let push_ties = |sql: &mut Sql| {
            sql.push(" (h.credit_ref, h.credit_index) ").push(later).push(" (").bind(post.clone());
            sql.push(", ").bind(*index).push(")");
        };
        let Some(value) = value else {
            sql.push(" AND ").push(column).push(" IS NULL AND");
            return push_ties(sql);
        };
        if sort == HistorySort::Time {
            // Where the walk begins.
            bind(sql.push(" AND h.time ").push(later).push("= "), value);
        }
        bind(sql.push(" AND (").push(column).push(" ").push(later).push(" "), value);
        bind(sql.push(" OR ").push(column).push(" = "), value);
        push_ties(sql.push(" AND"));
        if sort != HistorySort::Time {
            sql.push(" OR ").push(column).push(" IS NULL");
        }
        sql.push(")");
    }
}

/// A sum of 64-bit integers as two columns, of their high and low halves: each row has a valid amount, but
/// their sum may have none, and an engine that adds them up fails the whole query.
pub(super) fn halves(of: &str) -> String {
    let half =
        |operation, name| format!("CAST(COALESCE(sum({of} {operation} {HALF}), 0) AS BIGINT) AS {name}");
    format!("{}, {}", half("/", "high"), half("%", "low"))
}

/// 2³².
const HALF: i64 = 1 << 32;

/// The sum of which two columns are the halves, or the nearest that an `i64` holds.
pub(super) fn joined(row: &Row<'_>, first: usize) -> Result<i64, StoreError> {
    let sum = i128::from(row.int(first)?) * i128::from(HALF) + i128::from(row.int(first + 1)?);
    Ok(i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX }))
}

/// What a row is about.
const RESOURCE: &str = "COALESCE(NULLIF(h.origin, ''), h.origin_ref)";

/// The rows of an account that a filter lets through.
fn filtered(columns: &str, address: &str, filter: &HistoryFilter) -> Sql {
    let mut sql = Sql::new(&format!(
        "SELECT {columns} FROM credit_history h INDEXED BY credit_history_address WHERE h.address = "
    ));
    sql.bind(address.to_owned());
    for (column, text) in &filter.exact {
        sql.push(" AND ").push(column.sql()).push(" = ").bind(text.clone());
    }
    match filter.has_expiration {
        Some(true) => sql.push(" AND h.expiration IS NOT NULL"),
        Some(false) => sql.push(" AND h.expiration IS NULL"),
        None => &mut sql,
    };
    if let Some(methods) = &filter.without_methods {
        sql.push(" AND h.payment_method IS NOT NULL");
        for method in methods {
            sql.push(" AND h.payment_method <> ").bind(method.clone());
        }
    }
    if let Some(start) = filter.start {
        sql.push(" AND h.time >= ").bind(start.as_micros());
    }
    if let Some(end) = filter.end {
        sql.push(" AND h.time <= ").bind(end.as_micros());
    }
    match filter.incoming {
        Some(true) => sql.push(" AND h.amount > 0"),
        Some(false) => sql.push(" AND h.amount < 0"),
        None => &mut sql,
    };
    if let Some(resource) = &filter.resource {
        sql.push(" AND ").push(RESOURCE).push(" = ").bind(resource.clone());
    }
    if let Some(types) = &filter.resource_types {
        sql.push(" AND EXISTS (SELECT 1 FROM messages m INDEXED BY messages_hash WHERE ");
        sql.push(HASH_START).push(" = substr(").push(RESOURCE).push(", 1, 12) AND m.item_hash = ");
        sql.push(RESOURCE).and_one_of("m.message_type", Some(types)).push(")");
    }
    sql
}

/// A page of an account's history. Only by time the index has its order; else the account's rows are sorted.
pub(super) fn history_list(
    address: &Address,
    filter: &HistoryFilter,
    (sort, order): (HistorySort, SortOrder),
    (start, limit): (&HistoryStart, Option<u64>),
) -> Sql {
    let mut sql = filtered(credits::HISTORY, address.as_str(), filter);
    start.push_to(&mut sql, sort, order);
    let (column, direction) = (sort.sql(), order.sql());
    sql.push(" ORDER BY ");
    if sort != HistorySort::Time {
        sql.push(column).push(" IS NULL, ");
    }
    sql.push(&format!("{column} {direction}, h.credit_ref {direction}, h.credit_index {direction} LIMIT "));
    sql.bind(bound(limit.unwrap_or(u64::MAX)));
    if let HistoryStart::Offset(offset) = start {
        sql.push(" OFFSET ").bind(bound(*offset));
    }
    sql
}

/// Pushes one half ([`halves`]) of what an account can spend at `now`.
fn push_left(sql: &mut Sql, now: Timestamp, operation: &str) {
    sql.push("CAST(COALESCE(sum((CASE WHEN l.expiration IS NULL OR l.expiration > ").bind(now.as_micros());
    sql.push(&format!(" THEN l.remaining ELSE 0 END) {operation} {HALF}), 0) AS BIGINT)"));
}

/// Accounts that ever had credits, by address: each is summed when its turn comes, so that a page reads no
/// lots but those of the accounts before its end.
fn credit_accounts(columns: &str, sums: bool, now: Timestamp, least: Option<u64>, after: &str) -> Sql {
    let mut sql = Sql::new(&format!("SELECT {columns}"));
    if sums {
        push_left(sql.push(", "), now, "/");
        push_left(sql.push(", "), now, "%");
    }
    sql.push(" FROM credit_lots l WHERE l.owner > ").bind(after.to_owned());
    sql.push(" GROUP BY l.owner");
    if let Some(least) = least {
        let least = i64::try_from(least).unwrap_or(i64::MAX);
        push_left(sql.push(" HAVING ("), now, "/");
        push_left(sql.push(" + "), now, "%");
        push_left(sql.push(&format!(" / {HALF}, ")), now, "%");
        sql.push(&format!(" % {HALF}) >= (")).bind(least / HALF).push(", ").bind(least % HALF).push(")");
    }
    sql
}

/// A page of those accounts with their sums, as two halves.
pub(super) fn credit_page(
    now: Timestamp,
    least: Option<u64>,
    after: &str,
    (offset, limit): (u64, Option<u64>),
) -> Sql {
    let mut sql = credit_accounts("l.owner", true, now, least, after);
    sql.push(" ORDER BY l.owner LIMIT ").bind(bound(limit.unwrap_or(u64::MAX)));
    sql.push(" OFFSET ").bind(bound(offset));
    sql
}

impl Store {
    /// What a message costs, line by line, in the network's order; empty if it costs nothing.
    pub async fn costs_of(&self, message: ItemHash) -> Result<Vec<StoredCost>, StoreError> {
        self.read(move |session| {
            session.rows(
                "SELECT owner, item_hash, cost_type, name, payment_type, cost_hold, cost_stream, \
                 cost_credit, size_mib, workings FROM account_costs WHERE item_hash = ?1 ORDER BY id",
                values![message.as_str()],
                read_cost,
            )
        })
        .await
    }

    /// The sum of what an account's resources cost that are paid in one way.
    pub async fn running_cost(&self, owner: Address, payment: PaymentType) -> Result<Amount, StoreError> {
        self.read(move |session| costs::total(session, owner.as_str(), payment)).await
    }

    /// The prices and settings that `publisher` published.
    pub async fn tariff(&self, publisher: Address) -> Result<Tariff, StoreError> {
        self.read(move |session| facts::tariff(session, &publisher)).await
    }

    /// What a content would allocate, with the files that this node knows.
    pub async fn workload(
        &self,
        message: ItemHash,
        content: Content,
        estimates: Estimates,
    ) -> Result<Option<Workload>, StoreError> {
        self.read(move |session| {
            let mut files = Ledger { session, now: Timestamp::EPOCH };
            Workload::of(&message, &content, &estimates, &mut files)
        })
        .await
    }

    /// Rows of an account's credit history; nulls last, ties by post and place, in the order's direction.
    pub async fn credit_history(
        &self,
        address: Address,
        filter: HistoryFilter,
        (sort, order): (HistorySort, SortOrder),
        (start, limit): (HistoryStart, Option<u64>),
    ) -> Result<Vec<HistoryRow>, StoreError> {
        self.read(move |session| {
            history_list(&address, &filter, (sort, order), (&start, limit)).rows(session, credits::read_row)
        })
        .await
    }

    /// The sums of the same rows.
    pub async fn credit_summary(
        &self,
        address: Address,
        filter: HistoryFilter,
    ) -> Result<HistorySummary, StoreError> {
        self.read(move |session| {
            let sums = format!(
                "count(*), {}, {}",
                halves("(CASE WHEN h.amount > 0 THEN h.amount ELSE 0 END)"),
                halves("(CASE WHEN h.amount < 0 THEN h.amount ELSE 0 END)")
            );
            let found = filtered(&sums, address.as_str(), &filter).rows(session, |row| {
                let (incoming, outgoing) = (joined(row, 1)?, joined(row, 3)?);
                Ok(HistorySummary { entries: row.size(0)?, incoming, outgoing })
            })?;
            Ok(found.into_iter().next().unwrap_or_default())
        })
        .await
    }

    /// Credits that a resource has used up.
    pub async fn consumed_credits(&self, resource: String) -> Result<u64, StoreError> {
        self.read(move |session| {
            let sums = halves("h.amount");
            let consumed = session.first(
                &format!(
                    "SELECT {sums} FROM credit_history h WHERE h.payment_method = 'credit_expense' \
                     AND (h.origin = ?1 OR (h.origin_ref = ?1 AND COALESCE(h.origin, '') = ''))"
                ),
                values![&resource],
                |row| joined(row, 0),
            )?;
            Ok(consumed.unwrap_or_default().unsigned_abs())
        })
        .await
    }

    /// Accounts that ever had credits, by address, with what they can spend at `now`.
    pub async fn credit_balances(
        &self,
        now: Timestamp,
        least: Option<u64>,
        after: Option<Address>,
        place: (u64, Option<u64>),
    ) -> Result<Vec<(Address, i64)>, StoreError> {
        self.read(move |session| {
            let after = after.as_ref().map_or("", Address::as_str);
            credit_page(now, least, after, place).rows(session, |row| Ok((row.address(0)?, joined(row, 1)?)))
        })
        .await
    }

    /// How many accounts that list has, counted up to `most`.
    pub async fn count_credit_balances(
        &self,
        now: Timestamp,
        least: Option<u64>,
        most: u64,
    ) -> Result<Count, StoreError> {
        self.read(move |session| {
            let mut sql = Sql::new("SELECT count(*) FROM (");
            sql.append(credit_accounts("1", false, now, least, ""));
            sql.push(" LIMIT ").bind(bound(most.saturating_add(1)));
            let rows = sql.push(") AS counted").count(session)?;
            Ok(Count { rows: rows.min(most), exact: rows <= most })
        })
        .await
    }
}

//! Balances of all accounts, and the history of credits (`spec: ccn-api.md §§8.3, 8.5, 8.6`).

use std::str::FromStr;
use std::sync::Arc;

use aleph_ledger::credit::HistoryRow;
use aleph_store::queries::{Count, SortOrder};
use aleph_store::{
    AccountBalance, BalanceFilter, BalanceStart, HistoryColumn, HistoryFilter, HistorySort, HistoryStart,
    HistoryValue,
};
use aleph_types::{Address, Chain, MessageType, Timestamp};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::errors::{ApiError, json_value};
use super::openapi::params::PageParams;
use super::openapi::shapes::BalancesPage;
use super::pages::{self, Cursor, Paging, Piece};
use super::params::Params;
use crate::clock;

/// The columns that a filter names, in snake case and camel case.
const EXACT: [(&[&str], HistoryColumn); 7] = [
    (&["tx_hash", "txHash"], HistoryColumn::TxHash),
    (&["token"], HistoryColumn::Token),
    (&["chain"], HistoryColumn::Chain),
    (&["provider"], HistoryColumn::Provider),
    (&["origin"], HistoryColumn::Origin),
    (&["origin_ref", "originRef"], HistoryColumn::OriginRef),
    (&["payment_method", "paymentMethod"], HistoryColumn::PaymentMethod),
];

/// What came, or what went.
struct Direction {
    incoming: bool,
}

impl FromStr for Direction {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "incoming" => Ok(Self { incoming: true }),
            "outgoing" => Ok(Self { incoming: false }),
            _ => Err(()),
        }
    }
}

/// A column to sort by.
struct Sort(HistorySort, &'static str);

impl FromStr for Sort {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "message_timestamp" => Self(HistorySort::Time, "message_timestamp"),
            "expiration_date" => Self(HistorySort::Expiration, "expiration_date"),
            "payment_method" => Self(HistorySort::PaymentMethod, "payment_method"),
            "amount" => Self(HistorySort::Amount, "amount"),
            "origin" => Self(HistorySort::Origin, "origin"),
            "tx_hash" => Self(HistorySort::TxHash, "tx_hash"),
            "provider" => Self(HistorySort::Provider, "provider"),
            _ => return Err(()),
        })
    }
}

fn filter(params: &mut Params) -> HistoryFilter {
    let exact = EXACT.iter().filter_map(|(names, column)| Some((*column, params.text(names)?))).collect();
    let with_expiration: &[&str] = &["has_expiration", "hasExpiration"];
    let has_expiration = params.has(with_expiration).then(|| params.flag(with_expiration, false));
    let without_methods = params.list(&["exclude_payment_method", "excludePaymentMethod"]);
    let (start, end) = params.dates();
    let direction = params.word::<Direction>(&["direction"], "direction: incoming or outgoing");
    let types = params.words::<MessageType>(&["resourceTypes", "resource_types"], "message type");
    HistoryFilter {
        exact,
        has_expiration,
        without_methods,
        start,
        end,
        incoming: direction.map(|direction| direction.incoming),
        resource: params.text(&["resource"]),
        resource_types: types.map(|types| types.iter().map(|kind| kind.as_str().to_owned()).collect()),
    }
}

/// An entry of a page; by cursor, times and decimals are numbers (`spec: ccn-api.md §1.2`).
fn entry(row: &HistoryRow, by_cursor: bool) -> Value {
    let date = |time: Timestamp| match by_cursor {
        true => json!(time.as_secs_f64()),
        false => time.iso_z().to_string().into(),
    };
    let decimal = |text: &String| match by_cursor {
        true => json!(text.parse::<f64>().ok()),
        false => text.as_str().into(),
    };
    let moment = &row.place.moment;
    json!({
        "amount": row.amount,
        "price": row.price.as_ref().map(decimal),
        "bonus_amount": row.bonus_amount,
        "tx_hash": row.tx_hash,
        "token": row.token,
        "chain": row.chain,
        "provider": row.provider,
        "origin": row.origin,
        "origin_ref": row.origin_ref,
        "payment_method": row.payment_method,
        "credit_ref": moment.message,
        "credit_index": row.place.index,
        "expiration_date": row.expiration.map(date),
        "message_timestamp": date(moment.time),
        "expense_count": row.expense_count.and_then(|count| i64::try_from(count).ok()),
        "expense_size_mib": row.expense_size_mib.as_ref().map(decimal),
    })
}

/// The order of a history as parameters and cursors name it.
#[derive(Debug, Clone, Copy)]
struct Sorted {
    by: HistorySort,
    name: &'static str,
    order: SortOrder,
}

impl Sorted {
    fn direction(self) -> i64 {
        match self.order {
            SortOrder::Descending => -1,
            SortOrder::Ascending => 1,
        }
    }

    /// The cursor after a row.
    fn cursor(self, row: &HistoryRow) -> String {
        let date = |time: Timestamp| time.iso_offset().to_string();
        let moment = &row.place.moment;
        let value = match self.by {
            HistorySort::Time => json!(date(moment.time)),
            HistorySort::Expiration => json!(row.expiration.map(date)),
            HistorySort::Amount => json!(row.amount),
            HistorySort::PaymentMethod => json!(row.payment_method),
            HistorySort::Origin => json!(row.origin),
            HistorySort::TxHash => json!(row.tx_hash),
            HistorySort::Provider => json!(row.provider),
        };
        let (index, direction) = (row.place.index, self.direction());
        Cursor::encode(
            &json!({ "i": index, "o": direction, "r": moment.message, "s": self.name, "v": value }),
        )
    }

    /// Where a cursor says that the list goes on. An old one, `{t, r, i}`, is of the order from new to old.
    fn start(self, cursor: &Cursor) -> Result<HistoryStart, ApiError> {
        let is_old = !cursor.has("s");
        let (name, direction) = match is_old {
            true => ("message_timestamp", -1),
            false => (cursor.text("s")?, cursor.integer("o")?),
        };
        if name != self.name {
            return Err(ApiError::unprocessable(format!(
                "Cursor sort field mismatch: it goes on with a list by {name}"
            )));
        }
        if direction != self.direction() {
            return Err(ApiError::unprocessable("Cursor sort order mismatch: it goes the other way"));
        }
        let key = if is_old { "t" } else { "v" };
        let value = match self.by {
            _ if cursor.value(key)?.is_null() && self.by != HistorySort::Time => None,
            HistorySort::Time | HistorySort::Expiration => {
                Some(HistoryValue::Number(cursor.time(key)?.as_micros()))
            }
            HistorySort::Amount => Some(HistoryValue::Number(cursor.integer(key)?)),
            _ => Some(HistoryValue::Text(cursor.text(key)?.to_owned())),
        };
        Ok(HistoryStart::After(value, cursor.text("r")?.to_owned(), cursor.integer("i")?))
    }
}

/// The credits that an address got and spent.
#[utoipa::path(
    get,
    path = "/api/v0/addresses/{address}/credit_history",
    tag = "accounts",
    operation_id = "accounts_credit_history",
    params(
        ("address" = String, Path, description = "The address"),
        ("direction" = Option<String>, Query, description = "incoming or outgoing"),
        ("resource" = Option<String>, Query, description = "Only entries about this message"),
        ("sort_by" = Option<String>, Query, description = "message_timestamp, expiration_date, payment_method, amount, origin, tx_hash or provider"),
        ("sort_order" = Option<i8>, Query, description = "-1 or 1", minimum = -1, maximum = 1),
        PageParams,
    ),
    responses(
        (status = 200, description = "The answer", body = serde_json::Value),
    ),
)]
pub(super) async fn credit_history(
    State(api): State<Arc<Api>>,
    Path(address): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let filter = filter(&mut params);
    let sort = params.word::<Sort>(&["sort_by", "sortBy"], "column of the history");
    let Sort(sort, sorted_by) = sort.unwrap_or(Sort(HistorySort::Time, "message_timestamp"));
    let order = params.sort_order(&["sort_order", "sortOrder"]);
    let paging = Paging::read(&mut params, 0, 0, u64::MAX);
    params.finish()?;
    let paging = paging?;
    let sorted = Sorted { by: sort, name: sorted_by, order };
    let start = match &paging {
        Paging::Cursor { after: Some(cursor), .. } => sorted.start(cursor)?,
        paging => HistoryStart::Offset(paging.offset()),
    };
    let with_cursor = matches!(paging, Paging::Cursor { .. });
    let owner = Address::from(address.as_str());
    let store = &api.node.store;
    let limit = paging.size().map(|size| size + u64::from(with_cursor));
    let mut rows = store.credit_history(owner.clone(), filter.clone(), (sort, order), (start, limit)).await?;
    if rows.is_empty() {
        return Err(ApiError::text(StatusCode::NOT_FOUND, "No credit history found for this address"));
    }
    let size = paging.size().unwrap_or(u64::MAX);
    let more = rows.len() as u64 > size;
    rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let list: Vec<Value> = rows.iter().map(|row| entry(row, with_cursor)).collect();
    Ok(json_value(&match paging {
        Paging::Cursor { per_page, .. } => json!({
            "address": address, "credit_history": list, "pagination_per_page": per_page,
            "next_cursor": rows.last().filter(|_| more).map(|row| sorted.cursor(row)),
        }),
        Paging::Page { per_page, page } => {
            let count = |_| async {
                let rows = store.credit_summary(owner.clone(), filter.clone()).await?.entries;
                Ok(Count { rows, exact: true })
            };
            let asked = (&owner, &filter);
            let count = api.totals.of("credit history", &asked, count);
            json!({
                "address": address, "credit_history": list, "pagination_page": page,
                "pagination_total": pages::total(&paging, list.len() as u64, count).await?,
                "pagination_per_page": per_page,
            })
        }
    }))
}

/// The sums of what an address got and spent.
#[utoipa::path(
    get,
    path = "/api/v0/addresses/{address}/credit_history/summary",
    tag = "accounts",
    operation_id = "accounts_credit_summary",
    params(("address" = String, Path, description = "The address")),
    responses(
        (status = 200, description = "The answer", body = serde_json::Value),
    ),
)]
pub(super) async fn credit_summary(
    State(api): State<Arc<Api>>,
    Path(address): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let filter = filter(&mut params);
    params.finish()?;
    let sums = api.node.store.credit_summary(Address::from(address.as_str()), filter).await?;
    Ok(json_value(&json!({
        "address": address,
        "entry_count": sums.entries,
        "total_amount": sums.incoming.saturating_add(sums.outgoing),
        "total_incoming": sums.incoming,
        "total_outgoing": sums.outgoing,
    })))
}

/// The credits that a resource has used up.
#[utoipa::path(
    get,
    path = "/api/v0/messages/{item_hash}/consumed_credits",
    tag = "messages",
    operation_id = "messages_consumed_credits",
    params(("item_hash" = String, Path, description = "Item hash of the resource")),
    responses(
        (status = 200, description = "The answer", body = serde_json::Value),
    ),
)]
pub(super) async fn consumed_credits(
    State(api): State<Arc<Api>>,
    Path(hash): Path<String>,
) -> Result<Response, ApiError> {
    let consumed = api.node.store.consumed_credits(hash.clone()).await?;
    Ok(json_value(&json!({ "item_hash": hash, "consumed_credits": consumed })))
}

/// What every account can spend.
#[utoipa::path(
    get,
    path = "/api/v0/credit_balances",
    tag = "accounts",
    operation_id = "accounts_credit_balances",
    params(("min_balance" = Option<u64>, Query, description = "Only accounts with at least so much", minimum = 1), PageParams),
    responses(
        (status = 200, description = "The answer", body = serde_json::Value),
    ),
)]
pub(super) async fn credit_balances(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let names: &[&str] = &["min_balance", "minBalance"];
    let least = params.has(names).then(|| params.integer(names, 1, 1));
    let paging = Paging::read(&mut params, 100, 0, u64::MAX);
    params.finish()?;
    let paging = paging?;
    let after = match &paging {
        Paging::Cursor { after: Some(cursor), .. } => Some(Address::from(cursor.text("a")?)),
        _ => None,
    };
    let with_cursor = matches!(paging, Paging::Cursor { .. });
    let limit = paging.size().map(|size| size + u64::from(with_cursor));
    let place = (paging.offset(), limit);
    let (store, now) = (&api.node.store, clock::now());
    let mut rows = store.credit_balances(now, least, after, place).await?;
    let size = paging.size().unwrap_or(u64::MAX);
    let more = rows.len() as u64 > size;
    rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(|(address, _)| Cursor::encode(&json!({ "a": address })));
    let list: Vec<Value> =
        rows.iter().map(|(address, credits)| json!({ "address": address, "credits": credits })).collect();
    Ok(json_value(&match paging {
        Paging::Cursor { per_page, .. } => json!({
            "credit_balances": list, "pagination_per_page": per_page, "next_cursor": next,
        }),
        Paging::Page { per_page, page } => {
            let count = |most| store.count_credit_balances(now, least, most);
            let count = api.totals.of("credit balances", &least, count);
            json!({
                "credit_balances": list, "pagination_page": page,
                "pagination_total": pages::total(&paging, list.len() as u64, count).await?,
                "pagination_per_page": per_page, "pagination_item": "credit_balances",
            })
        }
    }))
}

/// One row of the list of balances: where the list goes on after it.
fn balance_start(row: &AccountBalance) -> BalanceStart {
    BalanceStart::After(row.address.clone(), row.chain.as_str().to_owned(), row.dapp.clone())
}

fn push_balance(out: &mut Vec<u8>, row: &AccountBalance) {
    let amount: f64 = row.amount.parse().unwrap_or_default();
    let shown = json!({ "address": row.address, "balance": amount, "chain": row.chain });
    out.extend_from_slice(shown.to_string().as_bytes());
}

/// The tokens of every account: a row for each address, chain and application.
#[utoipa::path(
    get,
    path = "/api/v0/balances",
    tag = "accounts",
    operation_id = "accounts_balances",
    params(
        ("chains" = Option<Vec<String>>, Query, description = "Only tokens on these chains", style = Form, explode = false),
        ("min_balance" = Option<u64>, Query, description = "Only balances of at least so many tokens", minimum = 1),
        PageParams,
    ),
    responses(
        (status = 200, description = "The answer", body = BalancesPage),
    ),
)]
pub(super) async fn balances(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let chains = params.words::<Chain>(&["chains"], "chain");
    let names: &[&str] = &["min_balance", "minBalance"];
    let least = params.has(names).then(|| params.integer(names, 1, 1));
    let paging = Paging::read(&mut params, 100, 0, u64::MAX);
    params.finish()?;
    let paging = paging?;
    let filter = BalanceFilter { chains, least };
    let store = api.node.store.clone();
    if let Paging::Cursor { per_page, after } = &paging {
        let start = match after {
            None => BalanceStart::Offset(0),
            // The reference's cursors name the address only; going on after it repeats and skips nothing
            // but what they skip.
            Some(cursor) => {
                let part = |key| cursor.text(key).unwrap_or(LAST).to_owned();
                BalanceStart::After(Address::from(cursor.text("a")?), part("c"), part("d"))
            }
        };
        let mut rows = store.list_balances(filter, start, per_page + 1).await?;
        let more = rows.len() as u64 > *per_page;
        rows.truncate(usize::try_from(*per_page).unwrap_or(usize::MAX));
        let place = |row: &AccountBalance| {
            Cursor::encode(&json!({ "a": row.address, "c": row.chain, "d": row.dapp }))
        };
        let piece = Piece::of(&rows, push_balance, place);
        let next = piece.last.filter(|_| more);
        return Ok(pages::by_cursor("balances", *per_page, piece.json, next.as_deref(), |_| ()));
    }
    let (selected, counting) = (filter.clone(), store.clone());
    let fetch = move |start: BalanceStart, limit: u64| {
        let (store, filter) = (store.clone(), selected.clone());
        async move {
            let rows = store.list_balances(filter, start, limit).await?;
            Ok(Piece::of(&rows, push_balance, balance_start))
        }
    };
    let count = api.totals.of("balances", &filter, |most| counting.count_balances(filter.clone(), most));
    pages::numbered("balances", &paging, BalanceStart::Offset(paging.offset()), fetch, count).await
}

/// Sorts after every name of a chain or application.
const LAST: &str = "\u{10ffff}";

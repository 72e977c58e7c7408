//! What an address has and did (`spec: ccn-api.md §8`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aleph_ledger::credit::CreditShare;
use aleph_store::queries::{AccountFile, AddressCounts, Balance, FileQuery, SortOrder};
use aleph_types::content::PaymentType;
use aleph_types::{Address, Chain, MessageType, Timestamp};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Api;
use super::errors::{ApiError, json_answer, json_value};
use super::json::Object;
use super::openapi::params::{OrderParams, PageParams};
use super::openapi::shapes::{AccountFiles, AddressChannels, AddressStats, BalanceAnswer, PostTypes};
use super::pages::{self, Cursor, Paging, Piece};
use super::params::Params;
use crate::clock;

/// Tokens and credits of an address.
#[utoipa::path(
    get,
    path = "/api/v0/addresses/{address}/balance",
    tag = "accounts",
    operation_id = "accounts_balance",
    params(("address" = String, Path, description = "The address"), ("chain" = Option<String>, Query, description = "Only tokens of this chain"), ("include_credit_details" = Option<bool>, Query, description = "Credits by their end")),
    responses(
        (status = 200, description = "The answer", body = BalanceAnswer),
    ),
)]
pub(super) async fn balance(
    State(api): State<Arc<Api>>,
    Path(address): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let chain = params.word::<Chain>(&["chain"], "chain");
    let with_details = params.flag(&["include_credit_details", "includeCreditDetails"], false);
    params.finish()?;
    let balances = api.node.store.balances_of(Address::from(address.as_str())).await?;
    let (total, details) = summed(&balances, chain);
    let (owner, now) = (Address::from(address.as_str()), clock::now());
    let locked = api.node.store.running_cost(owner.clone(), PaymentType::Hold).await?;
    let credits = api.node.store.credit_balance(owner, now).await?;
    let shares = || {
        let share = |share: &CreditShare| {
            json!({
                "expiration_date": share.expiration.map(|time| time.iso_z().to_string()),
                "amount": whole(share.amount),
            })
        };
        credits.shares.iter().map(share).collect::<Vec<_>>()
    };
    Ok(json_value(&json!({
        "address": address,
        "balance": total,
        "details": details,
        "locked_amount": locked.to_f64(),
        "credit_balance": whole(credits.total),
        "credit_balance_details": if with_details { shares().into() } else { Value::Null },
    })))
}

/// Sums of lots: each lot is an `i64`, only absurd accounts have more in sum.
fn whole(credits: i128) -> i64 {
    i64::try_from(credits).unwrap_or(i64::MAX)
}

/// The sum over chains (or of one), and the sum of each when there is no choice of one.
fn summed(balances: &[Balance], chain: Option<Chain>) -> (f64, Map<String, Value>) {
    let mut total = 0.0;
    let mut details: BTreeMap<&str, f64> = BTreeMap::new();
    for balance in balances.iter().filter(|balance| balance.dapp.is_none()) {
        let amount: f64 = balance.amount.parse().unwrap_or_default();
        match chain {
            Some(chain) if chain != balance.chain => {}
            Some(_) => total += amount,
            None => {
                total += amount;
                *details.entry(balance.chain.as_str()).or_default() += amount;
            }
        }
    }
    (total, details.into_iter().map(|(chain, amount)| (chain.to_owned(), json!(amount))).collect())
}

/// The files that an owner stores.
#[utoipa::path(
    get,
    path = "/api/v0/addresses/{address}/files",
    tag = "accounts",
    operation_id = "accounts_files",
    params(("address" = String, Path, description = "The owner"), ("file_hash" = Option<String>, Query, description = "Only this file"), ("sort_order" = Option<i8>, Query, description = "-1: newest first; 1: oldest first", minimum = -1, maximum = 1), PageParams),
    responses(
        (status = 200, description = "The answer", body = AccountFiles),
    ),
)]
pub(super) async fn files(
    State(api): State<Arc<Api>>,
    Path(address): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let order = params.sort_order(&["sort_order", "sortOrder"]);
    let file = params.text(&["file_hash"]);
    let paging = Paging::read(&mut params, 100, 0, u64::MAX);
    params.finish()?;
    let (paging, owner) = (paging?, Address::from(address.as_str()));
    let store = &api.node.store;
    // Counting the many files of some accounts takes longer than everything else.
    let (count, bytes) = api.file_totals.get(&owner, || store.file_totals(owner.clone())).await?;
    let with_cursor = matches!(paging, Paging::Cursor { .. });
    let limit = paging.size().map_or(u64::MAX, |size| size + u64::from(with_cursor));
    let query = FileQuery { owner, file, order, start: paging.start()?, limit };
    let mut found = store.list_files(query).await?;
    if found.is_empty() {
        return Err(ApiError::not_found());
    }
    match paging {
        Paging::Cursor { per_page, .. } => {
            let more = found.len() as u64 > per_page;
            found.truncate(usize::try_from(per_page).unwrap_or(usize::MAX));
            let piece = Piece::of(
                &found,
                |out, file| push_file(out, file, true),
                |file| Cursor::of(file.created, file.item_hash.as_str()),
            );
            let next = piece.last.filter(|_| more);
            Ok(pages::by_cursor("files", per_page, piece.json, next.as_deref(), |object| {
                object.text("address", &address).raw("total_size", &format!("{bytes}.0"));
            }))
        }
        Paging::Page { per_page, page } => {
            let piece = Piece::of(&found, |out, file| push_file(out, file, false), |_| ());
            let mut body = Vec::with_capacity(piece.json.as_slice().len() + 200);
            let mut object = Object::new(&mut body);
            object.text("address", &address).number("total_size", bytes);
            let list = object.field("files");
            list.push(b'[');
            list.extend_from_slice(piece.json.as_slice());
            list.push(b']');
            object.number("pagination_page", page).number("pagination_total", count);
            object.number("pagination_per_page", per_page).end();
            Ok(json_answer(StatusCode::OK, body))
        }
    }
}

fn push_file(out: &mut Vec<u8>, file: &AccountFile, with_cursor: bool) {
    let mut object = Object::new(out);
    object
        .text("file_hash", file.file.hash.as_str())
        .number("size", file.file.size)
        .text("type", file.file.kind.as_str());
    if with_cursor {
        object.time("created", file.created);
    } else {
        object.text("created", &with_fraction(file.created));
    }
    object.text("item_hash", file.item_hash.as_str()).end();
}

/// ISO 8601 ending in `Z`, always with a fraction: the official Python client parses no other form here.
fn with_fraction(time: Timestamp) -> String {
    let text = time.iso_z().to_string();
    if text.contains('.') { text } else { text.replace('Z', ".000000Z") }
}

/// The types of posts that an address sent.
#[utoipa::path(
    get,
    path = "/api/v0/addresses/{address}/post_types",
    tag = "accounts",
    operation_id = "accounts_post_types",
    params(("address" = String, Path, description = "The sender")),
    responses(
        (status = 200, description = "The answer", body = PostTypes),
    ),
)]
pub(super) async fn post_types(
    State(api): State<Arc<Api>>,
    Path(address): Path<String>,
) -> Result<Response, ApiError> {
    let post_types = api.node.store.post_types_of(Address::from(address.as_str())).await?;
    Ok(json_value(&json!({ "address": address, "post_types": post_types })))
}

/// The channels that an address sent to.
#[utoipa::path(
    get,
    path = "/api/v0/addresses/{address}/channels",
    tag = "accounts",
    operation_id = "accounts_channels",
    params(("address" = String, Path, description = "The sender")),
    responses(
        (status = 200, description = "The answer", body = AddressChannels),
    ),
)]
pub(super) async fn channels(
    State(api): State<Arc<Api>>,
    Path(address): Path<String>,
) -> Result<Response, ApiError> {
    let channels = api.node.store.channels_of(Address::from(address.as_str())).await?;
    Ok(json_value(&json!({ "address": address, "channels": channels })))
}

/// The columns of the statistics.
const COLUMNS: [(&str, MessageType); 6] = [
    ("aggregate", MessageType::Aggregate),
    ("forget", MessageType::Forget),
    ("instance", MessageType::Instance),
    ("post", MessageType::Post),
    ("program", MessageType::Program),
    ("store", MessageType::Store),
];

fn push_counts(out: &mut Vec<u8>, counts: &AddressCounts) {
    let mut object = Object::new(out);
    object.number("messages", counts.total);
    for (name, message_type) in COLUMNS {
        object.number(name, counts.by_type.get(&message_type).copied().unwrap_or_default());
    }
    object.end();
}

/// Numbers of messages by sender.
#[utoipa::path(
    get,
    path = "/api/v0/addresses/stats.json",
    tag = "accounts",
    operation_id = "accounts_stats_v0",
    params(("addresses[]" = Option<Vec<String>>, Query, description = "Senders, the parameter repeated; without it all")),
    responses(
        (status = 200, description = "The answer", body = AddressStats),
    ),
)]
pub(super) async fn stats_v0(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let params = Params::read(query.as_deref());
    let addresses: Vec<String> = params
        .pairs()
        .iter()
        .filter(|(key, _)| key == "addresses[]")
        .map(|(_, value)| value.clone())
        .collect();
    let counts = if addresses.is_empty() {
        let statistics = statistics(&api).await?;
        return Ok(stats_answer(statistics.rows.iter().rev().map(|row| (&row.address, &row.counts))));
    } else {
        api.node.store.address_counts(Some(addresses)).await?
    };
    Ok(stats_answer(counts.iter().rev()))
}

fn stats_answer<'a>(rows: impl Iterator<Item = (&'a String, &'a AddressCounts)>) -> Response {
    let mut body = Vec::new();
    let mut object = Object::new(&mut body);
    let mut data = Object::new(object.field("data"));
    for (address, counts) in rows {
        push_counts(data.field(address), counts);
    }
    data.end();
    object.end();
    json_answer(StatusCode::OK, body)
}

async fn statistics(api: &Api) -> Result<Arc<Statistics>, ApiError> {
    let make =
        async { Ok::<_, ApiError>(Arc::new(Statistics::new(api.node.store.address_counts(None).await?))) };
    api.address_counts.get(make).await
}

/// What every address sent, and its orders, each made when it is asked for.
#[derive(Debug)]
pub(super) struct Statistics {
    /// By address.
    rows: Vec<AddressRow>,
    /// Places in `rows`, by column (the total last) and direction.
    orders: [[OnceLock<Vec<u32>>; 2]; COLUMNS.len() + 1],
}

#[derive(Debug)]
struct AddressRow {
    address: String,
    /// In lower case.
    searched: String,
    counts: AddressCounts,
}

impl Statistics {
    fn new(counts: BTreeMap<String, AddressCounts>) -> Self {
        let row = |(address, counts): (String, AddressCounts)| {
            let searched = address.to_lowercase();
            AddressRow { address, searched, counts }
        };
        Self { rows: counts.into_iter().map(row).collect(), orders: Default::default() }
    }

    fn sorted(&self, sort: StatsSort, order: SortOrder) -> &[u32] {
        let of_column = &self.orders[sort.0.unwrap_or(COLUMNS.len())];
        let (place, sign) = match order {
            SortOrder::Descending => (0, -1),
            SortOrder::Ascending => (1, 1),
        };
        of_column[place].get_or_init(|| {
            let rows = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
            let mut places: Vec<u32> = (0..rows).collect();
            // Stable: ties stay in the order of their addresses.
            places.sort_by_key(|place| sign * sort.value(&self.rows[*place as usize].counts) as i64);
            places
        })
    }
}

/// The place of a column in [`COLUMNS`]; without one, the total.
#[derive(Debug, Clone, Copy, Default)]
struct StatsSort(Option<usize>);

impl StatsSort {
    fn value(self, counts: &AddressCounts) -> u64 {
        match self.0 {
            None => counts.total,
            Some(column) => counts.by_type.get(&COLUMNS[column].1).copied().unwrap_or_default(),
        }
    }
}

impl std::str::FromStr for StatsSort {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "total" {
            return Ok(Self(None));
        }
        COLUMNS.iter().position(|(name, _)| *name == text).map(|column| Self(Some(column))).ok_or(())
    }
}

/// Numbers of messages by sender, in pages.
#[utoipa::path(
    get,
    path = "/api/v1/addresses/stats.json",
    tag = "accounts",
    operation_id = "accounts_stats_v1",
    params(("addressContains" = Option<String>, Query, description = "A part of the address, in any case", max_length = 66), ("sortBy" = Option<String>, Query, description = "post, aggregate, store, forget, program, instance or total"), OrderParams, PageParams),
    responses(
        (status = 200, description = "The answer", body = AddressStats),
    ),
)]
pub(super) async fn stats_v1(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    let contains = params.text(&["addressContains"]).map(|text| text.to_lowercase());
    let sort = params
        .word::<StatsSort>(&["sortBy"], "column: post, aggregate, store, forget, program, instance, total")
        .unwrap_or_default();
    let order = params.sort_order(&["sortOrder"]);
    let paging = Paging::read(&mut params, 20, 0, u64::MAX);
    if contains.as_ref().is_some_and(|text| text.chars().count() > 66) {
        params.conflict("addressContains should have at most 66 characters");
    }
    params.finish()?;
    let paging = paging?;
    let statistics = statistics(&api).await?;
    let sorted = statistics.sorted(sort, order);
    let row = |place: &u32| &statistics.rows[*place as usize];
    let found: Cow<'_, [u32]> = match &contains {
        None => sorted.into(),
        Some(text) => {
            sorted.iter().copied().filter(|place| row(place).searched.contains(text.as_str())).collect()
        }
    };
    let total = found.len() as u64;
    let skipped = match &paging {
        Paging::Cursor { after: Some(cursor), .. } => {
            let (last_value, last_address) = (cursor.number("v")?, cursor.text("a")?);
            found.partition_point(|place| {
                let (value, address) = (sort.value(&row(place).counts), row(place).address.as_str());
                let before = match order {
                    SortOrder::Descending => value > last_value,
                    SortOrder::Ascending => value < last_value,
                };
                before || (value == last_value && address <= last_address)
            })
        }
        paging => usize::try_from(paging.offset()).unwrap_or(usize::MAX),
    };
    let size = paging.size().map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX));
    let more = found.len().saturating_sub(skipped) > size;
    let shown: Vec<(&String, &AddressCounts)> = found
        .iter()
        .skip(skipped)
        .take(size)
        .map(|place| (&row(place).address, &row(place).counts))
        .collect();

    let mut body = Vec::new();
    let mut object = Object::new(&mut body);
    let mut data = Object::new(object.field("data"));
    for (address, counts) in &shown {
        push_counts(data.field(address), counts);
    }
    data.end();
    match paging {
        Paging::Page { per_page, page } => {
            object.number("pagination_per_page", per_page).number("pagination_page", page);
            object.number("pagination_total", total).text("pagination_item", "addresses");
        }
        Paging::Cursor { per_page, .. } => {
            let next = shown
                .last()
                .filter(|_| more)
                .map(|(address, counts)| Cursor::encode(&json!({ "a": address, "v": sort.value(counts) })));
            object.number("pagination_per_page", per_page).optional_text("next_cursor", next.as_deref());
        }
    }
    object.end();
    Ok(json_answer(StatusCode::OK, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_are_summed_without_dapps() {
        let balance = |chain, dapp: Option<&str>, amount: &str| Balance {
            chain,
            dapp: dapp.map(str::to_owned),
            amount: amount.to_owned(),
        };
        let balances = [
            balance(Chain::Eth, None, "1000.5"),
            balance(Chain::Avax, None, "500"),
            balance(Chain::Eth, Some("SABLIER"), "7"),
        ];
        let (total, details) = summed(&balances, None);
        assert_eq!(total, 1500.5);
        assert_eq!(Value::Object(details), json!({"AVAX": 500.0, "ETH": 1000.5}));
        let (total, details) = summed(&balances, Some(Chain::Avax));
        assert_eq!((total, details.len()), (500.0, 0));
    }
}

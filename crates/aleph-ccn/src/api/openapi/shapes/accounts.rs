//! What belongs to an address.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaType};

/// The aggregates of an owner.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AggregatesOfOwner {
    address: String,
    /// Values by key.
    data: BTreeMap<String, Value>,
    /// With `with_info`, times and hashes by key.
    info: BTreeMap<String, AggregateInfo>,
}

/// The aggregates of an owner; with `value_only` and one key the value itself, which may be anything.
#[derive(Debug)]
pub(in crate::api) struct AggregatesAnswer;

impl utoipa::PartialSchema for AggregatesAnswer {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let value = ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some("The value."));
        let all = utoipa::openapi::Ref::from_schema_name(AggregatesOfOwner::name());
        AnyOfBuilder::new().item(all).item(value).into()
    }
}

impl ToSchema for AggregatesAnswer {
    fn schemas(schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>) {
        let all = <AggregatesOfOwner as utoipa::PartialSchema>::schema();
        schemas.push((AggregatesOfOwner::name().into(), all));
        <AggregatesOfOwner as ToSchema>::schemas(schemas);
    }
}

/// When a key was made and changed, and by which messages.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AggregateInfo {
    created: String,
    last_updated: String,
    original_item_hash: String,
    last_update_item_hash: String,
}

/// A page of aggregates.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AggregatesPage {
    aggregates: Vec<Aggregate>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    next_cursor: Option<String>,
}

/// A key of an owner.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Aggregate {
    address: String,
    key: String,
    content: BTreeMap<String, Value>,
    created: String,
    last_updated: String,
}

/// Permissions by the address on the other side.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AuthorizationsPage {
    authorizations: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    pagination_page: u64,
    pagination_per_page: u64,
    pagination_total: u64,
    pagination_item: String,
    address: String,
}

/// Numbers of messages by type.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AddressCounts {
    /// Of all types.
    messages: u64,
    aggregate: u64,
    forget: u64,
    instance: u64,
    post: u64,
    program: u64,
    store: u64,
}

/// Numbers of messages by sender.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AddressStats {
    data: BTreeMap<String, AddressCounts>,
    pagination_per_page: Option<u64>,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    next_cursor: Option<String>,
}

/// What an address has.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct BalanceAnswer {
    address: String,
    /// Tokens, summed over chains.
    balance: f64,
    /// Tokens by chain.
    details: BTreeMap<String, f64>,
    locked_amount: f64,
    credit_balance: i64,
    #[schema(required)]
    credit_balance_details: Option<Vec<Value>>,
}

/// A file of an owner.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AccountFile {
    file_hash: String,
    size: u64,
    /// `file` or `dir`.
    r#type: String,
    /// ISO 8601; seconds since 1970 with a cursor.
    #[schema(required)]
    created: Value,
    /// The STORE message.
    item_hash: String,
}

/// The files of an owner.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AccountFiles {
    address: String,
    /// Bytes of all files.
    total_size: f64,
    files: Vec<AccountFile>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    next_cursor: Option<String>,
}

/// The post types that a sender used.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PostTypes {
    address: String,
    post_types: Vec<String>,
}

/// The channels that a sender used.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AddressChannels {
    address: String,
    channels: Vec<String>,
}

/// All channels.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Channels {
    channels: Vec<String>,
}

//! Parameters as the document describes them. [`super::super::params::Params`] is what reads them.

#![allow(dead_code, reason = "described, never made")]

use utoipa::{IntoParams, ToSchema};

/// A message's type.
#[derive(Debug, ToSchema)]
#[schema(as = MessageType)]
pub(in crate::api) enum TypeWord {
    #[schema(rename = "POST")]
    Post,
    #[schema(rename = "AGGREGATE")]
    Aggregate,
    #[schema(rename = "STORE")]
    Store,
    #[schema(rename = "PROGRAM")]
    Program,
    #[schema(rename = "INSTANCE")]
    Instance,
    #[schema(rename = "V-PROGRAM")]
    VProgram,
    #[schema(rename = "FORGET")]
    Forget,
}

/// What became of a message.
#[derive(Debug, ToSchema)]
#[schema(as = MessageStatus, rename_all = "lowercase")]
pub(in crate::api) enum StatusWord {
    Pending,
    Processed,
    Rejected,
    Forgotten,
    Removing,
    Removed,
}

/// How a message is paid for.
#[derive(Debug, ToSchema)]
#[schema(as = PaymentType, rename_all = "lowercase")]
pub(in crate::api) enum PaymentWord {
    Hold,
    Superfluid,
    Credit,
}

/// How much of the content is shown.
#[derive(Debug, ToSchema)]
#[schema(as = ContentFormat, rename_all = "lowercase")]
pub(in crate::api) enum FormatWord {
    Full,
    Headers,
    None,
}

/// The message's own time, or the time of its first confirmation on a chain.
#[derive(Debug, ToSchema)]
#[schema(as = SortBy)]
pub(in crate::api) enum SortByWord {
    #[schema(rename = "time")]
    Time,
    #[schema(rename = "tx-time")]
    TxTime,
}

/// Which messages.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct MessageFilterParams {
    #[param(inline)]
    sort_by: Option<SortByWord>,
    /// -1: newest first; 1: oldest first.
    #[param(minimum = -1, maximum = 1, default = -1)]
    sort_order: Option<i8>,
    /// One type; old, `msgTypes` is better.
    #[param(inline)]
    msg_type: Option<TypeWord>,
    #[param(inline, style = Form, explode = false)]
    msg_types: Option<Vec<TypeWord>>,
    /// Default `processed,removing`. `forgotten` or `removed` stand alone, and know fewer filters.
    #[param(inline, style = Form, explode = false)]
    msg_statuses: Option<Vec<StatusWord>>,
    /// Senders.
    #[param(style = Form, explode = false)]
    addresses: Option<Vec<String>>,
    /// Owners: `content.address`.
    #[param(style = Form, explode = false)]
    owners: Option<Vec<String>>,
    /// `content.ref`.
    #[param(style = Form, explode = false)]
    refs: Option<Vec<String>>,
    /// `content.item_hash`.
    #[param(style = Form, explode = false)]
    content_hashes: Option<Vec<String>>,
    /// `content.key` of aggregates.
    #[param(style = Form, explode = false)]
    content_keys: Option<Vec<String>>,
    /// `content.type` of posts.
    #[param(style = Form, explode = false)]
    content_types: Option<Vec<String>>,
    /// Chain codes such as `ETH`.
    #[param(style = Form, explode = false)]
    chains: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    channels: Option<Vec<String>>,
    /// Messages with any of these tags.
    #[param(style = Form, explode = false)]
    tags: Option<Vec<String>>,
    /// Item hashes.
    #[param(style = Form, explode = false)]
    hashes: Option<Vec<String>>,
    #[param(inline, style = Form, explode = false)]
    payment_types: Option<Vec<PaymentWord>>,
    /// Seconds since 1970; 0 is no bound.
    #[param(minimum = 0)]
    start_date: Option<f64>,
    /// Seconds since 1970, not included; 0 is no bound.
    #[param(minimum = 0)]
    end_date: Option<f64>,
    /// Lowest height of the first confirmation; 0 is no bound.
    #[param(minimum = 0)]
    start_block: Option<i64>,
    /// Height of the first confirmation, not included; 0 is no bound.
    #[param(minimum = 0)]
    end_block: Option<i64>,
    /// Old: the same as `contentFormat=none`.
    exclude_content: Option<bool>,
    #[param(inline)]
    content_format: Option<FormatWord>,
}

/// A page by number, or by cursor.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PageParams {
    /// Rows of a page, 20 by default; 0 is all. With a cursor from 1 to 200.
    #[param(minimum = 0)]
    pagination: Option<i64>,
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<i64>,
    /// Where to go on: empty for the first page, then `next_cursor` of the answer before.
    cursor: Option<String>,
}

/// A page by number.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct NumberedPageParams {
    /// Rows of a page, 20 by default.
    #[param(minimum = 1, maximum = 500, default = 20)]
    pagination: Option<i64>,
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<i64>,
}

/// The order of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct OrderParams {
    /// -1: descending; 1: ascending.
    #[param(minimum = -1, maximum = 1, default = -1)]
    sort_order: Option<i8>,
}

/// Which hashes.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct HashesParams {
    #[param(inline)]
    status: Option<StatusWord>,
    /// Seconds since 1970 of the reception here; 0 is no bound.
    #[param(rename = "startDate", minimum = 0)]
    start_date: Option<f64>,
    /// The same, not included.
    #[param(rename = "endDate", minimum = 0)]
    end_date: Option<f64>,
    /// Only hashes; `false` adds status and time of reception.
    #[param(default = true)]
    hash_only: Option<bool>,
    /// Rows of a page; 0 is all.
    #[param(minimum = 0, default = 20)]
    pagination: Option<i64>,
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<i64>,
}

/// Which posts.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct PostParams {
    /// Owners.
    #[param(style = Form, explode = false)]
    addresses: Option<Vec<String>>,
    /// Item hashes of originals.
    #[param(style = Form, explode = false)]
    hashes: Option<Vec<String>>,
    /// `ref` of originals.
    #[param(style = Form, explode = false)]
    refs: Option<Vec<String>>,
    /// Types of originals.
    #[param(style = Form, explode = false)]
    types: Option<Vec<String>>,
    /// Posts whose latest version has any of these tags.
    #[param(style = Form, explode = false)]
    tags: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    channels: Option<Vec<String>>,
    /// Seconds since 1970 of the last change; 0 is no bound.
    #[param(minimum = 0)]
    start_date: Option<f64>,
    /// The same, not included.
    #[param(minimum = 0)]
    end_date: Option<f64>,
    #[param(inline)]
    sort_by: Option<SortByWord>,
    /// -1: newest first; 1: oldest first.
    #[param(minimum = -1, maximum = 1, default = -1)]
    sort_order: Option<i8>,
}

/// Which keys of an owner, and how they are shown.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct AggregateParams {
    #[param(style = Form, explode = false)]
    keys: Option<Vec<String>>,
    /// Read and ignored, as in the reference.
    #[param(minimum = 0)]
    limit: Option<i64>,
    /// Adds times and hashes of each key.
    with_info: Option<bool>,
    /// With exactly one key: nothing but its value.
    value_only: Option<bool>,
}

/// The order of a list of aggregates.
#[derive(Debug, ToSchema)]
#[schema(as = AggregateSort, rename_all = "snake_case")]
pub(in crate::api) enum AggregateSortWord {
    LastModified,
    CreationTime,
}

/// Which aggregates.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct AggregateListParams {
    #[param(style = Form, explode = false)]
    keys: Option<Vec<String>>,
    /// Owners.
    #[param(style = Form, explode = false)]
    addresses: Option<Vec<String>>,
    #[param(inline)]
    sort_by: Option<AggregateSortWord>,
    /// -1: newest first; 1: oldest first.
    #[param(minimum = -1, maximum = 1, default = -1)]
    sort_order: Option<i8>,
    /// Rows of a page. With a cursor at most 200.
    #[param(minimum = 1, maximum = 500, default = 20)]
    pagination: Option<i64>,
    /// Which page, from 1.
    #[param(minimum = 1, default = 1)]
    page: Option<i64>,
    /// Where to go on.
    cursor: Option<String>,
}

/// Which permissions.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(in crate::api) struct AuthorizationParams {
    #[param(style = Form, explode = false)]
    channels: Option<Vec<String>>,
    /// Message types.
    #[param(style = Form, explode = false)]
    types: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    post_types: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    chains: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    aggregate_keys: Option<Vec<String>>,
}

/// A range of times and its order.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct NodeMetricsParams {
    /// Seconds since 1970, included; without it, or 0: 14 days before the end.
    #[param(minimum = 0)]
    start_date: Option<f64>,
    /// Seconds since 1970, included; without it: now.
    #[param(minimum = 0)]
    end_date: Option<f64>,
    /// `ASC`, `DESC`, `1` or `-1`; ascending by default.
    sort: Option<String>,
}

//! Prices, balances and costs.

use serde_json::Value;
use utoipa::ToSchema;

use super::super::params::PaymentWord;

/// What a resource costs.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Price {
    /// In the unit of the payment type; credits and streams are for a second.
    required_tokens: f64,
    #[schema(inline)]
    payment_type: PaymentWord,
    /// Decimal, 18 digits after the point.
    cost: String,
    detail: Vec<Value>,
    charged_address: String,
}

/// Tokens of an account on one chain.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct AccountBalance {
    address: String,
    balance: f64,
    chain: String,
}

/// Balances of all accounts.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct BalancesPage {
    balances: Vec<AccountBalance>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    /// At most five minutes old.
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    /// With a cursor: where the next page starts; null at the end.
    next_cursor: Option<String>,
}

/// Sums over resources. Amounts are decimal, 18 digits after the point.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct CostsSummary {
    /// Of every way to pay.
    total_consumed_credits: u64,
    total_cost_hold: String,
    total_cost_stream: String,
    total_cost_credit: String,
    resource_count: u64,
}

/// What was asked for.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct CostsFilters {
    address: Option<String>,
    item_hash: Option<String>,
    payment_type: String,
}

/// What one resource costs.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct ResourceCosts {
    item_hash: String,
    owner: String,
    payment_type: String,
    consumed_credits: u64,
    cost_hold: String,
    cost_stream: String,
    cost_credit: String,
    /// With `include_details=2`.
    detail: Option<Vec<Value>>,
}

/// What resources cost.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct CostsAnswer {
    summary: CostsSummary,
    filters: CostsFilters,
    /// With `include_details` of 1 and 2.
    resources: Option<Vec<ResourceCosts>>,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_per_page: Option<u64>,
    pagination_item: Option<String>,
}

/// A message whose costs could not be computed anew.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct RecalculationError {
    item_hash: String,
    error: String,
}

/// What a recalculation did.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Recalculation {
    message: String,
    recalculated_count: u64,
    total_messages: u64,
    /// The prices that the network began with count as one.
    pricing_changes_found: Option<u64>,
    /// The first thousand; absent without any.
    errors: Option<Vec<RecalculationError>>,
}

/// A message whose price is asked for.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PriceRequest {
    message: Value,
}

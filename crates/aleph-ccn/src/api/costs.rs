//! What resources cost, summed and listed (`spec: ccn-api.md §9.1`).

use std::sync::Arc;
use std::time::Duration;

use aleph_store::{CostFilter, CostSummary, ResourceCost};
use aleph_types::content::PaymentType;
use aleph_types::{Address, ItemHash};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::Api;
use super::counts::Cached;
use super::errors::{ApiError, json_value};
use super::openapi::shapes::CostsAnswer;
use super::params::Params;
use super::prices::line;

/// How old sums over every account may be: they cost a walk over all resources.
const SUMS_AGE: Duration = Duration::from_secs(60);

/// The sums over every account, for each way to pay: resources, and credits used up.
#[derive(Debug)]
pub(super) struct Sums {
    hold: Cached<(CostSummary, u64)>,
    superfluid: Cached<(CostSummary, u64)>,
    credit: Cached<(CostSummary, u64)>,
}

impl Default for Sums {
    fn default() -> Self {
        let cached = || Cached::new(SUMS_AGE);
        Self { hold: cached(), superfluid: cached(), credit: cached() }
    }
}

impl Sums {
    fn of(&self, payment: PaymentType) -> &Cached<(CostSummary, u64)> {
        match payment {
            PaymentType::Hold => &self.hold,
            PaymentType::Superfluid => &self.superfluid,
            PaymentType::Credit => &self.credit,
        }
    }
}

/// Resources, and credits used up.
async fn sums(api: &Api, filter: &CostFilter) -> Result<(CostSummary, u64), ApiError> {
    let make = async {
        let store = &api.node.store;
        let summary = store.cost_summary(filter.clone()).await?;
        let consumed = store.total_consumed_credits(filter.owner.clone(), filter.message.clone()).await?;
        Ok((summary, consumed))
    };
    match filter {
        CostFilter { owner: None, message: None, payment } => api.cost_sums.of(*payment).get(make).await,
        _ => make.await,
    }
}

/// The lines of a resource.
async fn detail(api: &Api, message: &ItemHash, with_size: bool) -> Result<Value, ApiError> {
    let lines = api.node.store.costs_of(message.clone()).await?;
    let shown = lines
        .iter()
        .map(|cost| line(&cost.cost_type, &cost.name, &cost.costs, cost.size_mib.filter(|_| with_size)));
    Ok(shown.collect())
}

fn shown(resource: &ResourceCost, detail: Value) -> Value {
    json!({
        "item_hash": resource.message,
        "owner": resource.owner,
        "payment_type": resource.payment.as_str(),
        "consumed_credits": resource.consumed,
        "cost_hold": resource.costs.hold.to_string(),
        "cost_stream": resource.costs.stream.to_string(),
        "cost_credit": resource.costs.credit.to_string(),
        "detail": detail,
    })
}

/// What resources cost: sums, and on demand a list of them with or without their lines.
#[utoipa::path(
    get,
    path = "/api/v0/costs",
    tag = "prices",
    operation_id = "costs_get",
    params(
        ("address" = Option<String>, Query, description = "Only what this address pays for"),
        ("item_hash" = Option<String>, Query, description = "Only this resource"),
        ("payment_type" = Option<String>, Query, description = "hold, superfluid or credit (default)"),
        ("include_details" = Option<u8>, Query, description = "0: sums; 1: with a list of resources; 2: with their lines, for one address or resource", minimum = 0, maximum = 2),
        ("include_size" = Option<bool>, Query, description = "Show the size of each line, MiB"),
        ("pagination" = Option<u64>, Query, description = "Resources of a page, 100 by default", minimum = 10, maximum = 1000),
        ("page" = Option<u64>, Query, description = "Which page, from 1", minimum = 1),
    ),
    responses(
        (status = 200, description = "The answer", body = CostsAnswer),
    ),
)]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut params = Params::read(query.as_deref());
    // An empty one filters nothing, as in the reference.
    let address = params.text(&["address"]).filter(|text| !text.is_empty());
    let hash = params.text(&["item_hash", "itemHash"]).filter(|text| !text.is_empty());
    let payment = params.word::<PaymentType>(&["payment_type", "paymentType"], "payment type");
    let payment = payment.unwrap_or(PaymentType::Credit);
    let details = params.bounded_integer(&["include_details", "includeDetails"], 0, 0, 2);
    let with_size = params.flag(&["include_size", "includeSize"], false);
    let per_page = params.bounded_integer(&["pagination"], 100, 10, 1000);
    let page = params.integer(&["page"], 1, 1);
    params.finish()?;
    if details == 2 && address.is_none() && hash.is_none() {
        return Err(ApiError::unprocessable(
            "include_details=2 requires at least one of 'address' or 'item_hash': the lines of every \
             resource are too many",
        ));
    }
    let mut answer = json!({
        "summary": {}, "filters": { "address": address, "item_hash": hash, "payment_type": payment.as_str() },
        "resources": null, "pagination_page": null, "pagination_total": null, "pagination_per_page": null,
        "pagination_item": null,
    });
    // What is no hash names no resource.
    let message = hash.as_deref().map(ItemHash::recognise);
    let (summary, consumed, resources) = match message {
        Some(Err(_)) => (CostSummary::default(), 0, Vec::new()),
        message => {
            let owner = address.as_deref().map(Address::from);
            let filter = CostFilter { owner, message: message.and_then(Result::ok), payment };
            let (summary, consumed) = sums(&api, &filter).await?;
            let mut list = Vec::new();
            if details > 0 {
                let offset = (page - 1).saturating_mul(per_page);
                for resource in api.node.store.resource_costs(filter, offset, per_page).await? {
                    let lines = match details {
                        2 => detail(&api, &resource.message, with_size).await?,
                        _ => Value::Null,
                    };
                    list.push(shown(&resource, lines));
                }
            }
            (summary, consumed, list)
        }
    };
    answer["summary"] = json!({
        "total_consumed_credits": consumed,
        "total_cost_hold": summary.costs.hold.to_string(),
        "total_cost_stream": summary.costs.stream.to_string(),
        "total_cost_credit": summary.costs.credit.to_string(),
        "resource_count": summary.resources,
    });
    if details > 0 {
        answer["resources"] = resources.into();
        answer["pagination_page"] = page.into();
        answer["pagination_total"] = summary.resources.into();
        answer["pagination_per_page"] = per_page.into();
        answer["pagination_item"] = "resources".into();
    }
    Ok(json_value(&answer))
}

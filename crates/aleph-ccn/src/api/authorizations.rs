//! Who may act for whom: the `security` aggregates (`spec: ccn-api.md §7`).

use std::collections::BTreeMap;
use std::sync::Arc;

use aleph_types::Address;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Api;
use super::aggregates::name_of_path;
use super::errors::{ApiError, json_value};
use super::openapi::params::{AuthorizationParams, NumberedPageParams};
use super::openapi::shapes::AuthorizationsPage;
use super::params::Params;

/// Rules by the address on the other side.
type Rules = BTreeMap<String, Vec<Map<String, Value>>>;

/// What a request keeps: a rule that doesn't restrict a dimension, or shares a value with it.
#[derive(Debug, Default)]
struct Filter {
    /// Key of the rule, wanted values.
    dimensions: Vec<(&'static str, Vec<String>)>,
    other: Option<String>,
    per_page: u64,
    page: u64,
}

impl Filter {
    fn read(query: Option<&str>, other: &'static [&'static str]) -> Result<Self, ApiError> {
        let mut params = Params::read(query).refuse_in_json();
        let mut filter = Self { other: params.text(other), ..Self::default() };
        for (key, names) in [
            ("channels", &["channels"][..]),
            ("types", &["types"][..]),
            ("post_types", &["postTypes", "post_types"][..]),
            ("chain", &["chains"][..]),
            ("aggregate_keys", &["aggregateKeys", "aggregate_keys"][..]),
        ] {
            filter.dimensions.extend(params.list(names).map(|wanted| (key, wanted)));
        }
        filter.per_page = params.bounded_integer(&["pagination"], 20, 1, 500);
        filter.page = params.integer(&["page"], 1, 1);
        params.finish()?;
        Ok(filter)
    }

    fn keeps(&self, rule: &Map<String, Value>) -> bool {
        self.dimensions.iter().all(|(key, wanted)| match rule.get(*key) {
            None | Some(Value::Null) => true,
            Some(Value::Array(values)) => {
                values.is_empty()
                    || values
                        .iter()
                        .any(|value| value.as_str().is_some_and(|text| wanted.iter().any(|one| one == text)))
            }
            Some(Value::String(text)) => text.is_empty() || wanted.contains(text),
            Some(_) => false,
        })
    }

    fn answer(&self, address: &str, mut rules: Rules) -> Response {
        if let Some(other) = &self.other {
            rules.retain(|party, _| party == other);
        }
        for of_party in rules.values_mut() {
            of_party.retain(|rule| self.keeps(rule));
        }
        rules.retain(|_, of_party| !of_party.is_empty());
        let total = rules.len();
        let skipped = usize::try_from((self.page - 1).saturating_mul(self.per_page)).unwrap_or(usize::MAX);
        let per_page = usize::try_from(self.per_page).unwrap_or(usize::MAX);
        let shown: Map<String, Value> = rules
            .into_iter()
            .skip(skipped)
            .take(per_page)
            .map(|(party, rules)| {
                (party, Value::from(rules.into_iter().map(Value::Object).collect::<Vec<_>>()))
            })
            .collect();
        json_value(&json!({
            "authorizations": shown,
            "pagination_page": self.page,
            "pagination_per_page": self.per_page,
            "pagination_total": total,
            "pagination_item": "authorizations",
            "address": address,
        }))
    }
}

/// The rules in a `security` document, with the address that each names.
fn rules_of(document: &str) -> Vec<(String, Map<String, Value>)> {
    let Ok(Value::Object(mut fields)) = aleph_types::json::parse(document.as_bytes()) else {
        return Vec::new();
    };
    let Some(Value::Array(entries)) = fields.remove("authorizations") else {
        return Vec::new();
    };
    let entry = |value| match value {
        Value::Object(mut rule) => match rule.shift_remove("address") {
            Some(Value::String(address)) => Some((address, rule)),
            _ => None,
        },
        _ => None,
    };
    entries.into_iter().filter_map(entry).collect()
}

/// Whom an owner lets act, and for what.
#[utoipa::path(
    get,
    path = "/api/v0/authorizations/granted/{address}.json",
    tag = "aggregates",
    operation_id = "authorizations_granted",
    params(("address" = String, Path, description = "The owner"), ("grantee" = Option<String>, Query, description = "Only what this address may do"), AuthorizationParams, NumberedPageParams),
    responses(
        (status = 200, description = "The answer", body = AuthorizationsPage),
    ),
)]
pub(super) async fn granted(
    State(api): State<Arc<Api>>,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let owner = name_of_path(&file)?;
    let filter = Filter::read(query.as_deref(), &["grantee"])?;
    let found = api.node.store.aggregates_of(Address::from(owner), Some(vec!["security".to_owned()])).await?;
    let mut rules = Rules::new();
    for (grantee, rule) in found.first().map(|document| rules_of(&document.content)).unwrap_or_default() {
        rules.entry(grantee).or_default().push(rule);
    }
    Ok(filter.answer(owner, rules))
}

/// For whom an address may act, and what it may do.
#[utoipa::path(
    get,
    path = "/api/v0/authorizations/received/{address}.json",
    tag = "aggregates",
    operation_id = "authorizations_received",
    params(("address" = String, Path, description = "Who acts"), ("granter" = Option<String>, Query, description = "Only for this owner"), AuthorizationParams, NumberedPageParams),
    responses(
        (status = 200, description = "The answer", body = AuthorizationsPage),
    ),
)]
pub(super) async fn received(
    State(api): State<Arc<Api>>,
    Path(file): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let grantee = name_of_path(&file)?;
    let filter = Filter::read(query.as_deref(), &["granter"])?;
    let mut rules = Rules::new();
    for document in api.node.store.security_aggregates_mentioning(Address::from(grantee)).await? {
        for (_, rule) in rules_of(&document.content).into_iter().filter(|(address, _)| address == grantee) {
            rules.entry(document.owner.as_str().to_owned()).or_default().push(rule);
        }
    }
    Ok(filter.answer(grantee, rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unrestricted_dimensions_pass() {
        let rule = |value: Value| value.as_object().unwrap().clone();
        let filter = Filter::read(Some("types=POST&chains=ETH,SOL"), &["grantee"]).unwrap();
        assert!(filter.keeps(&rule(json!({}))));
        assert!(filter.keeps(&rule(json!({"types": []}))));
        assert!(filter.keeps(&rule(json!({"types": ["STORE", "POST"], "chain": "SOL"}))));
        assert!(!filter.keeps(&rule(json!({"types": ["STORE"]}))));
        assert!(!filter.keeps(&rule(json!({"chain": "AVAX"}))));
    }

    #[test]
    fn rules_lose_their_address() {
        let rules =
            rules_of(r#"{"authorizations":[{"address":"0xB","types":["POST"],"note":1},"x",{"types":[]}]}"#);
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].0, "0xB");
        assert_eq!(Value::Object(rules[0].1.clone()), json!({"types": ["POST"], "note": 1}));
    }
}

use aleph_types::Address;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Client, segment};
use crate::error::Result;
use crate::query::{NumberedPage, PageRequest};

/// One document of an account, as it stands now (`spec: ccn-api.md §6.2`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateEntry {
    /// Owner.
    pub address: Address,
    /// Which document.
    pub key: String,
    /// The merged document.
    pub content: Value,
    /// ISO 8601 time of the first element.
    #[serde(default)]
    pub created: Option<String>,
    /// ISO 8601 time of the latest element.
    #[serde(default)]
    pub last_updated: Option<String>,
}

impl Client {
    /// The document `key` of `owner`, or `None`.
    pub async fn aggregate(&self, owner: &Address, key: &str) -> Result<Option<Value>> {
        Ok(self.aggregates(owner, &[key]).await?.remove(key))
    }

    /// The documents of `owner` under `keys`, or all when `keys` is empty. Absent ones are left out.
    pub async fn aggregates(&self, owner: &Address, keys: &[&str]) -> Result<Map<String, Value>> {
        #[derive(Deserialize)]
        struct Answer {
            data: Map<String, Value>,
        }
        let mut query = Vec::new();
        if !keys.is_empty() {
            query.push(("keys", keys.join(",")));
        }
        let path = format!("/api/v0/aggregates/{}.json", segment(owner.as_str()));
        let answer: Option<Answer> = self.get_optional(&path, &query, "aggregates").await?;
        Ok(answer.map(|answer| answer.data).unwrap_or_default())
    }

    /// One page of the documents of any accounts and keys (empty lists: all), last changed first.
    pub async fn list_aggregates(
        &self,
        owners: &[Address],
        keys: &[String],
        page: PageRequest,
    ) -> Result<NumberedPage<AggregateEntry>> {
        #[derive(Deserialize)]
        struct Answer {
            aggregates: Vec<AggregateEntry>,
            pagination_page: u64,
            pagination_per_page: u64,
            pagination_total: Option<u64>,
        }
        let mut query = Vec::new();
        if !owners.is_empty() {
            query.push(("addresses", owners.iter().map(Address::as_str).collect::<Vec<_>>().join(",")));
        }
        if !keys.is_empty() {
            query.push(("keys", keys.join(",")));
        }
        page.append(&mut query);
        let answer: Answer = self.get_json("/api/v0/aggregates.json", &query, "a page of aggregates").await?;
        Ok(NumberedPage {
            items: answer.aggregates,
            page: answer.pagination_page,
            per_page: answer.pagination_per_page,
            total: answer.pagination_total,
        })
    }
}

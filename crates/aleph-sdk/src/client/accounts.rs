use aleph_types::{Address, ItemHash};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Client, segment};
use crate::error::Result;
use crate::query::PageRequest;

/// What an account has, as its node sees it (`spec: ccn-api.md §8.2`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// The account.
    pub address: Address,
    /// ALEPH tokens; a JSON number or decimal text, kept as served.
    pub balance: Value,
    /// ALEPH tokens held for running resources.
    #[serde(default)]
    pub locked_amount: Value,
    /// Credits.
    #[serde(default)]
    pub credit_balance: Value,
}

/// A file that an account keeps on the network (`spec: ccn-api.md §8.4`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountFile {
    /// Hash of the file's bytes.
    pub file_hash: ItemHash,
    /// Bytes.
    pub size: u64,
    /// `file` or `directory`.
    #[serde(rename = "type")]
    pub file_type: String,
    /// When it was stored: ISO 8601 text.
    pub created: Value,
    /// The STORE message that keeps it.
    pub item_hash: ItemHash,
}

impl Client {
    /// The balances of `account`; `None` when the node keeps no balances.
    pub async fn balance(&self, account: &Address) -> Result<Option<Balance>> {
        let path = format!("/api/v0/addresses/{}/balance", segment(account.as_str()));
        self.get_optional(&path, &[], "an account's balance").await
    }

    /// One page of the files of `account`, newest first.
    pub async fn account_files(&self, account: &Address, page: PageRequest) -> Result<Vec<AccountFile>> {
        #[derive(Deserialize)]
        struct Answer {
            files: Vec<AccountFile>,
        }
        let mut query = vec![("sort_order", "-1".to_owned())];
        page.append(&mut query);
        let path = format!("/api/v0/addresses/{}/files", segment(account.as_str()));
        // An account without files is a 404 (`spec: clients.md §9.2`).
        let answer: Option<Answer> = self.get_optional(&path, &query, "an account's files").await?;
        Ok(answer.map(|answer| answer.files).unwrap_or_default())
    }
}

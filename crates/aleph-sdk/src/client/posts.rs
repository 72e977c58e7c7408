use aleph_types::{Address, ItemHash};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Client;
use crate::error::Result;
use crate::query::{CursorPage, NumberedPage, PageRequest, PostFilter};

/// A post as it stands now: the original merged with its latest amend (`spec: ccn-api.md §5`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Post {
    /// The latest amend, or the original.
    pub item_hash: ItemHash,
    /// The original.
    pub original_item_hash: ItemHash,
    /// The original's type.
    pub original_type: String,
    /// Owner.
    pub address: Address,
    /// The original's `ref`.
    #[serde(rename = "ref")]
    pub reference: Option<Value>,
    /// Free label.
    pub channel: Option<String>,
    /// The payload.
    pub content: Value,
    /// ISO 8601 time of the original.
    pub created: String,
    /// ISO 8601 time of the latest amend.
    pub last_updated: String,
}

impl Client {
    /// One page of posts, last updated first unless the filter says otherwise.
    pub async fn posts(&self, filter: &PostFilter, page: PageRequest) -> Result<NumberedPage<Post>> {
        #[derive(Deserialize)]
        struct Answer {
            posts: Vec<Post>,
            pagination_page: u64,
            pagination_per_page: u64,
            pagination_total: Option<u64>,
        }
        let mut query = filter.to_query();
        page.append(&mut query);
        let answer: Answer = self.get_json("/api/v1/posts.json", &query, "a page of posts").await?;
        Ok(NumberedPage {
            items: answer.posts,
            page: answer.pagination_page,
            per_page: answer.pagination_per_page,
            total: answer.pagination_total,
        })
    }

    /// The posts after `cursor`, at most `size`; `None` starts at the beginning.
    pub async fn posts_after(
        &self,
        filter: &PostFilter,
        cursor: Option<&str>,
        size: u32,
    ) -> Result<CursorPage<Post>> {
        #[derive(Deserialize)]
        struct Answer {
            posts: Vec<Post>,
            next_cursor: Option<String>,
        }
        let mut query = filter.to_query();
        query.push(("cursor", cursor.unwrap_or_default().to_owned()));
        query.push(("pagination", size.to_string()));
        let answer: Answer = self.get_json("/api/v1/posts.json", &query, "a page of posts").await?;
        Ok(CursorPage { items: answer.posts, next: answer.next_cursor })
    }
}

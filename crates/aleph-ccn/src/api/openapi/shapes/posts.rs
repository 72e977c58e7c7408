//! Posts, in both shapes.

use serde_json::Value;
use utoipa::ToSchema;

use super::Confirmation;

/// A page of posts in the older shape.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PostsPage {
    posts: Vec<Post>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    /// With a cursor: where the next page starts; null at the end.
    next_cursor: Option<String>,
}

/// An original with its latest amendment.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct Post {
    /// Of the latest version.
    item_hash: String,
    #[schema(required)]
    content: Value,
    original_item_hash: String,
    original_type: String,
    /// The owner.
    address: String,
    #[schema(required)]
    r#ref: Option<String>,
    #[schema(required)]
    channel: Option<String>,
    created: String,
    last_updated: String,
}

/// A page of posts in the older shape.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PostsPageV0 {
    posts: Vec<PostV0>,
    pagination_per_page: u64,
    pagination_page: Option<u64>,
    pagination_total: Option<u64>,
    pagination_item: Option<String>,
    next_cursor: Option<String>,
}

/// An original with its latest amendment, in the older shape.
#[derive(Debug, ToSchema)]
pub(in crate::api) struct PostV0 {
    chain: String,
    item_hash: String,
    sender: String,
    r#type: String,
    #[schema(required)]
    channel: Option<String>,
    confirmed: bool,
    #[schema(required)]
    content: Value,
    #[schema(required)]
    item_content: Option<String>,
    item_type: String,
    #[schema(required)]
    signature: Option<String>,
    size: u64,
    time: f64,
    confirmations: Vec<Confirmation>,
    original_item_hash: String,
    #[schema(required)]
    original_signature: Option<String>,
    original_type: String,
    hash: String,
    address: String,
    #[schema(required)]
    r#ref: Option<String>,
}

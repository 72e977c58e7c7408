use aleph_sdk::{PageRequest, PostFilter, SortOrder};
use aleph_types::{ItemHash, Timestamp};
use clap::Args;

use crate::arguments::time;
use crate::context::Context;
use crate::error::CliResult;
use crate::output::{clipped, short};

/// List posts as they stand now, the last changed first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph post list --type note
  aleph post list --address alice --channel demo --count 5
  aleph post list --ref HASH --json | jq '.[].content'")]
pub(crate) struct Arguments {
    /// Types; may be given several times
    #[arg(long = "type", value_name = "WORD")]
    types: Vec<String>,
    /// Owners: addresses or names of accounts
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Labels
    #[arg(long = "channel", value_name = "TEXT")]
    channels: Vec<String>,
    /// What the posts are about
    #[arg(long = "ref", value_name = "REF")]
    refs: Vec<String>,
    /// Tags
    #[arg(long = "tag", value_name = "TEXT")]
    tags: Vec<String>,
    /// Original posts
    #[arg(long = "hash", value_name = "HASH")]
    hashes: Vec<ItemHash>,
    /// Changed at or after this date, time, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Changed before
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// The first changed first
    #[arg(long)]
    oldest_first: bool,
    /// Most posts to show
    #[arg(long, default_value_t = 20)]
    count: u32,
    /// Which page of that many
    #[arg(long, default_value_t = 1)]
    page: u32,
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let owners: Vec<_> =
        arguments.addresses.iter().map(|text| context.address(Some(text))).collect::<CliResult<_>>()?;
    let filter = PostFilter {
        types: arguments.types.clone(),
        owners,
        hashes: arguments.hashes.clone(),
        refs: arguments.refs.clone(),
        tags: arguments.tags.clone(),
        channels: arguments.channels.clone(),
        start: arguments.since,
        end: arguments.until,
        order: if arguments.oldest_first { SortOrder::OldestFirst } else { SortOrder::NewestFirst },
    };
    let page = PageRequest { number: arguments.page, size: arguments.count };
    let posts = context.client()?.posts(&filter, page).await?;
    let out = &context.out;
    if out.json {
        return out.document(&posts.items);
    }
    if posts.items.is_empty() {
        out.note("no posts match");
        return Ok(());
    }
    let rows = posts.items.iter().map(|post| {
        vec![
            post.last_updated.chars().take(19).collect(),
            post.original_type.clone(),
            short(post.address.as_str()),
            post.original_item_hash.to_string(),
            clipped(&post.content.to_string(), 60),
        ]
    });
    out.table(&["changed", "type", "owner", "post", "content"], rows.collect())?;
    if let Some(total) = posts.total.filter(|total| *total > posts.items.len() as u64) {
        out.note(format!("{} of {total}; --page {} shows more", posts.items.len(), posts.page + 1));
    }
    Ok(())
}

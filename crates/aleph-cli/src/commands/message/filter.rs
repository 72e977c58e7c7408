//! The conditions that `list` and `watch` share.

use aleph_sdk::MessageFilter;
use aleph_types::{Chain, ItemHash, MessageType, Timestamp};
use clap::Args;

use crate::arguments::time;
use crate::context::Context;
use crate::error::CliResult;

fn message_type(text: &str) -> Result<MessageType, String> {
    let known = || MessageType::ALL.map(MessageType::as_str).join(", ");
    text.to_uppercase().parse().map_err(|()| format!("types are {}", known()))
}

/// Which messages. Conditions of one kind may be given several times: any of them matches.
#[derive(Debug, Clone, Args)]
pub(crate) struct Filter {
    /// Types of message: POST, AGGREGATE, STORE, PROGRAM, INSTANCE, V-PROGRAM, FORGET
    #[arg(long = "type", value_name = "TYPE", value_parser = message_type)]
    types: Vec<MessageType>,
    /// Who signed: addresses or names of accounts
    #[arg(long = "sender", value_name = "ADDRESS")]
    senders: Vec<String>,
    /// Owners: addresses or names of accounts
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Labels
    #[arg(long = "channel", value_name = "TEXT")]
    channels: Vec<String>,
    /// What the messages refer to
    #[arg(long = "ref", value_name = "REF")]
    refs: Vec<String>,
    /// Types of posts
    #[arg(long = "post-type", value_name = "WORD")]
    post_types: Vec<String>,
    /// Keys of aggregates
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Tags
    #[arg(long = "tag", value_name = "TEXT")]
    tags: Vec<String>,
    /// Hashes of the messages
    #[arg(long = "hash", value_name = "HASH")]
    hashes: Vec<ItemHash>,
    /// Chains of the senders
    #[arg(long = "chain", value_name = "CODE")]
    chains: Vec<Chain>,
    /// At or after this date, time, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

impl Filter {
    pub(super) fn read(&self, context: &Context) -> CliResult<MessageFilter> {
        let addresses = |texts: &[String]| -> CliResult<Vec<_>> {
            texts.iter().map(|text| context.address(Some(text))).collect()
        };
        Ok(MessageFilter {
            types: self.types.clone(),
            senders: addresses(&self.senders)?,
            owners: addresses(&self.addresses)?,
            refs: self.refs.clone(),
            content_keys: self.keys.clone(),
            content_types: self.post_types.clone(),
            chains: self.chains.clone(),
            channels: self.channels.clone(),
            tags: self.tags.clone(),
            hashes: self.hashes.clone(),
            start: self.since,
            end: self.until,
            ..MessageFilter::default()
        })
    }
}

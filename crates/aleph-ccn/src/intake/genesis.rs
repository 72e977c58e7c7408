//! The genesis of a private network: messages that need no signature, the same on every node.
//!
//! ```json
//! { "messages": [ { "type": "AGGREGATE", "address": "0x…", "time": 1.0, "key": "k", "content": {} },
//!                 { "type": "POST", "address": "0x…", "time": 1.0, "post_type": "t", "content": 1 } ],
//!   "balances": [ { "address": "0x…", "chain": "ETH", "amount": "1000" } ],
//!   "credits":  [ { "address": "0x…", "amount": 1000000 } ] }
//! ```

use std::path::{Path, PathBuf};

use aleph_types::{
    Address, Chain, Channel, ItemHash, ItemType, Message, MessageType, ParsedMessage, Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::NetworkConfig;

/// Why a genesis file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The network is not private.
    #[error("a genesis file needs 'network.private = true': the public network trusts no unsigned message")]
    NotPrivate,
    /// The file can't be read.
    #[error("can't read the genesis file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file has not the form of a genesis.
    #[error("the genesis file {path} is not valid: {source}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What and where.
        #[source]
        source: serde_json::Error,
    },
    /// An entry makes no valid message.
    #[error("entry {number} of the genesis is no valid message: {reason}")]
    Entry {
        /// Its number, from 1.
        number: usize,
        /// Why.
        reason: String,
    },
    /// Balances or credits are given, but nobody may publish them.
    #[error("the genesis has {what}, but 'network.{key}' names no address")]
    NoPublisher {
        /// Balances or credits.
        what: &'static str,
        /// The setting.
        key: &'static str,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Genesis {
    #[serde(default)]
    messages: Vec<Entry>,
    #[serde(default)]
    balances: Vec<Balance>,
    #[serde(default)]
    credits: Vec<Credit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "type")]
    message_type: MessageType,
    address: String,
    #[serde(default)]
    time: f64,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    post_type: Option<String>,
    #[serde(default)]
    reference: Option<String>,
    content: Value,
    #[serde(default)]
    channel: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Balance {
    address: String,
    chain: Chain,
    amount: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Credit {
    address: String,
    amount: u64,
}

/// The trusted messages of a genesis file, in order.
pub(crate) fn load(path: &Path, network: &NetworkConfig) -> Result<Vec<ParsedMessage>, GenesisError> {
    if !network.private {
        return Err(GenesisError::NotPrivate);
    }
    let bytes = std::fs::read(path).map_err(|source| GenesisError::Read { path: path.into(), source })?;
    let genesis: Genesis =
        serde_json::from_slice(&bytes).map_err(|source| GenesisError::Form { path: path.into(), source })?;
    let mut entries = genesis.messages;
    entries.extend(balance_posts(&genesis.balances, network)?);
    entries.extend(credit_post(&genesis.credits, network)?);
    entries
        .into_iter()
        .enumerate()
        .map(|(index, entry)| {
            message(entry).map_err(|reason| GenesisError::Entry { number: index + 1, reason })
        })
        .collect()
}

/// One `balances-update` post a chain.
fn balance_posts(balances: &[Balance], network: &NetworkConfig) -> Result<Vec<Entry>, GenesisError> {
    let mut chains: Vec<Chain> = balances.iter().map(|balance| balance.chain).collect();
    chains.sort();
    chains.dedup();
    if chains.is_empty() {
        return Ok(Vec::new());
    }
    let publisher = network
        .balance_publishers
        .first()
        .ok_or(GenesisError::NoPublisher { what: "balances", key: "balance_publishers" })?;
    Ok(chains
        .into_iter()
        .map(|chain| {
            let of_chain: serde_json::Map<String, Value> = balances
                .iter()
                .filter(|balance| balance.chain == chain)
                .map(|balance| (balance.address.clone(), balance.amount.clone()))
                .collect();
            Entry {
                message_type: MessageType::Post,
                address: publisher.clone(),
                time: 0.0,
                key: None,
                post_type: Some("balances-update".into()),
                reference: None,
                content: json!({ "chain": chain, "main_height": 1, "balances": of_chain }),
                channel: None,
            }
        })
        .collect())
}

/// One `aleph_credit_distribution` post.
fn credit_post(credits: &[Credit], network: &NetworkConfig) -> Result<Option<Entry>, GenesisError> {
    if credits.is_empty() {
        return Ok(None);
    }
    let publisher = network
        .credit_publishers
        .first()
        .ok_or(GenesisError::NoPublisher { what: "credits", key: "credit_publishers" })?;
    let list: Vec<Value> = credits
        .iter()
        .map(|credit| {
            json!({
                "address": credit.address, "amount": credit.amount, "price": "1", "tx_hash": "genesis",
                "provider": "genesis",
            })
        })
        .collect();
    Ok(Some(Entry {
        message_type: MessageType::Post,
        address: publisher.clone(),
        // After the change of the credit unit, so that amounts are counted as written
        // (`spec: messages.md §13`).
        time: 1_769_990_400.0,
        key: None,
        post_type: Some("aleph_credit_distribution".into()),
        reference: None,
        content: json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": list } }),
        channel: Some("ALEPH_CREDIT".into()),
    }))
}

fn message(entry: Entry) -> Result<ParsedMessage, String> {
    let mut content = json!({ "address": entry.address, "time": entry.time, "content": entry.content });
    match entry.message_type {
        MessageType::Post => {
            content["type"] = entry.post_type.ok_or("a POST needs 'post_type'")?.into();
            if let Some(reference) = entry.reference {
                content["ref"] = reference.into();
            }
        }
        MessageType::Aggregate => content["key"] = entry.key.ok_or("an AGGREGATE needs 'key'")?.into(),
        other => return Err(format!("{other} messages can't be part of a genesis")),
    }
    let text = content.to_string();
    let item_hash = ItemHash::sha256(text.as_bytes());
    let parsed = aleph_types::content::Content::parse_text(entry.message_type, &item_hash, text.as_bytes())
        .map_err(|error| error.to_string())?;
    let time = Timestamp::from_secs_f64(entry.time).map_err(|error| error.to_string())?;
    Ok(ParsedMessage {
        message: Message {
            item_hash,
            message_type: entry.message_type,
            chain: Chain::Eth,
            sender: Address::from(entry.address),
            signature: None,
            item_type: ItemType::Inline,
            item_content: Some(text.into()),
            time,
            channel: entry.channel.map(Channel::from),
        },
        content: Some(parsed),
    })
}

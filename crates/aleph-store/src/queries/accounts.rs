use std::collections::BTreeMap;

use aleph_types::{Address, Chain, MessageType};
use rusqlite::Connection;

use super::rows;
use super::sql::Sql;
use crate::{Store, StoreError};

/// An amount of tokens that an address holds on a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Where.
    pub chain: Chain,
    /// The application that holds them, if any.
    pub dapp: Option<String>,
    /// Decimal.
    pub amount: String,
}

/// How many messages an address sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressCounts {
    /// Over all types.
    pub total: u64,
    /// By type.
    pub by_type: BTreeMap<MessageType, u64>,
}

fn balances(conn: &Connection, address: &str) -> Result<Vec<Balance>, StoreError> {
    let mut sql = Sql::new("SELECT chain, dapp, amount FROM balances WHERE address = ");
    sql.bind(address.to_owned()).push(" ORDER BY chain, dapp");
    sql.rows(conn, |row| {
        let dapp: String = row.get(1)?;
        Ok(Balance {
            chain: rows::word(row, 0, "chain")?,
            dapp: (!dapp.is_empty()).then_some(dapp),
            amount: row.get(2)?,
        })
    })
}

fn distinct_of_sender(
    conn: &Connection,
    sender: &str,
    column: &str,
    also: &str,
) -> Result<Vec<String>, StoreError> {
    let mut sql = Sql::new(&format!(
        "SELECT DISTINCT m.{column} FROM messages m INDEXED BY messages_sender \
         WHERE m.{column} IS NOT NULL {also} AND m.sender = "
    ));
    sql.bind(sender.to_owned()).push(" ORDER BY 1");
    sql.rows(conn, |row| row.get(0))
}

/// Each value of an index's first column, by jumps from one to the next.
fn channels(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut next = conn.prepare_cached(
        "SELECT min(channel) FROM messages INDEXED BY messages_channel WHERE channel IS NOT NULL AND channel > ?1",
    )?;
    let mut channels = Vec::new();
    let mut last = String::new();
    // The empty channel sorts before every other and is not greater than itself.
    let has_empty: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM messages INDEXED BY messages_channel WHERE channel = '')",
        )?
        .query_row([], |row| row.get(0))?;
    if has_empty {
        channels.push(String::new());
    }
    while let Some(channel) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? {
        channels.push(channel.clone());
        last = channel;
    }
    Ok(channels)
}

type CountsByAddress = BTreeMap<String, AddressCounts>;

fn address_counts(conn: &Connection, addresses: Option<&[String]>) -> Result<CountsByAddress, StoreError> {
    let mut sql =
        Sql::new("SELECT m.sender, m.message_type, count(*) FROM messages m INDEXED BY messages_sender");
    if let Some(addresses) = addresses {
        sql.push(" WHERE ").one_of("m.sender", addresses);
    }
    sql.push(" GROUP BY m.sender, m.message_type");
    let mut counts = CountsByAddress::new();
    let mut add = |sender: String, message_type: MessageType, messages: u64| {
        let of_sender = counts.entry(sender).or_default();
        of_sender.total += messages;
        of_sender.by_type.insert(message_type, messages);
    };
    for (sender, message_type, messages) in
        sql.rows(conn, |row| Ok((row.get(0)?, rows::word(row, 1, "message type")?, rows::size(row, 2)?)))?
    {
        add(sender, message_type, messages);
    }
    Ok(counts)
}

impl Store {
    /// What an address holds, by chain and application.
    pub async fn balances_of(&self, address: Address) -> Result<Vec<Balance>, StoreError> {
        self.read(move |conn| balances(conn, address.as_str())).await
    }

    /// The types of an address's posts, sorted.
    pub async fn post_types_of(&self, sender: Address) -> Result<Vec<String>, StoreError> {
        self.read(move |conn| {
            distinct_of_sender(conn, sender.as_str(), "content_type", "AND m.message_type = 'POST'")
        })
        .await
    }

    /// The channels on which an address published, sorted.
    pub async fn channels_of(&self, sender: Address) -> Result<Vec<String>, StoreError> {
        self.read(move |conn| distinct_of_sender(conn, sender.as_str(), "channel", "")).await
    }

    /// All channels, sorted.
    pub async fn channels(&self) -> Result<Vec<String>, StoreError> {
        self.read(channels).await
    }

    /// Messages by sender and type: of these addresses, or of all. Reads every message that it counts.
    pub async fn address_counts(
        &self,
        addresses: Option<Vec<String>>,
    ) -> Result<BTreeMap<String, AddressCounts>, StoreError> {
        self.read(move |conn| match addresses.as_deref() {
            Some([]) => Ok(CountsByAddress::new()),
            addresses => address_counts(conn, addresses),
        })
        .await
    }
}

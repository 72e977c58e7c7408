use std::collections::{BTreeMap, BTreeSet};

use aleph_types::{Address, Chain, MessageType};

use super::sql::{CHANNEL_START, START_CHARS, Sql};
use crate::engine::{Session, values};
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

fn balances(session: &Session, address: &str) -> Result<Vec<Balance>, StoreError> {
    let mut sql = Sql::new("SELECT chain, dapp, amount FROM balances WHERE address = ");
    sql.bind(address.to_owned()).push(" ORDER BY chain, dapp");
    sql.rows(session, |row| {
        let dapp = row.string(1)?;
        Ok(Balance {
            chain: row.word(0, "chain")?,
            dapp: (!dapp.is_empty()).then_some(dapp),
            amount: row.string(2)?,
        })
    })
}

/// What together holds every message by its sender: those of owners, and of others. The sender's column
/// there is an address, by which both are in order.
const BY_SENDER: [(&str, &str); 2] = [
    ("o.address", "FROM owners o CROSS JOIN messages m INDEXED BY messages_own ON m.own = o.id WHERE TRUE"),
    ("m.sender", "FROM messages m INDEXED BY messages_sender WHERE m.sender <> m.owner"),
];

fn distinct_of_sender(
    session: &Session,
    sender: &str,
    column: &str,
    also: &str,
) -> Result<Vec<String>, StoreError> {
    let mut values = BTreeSet::new();
    for (of_sender, messages) in BY_SENDER {
        let mut sql = Sql::new(&format!(
            "SELECT DISTINCT m.{column} {messages} AND m.{column} IS NOT NULL {also} AND {of_sender} = "
        ));
        sql.bind(sender.to_owned());
        values.extend(sql.rows(session, |row| row.string(0))?);
    }
    Ok(values.into_iter().collect())
}

/// Every channel, by jumps from one to the next in its index.
fn channels(session: &Session) -> Result<Vec<String>, StoreError> {
    let starts = match session {
        Session::Sqlite(_) => return jumps(session, "m.channel"),
        // Its index holds the starts of channels.
        Session::Postgres(_) => jumps(session, CHANNEL_START)?,
    };
    let mut channels = Vec::with_capacity(starts.len());
    for start in starts {
        if start.chars().count() < START_CHARS {
            channels.push(start);
            continue;
        }
        let mut sql = Sql::new(&format!(
            "SELECT DISTINCT m.channel FROM messages m \
             WHERE m.channel IS NOT NULL AND {CHANNEL_START} = "
        ));
        sql.bind(start).push(" ORDER BY m.channel");
        channels.extend(sql.rows(session, |row| row.string(0))?);
    }
    Ok(channels)
}

/// Each value of the first column of the index of channels.
fn jumps(session: &Session, column: &str) -> Result<Vec<String>, StoreError> {
    let index = "FROM messages m INDEXED BY messages_channel WHERE m.channel IS NOT NULL AND";
    let next = format!("SELECT min({column}) {index} {column} > ?1");
    let has_empty = format!("SELECT EXISTS (SELECT 1 {index} {column} = '')");
    let mut values = Vec::new();
    let mut last = String::new();
    // The empty channel sorts before every other and is not greater than itself.
    if session.first(&has_empty, &[], |row| row.flag(0))?.unwrap_or_default() {
        values.push(String::new());
    }
    while let Some(value) = session.first(&next, values![&last], |row| row.opt_string(0))?.flatten() {
        values.push(value.clone());
        last = value;
    }
    Ok(values)
}

type CountsByAddress = BTreeMap<String, AddressCounts>;

fn address_counts(session: &Session, addresses: Option<&[String]>) -> Result<CountsByAddress, StoreError> {
    let mut counts = CountsByAddress::new();
    for (of_sender, messages) in BY_SENDER {
        let mut sql = Sql::new(&format!("SELECT {of_sender}, m.message_type, count(*) {messages}"));
        sql.and_one_of(of_sender, addresses);
        sql.push(&format!(" GROUP BY {of_sender}, m.message_type"));
        let rows = sql.rows(session, |row| {
            Ok((row.string(0)?, row.word::<MessageType>(1, "message type")?, row.size(2)?))
        })?;
        for (sender, message_type, messages) in rows {
            let of_sender = counts.entry(sender).or_default();
            of_sender.total += messages;
            *of_sender.by_type.entry(message_type).or_default() += messages;
        }
    }
    Ok(counts)
}

impl Store {
    /// What an address holds, by chain and application.
    pub async fn balances_of(&self, address: Address) -> Result<Vec<Balance>, StoreError> {
        self.read(move |session| balances(session, address.as_str())).await
    }

    /// The types of an address's posts, sorted.
    pub async fn post_types_of(&self, sender: Address) -> Result<Vec<String>, StoreError> {
        self.read(move |session| {
            distinct_of_sender(session, sender.as_str(), "content_type", "AND m.message_type = 'POST'")
        })
        .await
    }

    /// The channels on which an address published, sorted.
    pub async fn channels_of(&self, sender: Address) -> Result<Vec<String>, StoreError> {
        self.read(move |session| distinct_of_sender(session, sender.as_str(), "channel", "")).await
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
        self.read(move |session| match addresses.as_deref() {
            Some([]) => Ok(CountsByAddress::new()),
            addresses => address_counts(session, addresses),
        })
        .await
    }
}

use std::collections::{BTreeMap, BTreeSet};

use aleph_types::{Address, Chain, MessageType};

use super::catalogue::{Catalogue, Column, Key, Trait};
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

/// Messages in force by sender and type; those whose grace time runs don't count (`spec: ccn-api.md §8.1`).
pub(super) fn address_counts(
    session: &Session,
    catalogue: &Catalogue,
    addresses: Option<&[String]>,
) -> Result<CountsByAddress, StoreError> {
    let mut counts = CountsByAddress::new();
    let add = |sender: &str, message_type, messages| {
        let of_sender: &mut AddressCounts = counts.entry(sender.to_owned()).or_default();
        of_sender.total += messages;
        *of_sender.by_type.entry(message_type).or_default() += messages;
    };
    let wanted: Option<BTreeSet<&str>> =
        addresses.map(|addresses| addresses.iter().map(String::as_str).collect());
    catalogue.count_senders(session, wanted.as_ref(), add)?;
    Ok(counts)
}

pub(super) fn distinct_of_sender(
    session: &Session,
    catalogue: &Catalogue,
    sender: &Address,
    column: Column,
) -> Result<Vec<String>, StoreError> {
    let mut all = vec![Key { of: Trait::Sender, values: vec![sender.as_str().to_owned()] }];
    if column == Column::ContentType {
        all.push(Key { of: Trait::Type, values: vec![MessageType::Post.as_str().to_owned()] });
    }
    Ok(catalogue.distinct(session, &all, column)?.into_iter().collect())
}

impl Store {
    /// What an address holds, by chain and application.
    pub async fn balances_of(&self, address: Address) -> Result<Vec<Balance>, StoreError> {
        self.read(move |session| balances(session, address.as_str())).await
    }

    /// The types of an address's posts, sorted.
    pub async fn post_types_of(&self, sender: Address) -> Result<Vec<String>, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| distinct_of_sender(session, &catalogue, &sender, Column::ContentType)).await
    }

    /// The channels on which an address published, sorted.
    pub async fn channels_of(&self, sender: Address) -> Result<Vec<String>, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| distinct_of_sender(session, &catalogue, &sender, Column::Channel)).await
    }

    /// All channels, sorted.
    pub async fn channels(&self) -> Result<Vec<String>, StoreError> {
        self.read(channels).await
    }

    /// Messages by sender and type: of these addresses, or of all.
    pub async fn address_counts(
        &self,
        addresses: Option<Vec<String>>,
    ) -> Result<BTreeMap<String, AddressCounts>, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| address_counts(session, &catalogue, addresses.as_deref())).await
    }
}

//! What the catalogue reads from the database.

use super::ids::Ids;
use crate::StoreError;
use crate::engine::{Row, Session, values};
use crate::queries::sql::Sql;

/// What a set of messages has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::queries) enum Trait {
    Type,
    Sender,
    Owner,
    Reference,
    ContentHash,
    ContentKey,
    ContentType,
    Channel,
    Payment,
    /// A chain that is not ETH.
    Chain,
    /// Any chain but ETH, and none of the values: nearly all messages are of ETH.
    ChainOtherThan,
    /// A tag of the message itself.
    Tag,
    /// A tag of the version that a post shows; the member is the original.
    PostTag,
    /// The grace time runs.
    Removing,
}

/// A set by what its members have in common: one of the values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::queries) struct Key {
    pub(in crate::queries) of: Trait,
    /// Ascending, each once.
    pub(in crate::queries) values: Vec<String>,
}

impl Key {
    /// The statements whose rows together are the places of the members, each through an index.
    pub(in crate::queries) fn statements(&self) -> Vec<Sql> {
        let through = |index: &str, partial: &str, column: &str| {
            let mut sql = Sql::new("SELECT m.seq FROM messages m INDEXED BY ");
            sql.push(index).push(" WHERE ").push(partial).one_of(column, &self.values);
            sql
        };
        const OTHERS: &str = "m.sender <> m.owner AND ";
        let own = || {
            let mut sql = Sql::new("SELECT m.seq FROM messages m INDEXED BY messages_own WHERE ");
            sql.one_of_owners("m.own", &self.values);
            sql
        };
        match self.of {
            Trait::Type => vec![through("messages_type", "", "m.message_type")],
            Trait::Sender => vec![own(), through("messages_sender", OTHERS, "m.sender")],
            Trait::Owner => vec![own(), through("messages_owner", OTHERS, "m.owner")],
            Trait::Reference => vec![through("messages_reference", "", "m.reference")],
            Trait::ContentHash => vec![through("messages_content_hash", "", "m.content_hash")],
            Trait::ContentKey => vec![through("messages_content_key", "", "m.content_key")],
            Trait::ContentType => vec![through("messages_content_type", "", "m.content_type")],
            Trait::Channel => vec![through("messages_channel", "", "m.channel")],
            Trait::Payment => vec![through("messages_payment", "", "m.payment_type")],
            Trait::Chain => vec![through("messages_chain", "m.chain <> 'ETH' AND ", "m.chain")],
            Trait::ChainOtherThan => {
                let mut sql =
                    Sql::new("SELECT m.seq FROM messages m INDEXED BY messages_chain WHERE m.chain <> 'ETH'");
                for value in &self.values {
                    sql.push(" AND m.chain <> ").bind(value.clone());
                }
                vec![sql]
            }
            Trait::Tag => {
                let mut sql = Sql::new("SELECT t.message FROM message_tags t WHERE ");
                sql.one_of("t.tag", &self.values);
                vec![sql]
            }
            Trait::PostTag => {
                let mut sql = Sql::new(
                    "SELECT p.message FROM message_tags t CROSS JOIN messages m ON m.seq = t.message \
                     CROSS JOIN posts p ON p.message = CASE m.content_type WHEN 'amend' \
                     THEN (SELECT o.seq FROM messages o INDEXED BY messages_hash \
                     WHERE substr(o.item_hash, 1, 12) = substr(m.reference, 1, 12) \
                     AND o.item_hash = m.reference) ELSE m.seq END WHERE p.latest_message = m.seq AND ",
                );
                sql.one_of("t.tag", &self.values);
                vec![sql]
            }
            Trait::Removing => vec![Sql::new(
                "SELECT s.message FROM statuses s INDEXED BY statuses_removing WHERE s.status = 'removing'",
            )],
        }
    }

    pub(super) fn read(&self, session: &Session) -> Result<Ids, StoreError> {
        let mut places = Vec::new();
        for sql in self.statements() {
            sql.each(session, |row| {
                places.push(place(row.int(0)?)?);
                Ok(())
            })?;
        }
        Ok(Ids::of(places))
    }
}

/// A message's place in the order of processing, as the catalogue keeps it.
pub(super) fn place(seq: i64) -> Result<u32, StoreError> {
    u32::try_from(seq).map_err(|_| StoreError::corrupt("place of a message", seq.to_string()))
}

/// A column whose values are counted or listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::queries) enum Column {
    Type,
    Sender,
    Channel,
    ContentType,
}

impl Column {
    /// The statements whose rows together are every `(value, place)`, ordered by value, through an index.
    pub(in crate::queries) fn statements(self) -> Vec<Sql> {
        let through = |index: &str, condition: &str, column: &str| {
            Sql::new(&format!(
                "SELECT m.{column}, m.seq FROM messages m INDEXED BY {index} WHERE {condition}"
            ))
        };
        match self {
            Self::Type => vec![through("messages_type", "m.message_type >= ''", "message_type")],
            Self::Sender => vec![
                Sql::new(
                    "SELECT o.address, m.seq FROM owners o \
                     CROSS JOIN messages m INDEXED BY messages_own ON m.own = o.id",
                ),
                through("messages_sender", "m.sender <> m.owner", "sender"),
            ],
            Self::Channel => vec![through("messages_channel", "m.channel IS NOT NULL", "channel")],
            Self::ContentType => {
                vec![through("messages_content_type", "m.content_type IS NOT NULL", "content_type")]
            }
        }
    }
}

/// What the catalogue must know of one message.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) item_hash: String,
    columns: Vec<(Trait, String)>,
    foreign_chain: Option<String>,
    pub(super) time: i64,
    pub(super) reception: i64,
    pub(super) confirmed_at: Option<i64>,
    pub(super) confirmed_height: Option<i64>,
    is_removing: bool,
    tags: Vec<String>,
    post_tags: Vec<String>,
    pub(super) post: Option<PostFacts>,
}

/// What the catalogue must know of one post.
#[derive(Debug, Clone)]
pub(super) struct PostFacts {
    pub(super) created: i64,
    pub(super) last_updated: i64,
    pub(super) latest: String,
}

const FACTS: &str = "SELECT m.item_hash, m.message_type, m.sender, m.owner, m.reference, m.content_hash, \
     m.content_key, m.content_type, m.channel, m.payment_type, m.chain, m.time, m.reception_time, \
     m.confirmed_at, m.confirmed_height FROM messages m WHERE m.seq = ?1";

fn read_facts(row: &Row<'_>) -> Result<Facts, StoreError> {
    const TEXTS: [Trait; 9] = [
        Trait::Type,
        Trait::Sender,
        Trait::Owner,
        Trait::Reference,
        Trait::ContentHash,
        Trait::ContentKey,
        Trait::ContentType,
        Trait::Channel,
        Trait::Payment,
    ];
    let mut columns = Vec::with_capacity(TEXTS.len());
    for (number, of) in TEXTS.into_iter().enumerate() {
        columns.extend(row.opt_string(number + 1)?.map(|text| (of, text)));
    }
    let chain = row.string(10)?;
    Ok(Facts {
        item_hash: row.string(0)?,
        columns,
        foreign_chain: (chain != "ETH").then_some(chain),
        time: row.int(11)?,
        reception: row.int(12)?,
        confirmed_at: row.opt_int(13)?,
        confirmed_height: row.opt_int(14)?,
        ..Facts::default()
    })
}

impl Facts {
    /// `None` for a message that is gone.
    pub(super) fn read(session: &Session, seq: i64) -> Result<Option<Self>, StoreError> {
        let Some(mut facts) = session.first(FACTS, values![seq], read_facts)? else { return Ok(None) };
        facts.is_removing = session
            .first(
                "SELECT EXISTS (SELECT 1 FROM statuses WHERE item_hash = ?1 AND status = 'removing')",
                values![&facts.item_hash],
                |row| row.flag(0),
            )?
            .unwrap_or_default();
        let tags = |message: i64| {
            let sql = "SELECT tag FROM message_tags WHERE message = ?1";
            session.rows(sql, values![message], |row| row.string(0))
        };
        facts.tags = tags(seq)?;
        let post = session.first(
            "SELECT created, last_updated, latest, latest_message FROM posts WHERE message = ?1",
            values![seq],
            |row| {
                let (created, last_updated) = (row.int(0)?, row.int(1)?);
                Ok((PostFacts { created, last_updated, latest: row.string(2)? }, row.int(3)?))
            },
        )?;
        if let Some((post, latest)) = post {
            facts.post_tags = tags(latest)?;
            facts.post = Some(post);
        }
        Ok(Some(facts))
    }

    pub(super) fn column(&self, column: Column) -> Option<&str> {
        let of = match column {
            Column::Type => Trait::Type,
            Column::Sender => Trait::Sender,
            Column::Channel => Trait::Channel,
            Column::ContentType => Trait::ContentType,
        };
        self.text(of)
    }

    fn text(&self, of: Trait) -> Option<&str> {
        self.columns.iter().find(|(column, _)| *column == of).map(|(_, text)| text.as_str())
    }

    /// Whether the message is in a set.
    pub(super) fn is_in(&self, key: &Key) -> bool {
        let wanted = |text: &str| key.values.binary_search_by(|value| value.as_str().cmp(text)).is_ok();
        match key.of {
            Trait::Removing => self.is_removing,
            Trait::Tag => self.tags.iter().any(|tag| wanted(tag)),
            Trait::PostTag => self.post.is_some() && self.post_tags.iter().any(|tag| wanted(tag)),
            Trait::Chain => self.foreign_chain.as_deref().is_some_and(wanted),
            Trait::ChainOtherThan => self.foreign_chain.as_deref().is_some_and(|chain| !wanted(chain)),
            of => self.text(of).is_some_and(wanted),
        }
    }
}

//! What the rules ask, answered inside the writer's transaction.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use aleph_ledger::credit::{CreditFacts, HistoryPlace, HistoryRow, Lot, Moment};
use aleph_ledger::{AccountFacts, Amount, Decimal, FileSizes, PRICE_KEY, SETTINGS_KEY};
use aleph_rules::{
    AggregateFact, AmendFact, Facts, Fate, PinFact, PostFact, Stamp, StoredMessage, TagFact, TagVersion,
    Tariff, VmFact,
};
use aleph_types::content::PaymentType;
use aleph_types::{Address, Channel, ItemHash, MessageStatus, Timestamp};
use serde_json::{Map, Value};

use crate::StoreError;
use crate::aggregates::{self, elements_with_content};
use crate::engine::{Row, Session, values};
use crate::money::{Credits, token_balance, total, valid_credits};
use crate::statuses::{has_hash, status_of};

/// The answers of one session at one instant.
#[derive(Debug)]
pub(crate) struct StoredFacts<'a> {
    pub(crate) session: &'a Session,
    /// The prices and settings as they were last read, and whose.
    pub(crate) tariff: &'a mut KnownTariff,
    /// What the writer need not parse again.
    pub(crate) parsed: Option<&'a mut ParsedFields>,
}

/// Smaller values are parsed again each time.
const KEPT_FROM: usize = 4 * 1024;

/// Most bytes of JSON whose values are kept: the largest content of a message.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Large fields of aggregates, parsed. An owner's list of rights is read for every message of a delegate,
/// and may be as large as a content; the element that set a field names its value for good.
#[derive(Debug, Default)]
pub(crate) struct ParsedFields {
    /// The one that was found longest ago first.
    fields: VecDeque<ParsedField>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct ParsedField {
    owner: Address,
    key: Box<str>,
    field: Box<str>,
    stamp: Stamp,
    value: Arc<Value>,
    bytes: usize,
}

impl ParsedFields {
    fn find(&self, owner: &Address, key: &str, field: &str) -> Option<&ParsedField> {
        self.fields.iter().find(|known| known.owner == *owner && &*known.key == key && &*known.field == field)
    }

    /// Keeps a value instead of the one before, at the cost of the oldest.
    fn keep(&mut self, new: ParsedField) {
        self.fields
            .retain(|known| known.owner != new.owner || known.key != new.key || known.field != new.field);
        if (KEPT_FROM..=KEPT_BYTES).contains(&new.bytes) {
            self.fields.push_back(new);
        }
        self.bytes = self.fields.iter().map(|known| known.bytes).sum();
        while self.bytes > KEPT_BYTES {
            let Some(oldest) = self.fields.pop_front() else { break };
            self.bytes -= oldest.bytes;
        }
    }
}

pub(crate) fn stamp(row: &Row<'_>, time: usize, hash: usize) -> Result<Stamp, StoreError> {
    Ok(Stamp { time: row.time(time)?, hash: row.hash(hash)? })
}

pub(crate) fn json(text: &str) -> Result<Value, StoreError> {
    aleph_types::json::parse(text.as_bytes()).map_err(|_| StoreError::corrupt("JSON value", text))
}

fn read_vm(row: &Row<'_>) -> Result<VmFact, StoreError> {
    Ok(VmFact {
        item_hash: row.hash(0)?,
        message_type: row.word(1, "message type")?,
        owner: row.address(2)?,
        created: row.time(3)?,
        replaces: row.opt_text(4)?.and_then(|text| ItemHash::recognise(text).ok()),
        allow_amend: row.flag(5)?,
    })
}

/// What was read of prices and settings; `None` until it is, and after they changed.
pub(crate) type KnownTariff = Option<(Address, Arc<Tariff>)>;

/// The prices and settings that `publisher` published.
pub(crate) fn tariff(session: &Session, publisher: &Address) -> Result<Tariff, StoreError> {
    Ok(Tariff::of_elements(
        elements_with_content(session, publisher, PRICE_KEY)?,
        elements_with_content(session, publisher, SETTINGS_KEY)?,
    ))
}

/// What a session knows of money and of files' sizes.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    pub(crate) session: &'a Session,
    pub(crate) now: Timestamp,
}

impl CreditFacts for Ledger<'_> {
    type Error = StoreError;

    fn is_applied(&mut self, message: &ItemHash) -> Result<bool, StoreError> {
        Credits(self.session).is_applied(message)
    }

    fn newest_drain(&mut self, account: &Address) -> Result<Option<Moment>, StoreError> {
        Credits(self.session).newest_drain(account)
    }

    fn lots(&mut self, account: &Address) -> Result<Vec<Lot>, StoreError> {
        Credits(self.session).lots(account)
    }

    fn history(
        &mut self,
        account: &Address,
        after: Option<&HistoryPlace>,
        limit: usize,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        Credits(self.session).history(account, after, limit)
    }

    fn post(&mut self, message: &ItemHash) -> Result<Vec<HistoryRow>, StoreError> {
        Credits(self.session).post(message)
    }

    fn recipients(&mut self, sender: &Address, since: Option<&Moment>) -> Result<Vec<Address>, StoreError> {
        Credits(self.session).recipients(sender, since)
    }
}

impl AccountFacts for Ledger<'_> {
    type Error = StoreError;

    fn token_balance(&mut self, owner: &Address) -> Result<Option<Decimal>, StoreError> {
        token_balance(self.session, owner.as_str())
    }

    fn credit_balance(&mut self, owner: &Address) -> Result<i128, StoreError> {
        Ok(valid_credits(self.session, owner.as_str(), self.now)?.total)
    }

    fn running_cost(&mut self, owner: &Address, payment: PaymentType) -> Result<Amount, StoreError> {
        total(self.session, owner.as_str(), payment)
    }
}

impl FileSizes for Ledger<'_> {
    type Error = StoreError;

    fn size_behind(&mut self, reference: &ItemHash, use_latest: bool) -> Result<Option<u64>, StoreError> {
        let sql = match use_latest {
            true => "SELECT f.size FROM file_tags t JOIN files f ON f.hash = t.file WHERE t.tag = ?1",
            false => {
                "SELECT f.size FROM file_pins p JOIN files f ON f.hash = p.file \
                 WHERE p.pinned_by = ?1 AND p.kind = 'message'"
            }
        };
        self.session.first(sql, values![reference.as_str()], |row| row.size(0))
    }

    fn size_of_file(&mut self, file: &ItemHash) -> Result<Option<u64>, StoreError> {
        self.session
            .first("SELECT size FROM files WHERE hash = ?1", values![file.as_str()], |row| row.size(0))
    }
}

impl Facts for StoredFacts<'_> {
    type Error = StoreError;

    fn fate(&mut self, hash: &ItemHash) -> Result<Fate, StoreError> {
        let Some((status, message)) = status_of(self.session, hash.as_str())? else {
            return Ok(Fate::Unknown);
        };
        match (status, message) {
            (MessageStatus::Pending, _) => Ok(Fate::Pending),
            (MessageStatus::Rejected, _) => Ok(Fate::Rejected),
            (MessageStatus::Forgotten | MessageStatus::Removed, _) => Ok(Fate::Gone),
            (MessageStatus::Processed | MessageStatus::Removing, None) => {
                Err(StoreError::corrupt("status without a message", hash.as_str()))
            }
            (MessageStatus::Processed | MessageStatus::Removing, Some(seq)) => {
                let stored: Option<StoredMessage> = self.session.first(
                    "SELECT item_hash, message_type, chain, sender, owner, channel, content_time, \
                     content_type, content_key, reference, content_hash FROM messages WHERE seq = ?1",
                    values![seq],
                    |row| {
                        Ok(StoredMessage {
                            item_hash: row.hash(0)?,
                            message_type: row.word(1, "message type")?,
                            chain: row.word(2, "chain")?,
                            sender: row.address(3)?,
                            owner: row.address(4)?,
                            channel: row.opt_text(5)?.map(Channel::from),
                            content_time: row.time(6)?,
                            post_type: row.opt_string(7)?,
                            aggregate_key: row.opt_string(8)?,
                            reference: row.opt_string(9)?,
                            file: row.opt_text(10)?.and_then(|text| ItemHash::recognise(text).ok()),
                        })
                    },
                )?;
                match stored {
                    Some(stored) => Ok(Fate::Stored(Box::new(stored))),
                    None => Err(StoreError::corrupt("status without a message", hash.as_str())),
                }
            }
        }
    }

    fn is_forgotten_by(&mut self, target: &ItemHash, forget: &ItemHash) -> Result<bool, StoreError> {
        let list = self.session.first(
            "SELECT forgotten_by FROM skeletons WHERE item_hash = ?1",
            values![target.as_str()],
            |row| row.string(0),
        )?;
        let Some(list) = list else { return Ok(false) };
        let named: Vec<ItemHash> =
            serde_json::from_str(&list).map_err(|_| StoreError::corrupt("list of FORGETs", list))?;
        Ok(named.contains(forget))
    }

    fn aggregate_field(
        &mut self,
        owner: &Address,
        key: &str,
        field: &str,
    ) -> Result<Option<(Arc<Value>, Stamp)>, StoreError> {
        let known = self.parsed.as_deref().and_then(|parsed| parsed.find(owner, key, field)).cloned();
        if let Some(known) = known
            && self.field_stamps(owner, key, &[field])?.first() == Some(&Some(known.stamp.clone()))
        {
            return Ok(Some((known.value, known.stamp)));
        }
        let found = self.session.first(
            "SELECT value, time, hash FROM aggregate_fields WHERE owner = ?1 AND key = ?2 AND field = ?3",
            values![owner.as_str(), key, field],
            |row| {
                let text = row.text(0)?;
                Ok((Arc::new(json(text)?), stamp(row, 1, 2)?, text.len()))
            },
        )?;
        let Some((value, stamp, bytes)) = found else { return Ok(None) };
        if let Some(parsed) = self.parsed.as_deref_mut() {
            parsed.keep(ParsedField {
                owner: owner.clone(),
                key: key.into(),
                field: field.into(),
                stamp: stamp.clone(),
                value: Arc::clone(&value),
                bytes,
            });
        }
        Ok(Some((value, stamp)))
    }

    fn field_stamps(
        &mut self,
        owner: &Address,
        key: &str,
        fields: &[&str],
    ) -> Result<Vec<Option<Stamp>>, StoreError> {
        let one = |field: &&str| {
            self.session.first(
                "SELECT time, hash FROM aggregate_fields WHERE owner = ?1 AND key = ?2 AND field = ?3",
                values![owner.as_str(), key, *field],
                |row| stamp(row, 0, 1),
            )
        };
        fields.iter().map(one).collect()
    }

    fn aggregate(&mut self, owner: &Address, key: &str) -> Result<Option<AggregateFact>, StoreError> {
        self.session.first(
            "SELECT created, first_hash, updated, last_hash, elements FROM aggregates \
             WHERE owner = ?1 AND key = ?2",
            values![owner.as_str(), key],
            |row| {
                Ok(AggregateFact {
                    first: stamp(row, 0, 1)?,
                    last: stamp(row, 2, 3)?,
                    elements: row.size(4)?,
                })
            },
        )
    }

    fn elements(
        &mut self,
        owner: &Address,
        key: &str,
        after: Option<&Stamp>,
        most: usize,
    ) -> Result<Vec<Stamp>, StoreError> {
        aggregates::elements(self.session, owner, key, after, most)
    }

    fn oldest_element(
        &mut self,
        owner: &Address,
        key: &str,
        gone: &BTreeSet<ItemHash>,
    ) -> Result<Option<Stamp>, StoreError> {
        aggregates::oldest(self.session, owner, key, gone)
    }

    fn newest_element(
        &mut self,
        owner: &Address,
        key: &str,
        gone: &BTreeSet<ItemHash>,
    ) -> Result<Option<Stamp>, StoreError> {
        aggregates::newest(self.session, owner, key, gone)
    }

    fn hidden(
        &mut self,
        owner: &Address,
        key: &str,
        field: &str,
        gone: &BTreeSet<ItemHash>,
    ) -> Result<Option<Stamp>, StoreError> {
        aggregates::hidden(self.session, owner, key, field, gone)
    }

    fn element(&mut self, hash: &ItemHash) -> Result<Map<String, Value>, StoreError> {
        aggregates::element(self.session, hash)
    }

    fn post(&mut self, original: &ItemHash) -> Result<Option<PostFact>, StoreError> {
        self.session.first(
            concat!(
                "SELECT owner, created, last_updated, latest FROM posts WHERE message = \
                 (SELECT m.seq FROM messages m INDEXED BY messages_hash WHERE ",
                has_hash!("?1"),
                ")"
            ),
            values![original.as_str()],
            |row| Ok(PostFact { owner: row.address(0)?, created: row.time(1)?, latest: stamp(row, 2, 3)? }),
        )
    }

    fn amends(&mut self, original: &ItemHash) -> Result<Vec<AmendFact>, StoreError> {
        self.session.rows(
            "SELECT time, amend FROM amends WHERE original = ?1",
            values![original.as_str()],
            |row| Ok(AmendFact { stamp: stamp(row, 0, 1)? }),
        )
    }

    fn message_pin(&mut self, store: &ItemHash) -> Result<Option<PinFact>, StoreError> {
        self.session.first(
            "SELECT p.file, p.owner, f.size, p.reference, p.tag FROM file_pins p JOIN files f ON f.hash = p.file \
             WHERE p.pinned_by = ?1 AND p.kind = 'message'",
            values![store.as_str()],
            |row| {
                Ok(PinFact {
                    file: row.hash(0)?,
                    owner: Address::from(row.opt_text(1)?.unwrap_or_default()),
                    size: row.size(2)?,
                    reference: row.opt_string(3)?,
                    tag: row.opt_text(4)?.unwrap_or_default().to_owned(),
                })
            },
        )
    }

    fn other_pins(&mut self, file: &ItemHash, store: &ItemHash) -> Result<u64, StoreError> {
        self.session.count(
            "SELECT count(*) FROM file_pins WHERE file = ?1 AND pinned_by <> ?2",
            values![file.as_str(), store.as_str()],
        )
    }

    fn tag(&mut self, tag: &str) -> Result<Option<TagFact>, StoreError> {
        self.session.first(
            "SELECT t.owner, t.file, f.size, t.time, t.message FROM file_tags t \
             JOIN files f ON f.hash = t.file WHERE t.tag = ?1",
            values![tag],
            |row| {
                Ok(TagFact {
                    owner: row.address(0)?,
                    file: row.hash(1)?,
                    size: row.size(2)?,
                    stamp: stamp(row, 3, 4)?,
                })
            },
        )
    }

    fn tag_versions(&mut self, tag: &str) -> Result<Vec<TagVersion>, StoreError> {
        self.session.rows(
            "SELECT owner, file, created, pinned_by FROM file_pins WHERE tag = ?1 AND kind = 'message'",
            values![tag],
            |row| {
                Ok(TagVersion {
                    owner: Address::from(row.opt_text(0)?.unwrap_or_default()),
                    file: row.hash(1)?,
                    stamp: stamp(row, 2, 3)?,
                })
            },
        )
    }

    fn vm_using(&mut self, store: &ItemHash) -> Result<Option<ItemHash>, StoreError> {
        self.session.first(
            "SELECT vm FROM vm_references WHERE reference = ?1 ORDER BY vm LIMIT 1",
            values![store.as_str()],
            |row| row.hash(0),
        )
    }

    fn vm(&mut self, hash: &ItemHash) -> Result<Option<VmFact>, StoreError> {
        self.session.first(
            "SELECT item_hash, message_type, owner, created, replaces, allow_amend FROM vms \
             WHERE item_hash = ?1",
            values![hash.as_str()],
            read_vm,
        )
    }

    fn vm_updates(&mut self, original: &ItemHash) -> Result<Vec<VmFact>, StoreError> {
        self.session.rows(
            "SELECT item_hash, message_type, owner, created, replaces, allow_amend FROM vms \
             WHERE replaces = ?1",
            values![original.as_str()],
            read_vm,
        )
    }

    fn tariff(&mut self, publisher: &Address) -> Result<Arc<Tariff>, StoreError> {
        if let Some((_, known)) = self.tariff.as_ref().filter(|(of, _)| of == publisher) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(tariff(self.session, publisher)?);
        *self.tariff = Some((publisher.clone(), Arc::clone(&read)));
        Ok(read)
    }

    fn ledger(
        &mut self,
        now: Timestamp,
    ) -> impl CreditFacts<Error = StoreError> + AccountFacts<Error = StoreError> + FileSizes<Error = StoreError>
    {
        Ledger { session: self.session, now }
    }
}

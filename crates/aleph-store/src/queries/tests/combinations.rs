//! Every filter alone and with every other, in every order, from every kind of start: the page is the one
//! that a walk over everything gives, and finding it is bounded.

use std::collections::{BTreeSet, HashSet};

use aleph_types::content::PaymentType;
use aleph_types::{Chain, ItemHash, MessageStatus, MessageType, Timestamp};

use super::{check_plan, hash_of, some};
use crate::engine::Session;
use crate::queries::catalogue::{Catalogue, Column, List, Selection};
use crate::queries::hashes::{self, HashesFilter};
use crate::queries::message_filter::{MessageFilter, MessageQuery, Start, StoredStatuses};
use crate::queries::message_plan::Plan;
use crate::queries::posts::{self, PostFilter, PostQuery, PostRow};
use crate::queries::{MessageRow, SortOrder, accounts, messages};

pub(super) const ORDERS: [SortOrder; 2] = [SortOrder::Descending, SortOrder::Ascending];

/// A message as the database has it.
#[derive(Debug)]
struct Stored {
    hash: String,
    texts: [Option<String>; 9],
    tags: Vec<String>,
    time: i64,
    reception: i64,
    confirmed: Option<(i64, i64)>,
    is_removing: bool,
    post: Option<(i64, i64, String)>,
}

fn everything(session: &Session) -> Vec<Stored> {
    let sql = "SELECT m.item_hash, m.message_type, m.sender, m.owner, m.reference, m.content_hash, \
         m.content_key, m.content_type, m.channel, m.payment_type, m.chain, m.time, m.reception_time, \
         m.confirmed_at, m.confirmed_height, s.status, p.created, p.last_updated, p.latest, t.tag \
         FROM messages m LEFT JOIN statuses s ON s.item_hash = m.item_hash \
         LEFT JOIN posts p ON p.message = m.seq LEFT JOIN message_tags t ON t.message = m.seq";
    session
        .rows(sql, &[], |row| {
            let mut texts: [Option<String>; 9] = Default::default();
            for (number, text) in texts.iter_mut().enumerate() {
                *text = row.opt_string(number + 2)?;
            }
            let kind = row.opt_string(1)?;
            let confirmed = row.opt_int(13)?.zip(row.opt_int(14)?);
            let post = match row.opt_int(16)? {
                Some(created) => Some((created, row.int(17)?, row.string(18)?)),
                None => None,
            };
            let mut tags: Vec<String> = row.opt_string(19)?.into_iter().collect();
            tags.extend(kind.map(|kind| format!("type:{kind}")));
            Ok(Stored {
                hash: row.string(0)?,
                texts,
                tags,
                time: row.int(11)?,
                reception: row.int(12)?,
                confirmed,
                is_removing: row.opt_text(15)? == Some("removing"),
                post,
            })
        })
        .unwrap()
}

/// Places in [`Stored::texts`].
const SENDER: usize = 0;
const OWNER: usize = 1;
const REFERENCE: usize = 2;
const CONTENT_HASH: usize = 3;
const CONTENT_KEY: usize = 4;
const CONTENT_TYPE: usize = 5;
const CHANNEL: usize = 6;
const PAYMENT: usize = 7;
const CHAIN: usize = 8;

impl Stored {
    fn has<T: ToString>(&self, text: usize, values: &Option<Vec<T>>) -> bool {
        values.as_ref().is_none_or(|values| {
            self.texts[text]
                .as_ref()
                .is_some_and(|text| values.iter().any(|value| value.to_string() == *text))
        })
    }

    fn is_wanted(&self, filter: &MessageFilter) -> bool {
        let types = filter.types.as_ref();
        let tags = filter.tags.as_ref();
        types.is_none_or(|types| types.iter().any(|kind| self.tags.contains(&format!("type:{kind}"))))
            && tags.is_none_or(|tags| tags.iter().any(|tag| self.tags.contains(tag)))
            && self.has(SENDER, &filter.senders)
            && self.has(OWNER, &filter.owners)
            && self.has(REFERENCE, &filter.references)
            && self.has(CONTENT_HASH, &filter.content_hashes)
            && self.has(CONTENT_KEY, &filter.content_keys)
            && self.has(CONTENT_TYPE, &filter.content_types)
            && self.has(CHANNEL, &filter.channels)
            && self.has(PAYMENT, &filter.payment_types)
            && self.has(CHAIN, &filter.chains)
            && filter
                .hashes
                .as_ref()
                .is_none_or(|hashes| hashes.iter().any(|hash| hash.as_str() == self.hash))
            && filter.start.is_none_or(|start| self.time >= start.as_micros())
            && filter.end.is_none_or(|end| self.time < end.as_micros())
            && filter.start_block.is_none_or(|start| self.confirmed.is_none_or(|(_, at)| at >= start as i64))
            && filter.end_block.is_none_or(|end| self.confirmed.is_some_and(|(_, at)| at < end as i64))
            && if self.is_removing { filter.statuses.removing } else { filter.statuses.processed }
    }

    fn is_wanted_post(&self, filter: &PostFilter) -> bool {
        let Some((_, updated, _)) = &self.post else { return false };
        let tags = filter.tags.as_ref();
        tags.is_none_or(|tags| tags.iter().any(|tag| self.tags.contains(tag)))
            && self.has(OWNER, &filter.owners)
            && self.has(REFERENCE, &filter.references)
            && self.has(CONTENT_TYPE, &filter.types)
            && self.has(CHANNEL, &filter.channels)
            && filter.originals.as_ref().is_none_or(|all| all.iter().any(|hash| hash.as_str() == self.hash))
            && filter.start.is_none_or(|start| *updated >= start.as_micros())
            && filter.end.is_none_or(|end| *updated < end.as_micros())
    }
}

/// Hashes in the order of their keys, ties by the text beside them.
pub(super) fn in_order(mut rows: Vec<((i64, i64), String, String)>, order: SortOrder) -> Vec<String> {
    rows.sort_by(|one, other| {
        let by_key = match order {
            SortOrder::Descending => other.0.cmp(&one.0),
            SortOrder::Ascending => one.0.cmp(&other.0),
        };
        by_key.then_with(|| one.1.cmp(&other.1))
    });
    rows.into_iter().map(|(_, _, hash)| hash).collect()
}

fn confirmed(stored: &Stored) -> i64 {
    stored.confirmed.map_or(i64::MAX, |(at, _)| at)
}

pub(super) fn hashes(numbers: impl IntoIterator<Item = i64>) -> Option<Vec<ItemHash>> {
    Some(numbers.into_iter().map(|number| ItemHash::parse(&hash_of(number)).unwrap()).collect())
}

/// A filter's name, and what sets it.
pub(super) type Named<T> = (&'static str, fn(&mut T));

/// Every filter of the message lists, with values that many messages have and with such that few have.
const FILTERS: &[Named<MessageFilter>] = &[
    ("one type", |filter| filter.types = Some(vec![MessageType::Post])),
    ("types", |filter| filter.types = Some(vec![MessageType::Aggregate, MessageType::Post])),
    ("no such type", |filter| filter.types = Some(vec![MessageType::Forget])),
    ("sender", |filter| filter.senders = some(&["0xS0"])),
    ("senders", |filter| filter.senders = some(&["0xS0", "0xO1", "nobody"])),
    ("owner", |filter| filter.owners = some(&["0xO1"])),
    ("owners", |filter| filter.owners = some(&["0xO0", "0xO1"])),
    ("reference", |filter| filter.references = some(&["ref0"])),
    ("content hash", |filter| filter.content_hashes = hashes([1])),
    ("content hashes", |filter| filter.content_hashes = hashes([1, 11, 17])),
    ("content key", |filter| filter.content_keys = some(&["key0"])),
    ("content type", |filter| filter.content_types = some(&["note"])),
    ("frequent chain", |filter| filter.chains = Some(vec![Chain::Eth])),
    ("rare chain", |filter| filter.chains = Some(vec![Chain::Sol])),
    ("both chains", |filter| filter.chains = Some(vec![Chain::Sol, Chain::Eth])),
    ("channel", |filter| filter.channels = some(&["C1"])),
    ("channels", |filter| filter.channels = some(&["C0", "C1", "none"])),
    ("frequent tag", |filter| filter.tags = some(&["frequent"])),
    ("rare tag", |filter| filter.tags = some(&["rare"])),
    ("hashes", |filter| filter.hashes = hashes(0..40)),
    ("payment", |filter| filter.payment_types = Some(vec![PaymentType::Credit, PaymentType::Hold])),
    ("processed", |filter| filter.statuses = StoredStatuses { processed: true, removing: false }),
    ("removing", |filter| filter.statuses = StoredStatuses { processed: false, removing: true }),
    ("start", |filter| filter.start = Some(Timestamp::from_secs(700))),
    ("end", |filter| filter.end = Some(Timestamp::from_secs(1_500))),
    ("start block", |filter| filter.start_block = Some(300)),
    ("end block", |filter| filter.end_block = Some(500)),
];

/// None, each, and each with each other.
pub(super) fn combinations<T: Clone>(none: &T, filters: &[Named<T>]) -> Vec<(String, T)> {
    let mut all = vec![("none".to_owned(), none.clone())];
    for (number, (name, change)) in filters.iter().enumerate() {
        let mut filter = none.clone();
        change(&mut filter);
        all.push(((*name).to_owned(), filter.clone()));
        for (other, also) in &filters[number + 1..] {
            let mut both = filter.clone();
            also(&mut both);
            all.push((format!("{name} + {other}"), both));
        }
    }
    all
}

/// Fails when what the catalogue reads is not read through an index in the order that it needs; each
/// statement once.
fn check_selection(session: &Session, selection: &Selection, seen: &mut HashSet<String>) {
    let sets = selection.all.iter().chain(&selection.none).flat_map(|key| key.statements());
    for statement in sets.chain([selection.list.statement()]) {
        // On SQLite `ConfirmedPosts` is the table in its own order.
        if seen.insert(statement.text.clone()) && selection.list != List::ConfirmedPosts {
            let whole_list = statement.text.contains("ORDER BY");
            if whole_list && matches!(session, Session::Postgres(_)) {
                // Its planner may read and sort a small table rather than follow an index.
                continue;
            }
            check_plan(session, &statement, false, &format!("{selection:?}"));
        }
    }
}

/// Pages from the start and from far away, and after the row at some place; more of them for one filter.
fn starts(name: &str, all: &[String], time: impl Fn(&str) -> i64) -> Vec<(usize, Start)> {
    let is_pair = name.contains('+');
    let (offsets, places) =
        if is_pair { (vec![0, 3_000], vec![13]) } else { (vec![0, 25, 3_000], vec![0, 13, 700]) };
    let mut starts: Vec<(usize, Start)> =
        offsets.into_iter().map(|offset| (offset, Start::Offset(offset as u64))).collect();
    for place in places.into_iter().filter(|place| *place < all.len()) {
        let after =
            Start::After(Timestamp::from_micros(time(&all[place])), ItemHash::parse(&all[place]).unwrap());
        starts.push((place + 1, after));
    }
    starts
}

pub(super) fn page(all: &[String], from: usize, limit: usize) -> &[String] {
    &all[from.min(all.len())..(from + limit).min(all.len())]
}

pub(super) fn every_message_list(session: &Session) {
    const LIMIT: usize = 40;
    let (stored, catalogue) = (everything(session), Catalogue::default());
    let times: std::collections::HashMap<&str, i64> =
        stored.iter().map(|stored| (stored.hash.as_str(), stored.time)).collect();
    let mut seen = HashSet::new();
    let (mut by_statement, mut by_catalogue) = (0, 0);
    for (name, filter) in combinations(&MessageFilter::default(), FILTERS) {
        let wanted: Vec<&Stored> = stored.iter().filter(|stored| stored.is_wanted(&filter)).collect();
        let count = messages::count(session, &catalogue, &filter).unwrap();
        assert_eq!(count, wanted.len() as u64, "{name}");
        for order in ORDERS {
            let keyed = |key: fn(&Stored) -> (i64, i64)| {
                in_order(
                    wanted.iter().map(|one| (key(one), one.hash.clone(), one.hash.clone())).collect(),
                    order,
                )
            };
            let all = keyed(|stored| (stored.time, 0));
            for (from, start) in starts(&name, &all, |hash| times[hash]) {
                let what = format!("{name}, {order:?}, {start:?}");
                let query = MessageQuery { filter: filter.clone(), order, start, limit: LIMIT as u64 };
                let found = messages::list(session, &catalogue, &query, false).unwrap();
                let row = |texts: &mut Vec<String>, row: &MessageRow<'_>| texts.push(format!("{row:?}"));
                let rows = messages::write(session, &catalogue, &query, false, Vec::new, row).unwrap();
                let same = found.iter().map(|stored| format!("{:?}", MessageRow::from(stored)));
                assert_eq!(rows, same.collect::<Vec<_>>(), "{what}");
                let found: Vec<&str> = found.iter().map(|found| found.message.item_hash.as_str()).collect();
                assert_eq!(found, page(&all, from, LIMIT), "{what}");
                let Some(plan) = Plan::choose(session, &filter).unwrap() else { continue };
                if plan.is_bounded(&query.start, query.limit) {
                    by_statement += 1;
                    for statement in plan.statements(&query) {
                        // The same text has the same plan; whether it may sort is the difference.
                        if seen.insert(format!("{} {}", plan.reaches_few(), statement.text)) {
                            check_plan(session, &statement, plan.reaches_few(), &what);
                        }
                    }
                } else {
                    by_catalogue += 1;
                    check_selection(session, &plan.selection(List::Messages), &mut seen);
                }
            }
            let all = keyed(|stored| (confirmed(stored), stored.time));
            for from in [25, 3_000] {
                let (filter, start) = (filter.clone(), Start::Offset(from as u64));
                let query = MessageQuery { filter, order, start, limit: LIMIT as u64 };
                let found = messages::list(session, &catalogue, &query, true).unwrap();
                let found: Vec<&str> = found.iter().map(|found| found.message.item_hash.as_str()).collect();
                assert_eq!(found, page(&all, from, LIMIT), "by confirmation: {name}, {order:?}, {from}");
            }
        }
    }
    assert!(by_statement > 200 && by_catalogue > 500, "{by_statement} and {by_catalogue}");
}

const POST_FILTERS: &[Named<PostFilter>] = &[
    ("owner", |filter| filter.owners = some(&["0xO1"])),
    ("owners", |filter| filter.owners = some(&["0xO0", "0xO1"])),
    ("originals", |filter| filter.originals = hashes(0..40)),
    ("reference", |filter| filter.references = some(&["ref100"])),
    ("type", |filter| filter.types = some(&["note"])),
    ("types", |filter| filter.types = some(&["note", "other"])),
    ("no such type", |filter| filter.types = some(&["other"])),
    ("frequent tag", |filter| filter.tags = some(&["frequent"])),
    ("rare tag", |filter| filter.tags = some(&["rare"])),
    ("channel", |filter| filter.channels = some(&["C1"])),
    ("no such channel", |filter| filter.channels = some(&["none"])),
    ("start", |filter| filter.start = Some(Timestamp::from_secs(400))),
    ("end", |filter| filter.end = Some(Timestamp::from_secs(900))),
];

pub(super) fn every_post_list(session: &Session) {
    const LIMIT: usize = 40;
    let (stored, catalogue) = (everything(session), Catalogue::default());
    let times: std::collections::HashMap<&str, i64> =
        stored.iter().filter_map(|stored| Some((stored.hash.as_str(), stored.post.as_ref()?.1))).collect();
    let mut seen = HashSet::new();
    for (name, filter) in combinations(&PostFilter::default(), POST_FILTERS) {
        let wanted: Vec<&Stored> = stored.iter().filter(|stored| stored.is_wanted_post(&filter)).collect();
        assert_eq!(posts::count(session, &catalogue, &filter).unwrap(), wanted.len() as u64, "{name}");
        for order in ORDERS {
            for by_confirmation in [false, true] {
                let row = |one: &&Stored| {
                    let (created, updated, latest) = one.post.clone().unwrap();
                    match by_confirmation {
                        false => ((updated, 0), one.hash.clone(), one.hash.clone()),
                        true => ((confirmed(one), created), latest, one.hash.clone()),
                    }
                };
                let all = in_order(wanted.iter().map(row).collect(), order);
                for (from, start) in starts(&name, &all, |hash| times[hash]) {
                    if by_confirmation && matches!(start, Start::After(..)) {
                        continue;
                    }
                    let what = format!("{name}, {order:?}, {start:?}, {by_confirmation}");
                    let filter = filter.clone();
                    let query = PostQuery { filter, by_confirmation, order, start, limit: LIMIT as u64 };
                    let found = posts::list(session, &catalogue, &query).unwrap();
                    let row = |texts: &mut Vec<String>, row: &PostRow<'_>| texts.push(format!("{row:?}"));
                    let rows = posts::write(session, &catalogue, &query, Vec::new, row).unwrap();
                    let same = found.iter().map(|stored| format!("{:?}", PostRow::from(stored)));
                    assert_eq!(rows, same.collect::<Vec<_>>(), "{what}");
                    let found: Vec<&str> = found.iter().map(|found| found.original.as_str()).collect();
                    assert_eq!(found, page(&all, from, LIMIT), "{what}");
                    match posts::way(session, &query).unwrap() {
                        posts::Way::Nothing => {}
                        posts::Way::Statement(statement) => {
                            check_plan(session, &statement, wanted.len() <= 256, &what);
                        }
                        posts::Way::Catalogue(selection) => check_selection(session, &selection, &mut seen),
                    }
                }
            }
        }
    }
}

pub(super) fn every_list_of_hashes(session: &Session) {
    let (stored, catalogue) = (everything(session), Catalogue::default());
    let mut seen = HashSet::new();
    for status in
        [None, Some(MessageStatus::Processed), Some(MessageStatus::Removing), Some(MessageStatus::Pending)]
    {
        for (start, end) in [(None, None), (Some(1_000), Some(5_000)), (None, Some(200))] {
            let time = |micros: Option<i64>| micros.map(Timestamp::from_micros);
            let filter = HashesFilter { status, start: time(start), end: time(end) };
            let wanted: Vec<&Stored> = stored
                .iter()
                .filter(|one| {
                    let of_status = match status {
                        None => true,
                        Some(MessageStatus::Processed) => !one.is_removing,
                        Some(MessageStatus::Removing) => one.is_removing,
                        Some(_) => false,
                    };
                    of_status
                        && start.is_none_or(|start| one.reception >= start)
                        && end.is_none_or(|end| one.reception < end)
                })
                .collect();
            assert_eq!(
                hashes::count(session, &catalogue, &filter).unwrap(),
                wanted.len() as u64,
                "{filter:?}"
            );
            for order in ORDERS {
                let row = |one: &&Stored| ((one.reception, 0), one.hash.clone(), one.hash.clone());
                let all = in_order(wanted.iter().map(row).collect(), order);
                for from in [0, 25, 3_000] {
                    let found = hashes::list(session, &catalogue, &filter, order, from as u64, 40).unwrap();
                    let found: Vec<&str> = found.iter().map(|found| found.item_hash.as_str()).collect();
                    assert_eq!(found, page(&all, from, 40), "{filter:?}, {order:?}, {from}");
                    match hashes::way(&filter, order, from as u64, 40) {
                        hashes::Way::Statement(sql) => check_plan(session, &sql, false, "hashes"),
                        hashes::Way::Catalogue(selection) => check_selection(session, &selection, &mut seen),
                    }
                }
            }
        }
    }
}

pub(super) fn what_senders_did(session: &Session) {
    let (stored, catalogue) = (everything(session), Catalogue::default());
    for column in [Column::Type, Column::Sender, Column::Channel, Column::ContentType] {
        for statement in column.statements() {
            if matches!(session, Session::Sqlite(_)) {
                check_plan(session, &statement, false, &format!("{column:?}"));
            }
        }
    }
    let all = accounts::address_counts(session, &catalogue, None).unwrap();
    let senders: BTreeSet<&str> = stored.iter().filter_map(|one| one.texts[SENDER].as_deref()).collect();
    assert_eq!(all.keys().map(String::as_str).collect::<BTreeSet<_>>(), senders);
    for sender in senders {
        let of_sender = || {
            stored.iter().filter(move |one| one.texts[SENDER].as_deref() == Some(sender) && !one.is_removing)
        };
        assert_eq!(all[sender].total, of_sender().count() as u64);
        let posts = of_sender().filter(|one| one.tags.contains(&"type:POST".to_owned())).count() as u64;
        assert_eq!(all[sender].by_type[&MessageType::Post], posts);
        let alone = accounts::address_counts(session, &catalogue, Some(&[sender.to_owned()])).unwrap();
        assert_eq!(alone[sender], all[sender]);
    }
    let many: Vec<String> = (0..100).map(|number| format!("0xS{number}")).collect();
    let found = accounts::address_counts(session, &catalogue, Some(&many)).unwrap();
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["0xS0", "0xS1"]);
    let distinct = |column| {
        let sender = "0xS1".to_owned().into();
        accounts::distinct_of_sender(session, &catalogue, &sender, column).unwrap()
    };
    assert_eq!(distinct(Column::Channel), ["C1"]);
    assert_eq!(distinct(Column::ContentType), ["note"]);
}

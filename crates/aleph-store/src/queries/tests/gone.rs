//! The lists of forgotten and removed messages, in the same way.

use aleph_types::content::PaymentType;
use aleph_types::{Chain, MessageStatus, MessageType, Timestamp};

use super::combinations::{Named, ORDERS, combinations, hashes, in_order, page};
use super::{GONE, check_plan, insert_gone, some};
use crate::engine::{Session, values};
use crate::queries::SortOrder;
use crate::queries::catalogue::Catalogue;
use crate::queries::skeletons::{self, SkeletonFilter, SkeletonQuery};

const FILTERS: &[Named<SkeletonFilter>] = &[
    ("type", |filter| filter.types = Some(vec![MessageType::Store])),
    ("types", |filter| filter.types = Some(vec![MessageType::Store, MessageType::Post])),
    ("sender", |filter| filter.senders = some(&["0xS1"])),
    ("owners", |filter| filter.owners = some(&["0xO1", "0xO3"])),
    ("rare chain", |filter| filter.chains = Some(vec![Chain::Sol])),
    ("channel", |filter| filter.channels = some(&["C"])),
    ("no such channel", |filter| filter.channels = some(&["none"])),
    ("payment", |filter| filter.payment_types = Some(vec![PaymentType::Credit])),
    ("hashes", |filter| filter.hashes = hashes(1_000_000..1_000_040)),
    ("start", |filter| filter.start = Some(Timestamp::from_secs(40))),
    ("end", |filter| filter.end = Some(Timestamp::from_secs(250))),
];

fn all_of(status: MessageStatus) -> SkeletonFilter {
    SkeletonFilter {
        status,
        types: None,
        senders: None,
        owners: None,
        chains: None,
        channels: None,
        hashes: None,
        payment_types: None,
        start: None,
        end: None,
    }
}

fn found(session: &Session, catalogue: &Catalogue, query: &SkeletonQuery) -> Vec<String> {
    let rows = skeletons::list(session, catalogue, query).unwrap();
    rows.into_iter().map(|row| row.item_hash.to_string()).collect()
}

/// What a filter means, by a walk over everything.
fn wanted(session: &Session, filter: &SkeletonFilter) -> Vec<((i64, i64), String, String)> {
    let has = |values: Option<Vec<String>>, value: &str| {
        values.is_none_or(|values| values.iter().any(|v| v == value))
    };
    let texts = |values: &Option<Vec<MessageType>>| -> Option<Vec<String>> {
        values.as_ref().map(|values| values.iter().map(ToString::to_string).collect())
    };
    let sql = "SELECT item_hash, message_type, chain, sender, owner, channel, payment_type, gone_at FROM skeletons \
               WHERE status = ?1";
    let mut rows = Vec::new();
    session
        .each(sql, values![filter.status.as_str()], |row| {
            let (hash, time) = (row.string(0)?, row.int(7)?);
            let chains =
                filter.chains.as_ref().map(|chains| chains.iter().map(ToString::to_string).collect());
            let payments =
                filter.payment_types.as_ref().map(|all| all.iter().map(ToString::to_string).collect());
            let hashes = filter.hashes.as_ref().map(|all| all.iter().map(ToString::to_string).collect());
            let is_wanted = has(texts(&filter.types), row.text(1)?)
                && has(chains, row.text(2)?)
                && has(filter.senders.clone(), row.text(3)?)
                && has(filter.owners.clone(), row.text(4)?)
                && has(filter.channels.clone(), row.opt_text(5)?.unwrap_or("-"))
                && has(payments, row.text(6)?)
                && has(hashes, &hash)
                && filter.start.is_none_or(|start| time >= start.as_micros())
                && filter.end.is_none_or(|end| time < end.as_micros());
            if is_wanted {
                rows.push(((time, 0), hash.clone(), hash));
            }
            Ok(())
        })
        .unwrap();
    rows
}

pub(super) fn every_list_of_what_is_gone(session: &Session) {
    let catalogue = Catalogue::default();
    for status in [MessageStatus::Forgotten, MessageStatus::Removed] {
        for (name, filter) in combinations(&all_of(status), FILTERS) {
            let rows = wanted(session, &filter);
            let count = skeletons::count(session, &catalogue, &filter, 100_000).unwrap();
            assert_eq!((count.rows, count.exact), (rows.len() as u64, true), "{name}");
            for order in ORDERS {
                let all = in_order(rows.clone(), order);
                for offset in [0, 7, 333, 2_000] {
                    let query = SkeletonQuery { filter: filter.clone(), order, offset, limit: 40 };
                    let found = found(session, &catalogue, &query);
                    assert_eq!(found, page(&all, offset as usize, 40), "{name}, {order:?}, {offset}");
                }
            }
            check_plan(session, &skeletons::tests_sql(&filter), false, &name);
        }
        check_plan(session, &skeletons::times_sql(status), false, "times");
        for order in ORDERS {
            let query = SkeletonQuery { filter: all_of(status), order, offset: 20, limit: 20 };
            check_plan(session, &skeletons::list_sql(&query), false, "the start");
        }
    }
    // More that went while somebody listens.
    let Some(writer) = super::writer_of(session) else { return };
    for number in [GONE + 1, 5 - 100_000, GONE + 2] {
        insert_gone(writer, number).unwrap();
        catalogue.changes().add_gone();
        for filter in [all_of(MessageStatus::Forgotten), all_of(MessageStatus::Removed)] {
            let filter = SkeletonFilter { senders: some(&["0xS1"]), ..filter };
            let order = SortOrder::Ascending;
            let query = SkeletonQuery { filter, order, offset: 0, limit: 5_000 };
            let all = in_order(wanted(session, &query.filter), order);
            assert_eq!(found(session, &catalogue, &query), all);
        }
    }
}

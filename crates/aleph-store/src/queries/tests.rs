use std::sync::LazyLock;

use aleph_types::content::PaymentType;
use aleph_types::{Chain, ItemHash, MessageStatus, MessageType, Timestamp};
use rusqlite::{Connection, params};

use super::aggregates::{self, AggregateFilter, AggregateQuery, AggregateSort, AggregateStart};
use super::files::FileQuery;
use super::hashes::{self, HashesFilter};
use super::message_filter::{MessageFilter, MessageQuery, Start, StoredStatuses};
use super::message_plan::Plan;
use super::posts::{self, PostFilter, PostQuery};
use super::skeletons::{self, SkeletonFilter, SkeletonQuery};
use super::{SortOrder, files, messages, sql};

const ROWS: i64 = 6_000;

fn hash_of(number: i64) -> String {
    ItemHash::sha256(&number.to_be_bytes()).as_str().to_owned()
}

fn database() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(include_str!("../../migrations/0001_core.sql")).unwrap();
    conn.execute_batch(include_str!("../../migrations/0002_rare_filters.sql")).unwrap();
    conn
}

/// Two senders share the messages; every third is a POST of type `note`, every thousandth has a rare tag.
/// Three messages share each instant.
fn filled() -> Connection {
    let conn = database();
    conn.execute_batch("BEGIN").unwrap();
    for number in 0..ROWS {
        let hash = hash_of(number);
        let post = number % 3 != 1;
        let content = format!(r#"{{"address":"0xO{}","time":1,"content":{{}},"type":"note"}}"#, number % 2);
        conn.prepare_cached(
            "INSERT INTO messages VALUES (?1,?2,?3,CASE ?1 % 97 WHEN 0 THEN 'SOL' ELSE 'ETH' END,?4,?5,'0x','inline',?6,NULL,?7,?8,?8,?9,?10,?11,?12,?13,?14,?15)",
        )
        .unwrap()
        .execute(params![
            number + 1,
            hash,
            if post { "POST" } else { "AGGREGATE" },
            format!("0xS{}", number % 2),
            format!("0xO{}", number % 2),
            content,
            content.len() as i64,
            number / 3 * 1_000_000,
            if number % 5 == 0 { None } else { Some(format!("C{}", number % 2)) },
            post.then_some("note"),
            (number % 100 == 0).then(|| format!("ref{}", number % 200)),
            (!post).then(|| format!("key{}", number % 2)),
            None::<String>,
            (number % 50 == 0).then_some("credit"),
            number,
        ])
        .unwrap();
        let status = if number == 7 { "removing" } else { "processed" };
        conn.execute("INSERT INTO statuses VALUES (?1,?2,?3,?4)", params![hash, status, number, number + 1])
            .unwrap();
        let tag = if number % 1000 == 0 { "rare" } else { "frequent" };
        conn.execute("INSERT INTO message_tags VALUES (?1,?2)", params![tag, number + 1]).unwrap();
        if post {
            conn.execute(
                "INSERT INTO posts VALUES (?1,?2,?3,'note',?4,NULL,?5,?1,?2,?5)",
                params![
                    hash,
                    number + 1,
                    format!("0xO{}", number % 2),
                    (number % 100 == 0).then_some("r"),
                    number
                ],
            )
            .unwrap();
        }
        conn.execute(
            "INSERT INTO aggregates VALUES (?1,?2,?3,'h',?3,'h',1)",
            params![format!("0xO{number}"), format!("key{}", number % 2), number],
        )
        .unwrap();
    }
    conn.execute_batch("COMMIT; PRAGMA optimize").unwrap();
    conn
}

static FILLED: LazyLock<parking_lot::Mutex<Connection>> = LazyLock::new(|| parking_lot::Mutex::new(filled()));

fn some(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn filters() -> Vec<MessageFilter> {
    let none = MessageFilter::default;
    let hashes = || Some(vec![ItemHash::parse(&hash_of(3)).unwrap(), ItemHash::parse(&hash_of(4)).unwrap()]);
    let processed = StoredStatuses { processed: true, removing: false };
    vec![
        none(),
        MessageFilter { types: Some(vec![MessageType::Post]), ..none() },
        MessageFilter { types: Some(vec![MessageType::Post, MessageType::Aggregate]), ..none() },
        MessageFilter { types: Some(vec![MessageType::Forget]), ..none() },
        MessageFilter { senders: some(&["0xS0"]), ..none() },
        MessageFilter { senders: some(&["0xS0", "0xS1", "nobody"]), ..none() },
        MessageFilter { senders: some(&["0xS0"]), types: Some(vec![MessageType::Aggregate]), ..none() },
        MessageFilter { owners: some(&["0xO1"]), channels: some(&["C1"]), ..none() },
        MessageFilter { references: some(&["ref0"]), senders: some(&["0xS0"]), ..none() },
        MessageFilter { content_types: some(&["note"]), channels: some(&["C0", "C1"]), ..none() },
        MessageFilter { content_keys: some(&["key0"]), ..none() },
        MessageFilter { content_keys: some(&["key0"]), senders: some(&["0xS0"]), ..none() },
        MessageFilter { content_hashes: hashes(), ..none() },
        MessageFilter { chains: Some(vec![Chain::Eth]), ..none() },
        MessageFilter { chains: Some(vec![Chain::Sol]), ..none() },
        MessageFilter {
            chains: Some(vec![Chain::Sol, Chain::Avax]),
            types: Some(vec![MessageType::Post]),
            ..none()
        },
        MessageFilter { chains: Some(vec![Chain::Sol, Chain::Eth]), senders: some(&["0xS0"]), ..none() },
        MessageFilter { payment_types: Some(vec![PaymentType::Credit]), ..none() },
        MessageFilter {
            payment_types: Some(vec![PaymentType::Credit, PaymentType::Hold]),
            chains: Some(vec![Chain::Eth]),
            ..none()
        },
        MessageFilter { tags: some(&["rare"]), ..none() },
        MessageFilter { tags: some(&["frequent"]), types: Some(vec![MessageType::Post]), ..none() },
        MessageFilter { tags: some(&["frequent", "rare"]), ..none() },
        MessageFilter { hashes: hashes(), ..none() },
        MessageFilter { statuses: StoredStatuses { processed: false, removing: true }, ..none() },
        MessageFilter { statuses: processed, senders: some(&["0xS1"]), ..none() },
        MessageFilter {
            start: Some(Timestamp::from_secs(100)),
            end: Some(Timestamp::from_secs(900)),
            types: Some(vec![MessageType::Post]),
            senders: some(&["0xS0"]),
            ..none()
        },
    ]
}

/// What the filter means, by a walk over everything.
fn expected(conn: &Connection, query: &MessageQuery) -> Vec<String> {
    let filter = &query.filter;
    let has = |values: &Option<Vec<String>>, value: Option<String>| {
        values.as_ref().is_none_or(|values| value.is_some_and(|value| values.contains(&value)))
    };
    let mut rows: Vec<(i64, String)> = Vec::new();
    let mut statement = conn
        .prepare(
            "SELECT m.*, s.status, t.tag FROM messages m JOIN statuses s USING (item_hash) \
             JOIN message_tags t ON t.message = m.seq",
        )
        .unwrap();
    let mut found = statement.query([]).unwrap();
    while let Some(row) = found.next().unwrap() {
        let text = |name: &str| row.get::<_, Option<String>>(name).unwrap();
        let time: i64 = row.get("time").unwrap();
        let types = filter.types.as_ref().map(|types| types.iter().map(ToString::to_string).collect());
        let hashes = filter.hashes.as_ref().map(|hashes| hashes.iter().map(ToString::to_string).collect());
        let chains = filter.chains.as_ref().map(|chains| chains.iter().map(ToString::to_string).collect());
        let payments =
            filter.payment_types.as_ref().map(|types| types.iter().map(ToString::to_string).collect());
        let keep = has(&types, text("message_type"))
            && has(&chains, text("chain"))
            && has(&payments, text("payment_type"))
            && has(&filter.senders, text("sender"))
            && has(&filter.owners, text("owner"))
            && has(&filter.references, text("reference"))
            && has(&filter.content_types, text("content_type"))
            && has(&filter.content_keys, text("content_key"))
            && has(&filter.channels, text("channel"))
            && has(&filter.tags, text("tag"))
            && has(&hashes, text("item_hash"))
            && filter.content_hashes.is_none()
            && filter.start.is_none_or(|start| time >= start.as_micros())
            && filter.end.is_none_or(|end| time < end.as_micros())
            && match text("status").as_deref() {
                Some("removing") => filter.statuses.removing,
                _ => filter.statuses.processed,
            };
        if keep {
            rows.push((time, text("item_hash").unwrap()));
        }
    }
    rows.sort_by(|a, b| match query.order {
        SortOrder::Descending => b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)),
        SortOrder::Ascending => a.cmp(b),
    });
    rows.into_iter().map(|(_, hash)| hash).collect()
}

#[test]
fn pages_hold_what_the_filters_mean() {
    let conn = FILLED.lock();
    for filter in filters() {
        for order in [SortOrder::Descending, SortOrder::Ascending] {
            let mut query =
                MessageQuery { filter: filter.clone(), order, start: Start::Offset(0), limit: 40 };
            let all = expected(&conn, &query);
            let hashes = |query: &MessageQuery| -> Vec<String> {
                messages::list(&conn, query)
                    .unwrap()
                    .iter()
                    .map(|found| found.message.item_hash.to_string())
                    .collect()
            };
            assert_eq!(hashes(&query), all[..all.len().min(40)], "{filter:?}");
            query.start = Start::Offset(25);
            assert_eq!(hashes(&query), all[all.len().min(25)..all.len().min(65)], "offset, {filter:?}");
            // A cursor in the middle of messages of the same time.
            if all.len() > 60 {
                query.start = Start::Offset(13);
                query.limit = 1;
                let last = messages::list(&conn, &query).unwrap().remove(0).message;
                query.limit = 40;
                query.start = Start::After(last.time, last.item_hash);
                assert_eq!(hashes(&query), all[14..54], "cursor, {filter:?}");
            }
            let count = messages::count(&conn, &filter, 100_000).unwrap();
            assert_eq!(count.rows, all.len() as u64, "count, {filter:?}");
            assert!(count.exact);
            let capped = messages::count(&conn, &filter, 1).unwrap();
            // The whole table is counted in any case.
            assert_eq!(capped.exact, all.len() <= 1 || filter == MessageFilter::default(), "{filter:?}");
        }
    }
}

/// Fails on a walk over a table without an index, and on a sort of many rows.
fn check_plan(conn: &Connection, statement: &sql::Sql, sorts: bool, what: &str) {
    for step in sql::plan(conn, statement) {
        let scans_table = step.starts_with("SCAN") && !step.contains("INDEX") && !step.contains("json_each");
        let of_few = step.contains("SCAN t") || step.contains("SCAN h");
        assert!(!scans_table || of_few, "{what}: {step}\n{}", statement.text);
        let sorts_all = step.contains("USE TEMP B-TREE FOR ORDER BY");
        assert!(!sorts_all || sorts, "{what}: {step}\n{}", statement.text);
    }
}

#[test]
fn every_message_list_is_driven_by_an_index() {
    let conn = FILLED.lock();
    for filter in filters() {
        for order in [SortOrder::Descending, SortOrder::Ascending] {
            for start in [
                Start::Offset(40),
                Start::After(Timestamp::from_secs(500), ItemHash::parse(&hash_of(1)).unwrap()),
            ] {
                let query = MessageQuery { filter: filter.clone(), order, start, limit: 20 };
                let plan = Plan::choose(&conn, &query.filter).unwrap().unwrap();
                let rows = plan.count(&conn, 2 * super::SMALL).unwrap();
                for statement in plan.statements(&query) {
                    check_plan(&conn, &statement, rows <= super::SMALL, &format!("{filter:?}"));
                }
            }
        }
    }
}

#[test]
fn every_other_list_is_driven_by_an_index() {
    let conn = FILLED.lock();
    let after = || Start::After(Timestamp::from_secs(500), ItemHash::parse(&hash_of(1)).unwrap());
    for order in [SortOrder::Descending, SortOrder::Ascending] {
        for (filter, sorts) in [
            (PostFilter::default(), false),
            (PostFilter { owners: some(&["0xO1"]), ..PostFilter::default() }, true),
            (PostFilter { types: some(&["note"]), ..PostFilter::default() }, false),
            (PostFilter { references: some(&["r"]), types: some(&["note"]), ..PostFilter::default() }, true),
            (PostFilter { tags: some(&["rare"]), ..PostFilter::default() }, true),
            (PostFilter { tags: some(&["frequent"]), ..PostFilter::default() }, false),
            (PostFilter { channels: some(&["C"]), ..PostFilter::default() }, false),
            (
                PostFilter {
                    originals: Some(vec![ItemHash::parse(&hash_of(3)).unwrap()]),
                    ..PostFilter::default()
                },
                true,
            ),
        ] {
            for start in [Start::Offset(0), after()] {
                let query = PostQuery { filter: filter.clone(), order, start, limit: 20 };
                let statement = posts::statement(&conn, &query).unwrap();
                check_plan(&conn, &statement, sorts, &format!("{filter:?}"));
            }
        }
        for sort in [AggregateSort::LastModified, AggregateSort::CreationTime] {
            for (filter, sorts) in [
                (AggregateFilter::default(), false),
                (AggregateFilter { keys: some(&["key0"]), owners: None }, false),
                (AggregateFilter { keys: some(&["key0", "key1"]), owners: None }, false),
                (AggregateFilter { keys: None, owners: some(&["0xO1", "0xO2"]) }, true),
                (AggregateFilter { keys: some(&["key1"]), owners: some(&["0xO1"]) }, true),
            ] {
                let start = AggregateStart::Offset(0);
                let query = AggregateQuery { filter: filter.clone(), sort, order, start, limit: 20 };
                let statement = aggregates::statement(&conn, &query).unwrap();
                check_plan(&conn, &statement, sorts, &format!("{filter:?}"));
            }
        }
        let files = FileQuery { owner: "0xO1".into(), file: None, order, start: after(), limit: 20 };
        check_plan(&conn, &files::list_sql(&files), false, "files");
        check_plan(&conn, &hashes::list_sql(&HashesFilter::default(), order, 40, 20), false, "hashes");
        let gone = SkeletonQuery {
            filter: SkeletonFilter {
                status: MessageStatus::Forgotten,
                types: None,
                senders: some(&["0xS"]),
                owners: None,
                chains: None,
                channels: None,
                hashes: None,
                payment_types: None,
                start: None,
                end: None,
            },
            order,
            offset: 0,
            limit: 20,
        };
        check_plan(&conn, &skeletons::list_sql(&gone), false, "skeletons");
    }
}

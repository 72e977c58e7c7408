use std::sync::LazyLock;

use aleph_test_postgres::{Options, Server};
use aleph_types::content::PaymentType;
use aleph_types::{Chain, ItemHash, MessageStatus, MessageType, Timestamp};
use parking_lot::Mutex;

use super::aggregates::{self, AggregateFilter, AggregateQuery, AggregateSort, AggregateStart};
use super::files::FileQuery;
use super::hashes::{self, HashesFilter};
use super::message_filter::{MessageFilter, MessageQuery, Start, StoredStatuses};
use super::message_plan::Plan;
use super::posts::{self, PostFilter, PostQuery};
use super::skeletons::{self, SkeletonFilter, SkeletonQuery};
use super::{SortOrder, files, messages, sql};
use crate::engine::{PostgresSession, Row, Session, values};
use crate::{Location, PostgresUrl, StoreError, migrations, store};

const ROWS: i64 = 6_000;

fn hash_of(number: i64) -> String {
    ItemHash::sha256(&number.to_be_bytes()).as_str().to_owned()
}

/// Two senders share the messages; every third is a POST of type `note`, every thousandth has a rare tag.
/// Three messages share each instant.
fn fill(location: &Location) -> Session {
    let session = store::open_writer(location).unwrap();
    migrations::apply(&session, location).unwrap();
    session.begin().unwrap();
    for owner in 0..2_i64 {
        let address = format!("0xO{owner}");
        session
            .execute("INSERT INTO owners (address, id) VALUES (?1,?2)", values![&address, owner + 1])
            .unwrap();
    }
    for number in 0..ROWS {
        insert(&session, number).unwrap();
    }
    session.commit().unwrap();
    session
}

fn filled_file() -> Session {
    let folder = tempfile::tempdir().unwrap();
    let session = fill(&Location::from(folder.path().join("node.sqlite3")));
    session.batch("PRAGMA optimize").unwrap();
    session
}

/// The server, and a session as the API uses it.
fn filled_server() -> (Server, Session) {
    let server = Server::start(Options::fast()).unwrap();
    let url: PostgresUrl = server.database("node").unwrap().parse().unwrap();
    fill(&Location::Postgres(url.clone())).batch("ANALYZE").unwrap();
    (server, Session::Postgres(Box::new(PostgresSession::reader(&url).unwrap())))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    fn with_session(self, test: impl FnOnce(&Session)) {
        static FILE: LazyLock<Mutex<Session>> = LazyLock::new(|| Mutex::new(filled_file()));
        static SERVER: LazyLock<Mutex<(Server, Session)>> = LazyLock::new(|| Mutex::new(filled_server()));
        match self {
            Engine::Sqlite => test(&FILE.lock()),
            Engine::Postgres => test(&SERVER.lock().1),
        }
    }
}

macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                super::Engine::Sqlite.with_session(super::$name);
            })*
        }
        mod postgres {
            $(#[test]
            fn $name() {
                super::Engine::Postgres.with_session(super::$name);
            })*
        }
    };
}

on_both_engines!(
    pages_hold_what_the_filters_mean,
    every_message_list_is_driven_by_an_index,
    every_other_list_is_driven_by_an_index,
);

fn insert(session: &Session, number: i64) -> Result<(), StoreError> {
    let hash = hash_of(number);
    let post = number % 3 != 1;
    let owner = format!("0xO{}", number % 2);
    let sender = if number % 7 == 0 { owner.clone() } else { format!("0xS{}", number % 2) };
    let content = format!(r#"{{"address":"{owner}","time":1,"content":{{}},"type":"note"}}"#);
    let channel = (number % 5 != 0).then(|| format!("C{}", number % 2));
    let reference = (number % 100 == 0).then(|| format!("ref{}", number % 200));
    let key = format!("key{}", number % 2);
    session.execute(
        "INSERT INTO messages (seq, item_hash, message_type, chain, sender, owner, signature, item_type, \
         item_content, size, time, content_time, channel, content_type, reference, content_key, \
         payment_type, reception_time, own) \
         VALUES (?1,?2,?3,?4,?5,?6,'0x','inline',?7,?8,?9,?9,?10,?11,?12,?13,?14,?15,?16)",
        values![
            number + 1,
            &hash,
            if post { "POST" } else { "AGGREGATE" },
            if (number + 1) % 97 == 0 { "SOL" } else { "ETH" },
            &sender,
            &owner,
            &content,
            content.len() as i64,
            number / 3 * 1_000_000,
            channel.as_deref(),
            post.then_some("note"),
            reference.as_deref(),
            (!post).then_some(key.as_str()),
            (number % 50 == 0).then_some("credit"),
            number,
            (sender == owner).then_some(number % 2 + 1),
        ],
    )?;
    if number == 7 {
        session.execute(
            "INSERT INTO statuses (item_hash, status, reception_time, message) VALUES (?1,'removing',?2,?3)",
            values![&hash, number, number + 1],
        )?;
    }
    session.execute(
        "INSERT INTO message_tags (tag, message) VALUES (?1,?2)",
        values![if number % 1000 == 0 { "rare" } else { "frequent" }, number + 1],
    )?;
    if post {
        session.execute(
            "INSERT INTO posts (original, message, owner, post_type, reference, created, latest, \
             latest_message, last_updated, owner_id) VALUES (?1,?2,?3,'note',?4,?5,?1,?2,?5,?6)",
            values![&hash, number + 1, &owner, (number % 100 == 0).then_some("r"), number, number % 2 + 1],
        )?;
    }
    session.execute(
        "INSERT INTO aggregates (owner, key, created, first_hash, updated, last_hash, elements) \
         VALUES (?1,?2,?3,'h',?3,'h',1)",
        values![&format!("0xO{number}"), &key, number],
    )
}

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
        MessageFilter { owners: some(&["0xO1"]), ..none() },
        MessageFilter { senders: some(&["0xO1"]), ..none() },
        MessageFilter { senders: some(&["0xO1", "0xS0"]), owners: some(&["0xO1", "0xO0"]), ..none() },
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
fn expected(session: &Session, query: &MessageQuery) -> Vec<String> {
    let filter = &query.filter;
    let has = |values: &Option<Vec<String>>, value: Option<String>| {
        values.as_ref().is_none_or(|values| value.is_some_and(|value| values.contains(&value)))
    };
    let mut rows: Vec<(i64, String)> = Vec::new();
    const COLUMNS: [&str; 13] = [
        "item_hash",
        "message_type",
        "chain",
        "payment_type",
        "sender",
        "owner",
        "reference",
        "content_type",
        "content_key",
        "channel",
        "s.status",
        "t.tag",
        "time",
    ];
    let sql = format!(
        "SELECT m.{} FROM messages m LEFT JOIN statuses s ON s.item_hash = m.item_hash \
         JOIN message_tags t ON t.message = m.seq",
        COLUMNS.join(", m.").replace("m.s.", "s.").replace("m.t.", "t.")
    );
    let visit = |row: &Row<'_>| {
        let text = |name: &str| {
            let column = COLUMNS.iter().position(|column| column.ends_with(name)).unwrap();
            row.opt_string(column).unwrap()
        };
        let time = row.int(12)?;
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
        Ok(())
    };
    session.each(&sql, &[], visit).unwrap();
    rows.sort_by(|a, b| match query.order {
        SortOrder::Descending => b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)),
        SortOrder::Ascending => a.cmp(b),
    });
    rows.into_iter().map(|(_, hash)| hash).collect()
}

fn pages_hold_what_the_filters_mean(session: &Session) {
    for filter in filters() {
        for order in [SortOrder::Descending, SortOrder::Ascending] {
            let mut query =
                MessageQuery { filter: filter.clone(), order, start: Start::Offset(0), limit: 40 };
            let all = expected(session, &query);
            let hashes = |query: &MessageQuery| -> Vec<String> {
                messages::list(session, query)
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
                let last = messages::list(session, &query).unwrap().remove(0).message;
                query.limit = 40;
                query.start = Start::After(last.time, last.item_hash);
                assert_eq!(hashes(&query), all[14..54], "cursor, {filter:?}");
            }
            let count = messages::count(session, &filter, 100_000).unwrap();
            assert_eq!(count.rows, all.len() as u64, "count, {filter:?}");
            assert!(count.exact);
            let capped = messages::count(session, &filter, 1).unwrap();
            // The whole table is counted in any case.
            assert_eq!(capped.exact, all.len() <= 1 || filter == MessageFilter::default(), "{filter:?}");
        }
    }
}

/// Fails on a walk over a table without an index, and on a sort of many rows.
fn check_plan(session: &Session, statement: &sql::Sql, sorts: bool, what: &str) {
    for step in sql::plan(session, statement) {
        let (scans_table, sorts_all) = match session {
            Session::Sqlite(_) => {
                let scans =
                    step.starts_with("SCAN") && !step.contains("INDEX") && !step.contains("json_each");
                let of_few = step.contains("SCAN t") || step.contains("SCAN h");
                (scans && !of_few, step.contains("USE TEMP B-TREE FOR ORDER BY"))
            }
            Session::Postgres(_) => {
                let step = step.trim_start_matches([' ', '-', '>']);
                // What the planner knows to be few may be sorted.
                let rows =
                    step.split_once(" rows=").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
                let is_long = rows.unwrap_or(u64::MAX) > super::SMALL;
                (step.starts_with("Seq Scan"), step.starts_with("Sort  (") && is_long)
            }
        };
        assert!(!scans_table, "{what}: {step}\n{}", statement.text);
        assert!(!sorts_all || sorts, "{what}: {step}\n{}", statement.text);
    }
}

fn every_message_list_is_driven_by_an_index(session: &Session) {
    for filter in filters() {
        for order in [SortOrder::Descending, SortOrder::Ascending] {
            for start in [
                Start::Offset(40),
                Start::After(Timestamp::from_secs(500), ItemHash::parse(&hash_of(1)).unwrap()),
            ] {
                let query = MessageQuery { filter: filter.clone(), order, start, limit: 20 };
                let plan = Plan::choose(session, &query.filter).unwrap().unwrap();
                let rows = plan.count(session, 2 * super::SMALL).unwrap();
                for statement in plan.statements(&query) {
                    check_plan(session, &statement, rows <= super::SMALL, &format!("{filter:?}"));
                }
            }
        }
    }
}

fn every_other_list_is_driven_by_an_index(session: &Session) {
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
                let statement = posts::statement(session, &query).unwrap();
                check_plan(session, &statement, sorts, &format!("{filter:?}"));
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
                let statement = aggregates::statement(session, &query).unwrap();
                check_plan(session, &statement, sorts, &format!("{filter:?}"));
            }
        }
        let files = FileQuery { owner: "0xO1".into(), file: None, order, start: after(), limit: 20 };
        check_plan(session, &files::list_sql(&files), false, "files");
        check_plan(session, &hashes::list_sql(&HashesFilter::default(), order, 40, 20), false, "hashes");
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
        check_plan(session, &skeletons::list_sql(&gone), false, "skeletons");
    }
}

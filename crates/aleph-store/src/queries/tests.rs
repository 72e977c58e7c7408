mod aggregates_lists;
mod combinations;
mod followed;
mod gone;

use std::sync::LazyLock;

use aleph_test_postgres::{Options, Server};
use aleph_types::{ItemHash, Timestamp};
use parking_lot::Mutex;

use super::aggregates::{self, AggregateFilter, AggregateQuery, AggregateSort, AggregateStart};
use super::files::FileQuery;
use super::message_filter::Start;
use super::{SortOrder, files, sql};
use crate::engine::{PostgresSession, Session, values};
use crate::statuses::{RECORDED, START_CHARS, STORED};
use crate::{Location, PostgresUrl, StoreError, migrations, store};

const ROWS: i64 = 6_000;

/// Messages that went.
const GONE: i64 = 3_000;

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
    for number in 0..GONE {
        insert_gone(&session, number).unwrap();
    }
    session.commit().unwrap();
    session
}

/// Ten went at each time; every eighth for lack of funds.
fn insert_gone(session: &Session, number: i64) -> Result<(), StoreError> {
    session.execute(
        "INSERT INTO skeletons (item_hash, status, message_type, chain, sender, owner, item_type, time, channel, \
         payment_type, gone_at, forgotten_by) VALUES (?1,?2,?3,?4,?5,?6,'inline',?7,?8,?9,?10,'[]')",
        values![
            &hash_of(1_000_000 + number),
            if number % 8 == 0 { "removed" } else { "forgotten" },
            if number % 3 == 0 { "STORE" } else { "POST" },
            if number % 50 == 1 { "SOL" } else { "ETH" },
            &format!("0xS{}", number % 2),
            &format!("0xO{}", number % 5),
            number,
            (number % 4 != 0).then_some("C"),
            if number % 100 == 1 { "credit" } else { "hold" },
            number / 10 * 1_000_000,
        ],
    )
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

use aggregates_lists::every_list_of_aggregates;
use combinations::{every_list_of_hashes, every_message_list, every_post_list, what_senders_did};
use followed::what_is_kept_follows_every_change;
use gone::every_list_of_what_is_gone;

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
    every_message_list,
    every_post_list,
    every_list_of_hashes,
    every_other_list_is_driven_by_an_index,
    what_senders_did,
    what_is_kept_follows_every_change,
    every_list_of_what_is_gone,
    every_list_of_aggregates,
    many_fates_at_once,
);

fn insert(session: &Session, number: i64) -> Result<(), StoreError> {
    let hash = hash_of(number);
    let post = number % 3 != 1;
    let (owner, owner_id) = (format!("0xO{}", number % 2), number % 2 + 1);
    let sender = if number % 7 == 0 { owner.clone() } else { format!("0xS{}", number % 2) };
    let content = format!(r#"{{"address":"{owner}","time":1,"content":{{}},"type":"note"}}"#);
    let channel = (number % 5 != 0).then(|| format!("C{}", number % 2));
    let reference = (number % 100 == 0).then(|| format!("ref{}", number % 200));
    let key = format!("key{}", number % 2);
    session.execute(
        "INSERT INTO messages (seq, item_hash, message_type, chain, sender, owner, signature, item_type, \
         item_content, size, time, content_time, channel, content_type, reference, content_key, \
         payment_type, reception_time, content_hash, confirmed_at, confirmed_height, own) \
         VALUES (?1,?2,?3,?4,?5,?6,'0x','inline',?7,?8,?9,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19)",
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
            (number % 10 == 1).then(|| hash_of(number % 20)).as_deref(),
            (number % 4 == 0).then_some(number / 8 * 1_000_000),
            (number % 4 == 0).then_some(number / 8),
            (sender == owner).then_some(owner_id),
        ],
    )?;
    if number % 21 == 7 {
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
            "INSERT INTO posts (original, message, owner, post_type, reference, channel, created, latest, \
             latest_message, last_updated) VALUES (?1,?2,?3,'note',?4,?5,?6,?1,?2,?7)",
            values![
                &hash,
                number + 1,
                &owner,
                reference.as_deref(),
                channel.as_deref(),
                number / 3 * 1_000_000,
                number / 5 * 1_000_000,
            ],
        )?;
    }
    session.execute(
        "INSERT INTO aggregates (owner, key, created, first_hash, updated, last_hash, elements) \
         VALUES (?1,?2,?3,?4,?3,?4,1)",
        values![&format!("0xO{number}"), &key, number, &hash],
    )
}

fn some(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

/// Fails on a walk over a table without an index, and on a sort of many rows.
fn check_plan(session: &Session, statement: &sql::Sql, sorts: bool, what: &str) {
    for step in sql::plan(session, statement) {
        let (scans_table, sorts_all) = match session {
            Session::Sqlite(_) => {
                let scans =
                    step.starts_with("SCAN") && !step.contains("INDEX") && !step.contains("json_each");
                let of_few = step.contains("SCAN t") || step.contains("SCAN h");
                // Where every owner is asked for.
                let of_owners = step == "SCAN o";
                (scans && !of_few && !of_owners, step.contains("USE TEMP B-TREE FOR ORDER BY"))
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

fn every_other_list_is_driven_by_an_index(session: &Session) {
    let after = || Start::After(Timestamp::from_secs(500), ItemHash::parse(&hash_of(1)).unwrap());
    for order in [SortOrder::Descending, SortOrder::Ascending] {
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
    }
}

/// Each is looked up by its hash, and nothing is walked.
fn many_fates_at_once(session: &Session) {
    let hashes: Vec<String> = (0..50).map(|number| hash_of(number * 40)).collect();
    let starts: Vec<String> = hashes.iter().map(|hash| hash[..START_CHARS].to_owned()).collect();
    let (explain, column) = match session {
        Session::Sqlite(_) => ("EXPLAIN QUERY PLAN", 3),
        Session::Postgres(_) => ("EXPLAIN", 0),
    };
    for (sql, values, searches) in [
        (STORED, values![&starts[..], &hashes[..]].to_vec(), "SEARCH m USING INDEX messages_hash (<expr>=?)"),
        (RECORDED, values![&hashes[..]].to_vec(), "SEARCH statuses USING PRIMARY KEY (item_hash=?)"),
    ] {
        let plan = session.rows(&format!("{explain} {sql}"), &values, |row| row.string(column)).unwrap();
        let is_searched = match session {
            Session::Sqlite(_) => plan.iter().any(|step| step == searches),
            Session::Postgres(_) => plan.iter().all(|step| !step.contains("Seq Scan on")),
        };
        assert!(is_searched, "{sql}\n{}", plan.join("\n"));
    }
}

/// A session that writes to the database of this one: the file's own session does.
fn writer_of(session: &Session) -> Option<&Session> {
    match session {
        Session::Sqlite(_) => Some(session),
        Session::Postgres(_) => None,
    }
}

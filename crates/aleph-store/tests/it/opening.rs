//! Opening databases that are new, newer, foreign, damaged, full.

use aleph_rules::Effect;
use aleph_store::queries::MessageFilter;
use aleph_store::{Location, NewMessage, Store, StoreErrorKind};
use aleph_test_postgres::{Options, Server};
use aleph_types::content::Content;
use aleph_types::{Address, ItemHash, ParsedMessage, Timestamp};
use serde_json::json;

use crate::place::{Engine, on_both_engines};

on_both_engines!(
    questions_with_nul_find_nothing,
    a_second_start_finds_everything,
    a_newer_schema_is_refused_in_words,
    a_schema_of_another_build_is_refused_in_words,
    balances_take_the_newest_height
);

fn post(number: usize) -> ParsedMessage {
    let text =
        json!({ "address": "0xA", "time": number, "type": "t", "content": "x".repeat(2000) }).to_string();
    let envelope = json!({
        "chain": "ETH", "sender": "0xA", "signature": "0x", "type": "POST", "time": number,
        "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
    });
    ParsedMessage::from_value(&envelope).unwrap()
}

fn new_message(parsed: &ParsedMessage) -> NewMessage<'_> {
    NewMessage {
        message: &parsed.message,
        content: parsed.content.as_ref().unwrap(),
        document: None,
        size: 1,
        reception_time: Timestamp::EPOCH,
        origin: "http",
    }
}

fn a_second_start_finds_everything(engine: Engine) {
    let place = engine.place();
    let parsed = post(1);
    {
        let (_store, mut writer) = Store::open(place.location()).unwrap();
        let mut transaction = writer.begin().unwrap();
        transaction.process(new_message(&parsed), &[]).unwrap();
        transaction.commit().unwrap();
        // Not committed: not there.
        let lost = post(2);
        let mut transaction = writer.begin().unwrap();
        transaction.process(new_message(&lost), &[]).unwrap();
    }
    let (_store, mut writer) = Store::open(place.location()).unwrap();
    let transaction = writer.begin().unwrap();
    assert!(transaction.status(&parsed.message.item_hash).unwrap().is_some());
    assert!(transaction.status(&post(2).message.item_hash).unwrap().is_none());
}

fn a_newer_schema_is_refused_in_words(engine: Engine) {
    let place = engine.place();
    drop(Store::open(place.location()).unwrap());
    place.by_hand("INSERT INTO migrations (number, checksum) VALUES (999, 'x')");
    let error = Store::open(place.location()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    let text = error.to_string();
    assert!(text.contains("schema 999") && text.contains("newer alephd"), "{text}");
}

fn a_schema_of_another_build_is_refused_in_words(engine: Engine) {
    let place = engine.place();
    drop(Store::open(place.location()).unwrap());
    place.by_hand("UPDATE migrations SET checksum = 'other' WHERE number = 1");
    let error = Store::open(place.location()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(error.to_string().contains("another build"), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sqlite3");
    std::fs::write(&path, "this is a letter to my grandmother, and it is long enough ".repeat(40)).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(error.to_string().contains("no SQLite database"), "{error}");
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.sqlite3");
    let (_store, mut writer) = Store::open(&path).unwrap();
    let kept = post(1);
    let mut transaction = writer.begin().unwrap();
    transaction.process(new_message(&kept), &[]).unwrap();
    transaction.commit().unwrap();
    // SQLite's own limit on pages gives the error of a full disk without filling one.
    let pages = writer.limit_pages(Some(0)).unwrap();
    let mut refused = None;
    for number in 2..2000 {
        let parsed = post(number);
        let mut transaction = writer.begin().unwrap();
        let result = transaction.process(new_message(&parsed), &[]).and_then(|_| transaction.commit());
        if let Err(error) = result {
            refused = Some((error, parsed));
            break;
        }
    }
    let (error, parsed) = refused.expect("the disk never filled up");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("full"), "{error}");
    writer.limit_pages(Some(pages + 100_000)).unwrap();
    let mut transaction = writer.begin().unwrap();
    assert!(transaction.status(&kept.message.item_hash).unwrap().is_some());
    assert!(transaction.status(&parsed.message.item_hash).unwrap().is_none());
    transaction.process(new_message(&parsed), &[]).unwrap();
    transaction.commit().unwrap();
}

fn balances_take_the_newest_height(engine: Engine) {
    let place = engine.place();
    let (_store, mut writer) = Store::open(place.location()).unwrap();
    for (number, height, amount) in [(1, 10, "5"), (2, 12, "7.5"), (3, 11, "6")] {
        let parsed = post(number);
        let effect = Effect::SetBalances {
            chain: "ETH".into(),
            dapp: String::new(),
            height,
            entries: vec![aleph_rules::BalanceEntry { address: Address::from("0xB"), amount: amount.into() }],
            source: ItemHash::sha256(&[number as u8]),
        };
        let mut transaction = writer.begin().unwrap();
        transaction.process(new_message(&parsed), &[effect]).unwrap();
        transaction.commit().unwrap();
    }
    drop(writer);
    let amount = place.by_hand("SELECT amount FROM balances WHERE address = '0xB'");
    assert_eq!(amount, "7.5");
    assert!(matches!(post(1).content, Some(Content::Post(_))));
}

#[test]
fn one_node_writes_a_database_of_a_server() {
    let place = Engine::Postgres.place();
    let (_store, writer) = Store::open(place.location()).unwrap();
    let error = Store::open(place.location()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("another alephd"), "{error}");
    drop(writer);
    Store::open(place.location()).unwrap();
}

#[test]
fn a_server_that_dies_is_found_again_and_nothing_acknowledged_is_lost() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut server = Server::start(Options::durable()).unwrap();
    let location: Location = server.database("node").unwrap().parse().unwrap();
    let (store, mut writer) = Store::open(&location).unwrap();
    let kept = post(1);
    let mut transaction = writer.begin().unwrap();
    transaction.process(new_message(&kept), &[]).unwrap();
    transaction.commit().unwrap();
    let before = runtime.block_on(store.digest()).unwrap();

    // In the middle of a batch.
    let lost = post(2);
    let mut transaction = writer.begin().unwrap();
    transaction.process(new_message(&lost), &[]).unwrap();
    server.kill9().unwrap();
    let error = transaction.status(&kept.message.item_hash).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    drop(transaction);
    assert_eq!(writer.begin().unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert_eq!(runtime.block_on(store.digest()).unwrap_err().kind(), StoreErrorKind::Unavailable);

    server.start_again().unwrap();
    assert_eq!(runtime.block_on(store.digest()).unwrap(), before);
    let mut transaction = writer.begin().unwrap();
    assert!(transaction.status(&kept.message.item_hash).unwrap().is_some());
    assert!(transaction.status(&lost.message.item_hash).unwrap().is_none());
    let place = transaction.process(new_message(&lost), &[]).unwrap();
    transaction.commit().unwrap();
    assert_eq!(place, 2);
}

#[test]
fn a_url_that_leads_nowhere_is_told_in_words() {
    let nowhere: Location = "postgres://alephd:secret@127.0.0.1:1/node".parse().unwrap();
    let error = Store::open(&nowhere).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("can't be reached"), "{error}");
    assert!(!format!("{nowhere} {nowhere:?} {error:?}").contains("secret"));
    for url in ["postgres://", "postgres://u@h:port/x", "postgres://u@h/x?sslmode=verify-ca"] {
        let error = url.parse::<Location>().unwrap_err();
        assert!(error.to_string().starts_with("the URL of the database"), "{url}: {error}");
    }
}

fn questions_with_nul_find_nothing(engine: Engine) {
    let place = engine.place();
    let (store, mut writer) = Store::open(place.location()).unwrap();
    let mut transaction = writer.begin().unwrap();
    transaction.process(new_message(&post(1)), &[]).unwrap();
    transaction.set_meta("peer", "a\0b").unwrap();
    transaction.commit().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let filter =
        MessageFilter { senders: Some(vec!["0xA\0".into(), "\0".into()]), ..MessageFilter::default() };
    assert_eq!(runtime.block_on(store.count_messages(filter)).unwrap(), 0);
    assert_eq!(runtime.block_on(store.file("\0".into())).unwrap(), None);
    assert_eq!(runtime.block_on(store.meta("peer")).unwrap().as_deref(), Some("ab"));
    let filter = MessageFilter { senders: Some(vec!["0xA".into()]), ..MessageFilter::default() };
    assert_eq!(runtime.block_on(store.count_messages(filter)).unwrap(), 1);
}

#[test]
fn what_the_disk_did_not_take_is_never_called_durable() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("x.sqlite3"));
    drop(Store::open(&location).unwrap());
    {
        let (_store, mut writer) = Store::open(&location).unwrap();
        // SQLite goes on with the file that it has open; who opens it to synchronise it finds none.
        std::fs::remove_file(folder.path().join("x.sqlite3-wal")).unwrap();
        let mut transaction = writer.begin().unwrap();
        transaction.process(new_message(&post(1)), &[]).unwrap();
        let error = transaction.commit().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(error.to_string().contains("start the node anew"), "{error}");
        let error = writer.begin().map(drop).unwrap_err();
        assert!(error.to_string().contains("start the node anew"), "{error}");
    }
    let (_store, mut writer) = Store::open(&location).unwrap();
    let mut transaction = writer.begin().unwrap();
    transaction.process(new_message(&post(2)), &[]).unwrap();
    transaction.commit().unwrap();
}

#[test]
fn what_is_committed_ahead_is_seen_by_the_next_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("x.sqlite3"));
    let (_store, mut writer) = Store::open(&location).unwrap();
    let log = writer.disk_log();
    for number in 1..=3 {
        let mut transaction = writer.begin().unwrap();
        for before in 1..number {
            assert!(transaction.status(&post(before).message.item_hash).unwrap().is_some());
        }
        transaction.process(new_message(&post(number)), &[]).unwrap();
        transaction.commit_ahead().unwrap();
    }
    std::thread::spawn(move || log.sync()).join().unwrap().unwrap();
    drop((_store, writer));
    let (_store, mut writer) = Store::open(&location).unwrap();
    let transaction = writer.begin().unwrap();
    assert!(transaction.status(&post(3).message.item_hash).unwrap().is_some());
}

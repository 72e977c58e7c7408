//! A database that is older than the ledger gets its rows when a newer program opens it.

use aleph_crypto::{TrustedSource, Verified};
use aleph_rules::{Candidate, Decision, Effect, FileInfo, FileKind, Network, Payments, Publishers, decide};
use aleph_store::{NewMessage, Store, StoredCost, Writer};
use aleph_types::{Address, ItemHash, ParsedMessage, Timestamp};
use serde_json::{Value, json};

use crate::place::{Engine, Place, on_both_engines};

on_both_engines!(an_older_database_gets_its_ledger);

const PUBLISHER: &str = "0xPublisher";
const OWNER: &str = "0xOwner";
const START: u64 = 1_780_000_000;

/// What the migrations of money and of settling made, and their places.
const YOUNGER: [&str; 9] = [
    "DROP TABLE account_costs",
    "DROP TABLE account_totals",
    "DROP TABLE credit_history",
    "DROP TABLE credit_lots",
    "DROP TABLE credit_lots_anew",
    "DROP TABLE credit_deferred",
    "DROP TABLE removals",
    "DROP TABLE jobs",
    "ALTER TABLE balances DROP COLUMN source",
];

/// A database as it was before the ledger.
fn make_older(place: &Place, engine: Engine) {
    for sql in YOUNGER {
        place.by_hand(sql);
    }
    place.by_hand("ALTER TABLE balances DROP COLUMN changed");
    place.by_hand("DELETE FROM meta WHERE key IN ('digest', 'backfill')");
    let (money, settling) = match engine {
        Engine::Sqlite => (7, 9),
        Engine::Postgres => (6, 8),
    };
    place.by_hand(&format!("DELETE FROM migrations WHERE number IN ({money}, {settling})"));
}

fn post(sender: &str, number: u64, kind: &str, body: Value) -> ParsedMessage {
    message(sender, number, "POST", json!({ "type": kind, "content": body }))
}

fn message(sender: &str, number: u64, message_type: &str, mut content: Value) -> ParsedMessage {
    content["address"] = sender.into();
    content["time"] = (START + number).into();
    let text = content.to_string();
    ParsedMessage::from_value(&json!({
        "chain": "ETH", "sender": sender, "signature": "0x", "type": message_type, "time": START + number,
        "channel": "ALEPH_CREDIT", "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
    }))
    .unwrap()
}

fn messages() -> Vec<ParsedMessage> {
    let grant = |number, to: &str, amount: u64| {
        let entry = json!({ "address": to, "amount": amount, "price": "1", "tx_hash": "t", "provider": "p" });
        let body = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": [entry] } });
        post(PUBLISHER, number, "aleph_credit_distribution", body)
    };
    let transfer = |number, from: &str, to: &str, amount: u64| {
        let body = json!({ "transfer": { "credits": [{ "address": to, "amount": amount }] } });
        post(from, number, "aleph_credit_transfer", body)
    };
    let holds = |number, height: u64, amount: &str| {
        let body =
            json!({ "chain": "ETH", "main_height": height, "balances": { OWNER: amount, "0xB": "7" } });
        post(PUBLISHER, number, "balances-update", body)
    };
    let file = |number: u64| {
        let content = json!({ "item_type": "storage", "item_hash": ItemHash::sha256(&number.to_be_bytes()) });
        message(OWNER, number, "STORE", content)
    };
    let price = |number, holding: &str| {
        let storage = json!({ "price": { "storage": { "holding": holding, "credit": "1" } } });
        let content = json!({ "key": "pricing", "content": { "storage": storage } });
        message(PUBLISHER, number, "AGGREGATE", content)
    };
    let spend = json!({ "expense": { "credits": [{ "address": OWNER, "amount": 30 }] } });
    vec![
        holds(1, 10, "1000000"),
        grant(2, OWNER, 100),
        file(3),
        price(4, "2"),
        file(5),
        transfer(6, OWNER, "0xB", 60),
        post(PUBLISHER, 7, "aleph_credit_expense", spend),
        post("0xB", 8, "note", json!({ "number": 1 })),
        // Older heights change nothing.
        holds(9, 9, "5"),
        holds(10, 11, "999999.5"),
        // Nobody's business: another may not grant.
        post("0xB", 11, "aleph_credit_distribution", json!({ "distribution": {} })),
        transfer(12, "0xB", "0xC", 5),
        price(13, "3"),
        file(14),
    ]
}

fn charging() -> Network {
    let publisher = || Address::from(PUBLISHER);
    Network {
        publishers: Publishers {
            balances: vec![publisher()],
            credits: vec![publisher()],
            metrics: Vec::new(),
        },
        payments: Some(Payments { publisher: publisher(), ..Payments::default() }),
    }
}

/// As a program without a ledger did: posts of credits are posts like others.
fn process_as_older(writer: &mut Writer, parsed: ParsedMessage) {
    let mut other = parsed.clone();
    other.message.channel = None;
    let mut effects = decided(writer, &Network::default(), other);
    for effect in &mut effects {
        if let Effect::CreatePost { channel, .. } = effect {
            channel.clone_from(&parsed.message.channel);
        }
    }
    store(writer, &parsed, &effects);
}

fn process(writer: &mut Writer, network: &Network, parsed: ParsedMessage) {
    let effects = decided(writer, network, parsed.clone());
    store(writer, &parsed, &effects);
}

fn decided(writer: &mut Writer, network: &Network, parsed: ParsedMessage) -> Vec<Effect> {
    let verified = Verified::trusted(parsed, TrustedSource::Genesis);
    let file = Some(FileInfo { size: 30 << 20, kind: FileKind::File });
    let mut transaction = writer.begin().unwrap();
    let candidate = Candidate::new(&verified, None, 1, file).at(verified.message.time);
    let decision = decide(&candidate, network, &mut transaction.facts()).unwrap();
    let Decision::Process(effects) = decision else { panic!("{decision:?}") };
    effects
}

fn store(writer: &mut Writer, parsed: &ParsedMessage, effects: &[Effect]) {
    let mut transaction = writer.begin().unwrap();
    let new = NewMessage {
        message: &parsed.message,
        content: parsed.content.as_ref().unwrap(),
        document: None,
        size: 1,
        reception_time: Timestamp::EPOCH,
        origin: "http",
    };
    transaction.process(new, effects).unwrap();
    transaction.commit().unwrap();
}

fn an_older_database_gets_its_ledger(engine: Engine) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let charging = charging();
    let expected = engine.place();
    let (as_expected, mut writer) = Store::open(expected.location()).unwrap();
    for parsed in messages() {
        process(&mut writer, &charging, parsed);
    }
    // A new database has nothing to catch up with.
    assert_eq!(writer.backfill(&charging, 100).unwrap(), None);

    let place = engine.place();
    let (store, mut writer) = Store::open(place.location()).unwrap();
    for parsed in messages() {
        process_as_older(&mut writer, parsed);
    }
    drop((store, writer));
    place.by_hand("INSERT INTO balances (address, chain, dapp, amount, height) VALUES ('0xOwner', 'ETH', '', '999999.5', 11)");
    make_older(&place, engine);
    let mut pages = 0;
    loop {
        // Killed after each page.
        let (store, mut writer) = Store::open(place.location()).unwrap();
        let Some(page) = writer.backfill(&charging, 3).unwrap() else { break };
        pages += 1;
        assert_eq!((page.all, page.is_complete), (14, page.done == 14));
        let digest = runtime.block_on(store.recompute_digest()).unwrap();
        assert_eq!(digest.kept, digest.recomputed, "page {pages}");
    }
    assert_eq!(pages, 5);
    let (store, mut writer) = Store::open(place.location()).unwrap();
    let digests = |store: &Store| runtime.block_on(store.digest()).unwrap();
    assert_eq!(digests(&store).parts, digests(&as_expected).parts);
    let costs = |store: &Store, of: &ParsedMessage| -> Vec<StoredCost> {
        runtime.block_on(store.costs_of(of.message.item_hash.clone())).unwrap()
    };
    let mut lines = 0;
    for parsed in messages() {
        let found = costs(&store, &parsed);
        lines += found.len();
        assert_eq!(found, costs(&as_expected, &parsed));
    }
    assert_eq!(lines, 3);
    let total = |place: &Place| place.by_hand("SELECT total FROM account_totals WHERE owner = '0xOwner'");
    assert_eq!(total(&place), total(&expected));
    // Work goes on: the same file again costs the newest price.
    process(
        &mut writer,
        &charging,
        message(OWNER, 20, "FORGET", json!({ "hashes": [messages()[2].message.item_hash] })),
    );
    assert_ne!(total(&place), total(&expected));
}

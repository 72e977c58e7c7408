//! `balance_jobs.json` through the database of each engine: stored costs and confirmations, the page of the
//! job, the steps of each message.

use std::convert::Infallible;

use aleph_ledger::removal::{
    Circumstances, Event, Job, JobState, RemovalRules, Standing, Verdict, settle_page,
};
use aleph_ledger::{Amount, Costs, Estimates, FileSizes, PriceTable, Settings, Workload};
use aleph_rules::{BalanceEntry, Effect, FileInfo, FileKind, PinnedFile};
use aleph_store::{NewMessage, Store, Transaction};
use aleph_types::content::PaymentType;
use aleph_types::{Address, Chain, ChainTx, ItemHash, ParsedMessage, Timestamp};
use serde_json::{Value, json};

use crate::ledger::recorded;
use crate::place::{Engine, Place, on_both_engines};
use crate::recorded_money::credits;

on_both_engines!(recorded_jobs, a_job_that_is_killed_anywhere_ends_like_one_that_is_not);

const OWNER: &str = "0xA";

/// Files of no size.
struct NoFiles;

impl FileSizes for NoFiles {
    type Error = Infallible;

    fn size_behind(&mut self, _: &ItemHash, _: bool) -> Result<Option<u64>, Infallible> {
        Ok(None)
    }

    fn size_of_file(&mut self, _: &ItemHash) -> Result<Option<u64>, Infallible> {
        Ok(Some(100 << 20))
    }
}

fn parsed(message: &Value, owner: &str, number: usize, payment: PaymentType) -> ParsedMessage {
    let time = message["time"].as_f64().unwrap();
    let file = ItemHash::sha256(&[number as u8]);
    let mut content = match message["type"].as_str().unwrap() {
        "STORE" => json!({ "item_type": "storage", "item_hash": file }),
        "INSTANCE" => json!({
            "allow_amend": false, "environment": {}, "resources": {},
            "rootfs": { "parent": { "ref": file }, "persistence": "host", "size_mib": 20 },
        }),
        "PROGRAM" => json!({
            "type": "vm-function", "allow_amend": true, "resources": {}, "environment": {},
            "code": { "encoding": "zip", "entrypoint": "main:app", "ref": file },
            "runtime": { "ref": file, "comment": "" }, "on": { "http": true },
        }),
        other => panic!("{other}"),
    };
    content["address"] = owner.into();
    content["time"] = time.into();
    content["payment"] = json!({ "type": payment.as_str(), "chain": "ETH" });
    let text = content.to_string();
    ParsedMessage::from_value(&json!({
        "chain": "ETH", "sender": owner, "signature": "0x", "type": message["type"], "time": time,
        "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
    }))
    .unwrap()
}

/// Stores a message with its pin, its confirmations and the recorded cost.
fn insert(
    transaction: &mut Transaction<'_>,
    message: &Value,
    owner: &str,
    number: usize,
    job: Job,
) -> ItemHash {
    let payment = if job == Job::Credit { PaymentType::Credit } else { PaymentType::Hold };
    let parsed = parsed(message, owner, number, payment);
    let hash = parsed.message.item_hash.clone();
    let content = parsed.content.as_ref().unwrap();
    let workload = Workload::of(&hash, content, &Estimates::default(), &mut NoFiles).unwrap().unwrap();
    let mut costing = workload.price(&PriceTable::default(), &Settings::default()).unwrap();
    let cost = Amount::parse(message["cost"].as_str().unwrap()).unwrap();
    for (place, line) in costing.lines.iter_mut().enumerate() {
        let amount = if place == 0 { cost } else { Amount::ZERO };
        line.costs = Costs { hold: amount, stream: Amount::ZERO, credit: amount };
    }
    let owner = Address::from(owner);
    let mut effects =
        vec![Effect::SetCosts { message: hash.clone(), owner: owner.clone(), costing: Box::new(costing) }];
    if message["type"] == "STORE" {
        effects.push(Effect::PinFile(PinnedFile {
            file: ItemHash::sha256(&[number as u8]),
            info: FileInfo { size: message["file_size"].as_u64().unwrap_or_default(), kind: FileKind::File },
            owner,
            message: hash.clone(),
            reference: None,
            tag: hash.as_str().to_owned(),
            created: content.time(),
        }));
    }
    let new = NewMessage {
        message: &parsed.message,
        content,
        document: None,
        size: 1,
        reception_time: Timestamp::EPOCH,
        origin: "http",
    };
    transaction.process(new, &effects).unwrap();
    for height in message["heights"].as_array().unwrap() {
        let tx = ChainTx {
            chain: Chain::Eth,
            hash: format!("0x{height}"),
            height: height.as_u64().unwrap(),
            time: Timestamp::EPOCH,
            publisher: "0xP".into(),
        };
        transaction.confirm(&hash, &tx).unwrap();
    }
    hash
}

fn fund(transaction: &mut Transaction<'_>, job: Job, balance: &Value) {
    let owner = Address::from(OWNER);
    match job {
        Job::Hold => {
            let text = json!({ "address": "0xP", "time": 1, "type": "t", "content": {} }).to_string();
            let post = ParsedMessage::from_value(&json!({
                "chain": "ETH", "sender": "0xP", "signature": "0x", "type": "POST", "time": 1,
                "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
            }))
            .unwrap();
            let new = NewMessage {
                message: &post.message,
                content: post.content.as_ref().unwrap(),
                document: None,
                size: 1,
                reception_time: Timestamp::EPOCH,
                origin: "http",
            };
            let amount = balance.as_str().map_or_else(|| balance.to_string(), str::to_owned);
            let balances = Effect::SetBalances {
                chain: "ETH".into(),
                dapp: String::new(),
                height: 1,
                entries: vec![BalanceEntry { address: owner, amount }],
                source: post.message.item_hash.clone(),
            };
            transaction.process(new, &[balances]).unwrap();
        }
        Job::Credit => {
            let amount = balance.as_i64().unwrap_or_else(|| balance.as_str().unwrap().parse().unwrap());
            transaction.apply_credits(&credits(&owner, amount)).unwrap();
        }
    }
}

fn outcome(place: &Place, message: &Value, hash: &ItemHash) -> Value {
    let one = |sql: String| Some(place.by_hand(&sql)).filter(|text| !text.is_empty());
    let number = ItemHash::as_str(hash);
    let pin = one(format!("SELECT kind FROM file_pins WHERE pinned_by = '{number}'"));
    let record = one(format!(
        "SELECT CAST(size AS TEXT) FROM removals WHERE item_hash = '{number}' AND size IS NOT NULL \
         AND removed_at IS NULL"
    ));
    json!({
        "item_hash": message["item_hash"],
        "status": one(format!(
            "SELECT COALESCE((SELECT status FROM statuses WHERE item_hash = '{number}'), \
             (SELECT 'processed' FROM messages WHERE item_hash = '{number}'))"
        )),
        "pin_type": pin,
        "removed_record_size": record.map(|size| size.parse::<u64>().unwrap()),
    })
}

/// Accounts of the job that is killed; every third can't pay, every fifth could not before.
const KILLED: usize = 15;

/// Runs the job over them in pages of four; `kill` says before what it is killed: the page is not stored, and
/// the node starts again.
fn run_killed(engine: Engine, mut kill: impl FnMut(usize) -> bool) -> (String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let place = engine.place();
    let (mut store, mut writer) = Store::open(place.location()).unwrap();
    let now = Timestamp::from_secs(1_800_000_000);
    let circumstances = Circumstances { now, is_catching_up: false };
    let mut transaction = writer.begin().unwrap();
    let mut entries = Vec::new();
    for number in 0..KILLED {
        let owner = format!("0x{number:02}");
        let message =
            json!({ "type": "INSTANCE", "time": 1_700_000_000, "cost": "10", "heights": [23_000_000] });
        let hash = insert(&mut transaction, &message, &owner, number, Job::Hold);
        if number % 5 == 0 {
            transaction.step_removal(&hash, Event::Shortfall, &circumstances).unwrap();
        }
        let amount = if number % 3 == 0 { "9" } else { "11" };
        entries.push(BalanceEntry { address: owner.as_str().into(), amount: amount.into() });
    }
    let balances = Effect::SetBalances {
        chain: "ETH".into(),
        dapp: String::new(),
        height: 1,
        entries,
        source: ItemHash::sha256(b"balances"),
    };
    let last = parsed(&json!({ "type": "STORE", "time": 1 }), "0xLast", 99, PaymentType::Hold);
    let new = NewMessage {
        message: &last.message,
        content: last.content.as_ref().unwrap(),
        document: None,
        size: 1,
        reception_time: Timestamp::EPOCH,
        origin: "http",
    };
    transaction.process(new, &[balances]).unwrap();
    transaction.commit().unwrap();

    let mut step = 0;
    loop {
        let stored = runtime.block_on(store.job_state(Job::Hold)).unwrap();
        if stored.as_ref().is_some_and(|state| state.is_complete) {
            break;
        }
        let state = JobState::resume(Job::Hold, stored, now);
        let page = runtime.block_on(store.job_page(state.clone(), now, 4)).unwrap();
        let rows = page.rows.into_iter().map(Ok::<_, Infallible>);
        let mut changes = Vec::new();
        settle_page(Job::Hold, &RemovalRules::default(), true, &page.accounts, rows, |change| {
            changes.push(change);
        })
        .unwrap();
        let mut transaction = writer.begin().unwrap();
        for change in changes {
            let event = match change.verdict {
                Verdict::Remove => Event::Shortfall,
                _ => Event::Covered,
            };
            transaction.step_removal(&change.message.message, event, &circumstances).unwrap();
            // A page that is repeated changes nothing more.
            transaction.step_removal(&change.message.message, event, &circumstances).unwrap();
        }
        transaction
            .set_job(&state.advanced(page.accounts.last().map(|account| account.address.clone())))
            .unwrap();
        step += 1;
        if kill(step) {
            drop(transaction);
            drop((store, writer));
            (store, writer) = Store::open(place.location()).unwrap();
        } else {
            transaction.commit().unwrap();
        }
    }
    let digest = runtime.block_on(store.recompute_digest()).unwrap();
    assert_eq!(digest.kept, digest.recomputed);
    let removals = place.by_hand(
        "SELECT CAST(count(*) AS TEXT) || ' ' || CAST(min(until) AS TEXT) || ' ' || \
         CAST(max(until) AS TEXT) FROM removals WHERE removed_at IS NULL",
    );
    (digest.kept.digest, removals)
}

fn a_job_that_is_killed_anywhere_ends_like_one_that_is_not(engine: Engine) {
    let expected = run_killed(engine, |_| false);
    assert!(expected.1.starts_with("5 "), "{}", expected.1);
    for place in [1, 3] {
        assert_eq!(run_killed(engine, |step| step == place), expected, "killed at step {place}");
    }
    assert_eq!(run_killed(engine, |step| step % 3 != 0), expected, "killed again and again");
}

fn recorded_jobs(engine: Engine) {
    let Some(file) = recorded("balance_jobs.json") else { return };
    let cases = file["cases"].as_array().unwrap();
    let place = engine.place();
    let (store, mut writer) = Store::open(place.location()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let now = Timestamp::from_secs(1_800_000_000);
    let circumstances = Circumstances { now, is_catching_up: false };
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let job = if case["job"] == "balance" { Job::Hold } else { Job::Credit };
        let messages = case["messages"].as_array().unwrap();
        let mut transaction = writer.begin().unwrap();
        let mut hashes = Vec::new();
        for (number, message) in messages.iter().enumerate() {
            let hash = insert(&mut transaction, message, OWNER, number, job);
            if message["status"] != "processed" {
                transaction.step_removal(&hash, Event::Shortfall, &circumstances).unwrap();
            }
            if message["status"] == "removed" {
                let later = Circumstances { now: now.plus_micros(i64::MAX / 4), is_catching_up: false };
                let step = transaction.step_removal(&hash, Event::Collect, &later).unwrap();
                assert_eq!(step.standing, Standing::Removed { at: later.now });
            }
            hashes.push(hash);
        }
        fund(&mut transaction, job, &case["balance"]);
        transaction.commit().unwrap();

        let state = JobState::resume(job, runtime.block_on(store.job_state(job)).unwrap(), now);
        let page = runtime.block_on(store.job_page(state.clone(), now, 100)).unwrap();
        let mut changes = Vec::new();
        let rows = page.rows.into_iter().map(Ok::<_, Infallible>);
        let report = settle_page(job, &RemovalRules::default(), true, &page.accounts, rows, |change| {
            changes.push(change);
        })
        .unwrap();
        assert_eq!(report.strays, 0, "{name}");
        let mut transaction = writer.begin().unwrap();
        for change in changes {
            let event = match change.verdict {
                Verdict::Remove => Event::Shortfall,
                _ => Event::Covered,
            };
            transaction.step_removal(&change.message.message, event, &circumstances).unwrap();
        }
        let state = state.advanced(page.accounts.last().map(|account| account.address.clone()));
        transaction.set_job(&state).unwrap();
        transaction.commit().unwrap();
        assert_eq!(runtime.block_on(store.job_state(job)).unwrap(), Some(state), "{name}");
        let outcomes: Value =
            messages.iter().zip(&hashes).map(|(message, hash)| outcome(&place, message, hash)).collect();
        assert_eq!(outcomes, case["expected"], "{name}");
        let digest = runtime.block_on(store.recompute_digest()).unwrap();
        assert_eq!(digest.kept, digest.recomputed, "{name}");
        writer.empty().unwrap();
    }
    println!("balance_jobs.json: {} cases agree on {engine:?}", cases.len());
    assert_eq!(cases.len(), 24);
}

//! The recorded costs, acceptances and credit posts through the database of each engine: prices and settings
//! are stored aggregates, files have pins and tags, accounts have balances, lots and running costs.

use aleph_crypto::{TrustedSource, Verified};
use aleph_ledger::credit::{CreditEffect, EntryKind, HistoryPlace, HistoryRow, Lot, LotKey, Moment};
use aleph_ledger::{
    Amount, Costing, Costs, Estimate, Estimates, Gate, PRICE_PUBLISHER, PaymentRules, PriceTable, Settings,
    Workload, default_prices,
};
use aleph_rules::{
    BalanceEntry, Candidate, Decision, Effect, Facts, FileInfo, FileKind, Network, Payments, PinnedFile,
    Publishers, Stamp, TagTarget, decide,
};
use aleph_store::{NewMessage, Store, StoredCost, Writer};
use aleph_types::content::{Content, PaymentType};
use aleph_types::{Address, ErrorCode, ItemHash, MessageType, ParsedMessage, Rejection, Timestamp};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::ledger::recorded;
use crate::place::{Engine, Place, on_both_engines};

on_both_engines!(recorded_costs, recorded_acceptance, recorded_credit_posts);

const PUBLISHER: &str = "0xPublisher";

struct World {
    place: Place,
    store: Store,
    writer: Writer,
    runtime: Runtime,
    number: u64,
}

fn network() -> Network {
    let publishers = || vec![Address::from(PUBLISHER)];
    Network {
        publishers: Publishers { balances: publishers(), credits: publishers(), metrics: Vec::new() },
        payments: Some(Payments::default()),
    }
}

impl World {
    fn new(engine: Engine) -> Self {
        let place = engine.place();
        let (store, writer) = Store::open(place.location()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { place, store, writer, runtime, number: 0 }
    }

    fn message(&mut self, sender: &str, message_type: &str, mut content: Value) -> ParsedMessage {
        self.number += 1;
        content["address"] = sender.into();
        content["time"] = (1_780_000_000 + self.number).into();
        let text = content.to_string();
        ParsedMessage::from_value(&json!({
            "chain": "ETH", "sender": sender, "signature": "0x", "type": message_type,
            "time": 1_780_000_000 + self.number, "channel": "ALEPH_CREDIT",
            "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
        }))
        .unwrap()
    }

    /// Stores these effects with some message.
    fn apply(&mut self, effects: &[Effect]) {
        let parsed = self.message("0xAny", "POST", json!({ "type": "note", "content": {} }));
        let mut transaction = self.writer.begin().unwrap();
        transaction.process(new(&parsed), effects).unwrap();
        transaction.commit().unwrap();
    }

    /// What the rules say of a message; it is stored if they accept it.
    fn send(&mut self, parsed: ParsedMessage) -> Decision {
        let verified = Verified::trusted(parsed, TrustedSource::Genesis);
        let mut transaction = self.writer.begin().unwrap();
        let candidate = Candidate::new(&verified, None, 1, None).at(verified.message.time);
        let decision = decide(&candidate, &network(), &mut transaction.facts()).unwrap();
        if let Decision::Process(effects) = &decision {
            transaction.process(new(&verified), effects).unwrap();
            transaction.commit().unwrap();
        }
        decision
    }

    fn publish(&mut self, key: &str, aggregate: &Value) {
        let content = json!({ "key": key, "content": aggregate });
        let element = self.message(PRICE_PUBLISHER, "AGGREGATE", content);
        let decision = self.send(element);
        assert!(matches!(decision, Decision::Process(_)), "{decision:?}");
    }

    fn costs(&self, message: &ItemHash) -> Vec<StoredCost> {
        self.runtime.block_on(self.store.costs_of(message.clone())).unwrap()
    }

    fn digest_holds(&self, name: &str) {
        let digest = self.runtime.block_on(self.store.recompute_digest()).unwrap();
        assert_eq!(digest.kept, digest.recomputed, "{name}");
    }
}

fn new(parsed: &ParsedMessage) -> NewMessage<'_> {
    NewMessage {
        message: &parsed.message,
        content: parsed.content.as_ref().unwrap(),
        document: None,
        size: 1,
        reception_time: Timestamp::EPOCH,
        origin: "http",
    }
}

/// A file that a STORE pins, and the tag that leads to it.
fn file(known: &Value) -> Vec<Effect> {
    let hash = |key: &str| known[key].as_str().map(|text| ItemHash::parse(text).unwrap());
    let file = hash("file_hash").unwrap();
    // A file that no recorded STORE names is one of another.
    let message = hash("pinned_by").unwrap_or_else(|| ItemHash::sha256(file.as_str().as_bytes()));
    let owner = Address::from("0xFiles");
    let tag = known["tag"].as_str().map(str::to_owned);
    let pin = PinnedFile {
        file: file.clone(),
        info: FileInfo { size: known["size"].as_u64().unwrap(), kind: FileKind::File },
        owner: owner.clone(),
        message: message.clone(),
        reference: None,
        tag: tag.clone().unwrap_or_else(|| "other".into()),
        created: Timestamp::EPOCH,
    };
    let mut effects = vec![Effect::PinFile(pin)];
    if let Some(tag) = tag {
        let stamp = Stamp { time: Timestamp::EPOCH, hash: message };
        effects.push(Effect::SetTag(TagTarget { tag, owner, file, stamp }));
    }
    effects
}

fn recorded_costs(engine: Engine) {
    let Some(recordings) = recorded("costs.json") else { return };
    let cases = recordings["cases"].as_array().unwrap();
    let mut world = World::new(engine);
    let mut refused = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap();
        world.writer.empty().unwrap();
        for (key, aggregates) in [("pricing", "pricing_aggregates"), ("settings", "settings_aggregates")] {
            let chosen = case[key].as_str().unwrap();
            if chosen != "default" {
                world.publish(key, &recordings[aggregates][chosen]);
            }
        }
        let files: Vec<Effect> = case["files"].as_array().unwrap().iter().flat_map(file).collect();
        world.apply(&files);

        let message_type: MessageType = case["message_type"].as_str().unwrap().parse().unwrap();
        let hash = ItemHash::parse(case["item_hash"].as_str().unwrap()).unwrap();
        let document = case["content"].clone();
        let (content, sizes) = match case["estimate"].as_bool().unwrap() {
            true => {
                let estimate = Estimate::read(message_type, document, Timestamp::EPOCH).unwrap();
                (estimate.content, estimate.sizes)
            }
            false => (Content::parse_value(message_type, document).unwrap(), Estimates::default()),
        };
        let tariff = world.runtime.block_on(world.store.tariff(Address::from(PRICE_PUBLISHER))).unwrap();
        let workload =
            world.runtime.block_on(world.store.workload(hash.clone(), content, sizes)).unwrap().unwrap();
        let priced = workload.price(tariff.timeline.latest(), &tariff.settings);
        let expected = &case["expected"];
        if expected["error"].is_string() {
            // An element that spoils a product leaves its last good prices in force, and says so.
            assert!(priced.is_err() || !tariff.timeline.notices().is_empty(), "{name}");
            refused += 1;
            continue;
        }
        let costing = priced.unwrap();
        let (owner, total, payment) = (workload.owner.clone(), costing.total, costing.payment);
        world.apply(&[Effect::SetCosts {
            message: hash.clone(),
            owner: owner.clone(),
            costing: Box::new(costing),
        }]);
        let stored = world.costs(&hash);
        let lines: Vec<Value> = stored
            .iter()
            .map(|line| {
                let workings: Value = serde_json::from_str(&line.workings).unwrap();
                json!({
                    "type": line.cost_type, "name": line.name, "ref": workings["ref"],
                    "cost_hold": line.costs.hold.to_string(), "cost_stream": line.costs.stream.to_string(),
                    "cost_credit": line.costs.credit.to_string(), "size_mib": line.size_mib,
                })
            })
            .collect();
        assert_eq!(Value::from(lines), expected["lines"], "{name}");
        assert!(stored.iter().all(|line| line.payment == payment && line.owner == owner), "{name}");
        assert_eq!(payment.as_str(), expected["payment_type"], "{name}");
        let running = world.runtime.block_on(world.store.running_cost(owner, payment)).unwrap();
        assert_eq!(
            (running, total.to_string().as_str()),
            (total, expected["cost"].as_str().unwrap()),
            "{name}"
        );
        world.digest_holds(name);
    }
    println!("costs.json: {} cases agree on {engine:?}, {refused} of them without a price", cases.len());
    assert_eq!(cases.len(), 88);
}

/// A costing of one line.
fn one_line(payment: PaymentType, amount: &str) -> Costing {
    let content = json!({ "address": "0xA", "time": 1, "item_type": "storage", "item_hash": "a".repeat(64),
        "payment": { "type": "hold", "chain": "ETH" } });
    let content = Content::parse_value(MessageType::Store, content).unwrap();
    let message = ItemHash::sha256(b"running");
    let Content::Store(store) = &content else { panic!("a STORE") };
    let workload = Workload::before_fetch(message, store, Some(1 << 20));
    let mut costing = workload.price(&PriceTable::default(), &Settings::default()).unwrap();
    costing.payment = payment;
    costing.lines.truncate(1);
    let amount = Amount::parse(amount).unwrap();
    costing.lines[0].costs = Costs { hold: amount, stream: amount, credit: amount };
    costing
}

/// Credits that an account has from somewhere.
pub(crate) fn credits(owner: &Address, amount: i64) -> [CreditEffect; 2] {
    let (time, message) = (Timestamp::from_secs(1), ItemHash::sha256(b"grant"));
    let row = HistoryRow {
        place: HistoryPlace {
            moment: Moment { time, is_expense: false, message: message.clone() },
            index: 0,
        },
        kind: EntryKind::Granted,
        address: owner.clone(),
        amount,
        expiration: None,
        requested_expiration: None,
        price: None,
        bonus_amount: None,
        tx_hash: None,
        token: None,
        chain: None,
        provider: None,
        origin: None,
        origin_ref: None,
        payment_method: None,
        expense_count: None,
        expense_size_mib: None,
    };
    let key = LotKey { time, message, index: 0 };
    let lot = Lot { key, owner: owner.clone(), remaining: amount, expiration: None };
    [CreditEffect::AddRows(vec![row]), CreditEffect::AddLot(lot)]
}

fn recorded_acceptance(engine: Engine) {
    let Some(recordings) = recorded("cost_acceptance.json") else { return };
    let cases = recordings["cases"].as_array().unwrap();
    let mut world = World::new(engine);
    // The defaults, as the network publishes them.
    for case in cases {
        let name = case["name"].as_str().unwrap();
        world.writer.empty().unwrap();
        world.publish("pricing", &Value::Object(default_prices()));
        let message_type: MessageType = case["message_type"].as_str().unwrap().parse().unwrap();
        let content = Content::parse_value(message_type, case["content"].clone()).unwrap();
        let owner = content.owner().clone();
        // On two chains, and with a dapp that pays for nothing.
        let holds = |chain: &str, dapp: &str, amount: &str| Effect::SetBalances {
            chain: chain.into(),
            dapp: dapp.into(),
            height: 1,
            entries: vec![BalanceEntry { address: owner.clone(), amount: amount.into() }],
            source: ItemHash::sha256(b"balances"),
        };
        let mut effects = vec![
            holds("ETH", "", case["token_balance"].as_str().unwrap()),
            holds("SOL", "", "0"),
            holds("ETH", "SABLIER", "1000000000"),
        ];
        let balance = case["credit_balance"].as_i64().unwrap();
        if balance > 0 {
            effects.push(Effect::Credits(credits(&owner, balance).into()));
        }
        for (number, row) in case["running_costs"].as_array().unwrap().iter().enumerate() {
            let payment: PaymentType = row[0].as_str().unwrap().parse().unwrap();
            effects.push(Effect::SetCosts {
                message: ItemHash::sha256(&[number as u8]),
                owner: owner.clone(),
                costing: Box::new(one_line(payment, row[1].as_str().unwrap())),
            });
        }
        let size = case["file_size"].as_u64();
        if let (Some(size), Content::Store(store)) = (size, &content) {
            let known = json!({ "file_hash": store.item_hash, "pinned_by": "b".repeat(64), "size": size });
            effects.extend(file(&known));
        }
        world.apply(&effects);

        let hash = ItemHash::sha256(name.as_bytes());
        let tariff = world.runtime.block_on(world.store.tariff(Address::from(PRICE_PUBLISHER))).unwrap();
        let asked = world.store.workload(hash, content.clone(), Estimates::default());
        let workload = world.runtime.block_on(asked).unwrap().unwrap();
        let costing = workload.price(tariff.timeline.latest(), &tariff.settings).unwrap();
        let time = Timestamp::from_secs_f64(case["time"].as_f64().unwrap()).unwrap();
        let gate = Gate::of(&content, time, case["confirmed_height"].as_u64(), size).unwrap();
        let mut transaction = world.writer.begin().unwrap();
        let mut facts = transaction.facts();
        let verdict = gate
            .terms(&PaymentRules::default())
            .check(&gate.owner, costing.total, &mut facts.ledger(time))
            .unwrap();
        drop(facts);
        drop(transaction);
        let answer = match verdict.map_err(Rejection::from) {
            Ok(()) => json!({ "accepted": true }),
            Err(rejection) => json!({
                "accepted": false, "error_code": rejection.code.as_i16(), "details": rejection.details,
            }),
        };
        assert_eq!(answer, case["expected"], "{name}");
        world.digest_holds(name);
    }
    println!("cost_acceptance.json: {} cases agree on {engine:?}", cases.len());
    assert_eq!(cases.len(), 37);
}

fn recorded_credit_posts(engine: Engine) {
    let Some(recordings) = recorded("credit_schema.json") else { return };
    let cases = recordings["cases"].as_array().unwrap();
    let mut world = World::new(engine);
    let mut unbounded = 0;
    for case in cases {
        let name = format!("{} {}", case["kind"], case["name"]);
        world.writer.empty().unwrap();
        let kind = format!("aleph_credit_{}", case["kind"].as_str().unwrap());
        let post =
            world.message(PUBLISHER, "POST", json!({ "type": kind, "content": case["content"].clone() }));
        let hash = post.message.item_hash.clone();
        let decision = world.send(post);
        let count = format!(
            "SELECT CAST(count(*) AS TEXT) FROM credit_history WHERE credit_ref = '{}'",
            hash.as_str()
        );
        let rows: u64 = world.place.by_hand(&count).parse().unwrap();
        match decision {
            Decision::Process(_) => {
                assert_eq!(case["valid"], true, "{name}");
                let body = &case["content"][case["kind"].as_str().unwrap()]["credits"];
                assert_eq!(rows, body.as_array().unwrap().len() as u64, "{name}");
                world.digest_holds(&name);
            }
            Decision::Reject(rejection) => {
                assert_eq!((rejection.code, rows), (ErrorCode::InvalidFormat, 0), "{name}");
                // Numbers that no 64 bits hold have the right form, and no ledger takes them.
                let is_huge = case["valid"] == true && name.contains("huge");
                assert!(case["valid"] == false || is_huge, "{name}: {rejection:?}");
                unbounded += u32::from(is_huge);
            }
            Decision::Wait { .. } => panic!("{name}: {decision:?}"),
        }
    }
    println!(
        "credit_schema.json: {} cases agree on {engine:?}, {unbounded} of them with an amount too large",
        cases.len()
    );
    assert_eq!((cases.len(), unbounded), (125, 3));
}

//! What is accepted for money: posts that fund accounts, costs that are stored, refusals 5, 6 and 202, prices
//! that can't be read.

use aleph_crypto::{TrustedSource, Verified};
use aleph_ledger::{AccountFacts, Amount, PRICE_PUBLISHER};
use aleph_rules::{
    Candidate, Decision, Dependency, Facts, FileInfo, FileKind, Network, Payments, Publishers, decide,
};
use aleph_store::{NewMessage, Store, Writer};
use aleph_types::content::PaymentType;
use aleph_types::{Address, ErrorCode, ItemHash, ParsedMessage, Rejection, Timestamp};
use serde_json::{Value, json};

use crate::place::{Engine, Place, on_both_engines};

on_both_engines!(
    files_are_held_for,
    machines_run_on_credits,
    credits_change_hands_once,
    prices_that_cannot_be_read_are_waited_for
);

const PUBLISHER: &str = "0xPublisher";
const OWNER: &str = "0xOwner";
/// After the change of the unit of credits and the end of machines on hold, before everything is on credit.
const START: f64 = 1_780_000_000.0;

struct World {
    writer: Writer,
    store: Store,
    network: Network,
    time: f64,
    _place: Place,
}

impl World {
    fn new(engine: Engine) -> Self {
        let place = engine.place();
        let (store, writer) = Store::open(place.location()).unwrap();
        let publishers = vec![Address::from(PUBLISHER)];
        let network = Network {
            publishers: Publishers { balances: publishers.clone(), credits: publishers, metrics: Vec::new() },
            payments: Some(Payments::default()),
        };
        Self { writer, store, network, time: START, _place: place }
    }

    /// Decides with a file of `bytes`, and stores if the decision is to process.
    fn send(
        &mut self,
        sender: &str,
        message_type: &str,
        mut content: Value,
        bytes: Option<u64>,
    ) -> (ItemHash, Decision) {
        self.time += 1.0;
        content["address"] = sender.into();
        if content.get("time").is_none() {
            content["time"] = self.time.into();
        }
        let text = content.to_string();
        let parsed = ParsedMessage::from_value(&json!({
            "chain": "ETH", "sender": sender, "signature": "0x", "type": message_type, "time": self.time,
            "channel": "ALEPH_CREDIT", "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
        }))
        .unwrap();
        let hash = parsed.message.item_hash.clone();
        let verified = Verified::trusted(parsed, TrustedSource::Genesis);
        let file = bytes.map(|size| FileInfo { size, kind: FileKind::File });
        let mut transaction = self.writer.begin().unwrap();
        let now = Timestamp::from_secs_f64(self.time).unwrap();
        let candidate = Candidate::new(&verified, None, 1, file).at(now);
        let decision = decide(&candidate, &self.network, &mut transaction.facts()).unwrap();
        if let Decision::Process(effects) = &decision {
            let new = NewMessage {
                message: &verified.message,
                content: verified.content.as_ref().unwrap(),
                document: None,
                size: 1,
                reception_time: Timestamp::from_secs(1),
                origin: "http",
            };
            transaction.process(new, effects).unwrap();
            transaction.commit().unwrap();
        }
        (hash, decision)
    }

    fn accepted(&mut self, sender: &str, message_type: &str, content: Value, bytes: Option<u64>) -> ItemHash {
        let (hash, decision) = self.send(sender, message_type, content, bytes);
        assert!(matches!(decision, Decision::Process(_)), "{decision:?}");
        hash
    }

    fn refused(&mut self, sender: &str, message_type: &str, content: Value, bytes: Option<u64>) -> Rejection {
        let (_, decision) = self.send(sender, message_type, content, bytes);
        let Decision::Reject(rejection) = decision else { panic!("{decision:?}") };
        rejection
    }

    fn holds(&mut self, height: u64, amount: &str) {
        let update = json!({ "chain": "ETH", "main_height": height, "balances": { OWNER: amount } });
        self.accepted(PUBLISHER, "POST", json!({ "type": "balances-update", "content": update }), None);
    }

    fn grant(&mut self, to: &str, amount: u64) -> ItemHash {
        let entry = json!({ "address": to, "amount": amount, "price": "1", "tx_hash": "t", "provider": "p" });
        let body = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": [entry] } });
        self.accepted(
            PUBLISHER,
            "POST",
            json!({ "type": "aleph_credit_distribution", "content": body }),
            None,
        )
    }

    fn running(&mut self, payment: PaymentType) -> Amount {
        let mut transaction = self.writer.begin().unwrap();
        let mut facts = transaction.facts();
        facts.ledger(Timestamp::EPOCH).running_cost(&Address::from(OWNER), payment).unwrap()
    }

    fn credits(&self, account: &str) -> i128 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let now = Timestamp::from_secs_f64(self.time).unwrap();
        runtime.block_on(self.store.credit_balance(Address::from(account), now)).unwrap().total
    }

    fn digest_holds(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let digest = runtime.block_on(self.store.recompute_digest()).unwrap();
        assert_eq!(digest.kept, digest.recomputed);
    }
}

fn store(name: &str) -> Value {
    json!({ "item_type": "storage", "item_hash": ItemHash::sha256(name.as_bytes()) })
}

fn instance(image: &ItemHash, payment: &str) -> Value {
    json!({
        "allow_amend": false, "environment": {}, "resources": { "vcpus": 1, "memory": 2048 },
        "payment": { "type": payment, "chain": "ETH" },
        "rootfs": { "parent": { "ref": image }, "persistence": "host", "size_mib": 20480 },
    })
}

const LARGE: Option<u64> = Some(30 << 20);

fn files_are_held_for(engine: Engine) {
    let mut world = World::new(engine);
    let rejection = world.refused(OWNER, "STORE", store("large"), LARGE);
    assert_eq!(rejection.code, ErrorCode::BalanceInsufficient);
    let details = rejection.details.unwrap();
    assert_eq!(details["errors"][0]["required_balance"], "9.999999990000000000");
    assert_eq!(details["errors"][0]["account_balance"], "0");
    // Small files are free, and their costs count all the same.
    let small = world.accepted(OWNER, "STORE", store("small"), Some(3 << 20));
    assert_eq!(world.running(PaymentType::Hold).to_string(), "0.999999999000000000");
    world.holds(10, "10");
    assert_eq!(
        world.refused(OWNER, "STORE", store("large"), LARGE).code,
        ErrorCode::BalanceInsufficient,
        "10.99… are needed"
    );
    // Whoever is short already is told so before anything is fetched.
    world.holds(9, "1000");
    world.accepted(OWNER, "FORGET", json!({ "hashes": [small] }), None);
    assert_eq!(world.running(PaymentType::Hold), Amount::ZERO, "costs go with their message");
    world.accepted(OWNER, "STORE", store("large"), LARGE);
    world.holds(11, "9.5");
    let (_, decision) = world.send(OWNER, "STORE", store("elsewhere"), None);
    assert!(
        matches!(decision, Decision::Reject(ref refusal) if refusal.code == ErrorCode::BalanceInsufficient)
    );
    world.holds(12, "9.99999999");
    let (_, decision) = world.send(OWNER, "STORE", store("elsewhere"), None);
    assert!(matches!(decision, Decision::Wait { on: Dependency::File(_), .. }), "{decision:?}");
    world.digest_holds();
}

fn machines_run_on_credits(engine: Engine) {
    let mut world = World::new(engine);
    let image = world.accepted(OWNER, "STORE", store("image"), Some(1 << 20));
    world.holds(1, "1000000");
    for payment in ["hold", "superfluid"] {
        let mut content = instance(&image, payment);
        content["payment"]["receiver"] = "0xR".into();
        if payment == "superfluid" {
            content["payment"]["chain"] = "AVAX".into();
        }
        assert_eq!(world.refused(OWNER, "INSTANCE", content, None).code, ErrorCode::InvalidPaymentMethod);
    }
    let rejection = world.refused(OWNER, "INSTANCE", instance(&image, "credit"), None);
    assert_eq!(rejection.code, ErrorCode::CreditInsufficient);
    let details = rejection.details.unwrap();
    assert_eq!(details["errors"][0]["required_credits"], "341999.999999999999971200");
    assert_eq!(details["errors"][0]["account_credits"], "0");
    world.grant(OWNER, 342_000);
    world.accepted(OWNER, "INSTANCE", instance(&image, "credit"), None);
    assert_eq!(world.running(PaymentType::Credit).to_string(), "3.958333333333333333");
    let rejection = world.refused(OWNER, "INSTANCE", instance(&image, "credit"), None);
    assert_eq!(rejection.code, ErrorCode::CreditInsufficient, "a day of both is needed");
    world.digest_holds();
}

fn credits_change_hands_once(engine: Engine) {
    let mut world = World::new(engine);
    let transfer = |to: &str, amount: u64| {
        let body = json!({ "transfer": { "credits": [{ "address": to, "amount": amount }] } });
        json!({ "type": "aleph_credit_transfer", "content": body })
    };
    world.grant(OWNER, 100);
    world.accepted(OWNER, "POST", transfer("0xOther", 30), None);
    let rejection = world.refused(OWNER, "POST", transfer("0xOther", 71), None);
    assert_eq!(rejection.code, ErrorCode::InvalidFormat);
    assert_eq!(
        rejection.details.unwrap()["errors"][0],
        "Insufficient credit balance for transfer. Required: 71, Available: 70"
    );
    assert_eq!(
        world.refused(OWNER, "POST", transfer(OWNER, 1), None).code,
        ErrorCode::InvalidFormat,
        "to oneself"
    );
    // Publishers give from nothing; who is none can't grant.
    world.accepted(PUBLISHER, "POST", transfer(OWNER, 5), None);
    let entry = json!({ "address": OWNER, "amount": 7, "price": "1", "tx_hash": "t", "provider": "p" });
    let body = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": [entry] } });
    world.accepted(OWNER, "POST", json!({ "type": "aleph_credit_distribution", "content": body }), None);
    let spend = json!({ "expense": { "credits": [{ "address": OWNER, "amount": 1000 }] } });
    assert_eq!((world.credits(OWNER), world.credits("0xOther")), (75, 30));
    world.accepted(PUBLISHER, "POST", json!({ "type": "aleph_credit_expense", "content": spend }), None);
    assert_eq!((world.credits(OWNER), world.credits("0xOther")), (0, 30));
    world.digest_holds();
}

fn prices_that_cannot_be_read_are_waited_for(engine: Engine) {
    let mut world = World::new(engine);
    world.holds(1, "1000000");
    let prices = |storage: Value| json!({ "key": "pricing", "content": { "storage": storage } });
    // Published prices replace all defaults: without a price for files, no file has one.
    let nothing = json!({ "key": "pricing", "content": { "something": {} } });
    world.accepted(PRICE_PUBLISHER, "AGGREGATE", nothing, None);
    let (_, decision) = world.send(OWNER, "STORE", store("a"), LARGE);
    let Decision::Wait { on, otherwise } = decision else { panic!("{decision:?}") };
    assert_eq!(on, Dependency::Aggregate(PRICE_PUBLISHER.into(), "pricing".into()));
    assert_eq!(otherwise.code, ErrorCode::InternalError);
    let good = json!({ "price": { "storage": { "holding": "2", "credit": "1" } } });
    world.accepted(PRICE_PUBLISHER, "AGGREGATE", prices(good), None);
    world.accepted(OWNER, "STORE", store("a"), LARGE);
    assert_eq!(world.running(PaymentType::Hold).to_string(), "60.000000000000000000");
    // A malformed price keeps the last good one.
    world.accepted(PRICE_PUBLISHER, "AGGREGATE", prices(json!(null)), None);
    world.accepted(OWNER, "STORE", store("b"), LARGE);
    assert_eq!(world.running(PaymentType::Hold).to_string(), "120.000000000000000000");
}

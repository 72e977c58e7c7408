//! Aggregates against a full fold: after any history of elements and FORGETs the tables hold what folding
//! all elements that are left in the order of their times gives, and what each winner hides.

use std::collections::{BTreeMap, BTreeSet};

use aleph_crypto::{TrustedSource, Verified};
use aleph_rules::{Candidate, Decision, Network, decide};
use aleph_store::{Location, NewMessage, Store, Writer};
use aleph_types::{ItemHash, MessageStatus, ParsedMessage, Timestamp};
use serde_json::{Map, Value, json};

use crate::author::Dice;
use crate::place::{Engine, Place, on_both_engines};

on_both_engines!(
    any_history_gives_the_full_fold,
    an_older_database_is_filled_before_it_is_used,
    filling_goes_on_where_it_stopped,
    what_is_hidden_goes_with_a_conversion,
    more_elements_than_one_page_are_forgotten_at_once
);

const OWNERS: [&str; 2] = ["0xAa", "0xBb"];
const FIELDS: [&str; 6] = ["a", "b", "", "with \"quotes\" and 'others'", "é😀", "z"];

/// Keys that look like hashes can be forgotten as a whole.
fn keys() -> [String; 2] {
    ["k".to_owned(), "ab".repeat(32)]
}

/// An element that is there.
#[derive(Debug, Clone)]
struct Element {
    owner: &'static str,
    key: String,
    time: i64,
    hash: ItemHash,
    content: Map<String, Value>,
}

struct World {
    place: Place,
    store: Store,
    writer: Writer,
    /// By hash.
    elements: BTreeMap<ItemHash, Element>,
    gone: Vec<ItemHash>,
    number: u64,
}

impl World {
    fn new(engine: Engine) -> Self {
        let place = engine.place();
        let (store, writer) = Store::open(place.location()).unwrap();
        Self { place, store, writer, elements: BTreeMap::new(), gone: Vec::new(), number: 0 }
    }

    fn start_again(&mut self) {
        let empty = tempfile::tempdir().unwrap();
        let elsewhere = Location::from(empty.path().join("other.sqlite3"));
        (self.store, self.writer) = Store::open(elsewhere).unwrap();
        (self.store, self.writer) = Store::open(self.place.location()).unwrap();
    }

    fn message(&mut self, owner: &str, message_type: &str, time: i64, mut content: Value) -> ParsedMessage {
        self.number += 1;
        content["address"] = owner.into();
        content["time"] = time.into();
        let text = content.to_string();
        ParsedMessage::from_value(&json!({
            "chain": "ETH", "sender": owner, "signature": "0x", "type": message_type,
            "time": self.number, "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
        }))
        .unwrap()
    }

    /// Takes messages in one transaction; each is processed.
    fn take(&mut self, batch: Vec<ParsedMessage>) {
        let mut transaction = self.writer.begin().unwrap();
        for parsed in batch {
            let verified = Verified::trusted(parsed, TrustedSource::Genesis);
            let candidate = Candidate::new(&verified, None, 1, None);
            let decision = decide(&candidate, &Network::default(), &mut transaction.facts()).unwrap();
            let Decision::Process(effects) = decision else { panic!("{decision:?} of {verified:?}") };
            let new = NewMessage {
                message: &verified.message,
                content: verified.content.as_ref().unwrap(),
                document: None,
                size: 1,
                reception_time: Timestamp::EPOCH,
                origin: "http",
            };
            transaction.process(new, &effects).unwrap();
        }
        transaction.commit().unwrap();
    }

    fn element(&mut self, owner: &'static str, key: &str, time: i64, fields: &[&str]) -> ParsedMessage {
        let value = json!({ "n": self.number });
        let content: Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), value.clone())).collect();
        // The number makes contents without fields differ.
        let text = json!({ "key": key, "content": content });
        let parsed = self.message(owner, "AGGREGATE", time, text);
        let hash = parsed.message.item_hash.clone();
        let element =
            Element { owner, key: key.to_owned(), time: time * 1_000_000, hash: hash.clone(), content };
        self.elements.insert(hash, element);
        parsed
    }

    fn forget(&mut self, owner: &str, targets: &[ItemHash], keys: &[String]) -> ParsedMessage {
        for target in targets {
            self.elements.remove(target);
            self.gone.push(target.clone());
        }
        let of_keys = |element: &Element| element.owner == owner && keys.contains(&element.key);
        let whole: Vec<ItemHash> = self
            .elements
            .values()
            .filter(|element| of_keys(element))
            .map(|element| element.hash.clone())
            .collect();
        self.elements.retain(|_, element| !of_keys(element));
        self.gone.extend(whole);
        let content = json!({ "hashes": targets, "aggregates": keys, "reason": self.number.to_string() });
        self.message(owner, "FORGET", 1, content)
    }

    /// Whatever may come next.
    fn step(&mut self, dice: &mut Dice) -> ParsedMessage {
        let owner = OWNERS[dice.roll(OWNERS.len())];
        let living: Vec<ItemHash> = self
            .elements
            .values()
            .filter(|element| element.owner == owner)
            .map(|element| element.hash.clone())
            .collect();
        match dice.roll(10) {
            0..=2 if !living.is_empty() => {
                // One, some or nearly all, of both keys, some of them twice.
                let share = [0, 0, 2, 5][dice.roll(4)];
                let mut targets: Vec<ItemHash> =
                    living.iter().filter(|_| dice.roll(6) < share).cloned().collect();
                targets.push(living[dice.roll(living.len())].clone());
                dice.shuffle(&mut targets);
                self.forget(owner, &targets, &[])
            }
            3 if dice.roll(4) == 0 => {
                let key = keys()[1].clone();
                let element =
                    self.elements.values().find(|element| element.owner == owner && element.key == key);
                match element.map(|element| element.hash.clone()) {
                    // The key, and one of its elements beside.
                    Some(one) if dice.roll(2) == 0 => self.forget(owner, &[one], &[key]),
                    Some(_) => self.forget(owner, &[], &[key]),
                    None => self.element(owner, &key, 5, &FIELDS),
                }
            }
            _ => {
                let key = keys()[dice.roll(2)].clone();
                let fields: Vec<&str> = FIELDS.into_iter().filter(|_| dice.roll(3) == 0).collect();
                // Few times: most elements share theirs with others, and come in no order. The number keeps
                // two empty ones apart.
                let (time, fields) = match dice.roll(12) {
                    0 => (100 + self.number as i64, Vec::new()),
                    _ if fields.is_empty() => (dice.roll(4) as i64, vec!["a"]),
                    _ => (dice.roll(4) as i64, fields),
                };
                self.element(owner, &key, time, &fields)
            }
        }
    }

    /// What the tables should hold, line by line.
    fn expected(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        let mut aggregates: BTreeMap<(&str, &str), Vec<&Element>> = BTreeMap::new();
        for element in self.elements.values() {
            aggregates.entry((element.owner, &element.key)).or_default().push(element);
        }
        for ((owner, key), mut elements) in aggregates {
            // Of equal times the smallest hash is laid on top, and the one with the smallest is the oldest.
            elements.sort_by_key(|element| (element.time, std::cmp::Reverse(element.hash.clone())));
            let last = elements.last().unwrap();
            let first = elements.iter().min_by_key(|element| (element.time, &element.hash)).unwrap();
            let (created, updated, count) = (first.time, last.time, elements.len());
            lines.insert(format!("A {owner} {key} {created} {} {updated} {} {count}", first.hash, last.hash));
            let mut fold: BTreeMap<&str, (&Value, &Element)> = BTreeMap::new();
            for element in &elements {
                for (field, value) in &element.content {
                    if let Some((_, hidden)) = fold.insert(field, (value, element)) {
                        lines.insert(format!("H {owner} {key} {field} {} {}", hidden.time, hidden.hash));
                    }
                }
            }
            for (field, (value, element)) in fold {
                lines.insert(format!("F {owner} {key} {field} {value} {} {}", element.time, element.hash));
            }
        }
        lines
    }

    fn check(&self, when: &str) {
        let lines = self.place.lines_by_hand(
            "SELECT 'A ' || owner || ' ' || key || ' ' || created || ' ' || first_hash || ' ' || updated \
                 || ' ' || last_hash || ' ' || elements FROM aggregates \
             UNION ALL SELECT 'F ' || owner || ' ' || key || ' ' || field || ' ' || value || ' ' || time \
                 || ' ' || hash FROM aggregate_fields \
             UNION ALL SELECT 'H ' || owner || ' ' || key || ' ' || field || ' ' || time || ' ' || hash \
                 FROM aggregate_hidden",
        );
        let count = lines.len();
        let found: BTreeSet<String> = lines.into_iter().collect();
        assert_eq!(found.len(), count, "{when}");
        let expected = self.expected();
        let (more, less): (Vec<_>, Vec<_>) =
            (found.difference(&expected).collect(), expected.difference(&found).collect());
        assert!(more.is_empty() && less.is_empty(), "{when}: too many {more:#?}, missing {less:#?}");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let digests = runtime.block_on(self.store.recompute_digest()).unwrap();
        assert_eq!(digests.kept, digests.recomputed, "{when}");
    }

    /// A history of `steps` messages, in batches.
    fn live(&mut self, steps: usize, dice: &mut Dice) {
        let mut left = steps;
        while left > 0 {
            let batch = (1 + dice.roll(8)).min(left);
            left -= batch;
            let batch = (0..batch).map(|_| self.step(dice)).collect();
            self.take(batch);
        }
    }
}

fn any_history_gives_the_full_fold(engine: Engine) {
    let mut world = World::new(engine);
    let mut forgotten = 0;
    // Each look at a server's tables is a process.
    let histories = match engine {
        Engine::Sqlite => 100,
        Engine::Postgres => 15,
    };
    for seed in 0..histories {
        let mut dice = Dice(seed);
        world.writer.empty().unwrap();
        (world.elements, world.gone) = (BTreeMap::new(), Vec::new());
        for part in 0..4 {
            world.live(3 + dice.roll(20), &mut dice);
            world.check(&format!("history {seed}, part {part}"));
        }
        forgotten += world.gone.len();
        let transaction = world.writer.begin().unwrap();
        for hash in &world.gone {
            assert_eq!(transaction.status(hash).unwrap(), Some(MessageStatus::Forgotten));
        }
    }
    assert!(forgotten > 10 * histories as usize, "{forgotten}");
}

fn an_older_database_is_filled_before_it_is_used(engine: Engine) {
    let mut world = World::new(engine);
    let mut dice = Dice(7);
    world.live(120, &mut dice);
    world.check("before");
    world.place.by_hand("DELETE FROM aggregate_hidden");
    world.place.by_hand("DELETE FROM meta WHERE key = 'aggregate_hidden'");
    world.start_again();
    world.check("filled");
    world.live(60, &mut dice);
    world.check("after");
}

fn filling_goes_on_where_it_stopped(engine: Engine) {
    let mut world = World::new(engine);
    let mut dice = Dice(8);
    world.live(120, &mut dice);
    // In the order of the filling; the rows of the first half are there.
    let mut order: Vec<Element> = world.elements.values().cloned().collect();
    order.sort_by_key(|element| (element.key.clone(), element.owner, element.time, element.hash.clone()));
    let (_, rest) = order.split_at(order.len() / 2 + 1);
    let last = &order[order.len() / 2];
    for element in rest {
        world.place.by_hand(&format!("DELETE FROM aggregate_hidden WHERE hash = '{}'", element.hash));
    }
    let mark = json!([last.key, last.owner, last.time, last.hash]);
    world.place.by_hand(&format!(
        "UPDATE meta SET value = '{mark}' WHERE key = 'aggregate_hidden' AND value = 'done'"
    ));
    world.start_again();
    world.check("filled");
    assert_eq!(world.place.by_hand("SELECT value FROM meta WHERE key = 'aggregate_hidden'"), "done");
}

fn what_is_hidden_goes_with_a_conversion(engine: Engine) {
    let mut world = World::new(engine);
    let mut dice = Dice(9);
    world.live(80, &mut dice);
    let to = match engine {
        Engine::Sqlite => Engine::Postgres,
        Engine::Postgres => Engine::Sqlite,
    };
    let target = to.place();
    let empty = tempfile::tempdir().unwrap();
    let elsewhere = Location::from(empty.path().join("other.sqlite3"));
    (world.store, world.writer) = Store::open(elsewhere).unwrap();
    let done = aleph_store::convert(world.place.location(), target.location(), &mut |_| {}).unwrap();
    assert!(done.tables.iter().any(|(table, rows)| table == "aggregate_hidden" && *rows > 0));
    world.place = target;
    (world.store, world.writer) = Store::open(world.place.location()).unwrap();
    world.check("converted");
    world.live(40, &mut dice);
    world.check("after");
}

fn more_elements_than_one_page_are_forgotten_at_once(engine: Engine) {
    let mut world = World::new(engine);
    let [other, key] = keys();
    // All at one time, so that only hashes tell them apart.
    for _ in 0..11 {
        let batch = (0..200).map(|_| world.element(OWNERS[0], &key, 9, &FIELDS[..2])).collect();
        world.take(batch);
    }
    let stays = world.element(OWNERS[0], &other, 9, &FIELDS);
    world.take(vec![stays]);
    world.place.by_hand("DELETE FROM aggregate_hidden");
    world.place.by_hand("DELETE FROM meta WHERE key = 'aggregate_hidden'");
    world.start_again();
    world.check("filled");
    // Those that win: a thousand at once, one after the other, and then the rest.
    let best: Vec<ItemHash> = world
        .elements
        .values()
        .filter(|element| element.key == key)
        .map(|element| element.hash.clone())
        .take(1_010)
        .collect();
    let forget = world.forget(OWNERS[0], &best[10..], &[]);
    world.take(vec![forget]);
    world.check("a thousand");
    for one in &best[..10] {
        let forget = world.forget(OWNERS[0], std::slice::from_ref(one), &[]);
        world.take(vec![forget]);
    }
    world.check("one by one");
    let forget = world.forget(OWNERS[0], &[], &[key]);
    world.take(vec![forget]);
    world.check("all");
    assert_eq!(world.elements.len(), 1);
}

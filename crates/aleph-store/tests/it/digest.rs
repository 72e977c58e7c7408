//! The state's digest follows every change of the tables, and its inverse.

use aleph_rules::{
    AggregateFact, AggregateState, BalanceEntry, Effect, FieldValue, FileInfo, FileKind, Forgotten,
    HiddenField, PinnedFile, PostVersion, Stamp, TagTarget, VmRecord, WonField,
};
use aleph_store::{NewMessage, StateDigest, Store, Writer};
use aleph_types::{Address, ItemHash, MessageType, ParsedMessage, Timestamp};
use serde_json::json;

use crate::place::{Engine, Place, on_both_engines};

on_both_engines!(
    each_effect_changes_it_and_its_inverse_leads_back,
    balances_count_only_when_they_are_newer,
    forgetting_changes_the_fate_only,
    what_is_not_committed_leaves_no_trace_and_what_only_this_node_knows_has_none,
    a_database_without_sums_gets_them_at_the_start_and_a_changed_row_is_found
);

struct World {
    runtime: tokio::runtime::Runtime,
    store: Store,
    writer: Writer,
    messages: usize,
    place: Place,
}

impl World {
    fn new(engine: Engine) -> Self {
        let place = engine.place();
        let (store, writer) = Store::open(place.location()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { runtime, store, writer, messages: 0, place }
    }

    /// Applies effects in the name of a new message; returns that message and the digest afterwards.
    fn apply(&mut self, effects: &[Effect]) -> (ItemHash, StateDigest) {
        self.messages += 1;
        let parsed = message(self.messages);
        let new = NewMessage {
            message: &parsed.message,
            content: parsed.content.as_ref().unwrap(),
            document: None,
            size: 1,
            reception_time: Timestamp::EPOCH,
            origin: "http",
        };
        let mut transaction = self.writer.begin().unwrap();
        transaction.process(new, effects).unwrap();
        transaction.commit().unwrap();
        (parsed.message.item_hash, self.digest())
    }

    /// The kept digest, which must be the one that the tables give.
    fn digest(&self) -> StateDigest {
        let both = self.runtime.block_on(self.store.recompute_digest()).unwrap();
        assert_eq!(both.kept, both.recomputed);
        assert_eq!(both.kept, self.runtime.block_on(self.store.digest()).unwrap());
        both.kept
    }
}

/// The message in whose name a world's effects number `number` are applied.
fn message(number: usize) -> ParsedMessage {
    let text = json!({ "address": "0xA", "time": number, "type": "t", "content": 1 }).to_string();
    ParsedMessage::from_value(&json!({
        "chain": "ETH", "sender": "0xA", "signature": "0x", "type": "POST", "time": number,
        "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
    }))
    .unwrap()
}

fn stamp(number: usize) -> Stamp {
    let message = message(number).message;
    Stamp { time: message.time, hash: message.item_hash }
}

fn owner() -> Address {
    Address::from("0xA")
}

fn head(elements: u64) -> AggregateFact {
    AggregateFact { first: stamp(1), last: stamp(2), elements }
}

fn aggregate(elements: u64) -> AggregateState {
    AggregateState { owner: owner(), key: "k".into(), head: head(elements) }
}

fn field(name: &str, by: usize) -> FieldValue {
    FieldValue { field: name.into(), value: json!({ "by": by }), stamp: stamp(by) }
}

/// The field goes to `by`; until now it was that of `over`.
fn won(name: &str, by: usize, over: Option<usize>) -> WonField {
    WonField { field: field(name, by), over: over.map(stamp) }
}

fn hidden(name: &str, by: usize) -> HiddenField {
    HiddenField { field: name.into(), stamp: stamp(by) }
}

fn tag(by: usize) -> Effect {
    let target = TagTarget { tag: "t".into(), owner: owner(), file: stamp(by).hash, stamp: stamp(by) };
    Effect::SetTag(target)
}

fn balances(height: i64, amount: &str) -> Effect {
    let entries = vec![BalanceEntry { address: owner(), amount: amount.into() }];
    let source = stamp(1).hash;
    Effect::SetBalances { chain: "ETH".into(), dapp: String::new(), height, entries, source }
}

fn each_effect_changes_it_and_its_inverse_leads_back(engine: Engine) {
    // A post is made by its own message.
    let post = |by: usize| Effect::CreatePost {
        original: stamp(by),
        owner: owner(),
        post_type: "note".into(),
        reference: None,
        channel: None,
    };
    let shows = |by: usize| Effect::ShowVersion(PostVersion { original: stamp(1).hash, latest: stamp(by) });
    let pin = Effect::PinFile(PinnedFile {
        file: stamp(9).hash,
        info: FileInfo { size: 3, kind: FileKind::File },
        owner: owner(),
        message: stamp(1).hash,
        reference: Some("r".into()),
        tag: "t".into(),
        created: stamp(1).time,
    });
    let unpin = Effect::Unpin { file: stamp(9).hash, message: stamp(1).hash, grace: true };
    let vm = Effect::CreateVm(VmRecord {
        item_hash: stamp(1).hash,
        message_type: MessageType::Program,
        owner: owner(),
        created: stamp(1).time,
        replaces: None,
        allow_amend: true,
        on_message: false,
        persistent: false,
        references: vec![stamp(2).hash, stamp(3).hash, stamp(2).hash],
    });
    let merged = |elements, won, lost| Effect::MergeAggregate {
        state: aggregate(elements),
        before: (elements > 1).then(|| head(elements - 1)),
        won,
        lost,
    };
    let reduced = |elements, fields, dropped: &[&str], unhidden| Effect::ReduceAggregate {
        state: aggregate(elements),
        before: head(elements + 1),
        fields,
        dropped: dropped.iter().map(|field| (*field).to_owned()).collect(),
        unhidden,
    };
    let first = || merged(1, vec![won("a", 1, None)], vec![]);
    let add_amend = Effect::AddAmend { original: stamp(1).hash, amend: stamp(2) };
    let remove_amend = Effect::RemoveAmend { original: stamp(1).hash, amend: stamp(2) };
    // What is there before, a change, its inverse, and the tables that the change shows in.
    let cases: Vec<(Vec<Effect>, Effect, Effect, &[&str])> = vec![
        (vec![], post(2), Effect::RemovePost(stamp(2).hash), &["posts"]),
        (vec![post(1)], shows(2), shows(1), &["posts"]),
        (vec![post(1)], add_amend, remove_amend, &["amends"]),
        (
            vec![],
            first(),
            Effect::RemoveAggregate { owner: owner(), key: "k".into() },
            &["aggregates", "aggregate_fields"],
        ),
        (
            vec![first()],
            merged(2, vec![won("a", 2, Some(1)), won("b", 2, None)], vec![]),
            reduced(1, vec![field("a", 1)], &["b"], vec![hidden("a", 1)]),
            &["aggregates", "aggregate_fields"],
        ),
        // Another element counts for all that this one sets.
        (
            vec![first()],
            merged(2, vec![], vec![hidden("a", 0)]),
            reduced(1, vec![], &[], vec![hidden("a", 0)]),
            &["aggregates"],
        ),
        (vec![], pin, unpin, &["file_pins"]),
        (vec![], tag(1), Effect::RemoveTag("t".into()), &["file_tags"]),
        (vec![tag(1)], tag(2), tag(1), &["file_tags"]),
        (vec![], vm, Effect::RemoveVm(stamp(1).hash), &["vms", "vm_references"]),
    ];
    for (before, change, inverse, tables) in cases {
        let mut world = World::new(engine);
        let (_, start) = world.apply(&before);
        let (_, changed) = world.apply(std::slice::from_ref(&change));
        let (_, back) = world.apply(&[inverse]);
        for table in start.parts.keys().filter(|table| **table != "statuses") {
            let differs = start.parts[table] != changed.parts[table];
            assert_eq!(differs, tables.contains(table), "{table} after {change:?}");
            assert_eq!(start.parts[table], back.parts[table], "{table} after the inverse of {change:?}");
        }
        assert_eq!((start.messages, back.messages), (1, 3));
        // Not covered, but it has to be led back as well.
        assert_eq!(world.place.by_hand("SELECT CAST(count(*) AS TEXT) FROM aggregate_hidden"), "0");
    }
}

fn balances_count_only_when_they_are_newer(engine: Engine) {
    let mut world = World::new(engine);
    let (_, first) = world.apply(&[balances(10, "5")]);
    let (_, older) = world.apply(&[balances(9, "6")]);
    let (_, newer) = world.apply(&[balances(11, "7")]);
    assert_eq!(first.parts["balances"], older.parts["balances"]);
    assert_ne!(first.parts["balances"], newer.parts["balances"]);
    assert_eq!(newer.parts["balances"].rows, 1);
}

fn forgetting_changes_the_fate_only(engine: Engine) {
    let mut world = World::new(engine);
    let (target, before) = world.apply(&[]);
    let by = stamp(7);
    let forget = Effect::Forget(Forgotten { target, by: by.hash, at: by.time });
    let (_, after) = world.apply(std::slice::from_ref(&forget));
    let (_, again) = world.apply(&[forget]);
    assert_ne!(before.digest, after.digest);
    assert_ne!(after.digest, again.digest, "a FORGET is a message too");
    assert_eq!((after.messages, again.messages), (2, 3));
}

fn what_is_not_committed_leaves_no_trace_and_what_only_this_node_knows_has_none(engine: Engine) {
    let mut world = World::new(engine);
    let (_, before) = world.apply(&[tag(1)]);
    {
        let mut transaction = world.writer.begin().unwrap();
        transaction.add_file(&stamp(3).hash, 5, "file").unwrap();
        transaction.set_meta("any", "thing").unwrap();
        transaction.commit().unwrap();
    }
    assert_eq!(world.digest(), before);
}

fn a_database_without_sums_gets_them_at_the_start_and_a_changed_row_is_found(engine: Engine) {
    let mut world = World::new(engine);
    let (_, before) = world.apply(&[tag(1), balances(1, "1")]);
    let World { runtime, place, store, writer, .. } = world;
    drop((store, writer));
    place.by_hand("DELETE FROM meta WHERE key = 'digest'");
    let (store, _writer) = Store::open(place.location()).unwrap();
    assert_eq!(runtime.block_on(store.digest()).unwrap(), before);

    place.by_hand("UPDATE balances SET amount = '1000000'");
    let both = runtime.block_on(store.recompute_digest()).unwrap();
    let differing: Vec<_> =
        both.kept.parts.iter().filter(|(table, part)| both.recomputed.parts[*table] != **part).collect();
    assert_eq!(both.kept, before);
    assert_eq!(differing.iter().map(|(table, _)| **table).collect::<Vec<_>>(), ["balances"]);
}

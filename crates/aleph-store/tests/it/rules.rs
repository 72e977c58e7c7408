//! The rules on a real database: every refusal of the message types that are built, and what they change.

use aleph_crypto::{TrustedSource, Verified};
use std::collections::HashMap;

use aleph_rules::{Candidate, Decision, Dependency, FileInfo, FileKind, ManifestFile, Network, decide};
use aleph_store::queries::{MessageFate, MessageFilter, MessageQuery, SortOrder, Start};
use aleph_store::{NewMessage, NewPending, Store, Writer};
use aleph_types::content::RuntimeManifest;
use aleph_types::{
    Channel, ErrorCode, FormatError, ItemHash, ItemType, MessageStatus, ParsedMessage, Rejection, Signature,
    Timestamp, limits,
};
use serde_json::{Value, json};

use crate::place::{Engine, Place, on_both_engines};

on_both_engines!(
    who_may_act_for_whom,
    amends,
    versions_of_files,
    forgetting,
    programs_and_what_they_need,
    content_that_is_elsewhere_is_waited_for,
    instances_and_verified_programs,
    sizes_of_volumes_are_checked_volumes_first,
    a_delegate_amends_by_what_the_owner_grants_for_the_named_message,
    a_forget_is_remembered_as_often_as_it_names_a_target,
    one_owner_has_elements_but_no_aggregates,
    the_longest_texts_fit_every_index,
    a_second_try_of_what_waited_takes_no_other_message_away,
    a_wrong_copy_does_not_keep_a_message_from_being_known_as_forgotten,
    large_rights_are_read_anew_when_they_change,
    what_is_lacking_and_what_is_settled
);

const OWNER: &str = "0xAaAaaAAAaaaAaAaAAaAaaAaAaaaaAAaAaAAAaAaA";
const OTHER: &str = "0xBbBbBBBBbbBBbBbBBbBbbbBBBbBbbbBbBbbBbbbB";

/// A database and its writer.
struct World {
    writer: Writer,
    store: Store,
    _place: Place,
    time: f64,
    /// Bytes of every stored file.
    file_size: u64,
    /// Files of V-PROGRAM runtimes that can be read.
    manifests: HashMap<ItemHash, Result<RuntimeManifest, FormatError>>,
}

impl World {
    fn new(engine: Engine) -> Self {
        let place = engine.place();
        let (store, writer) = Store::open(place.location()).unwrap();
        Self {
            writer,
            store,
            _place: place,
            time: 1_700_000_000.0,
            file_size: 1000,
            manifests: HashMap::new(),
        }
    }

    fn message(&mut self, sender: &str, message_type: &str, mut content: Value) -> ParsedMessage {
        self.time += 1.0;
        if content.get("address").is_none() {
            content["address"] = sender.into();
        }
        if content.get("time").is_none() {
            content["time"] = self.time.into();
        }
        let text = content.to_string();
        let envelope = json!({
            "chain": "ETH", "sender": sender, "signature": "0x", "type": message_type, "time": self.time,
            "channel": "c1", "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
        });
        ParsedMessage::from_value(&envelope).unwrap()
    }

    /// Decides, and stores if the decision is to process.
    fn take(&mut self, parsed: ParsedMessage) -> (ItemHash, Decision) {
        let hash = parsed.message.item_hash.clone();
        let verified = Verified::trusted(parsed, TrustedSource::Genesis);
        let file = Some(FileInfo { size: self.file_size, kind: FileKind::File });
        let mut transaction = self.writer.begin().unwrap();
        let mut read = None;
        let decision = loop {
            let candidate = Candidate::new(&verified, None, 1, file).with_manifest(read);
            let decision = decide(&candidate, &Network::default(), &mut transaction.facts()).unwrap();
            match &decision {
                // As the pipeline does: what is waited for is read, and the message tried again.
                Decision::Wait { on: Dependency::File(file), .. } => match self.manifests.get_key_value(file)
                {
                    Some((file, manifest)) => read = Some(ManifestFile { file, manifest }),
                    None => break decision,
                },
                _ => break decision,
            }
        };
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

    fn send(&mut self, sender: &str, message_type: &str, content: Value) -> (ItemHash, Decision) {
        let parsed = self.message(sender, message_type, content);
        self.take(parsed)
    }

    fn accepted(&mut self, sender: &str, message_type: &str, content: Value) -> ItemHash {
        let (hash, decision) = self.send(sender, message_type, content);
        assert!(matches!(decision, Decision::Process(_)), "{decision:?}");
        hash
    }

    /// The code of the refusal, at once or after waiting.
    fn refused(&mut self, sender: &str, message_type: &str, content: Value) -> (ErrorCode, bool) {
        let (rejection, waits) = self.refusal(sender, message_type, content);
        (rejection.code, waits)
    }

    /// The refusal, at once or after waiting.
    fn refusal(&mut self, sender: &str, message_type: &str, content: Value) -> (Rejection, bool) {
        match self.send(sender, message_type, content).1 {
            Decision::Reject(rejection) => (rejection, false),
            Decision::Wait { otherwise, .. } => (otherwise, true),
            Decision::Process(effects) => panic!("accepted: {effects:?}"),
        }
    }

    fn forgotten_by(&self, hash: &ItemHash) -> Vec<String> {
        let fate = blocking(self.store.message_fate(hash.clone())).unwrap();
        let Some(MessageFate::Forgotten { skeleton, .. }) = fate else { panic!("{fate:?}") };
        serde_json::from_str(&skeleton.forgotten_by).unwrap()
    }

    fn aggregate(&self, owner: &str, key: &str) -> Option<serde_json::Map<String, Value>> {
        blocking(self.store.aggregate_content(owner, key)).unwrap()
    }

    fn status(&mut self, hash: &ItemHash) -> Option<MessageStatus> {
        self.writer.begin().unwrap().status(hash).unwrap()
    }
}

fn blocking<T>(question: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(question)
}

fn file(number: u8) -> ItemHash {
    ItemHash::sha256(&[number])
}

fn post() -> Value {
    json!({ "type": "note", "content": { "hi": 1 } })
}

fn store(number: u8) -> Value {
    json!({ "item_type": "storage", "item_hash": file(number) })
}

fn program(code: &ItemHash, runtime: &ItemHash) -> Value {
    json!({
        "type": "vm-function", "allow_amend": true,
        "code": { "encoding": "zip", "entrypoint": "main:app", "ref": code },
        "runtime": { "ref": runtime, "comment": "" },
        "on": { "http": true }, "environment": {}, "resources": {},
    })
}

fn who_may_act_for_whom(engine: Engine) {
    let mut world = World::new(engine);
    let on_behalf = |mut content: Value| {
        content["address"] = OWNER.into();
        content
    };
    assert_eq!(world.refused(OTHER, "POST", on_behalf(post())), (ErrorCode::PermissionDenied, false));
    world.accepted(
        OWNER,
        "AGGREGATE",
        json!({ "key": "security", "content": { "authorizations": [
            { "address": OTHER.to_lowercase(), "types": ["POST"], "channels": ["c1"] } ] } }),
    );
    let hash = world.accepted(OTHER, "POST", on_behalf(post()));
    assert_eq!(world.refused(OTHER, "STORE", on_behalf(store(1))), (ErrorCode::PermissionDenied, false));
    // A delegate may forget what it could have posted; a stranger may not.
    let stranger = "0xCcCCccCCcCCCcCCCCcCcCccCcCCCcCcccccccCCc";
    let forget = json!({ "hashes": [hash] });
    assert_eq!(world.refused(stranger, "FORGET", forget.clone()), (ErrorCode::PermissionDenied, false));
    world.accepted(OTHER, "FORGET", forget);
    // Revoked: a later element of the aggregate counts.
    world.accepted(OWNER, "AGGREGATE", json!({ "key": "security", "content": { "authorizations": [] } }));
    let mut later = on_behalf(post());
    later["content"] = 2.into();
    assert_eq!(world.refused(OTHER, "POST", later), (ErrorCode::PermissionDenied, false));
}

fn amends(engine: Engine) {
    let mut world = World::new(engine);
    let original = world.accepted(OWNER, "POST", post());
    let amend = |of: &ItemHash| json!({ "type": "amend", "ref": of, "content": { "hi": 2 } });
    let first = world.accepted(OWNER, "POST", amend(&original));
    assert_eq!(world.refused(OWNER, "POST", amend(&first)), (ErrorCode::PostAmendAmend, false));
    let unknown = ItemHash::sha256(b"unknown");
    assert_eq!(world.refused(OWNER, "POST", amend(&unknown)), (ErrorCode::PostAmendTargetNotFound, true));
    // Not the owner's: refused even for the owner of nothing.
    assert_eq!(world.refused(OTHER, "POST", amend(&original)), (ErrorCode::PermissionDenied, false));
    // The original takes its amends with it.
    world.accepted(OWNER, "FORGET", json!({ "hashes": [original] }));
    assert_eq!(world.status(&original), Some(MessageStatus::Forgotten));
    assert_eq!(world.status(&first), Some(MessageStatus::Forgotten));
}

fn versions_of_files(engine: Engine) {
    let mut world = World::new(engine);
    let first = world.accepted(OWNER, "STORE", store(1));
    let update =
        |of: &ItemHash, number: u8| json!({ "item_type": "storage", "item_hash": file(number), "ref": of });
    let second = world.accepted(OWNER, "STORE", update(&first, 2));
    assert_eq!(world.refused(OWNER, "STORE", update(&second, 3)), (ErrorCode::StoreUpdateUpdate, false));
    let unknown = ItemHash::sha256(b"unknown");
    assert_eq!(world.refused(OWNER, "STORE", update(&unknown, 3)), (ErrorCode::StoreRefNotFound, true));
    assert_eq!(world.refused(OTHER, "STORE", update(&first, 3)), (ErrorCode::PermissionDenied, false));
}

fn forgetting(engine: Engine) {
    let mut world = World::new(engine);
    assert_eq!(world.refused(OWNER, "FORGET", json!({ "hashes": [] })), (ErrorCode::ForgetNoTarget, false));
    let unknown = ItemHash::sha256(b"unknown");
    assert_eq!(
        world.refused(OWNER, "FORGET", json!({ "hashes": [unknown] })),
        (ErrorCode::ForgetTargetNotFound, true)
    );
    let note = world.accepted(OWNER, "POST", post());
    // All or nothing.
    assert_eq!(
        world.refused(OWNER, "FORGET", json!({ "hashes": [note, unknown] })),
        (ErrorCode::ForgetTargetNotFound, true)
    );
    assert_eq!(world.status(&note), Some(MessageStatus::Processed));
    let forget = world.accepted(OWNER, "FORGET", json!({ "hashes": [note, note] }));
    assert_eq!(world.status(&note), Some(MessageStatus::Forgotten));
    assert_eq!(
        world.refused(OWNER, "FORGET", json!({ "hashes": [forget] })),
        (ErrorCode::ForgetForget, false)
    );
    assert_eq!(
        world.refused(OWNER, "FORGET", json!({ "hashes": [note] })),
        (ErrorCode::ForgetTargetNotFound, true)
    );
    let no_such_key = ItemHash::sha256(b"key");
    assert_eq!(
        world.refused(OWNER, "FORGET", json!({ "hashes": [], "aggregates": [no_such_key] })),
        (ErrorCode::ForgetTargetNotFound, true)
    );
    let element = world.accepted(OWNER, "AGGREGATE", json!({ "key": no_such_key, "content": { "a": 1 } }));
    world.accepted(OWNER, "FORGET", json!({ "hashes": [], "aggregates": [no_such_key] }));
    assert_eq!(world.status(&element), Some(MessageStatus::Forgotten));
}

fn programs_and_what_they_need(engine: Engine) {
    let mut world = World::new(engine);
    let code = world.accepted(OWNER, "STORE", store(1));
    let unknown = ItemHash::sha256(b"unknown");
    assert_eq!(
        world.refused(OWNER, "PROGRAM", program(&code, &unknown)),
        (ErrorCode::VmVolumeNotFound, true)
    );
    let runtime = world.accepted(OTHER, "STORE", store(2));
    let running = world.accepted(OWNER, "PROGRAM", program(&code, &runtime));
    // Its files are protected, whoever owns them.
    for (owner, needed) in [(OWNER, &code), (OTHER, &runtime)] {
        assert_eq!(
            world.refused(owner, "FORGET", json!({ "hashes": [needed] })),
            (ErrorCode::ForgetNotAllowed, false)
        );
    }
    let mut too_small = program(&code, &runtime);
    too_small["volumes"] =
        json!([{ "mount": "/data", "persistence": "host", "size_mib": 1, "parent": { "ref": code } }]);
    world.accepted(OWNER, "PROGRAM", too_small);

    // Updates are programs of their own, as on the network (`docs/adr/0012-updates-of-programs.md`).
    let mut update = program(&code, &runtime);
    update["replaces"] = running.as_str().into();
    let updated = world.accepted(OWNER, "PROGRAM", update.clone());
    assert_eq!(
        world.refused(OTHER, "PROGRAM", update.clone()),
        (ErrorCode::PermissionDenied, false),
        "a program is updated by its owner only"
    );
    let mut of_update = update.clone();
    of_update["replaces"] = updated.as_str().into();
    of_update["allow_amend"] = false.into();
    let last = world.accepted(OWNER, "PROGRAM", of_update);
    // What counts is whether the named program allows it, not a later one.
    world.accepted(OWNER, "PROGRAM", update.clone());
    let mut of_last = update.clone();
    of_last["replaces"] = last.as_str().into();
    assert_eq!(world.refused(OWNER, "PROGRAM", of_last), (ErrorCode::VmAmendNotAllowed, false));
    for nothing in [unknown.as_str(), "", "no hash", code.as_str()] {
        let mut of_nothing = update.clone();
        of_nothing["replaces"] = nothing.into();
        let (rejection, _) = world.refusal(OWNER, "PROGRAM", of_nothing);
        assert_eq!(rejection.code, ErrorCode::VmRefNotFound);
        assert_eq!(rejection.details, Some(json!({ "errors": [nothing] })));
    }
    // Forgetting the original leaves them alone.
    world.accepted(OWNER, "FORGET", json!({ "hashes": [running] }));
    for kept in [&updated, &last] {
        assert_eq!(world.status(kept), Some(MessageStatus::Processed));
    }
}

fn content_that_is_elsewhere_is_waited_for(engine: Engine) {
    let mut world = World::new(engine);
    let mut parsed = world.message(OWNER, "POST", post());
    parsed.content = None;
    let decision = world.take(parsed).1;
    let Decision::Wait { on, otherwise } = decision else { panic!("{decision:?}") };
    assert!(on.fetchable().is_some());
    assert_eq!(otherwise.code, ErrorCode::ContentUnavailable);
}

fn instances_and_verified_programs(engine: Engine) {
    let mut world = World::new(engine);
    let image = world.accepted(OWNER, "STORE", store(1));
    let instance = |parent: &ItemHash| {
        json!({
            "allow_amend": false, "environment": {}, "resources": {},
            "rootfs": { "parent": { "ref": parent }, "persistence": "host", "size_mib": 20 },
        })
    };
    let unknown = ItemHash::sha256(b"unknown");
    assert_eq!(world.refused(OWNER, "INSTANCE", instance(&unknown)), (ErrorCode::VmVolumeNotFound, true));
    let running = world.accepted(OWNER, "INSTANCE", instance(&image));
    assert_eq!(
        world.refused(OWNER, "FORGET", json!({ "hashes": [image] })),
        (ErrorCode::ForgetNotAllowed, false)
    );
    // Only programs can be replaced.
    let mut update = instance(&image);
    update["replaces"] = running.as_str().into();
    assert_eq!(world.refused(OWNER, "INSTANCE", update), (ErrorCode::VmRefNotFound, true));
    world.accepted(OWNER, "FORGET", json!({ "hashes": [running] }));

    let digest = "a".repeat(96);
    let verified = |workload: &ItemHash| {
        json!({
            "allow_amend": false, "environment": { "internet": true }, "resources": {},
            "payment": { "type": "credit" }, "runtime": { "ref": image },
            "workload": { "ref": workload, "hash_tree": image, "roothash": "b".repeat(64) },
            "verification": { "backend": "sev_snp", "measurements": [
                { "platform": "sev_snp", "registers": { "launch": digest } } ] },
        })
    };
    let missing = |hashes: &[&ItemHash]| {
        let mut hashes: Vec<&str> = hashes.iter().map(|hash| hash.as_str()).collect();
        hashes.sort_unstable();
        (ErrorCode::VmVolumeNotFound, Some(json!({ "errors": hashes })), true)
    };
    let refusal = |world: &mut World, content: Value| {
        let (rejection, waits) = world.refusal(OWNER, "V-PROGRAM", content);
        (rejection.code, rejection.details, waits)
    };
    // Every file is named once, sorted.
    let other_unknown = ItemHash::sha256(b"other");
    let mut two = verified(&unknown);
    two["volumes"] = json!([
        { "ref": other_unknown, "hash_tree": unknown, "roothash": "c".repeat(64) } ]);
    assert_eq!(refusal(&mut world, two), missing(&[&unknown, &other_unknown]));
    // The manifest can't be read now; is no manifest; names a bundle that is not stored.
    assert_eq!(refusal(&mut world, verified(&image)), missing(&[&image]));
    world.manifests.insert(file(1), Err(FormatError::text("no JSON")));
    let (code, details, waits) = refusal(&mut world, verified(&image));
    assert_eq!((code, waits), (ErrorCode::VmRuntimeInvalid, false));
    let text = format!("runtime manifest {image} can't be used: no JSON");
    assert_eq!(details, Some(json!({ "errors": [text] })));
    let parsed = world.message(OTHER, "STORE", store(9));
    let bundle = parsed.message.item_hash.clone();
    world.manifests.insert(file(1), Ok(RuntimeManifest { bundle: bundle.clone() }));
    assert_eq!(refusal(&mut world, verified(&image)), missing(&[&bundle]));
    assert!(matches!(world.take(parsed).1, Decision::Process(_)));
    let running = world.accepted(OWNER, "V-PROGRAM", verified(&image));
    // The bundle is protected although the message does not name it.
    let forget = json!({ "hashes": [bundle] });
    assert_eq!(world.refused(OTHER, "FORGET", forget.clone()), (ErrorCode::ForgetNotAllowed, false));
    world.accepted(OWNER, "FORGET", json!({ "hashes": [running] }));
    world.accepted(OTHER, "FORGET", forget);
}

fn sizes_of_volumes_are_checked_volumes_first(engine: Engine) {
    let mut world = World::new(engine);
    world.file_size = 3 << 20;
    let image = world.accepted(OWNER, "STORE", store(1));
    let instance = |rootfs: u32, volume: u32| {
        json!({
            "allow_amend": false, "environment": {}, "resources": {},
            "rootfs": { "parent": { "ref": image }, "persistence": "host", "size_mib": rootfs },
            "volumes": [{ "persistence": "host", "size_mib": volume, "parent": { "ref": image } }],
        })
    };
    let details = |name: &str, size: u64| {
        let entry = json!({ "volume_name": name, "parent_ref": image, "parent_file": file(1),
            "parent_size": 3 << 20, "volume_size": size << 20 });
        Some(json!({ "errors": [entry] }))
    };
    for (rootfs, volume, expected) in
        [(2, 2, details("None", 2)), (1, 3, details("rootfs", 1)), (3, 1, details("None", 1))]
    {
        let (rejection, waits) = world.refusal(OWNER, "INSTANCE", instance(rootfs, volume));
        assert_eq!((rejection.code, waits), (ErrorCode::VmVolumeTooSmall, false));
        assert_eq!(rejection.details, expected);
    }
    world.accepted(OWNER, "INSTANCE", instance(3, 3));
}

fn a_delegate_amends_by_what_the_owner_grants_for_the_named_message(engine: Engine) {
    let mut world = World::new(engine);
    let file = world.accepted(OWNER, "STORE", store(1));
    let note = world.accepted(OWNER, "POST", post());
    world.accepted(
        OWNER,
        "AGGREGATE",
        json!({ "key": "security", "content": { "authorizations": [
            { "address": OTHER, "types": ["POST"], "post_types": ["note"] } ] } }),
    );
    let amend = |of: &ItemHash| json!({ "address": OWNER, "type": "amend", "ref": of, "content": 1 });
    // The amend's own type is not what is held against the filter.
    world.accepted(OTHER, "POST", amend(&note));
    assert_eq!(world.refused(OTHER, "POST", amend(&file)), (ErrorCode::PermissionDenied, false));
    assert_eq!(world.refused(OWNER, "POST", amend(&file)), (ErrorCode::PostAmendTargetNotFound, true));
}

fn a_forget_is_remembered_as_often_as_it_names_a_target(engine: Engine) {
    let mut world = World::new(engine);
    let note = world.accepted(OWNER, "POST", post());
    let amend = world.accepted(OWNER, "POST", json!({ "type": "amend", "ref": note, "content": 1 }));
    let other = world.accepted(OWNER, "POST", json!({ "type": "note", "content": 2 }));
    // The amend goes with its post, and is then named once more.
    let forget = world.accepted(OWNER, "FORGET", json!({ "hashes": [note, amend, other, other, other] }));
    for (target, times) in [(note, 1), (amend, 2), (other, 3)] {
        assert_eq!(world.forgotten_by(&target), vec![forget.to_string(); times]);
    }
}

fn one_owner_has_elements_but_no_aggregates(engine: Engine) {
    let mut world = World::new(engine);
    let owner = "0x51A58800b26AA1451aaA803d1746687cB88E0501";
    let key = "ab".repeat(32);
    let element = |number: u64| json!({ "key": key, "content": { "a": number } });
    let first = world.accepted(owner, "AGGREGATE", element(1));
    let second = world.accepted(owner, "AGGREGATE", element(2));
    assert!(world.aggregate(owner, &key).is_none());
    assert_eq!(
        world.refused(owner, "FORGET", json!({ "hashes": [], "aggregates": [key] })),
        (ErrorCode::ForgetTargetNotFound, true)
    );
    world.accepted(owner, "FORGET", json!({ "hashes": [first] }));
    assert!(world.aggregate(owner, &key).is_none());
    assert_eq!(world.status(&second), Some(MessageStatus::Processed));
}

/// Text that hardly compresses: an index entry of PostgreSQL holds 2,704 bytes, after compression.
fn noise(length: usize) -> String {
    let mut text = String::new();
    let mut number = 0u32;
    while text.len() < length {
        number += 1;
        text.extend(ItemHash::sha256(&number.to_be_bytes()).as_str().chars().map(|digit| {
            let high = number.wrapping_mul(2_654_435_761) >> 29;
            char::from(digit as u8 ^ (high as u8 & 1) << 5)
        }));
    }
    text.truncate(length);
    text
}

fn the_longest_texts_fit_every_index(engine: Engine) {
    let mut world = World::new(engine);
    let longest = noise(limits::INDEXED_TEXT);
    let post = json!({ "type": longest, "content": {}, "ref": longest });
    let mut channels = Vec::new();
    for end in ["a", "b"] {
        let channel = format!("{}{end}", noise(5_000));
        let mut parsed = world.message(OWNER, "POST", post.clone());
        parsed.message.channel = Some(Channel::from(channel.clone()));
        let (hash, decision) = world.take(parsed);
        assert!(matches!(decision, Decision::Process(_)), "{decision:?}");
        channels.push((channel, hash));
    }
    assert_eq!(blocking(world.store.channels()).unwrap(), [&*channels[0].0, &*channels[1].0]);
    for (channel, hash) in &channels {
        let query = MessageQuery {
            filter: MessageFilter { channels: Some(vec![channel.clone()]), ..MessageFilter::default() },
            order: SortOrder::Descending,
            start: Start::Offset(0),
            limit: 10,
        };
        let found = blocking(world.store.list_messages(query)).unwrap();
        assert_eq!(found.iter().map(|found| &found.message.item_hash).collect::<Vec<_>>(), [hash]);
    }
    // The second hides the first, and a third that is older than both hides itself.
    for time in [2, 3, 1] {
        let element = json!({ "time": time, "key": longest, "content": { (longest.clone()): time } });
        world.accepted(OWNER, "AGGREGATE", element);
    }
    world.accepted(
        OWNER,
        "STORE",
        json!({ "item_type": "storage", "item_hash": "a".repeat(64), "ref": longest }),
    );

    // A signature with room for anything: what waits is found again by it.
    let mut parsed = world.message(OWNER, "POST", post);
    parsed.message.signature = Some(Signature::from(noise(9_000)));
    let rejection = Rejection::bare(ErrorCode::ContentUnavailable);
    let pending = NewPending {
        message: &parsed.message,
        envelope: "{}",
        origin: "http",
        waits_on: "content:x",
        deadline: Timestamp::from_secs(2),
        rejection: &rejection,
        reception_time: Timestamp::from_secs(1),
    };
    let mut transaction = world.writer.begin().unwrap();
    assert_eq!(transaction.wait(pending).unwrap(), None);
    assert_eq!(transaction.wait(pending).unwrap(), Some("content:x".to_owned()));
    let waiting = transaction.waiting_on("content:x", i64::MIN, 10).unwrap();
    assert_eq!(waiting.len(), 1);
    assert!(transaction.waiting_on("content:x", waiting[0].id, 10).unwrap().is_empty());
    assert_eq!(transaction.waiting_counts().unwrap(), [("content:x".to_owned(), 1)]);
    transaction.commit().unwrap();
}

/// Found by the simulation: a lying peer sent a wrong copy of what was forgotten elsewhere.
fn a_wrong_copy_does_not_keep_a_message_from_being_known_as_forgotten(engine: Engine) {
    let mut world = World::new(engine);
    let post = json!({ "type": "t", "content": { "text": "gone" } });
    let message = world.message(OWNER, "POST", post).message;
    let (hash, at) = (message.item_hash.clone(), Timestamp::from_secs(1));
    let by = [ItemHash::sha256(b"a FORGET")];
    let rejection = Rejection::bare(ErrorCode::InvalidSignature);
    let mut transaction = world.writer.begin().unwrap();
    transaction.reject(&hash, "{}", &rejection, at).unwrap();
    let mut bury = || transaction.remember_forgotten(&message, ItemType::Inline, OWNER, &by, at, at).unwrap();
    assert!(bury(), "it is news");
    assert!(!bury(), "but once only");
    assert_eq!(transaction.status(&hash).unwrap(), Some(MessageStatus::Forgotten));
    assert!(!transaction.reject(&hash, "{}", &rejection, at).unwrap(), "and stays so");
    transaction.commit().unwrap();
}

/// Of many hashes at once: unknown, processed, forgotten, waiting and rejected ones, in any order.
fn what_is_lacking_and_what_is_settled(engine: Engine) {
    let mut world = World::new(engine);
    let mut asked: Vec<ItemHash> = (0..3000_u32).map(|n| ItemHash::sha256(&n.to_be_bytes())).collect();
    let processed = world.accepted(OWNER, "POST", post());
    let forgotten = world.accepted(OWNER, "POST", json!({ "type": "t", "content": {} }));
    world.accepted(OWNER, "FORGET", json!({ "hashes": [forgotten.as_str()], "aggregates": [] }));
    let (waiting, rejected) = (world.message(OWNER, "POST", post()), world.message(OWNER, "POST", post()));
    let rejection = Rejection::bare(ErrorCode::ContentUnavailable);
    let at = Timestamp::from_secs(1);
    let mut transaction = world.writer.begin().unwrap();
    let pending = NewPending {
        message: &waiting.message,
        envelope: "{}",
        origin: "http",
        waits_on: "content:x",
        deadline: Timestamp::from_secs(2),
        rejection: &rejection,
        reception_time: at,
    };
    transaction.wait(pending).unwrap();
    transaction.reject(&rejected.message.item_hash, "{}", &rejection, at).unwrap();
    transaction.commit().unwrap();
    let (waiting, rejected) = (waiting.message.item_hash, rejected.message.item_hash);

    for (place, hash) in [(0, &processed), (700, &rejected), (2047, &forgotten), (2050, &waiting)] {
        asked.insert(place, hash.clone());
    }
    let lacking = blocking(world.store.missing(asked.clone())).unwrap();
    let known = [&processed, &forgotten, &waiting];
    let expected: Vec<&ItemHash> = asked.iter().filter(|hash| !known.contains(hash)).collect();
    assert_eq!(lacking.iter().collect::<Vec<_>>(), expected);
    assert_eq!(blocking(world.store.settled(asked)).unwrap(), [processed, forgotten]);
    assert!(blocking(world.store.missing(Vec::new())).unwrap().is_empty());
}

/// SQLite gives the number of a row that is gone to the next one; a message that was woken twice comes with
/// it after that. Found by the simulation (`docs/adr/0020-simulation.md`).
fn a_second_try_of_what_waited_takes_no_other_message_away(engine: Engine) {
    let mut world = World::new(engine);
    let mut post =
        |text: &str| world.message(OWNER, "POST", json!({ "type": "t", "content": { "text": text } }));
    let (first, second) = (post("first"), post("second"));
    let rejection = Rejection::bare(ErrorCode::FileUnavailable);
    let [of_first, of_second] = [&first, &second].map(|parsed| NewPending {
        message: &parsed.message,
        envelope: "{}",
        origin: "http",
        waits_on: "file:x",
        deadline: Timestamp::from_secs(2),
        rejection: &rejection,
        reception_time: Timestamp::from_secs(1),
    });
    let mut transaction = world.writer.begin().unwrap();
    transaction.wait(of_first).unwrap();
    let number = transaction.waiting_on("file:x", i64::MIN, 10).unwrap()[0].id;
    let hash = &first.message.item_hash;
    assert_eq!(transaction.waiting_key(number, hash).unwrap().as_deref(), Some("file:x"));
    transaction.drop_pending(number, hash).unwrap();
    transaction.wait(of_second).unwrap();
    assert_eq!(transaction.waiting_key(number, hash).unwrap(), None);
    assert!(!transaction.drop_pending(number, hash).unwrap());
    let waiting = transaction.waiting_on("file:x", i64::MIN, 10).unwrap();
    assert_eq!(waiting.len(), 1, "the second message still waits");
    assert_eq!(waiting[0].item_hash, second.message.item_hash);
    transaction.commit().unwrap();
}

fn large_rights_are_read_anew_when_they_change(engine: Engine) {
    let mut world = World::new(engine);
    let rights = |last: &str| {
        let mut entries: Vec<Value> =
            (0..2_000).map(|number| json!({ "address": format!("0x{number:040x}") })).collect();
        entries.push(json!({ "address": last }));
        json!({ "key": "security", "content": { "authorizations": entries } })
    };
    let delegated = json!({ "address": OWNER, "type": "note", "content": {} });
    world.accepted(OWNER, "AGGREGATE", rights(OTHER));
    world.accepted(OTHER, "POST", delegated.clone());
    world.accepted(OTHER, "POST", delegated.clone());
    let taken_back = world.accepted(OWNER, "AGGREGATE", rights(OWNER));
    assert_eq!(world.refused(OTHER, "POST", delegated.clone()), (ErrorCode::PermissionDenied, false));
    world.accepted(OWNER, "FORGET", json!({ "hashes": [taken_back] }));
    world.accepted(OTHER, "POST", delegated);
}

//! The rules on a real database: every refusal of the message types that are built, and what they change.

use aleph_crypto::{TrustedSource, Verified};
use aleph_rules::{Candidate, Decision, FileInfo, FileKind, Network, decide};
use aleph_store::{NewMessage, Store, Writer};
use aleph_types::{ErrorCode, ItemHash, MessageStatus, ParsedMessage, Timestamp};
use serde_json::{Value, json};

const OWNER: &str = "0xAaAaaAAAaaaAaAaAAaAaaAaAaaaaAAaAaAAAaAaA";
const OTHER: &str = "0xBbBbBBBBbbBBbBbBBbBbbbBBBbBbbbBbBbbBbbbB";

/// A database and its writer.
struct World {
    writer: Writer,
    _store: Store,
    _folder: tempfile::TempDir,
    time: f64,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, writer) = Store::open(&folder.path().join("node.sqlite3")).unwrap();
        Self { writer, _store: store, _folder: folder, time: 1_700_000_000.0 }
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
        let file = Some(FileInfo { size: 1000, kind: FileKind::File });
        let mut transaction = self.writer.begin().unwrap();
        let decision = {
            let candidate = Candidate::new(&verified, None, 1, file);
            decide(&candidate, &Network::default(), &mut transaction.facts()).unwrap()
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
        match self.send(sender, message_type, content).1 {
            Decision::Reject(rejection) => (rejection.code, false),
            Decision::Wait { otherwise, .. } => (otherwise.code, true),
            Decision::Process(effects) => panic!("accepted: {effects:?}"),
        }
    }

    fn status(&mut self, hash: &ItemHash) -> Option<MessageStatus> {
        self.writer.begin().unwrap().status(hash).unwrap()
    }
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

#[test]
fn who_may_act_for_whom() {
    let mut world = World::new();
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

#[test]
fn amends() {
    let mut world = World::new();
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

#[test]
fn versions_of_files() {
    let mut world = World::new();
    let first = world.accepted(OWNER, "STORE", store(1));
    let update =
        |of: &ItemHash, number: u8| json!({ "item_type": "storage", "item_hash": file(number), "ref": of });
    let second = world.accepted(OWNER, "STORE", update(&first, 2));
    assert_eq!(world.refused(OWNER, "STORE", update(&second, 3)), (ErrorCode::StoreUpdateUpdate, false));
    let unknown = ItemHash::sha256(b"unknown");
    assert_eq!(world.refused(OWNER, "STORE", update(&unknown, 3)), (ErrorCode::StoreRefNotFound, true));
    assert_eq!(world.refused(OTHER, "STORE", update(&first, 3)), (ErrorCode::PermissionDenied, false));
}

#[test]
fn forgetting() {
    let mut world = World::new();
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

#[test]
fn programs_and_what_they_need() {
    let mut world = World::new();
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

    let mut update = program(&code, &runtime);
    update["replaces"] = running.as_str().into();
    let updated = world.accepted(OWNER, "PROGRAM", update.clone());
    let mut foreign = update.clone();
    foreign["address"] = OTHER.into();
    assert_eq!(world.refused(OTHER, "PROGRAM", foreign), (ErrorCode::PermissionDenied, false));
    let mut of_update = update.clone();
    of_update["replaces"] = updated.as_str().into();
    assert_eq!(world.refused(OWNER, "PROGRAM", of_update), (ErrorCode::VmUpdateUpdate, false));
    let mut last = update.clone();
    last["allow_amend"] = false.into();
    world.accepted(OWNER, "PROGRAM", last);
    assert_eq!(world.refused(OWNER, "PROGRAM", update.clone()), (ErrorCode::VmAmendNotAllowed, false));
    let mut of_nothing = update;
    of_nothing["replaces"] = unknown.as_str().into();
    assert_eq!(world.refused(OWNER, "PROGRAM", of_nothing), (ErrorCode::VmRefNotFound, true));
    // The original takes its updates with it.
    world.accepted(OWNER, "FORGET", json!({ "hashes": [running] }));
    assert_eq!(world.status(&updated), Some(MessageStatus::Forgotten));
}

#[test]
fn content_that_is_elsewhere_is_waited_for() {
    let mut world = World::new();
    let mut parsed = world.message(OWNER, "POST", post());
    parsed.content = None;
    let decision = world.take(parsed).1;
    let Decision::Wait { on, otherwise } = decision else { panic!("{decision:?}") };
    assert!(on.fetchable().is_some());
    assert_eq!(otherwise.code, ErrorCode::ContentUnavailable);
}

#[test]
fn instances_and_verified_programs() {
    let mut world = World::new();
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
    assert_eq!(world.refused(OWNER, "V-PROGRAM", verified(&unknown)), (ErrorCode::VmVolumeNotFound, true));
    world.accepted(OWNER, "V-PROGRAM", verified(&image));
}

//! Every code of refusal that a node can give without prices, with the details as the API serves them
//! (`spec: messages.md §10`).

use aleph_types::MessageType::{self, Aggregate, Forget, Instance, Post, Program, Store, VProgram};
use serde_json::{Value, json};

use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

struct World {
    node: TestNode,
    author: Author,
    stranger: Author,
    time: f64,
    seen: Vec<i64>,
}

impl World {
    async fn new() -> Self {
        // What is missing is missed at once.
        let node = TestNode::start_with(|config| config.pipeline.patience_seconds = 0).await;
        Self { node, author: Author::new(1), stranger: Author::new(2), time: TIME, seen: Vec::new() }
    }

    fn sign(&mut self, kind: MessageType, content: Value) -> Value {
        self.time += 1.0;
        self.author.sign(kind, self.time, "c", content)
    }

    async fn process(&mut self, kind: MessageType, content: Value) -> Value {
        let message = self.sign(kind, content);
        self.node.process(&[&message]).await;
        message
    }

    /// A file of so many bytes on this node's disk.
    async fn file(&self, byte: u8, size: usize) -> String {
        let stored = self.node.node.blobs.put_bytes(vec![byte; size]).await.unwrap();
        stored.hash.as_str().to_owned()
    }

    async fn store(&mut self, file: &str) -> Value {
        self.process(Store, json!({ "item_type": "storage", "item_hash": file })).await
    }

    /// The message is refused with this code and these details.
    async fn refused(&mut self, message: &Value, code: i64, details: Value) {
        let response = self.node.publish(message, true).await;
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        // What lacks another message is answered before its patience ends.
        let told = if status == 202 { "pending" } else { "rejected" };
        assert!(matches!(status, 202 | 422), "{code}: {status} for {message}");
        assert_eq!(answer["message_status"], told);
        let single = self.node.decided(message).await;
        assert_eq!(single["status"], "rejected");
        assert_eq!(single["error_code"], code, "{message}");
        assert_eq!(single["details"], details, "{code}");
        assert_eq!(single["message"]["item_hash"], message["item_hash"]);
        self.seen.push(code);
    }

    async fn refuses(&mut self, kind: MessageType, content: Value, code: i64, details: Value) {
        let message = self.sign(kind, content);
        self.refused(&message, code, details).await;
    }
}

fn errors(list: impl IntoIterator<Item = Value>) -> Value {
    json!({ "errors": list.into_iter().collect::<Vec<_>>() })
}

fn text(line: impl Into<String>) -> Value {
    errors([Value::from(line.into())])
}

fn program(code: &str, runtime: &str) -> Value {
    json!({
        "type": "vm-function", "allow_amend": false, "on": { "http": true }, "environment": {},
        "resources": {}, "runtime": { "ref": runtime, "comment": "", "use_latest": false },
        "code": { "encoding": "zip", "entrypoint": "main:app", "ref": code },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_code_has_its_details() {
    let mut world = World::new().await;
    let unknown = "ab".repeat(32);
    let owner = world.author.address.clone();
    let other = world.stranger.address.clone();

    // 1.
    let mut forged = world.sign(Post, json!({ "type": "note", "content": 1 }));
    forged["sender"] = other.clone().into();
    world.refused(&forged, 1, text("The signature of the message is invalid")).await;
    let mut unsigned = world.sign(Post, json!({ "type": "note", "content": 2 }));
    unsigned["signature"] = Value::Null;
    world.refused(&unsigned, 1, text("Missing signature")).await;

    // 2.
    let line = format!("Sender {owner} is not authorized to post on behalf of address {other}");
    let foreign = json!({ "address": other, "type": "note", "content": 3 });
    world.refuses(Post, foreign, 2, text(line)).await;

    // 3, 4.
    let mut elsewhere = world.sign(Post, json!({ "type": "note", "content": 4 }));
    elsewhere = world.author.sign_by_hash(Post, world.time, &unknown, &elsewhere);
    let line = format!("File not found: {unknown} (could not fetch message content)");
    world.refused(&elsewhere, 3, text(line)).await;
    let line = format!("File not found: {unknown} (could not retrieve file from storage at this time)");
    world.refuses(Store, json!({ "item_type": "storage", "item_hash": unknown }), 4, text(line)).await;

    // 101, 102.
    let amend = |of: &str| json!({ "type": "amend", "ref": of, "content": 1 });
    world.refuses(Post, amend(&unknown), 101, Value::Null).await;
    let note = world.process(Post, json!({ "type": "note", "content": 5 })).await;
    let amended = world.process(Post, amend(hash(&note))).await;
    world.refuses(Post, amend(hash(&amended)), 102, Value::Null).await;

    // 200, 201.
    let small = world.file(1, 10).await;
    let large = world.file(2, 3 << 20).await;
    let store = world.store(&small).await;
    let update = |of: &str| json!({ "item_type": "storage", "item_hash": small, "ref": of });
    world.refuses(Store, update(&unknown), 200, text(unknown.clone())).await;
    let updated = world.process(Store, update(hash(&store))).await;
    world.refuses(Store, update(hash(&updated)), 201, Value::Null).await;

    // 300, 301, 302, 304.
    let image = world.store(&large).await;
    let (store, image) = (hash(&store).to_owned(), hash(&image).to_owned());
    let other_unknown = "cd".repeat(32);
    let missing = errors([json!(unknown), json!(other_unknown)]);
    world.refuses(Program, program(&other_unknown, &unknown), 301, missing).await;
    let mut replaces = program(&store, &image);
    replaces["replaces"] = json!(unknown);
    world.refuses(Program, replaces.clone(), 300, text(unknown.clone())).await;
    let running = world.process(Program, program(&store, &image)).await;
    replaces["replaces"] = running["item_hash"].clone();
    world.refuses(Program, replaces, 302, Value::Null).await;
    let rootfs = json!({ "parent": { "ref": image }, "persistence": "host", "size_mib": 2 });
    let instance = json!({ "allow_amend": false, "environment": {}, "resources": {}, "rootfs": rootfs });
    let too_small = json!({ "volume_name": "rootfs", "parent_ref": image, "parent_file": large,
        "parent_size": 3 << 20, "volume_size": 2 << 20 });
    world.refuses(Instance, instance, 304, errors([too_small])).await;

    // 500, 501, 502, 503.
    world.refuses(Forget, json!({ "hashes": [] }), 500, Value::Null).await;
    let no_message = errors([json!({ "message": unknown })]);
    world.refuses(Forget, json!({ "hashes": [unknown] }), 501, no_message).await;
    let no_aggregate = errors([json!({ "aggregate": unknown })]);
    let forget = json!({ "hashes": [], "aggregates": [unknown] });
    world.refuses(Forget, forget, 501, no_aggregate).await;
    let forgotten = world.process(Forget, json!({ "hashes": [hash(&note)] })).await;
    let of_forget = errors([json!({ "message": hash(&forgotten) })]);
    world.refuses(Forget, json!({ "hashes": [hash(&forgotten)] }), 502, of_forget).await;
    let line = format!("File {store} used on vm {}", hash(&running));
    world.refuses(Forget, json!({ "hashes": [store] }), 503, text(line)).await;
    let element = world.process(Aggregate, json!({ "key": "k", "content": {} })).await;
    let stranger = Author::new(2).forget(world.time + 1.0, &[&element]);
    let line =
        format!("Sender {other} is not authorized to forget message {} owned by {owner}", hash(&element));
    world.refused(&stranger, 2, text(line)).await;

    world.seen.sort_unstable();
    world.seen.dedup();
    println!("codes: {:?} ran", world.seen);
    assert_eq!(world.seen, [1, 2, 3, 4, 101, 102, 200, 201, 300, 301, 302, 304, 500, 501, 502, 503]);
    world.node.stop().await;
}

/// Code 0 of contents and of posts that the node acts upon.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_forms_name_the_place() {
    let author = Author::new(1);
    let publisher = author.address.clone();
    let node = TestNode::start_with(move |config| {
        config.network.balance_publishers = vec![publisher.clone()];
        config.network.credit_publishers = vec![publisher];
    })
    .await;
    let refusal = async |message: &Value| {
        assert_eq!(node.publish(message, true).await.status().as_u16(), 422, "{message}");
        let single = node.ok(&format!("/api/v0/messages/{}", hash(message))).await;
        assert_eq!((&single["status"], &single["error_code"]), (&json!("rejected"), &json!(0)));
        single["details"]["errors"].clone()
    };

    // Content that is fetched: this node reads it after the message was taken.
    let content = json!({ "type": "note", "content": 1, "extra": 1 }).to_string();
    let stored = node.node.blobs.put_bytes(content.into_bytes()).await.unwrap();
    let note = author.note(TIME, "c", json!(1));
    let by_hash = author.sign_by_hash(Post, TIME, stored.hash.as_str(), &note);
    let found = refusal(&by_hash).await;
    assert_eq!(found[0]["type"], "extra_forbidden");
    assert_eq!(found[0]["loc"], "('extra',)");
    let broken = node.node.blobs.put_bytes(b"{".to_vec()).await.unwrap();
    let found = refusal(&author.sign_by_hash(Post, TIME, broken.hash.as_str(), &note)).await;
    assert!(found[0].as_str().unwrap().starts_with("Could not load JSON"), "{found}");
    let nul = node.node.blobs.put_bytes(br#"{"type":"\u0000"}"#.to_vec()).await.unwrap();
    let found = refusal(&author.sign_by_hash(Post, TIME, nul.hash.as_str(), &note)).await;
    let hash = nul.hash.as_str();
    let line = format!("Invalid message content for {hash}: Unsupported character in message: \\u0000");
    assert_eq!(found[0], line);

    // Posts that the node acts upon.
    let post = |kind: &str, body: Value| {
        author.sign(Post, TIME, "ALEPH_CREDIT", json!({ "type": kind, "content": body }))
    };
    let found = refusal(&post("balances-update", json!({ "balances": {} }))).await;
    assert_eq!(found, json!(["Missing field(s) chain and/or main_height for balance post"]));
    let transfer = json!({ "transfer": { "credits": [{ "address": author.address, "amount": 1 }] } });
    let found = refusal(&post("aleph_credit_transfer", transfer)).await;
    let line = format!("Self-transfer not allowed: sender and recipient are both {}", author.address);
    assert_eq!(found, json!([line]));
    let found = refusal(&post("aleph_credit_expense", json!({ "expense": {} }))).await;
    assert!(found[0].as_str().unwrap().starts_with("Invalid credit expense content: ["), "{found}");
    // On another channel these are posts like others.
    let note = author.sign(Post, TIME, "c", json!({ "type": "aleph_credit_expense", "content": 1 }));
    node.process(&[&note]).await;
    node.stop().await;
}

/// Code 305, and the waiting of 301, of machines with a measured stack.
#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_of_a_measured_stack_is_read() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let mut time = TIME;
    let mut sign = |kind: MessageType, content: Value| {
        time += 1.0;
        author.sign(kind, time, "c", content)
    };
    let put = async |bytes: &[u8]| {
        node.node.blobs.put_bytes(bytes.to_vec()).await.unwrap().hash.as_str().to_owned()
    };
    let store = |file: &str| json!({ "item_type": "storage", "item_hash": file });
    let image = sign(Store, store(&put(b"image").await));
    node.process(&[&image]).await;
    let machine = |runtime: &str| {
        json!({
            "allow_amend": false, "environment": {}, "resources": {}, "payment": { "type": "credit" },
            "runtime": { "ref": runtime },
            "workload": { "ref": hash(&image), "hash_tree": hash(&image), "roothash": "b".repeat(64) },
            "verification": { "backend": "sev_snp", "measurements": [
                { "platform": "sev_snp", "registers": { "launch": "a".repeat(96) } } ] },
        })
    };

    // No manifest: refused at once.
    let refused = sign(VProgram, machine(hash(&image)));
    assert_eq!(node.publish(&refused, true).await.status().as_u16(), 422);
    let single = node.ok(&format!("/api/v0/messages/{}", hash(&refused))).await;
    assert_eq!(single["error_code"], 305);
    let line = single["details"]["errors"][0].as_str().unwrap();
    let start = format!("runtime manifest {} can't be used: no JSON", hash(&image));
    assert!(line.starts_with(&start), "{line}");

    // Too large is no manifest either.
    let large = sign(Store, store(&put(&vec![b' '; (1 << 20) + 1]).await));
    node.process(&[&large]).await;
    let refused = sign(VProgram, machine(hash(&large)));
    assert_eq!(node.publish(&refused, true).await.status().as_u16(), 422);
    let explained = node.ok(&format!("/api/v1/messages/{}/explain", hash(&refused))).await;
    assert_eq!(explained["refusal"]["code"], 305);
    assert!(explained["refusal"]["details"].to_string().contains("larger than 1048576 bytes"));

    // A manifest whose bundle is not stored yet: the message waits, and goes on when it is.
    let bundle = sign(Store, store(&put(b"bundle").await));
    let manifest = json!({ "format": "aleph-vprogram-runtime", "bundle": { "ref": hash(&bundle) } });
    let runtime = sign(Store, store(&put(manifest.to_string().as_bytes()).await));
    node.process(&[&runtime]).await;
    let accepted = sign(VProgram, machine(hash(&runtime)));
    let path = format!("/api/v1/messages/{}/explain", hash(&accepted));
    assert_eq!(node.publish(&accepted, false).await.status().as_u16(), 202);
    let awaited = format!("message:{}", hash(&bundle));
    let mut explained = Value::Null;
    for _ in 0..200 {
        explained = node.ok(&path).await;
        if explained["waits"][0]["on"] == awaited {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(explained["waits"][0]["on"], awaited);
    let otherwise = &explained["waits"][0]["otherwise"];
    assert_eq!(otherwise["code"], 301);
    assert_eq!(otherwise["details"], json!({ "errors": [hash(&bundle)] }));
    node.process(&[&bundle]).await;
    assert_eq!(node.publish(&accepted, true).await.status().as_u16(), 200);
    let explained = node.ok(&path).await;
    assert_eq!(explained["status"], "processed");
    assert_eq!(explained["bundle"], bundle["item_hash"]);

    // The bundle can't be forgotten while the machine is there.
    let forget = sign(Forget, json!({ "hashes": [hash(&bundle)] }));
    assert_eq!(node.publish(&forget, true).await.status().as_u16(), 422);
    let single = node.ok(&format!("/api/v0/messages/{}", hash(&forget))).await;
    assert_eq!(single["error_code"], 503);
    node.process(&[&sign(Forget, json!({ "hashes": [hash(&accepted)] }))]).await;
    node.process(&[&sign(Forget, json!({ "hashes": [hash(&bundle)] }))]).await;
    node.stop().await;
}

//! Blocks between a node of ours and Helia, IPFS in JavaScript (`interop/helia`).

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aleph_cid::{Layout, cid_of};
use aleph_sdk::{Account, MessageBuilder};
use aleph_types::{Chain, ItemHash, MessageType, Timestamp};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::core_node::CoreNode;
use crate::interop::{address_of, node};

/// Far longer than anything here takes: a hundred MiB, on two cores that others use as well.
const PATIENCE: Duration = Duration::from_secs(90);

const LARGE: usize = 100 << 20;

/// A running node of Helia. It ends with the test.
struct Helia {
    _child: Child,
    orders: ChildStdin,
    events: Lines<BufReader<ChildStdout>>,
    /// With its identity.
    address: String,
}

/// Node.js and the folder with the modules, made where that was not done.
async fn environment() -> (String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("python3")
        .arg(root.join("conformance/clients.py"))
        .arg(root.join("interop/helia"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("python3 runs");
    assert!(output.status.success(), "Helia can't be installed: see above");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines = text.lines();
    let mut line = || lines.next().expect("two lines").to_owned();
    (line(), line())
}

impl Helia {
    async fn start() -> Self {
        Self::begin(false).await
    }

    async fn begin(with_table: bool) -> Self {
        let (program, modules) = environment().await;
        let mut child = Command::new(program)
            .env("ALEPH_HELIA_DHT", u8::from(with_table).to_string())
            // so that modules are looked for where it runs
            .args(["--input-type=module", "--eval", include_str!("../../../../interop/helia/peer.mjs")])
            .current_dir(modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js can be run");
        let orders = child.stdin.take().expect("it is piped");
        let events = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut helia = Self { _child: child, orders, events, address: String::new() };
        let listening = helia.until("listening").await;
        helia.address = listening["address"].as_str().expect("an address").to_owned();
        helia
    }

    async fn until(&mut self, wanted: &str) -> Value {
        let found = async {
            loop {
                let line = self.events.next_line().await.expect("it is text").expect("Helia runs");
                let event: Value = serde_json::from_str(&line).expect("it is JSON");
                assert_ne!(event["event"], "failed", "{event:#}");
                if event["event"] == wanted {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{wanted}: not in time"))
    }

    async fn order(&mut self, order: Value, answer: &str) -> Value {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("it takes orders");
        self.until(answer).await
    }

    /// Connects, and knows then which protocols the node speaks.
    async fn meet(&mut self, address: &str) {
        self.orders
            .write_all(format!("{}\n", json!({ "do": "dial", "address": address })).as_bytes())
            .await
            .expect("it takes orders");
        let identified = self.until("identified").await;
        let protocols = identified["protocols"].as_array().expect("a list");
        assert!(protocols.iter().any(|protocol| protocol == "/ipfs/bitswap/1.2.0"), "{identified}");
    }

    async fn add(&mut self, path: &Path) -> String {
        let added = self.order(json!({ "do": "add", "path": path }), "added").await;
        added["cid"].as_str().expect("a CID").to_owned()
    }

    async fn sha256_of(&mut self, cid: &str) -> String {
        let got = self.order(json!({ "do": "get", "cid": cid }), "got").await;
        println!("Helia had {} bytes of {cid} in {} ms", got["size"], got["ms"]);
        got["sha256"].as_str().expect("a hash").to_owned()
    }
}

/// A member of a private distributed table.
impl Helia {
    /// Starts one that knows one node, which is in its table then.
    async fn with_table(address: &str) -> Self {
        let mut helia = Self::begin(true).await;
        helia.meet(address).await;
        let started = Instant::now();
        while helia.order(json!({ "do": "table" }), "table").await["peers"] == 0 {
            assert!(started.elapsed() < PATIENCE, "the node is not taken into its table");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        helia
    }

    fn peer(&self) -> &str {
        self.address.rsplit('/').next().expect("an identity")
    }

    /// Waits until the table says that this peer has it.
    async fn until_provided_by(&mut self, cid: &str, peer: &str) {
        let started = Instant::now();
        loop {
            let found = self.order(json!({ "do": "find", "cid": cid }), "found").await;
            let providers = found["providers"].as_array().expect("a list");
            if providers.iter().any(|provider| provider["peer"] == peer) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{peer} is not found: {found:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Bytes without a pattern, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    ItemHash::sha256(bytes).to_string()
}

/// A signed STORE of what has this CID.
fn store(time: f64, cid: &str) -> Value {
    let account = Account::from_secret(Chain::Eth, &[9; 32]).expect("a key");
    let body = Map::from_iter([("item_type".into(), "ipfs".into()), ("item_hash".into(), cid.into())]);
    let message = MessageBuilder::custom(MessageType::Store, body)
        .channel("INTEROP")
        .at(Timestamp::from_secs_f64(time).expect("a time"))
        .build(&account)
        .and_then(|unsigned| unsigned.sign(&account))
        .expect("a message");
    serde_json::to_value(message.to_wire()).expect("JSON")
}

/// Publishes the STORE and waits until its file is here.
async fn fetch(node: &CoreNode, time: f64, cid: &str) {
    let message = store(time, cid);
    let body = json!({ "message": message, "sync": false });
    let client = reqwest::Client::new();
    let answer = client.post(node.url("/api/v0/messages")).json(&body).send().await.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
    let path = format!("/api/v0/messages/{}/status", message["item_hash"].as_str().expect("a hash"));
    let started = Instant::now();
    loop {
        let (status, text) = node.ask_for(&path).await;
        if status.is_success() && text.contains("processed") {
            println!("our node had {cid} in {} ms", started.elapsed().as_millis());
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{status}: {text}; the node's log:\n{}", node.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn raw(node: &CoreNode, path: &str) -> Vec<u8> {
    let answer = reqwest::get(node.url(&format!("/api/v0/storage/raw/{path}"))).await.expect("an answer");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.bytes().await.expect("a body").into()
}

/// Files of a directory, as names and contents: nested, empty, larger than a block, not only ASCII.
fn site() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("index.html", b"<h1>hello</h1>".to_vec()),
        ("empty", Vec::new()),
        ("docs/a/page.txt", noise(3, 5_000)),
        ("docs/pi\u{f1}ata.bin", noise(4, 3 << 20)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_directories_go_both_ways() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (noise(1, LARGE), noise(2, LARGE));
    let path = folder.path().join("theirs.bin");
    std::fs::write(&path, &theirs).expect("it is written");
    for (name, content) in site() {
        let path = folder.path().join("site").join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("it is written");
    }
    let mut first = Helia::start().await;
    let their_file = first.add(&path).await;
    let their_site = first.add(&folder.path().join("site")).await;

    // Ours to them: a file that is kept as plain bytes.
    let mut node = node(folder.path(), &[]).with("IPFS__PEERS", &json!([first.address]).to_string());
    node.start().await;
    let our_file = cid_of(Layout::KUBO_V0, &ours).to_string();
    let metadata = json!({ "message": store(1_700_000_000.0, &our_file), "sync": true }).to_string();
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(ours.clone()))
        .text("metadata", metadata);
    let answer = reqwest::Client::new().post(node.url("/api/v0/ipfs/add_file")).multipart(form).send().await;
    let answer = answer.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());

    // Theirs to ours: it is a peer of the configuration, and so dialled.
    fetch(&node, 1_700_000_001.0, &their_file).await;
    assert!(raw(&node, &their_file).await == theirs);
    fetch(&node, 1_700_000_002.0, &their_site).await;
    for (name, content) in site() {
        assert!(raw(&node, &format!("{their_site}/{name}")).await == content, "{name}");
    }
    drop(first);

    // Ours to another of them, which has nothing yet.
    let mut second = Helia::start().await;
    second.meet(&address_of(&node).await).await;
    assert_eq!(second.sha256_of(&our_file).await, sha256(&ours));
    assert_eq!(second.sha256_of(&their_file).await, sha256(&theirs), "kept as an archive");
    let tree = second.order(json!({ "do": "tree", "cid": their_site }), "tree").await;
    let mut found: Vec<(String, String)> =
        tree["files"].as_array().expect("a list").iter().map(read).collect();
    let mut wanted: Vec<(String, String)> =
        site().into_iter().map(|(name, content)| (name.to_owned(), sha256(&content))).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);

    // What went both ways is counted.
    let (_, metrics) = node.ask_for("/metrics").await;
    for (name, least) in
        [("sent_bytes", 2 * LARGE), ("received_bytes", LARGE), ("sent", 400), ("received", 100)]
    {
        let name = format!("aleph_blocks_{name}_total ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("it is told");
        assert!(count.parse::<usize>().expect("a number") >= least, "{name}{count}");
    }
    node.stop().await;
}

/// Nodes of ours and `@libp2p/kad-dht` in one private table: each finds what the other one provides, from a
/// node that it was never told of.
#[tokio::test(flavor = "multi_thread")]
async fn provider_records_go_both_ways() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let table = |node: CoreNode, peers: &[&str]| {
        node.with("IPFS__DHT", "private").with("IPFS__DHT_PEERS", &json!(peers).to_string())
    };
    let mut between = table(node(folders[0].path(), &[]), &[]);
    between.start().await;
    let known = address_of(&between).await;
    // Neither gossip nor HTTP connects it with the other one.
    let mut node = table(node(folders[1].path(), &[]), &[&known]);
    node.start().await;

    // Ours provides; theirs finds it, connects and fetches.
    let ours = noise(5, 3 << 20);
    let our_file = cid_of(Layout::KUBO_V0, &ours).to_string();
    let metadata = json!({ "message": store(1_700_000_010.0, &our_file), "sync": true }).to_string();
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(ours.clone()))
        .text("metadata", metadata);
    let answer = reqwest::Client::new().post(node.url("/api/v0/ipfs/add_file")).multipart(form).send().await;
    assert!(answer.expect("an answer").status().is_success());
    // What came is told once a minute, what is there at the start.
    node.stop().await;
    node.start().await;
    let mut helia = Helia::with_table(&known).await;
    let id = address_of(&node).await.rsplit('/').next().expect("an identity").to_owned();
    helia.until_provided_by(&our_file, &id).await;
    assert_eq!(helia.sha256_of(&our_file).await, sha256(&ours));
    drop(helia);

    // Theirs provides; our table keeps it for another of theirs, and ours finds it, connects and fetches.
    let theirs = noise(6, 3 << 20);
    let path = folders[0].path().join("theirs.bin");
    std::fs::write(&path, &theirs).expect("it is written");
    let mut helia = Helia::with_table(&known).await;
    let their_file = helia.add(&path).await;
    helia.order(json!({ "do": "provide", "cid": their_file }), "provided").await;
    let mut other = Helia::with_table(&known).await;
    other.until_provided_by(&their_file, helia.peer()).await;
    drop(other);
    fetch(&node, 1_700_000_011.0, &their_file).await;
    assert!(raw(&node, &their_file).await == theirs);
    between.stop().await;
    node.stop().await;
}

fn read(file: &Value) -> (String, String) {
    let text = |key: &str| file[key].as_str().expect("text").to_owned();
    (text("path"), text("sha256"))
}

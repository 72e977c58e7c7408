//! The commands against a real network of three core nodes, as `alephd devnet` runs it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Ran, aleph};

/// The network starts within this time, or something is wrong.
const READY: Duration = Duration::from_secs(120);

/// A running network; ends with the test.
struct Devnet {
    child: Child,
    home: tempfile::TempDir,
    state: PathBuf,
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // It ends its nodes and removes its folder; what does not end in time is killed.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary: named by `ALEPHD`, or beside the one under test.
fn alephd() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_aleph")).with_file_name("alephd");
    let named = std::env::var_os("ALEPHD").map(PathBuf::from);
    named.or(Some(beside)).filter(|path| path.exists())
}

impl Devnet {
    fn start() -> Option<Self> {
        let Some(binary) = alephd() else {
            eprintln!(
                "skipped: no alephd binary; build it with `cargo build -p alephd`, or name it with ALEPHD"
            );
            return None;
        };
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(binary)
            .args(["devnet", "--ephemeral", "--base-port", "0", "--no-vm", "--json"])
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, line) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = BufReader::new(stdout).read_line(&mut text);
            let _ = sender.send(text);
        });
        let mut network = Self { child, home, state: PathBuf::new() };
        let text = line.recv_timeout(READY).expect("the devnet answers in time");
        let description: Value = serde_json::from_str(&text).expect("the devnet describes itself");
        network.state = PathBuf::from(description["state"].as_str().expect("a state folder"));
        Some(network)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = aleph(self.home.path());
        command.env("ALEPH_DEVNET", &self.state).env("ALEPH_ACCOUNT", "alice").args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).expect(0).json()
    }
}

#[test]
fn the_commands_work_against_a_network() {
    let Some(network) = Devnet::start() else { return };
    nodes(&network);
    posts(&network);
    aggregates(&network);
    files(&network);
    watching(&network);
    watching_over_a_crash(&network);
    forgetting(&network);
    programs(&network);
    prices(&network);
    refusals(&network);
}

fn nodes(network: &Devnet) {
    let status = network.json(&["node", "status"]);
    assert_eq!(status["core"].as_array().unwrap().len(), 3);
    assert!(status["core"].as_array().unwrap().iter().all(|node| node["up"] == true), "{status}");
    let shown = network.json(&["account", "show", "alice"]);
    assert!(shown["address"].as_str().unwrap().starts_with("0x"));
}

fn hash(value: &Value) -> String {
    value["item_hash"].as_str().expect("an item hash").to_owned()
}

fn posts(network: &Devnet) {
    let made = network.json(&[
        "post",
        "create",
        "--type",
        "note",
        "--channel",
        "tour",
        "--content",
        r#"{"body": "héllo", "tags": ["a"]}"#,
    ]);
    assert_eq!(made["status"], "processed");
    let original = hash(&made);
    network.json(&["post", "amend", &original, "--content", r#"{"body": "better"}"#]);
    let listed = network.json(&["post", "list", "--type", "note", "--channel", "tour"]);
    assert_eq!(listed[0]["original_item_hash"], original.as_str());
    assert_eq!(listed[0]["content"]["body"], "better");
    let shown = network.json(&["message", "get", &original]);
    assert_eq!(shown["status"], "processed");
    assert_eq!(shown["message"]["content"]["content"]["body"], "héllo");
    let found =
        network.json(&["message", "list", "--type", "post", "--post-type", "note", "--address", "alice"]);
    assert_eq!(found[0]["item_hash"], original.as_str());
    let text = network.run(&["message", "get", &original]).expect(0);
    assert!(text.stdout.contains("status") && text.stdout.contains("processed"), "{}", text.stdout);

    // Too large to be inline: stored first, and the same for readers.
    let large = format!(r#"{{"body": "{}"}}"#, "x".repeat(60_000));
    let path = network.home.path().join("large.json");
    std::fs::write(&path, &large).unwrap();
    let made = network.json(&["post", "create", "--type", "large", "--file", path.to_str().unwrap()]);
    let shown = network.json(&["message", "get", &hash(&made)]);
    assert_eq!(shown["message"]["item_type"], "storage");
    assert_eq!(shown["message"]["content"]["content"]["body"].as_str().unwrap().len(), 60_000);
}

fn aggregates(network: &Devnet) {
    network.run(&["aggregate", "get", "profile"]).expect(4);
    network.json(&["aggregate", "set", "profile", "--content", r#"{"name": "Ada", "age": 36}"#]);
    network.json(&["aggregate", "set", "profile", "--content", r#"{"age": null}"#]);
    let document = network.json(&["aggregate", "get", "profile"]);
    assert_eq!(document, serde_json::json!({"name": "Ada", "age": null}));
    assert!(network.json(&["aggregate", "list"]).get("profile").is_some());
}

fn files(network: &Devnet) {
    let path = network.home.path().join("photo.bin");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let stored = network.json(&["file", "upload", path.to_str().unwrap(), "--ref", "photo"]);
    assert_eq!(stored["size"], bytes.len());
    let message = hash(&stored);
    let file = stored["file_hash"].as_str().unwrap();

    let back = network.home.path().join("back.bin");
    for which in [file, message.as_str()] {
        let done = network.json(&["file", "download", which, "-o", back.to_str().unwrap(), "--force"]);
        assert_eq!(done["verified"], true);
        assert_eq!(std::fs::read(&back).unwrap(), bytes);
    }
    // Nothing is overwritten unasked.
    network.run(&["file", "download", file, "-o", back.to_str().unwrap()]).expect(2);
    let listed = network.json(&["file", "list"]);
    assert!(listed.as_array().unwrap().iter().any(|entry| entry["file_hash"] == file), "{listed}");
    network.run(&["file", "download", &"0".repeat(64)]).expect(4);
}

fn watching(network: &Devnet) {
    let mut child = network
        .command(&["message", "watch", "--post-type", "alarm", "--count", "2", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let _ = sender.send(line.unwrap());
        }
    });
    // The socket may not stand yet when the first ones are published.
    let mut seen = Vec::new();
    for number in 0..200 {
        let content = number.to_string();
        network.json(&["post", "create", "--type", "alarm", "--content", &content]);
        seen.extend(lines.try_iter());
        if seen.len() == 2 {
            break;
        }
    }
    seen.extend(lines.recv_timeout(Duration::from_secs(10)));
    let _ = child.kill();
    let _ = child.wait();
    assert_eq!(seen.len(), 2, "{seen:?}");
    let first: Value = serde_json::from_str(&seen[0]).unwrap();
    assert_eq!(first["content"]["type"], "alarm");
}

/// What is published while the watched node is dead is shown once it is back, each message once.
fn watching_over_a_crash(network: &Devnet) {
    let description = || -> Value {
        let text = std::fs::read_to_string(network.state.join("devnet.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let before = description();
    let url = |at: usize| before["core_nodes"][at]["url"].as_str().unwrap().to_owned();
    let (watched, other) = (url(0), url(1));
    let mut child = network
        .command(&["message", "watch", "--channel", "crash", "--history", "5", "--json", "--node", &watched])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let _ = sender.send(line.unwrap());
        }
    });
    let publish = |content: &str, node: &str| {
        hash(&network.json(&[
            "post",
            "create",
            "--type",
            "t",
            "--channel",
            "crash",
            "--content",
            content,
            "--node",
            node,
        ]))
    };
    let next = || -> String {
        let line = lines.recv_timeout(Duration::from_secs(60)).expect("a message in time");
        hash(&serde_json::from_str(&line).unwrap())
    };
    let first = publish("1", &watched);
    assert_eq!(next(), first);

    let pid = before["core_nodes"][0]["pid"].as_i64().expect("the node runs") as i32;
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let meanwhile = publish("2", &other);
    assert_eq!(next(), meanwhile);
    let after = publish("3", &watched);
    assert_eq!(next(), after);
    assert!(lines.try_recv().is_err(), "nothing comes twice");
    let _ = child.kill();
    let _ = child.wait();
}

fn forgetting(network: &Devnet) {
    let made = hash(&network.json(&["post", "create", "--type", "gone", "--content", "1"]));
    network.run(&["message", "forget", &made]).expect(2);
    network.json(&["message", "forget", &made, "--reason", "a test", "--yes"]);
    assert_eq!(network.json(&["message", "get", &made])["status"], "forgotten");
    let text = network.run(&["message", "get", &made]).expect(0);
    assert!(text.stdout.contains("forgotten by"), "{}", text.stdout);
}

/// Without machines a program gets as far as to the core nodes.
fn programs(network: &Devnet) {
    let image = network.home.path().join("runtime.img");
    std::fs::write(&image, "no runtime, but stored").unwrap();
    let runtime = hash(&network.json(&["file", "upload", image.to_str().unwrap()]));
    let code = network.home.path().join("app");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("main.py"), "app = None").unwrap();

    let ran = network
        .run(&[
            "program",
            "deploy",
            code.to_str().unwrap(),
            "--runtime",
            &runtime,
            "--name",
            "tour",
            "--no-wait",
            "--json",
        ])
        .expect(0);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done =
        |stage: &str| lines.iter().filter(|line| line["stage"] == stage && line["state"] == "done").count();
    for stage in ["pack", "upload", "sign", "accept", "store"] {
        assert_eq!(done(stage), 1, "{stage}: {}", ran.stdout);
    }
    assert_eq!(done("spread"), 2, "{}", ran.stdout);
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "deployed");
    let program = hash(last);

    let listed = network.json(&["program", "list"]);
    assert_eq!(listed[0]["item_hash"], program.as_str());
    let shown = network.json(&["program", "show", &program]);
    assert_eq!(shown["status"], "processed");
    assert!(network.run(&["program", "show", &program]).expect(0).stdout.contains("tour"));
    let gone = network.json(&["program", "delete", &program, "--yes"]);
    assert!(gone["code_forgotten_by"].is_string(), "{gone}");
    assert_eq!(network.json(&["message", "get", &program])["status"], "forgotten");

    // A runtime that nobody stored: the network's reason is told.
    let ran = network.run(&["program", "deploy", code.to_str().unwrap(), "--runtime", "nonsense"]).expect(2);
    assert!(ran.stderr.contains("no runtime is called 'nonsense'"), "{}", ran.stderr);
}

/// Every line of a price, and what it is for, as a stranger reads it.
fn prices(network: &Devnet) {
    let path = network.home.path().join("thirty.bin");
    std::fs::write(&path, vec![7; 30 << 20]).unwrap();
    let file = hash(&network.json(&["file", "upload", path.to_str().unwrap()]));
    let told = network.json(&["pricing", "explain", &file]);
    assert_eq!((&told["item_hash"], &told["payment_type"]), (&file.as_str().into(), &"credit".into()));
    assert_eq!(told["lines"][0]["type"], "STORAGE");
    assert_eq!(told["lines"][0]["credit"]["amount"], told["total"], "{told:#}");
    let text = network.run(&["pricing", "explain", &file]).expect(0).stdout;
    println!("{text}");
    let total = format!("{} credits/second", told["total"].as_str().unwrap());
    for words in [&*file, &total, "paid by", "payment", "each day  about 129.", "because", "30 MiB × "] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }

    // A program: what runs, each of its files, and the discount on them.
    let code = network.home.path().join("app");
    let deploy = ["program", "deploy", code.to_str().unwrap(), "--runtime", &file, "--no-wait", "--json"];
    let ran = network.run(&deploy).expect(0);
    let program = hash(&serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap());
    let told = network.json(&["pricing", "explain", &program]);
    let types: Vec<&str> =
        told["lines"].as_array().unwrap().iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(
        types.first().zip(types.last()),
        Some((&"EXECUTION", &"EXECUTION_VOLUME_DISCOUNT")),
        "{told:#}"
    );
    let text = network.run(&["pricing", "explain", &program]).expect(0).stdout;
    println!("{text}");
    for kind in &types {
        let name = told["lines"].as_array().unwrap().iter().find(|line| line["type"] == *kind).unwrap();
        assert!(text.contains(name["name"].as_str().unwrap()), "{kind} is not in\n{text}");
    }
    assert!(text.contains("compute unit"), "{text}");

    // What the account has.
    let shown = network.json(&["account", "show", "alice"]);
    assert!(shown["balance"]["credit_balance"].as_u64().is_some_and(|credits| credits > 0), "{shown:#}");
    let text = network.run(&["account", "show", "alice"]).expect(0).stdout;
    println!("{text}");
    for words in ["tokens   1000000\n", "locked   0\n", "credits  "] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    network.json(&["program", "delete", &program, "--yes"]);
    let gone = network.run(&["pricing", "explain", &program]).expect(1);
    assert!(gone.stderr.contains("has been forgotten"), "{}", gone.stderr);

    let nobody = network.run(&["pricing", "explain", &"0".repeat(64)]).expect(4);
    assert!(
        nobody.stderr.contains("hint: ") && nobody.stderr.contains("aleph message get"),
        "{}",
        nobody.stderr
    );
    let error: Value = serde_json::from_str(
        &network.run(&["pricing", "explain", &"0".repeat(64), "--json"]).expect(4).stderr,
    )
    .unwrap();
    assert_eq!(error["error"]["kind"], "not_found", "{error}");
    let post = hash(&network.json(&["post", "create", "--type", "t", "--content", "7"]));
    let refused = network.run(&["pricing", "explain", &post]).expect(1);
    assert!(refused.stderr.contains("not an executable or store message"), "{}", refused.stderr);
    network.run(&["pricing", "explain", "nonsense"]).expect(2);
    let help = network.run(&["pricing", "explain", "--help"]).expect(0).stdout;
    assert!(help.contains("Examples:\n  aleph pricing explain HASH"), "{help}");
}

fn refusals(network: &Devnet) {
    // Bob may not speak for Alice.
    let alice = network.json(&["account", "show", "alice"])["address"].as_str().unwrap().to_owned();
    let refused = network
        .run(&[
            "post",
            "create",
            "--type",
            "t",
            "--content",
            "1",
            "--account",
            "bob",
            "--on-behalf-of",
            &alice,
        ])
        .expect(1);
    assert!(refused.stderr.contains("was rejected with code 2"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: sign with the owner's account"), "{}", refused.stderr);
    let refused = network
        .run(&[
            "post",
            "create",
            "--type",
            "t",
            "--content",
            "2",
            "--account",
            "bob",
            "--on-behalf-of",
            &alice,
            "--json",
        ])
        .expect(1);
    let error: Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(error["error"]["code"], 2);
    network.run(&["message", "get", &"0".repeat(64)]).expect(4);
}

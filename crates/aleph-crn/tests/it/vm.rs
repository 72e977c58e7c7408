//! Real VMs: QEMU with emulated processors, the images of `runtimes/build`.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aleph_types::ItemHash;
use aleph_vm::RuntimeManifest;
use serde_json::{Value, json};

use crate::core_node::CoreNode;
use crate::node::{Node, client, config, status_and_json};
use crate::owner::Owner;

/// An application with a path for every kind of trouble.
const APPLICATION: &str = r#"
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    path = scope["path"]
    print("asked for", path, flush=True)
    if path == "/crash":
        print("about to end", flush=True)
        os._exit(7)
    if path == "/hang":
        await asyncio.sleep(3600)
    if path == "/api":
        host, port = os.environ["ALEPH_API_URL"].split("//")[1].rstrip("/").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /api/v0/info/public.json HTTP/1.0\r\nHost: core\r\n\r\n")
        text = await reader.read()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.split(b"\r\n\r\n", 1)[1]})
        return
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    answer = "%s %s?%s %d %s %s" % (
        scope["method"], path, scope["query_string"].decode(), len(body),
        headers.get("x-forwarded-for", "-"), os.environ.get("GREETING", "-"))
    await send({"type": "http.response.start", "status": 404 if path == "/none" else 200,
                "headers": [(b"content-type", b"text/plain"), (b"x-made-by", b"the program")]})
    await send({"type": "http.response.body", "body": answer.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b"."})
"#;

/// The images, or `None` (with a word) where they can't be had.
fn runtimes() -> Option<RuntimeManifest> {
    let qemu = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("qemu-system-x86_64").is_file()));
    if !qemu {
        eprintln!("skipped: no qemu-system-x86_64 here");
        return None;
    }
    match RuntimeManifest::load(&RuntimeManifest::default_path()) {
        Ok(manifest) => Some(manifest),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// A core node with the Python runtime.
async fn core_with_runtime(manifest: &RuntimeManifest) -> (CoreNode, ItemHash) {
    let core = CoreNode::start().await;
    let runtime = core.store(std::fs::read(&manifest.runtimes["python3"].path).unwrap());
    (core, runtime)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_answers_crashes_hangs_and_is_stopped() {
    let Some(manifest) = runtimes() else { return };
    let (core, runtime) = core_with_runtime(&manifest).await;
    let code = core.store(APPLICATION);
    let program = core.program(&code, &runtime, json!({"variables": {"GREETING": "hello"}}));
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &[&core.url])).await;

    // The first requests start one VM, together.
    let path = format!("/vm/{program}/some/where%20else?a=1&b=%20");
    let (first, second) = tokio::join!(node.get(&path), node.request("PUT", &path).body("12345").send());
    let second = second.unwrap();
    assert_eq!(first.status(), 200, "{}", first.text().await.unwrap());
    assert_eq!(first.headers()["x-made-by"], "the program");
    assert_eq!(first.headers()["aleph-program-itemhash"], program.as_str());
    assert_eq!(first.headers()["aleph-program-code-ref"], code.as_str());
    assert_eq!(first.headers()["server"], "aleph-vm/1.14.0");
    assert_eq!(first.text().await.unwrap(), "GET /some/where else?a=1&b=%20 0 127.0.0.1 hello.");
    assert_eq!(second.text().await.unwrap(), "PUT /some/where else?a=1&b=%20 5 127.0.0.1 hello.");
    let (_, report) = node.json(&format!("/api/v1/executions/{program}")).await;
    assert_eq!(report["starts"], 1, "{report}");
    let names: Vec<&str> =
        report["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
    for name in ["message_resolved", "images_fetched", "vm_started", "guest_ready", "first_answer"] {
        assert!(names.contains(&name), "{names:?}");
    }

    // By host name, and straight at the supervisor.
    let host = report["host"].as_str().unwrap();
    let by_host = node.request("GET", "/x").header("host", host).send().await.unwrap();
    assert!(by_host.text().await.unwrap().starts_with("GET /x? 0"), "by host");
    let direct = report["vm"]["direct_url"].as_str().unwrap();
    let answer = client().get(format!("{direct}direct")).send().await.unwrap().text().await.unwrap();
    assert!(answer.starts_with("GET /direct? 0"), "{answer}");

    // The program reaches its core node.
    let (status, public) = node.json(&format!("/vm/{program}/api")).await;
    assert_eq!((status, public), (200, json!({"node_multi_addresses": []})));

    // A program's own 404 stays its own.
    let none = node.get(&format!("/vm/{program}/none")).await;
    assert_eq!(none.status(), 404);
    assert!(none.text().await.unwrap().starts_with("GET /none"));

    let (_, list) = node.json("/about/executions/list").await;
    assert!(
        list[program.as_str()]["networking"]["ipv4"].as_str().unwrap().starts_with("172.16.4.0/24"),
        "{list}"
    );
    let (_, list) = node.json("/v2/about/executions/list").await;
    assert_eq!(list[program.as_str()]["running"], true, "{list}");
    assert!(list[program.as_str()]["networking"]["mapped_ports"]["8080"]["host"].is_u64(), "{list}");

    // Three seconds of the message are at least ten under emulation.
    let (status, body) = node.json(&format!("/vm/{program}/hang")).await;
    assert_eq!((status, &body["code"]), (504, &json!("timeout")), "{body}");
    // The owner, and nobody else, reads the log: all at once, and as it grows.
    let owner = Owner::new(&core.key);
    let logs = format!("/control/machine/{program}/logs");
    let began = Instant::now();
    loop {
        let response = owner.sign(node.request("GET", &logs), "GET", &logs).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let lines: Vec<Value> = response.json().await.unwrap();
        let asked = lines.iter().find(|line| line["MESSAGE"] == "asked for /some/where else");
        if let Some(line) = asked {
            assert_eq!(line["SYSLOG_IDENTIFIER"], format!("vm-{program}-stdout"));
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{lines:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stranger = Owner::new(&aleph_crypto::EvmKey::from_bytes([8; 32]).unwrap());
    let refused = stranger.sign(node.request("GET", &logs), "GET", &logs).send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), refused.text().await.unwrap().as_str()),
        (403, "Unauthorized sender")
    );
    let frames = owner.follow(&node.url, program.as_str(), 2).await;
    assert_eq!(frames[0], json!({"status": "connected"}));
    assert!(frames[1]["message"].is_string(), "{frames:?}");
    let frames = stranger.follow(&node.url, program.as_str(), 1).await;
    assert_eq!(frames[0], json!({"status": "failed", "reason": "unauthorized sender"}));

    // A crash is told with its cause, and the next request finds a working program.
    let (status, body) = node.json(&format!("/vm/{program}/crash")).await;
    assert_eq!((status, &body["code"]), (502, &json!("crashed")), "{body}");
    let after = node.get(&format!("/vm/{program}/after")).await;
    assert_eq!(after.status(), 200, "{}", after.text().await.unwrap());

    // The owner stops it; its log stays, and the next request starts it again.
    let stop = format!("/control/machine/{program}/stop");
    let stopped = owner.sign(node.request("POST", &stop), "POST", &stop).send().await.unwrap();
    assert_eq!(stopped.text().await.unwrap(), format!("Stopped VM with ref {program}"));
    let (_, list) = node.json("/about/executions/list").await;
    assert_eq!(list, json!({}));
    let stopped = owner.sign(node.request("POST", &stop), "POST", &stop).send().await.unwrap();
    assert_eq!(stopped.text().await.unwrap(), "Already stopped, nothing to do");
    let response = owner.sign(node.request("GET", &logs), "GET", &logs).send().await.unwrap();
    assert_eq!(response.status(), 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_can_not_start_say_why() {
    let Some(manifest) = runtimes() else { return };
    let (core, runtime) = core_with_runtime(&manifest).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &[&core.url]);
    config.vm.templates = false;
    config.limits.init_timeout_seconds = 40;
    let node = Node::start(config).await;

    let broken = core.program(&core.store("raise RuntimeError('on import')"), &runtime, json!({}));
    let (status, body) = node.json(&format!("/vm/{broken}/")).await;
    assert_eq!((status, &body["code"]), (500, &json!("program_init")), "{body}");
    assert!(body["error"].as_str().unwrap().contains("on import"), "{body}");
    let (_, list) = node.json("/v2/about/executions/list").await;
    assert_eq!(list[broken.as_str()]["running"], false, "{list}");

    let silent = core.store("#!/bin/sh\nexec sleep 600\n");
    let never = core.program(
        &silent,
        &runtime,
        json!({
            "code": {"encoding": "plain", "entrypoint": "run", "interface": "binary", "ref": silent},
        }),
    );
    let (status, body) = node.json(&format!("/vm/{never}/")).await;
    assert_eq!((status, &body["code"]), (503, &json!("never_listened")), "{body}");
    node.stop().await;
}

/// A node in a process of its own, so that it can be killed.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(folder: &Path, mut config: aleph_crn::Config) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        config.listen = port;
        let file = folder.join("crn.toml");
        std::fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_aleph-crn-node"))
            .arg("--config")
            .arg(file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, url: format!("http://{port}") }
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let began = Instant::now();
        loop {
            match client().get(format!("{}{path}", self.url)).send().await {
                Ok(response) => return status_and_json(response).await,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "node never came: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// An orderly stop; returns what it logged.
    fn terminate(&mut self) -> String {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
        log
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_finds_its_vms_again() {
    let Some(manifest) = runtimes() else { return };
    let (core, runtime) = core_with_runtime(&manifest).await;
    let program = core.program(&core.store(APPLICATION), &runtime, json!({}));
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &[&core.url]);
    config.stop_vms_on_exit = false;
    let path = format!("/api/v1/executions/{program}");

    // Killed while the VM boots: the next process finds it booting and waits for it.
    let mut node = Process::start(folder.path(), config.clone());
    node.json("/status/config").await;
    let request = client().get(format!("{}/vm/{program}/first", node.url)).send();
    let request = tokio::spawn(request);
    let began = Instant::now();
    loop {
        let (_, report) = node.json(&path).await;
        if report["stages"].to_string().contains("vm_started") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{report}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    node.kill();
    assert!(request.await.unwrap().is_err(), "the node died under the request");

    let mut node = Process::start(folder.path(), config.clone());
    let (status, answer) = node.json(&format!("/vm/{program}/before")).await;
    assert_eq!(status, 200, "{answer}");
    let began = Instant::now();
    let before = loop {
        let (_, report) = node.json(&path).await;
        if report["stages"].to_string().contains("guest_ready") {
            break report;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{report}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&before["starts"], &before["vm"]["adopted"]), (&json!(0), &json!(true)), "{before}");
    node.kill();

    // The VM answers while no node is there.
    let direct = format!("{}meanwhile", before["vm"]["direct_url"].as_str().unwrap());
    let answer = client().get(&direct).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    // And after: the same VM, nothing restarted.
    let mut node = Process::start(folder.path(), config.clone());
    let (status, answer) = node.json(&format!("/vm/{program}/after")).await;
    assert_eq!(status, 200, "{answer}");
    let (_, after) = node.json(&path).await;
    for key in ["direct_url", "supervisor_pid", "hypervisor_pid"] {
        assert_eq!(after["vm"][key], before["vm"][key], "{key}");
    }
    assert_eq!(after["vm"]["adopted"], true);
    assert_eq!(after["starts"], 0);

    // An orderly stop leaves it running too.
    node.terminate();
    assert_eq!(client().get(&direct).send().await.unwrap().status(), 200);

    // Devnets clean up.
    config.stop_vms_on_exit = true;
    let mut node = Process::start(folder.path(), config);
    node.json(&path).await;
    node.terminate();
    assert!(client().get(&direct).send().await.is_err(), "the vm is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_of_the_code_is_picked_up() {
    let Some(manifest) = runtimes() else { return };
    let (core, runtime) = core_with_runtime(&manifest).await;
    let code = core.store(APPLICATION);
    let program = core.program(
        &code,
        &runtime,
        json!({
            "code": {"encoding": "plain", "entrypoint": "main:app", "ref": code, "use_latest": true},
        }),
    );
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(config(folder.path(), &[&core.url])).await;
    let (status, answer) = status_and_json(node.get(&format!("/vm/{program}/")).await).await;
    assert_eq!(status, 200, "{answer}");
    while core.listeners() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let newer = core.store_version(&code, APPLICATION.replace("the program", "the second version"));
    node.until(program.as_str(), |report| report["state"] != "running").await;
    let response = node.get(&format!("/vm/{program}/")).await;
    assert_eq!(response.headers()["x-made-by"], "the second version");
    assert_eq!(response.headers()["aleph-program-code-ref"], newer.as_str());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_program_makes_room_for_another() {
    let Some(manifest) = runtimes() else { return };
    let (core, runtime) = core_with_runtime(&manifest).await;
    let code = core.store(APPLICATION);
    let first = core.program(&code, &runtime, json!({}));
    let second = core.program(&code, &runtime, json!({"metadata": {"name": "second"}}));
    let large = core.program(&code, &runtime, json!({"resources": {"memory": 300}}));
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &[&core.url]);
    config.limits.program_memory_mib = Some(200);
    config.vm.templates = false;
    let node = Node::start(config).await;
    assert_eq!(node.get(&format!("/vm/{first}/")).await.status(), 200);
    assert_eq!(node.get(&format!("/vm/{second}/")).await.status(), 200);
    let (_, list) = node.json("/about/executions/list").await;
    assert_eq!(list.as_object().unwrap().keys().collect::<Vec<_>>(), [second.as_str()]);
    let refused = node.get(&format!("/vm/{large}/")).await;
    assert!(refused.headers().contains_key("retry-after"));
    let (status, body) = status_and_json(refused).await;
    assert_eq!((status, &body["code"]), (503, &json!("no_capacity")), "{body}");
    assert!(body["error"].as_str().unwrap().contains("This CRN cannot host"), "{body}");
    node.stop().await;
}

//! What a guest can reach: the API that the plan names, and nothing else of the host.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::{get, host, stop};

const APP: &str = r#"
import os, socket, urllib.request, urllib.error
from urllib.parse import parse_qs

def through(url):
    try:
        with urllib.request.urlopen(url, timeout=15) as answer:
            return f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
    except Exception as error:
        return f"failed: {error!r}"

def direct(host, port):
    try:
        with socket.create_connection((host, port), timeout=3) as s:
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return "reached"
    except OSError as error:
        return f"failed: {error}"

def tunnel(host, port):
    with socket.create_connection(("127.0.0.1", 3128), timeout=15) as s:
        s.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
        return s.recv(4096).decode().split("\r\n")[0]

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http only")
    q = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
    what = scope["path"]
    if what == "/api":
        text = through(os.environ["ALEPH_API_URL"] + q["path"])
    elif what == "/url":
        text = through(q["url"])
    elif what == "/direct":
        text = direct(q["host"], int(q["port"]))
    elif what == "/tunnel":
        text = tunnel(q["host"], int(q["port"]))
    elif what == "/links":
        text = " ".join(sorted(os.listdir("/sys/class/net")))
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": text.encode()})
"#;

/// A server on the host's loopback that counts who comes.
fn listener() -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicU32::new(0));
    let counter = seen.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            counter.fetch_add(1, Ordering::SeqCst);
            let mut bytes = [0; 2048];
            let _ = socket.read(&mut bytes);
            let _ =
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret");
        }
    });
    (port, seen)
}

#[tokio::test]
async fn a_guest_reaches_its_api_and_nothing_else_of_the_host() {
    let Some(host) = host() else { return };
    let (api, api_seen) = listener();
    let (private, private_seen) = listener();
    let mut plan = host.asgi("jail", APP);
    plan.network.api = Some(aleph_vm::ApiUpstream { host: "127.0.0.1".into(), port: api });
    plan.network.internet = true;
    let vm = host.start(&plan).await;
    let ask = async |path: String| get(vm.http_addr(), &path).await.text();

    assert_eq!(ask("/api?path=/api/v0/info".into()).await, "200 secret");
    assert_eq!(api_seen.load(Ordering::SeqCst), 1);
    // no card but loopback
    assert_eq!(ask("/links".into()).await, "lo");
    for address in ["127.0.0.1", "10.0.2.2", "10.0.2.3", "169.254.169.254", "192.168.0.1"] {
        let text = ask(format!("/direct?host={address}&port={private}")).await;
        assert!(text.starts_with("failed"), "{address}: {text}");
    }
    // the proxy refuses all that isn't public, whatever it is called
    for name in
        ["127.0.0.1", "localhost", "10.0.2.2", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"]
    {
        let text = ask(format!("/tunnel?host={name}&port={private}")).await;
        assert!(text.contains("502"), "{name}: {text}");
    }
    let text = ask(format!("/url?url=http://10.0.0.1:{private}/")).await;
    assert!(text.starts_with("502") && text.contains("not a public address"), "{text}");
    assert_eq!(private_seen.load(Ordering::SeqCst), 0, "the guest reached the host's loopback");
    stop(&vm).await;
}

#[tokio::test]
async fn without_a_network_policy_there_is_no_way_out() {
    let Some(host) = host() else { return };
    let (private, seen) = listener();
    let vm = host.start(&host.asgi("closed", APP)).await;
    for port in [private, 4024, 3128] {
        let text = get(vm.http_addr(), &format!("/direct?host=127.0.0.1&port={port}")).await.text();
        assert!(text.starts_with("failed"), "{port}: {text}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);

    // QEMU itself: no privileges to regain, system calls filtered; as root also another user and
    // a network of its own
    let qemu = vm.status().await.unwrap().hypervisor_pid.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{qemu}/status")).unwrap();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".to_owned(), "2".to_owned()));
    if rustix::process::geteuid().is_root() {
        assert_eq!(field("Uid:"), "65534\t65534\t65534\t65534");
        assert_eq!(field("Gid:"), "65534\t65534\t65534\t65534");
        assert_eq!(field("CapEff:"), "0000000000000000");
        let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        assert_ne!(network(&qemu.to_string()), network("self"));
    }
    stop(&vm).await;
}

//! A Python application, cold: requests, streams, logs, volumes, a graceful end.

use aleph_vm::{LogSource, Phase, StartMode, Volume, VolumeSource};

use crate::host::{get, host, log_text, send, stop, wait_for_log};

const APP: &str = r#"
import asyncio, os, sys, socket

print("loading", flush=True)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                print("goodbye", flush=True)
                await send({"type": "lifespan.shutdown.complete"})
                return
    path = scope["path"]
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    async def answer(status, *parts, headers=()):
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    if path == "/hello":
        await answer(200, b"hello ", scope["query_string"], headers=[(b"x-aleph-vm-error", b"timeout"), (b"x-mine", b"1")])
    elif path == "/env":
        await answer(200, (os.environ["GREETING"] + " " + socket.gethostname()).encode())
    elif path == "/echo":
        await answer(201, body)
    elif path == "/big":
        await answer(200, *[bytes([n % 256]) * 65536 for n in range(32)])
    elif path == "/wait":
        print("waiting", flush=True)
        assert (await receive())["type"] == "http.disconnect"
        print("the client went away", flush=True)
    elif path == "/raise":
        print("about to raise", file=sys.stderr, flush=True)
        raise RuntimeError("on purpose")
    elif path == "/note":
        with open("/notes/note", "ab") as file:
            file.write(body)
        await answer(200, open("/notes/note", "rb").read())
    else:
        await answer(404, b"nothing here")
"#;

#[tokio::test]
async fn a_python_application_boots_answers_and_ends() {
    let Some(host) = host() else { return };
    let mut plan = host.asgi("hello", APP);
    plan.environment.insert("GREETING".into(), "good day".into());
    plan.hostname = Some("Guest_Book".into());
    let notes = host.dir.path().join("volumes/notes.ext4");
    plan.volumes.push(Volume {
        mount: "/notes".into(),
        source: VolumeSource::Persistent { path: notes, size_mib: 8 },
    });
    let vm = host.start(&plan).await;
    let status = vm.status().await.unwrap();
    assert_eq!((status.phase, status.mode), (Phase::Running, Some(StartMode::Cold)));
    assert!(status.timeline.contains_key("booting") && status.resident_kib.unwrap() > 10_000, "{status:?}");

    let hello = get(vm.http_addr(), "/hello?you").await;
    assert_eq!((hello.status, hello.text().as_str()), (200, "hello you"));
    assert_eq!(hello.header("x-mine"), Some("1"));
    // only the supervisor may say so
    assert_eq!(hello.header("x-aleph-vm-error"), None);
    assert_eq!(get(vm.http_addr(), "/env").await.text(), "good day guest-book");
    assert_eq!(get(vm.http_addr(), "/nowhere").await.status, 404);

    let body = vec![b'z'; 300_000];
    let mut request = format!(
        "POST /echo HTTP/1.1\r\nHost: vm\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut bytes = std::mem::take(&mut request).into_bytes();
    bytes.extend_from_slice(&body);
    let echo = send(vm.http_addr(), bytes).await;
    assert_eq!(echo.status, 201);
    assert!(echo.body == body, "{} bytes came back", echo.body.len());
    assert_eq!(get(vm.http_addr(), "/big").await.body.len(), 32 * 65536);

    // an error of the application is its own answer, and the next request works
    assert_eq!(get(vm.http_addr(), "/raise").await.status, 500);
    assert_eq!(get(vm.http_addr(), "/hello").await.status, 200);
    let log = log_text(&vm).await;
    assert!(log.contains("Stdout: loading") && log.contains("Stderr: about to raise"), "{log}");
    assert!(log.contains("RuntimeError: on purpose"), "{log}");
    let page = vm.logs(0, 1, None).await.unwrap();
    assert_eq!((page.lines.len(), page.lines[0].source == LogSource::Supervisor), (1, false));

    // a client that goes away cancels its request
    let mut socket = std::net::TcpStream::connect(vm.http_addr()).unwrap();
    std::io::Write::write_all(&mut socket, b"GET /wait HTTP/1.1\r\nHost: vm\r\n\r\n").unwrap();
    wait_for_log(&vm, "Stdout: waiting").await;
    drop(socket);
    wait_for_log(&vm, "the client went away").await;

    let note = b"POST /note HTTP/1.1\r\nHost: vm\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(send(vm.http_addr(), note.to_vec()).await.text(), "abc");
    let last = stop(&vm).await;
    assert_eq!((last.phase, last.failure), (Phase::Stopped, None));
    assert!(last.requests >= 8);
    // what it said at its end can still be read
    assert!(log_text(&vm).await.contains("Stdout: goodbye"));

    // the volume was kept, the machine wasn't
    let vm = host.start(&plan).await;
    assert_eq!(send(vm.http_addr(), note.to_vec()).await.text(), "abcabc");
    stop(&vm).await;
}

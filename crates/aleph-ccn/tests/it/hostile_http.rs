//! Bad input over HTTP and WebSockets: each ends with a clear status, leaks nothing, and holds up nobody.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::hostile::{Memory, is_well};
use crate::node::{Author, TestNode, hash};

const TIME: f64 = 1_714_564_800.0;

fn address(node: &TestNode) -> &str {
    node.url.strip_prefix("http://").unwrap()
}

/// Sends bytes as they are.
async fn raw(node: &TestNode, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address(node)).await.unwrap();
    // The node may answer and close before it has everything.
    let _ = stream.write_all(bytes).await;
    stream
}

/// What comes until the node closes or is quiet for too long.
async fn answer(mut stream: TcpStream, within: Duration) -> String {
    let mut read = Vec::new();
    let _ = tokio::time::timeout(within, stream.read_to_end(&mut read)).await;
    String::from_utf8_lossy(&read).into_owned()
}

/// The status of an answer, 0 for none.
fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// Descriptors that this process, the node's too, has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Waits until what bad clients held is free again.
async fn descriptors_fall_to(most: usize) {
    for _ in 0..100 {
        if descriptors() <= most {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} descriptors are open, more than {most}", descriptors());
}

/// Files of unfinished uploads in the node's folder.
fn unfinished(node: &TestNode) -> usize {
    let folder = node.node.config.storage.data_dir.join("files").join("tmp");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// A file is closed before it is taken away.
async fn nothing_unfinished_stays(node: &TestNode) {
    for _ in 0..100 {
        if unfinished(node) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} files of unfinished uploads stay", unfinished(node));
}

/// The node's patience with senders is a minute and a quarter: all of them wait at once, while others are
/// served.
#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_are_given_up_and_hold_up_nobody() {
    const SLOW: usize = 50;
    let node = TestNode::start().await;
    node.ok("/version").await;
    let before = descriptors();
    let form = "POST /api/v0/storage/add_file HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\
         content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhalf a fi";
    let kinds: [(&str, u16); 5] = [
        // A head that never ends, one that does not even begin, a body that stops, a half-sent form, a file.
        ("GET /version HTTP/1.1\r\nhost: x\r\nx-slow: ", 0),
        ("", 0),
        ("POST /api/v0/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"mess", 408),
        (form, 408),
        ("POST /api/v0/storage/add_file HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc", 408),
    ];
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        for (bytes, status) in kinds {
            let stream = raw(&node, bytes.as_bytes()).await;
            slow.push(tokio::spawn(async move {
                let begun = Instant::now();
                let answer = answer(stream, Duration::from_secs(150)).await;
                assert!(begun.elapsed() < Duration::from_secs(140), "{bytes:?} was never given up");
                assert_eq!(status_of(&answer), status, "{bytes:?}: {answer}");
            }));
        }
    }
    // One byte a second keeps no connection: the head as a whole has its time.
    let mut dripping = raw(&node, b"GET /version HTTP/1.1\r\nx-drip: ").await;
    let drip = tokio::spawn(async move {
        for second in 0..140 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if dripping.write_all(b"a").await.is_err() {
                return second;
            }
        }
        panic!("a head may take for ever");
    });
    let mut number = 0;
    while slow.iter().any(|task| !task.is_finished()) {
        is_well(&node, number).await;
        let (status, _) = node.text("/version").await;
        assert_eq!(status, StatusCode::OK);
        number += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for task in slow {
        task.await.unwrap();
    }
    drip.await.unwrap();
    descriptors_fall_to(before + 8).await;
    nothing_unfinished_stays(&node).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_break_off_leave_nothing() {
    let node = TestNode::start().await;
    node.ok("/version").await;
    let (before, memory) = (descriptors(), Memory::mark());
    let head = |kind: &str, length: usize| {
        format!(
            "POST /api/v0/storage/add_file HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../etc/passwd\"\r\n\r\n";
    for _ in 0..20 {
        let mut stream = raw(&node, head("multipart/form-data; boundary=b", 2_000_000).as_bytes()).await;
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.write_all(&[b'x'; 900_000]).await.unwrap();
        drop(stream);
    }
    let refused = [
        // The end marker is missing, the boundary is another one, there is none, no part is named.
        ("multipart/form-data; boundary=b", format!("{part}content")),
        ("multipart/form-data; boundary=other", format!("{part}content\r\n--b--\r\n")),
        ("multipart/form-data", format!("{part}content\r\n--b--\r\n")),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n".to_owned(),
        ),
        ("multipart/form-data; boundary=b", String::new()),
        (
            "multipart/form-data; boundary=b",
            format!("--b\r\n{}: x\r\n\r\nx\r\n--b--\r\n", "h".repeat(100_000)),
        ),
    ];
    for (kind, body) in refused {
        let answer = node
            .post("/api/v0/storage/add_file")
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, StatusCode::BAD_REQUEST, "{kind}: {text}");
        assert!(text.starts_with("400: "), "{text}");
    }
    let chunked = "POST /api/v0/storage/add_json HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n";
    assert_eq!(status_of(&answer(raw(&node, chunked.as_bytes()).await, Duration::from_secs(5)).await), 400);
    descriptors_fall_to(before + 8).await;
    nothing_unfinished_stays(&node).await;
    memory.assert_below(64, "forms that break off");
    is_well(&node, 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types_and_odd_requests() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "TEST", json!(1));
    let body = json!({ "message": note, "sync": true }).to_string();
    // What a client calls its JSON matters as little as there.
    for kind in ["text/plain", "application/xml", "image/png; charset=\u{7f}", ""] {
        let sent =
            node.post("/api/v0/messages").header("content-type", kind.as_bytes()).body(body.clone()).send();
        let Ok(answer) = sent.await else { continue };
        assert_eq!(answer.status(), StatusCode::OK, "{kind}");
    }
    for body in ["", "null", "[]", "{", "\u{0}", "{\"message\":5}", "{\"message\":{},\"sync\":\"?\"}"] {
        let answer = node.post("/api/v0/messages").body(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let gzip =
        node.post("/api/v0/messages").header("content-encoding", "gzip").body(vec![0x1f, 0x8b, 8, 0, 0]);
    assert!(gzip.send().await.unwrap().status().is_client_error());
    for (bytes, status) in [
        ("GET /version HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\r\n\r\n".to_owned(), 400),
        (
            "GET /version HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n".to_owned(),
            400,
        ),
        ("GET /version HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n".to_owned(), 400),
        ("GET /version HTTP/1.1\r\nho st: x\r\n\r\n".to_owned(), 400),
        // One header of a megabyte, and a thousand of them.
        (format!("GET /version HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)), 431),
        (format!("GET /version HTTP/1.1\r\n{}\r\n", "x: a\r\n".repeat(1_000)), 431),
        (format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(70_000)), 414),
    ] {
        let answer = answer(raw(&node, bytes.as_bytes()).await, Duration::from_secs(5)).await;
        let start: String = bytes.chars().take(60).collect();
        // The connection may break under what is still being sent; it is never served.
        assert!([status, 0].contains(&status_of(&answer)), "{start:?}: {}", &answer[..answer.len().min(80)]);
    }
    for method in [Method::DELETE, Method::PUT, Method::PATCH, Method::TRACE, Method::CONNECT] {
        let answer = node.client.request(method.clone(), format!("{}/version", node.url)).send().await;
        if let Ok(answer) = answer {
            assert!(answer.status().is_client_error(), "{method}");
        }
    }
    is_well(&node, 2).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_are_paths_lead_nowhere() {
    let node = TestNode::start().await;
    let tricks = [
        "..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "%2e%2e%2f".repeat(20),
        "..\\..\\x".replace('\\', "%5c"),
        format!("{}%00", "a".repeat(63)),
        "a".repeat(64).to_uppercase(),
        format!("{}%2f", "a".repeat(63)),
        format!("..%2f{}", "a".repeat(61)),
        "%ff%fe".repeat(32),
        "Qm%2e%2e".to_owned(),
        "a".repeat(10_000),
        "%F0%9F%98%80".repeat(64),
        ".".to_owned(),
        "node.sqlite3".to_owned(),
    ];
    let routes = [
        "/api/v0/messages/{}",
        "/api/v0/messages/{}/content",
        "/api/v0/messages/{}/status",
        "/api/v0/storage/{}",
        "/api/v0/storage/raw/{}",
        "/api/v0/storage/metadata/{}",
        "/api/v0/storage/by-message-hash/{}",
        "/api/v0/storage/by-ref/{}",
        "/api/v0/storage/by-ref/0xA/{}",
        "/api/v0/price/{}",
        "/api/v1/messages/{}/explain",
        "/api/v1/uploads/{}",
        "/api/docs/{}",
        "/static/{}",
    ];
    for trick in &tricks {
        for route in routes {
            let request = format!(
                "GET {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
                route.replace("{}", trick)
            );
            let answer = answer(raw(&node, request.as_bytes()).await, Duration::from_secs(10)).await;
            let status = status_of(&answer);
            assert!((400..500).contains(&status), "{route} {trick}: {}", &answer[..answer.len().min(200)]);
            assert!(!answer.contains("root:") && !answer.contains("SQLite format"), "{route} {trick}");
        }
        let (status, count) = node.text(&format!("/api/v0/storage/count/{trick}")).await;
        assert!(status != StatusCode::OK || count == "0", "{trick}: {count}");
    }
    is_well(&node, 3).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_and_pages_out_of_bounds() {
    let node = TestNode::start().await;
    let content: Vec<u8> = (0..10_000u32).map(|number| number as u8).collect();
    let stored: Value = node
        .post("/api/v0/storage/add_file")
        .body(content.clone())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let path = format!("/api/v0/storage/raw/{}", stored["hash"].as_str().unwrap());
    for (range, status) in [
        ("bytes=0-9999", 206),
        ("bytes=9999-", 206),
        ("bytes=-1", 206),
        ("bytes=-99999999", 206),
        ("bytes=0-99999999999999999999999", 206),
        ("bytes=10000-", 416),
        ("bytes=18446744073709551615-", 416),
        ("bytes=-0", 416),
        ("bytes=5-4", 200),
        ("bytes=a-b", 200),
        ("lines=1-2", 200),
        ("bytes=", 200),
    ] {
        let answer = node.get(&path).header("range", range).send().await.unwrap();
        let (found, length) = (answer.status().as_u16(), answer.bytes().await.unwrap().len());
        // A range that can't be read is as good as none.
        assert!(found == status || [200, 416].contains(&found) && status != 206, "{range}: {found}");
        assert!(length <= content.len(), "{range}");
    }
    for query in [
        "pagination=99999999999999999999",
        "page=99999999999999999999",
        "page=0",
        "page=-1",
        "pagination=-1",
        "pagination=1e9",
        "startDate=-1",
        "startDate=nan",
        "startDate=inf",
        "startDate=1e300",
        "startBlock=99999999999999999999",
        "sortOrder=2",
    ] {
        let (status, text) = node.text(&format!("/api/v0/messages.json?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {text}");
    }
    // As far as numbers go.
    for query in [
        "page=9223372036854775807",
        "pagination=9223372036854775807&page=2",
        "page=4611686018427387904&pagination=3",
    ] {
        let answer = node.ok(&format!("/api/v0/messages.json?{query}")).await;
        assert_eq!(answer["messages"], json!([]), "{query}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_ten_thousand_values() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    let note = author.note(TIME, "TEST", json!({ "tags": ["t9"] }));
    node.process(&[&note]).await;
    let memory = Memory::mark();
    let many = |make: &dyn Fn(usize) -> String| (0..10_000).map(make).collect::<Vec<_>>().join(",");
    let short = many(&|number| format!("t{number}"));
    for filter in ["addresses", "owners", "refs", "contentKeys", "contentTypes", "channels", "tags"] {
        let (status, found) = node.json(&format!("/api/v0/messages.json?{filter}={short}")).await;
        // What is that long as an address is too long, and what is read is answered.
        if status == StatusCode::OK {
            let wanted = usize::from(filter == "tags");
            assert_eq!(found["messages"].as_array().unwrap().len(), wanted, "{filter}");
        } else {
            assert_eq!(status, StatusCode::URI_TOO_LONG, "{filter}");
        }
    }
    // The longest address that the node reads.
    let fitting: Vec<String> = (0..9_000).map(|number| format!("t{number}")).collect();
    let query = fitting.join(",");
    for (path, list) in [("/api/v0/messages.json?tags=", "messages"), ("/api/v1/posts.json?tags=", "posts")] {
        let (status, found) = node.json(&format!("{path}{query}")).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(found[list].as_array().unwrap().len(), 1);
    }
    // Ten thousand hashes are an address of 650 KB: it is refused before it is read whole.
    let hashes = many(&|number| hash(&note).replace(&hash(&note)[..5], &format!("{number:05}")));
    let request = format!("GET /api/v0/messages.json?hashes={hashes} HTTP/1.1\r\nhost: x\r\n\r\n");
    let refused = answer(raw(&node, request.as_bytes()).await, Duration::from_secs(5)).await;
    // The connection may break under what is still being sent.
    assert!([414, 431, 0].contains(&status_of(&refused)), "{}", &refused[..refused.len().min(200)]);
    // Ten thousand wrong words are refused with an answer that can be read.
    let (status, text) = node.text(&format!("/api/v0/messages.json?chains={}", "X,".repeat(10_000))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text.len() < 8_000_000, "{} bytes", text.len());
    let parameters: String = (0..8_000).map(|number| format!("&a{number}=1")).collect();
    assert_eq!(node.ok(&format!("/api/v0/messages.json?x=1{parameters}")).await["pagination_total"], 1);
    memory.assert_below(96, "filters of ten thousand values");
    is_well(&node, 4).await;
    node.stop().await;
}

/// Every list by cursor, and how its own cursors look.
const BY_CURSOR: [&str; 6] = [
    "/api/v0/messages.json?cursor=",
    "/api/v1/posts.json?cursor=",
    "/api/v0/aggregates.json?cursor=",
    "/api/v1/addresses/stats.json?cursor=",
    "/api/v0/addresses/0xA/files?cursor=",
    "/api/v0/credit_balances?cursor=",
];

#[tokio::test(flavor = "multi_thread")]
async fn cursors_from_elsewhere() {
    let node = TestNode::start().await;
    let author = Author::new(1);
    for number in 0..3 {
        let note = author.note(TIME + f64::from(number), "TEST", json!(number));
        node.process(&[&note, &author.aggregate(TIME, &format!("k{number}"), json!({}))]).await;
    }
    let encode = |fields: Value| URL_SAFE_NO_PAD.encode(fields.to_string());
    let time = "2024-05-01T12:00:00+00:00";
    let foreign = [
        "!!!".to_owned(),
        "x".to_owned(),
        "AAAA".to_owned(),
        "A".repeat(50_000),
        URL_SAFE_NO_PAD.encode("[1]"),
        URL_SAFE_NO_PAD.encode("null"),
        URL_SAFE_NO_PAD.encode("[".repeat(10_000)),
        URL_SAFE_NO_PAD.encode([0xff, 0xfe]),
        encode(json!({})),
        encode(json!({ "t": 5, "h": 5, "k": 5, "o": 5, "v": "x", "a": 5 })),
        encode(json!({ "t": "yesterday", "h": "x", "k": [], "o": {}, "v": -1, "a": null })),
        encode(json!({ "t": "9999999-01-01T00:00:00Z", "h": "a".repeat(64) })),
        encode(json!({ "t": time, "h": "../../etc/passwd" })),
    ];
    for path in BY_CURSOR {
        for cursor in &foreign {
            let (status, text) = node.text(&format!("{path}{cursor}&pagination=2")).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}{cursor}: {text}");
            assert!(text.starts_with("Invalid cursor"), "{path}: {text}");
        }
    }
    // A cursor of one list given to another: refused, or read as a place of this one; never a failure.
    let mut own = vec![
        encode(json!({ "h": "a".repeat(64), "t": time })),
        encode(json!({ "k": "k", "o": "0xA", "t": time })),
        encode(json!({ "a": "0xA", "v": 5 })),
        encode(json!({ "a": "0xA" })),
    ];
    for path in &BY_CURSOR[..4] {
        let answer = node.ok(&format!("{path}&pagination=1")).await;
        own.extend(answer["next_cursor"].as_str().map(str::to_owned));
    }
    assert!(own.len() > 6, "{own:?}");
    for path in BY_CURSOR {
        for cursor in &own {
            let (status, text) = node.text(&format!("{path}{cursor}&pagination=2")).await;
            let refused = status == StatusCode::UNPROCESSABLE_ENTITY && text.starts_with("Invalid cursor");
            assert!(
                refused || [StatusCode::OK, StatusCode::NOT_FOUND].contains(&status),
                "{path}{cursor}: {text}"
            );
        }
        // One sign of a good one changed.
        for at in [0, 5, 20] {
            let mut tampered = own[4].clone().into_bytes();
            tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
            let cursor = String::from_utf8(tampered).unwrap();
            let (status, text) = node.text(&format!("{path}{cursor}&pagination=2")).await;
            assert!(status.as_u16() < 500, "{path}{cursor}: {text}");
        }
    }
    is_well(&node, 5).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_say_too_much_or_never_read() {
    let node = TestNode::start().await;
    node.ok("/version").await;
    let (before, memory) = (descriptors(), Memory::mark());
    let upgrade = "GET /api/ws0/messages?history=0 HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // Sockets that never read; some of them send frames without end, without a mask, or of a huge length.
    let frames: [&[u8]; 5] = [
        b"",
        &[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0x81, 0x05, b'h', b'e', b'l', b'l', b'o'],
        &[0x01, 0x80, 0, 0, 0, 0],
        &[0xff; 64],
    ];
    let mut sockets = Vec::new();
    for number in 0..100 {
        let mut stream = raw(&node, upgrade.as_bytes()).await;
        let _ = stream.write_all(frames[number % frames.len()]).await;
        sockets.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let author = Author::new(1);
    let begun = Instant::now();
    for number in 0..60 {
        let note = author.note(TIME + f64::from(number), "TEST", json!([number, "x".repeat(90_000)]));
        node.process(&[&note]).await;
    }
    println!("60 messages of 90 KB beside 100 sockets that read nothing: {:?}", begun.elapsed());
    memory.assert_below(256, "sockets that never read");
    for wrong in ["sec-websocket-version: 12", "upgrade: h2c"] {
        let name = wrong.split(':').next().unwrap();
        let lines: Vec<&str> =
            upgrade.split("\r\n").map(|line| if line.starts_with(name) { wrong } else { line }).collect();
        let answer = answer(raw(&node, lines.join("\r\n").as_bytes()).await, Duration::from_secs(3)).await;
        assert_eq!(status_of(&answer), 400, "{wrong}: {answer}");
    }
    drop(sockets);
    descriptors_fall_to(before + 8).await;
    // Each ends with its next write, which may have to wait for its time.
    for _ in 0..300 {
        if node.node.metrics.ws_messages.get() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(node.node.metrics.ws_messages.get(), 0);
    is_well(&node, 70).await;
    node.stop().await;
}

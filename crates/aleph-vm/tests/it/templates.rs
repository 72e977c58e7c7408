//! Saved once, cloned often: each clone is itself.

use aleph_vm::{Phase, StartMode};

use crate::host::{get, host, log_text, stop};

const APP: &str = r#"
import os, random, socket, time, uuid

loaded = time.time()
count = 0

async def app(scope, receive, send):
    global count
    if scope["type"] != "http":
        raise RuntimeError("http only")
    count += 1
    now = time.time()
    text = f"{count} {socket.gethostname()} {os.urandom(8).hex()} {random.random()} {now} {open('/proc/sys/kernel/random/boot_id').read().strip()} {uuid.uuid4()}"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": text.encode()})
"#;

#[tokio::test]
async fn clones_start_where_the_application_listened_and_differ() {
    let Some(host) = host() else { return };
    let mut plan = host.asgi("first", APP);
    plan.templates = Some(host.templates());
    let first = host.start(&plan).await;
    let status = first.status().await.unwrap();
    assert_eq!(status.mode, Some(StartMode::ColdThenTemplate), "{:?}", status.template_note);
    let mut second_plan = plan.clone();
    second_plan.id = aleph_vm::VmId::new("second").unwrap();
    let second = host.start(&second_plan).await;
    let status = second.status().await.unwrap();
    assert_eq!(
        status.mode,
        Some(StartMode::Template),
        "{:?} {}",
        status.template_note,
        log_text(&second).await
    );

    let split = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let one = split(get(first.http_addr(), "/").await.text());
    let two = split(get(second.http_addr(), "/").await.text());
    // each counts its own requests, in memory of its own
    assert_eq!((one[0].as_str(), two[0].as_str()), ("1", "1"));
    assert_eq!((one[1].as_str(), two[1].as_str()), ("first", "second"));
    for index in [2, 3, 6] {
        assert_ne!(one[index], two[index], "the same randomness in two machines");
    }
    let clock: f64 = two[4].parse().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - clock).abs() < 20.0, "the clone's clock is {clock}, the host's {now}");
    // one machine's end is nothing to the other
    assert_eq!(stop(&first).await.phase, Phase::Stopped);
    assert!(get(second.http_addr(), "/").await.text().starts_with("2 "));
    stop(&second).await;
}

#[tokio::test]
async fn a_template_that_does_not_work_is_replaced_by_a_cold_start() {
    let Some(host) = host() else { return };
    let mut plan = host.script("broken", "executable", "#!/bin/sh\nexec httpd -f -p 127.0.0.1:$PORT -h /\n");
    plan.templates = Some(host.templates());
    plan.environment.insert("ALEPH_RESUMABLE".into(), "1".into());
    stop(&host.start(&plan).await).await;
    let generation = std::fs::read_dir(host.templates().dir).unwrap().next().unwrap().unwrap().path();
    let mut broken = 0;
    for entry in std::fs::read_dir(generation).unwrap().flatten() {
        if entry.path().is_dir() {
            std::fs::write(entry.path().join("state"), b"not a saved machine").unwrap();
            broken += 1;
        }
    }
    assert_eq!(broken, 1);
    let vm = host.start(&plan).await;
    let status = vm.status().await.unwrap();
    assert_eq!(status.mode, Some(StartMode::Cold));
    assert!(status.template_note.unwrap().contains("removed"));
    assert_eq!(get(vm.http_addr(), "/etc/hostname").await.text(), "broken\n");
    stop(&vm).await;
}

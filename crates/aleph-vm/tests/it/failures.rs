//! What can be wrong with a program or with the host, and what is said about it.

use aleph_vm::{CodeEncoding, ErrorKind, Phase, Supervisor, VmError};

use crate::host::{command, get, host, log_text, stop};

#[tokio::test]
async fn applications_that_hang_answer_garbage_or_crash_are_told_apart() {
    let Some(host) = host() else { return };
    let mut plan = host.script(
        "bad",
        "python3",
        r#"#!/usr/bin/python3
import os, socket, time
server = socket.create_server(("127.0.0.1", 8080), backlog=16)
print("listening", flush=True)
keep = []
def serve(client):
    line = client.recv(4096).split(b" ")[1]
    if line == b"/garbage":
        client.sendall(b"this is not HTTP at all\r\n\r\n")
    elif line == b"/silence":
        keep.append(client)
        return
    elif line == b"/close":
        pass
    elif line == b"/cut":
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
    elif line == b"/flood":
        client.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1000000)
    elif line == b"/crash":
        print("last words", flush=True)
        os._exit(3)
    else:
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client.close()
while True:
    client, _ = server.accept()
    try:
        serve(client)
    except OSError as error:
        # the other side hangs up on the flood, maybe in the middle of it
        print("cut off:", error, flush=True)
        client.close()
"#,
    );
    plan.limits.request_ms = 3_000;
    let vm = host.start(&plan).await;
    for (path, status, kind) in [
        ("/garbage", 502, "bad_gateway"),
        ("/close", 502, "bad_gateway"),
        ("/flood", 502, "bad_gateway"),
        ("/silence", 504, "timeout"),
    ] {
        let answer = get(vm.http_addr(), path).await;
        assert_eq!(
            (answer.status, answer.header("x-aleph-vm-error")),
            (status, Some(kind)),
            "{path}: {}",
            answer.text()
        );
    }
    assert!(get(vm.http_addr(), "/cut").await.body.len() < 100);
    // none of it hurt the others
    let answer = get(vm.http_addr(), "/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{answer:?}");
    assert_eq!(vm.status().await.unwrap().phase, Phase::Running);
    let answer = get(vm.http_addr(), "/crash").await;
    assert_eq!(answer.status, 502, "{answer:?}");
    let last = vm.wait_ended().await.unwrap();
    let failure = last.failure.unwrap();
    assert_eq!((last.phase, failure.kind), (Phase::Failed, ErrorKind::GuestFailed));
    assert!(failure.message.contains("exit code 3") && failure.message.contains("last words"), "{failure:?}");
    // gone, and said so; the next start works
    assert!(matches!(vm.stop(aleph_vm::StopMode::Kill).await, Ok(status) if status.phase == Phase::Failed));
    let vm = host.start(&plan).await;
    assert_eq!(get(vm.http_addr(), "/").await.status, 200);
    stop(&vm).await;
}

#[tokio::test]
async fn applications_that_never_listen_or_end_at_once_fail_with_their_log() {
    let Some(host) = host() else { return };
    let mut plan = host.script("deaf", "executable", "#!/bin/sh\necho I will not listen\nsleep 1000\n");
    plan.limits.ready_ms = 2_000;
    let vm = host.spawn(&plan).await;
    // a request that waits for the start gets the reason
    let (waiting, outcome) = tokio::join!(get(vm.http_addr(), "/"), vm.wait_ready());
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GuestFailed);
    assert!(
        error.to_string().contains("does not listen") && error.to_string().contains("I will not listen"),
        "{error}"
    );
    assert_eq!((waiting.status, waiting.header("x-aleph-vm-error")), (502, Some("guest_failed")));

    let vm = host.spawn(&host.asgi("typo", "def app(:\n")).await;
    let error = vm.wait_ready().await.unwrap_err();
    assert!(error.to_string().contains("SyntaxError"), "{error}");

    let mut plan = host.asgi("nozip", "this is not a zip archive");
    plan.code.encoding = CodeEncoding::Zip;
    let vm = host.spawn(&plan).await;
    let error = vm.wait_ready().await.unwrap_err();
    assert!(error.to_string().contains("not a usable zip archive"), "{error}");
    assert!(log_text(&vm).await.contains("failed:"));
}

#[tokio::test]
async fn a_host_without_what_is_needed_says_what_to_do() {
    let Some(host) = host() else { return };
    let mut plan = host.asgi("noqemu", "");
    plan.code.path = host.file("code.py", "x = 1");
    plan.hypervisor.qemu = "qemu-that-is-not-here".into();
    let error = host.spawn(&plan).await.wait_ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("install the package qemu-system-x86"), "{error}");

    let mut plan = host.asgi("noruntime", "x = 1");
    plan.runtime = host.file("runtime", "not squashfs");
    let error = host.spawn(&plan).await.wait_ready().await.unwrap_err();
    assert!(error.to_string().contains("it is not a squashfs image"), "{error}");
    plan.runtime = "/nowhere/runtime".into();
    let error = host.spawn(&plan).await.wait_ready().await.unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/runtime") && error.kind() == ErrorKind::Unavailable,
        "{error}"
    );

    plan.vcpus = 0;
    let error = Supervisor::spawn(&plan, &host.vms(), &command()).await.unwrap_err();
    assert!(matches!(error, VmError::Plan(_)) && error.kind() == ErrorKind::Rejected);
}

#[tokio::test]
async fn a_kernel_that_does_not_boot_is_given_up() {
    let Some(host) = host() else { return };
    let mut plan = host.asgi("slow", "x = 1");
    plan.limits.boot_ms = 150;
    let error = host.spawn(&plan).await.wait_ready().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("did not boot"), "{error}");
}

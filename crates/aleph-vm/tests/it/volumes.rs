//! Every way that files get into a guest.

use aleph_vm::{CodeEncoding, Volume, VolumeSource};

use crate::host::{Host, get, host, send, stop, zip};

const APP: &str = r#"
import os
from lib import helper

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise RuntimeError("http only")
    path = scope["path"]
    try:
        if scope["method"] == "POST":
            with open(path, "w") as file:
                file.write("written")
            text = "written"
        elif path == "/helper":
            text = helper.WORD
        else:
            text = open(path).read()
    except OSError as error:
        text = error.strerror
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": text.encode()})
"#;

/// A squashfs image of one file; `None` where there is no mksquashfs.
fn squashfs(host: &Host, name: &str, files: &[(&str, &str)]) -> Option<std::path::PathBuf> {
    let tree = host.dir.path().join(format!("{name}.tree"));
    for (path, text) in files {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let image = host.dir.path().join(name);
    let made = std::process::Command::new("mksquashfs")
        .arg(&tree)
        .arg(&image)
        .args(["-quiet", "-no-progress"])
        .output();
    made.is_ok_and(|output| output.status.success()).then_some(image)
}

#[tokio::test]
async fn code_data_and_volumes_are_where_they_belong() {
    let Some(host) = host() else { return };
    let mut plan = host.asgi("files", "");
    plan.vcpus = 2;
    plan.code.encoding = CodeEncoding::Zip;
    plan.code.path = host
        .file("code.zip", zip(&[("main.py", APP), ("lib/__init__.py", ""), ("lib/helper.py", "WORD='zip'")]));
    plan.data = Some(host.file("data.zip", zip(&[("a/b.txt", "data")])));
    plan.volumes.push(Volume { mount: "/scratch".into(), source: VolumeSource::Ephemeral { size_mib: 4 } });
    let image = squashfs(&host, "volume", &[("word", "immutable")]);
    if let Some(path) = image.clone() {
        plan.volumes.push(Volume { mount: "/opt/venv".into(), source: VolumeSource::Immutable { path } });
    }
    let vm = host.start(&plan).await;
    assert!(vm.status().await.unwrap().template_note.is_some());
    let ask = async |path: &str| get(vm.http_addr(), path).await.text();
    let write = async |path: &str| {
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: vm\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        send(vm.http_addr(), request.into_bytes()).await.text()
    };
    assert_eq!(ask("/helper").await, "zip");
    assert_eq!(ask("/data/a/b.txt").await, "data");
    assert_eq!(write("/scratch/x").await, "written");
    assert_eq!(ask("/scratch/x").await, "written");
    // the runtime itself can be written to, in this machine's memory
    assert_eq!(write("/usr/x").await, "written");
    if image.is_some() {
        assert_eq!(ask("/opt/venv/word").await, "immutable");
        assert_eq!(write("/opt/venv/x").await, "Read-only file system");
    }
    let scratch = vm.dir().join("vol0.ext4");
    assert!(scratch.exists());
    stop(&vm).await;
    assert!(!scratch.exists(), "an ephemeral volume was kept");

    let Some(code) = squashfs(&host, "code", &[("main.py", APP), ("lib/helper.py", "WORD='squashfs'")])
    else {
        return;
    };
    plan.code.encoding = CodeEncoding::Squashfs;
    plan.code.path = code;
    plan.volumes.clear();
    plan.templates = Some(host.templates());
    for _ in 0..2 {
        let vm = host.start(&plan).await;
        assert_eq!(get(vm.http_addr(), "/helper").await.text(), "squashfs");
        assert_eq!(get(vm.http_addr(), "/data/a/b.txt").await.text(), "data");
        stop(&vm).await;
    }
}

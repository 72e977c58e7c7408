//! A folder for VMs, plans for small applications, and a plain HTTP client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aleph_vm::{
    Acceleration, BootImages, Code, CodeEncoding, HypervisorSettings, Limits, NetworkPolicy, RuntimeManifest,
    StopMode, Supervisor, SupervisorCommand, TemplateStore, VmId, VmKind, VmPlan,
};

/// A place for VMs that ends them when a test is over, however it is over.
pub(crate) struct Host {
    pub(crate) dir: tempfile::TempDir,
    images: RuntimeManifest,
}

/// `None`, after a word about it, when this machine can't boot VMs.
pub(crate) fn host() -> Option<Host> {
    let path = RuntimeManifest::default_path();
    let images = match RuntimeManifest::load(&path) {
        Ok(images) => images,
        Err(error) => {
            let text = format!("no VM images: {error} (or name a manifest in {})", RuntimeManifest::VARIABLE);
            assert!(std::env::var_os("CI").is_none(), "{text}");
            eprintln!("skipped: {text}");
            return None;
        }
    };
    Some(Host { dir: tempfile::tempdir().unwrap(), images })
}

pub(crate) fn command() -> SupervisorCommand {
    SupervisorCommand { program: env!("CARGO_BIN_EXE_aleph-vm-supervisor").into(), args: Vec::new() }
}

impl Host {
    pub(crate) fn vms(&self) -> PathBuf {
        self.dir.path().join("vms")
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn plan(&self, id: &str, runtime: &str, code: PathBuf, kind: VmKind) -> VmPlan {
        VmPlan {
            id: VmId::new(id).unwrap(),
            boot: BootImages {
                kernel: self.images.kernel.path.clone(),
                initramfs: self.images.initramfs.path.clone(),
            },
            runtime: self.images.runtimes[runtime].path.clone(),
            code: Code { path: code, encoding: CodeEncoding::Plain },
            kind,
            data: None,
            volumes: Vec::new(),
            vcpus: 1,
            memory_mib: 128,
            environment: Default::default(),
            hostname: None,
            network: NetworkPolicy::default(),
            // generous: the machine may be busy with other tests
            limits: Limits { boot_ms: 180_000, ready_ms: 120_000, request_ms: 60_000, ..Limits::default() },
            hypervisor: HypervisorSettings {
                acceleration: Acceleration::Tcg,
                ..HypervisorSettings::default()
            },
            templates: None,
        }
    }

    /// A plan for one file of Python with an ASGI application `app`.
    pub(crate) fn asgi(&self, id: &str, source: &str) -> VmPlan {
        let code = self.file(&format!("{id}.py"), source);
        self.plan(id, "python3", code, VmKind::Asgi { entrypoint: "main:app".to_owned() })
    }

    /// A plan for a script.
    pub(crate) fn script(&self, id: &str, runtime: &str, source: &str) -> VmPlan {
        let code = self.file(&format!("{id}.sh"), source);
        self.plan(
            id,
            runtime,
            code,
            VmKind::Executable { command: "run".to_owned(), args: vec!["hello".to_owned()] },
        )
    }

    pub(crate) fn templates(&self) -> TemplateStore {
        TemplateStore { dir: self.dir.path().join("templates"), max_bytes: 1 << 30 }
    }

    pub(crate) async fn spawn(&self, plan: &VmPlan) -> Supervisor {
        Supervisor::spawn(plan, &self.vms(), &command()).await.unwrap()
    }

    /// Spawns and waits until it serves.
    pub(crate) async fn start(&self, plan: &VmPlan) -> Supervisor {
        let vm = self.spawn(plan).await;
        if let Err(error) = vm.wait_ready().await {
            panic!("{error}\n{}", log_text(&vm).await);
        }
        vm
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // a test that failed may leave VMs: each is ended by its own supervisor, or with it
        let Ok(vms) = std::fs::read_dir(self.vms()) else { return };
        for vm in vms.flatten() {
            end(&vm.path().join("supervisor.pid"), rustix::process::Signal::TERM);
            end(&vm.path().join("qemu.pid"), rustix::process::Signal::KILL);
        }
    }
}

/// Ends the very process that a file names, and waits for its end.
fn end(file: &Path, signal: rustix::process::Signal) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    let Some((pid, start)) = text.trim().split_once(' ') else { return };
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.split_whitespace().any(|word| word == start)
            && std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
    };
    if lives() {
        let process = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(process, signal);
    }
    for _ in 0..800 {
        if !lives() {
            return;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

pub(crate) async fn log_text(vm: &Supervisor) -> String {
    let page = vm.logs(0, 1000, None).await.unwrap();
    page.lines.iter().map(|line| format!("{:?}: {}\n", line.source, line.text)).collect()
}

/// Waits until the log says `text`.
pub(crate) async fn wait_for_log(vm: &Supervisor, text: &str) {
    let mut next = 0;
    for _ in 0..60 {
        if log_text(vm).await.contains(text) {
            return;
        }
        next = vm.logs(next, 1000, Some(Duration::from_secs(1))).await.unwrap().next;
    }
    panic!("no {text:?} in the log:\n{}", log_text(vm).await);
}

pub(crate) async fn stop(vm: &Supervisor) -> aleph_vm::VmStatus {
    vm.stop(StopMode::Graceful { timeout: Duration::from_secs(20) }).await.unwrap()
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, format!("GET {path} HTTP/1.1\r\nHost: vm\r\nConnection: close\r\n\r\n").into_bytes()).await
}

/// Sends raw bytes and reads one answer to the end of the connection.
pub(crate) async fn send(address: SocketAddr, request: Vec<u8>) -> Answer {
    tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        socket.write_all(&request).unwrap();
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("no head in {:?}", String::from_utf8_lossy(&bytes));
        });
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut body = bytes[end + 4..].to_vec();
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            body = unchunk(&body);
        }
        Answer { status, head, body }
    })
    .await
    .unwrap()
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 4 + size..];
    }
    out
}

/// A zip archive of stored members.
pub(crate) fn zip(members: &[(&str, &str)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in members {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        let mut about = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        about.extend(crc32(text.as_bytes()).to_le_bytes());
        about.extend(length);
        about.extend(length);
        about.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        about.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&about);
        directory.extend([0; 10]);
        directory.extend(u32::try_from(out.len()).unwrap().to_le_bytes());
        directory.extend(name.as_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&about);
        out.extend(name.as_bytes());
        out.extend(text.as_bytes());
    }
    let at = u32::try_from(out.len()).unwrap();
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, &byte| {
        (0..8).fold(
            sum ^ u32::from(byte),
            |sum, _| if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 },
        )
    })
}

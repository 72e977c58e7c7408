//! Measures how long starts and requests take: `cargo run --release -p aleph-vm --example start_times`.
//!
//! Prints a line of JSON with medians in milliseconds. `--rounds N` (5), `--requests N` (200),
//! `--memory MIB` (128); the images are those of `runtimes/build`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use aleph_vm::{
    Acceleration, BootImages, Code, CodeEncoding, HypervisorSettings, Limits, NetworkPolicy, RuntimeManifest,
    StopMode, Supervisor, SupervisorCommand, TemplateStore, VmId, VmKind, VmPlan, hypervisor,
};

const APP: &str = "async def app(scope, receive, send):
    if scope['type'] != 'http':
        raise RuntimeError('http only')
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
    await send({'type': 'http.response.body', 'body': b'hello'})
";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // this program is its own supervisor
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some("supervise") {
        return Ok(aleph_vm::supervisor::run(Path::new(&args[3]))?);
    }
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|arg| arg == name);
        at.and_then(|at| args.get(at + 1)).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (rounds, requests, memory) =
        (number("--rounds", 5), number("--requests", 200), number("--memory", 128));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(rounds, requests, u32::try_from(memory)?))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn get(address: SocketAddr) -> std::io::Result<f64> {
    let start = Instant::now();
    let mut socket = TcpStream::connect(address)?;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: vm\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    if !text.ends_with("hello") {
        return Err(std::io::Error::other(text));
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

async fn measure(rounds: u64, requests: u64, memory_mib: u32) -> Result<(), Box<dyn std::error::Error>> {
    let images = RuntimeManifest::load(&RuntimeManifest::default_path())?;
    let dir = std::env::temp_dir().join(format!("aleph-vm-start-times-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let code = dir.join("main.py");
    std::fs::write(&code, APP)?;
    let mut settings = HypervisorSettings::default();
    let capabilities = hypervisor::probe(&settings, &images.kernel.path, &dir).await?;
    settings.acceleration = capabilities.acceleration();
    let python = images.runtimes.get("python3").ok_or("the manifest has no runtime python3")?;
    let mut plan = VmPlan {
        id: VmId::new("measure")?,
        boot: BootImages { kernel: images.kernel.path.clone(), initramfs: images.initramfs.path.clone() },
        runtime: python.path.clone(),
        code: Code { path: code, encoding: CodeEncoding::Plain },
        kind: VmKind::Asgi { entrypoint: "main:app".to_owned() },
        data: None,
        volumes: Vec::new(),
        vcpus: 1,
        memory_mib,
        environment: Default::default(),
        hostname: None,
        network: NetworkPolicy::default(),
        limits: Limits::default(),
        hypervisor: settings,
        templates: None,
    };
    let command = SupervisorCommand::current_exe(&["supervise"])?;
    let (mut cold, mut template, mut warm, mut resident) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let vms = dir.join("vms");
    for kind in ["cold", "save", "template"] {
        let times = if kind == "save" { 1 } else { rounds };
        for _ in 0..times {
            if kind != "cold" {
                plan.templates = Some(TemplateStore { dir: dir.join("templates"), max_bytes: 1 << 30 });
            }
            let start = Instant::now();
            let vm = Supervisor::spawn(&plan, &vms, &command).await?;
            let address = vm.http_addr();
            // the request waits in the supervisor until the application listens
            tokio::task::spawn_blocking(move || get(address)).await??;
            let elapsed = start.elapsed().as_secs_f64() * 1e3;
            let status = vm.status().await?;
            eprintln!("{kind}: {elapsed:.0} ms, {:?} {:?}", status.mode, status.timeline);
            match kind {
                "cold" => cold.push(elapsed),
                "template" => template.push(elapsed),
                _ => {}
            }
            if kind == "template" {
                for _ in 0..requests / rounds.max(1) {
                    warm.push(tokio::task::spawn_blocking(move || get(address)).await??);
                }
                resident.extend(vm.status().await?.resident_kib.map(|kib| kib as f64 / 1024.0));
            }
            vm.stop(StopMode::Graceful { timeout: Duration::from_secs(10) }).await?;
        }
    }
    std::fs::remove_dir_all(&dir)?;
    println!(
        "{}",
        serde_json::json!({
            "acceleration": if plan.hypervisor.acceleration == Acceleration::Kvm { "kvm" } else { "tcg" },
            "qemu": capabilities.qemu,
            "cold_ms": median(cold).round(),
            "template_ms": median(template).round(),
            "warm_ms": (median(warm) * 10.0).round() / 10.0,
            "clone_resident_mib": median(resident).round(),
        })
    );
    Ok(())
}

//! A core node in a process of its own, so that its memory and processor time are its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aleph_ccn::{Config, KeyKind};
use anyhow::{Context, Result, ensure};
use tokio_util::sync::CancellationToken;

use crate::machine;

/// The reference with two message workers, its smaller set-up: proportional memory of all its processes
/// when idle, and its start on an existing database to the first HTTP answer. Recorded on a machine of two
/// cores; with eight workers it takes 1,909 MiB and 22.1 s.
const REFERENCE_MIB: f64 = 974.0;
const REFERENCE_START: f64 = 10.7;

/// The settings of a measured node: loopback, any free port, defaults elsewhere.
pub(crate) fn config(data_dir: PathBuf, p2p: bool) -> Config {
    let mut config = Config::default();
    config.storage.data_dir = data_dir;
    config.http.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    config.p2p.enabled = p2p;
    config.p2p.listen = "/ip4/127.0.0.1/tcp/0".to_owned();
    config.p2p.key_type = KeyKind::Ed25519;
    // The corpus of a bench has no funds.
    config.network.charge = false;
    // `bench files` sends large ones under any hash.
    config.api.uploads.file_bytes = 1 << 30;
    config
}

/// Runs a node and tells its address on standard output.
pub(crate) async fn serve(config: Config) -> Result<()> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let stop = CancellationToken::new();
    let running = aleph_ccn::start(config, stop.clone()).await?;
    println!("{}", running.address);
    let signal = stop.clone();
    tokio::spawn(async move {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        terminate.recv().await;
        signal.cancel();
        Ok::<(), std::io::Error>(())
    });
    running.serve().await?;
    Ok(())
}

/// A node in a child process; it ends with this value.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    pub(crate) address: String,
    /// From the start of the process to its first answer.
    pub(crate) start: Duration,
}

impl Served {
    pub(crate) fn start(data_dir: &std::path::Path, p2p: bool) -> Result<Self> {
        Self::start_with(data_dir, if p2p { &["--p2p"] } else { &[] })
    }

    /// With further arguments of `bench serve`.
    pub(crate) fn start_with(
        data_dir: &std::path::Path,
        arguments: &[impl AsRef<std::ffi::OsStr>],
    ) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--data-dir").arg(data_dir).args(arguments).stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output of the node")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().to_owned();
        let mut connection = std::net::TcpStream::connect(&address).context("the node does not listen")?;
        connection.write_all(b"GET /api/v0/version HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the node answered {answer}");
        Ok(Self { child, address, start: started.elapsed() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// With -9.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// `bench idle`: start time (second start, with everything in place) and memory after a quiet while.
pub(crate) async fn idle(p2p: bool) -> Result<()> {
    println!("machine   {}", machine::describe());
    let folder = tempfile::tempdir()?;
    drop(Served::start(folder.path(), p2p)?);
    let mut starts = Vec::new();
    for _ in 0..5 {
        let node = Served::start(folder.path(), p2p)?;
        starts.push(node.start.as_secs_f64());
    }
    starts.sort_by(f64::total_cmp);
    let node = Served::start(folder.path(), p2p)?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let memory = machine::resident_mib(node.pid());
    let cpu_before = machine::cpu_seconds(node.pid());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let cpu = (machine::cpu_seconds(node.pid()) - cpu_before) / 10.0 * 100.0;
    println!("start     {:.3} s to the first HTTP answer (median of 5), gossip {}", starts[2], on(p2p));
    println!("memory    {memory:.1} MiB resident when idle");
    println!("cpu       {cpu:.1} % of a core when idle");
    println!(
        "ratio     memory: {:.0} × less than the reference's {REFERENCE_MIB} MiB",
        REFERENCE_MIB / memory
    );
    println!(
        "ratio     start: {:.0} × less than the reference's {REFERENCE_START} s",
        REFERENCE_START / starts[2]
    );
    Ok(())
}

fn on(p2p: bool) -> &'static str {
    if p2p { "on" } else { "off" }
}

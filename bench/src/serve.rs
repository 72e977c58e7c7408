//! A core node in a process of its own, so that its memory and processor time are its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aleph_ccn::{Config, KeyKind};
use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::machine;

/// The settings of a measured node: loopback, any free port, defaults elsewhere.
pub(crate) fn config(data_dir: PathBuf, p2p: bool) -> Config {
    let mut config = Config::default();
    config.storage.data_dir = data_dir;
    config.http.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    config.p2p.enabled = p2p;
    config.p2p.listen = "/ip4/127.0.0.1/tcp/0".to_owned();
    config.p2p.key_type = KeyKind::Ed25519;
    config
}

/// Runs a node and tells its address on standard output.
pub(crate) async fn serve(data_dir: PathBuf, p2p: bool) -> Result<()> {
    tracing_subscriber::fmt().with_env_filter("warn").with_writer(std::io::stderr).init();
    let stop = CancellationToken::new();
    let running = aleph_ccn::start(config(data_dir, p2p), stop.clone()).await?;
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
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--data-dir").arg(data_dir).stdout(Stdio::piped());
        if p2p {
            command.arg("--p2p");
        }
        let started = Instant::now();
        let mut child = command.spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no output of the node")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().to_owned();
        let answered = std::net::TcpStream::connect(&address).context("the node does not listen")?;
        drop(answered);
        Ok(Self { child, address, start: started.elapsed() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
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
    println!("start     {:.3} s to the first connection (median of 5), gossip {}", starts[2], on(p2p));
    println!("memory    {memory:.1} MiB resident when idle");
    println!("cpu       {cpu:.1} % of a core when idle");
    println!(
        "ratio     memory: the reference has 1946 MiB idle (measured, 40 processes): {:.0} × less",
        1946.0 / memory
    );
    println!("ratio     start: the reference takes 24 to 36 s: {:.0} × less", 24.0 / starts[2]);
    Ok(())
}

fn on(p2p: bool) -> &'static str {
    if p2p { "on" } else { "off" }
}

//! One running server.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::account::Account;
use crate::binaries::{Binaries, finish};
use crate::template::{self, PASSWORD, USER};
use crate::watch::Watch;
use crate::{Options, ServerError};

/// A server reads its log again after a crash: seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(5);
/// Below the range from which the system takes the ports of outgoing connections, so that nobody
/// takes the port of a server that is down for a moment.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// How much of the log an error shows.
const LOG_LINES: usize = 20;

/// A PostgreSQL server of one test. It ends, and its folder goes, with the value or the process.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    account: Account,
    options: Options,
    port: u16,
    /// None while the server is stopped.
    child: Option<Child>,
    watch: Watch,
    folder: TempDir,
}

impl Server {
    /// Makes a fresh cluster and starts a server on it; comes back when it answers.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, cannot be run, or is not ready within a minute.
    pub fn start(options: Options) -> Result<Self, ServerError> {
        let binaries = Binaries::find()?;
        let account = Account::choose();
        let folder = tempfile::Builder::new().prefix("aleph-pg-").tempdir();
        let folder =
            folder.map_err(ServerError::files("could not make a folder in", std::env::temp_dir()))?;
        account.own(folder.path())?;
        let watch = Watch::over(folder.path())?;
        template::lay_out(&binaries, &account, &folder.path().join("data"))?;
        for (name, text) in options.files() {
            let path = folder.path().join(name);
            let mut file = fs::OpenOptions::new();
            file.write(true).create_new(true).mode(0o600);
            file.open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(ServerError::files("could not write", &path))?;
            account.own(&path)?;
        }
        let port = free_port()?;
        let mut server = Self { binaries, account, options, port, child: None, watch, folder };
        server.start_again()?;
        Ok(server)
    }

    /// Makes an empty database and gives its URL, over TCP with a password.
    ///
    /// # Errors
    /// When there is one of that name, the name would need quoting, or the server does not run.
    pub fn database(&self, name: &str) -> Result<String, ServerError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(ServerError::Name { name: name.to_owned() });
        }
        self.query("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(name))
    }

    /// The URL of a database over TCP: `postgres://user:password@127.0.0.1:port/name`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database over the Unix socket, which asks for no password and is quicker to
    /// connect to: `postgres://user@%2Ffolder:port/name`.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}:{}/{database}", self.port)
    }

    /// The password that URLs over TCP carry: what must be found in no log.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The port on 127.0.0.1; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the server's first process; none while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The server's folder; `data` in it is the cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs SQL in a database and gives what it prints: a row a line, fields separated by `|`.
    ///
    /// # Errors
    /// What the server said.
    pub fn query(&self, database: &str, sql: &str) -> Result<String, ServerError> {
        if self.child.is_none() {
            return Err(ServerError::Stopped);
        }
        let mut psql = self.binaries.command("psql", &self.account);
        psql.current_dir(self.folder.path())
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password"])
            .args(["--set", "ON_ERROR_STOP=1", "--username", USER, "--dbname", database])
            .args(["--port", &self.port.to_string(), "--command", sql, "--host"])
            .arg(self.folder.path());
        finish("psql", &mut psql)
    }

    /// Kills the server with -9, all its processes: nothing is flushed, nobody is told.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill9(&mut self) -> Result<(), ServerError> {
        let mut child = self.child.take().ok_or(ServerError::Stopped)?;
        let helpers = children(child.id());
        child.kill().map_err(|source| ServerError::Run { program: "kill", source })?;
        for helper in helpers.into_iter().filter(|helper| self.is_ours(*helper)) {
            // its parent's death may have ended it already
            Pid::from_raw(helper).map(|pid| kill_process(pid, Signal::KILL).ok());
        }
        child.wait().map_err(|source| ServerError::Run { program: "kill", source })?;
        Ok(())
    }

    /// Stops the server in order: clients are cut off, data is flushed.
    ///
    /// # Errors
    /// When it does not run, or does not end within a minute.
    pub fn stop(&mut self) -> Result<(), ServerError> {
        self.end(Signal::INT)
    }

    /// Starts a server that was stopped or killed, on the same data and the same port.
    ///
    /// # Errors
    /// When it runs already, or is not ready within a minute.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // after a kill -9 the processes of the last one may not have ended: it refuses then
            match self.start_once(deadline) {
                Err(ServerError::NotReady { why: ENDED, .. }) if Instant::now() < deadline => {
                    std::thread::sleep(STEP * 10);
                }
                outcome => return outcome,
            }
        }
    }

    /// The end of what the server wrote to its log.
    pub fn log(&self) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn start_once(&mut self, deadline: Instant) -> Result<(), ServerError> {
        let data = self.folder.path().join("data");
        let log = self.log_path();
        let out = fs::OpenOptions::new().create(true).append(true).open(&log);
        let out = out.map_err(ServerError::files("could not open", &log))?;
        let err = out.try_clone().map_err(ServerError::files("could not open", &log))?;
        let status = data.join("postmaster.pid");
        let mut command = self.binaries.command("postgres", &self.account);
        command.current_dir(self.folder.path()).arg("-D").arg(&data).args(self.options.arguments());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", self.port)]);
        command.arg("-c").arg(format!("unix_socket_directories={}", self.folder.path().display()));
        detach(&mut command).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(|source| ServerError::Run { program: "postgres", source })?;
        let own_line = child.id().to_string();
        loop {
            if !matches!(child.try_wait(), Ok(None)) {
                return Err(ServerError::NotReady { why: ENDED, log: self.log() });
            }
            // what pg_ctl looks at: the first line is the process, the eighth its state
            let told = fs::read_to_string(&status).unwrap_or_default();
            let mut lines = told.lines();
            if lines.next() == Some(&own_line) && lines.nth(6).is_some_and(|line| line.trim() == "ready") {
                self.child = Some(child);
                return Ok(());
            }
            if Instant::now() > deadline {
                child.kill().and_then(|()| child.wait()).ok();
                return Err(ServerError::NotReady { why: "it is not ready in time", log: self.log() });
            }
            std::thread::sleep(STEP);
        }
    }

    fn end(&mut self, signal: Signal) -> Result<(), ServerError> {
        let mut child = self.child.take().ok_or(ServerError::Stopped)?;
        let run = |source| ServerError::Run { program: "kill", source };
        kill_process(Pid::from_child(&child), signal).map_err(|error| run(error.into()))?;
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().map_err(run)?.is_none() {
            if Instant::now() > deadline {
                child.kill().and_then(|()| child.wait()).map_err(run)?;
                return Err(ServerError::NotReady { why: "it did not stop in time", log: self.log() });
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Whether a process works in this server's folder: its number may be somebody else's by now.
    fn is_ours(&self, pid: i32) -> bool {
        let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        folder.starts_with(self.folder.path())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            // an immediate end: what it held goes anyway, but it removes its shared memory
            self.end(Signal::QUIT).ok();
        }
        self.watch.dismiss();
    }
}

const ENDED: &str = "it ended";

/// What kills the test's group, as Ctrl-C does, is the watch's business, not the server's.
fn detach(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    command.stdin(Stdio::null()).process_group(0)
}

fn children(pid: u32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A port that nobody listens on. Processes start at different ones, so that they seldom meet.
fn free_port() -> Result<u16, ServerError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let room = PORTS.end - PORTS.start;
    let first = u16::try_from(std::process::id().wrapping_mul(37) % u32::from(room)).unwrap_or(0);
    for _ in 0..room {
        let offset = (first + NEXT.fetch_add(1, Ordering::Relaxed) % room) % room;
        let port = PORTS.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(ServerError::NoPort)
}

//! The application: started, watched, ended.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use aleph_guest::protocol::{AppCommand, FromGuest, SetupStep};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::SetupError;

/// The running application.
#[derive(Debug)]
pub(crate) struct App {
    pid: Pid,
    ended: OwnedFd,
    status: Option<WaitStatus>,
    port: u16,
    resume_signal: Option<Signal>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

impl App {
    /// Starts it; it doesn't listen yet.
    pub(crate) fn start(command: &AppCommand) -> Result<Self, SetupError> {
        let failed = |error: &dyn std::fmt::Display| {
            SetupError::new(
                SetupStep::Application,
                command.argv.first().map_or("command", String::as_str),
                error,
            )
        };
        let (program, args) = command.argv.split_first().ok_or_else(|| failed(&"nothing to run"))?;
        let mut path = PathBuf::from(program);
        if path.is_relative() {
            path = Path::new(&command.directory).join(path);
            // a zip made on another system, or a plain file, may lack the bit
            if let Ok(about) = fs::metadata(&path)
                && about.permissions().mode() & 0o111 == 0
            {
                let _ = fs::set_permissions(
                    &path,
                    fs::Permissions::from_mode(about.permissions().mode() | 0o755),
                );
            }
        }
        let mut child = Command::new(&path)
            .args(args)
            .env_clear()
            .envs(&command.environment)
            .current_dir(&command.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| failed(&e))?;
        let pid = Pid::from_child(&child);
        // when memory runs out, the application goes first
        let _ = fs::write(format!("/proc/{}/oom_score_adj", child.id()), "500");
        let ended =
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(|e| failed(&e))?;
        let resume_signal = command.resume_signal.and_then(Signal::from_named_raw);
        Ok(Self {
            pid,
            ended,
            status: None,
            port: command.port,
            resume_signal,
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        })
    }

    /// Readable once the application has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// The port that it is to listen on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Collects every process that ended, ours and orphans.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                self.status = Some(status);
            }
        }
    }

    /// How it ended, for the host, when it has.
    pub(crate) fn outcome(&self) -> Option<FromGuest> {
        let status = self.status?;
        Some(FromGuest::AppEnded { code: status.exit_status(), signal: status.terminating_signal() })
    }

    /// True when something listens on the application's port. Looked up in the kernel's tables: a
    /// trial connection would be a request that nobody made.
    pub(crate) fn listens(&self) -> bool {
        const LISTEN: &str = "0A";
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
            fs::read_to_string(table).is_ok_and(|text| {
                text.lines().skip(1).any(|line| {
                    let mut words = line.split_whitespace().skip(1);
                    let port = words.next().and_then(|local| local.rsplit_once(':')).map(|(_, port)| port);
                    let state = words.nth(1);
                    state == Some(LISTEN)
                        && port.and_then(|p| u16::from_str_radix(p, 16).ok()) == Some(self.port)
                })
            })
        })
    }

    /// Tells a clone's application to draw new randomness.
    pub(crate) fn resumed(&self) {
        if let Some(signal) = self.resume_signal
            && self.status.is_none()
        {
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }

    /// Asks it to end and waits at most `grace`; then everything is killed.
    pub(crate) fn end(&mut self, grace: Duration) {
        let _ = rustix::process::kill_process_group(self.pid, Signal::TERM);
        let start = Instant::now();
        loop {
            self.reap();
            if self.status.is_some() || start.elapsed() >= grace {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_everything(Duration::from_millis(200));
    }
}

/// Kills every process but this one and waits at most `wait` for their end.
pub(crate) fn kill_everything(wait: Duration) {
    let myself = std::process::id();
    if myself != 1 {
        return;
    }
    let others = || -> io::Result<Vec<Pid>> {
        Ok(fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|&pid| pid != 1)
            // kernel threads have no executable
            .filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok())
            .filter_map(Pid::from_raw)
            .collect())
    };
    for pid in others().unwrap_or_default() {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    let start = Instant::now();
    while start.elapsed() < wait && others().is_ok_and(|list| !list.is_empty()) {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        std::thread::sleep(Duration::from_millis(2));
    }
}

//! An S3 server for tests: moto, in a process of its own on a port of its own.
//!
//! `cargo xtask setup` installs it; `ALEPH_S3_SERVER` names another `moto_server`. It speaks real HTTP and does
//! multipart uploads (with the least part of 5 MiB), ranges, copies and lists; it keeps everything in memory, so
//! that a restart is a store that forgot.
//!
//! ```no_run
//! # async fn example() -> Result<(), aleph_test_s3::S3ServerError> {
//! let Some(server) = aleph_test_s3::S3Server::start().await? else { return Ok(()) };
//! assert!(server.everything().await?.is_empty());
//! # Ok(())
//! # }
//! ```

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The bucket that every server has.
pub const BUCKET: &str = "files";

/// Whatever it is, it is let in.
pub const ACCESS_KEY: &str = "key";

/// The secret of [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "secret";

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum S3ServerError {
    /// The program does not run.
    #[error("'{}' can't be started: run `cargo xtask setup`", program.display())]
    Start {
        /// What was started.
        program: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It ended before it listened.
    #[error("the S3 server ended at once: {0}")]
    Ended(String),
    /// It does not do what it is asked.
    #[error("the S3 server can't be asked")]
    Http(#[from] reqwest::Error),
    /// It refused.
    #[error("the S3 server answered status {0}")]
    Status(u16),
}

/// A server; it ends with this value.
#[derive(Debug)]
pub struct S3Server {
    child: Child,
    program: PathBuf,
    url: String,
}

/// `ALEPH_S3_SERVER`, or where set-up puts it.
fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ALEPH_S3_SERVER") {
        return Some(path.into());
    }
    let cache = std::env::var_os("ALEPHD_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/alephd")))?;
    let path = cache.join("s3-server/bin/moto_server");
    path.is_file().then_some(path)
}

impl S3Server {
    /// Starts a server with the bucket [`BUCKET`]. `None`, with a line that says so, where none is installed.
    ///
    /// # Errors
    /// It is installed and does not work.
    pub async fn start() -> Result<Option<Self>, S3ServerError> {
        let Some(program) = program() else {
            eprintln!("skipped: there is no S3 server here; `cargo xtask setup` installs one");
            return Ok(None);
        };
        Self::start_at(program, 0).await.map(Some)
    }

    /// Ends the server and starts it again at the same address: it has forgotten everything but its bucket.
    ///
    /// # Errors
    /// It does not start again.
    pub async fn restart(self) -> Result<Self, S3ServerError> {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let program = self.program.clone();
        drop(self);
        Self::start_at(program, port).await
    }

    async fn start_at(program: PathBuf, port: u16) -> Result<Self, S3ServerError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| S3ServerError::Start { program: program.clone(), source })?;
        let log = child.stderr.take();
        // From here on it ends with the value, whatever happens.
        let mut server = Self { child, program, url: String::new() };
        let listening = tokio::task::spawn_blocking(move || listens(log)).await;
        server.url = listening.map_err(|error| S3ServerError::Ended(error.to_string()))??;
        let made = reqwest::Client::new().put(format!("{}/{BUCKET}", server.url)).send().await?;
        if made.status().is_success() {
            Ok(server)
        } else {
            Err(S3ServerError::Status(made.status().as_u16()))
        }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Writes an object behind everybody's back.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn put(&self, key: &str, content: Vec<u8>) -> Result<(), S3ServerError> {
        let put = reqwest::Client::new().put(format!("{}/{BUCKET}/{key}", self.url));
        // Only that there is a key at all is looked at.
        let answer = put.header("authorization", "AWS key:signature").body(content).send().await?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(S3ServerError::Status(answer.status().as_u16()))
        }
    }

    /// Keys of all objects, and of unfinished uploads.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn everything(&self) -> Result<Vec<String>, S3ServerError> {
        let mut found = Vec::new();
        for (list, what) in [("list-type=2", "object"), ("uploads", "unfinished")] {
            let text = reqwest::get(format!("{}/{BUCKET}?{list}", self.url)).await?.text().await?;
            let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            found.extend(keys.map(|key| format!("{what} {key}")));
        }
        Ok(found)
    }
}

/// Waits for the line with the address.
fn listens(log: Option<std::process::ChildStderr>) -> Result<String, S3ServerError> {
    let Some(log) = log else { return Err(S3ServerError::Ended("it has no log".to_owned())) };
    let mut log = BufReader::new(log);
    let mut said = String::new();
    loop {
        let mut line = String::new();
        match log.read_line(&mut line) {
            Ok(0) => return Err(S3ServerError::Ended(said)),
            Err(error) => return Err(S3ServerError::Ended(error.to_string())),
            Ok(_) => {}
        }
        if let Some(at) = line.find("http://127.0.0.1:") {
            // A full pipe would stop it.
            std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
            return Ok(line[at..].trim().to_owned());
        }
        said.push_str(&line);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

//! An S3 server for a test: moto, in a process of its own. `cargo xtask setup` installs it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use aleph_blobs::{BlobStore, S3Options};

/// The bucket of every test.
pub(crate) const BUCKET: &str = "files";

/// A server; it ends with this value.
#[derive(Debug)]
pub(crate) struct S3Server {
    child: Child,
    pub(crate) url: String,
}

/// `ALEPH_S3_SERVER`, or where `cargo xtask setup` puts it.
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
    /// None where none is installed: the test says so and ends.
    pub(crate) async fn start() -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("skipped: there is no S3 server here; `cargo xtask setup` installs one");
            return None;
        };
        Some(Self::start_at(program, 0).await)
    }

    /// The same server again, where it was; it has forgotten everything.
    pub(crate) async fn restart(self) -> Self {
        let port = self.url.rsplit(':').next().unwrap().parse().unwrap();
        drop(self);
        Self::start_at(program().unwrap(), port).await
    }

    async fn start_at(program: PathBuf, port: u16) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let url = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the S3 server ended");
            if let Some(at) = line.find("http://127.0.0.1:") {
                break line[at..].trim().to_owned();
            }
        };
        // Its log of requests is of no interest, but a full pipe would stop it.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        let server = Self { child, url };
        let made = reqwest::Client::new().put(format!("{}/{BUCKET}", server.url)).send().await.unwrap();
        assert!(made.status().is_success(), "{}", made.text().await.unwrap());
        server
    }

    pub(crate) fn options(&self) -> S3Options {
        S3Options {
            endpoint: Some(self.url.clone()),
            bucket: BUCKET.to_owned(),
            prefix: "node/one".to_owned(),
            region: "us-east-1".to_owned(),
            access_key_id: Some("key".to_owned()),
            secret_access_key: Some("secret".to_owned()),
        }
    }

    pub(crate) fn store(&self) -> BlobStore {
        BlobStore::open_s3(&self.options()).unwrap()
    }

    /// Keys of all objects, and unfinished uploads.
    pub(crate) async fn everything(&self) -> Vec<String> {
        let mut found = Vec::new();
        for list in ["list-type=2", "uploads"] {
            let answer = reqwest::get(format!("{}/{BUCKET}?{list}", self.url)).await.unwrap();
            let text = answer.text().await.unwrap();
            let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            found.extend(keys.map(|key| format!("{list} {key}")));
        }
        found
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

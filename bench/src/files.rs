//! `bench files`: a large file up and down, by SHA-256 and by CID, and what memory the node takes for it.

use std::ops::Range;
use std::time::{Duration, Instant};

use aleph_cid::{Discard, FileBuilder, Layout};
use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, Channel, ItemHash, ItemType, Message, MessageType, Timestamp};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Client, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::machine;
use crate::serve::Served;

/// Bytes that are made at a time.
const PIECE: u64 = 1 << 20;

/// What one step may take beyond what the node had before (`SPECIFICATION.md`).
const PROMISED_MIB: f64 = 32.0;

/// The piece at `index`: noise that nobody has to keep.
fn piece(index: u64, len: usize) -> Bytes {
    let mut state = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// The bytes of `range`, which starts with a piece.
fn content(range: Range<u64>) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    stream::iter((range.start / PIECE..range.end.div_ceil(PIECE)).map(move |index| {
        let end = range.end.min((index + 1) * PIECE);
        Ok(piece(index, usize::try_from(end - index * PIECE).unwrap_or(0)))
    }))
}

/// SHA-256 and CID of the file.
fn names(size: u64) -> (String, String) {
    let (mut sha, mut builder) = (Sha256::new(), FileBuilder::new(Layout::KUBO_V0));
    for index in 0..size.div_ceil(PIECE) {
        let len = PIECE.min(size - index * PIECE);
        let bytes = piece(index, usize::try_from(len).unwrap_or(0));
        sha.update(&bytes);
        let Ok(()) = builder.update(&bytes, &mut Discard);
    }
    let Ok(built) = builder.finish(&mut Discard);
    (ItemHash::from_digest(sha.finalize().into()).as_str().to_owned(), built.cid.to_string())
}

/// The signed STORE of a file, as metadata of an upload.
fn metadata(engine: &str, file: &str, time: f64) -> Result<String> {
    let key = EvmKey::from_bytes([7; 32])?;
    let address = key.address().to_string();
    let content =
        json!({ "address": address, "time": time, "item_type": engine, "item_hash": file }).to_string();
    let mut message = Message {
        item_hash: ItemHash::sha256(content.as_bytes()),
        message_type: MessageType::Store,
        chain: Chain::Eth,
        sender: Address::from(address.as_str()),
        signature: None,
        item_type: ItemType::Inline,
        item_content: Some(content.into()),
        time: Timestamp::from_secs_f64(time)?,
        channel: Some(Channel::from("bench")),
    };
    message.signature = Some(key.sign_message(&message));
    Ok(json!({ "message": message.to_wire(), "sync": true }).to_string())
}

/// What memory the steps take of one node.
struct Meter {
    pid: u32,
    size: u64,
    worst: f64,
}

impl Meter {
    /// Runs one step and tells what memory the node took for it.
    async fn step<T>(&mut self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let pid = self.pid;
        tokio::time::sleep(Duration::from_secs(1)).await;
        machine::forget_peak_of(pid);
        let before = machine::resident_mib(pid);
        let started = Instant::now();
        let done = work.await.with_context(|| what.to_owned())?;
        let (seconds, peak) = (started.elapsed().as_secs_f64(), machine::peak_mib(pid));
        let extra = (peak - before).max(0.0);
        self.worst = self.worst.max(extra);
        let rate = self.size as f64 / (1 << 20) as f64 / seconds;
        println!(
            "{what:<52} {extra:>6.1} MiB more ({before:.1} before, peak {peak:.1}), {seconds:>6.1} s, {rate:.0} MiB/s"
        );
        Ok(done)
    }
}

/// A node from outside.
struct Remote {
    client: Client,
    address: String,
    size: u64,
}

impl Remote {
    fn of(node: &Served, size: u64) -> Self {
        Self { client: Client::new(), address: node.address.clone(), size }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// An upload by tus that is cut in its middle and goes on.
    async fn resumable(&self, metadata: &str) -> Result<(StatusCode, String)> {
        let size = self.size;
        let begun = self
            .client
            .post(self.url("/api/v1/uploads"))
            .header("tus-resumable", "1.0.0")
            .header("upload-length", size)
            .header("upload-metadata", format!("message {}", STANDARD.encode(metadata)))
            .send()
            .await?;
        ensure!(begun.status() == StatusCode::CREATED, "{}", begun.text().await?);
        let place = self.url(begun.headers()["location"].to_str()?);
        let send = |from: u64, body: Body| {
            let request = self.client.patch(&place).header("tus-resumable", "1.0.0");
            let request = request.header("content-type", "application/offset+octet-stream");
            request.header("upload-offset", from).body(body).send()
        };
        // The connection breaks off somewhere in the second half.
        let cut = size * 5 / 8;
        let broken = content(0..cut).chain(stream::iter([Err(std::io::Error::other("cut"))]));
        ensure!(send(0, Body::wrap_stream(broken)).await.is_err(), "a cut upload was answered");
        // What came before the cut is still being written for a moment: the offset settles.
        let mut offset = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let head = self.client.head(&place).header("tus-resumable", "1.0.0").send().await?;
            let now: u64 = head.headers()["upload-offset"].to_str()?.parse()?;
            if now > 0 && now == offset {
                break;
            }
            offset = now;
        }
        ensure!(offset <= cut, "{offset} bytes of {cut} arrived");
        let start = offset / PIECE * PIECE;
        let skip = usize::try_from(offset - start)?;
        let rest = content(start..size).enumerate().map(move |(index, bytes)| {
            bytes.map(|bytes| if index == 0 { bytes.slice(skip..) } else { bytes })
        });
        let sent = send(offset, Body::wrap_stream(rest)).await?;
        Ok((sent.status(), sent.text().await?))
    }

    async fn form(&self, route: &str, metadata: String) -> Result<(StatusCode, String)> {
        let body = Body::wrap_stream(content(0..self.size));
        let form = Form::new()
            .part("file", Part::stream_with_length(body, self.size).file_name("large"))
            .text("metadata", metadata);
        let response = self.client.post(self.url(route)).multipart(form).send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// A download that is cut in its middle and goes on by a range; checked byte by byte.
    async fn download(&self, name: &str) -> Result<()> {
        let url = self.url(&format!("/api/v0/storage/raw/{name}"));
        let mut at = 0;
        for until in [self.size / 3, self.size] {
            let mut response = self.client.get(&url).header("range", format!("bytes={at}-")).send().await?;
            ensure!(response.status() == StatusCode::PARTIAL_CONTENT, "status {}", response.status());
            let mut expected = Bytes::new();
            while at < until {
                let Some(chunk) = response.chunk().await? else { break };
                let mut rest = &chunk[..];
                while !rest.is_empty() {
                    if expected.is_empty() {
                        let index = at / PIECE;
                        let len = usize::try_from(PIECE.min(self.size - index * PIECE))?;
                        expected = piece(index, len).slice(usize::try_from(at % PIECE)?..);
                    }
                    let taken = rest.len().min(expected.len());
                    ensure!(rest[..taken] == expected[..taken], "other bytes at {at}");
                    expected = expected.slice(taken..);
                    rest = &rest[taken..];
                    at += taken as u64;
                }
            }
            // What was cut is dropped here with its connection.
        }
        ensure!(at == self.size, "{at} bytes of {}", self.size);
        Ok(())
    }

    /// The archive of a file, counted and thrown away.
    async fn archive(&self, name: &str) -> Result<u64> {
        let url = self.url(&format!("/api/v0/storage/raw/{name}?format=car"));
        let mut response = self.client.get(&url).send().await?;
        let mut bytes = 0;
        while let Some(chunk) = response.chunk().await? {
            bytes += chunk.len() as u64;
        }
        Ok(bytes)
    }

    /// An archive that one node gives is given to another.
    async fn archive_in(&self, from: &str, name: &str, metadata: String) -> Result<(StatusCode, String)> {
        let car =
            self.client.get(format!("http://{from}/api/v0/storage/raw/{name}?format=car")).send().await?;
        let body = Body::wrap_stream(car.bytes_stream());
        let form =
            Form::new().part("file", Part::stream(body).file_name("large.car")).text("metadata", metadata);
        let response = self.client.post(self.url("/api/v0/ipfs/add_car")).multipart(form).send().await?;
        Ok((response.status(), response.text().await?))
    }
}

/// Bytes of all files below a folder.
fn disk_use(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_use(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

pub(crate) async fn run(mib: u64) -> Result<()> {
    println!("machine   {}", machine::describe());
    let size = mib << 20;
    println!("file      {mib} MiB of noise: hashing it …");
    let (sha, cid) = names(size);
    let folder = tempfile::tempdir()?;
    let node = Served::start(folder.path(), false)?;
    let remote = Remote::of(&node, size);
    let mut meter = Meter { pid: node.pid(), size, worst: 0.0 };
    let time = 1_700_000_000.0;

    // Refused first, so that what it left would show.
    let empty = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH";
    for (engine, wrong) in [("storage", "00".repeat(32)), ("ipfs", empty.to_owned())] {
        let told = metadata(engine, &wrong, time)?;
        let what = format!("upload under a wrong hash ({engine}), cut and resumed");
        let (status, text) = meter.step(&what, remote.resumable(&told)).await?;
        ensure!(status == StatusCode::UNPROCESSABLE_ENTITY, "{status} {text}");
        let left = disk_use(&folder.path().join("files")) + disk_use(&folder.path().join("uploads"));
        ensure!(left == 0, "{left} bytes were left");
    }
    let told = metadata("storage", &sha, time)?;
    let (status, text) =
        meter.step("upload by SHA-256, cut and resumed (tus)", remote.resumable(&told)).await?;
    ensure!(status == StatusCode::NO_CONTENT, "{status} {text}");
    meter.step("download by SHA-256, cut and resumed (range)", remote.download(&sha)).await?;
    let told = metadata("ipfs", &cid, time)?;
    let form = remote.form("/api/v0/ipfs/add_file", told);
    let (status, text) = meter.step("upload by CID, as a form", form).await?;
    ensure!(status == StatusCode::OK, "{status} {text}");
    let answer: Value = serde_json::from_str(&text)?;
    ensure!(answer["hash"] == cid.as_str(), "{answer}");
    meter.step("download by CID, cut and resumed (range)", remote.download(&cid)).await?;
    let bytes = meter.step("download by CID as an archive (CAR)", remote.archive(&cid)).await?;
    ensure!(bytes > size, "{bytes} bytes");

    // A second node takes the archive in.
    let other_folder = tempfile::tempdir()?;
    let other = Served::start(other_folder.path(), false)?;
    let second = Remote::of(&other, size);
    let mut other_meter = Meter { pid: other.pid(), size, worst: 0.0 };
    let told = metadata("ipfs", &cid, time)?;
    let given = second.archive_in(&remote.address, &cid, told);
    let (status, text) = other_meter.step("upload of the archive to another node", given).await?;
    ensure!(status == StatusCode::OK, "{status} {text}");
    other_meter.step("download from the archive, cut and resumed", second.download(&cid)).await?;
    let worst = meter.worst.max(other_meter.worst);
    println!("worst     {worst:.1} MiB more than before; promised are {PROMISED_MIB:.0}");
    ensure!(worst <= PROMISED_MIB, "more memory than promised");
    Ok(())
}

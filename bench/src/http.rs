//! `bench http`: `POST /api/v0/messages` from many clients beside the node, on the same machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::serve::Served;
use crate::{corpus, machine};

/// Requests of the floor.
const FLOOR_REQUESTS: usize = 20_000;

/// What others did on two cores with the client beside them (`SPECIFICATION.md` names the runs).
const REFERENCE_PER_SECOND: f64 = 100.0;
const HEPH_PER_SECOND: f64 = 1450.0;

pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_owned() })
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<(u16, Bytes)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

pub(crate) async fn run(count: usize, clients: usize, sync: bool) -> Result<()> {
    println!("machine   {}", machine::describe());
    println!("corpus    signing {count} messages …");
    let bodies: Vec<Bytes> = corpus::posts(count)?
        .into_iter()
        .map(|message| {
            let mut body = format!("{{\"sync\":{sync},\"message\":").into_bytes();
            body.extend_from_slice(&message);
            body.push(b'}');
            Bytes::from(body)
        })
        .collect();
    let folder = tempfile::tempdir()?;
    let node = Served::start(folder.path(), false)?;

    let floor =
        load(&node.address, clients, FLOOR_REQUESTS, |_| (Method::GET, "/api/v0/version", Bytes::new()), 200)
            .await?;
    let bodies = Arc::new(bodies);
    let expected = if sync { 200 } else { 202 };
    let cpu_before = machine::cpu_seconds(node.pid());
    let of_index = {
        let bodies = Arc::clone(&bodies);
        move |index: usize| (Method::POST, "/api/v0/messages", bodies[index].clone())
    };
    let run = load(&node.address, clients, count, of_index, expected).await?;
    let cpu = machine::cpu_seconds(node.pid()) - cpu_before;

    let mut client = Client::connect(&node.address).await?;
    let (_, body) = client.send(Method::GET, "/metrics.json", Bytes::new()).await?;
    let metrics: serde_json::Value = serde_json::from_slice(&body).context("metrics.json")?;
    let stored = metrics["pyaleph_status_sync_messages_total"].as_u64().unwrap_or(0);
    ensure!(stored as usize >= count, "the node stored {stored} of {count} messages");

    let per_second = count as f64 / run.wall.as_secs_f64();
    println!(
        "processed {count} messages over HTTP, {clients} clients, sync {sync}, durable before each answer"
    );
    println!(
        "wall      {:.2} s, {per_second:.0} messages/s, the client on the same cores",
        run.wall.as_secs_f64()
    );
    println!("latency   p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", run.at(0.5), run.at(0.99), run.at(1.0));
    println!("cpu       {:.0} µs of the node a message", cpu / count as f64 * 1e6);
    println!(
        "floor     {:.0} requests/s for GET /api/v0/version, same clients; ratio {:.2}",
        FLOOR_REQUESTS as f64 / floor.wall.as_secs_f64(),
        per_second / (FLOOR_REQUESTS as f64 / floor.wall.as_secs_f64())
    );
    println!(
        "ratio     {:.0} × the reference ({REFERENCE_PER_SECOND}/s on two cores)",
        per_second / REFERENCE_PER_SECOND
    );
    println!("ratio     {:.1} × heph ({HEPH_PER_SECOND}/s on two cores)", per_second / HEPH_PER_SECOND);
    println!("memory    {:.0} MiB resident after {stored} messages", machine::resident_mib(node.pid()));
    Ok(())
}

struct Run {
    wall: Duration,
    /// Milliseconds, ascending.
    latencies: Vec<f64>,
}

impl Run {
    fn at(&self, quantile: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * quantile) as usize).copied().unwrap_or(0.0)
    }
}

async fn load(
    address: &str,
    clients: usize,
    count: usize,
    request: impl Fn(usize) -> (Method, &'static str, Bytes) + Send + Sync + 'static,
    expected: u16,
) -> Result<Run> {
    let next = Arc::new(AtomicUsize::new(0));
    let request = Arc::new(request);
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..clients {
        let mut client = Client::connect(address).await?;
        let (next, request) = (Arc::clone(&next), Arc::clone(&request));
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok::<_, anyhow::Error>(latencies);
                }
                let (method, path, body) = request(index);
                let sent = Instant::now();
                let (status, body) = client.send(method, path, body).await?;
                latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                ensure!(status == expected, "status {status}: {}", String::from_utf8_lossy(&body));
            }
        }));
    }
    let mut latencies = Vec::with_capacity(count);
    for task in tasks {
        latencies.extend(task.await??);
    }
    let wall = started.elapsed();
    latencies.sort_by(f64::total_cmp);
    Ok(Run { wall, latencies })
}

//! `bench subscribers`: many WebSockets with filters beside one node, each of which must receive every
//! message that it asked for exactly once; some read nothing and must be dropped.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::serve::Served;
use crate::{corpus, machine};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connections that publish.
const PUBLISHERS: usize = 8;

/// A subscriber to whom nothing comes for this long has everything or never will.
const QUIET: Duration = Duration::from_secs(60);

/// A slow reader finds the reason for its end in this time.
const TOLD_WITHIN: Duration = Duration::from_secs(20);

/// What a subscriber asks for.
#[derive(Debug, Clone)]
enum Filter {
    All,
    Channel(String),
    Sender(String),
}

impl Filter {
    /// One in ten wants everything, the others one of the frequent channels or senders.
    fn of(number: usize, channels: &[String], senders: &[String]) -> Self {
        match number % 10 {
            0 => Self::All,
            1..5 => Self::Channel(channels[number % channels.len()].clone()),
            _ => Self::Sender(senders[number % senders.len()].clone()),
        }
    }

    fn query(&self) -> String {
        match self {
            Self::All => "msgTypes=POST&contentFormat=none".to_owned(),
            Self::Channel(channel) => format!("channels={channel}"),
            Self::Sender(sender) => format!("addresses={sender}"),
        }
    }

    fn wants(&self, message: &Brief) -> bool {
        match self {
            Self::All => true,
            Self::Channel(channel) => message.channel == *channel,
            Self::Sender(sender) => message.sender == *sender,
        }
    }
}

/// What filters look at.
struct Brief {
    hash: String,
    channel: String,
    sender: String,
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Values in the order of their frequency.
fn frequent<'a>(values: impl Iterator<Item = &'a String>, most: usize) -> Vec<String> {
    let mut counts: HashMap<&String, usize> = HashMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let mut order: Vec<_> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    order.into_iter().take(most).map(|(value, _)| value.clone()).collect()
}

pub(crate) async fn run(subscribers: usize, messages: usize, silent: usize) -> Result<()> {
    println!("machine      {}", machine::describe());
    let bodies = corpus::posts(messages)?;
    let briefs: Vec<Brief> = bodies
        .iter()
        .map(|body| {
            let value: Value = serde_json::from_slice(body)?;
            let (hash, channel) = (text(&value, "item_hash"), text(&value, "channel"));
            Ok(Brief { hash, channel, sender: text(&value, "sender") })
        })
        .collect::<Result<_>>()?;
    let channels = frequent(briefs.iter().map(|brief| &brief.channel), 20);
    let senders = frequent(briefs.iter().map(|brief| &brief.sender), 50);
    let folder = tempfile::tempdir()?;
    let node = Served::start(folder.path(), false)?;
    let idle = machine::resident_mib(node.pid());

    let mut sockets = Vec::with_capacity(subscribers);
    for number in 0..subscribers {
        let filter = Filter::of(number, &channels, &senders);
        let url = format!("ws://{}/api/ws0/messages?history=0&{}", node.address, filter.query());
        sockets.push((filter, connect_async(url).await.context("a subscriber")?.0));
    }
    let mut silent_sockets = Vec::with_capacity(silent);
    for _ in 0..silent {
        let url = format!("ws://{}/api/ws0/messages?history=0", node.address);
        silent_sockets.push(connect_async(url).await.context("a silent subscriber")?.0);
    }
    // The server's side of the last ones is ready a moment after the client's.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let open = machine::resident_mib(node.pid());
    let per_socket = (open - idle) * 1024.0 / (subscribers + silent) as f64;
    println!(
        "open         {subscribers} subscribers with filters, {silent} that read nothing: {open:.0} MiB resident, \
         {per_socket:.0} KiB each"
    );

    let briefs = Arc::new(briefs);
    let frames = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|(filter, socket)| {
            let expected: HashSet<String> =
                briefs.iter().filter(|brief| filter.wants(brief)).map(|brief| brief.hash.clone()).collect();
            tokio::spawn(read(socket, expected, Arc::clone(&frames)))
        })
        .collect();
    let cpu = machine::cpu_seconds(node.pid());
    let begun = Instant::now();
    publish(&node.address, bodies).await?;
    let published = begun.elapsed();
    let mut most = open;
    let mut delivered = 0u64;
    for reader in readers {
        delivered += reader.await??;
        most = most.max(machine::resident_mib(node.pid()));
    }
    let wall = begun.elapsed();
    let cpu = machine::cpu_seconds(node.pid()) - cpu;
    println!(
        "delivered    {delivered} frames of {messages} messages, each to everyone who asked for it, exactly once"
    );
    println!(
        "wall         {:.2} s to publish, {:.2} s until the last subscriber had everything: {:.0} frames/s, the \
         clients on the same cores",
        published.as_secs_f64(),
        wall.as_secs_f64(),
        delivered as f64 / wall.as_secs_f64()
    );
    println!(
        "cpu          {:.1} µs of the node a frame, publishing included",
        cpu / delivered.max(1) as f64 * 1e6
    );
    println!("memory       {most:.0} MiB resident at most");
    if silent > 0 {
        let mut told = 0;
        for socket in silent_sockets {
            told += usize::from(is_told(socket).await);
        }
        println!(
            "dropped      {told} of {silent} that read nothing found the close code 1008 when they read at last"
        );
    }
    Ok(())
}

/// Reads until everything expected is here; nothing may come that is not, and nothing twice.
async fn read(mut socket: Socket, mut expected: HashSet<String>, frames: Arc<AtomicU64>) -> Result<u64> {
    let mut seen = 0;
    while !expected.is_empty() {
        let next = tokio::time::timeout(QUIET, socket.next()).await;
        let next = next.with_context(|| format!("{} messages did not come", expected.len()))?;
        match next.context("the node closed")?? {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text)?;
                let hash = message["item_hash"].as_str().unwrap_or_default();
                ensure!(expected.remove(hash), "{hash} came twice or was not asked for");
                seen += 1;
                frames.fetch_add(1, Ordering::Relaxed);
            }
            Message::Close(frame) => bail!("closed with {frame:?}, {} messages missing", expected.len()),
            _ => {}
        }
    }
    Ok(seen)
}

/// Whether the node told a slow reader why it was dropped.
async fn is_told(mut socket: Socket) -> bool {
    let reading = async {
        while let Some(Ok(next)) = socket.next().await {
            if let Message::Close(frame) = next {
                return frame.is_some_and(|frame| u16::from(frame.code) == 1008);
            }
        }
        false
    };
    // Pings go on for ever on a socket that was not dropped.
    tokio::time::timeout(TOLD_WITHIN, reading).await.unwrap_or(false)
}

async fn publish(address: &str, bodies: Vec<Vec<u8>>) -> Result<()> {
    let bodies = Arc::new(bodies);
    let mut publishers = Vec::new();
    for first in 0..PUBLISHERS {
        let (bodies, address) = (Arc::clone(&bodies), address.to_owned());
        publishers.push(tokio::spawn(async move {
            let stream = TcpStream::connect(&address).await?;
            let (mut sender, connection): (SendRequest<Full<Bytes>>, _) =
                handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            for message in bodies.iter().skip(first).step_by(PUBLISHERS) {
                let mut body = br#"{"sync":false,"message":"#.to_vec();
                body.extend_from_slice(message);
                body.push(b'}');
                let request = Request::post("/api/v0/messages")
                    .header("host", &address)
                    .header("content-type", "application/json")
                    .body(Full::new(Bytes::from(body)))?;
                sender.ready().await?;
                let answer = sender.send_request(request).await?;
                let status = answer.status();
                answer.into_body().collect().await?;
                ensure!(status.is_success(), "a message was answered {status}");
            }
            Ok::<_, anyhow::Error>(())
        }));
    }
    for publisher in publishers {
        publisher.await??;
    }
    Ok(())
}

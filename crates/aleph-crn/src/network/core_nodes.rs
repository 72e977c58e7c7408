//! Requests to core nodes: the preferred one first, the others when it is slow or silent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use crate::defaults::{CONNECT_TIMEOUT, HEDGE_AFTER, JSON_BYTES, JSON_TIMEOUT};

/// The configured core nodes.
#[derive(Debug)]
pub(crate) struct CoreNodes {
    bases: Vec<Url>,
    client: reqwest::Client,
    /// Index of the node that answered last.
    preferred: AtomicUsize,
}

/// No core node gave an answer that can be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreachable(pub(crate) String);

/// What one node said.
enum Answer {
    Document(Value),
    /// It has no such thing: 404, or 410.
    Nothing,
}

impl CoreNodes {
    /// Prepares a client for `urls`, which [`crate::Config::check`] has seen.
    pub(crate) fn new(urls: &[String]) -> Result<Self, reqwest::Error> {
        let bases: Vec<Url> = urls
            .iter()
            .filter_map(|url| Url::parse(&format!("{}/", url.trim_end_matches('/'))).ok())
            .collect();
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("alephd/", env!("CARGO_PKG_VERSION")));
        if bases.iter().all(is_loopback) {
            // A proxy of the environment can't reach this machine's own services.
            client = client.no_proxy();
        }
        Ok(Self { bases, client: client.build()?, preferred: AtomicUsize::new(0) })
    }

    /// The HTTP client, for streams and sockets.
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Indexes of the nodes, the preferred one first.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.bases.len();
        let first = self.preferred.load(Ordering::Relaxed);
        (0..count).map(move |step| (first + step) % count.max(1))
    }

    /// The URL of `path_and_query` (no leading slash) on node `index`.
    pub(crate) fn url(&self, index: usize, path_and_query: &str) -> Option<Url> {
        self.bases.get(index)?.join(path_and_query).ok()
    }

    /// Remembers a node that answered.
    pub(crate) fn prefer(&self, index: usize) {
        self.preferred.store(index, Ordering::Relaxed);
    }

    /// Asks for a JSON document. The first document wins; `None` when a node has no such thing and no
    /// other has it either.
    pub(crate) async fn get_json(&self, path_and_query: &str) -> Result<Option<Value>, Unreachable> {
        let mut waiting: std::collections::VecDeque<usize> = self.order().collect();
        let mut asked = FuturesUnordered::new();
        let mut problems = Vec::new();
        let mut absent = false;
        loop {
            if asked.is_empty() {
                let Some(index) = waiting.pop_front() else { break };
                asked.push(self.ask(index, path_and_query));
            }
            let answer = tokio::select! {
                answer = asked.next() => answer,
                () = tokio::time::sleep(HEDGE_AFTER), if !waiting.is_empty() => None,
            };
            match answer {
                Some((index, Ok(Answer::Document(document)))) => {
                    self.prefer(index);
                    return Ok(Some(document));
                }
                Some((_, Ok(Answer::Nothing))) => absent = true,
                Some((index, Err(problem))) => {
                    problems.push(format!("{}: {problem}", self.bases.get(index).map_or("?", Url::as_str)));
                }
                // The asked ones are slow: one more.
                None => {
                    if let Some(index) = waiting.pop_front() {
                        asked.push(self.ask(index, path_and_query));
                    }
                }
            }
        }
        if absent { Ok(None) } else { Err(Unreachable(problems.join("; "))) }
    }

    async fn ask(&self, index: usize, path_and_query: &str) -> (usize, Result<Answer, String>) {
        let answer = tokio::time::timeout(JSON_TIMEOUT, self.ask_once(index, path_and_query)).await;
        (index, answer.unwrap_or_else(|_| Err(format!("no answer in {} s", JSON_TIMEOUT.as_secs()))))
    }

    async fn ask_once(&self, index: usize, path_and_query: &str) -> Result<Answer, String> {
        let url = self.url(index, path_and_query).ok_or("no such URL")?;
        let response = self.client.get(url).send().await.map_err(cause_of)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Nothing),
            status => return Err(format!("status {status}")),
        }
        let body = read_bounded(response, JSON_BYTES).await?;
        let document = aleph_types::json::parse(&body).map_err(|error| error.to_string())?;
        Ok(Answer::Document(document))
    }
}

/// `text` as one segment of a path or one value of a query: what others wrote can't change the rest.
pub(crate) fn escaped(text: &str) -> String {
    use std::fmt::Write;
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            safe.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    safe
}

/// A whole body of at most `most` bytes.
async fn read_bounded(response: Response, most: u64) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(cause_of)?;
        if (body.len() + chunk.len()) as u64 > most {
            return Err(format!("answer larger than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause says more than the library's own sentence.
pub(crate) fn cause_of(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_one_segment() {
        assert_eq!(escaped("0xAb-1"), "0xAb-1");
        assert_eq!(escaped("../a?b=c&d"), "%2E%2E%2Fa%3Fb%3Dc%26d");
    }
}

use std::sync::Arc;
use std::time::Duration;

use aleph_types::ItemHash;
use bytes::Bytes;
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::retry::{self, RetryPolicy};

mod accounts;
mod aggregates;
mod messages;
mod node;
mod posts;
mod publish;

pub use accounts::{AccountFile, Balance};
pub use aggregates::AggregateEntry;
pub use node::NodeInfo;
pub use posts::Post;
pub use publish::{Publication, PublishOutcome};

/// Largest answer that is held in memory, in bytes: a page of 200 of the largest inline messages.
const LARGEST_ANSWER: usize = 128 * 1024 * 1024;

/// Longest text of an HTTP error that is kept.
const LONGEST_ERROR_TEXT: usize = 600;

/// A small request must be answered within this time; a `sync` publication takes up to 30 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of one core node. Cheap to clone; clones share the connections.
///
/// TLS needs a process-wide crypto provider, which binaries install once:
/// `rustls::crypto::ring::default_provider().install_default()`.
///
/// ```no_run
/// # async fn example() -> aleph_sdk::Result<()> {
/// let client = aleph_sdk::Client::new("http://127.0.0.1:4024")?;
/// println!("{}", client.node_info().await?.version);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    base: Url,
    retry: RetryPolicy,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.inner.base.as_str()).finish_non_exhaustive()
    }
}

/// Reads the address of a node as people write it.
pub(crate) fn parse_base(text: &str) -> Result<Url> {
    let trimmed = text.trim().trim_end_matches('/');
    let with_scheme = if trimmed.contains("://") { trimmed.to_owned() } else { format!("http://{trimmed}") };
    let url = Url::parse(&with_scheme)
        .map_err(|error| Error::input(format!("'{text}' is not the address of a node: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(Error::input(format!(
            "'{text}' is not the address of a node: expected something like http://127.0.0.1:4024"
        )));
    }
    Ok(url)
}

/// Whether the URL names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host_str().unwrap_or_default() {
        "localhost" | "[::1]" => true,
        host => host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
    }
}

/// The HTTP client for a node at `base`. A proxy of the environment is used, but not for this machine.
pub(crate) fn http_client(base: &Url) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder();
    let builder = if is_loopback(base) { builder.no_proxy() } else { builder };
    builder
        .user_agent(concat!("aleph-sdk-rs/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
        .map_err(|error| Error::unreachable("the network", error))
}

impl Client {
    /// A client of the core node at `base`, as in `http://127.0.0.1:4024` (the scheme may be left out).
    pub fn new(base: &str) -> Result<Self> {
        Self::with_retry(base, RetryPolicy::default())
    }

    /// The same with another patience.
    pub fn with_retry(base: &str, retry: RetryPolicy) -> Result<Self> {
        let base = parse_base(base)?;
        Ok(Self { inner: Arc::new(Inner { http: http_client(&base)?, base, retry }) })
    }

    /// A client of another core node that shares this one's connections and patience.
    pub fn at(&self, base: &str) -> Result<Self> {
        let base = parse_base(base)?;
        let alike = is_loopback(&base) == is_loopback(&self.inner.base);
        let http = if alike { self.inner.http.clone() } else { http_client(&base)? };
        Ok(Self { inner: Arc::new(Inner { http, base, retry: self.inner.retry }) })
    }

    /// The node's address, without a slash at the end.
    pub fn base_url(&self) -> &str {
        self.inner.base.as_str().trim_end_matches('/')
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.inner.http
    }

    /// The URL of `path`, which begins with a slash and is already escaped.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url())
    }

    /// Sends what `make` builds, again where the policy allows it, and returns the first answer that is no
    /// sign of overload. `timeout` bounds one attempt as a whole.
    pub(crate) async fn send(
        &self,
        url: &str,
        timeout: Option<Duration>,
        mut make: impl FnMut() -> Result<RequestBuilder>,
    ) -> Result<Response> {
        let mut attempt = 1;
        loop {
            let mut request = make()?;
            if let Some(timeout) = timeout {
                request = request.timeout(timeout);
            }
            let (error, asked) = match request.send().await {
                Ok(response) if is_overload(response.status()) => {
                    let asked = retry::retry_after(response.headers());
                    (status_error(url, response).await, asked)
                }
                Ok(response) => return Ok(response),
                // A request that ran into its time limit has been waited for long enough.
                Err(error) if error.is_builder() || error.is_redirect() || error.is_timeout() => {
                    return Err(Error::unreachable(url, error.without_url()));
                }
                Err(error) => (Error::unreachable(url, error.without_url()), None),
            };
            let Some(pause) = self.inner.retry.pause_after(attempt, asked, retry::random_byte()) else {
                return Err(error);
            };
            tracing::debug!(url, attempt, pause_ms = pause.as_millis() as u64, %error, "trying again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// GET `path` with query parameters; any HTTP status comes back as an answer.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<(String, Response)> {
        let url = self.url(path);
        let response =
            self.send(&url, Some(REQUEST_TIMEOUT), || Ok(self.http().get(&url).query(query))).await?;
        Ok((url, response))
    }

    /// GET a JSON document; a 404 becomes `None`.
    pub(crate) async fn get_optional<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        expected: &'static str,
    ) -> Result<Option<T>> {
        let (url, response) = self.get(path, query).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(read_json(&url, response, expected).await?)),
            _ => Err(status_error(&url, response).await),
        }
    }

    /// GET a JSON document that must be there.
    pub(crate) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        expected: &'static str,
    ) -> Result<T> {
        let (url, response) = self.get(path, query).await?;
        if !response.status().is_success() {
            return Err(status_error(&url, response).await);
        }
        read_json(&url, response, expected).await
    }

    /// POST a JSON document; any HTTP status comes back as an answer.
    pub(crate) async fn post_json(&self, path: &str, body: Bytes) -> Result<(String, Response)> {
        let url = self.url(path);
        let response = self
            .send(&url, Some(REQUEST_TIMEOUT), || {
                Ok(self
                    .http()
                    .post(&url)
                    .header(reqwest::header::CONTENT_TYPE, "application/json")
                    .body(body.clone()))
            })
            .await?;
        Ok((url, response))
    }

    /// The error for a hash that this node does not know.
    pub(crate) fn not_found(&self, what: &str, hash: &ItemHash) -> Error {
        Error::NotFound { what: format!("{what} {hash}"), node: self.base_url().to_owned() }
    }
}

fn is_overload(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Reads at most `limit` bytes of a body.
pub(crate) async fn read_bounded(url: &str, mut response: Response, limit: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| Error::unreachable(url, error.without_url()))?
    {
        if body.len() + chunk.len() > limit {
            return Err(Error::strange_answer(url, "an answer of bounded size"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads a JSON answer.
pub(crate) async fn read_json<T: DeserializeOwned>(
    url: &str,
    response: Response,
    expected: &'static str,
) -> Result<T> {
    let body = read_bounded(url, response, LARGEST_ANSWER).await?;
    serde_json::from_slice(&body).map_err(|error| Error::answer(url, expected, error))
}

/// Turns an HTTP error into ours, with the beginning of its text.
pub(crate) async fn status_error(url: &str, mut response: Response) -> Error {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() < LONGEST_ERROR_TEXT {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    let text: String = String::from_utf8_lossy(&body).chars().take(LONGEST_ERROR_TEXT).collect();
    Error::Status { url: url.to_owned(), status, body: text }
}

/// Escapes one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            escaped.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_written_in_many_ways() {
        for text in ["127.0.0.1:4024", "http://127.0.0.1:4024/", " http://127.0.0.1:4024 "] {
            assert_eq!(parse_base(text).unwrap().as_str(), "http://127.0.0.1:4024/", "{text}");
        }
        assert!(parse_base("ftp://x").is_err());
        assert!(parse_base("").is_err());
    }

    #[test]
    fn this_machine_is_known() {
        let loopback = |text| is_loopback(&parse_base(text).unwrap());
        assert!(loopback("localhost:1") && loopback("127.1.2.3:1") && loopback("http://[::1]:1"));
        assert!(!loopback("10.0.0.1:1") && !loopback("https://localhost.example.org"));
    }

    #[test]
    fn segments_are_escaped() {
        assert_eq!(segment("0xAb/c d"), "0xAb%2Fc%20d");
    }
}

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aleph_types::ItemHash;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::account::Account;
use crate::client::{http_client, is_loopback, parse_base, read_bounded, read_json, status_error};
use crate::error::{Error, Result};
use crate::session::SessionKey;
use crate::watch::{Socket, open_socket, websocket_url};

/// Most bytes of a program's log that are read at once.
const LONGEST_LOG: usize = 64 * 1024 * 1024;

/// Set by compute nodes on answers that a program gave (`spec: crn-api.md §8`).
const PROGRAM_HEADER: &str = "aleph-program-itemhash";

/// A client of one compute node.
#[derive(Debug, Clone)]
pub struct ComputeNode {
    http: reqwest::Client,
    base: Url,
}

/// An HTTP request to a program.
#[derive(Debug, Clone)]
pub struct ProgramRequest {
    /// HTTP method.
    pub method: Method,
    /// Path and query inside the program, beginning with a slash.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Longest wait for the answer; the first call boots the program.
    pub timeout: Duration,
}

impl ProgramRequest {
    /// A GET of `path`.
    pub fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(120),
        }
    }
}

/// The beginning of a program's answer; its body is read from it.
#[derive(Debug)]
pub struct ProgramAnswer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Whether the program answered, and not the node in its place.
    pub from_program: bool,
    url: String,
    response: Response,
}

impl ProgramAnswer {
    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.response.chunk().await.map_err(|error| Error::unreachable(&self.url, error.without_url()))
    }

    /// The whole body, if it has at most `limit` bytes.
    pub async fn bytes(self, limit: usize) -> Result<Vec<u8>> {
        read_bounded(&self.url, self.response, limit).await
    }

    /// The answer as an error, with the beginning of its text.
    pub async fn into_error(self) -> Error {
        status_error(&self.url, self.response).await
    }
}

/// A running or past execution on a compute node (`spec: crn-api.md §4.3`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Whether it runs, or is being started for a request.
    #[serde(default)]
    pub running: bool,
    /// `microvm`, `persistent_program`, `instance`…
    #[serde(default)]
    pub vm_type: Option<String>,
    /// Times of its life, as served; null for what has not happened.
    #[serde(default)]
    pub status: Value,
    /// Addresses, as served.
    #[serde(default)]
    pub networking: Value,
}

impl Execution {
    /// Whether its machine is up, and not only being started.
    pub fn is_up(&self) -> bool {
        // Older nodes list what is up and tell no times.
        self.running && self.status.get("started_at").is_none_or(|time| !time.is_null())
    }
}

/// One line that a program wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// `stdout`, `stderr` or `system`.
    pub stream: String,
    /// The text.
    pub message: String,
    /// When, as the node writes it; live lines have none.
    pub time: Option<String>,
}

impl ComputeNode {
    /// A client of the compute node at `base`.
    pub fn new(base: &str) -> Result<Self> {
        let base = parse_base(base)?;
        Ok(Self { http: http_client(&base)?, base })
    }

    /// The node's address, without a slash at the end.
    pub fn base_url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Where the program answers on this node.
    pub fn program_url(&self, program: &ItemHash) -> String {
        format!("{}/vm/{program}/", self.base_url())
    }

    /// Calls a program; boots it when it does not run. Answers of any HTTP status come back.
    ///
    /// A call is sent once: it may change something.
    pub async fn call(&self, program: &ItemHash, request: ProgramRequest) -> Result<ProgramAnswer> {
        let slash = if request.path.starts_with('/') { "" } else { "/" };
        let url = format!("{}/vm/{program}{slash}{}", self.base_url(), request.path);
        let response = self
            .http
            .request(request.method, &url)
            .headers(request.headers)
            .body(request.body)
            .timeout(request.timeout)
            .send()
            .await
            .map_err(|error| Error::unreachable(&url, error.without_url()))?;
        Ok(ProgramAnswer {
            status: response.status(),
            headers: response.headers().clone(),
            from_program: response.headers().contains_key(PROGRAM_HEADER),
            url,
            response,
        })
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        expected: &'static str,
    ) -> Result<Option<T>> {
        let url = format!("{}{path}", self.base_url());
        let response = self
            .http
            .get(&url)
            .timeout(Duration::from_secs(15))
            .send()
            .await
            .map_err(|error| Error::unreachable(&url, error.without_url()))?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(read_json(&url, response, expected).await?)),
            _ => Err(status_error(&url, response).await),
        }
    }

    /// The executions that the node knows, by program; of older nodes only those that run.
    pub async fn executions(&self) -> Result<BTreeMap<String, Execution>> {
        const EXPECTED: &str = "a list of executions";
        if let Some(all) = self.get("/v2/about/executions/list", EXPECTED).await? {
            return Ok(all);
        }
        let running: Option<BTreeMap<String, Execution>> =
            self.get("/about/executions/list", EXPECTED).await?;
        let mut running = running.unwrap_or_default();
        for execution in running.values_mut() {
            execution.running = true;
        }
        Ok(running)
    }

    /// What the node says about its load and capacity (`spec: crn-api.md §4.5`), as served.
    pub async fn usage(&self) -> Result<Option<Value>> {
        self.get("/about/usage/system", "the node's usage").await
    }

    /// The name for which operations are signed: the host without a port (`spec: crn-api.md §3.2`). A node on
    /// this machine calls itself `localhost`, however it is reached.
    fn domain(&self) -> &str {
        if is_loopback(&self.base) { "localhost" } else { self.base.host_str().unwrap_or_default() }
    }

    /// The lines that the program wrote so far, oldest first. The account must own the program.
    pub async fn logs(&self, account: &Account, program: &ItemHash) -> Result<Vec<LogLine>> {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(rename = "MESSAGE", default)]
            message: Value,
            #[serde(default)]
            file: Option<String>,
            #[serde(rename = "__REALTIME_TIMESTAMP", default)]
            time: Option<Value>,
        }
        let (url, response) = self.operate(account, Method::GET, program, "logs").await?;
        match response.status() {
            StatusCode::NOT_FOUND => Err(self.no_execution(program)),
            status if status.is_success() => {
                let body = read_bounded(&url, response, LONGEST_LOG).await?;
                let entries: Vec<Entry> =
                    serde_json::from_slice(&body).map_err(|error| Error::answer(&url, "a log", error))?;
                Ok(entries
                    .into_iter()
                    .map(|entry| LogLine {
                        stream: entry.file.unwrap_or_else(|| "stdout".into()),
                        message: text_of(entry.message),
                        time: entry.time.map(text_of),
                    })
                    .collect())
            }
            _ => Err(status_error(&url, response).await),
        }
    }

    /// Ends the program's VM; the next request starts it again. The account must own the program.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the node knows no execution of it, [`Error::Status`] when it refuses.
    pub async fn stop(&self, account: &Account, program: &ItemHash) -> Result<()> {
        let (url, response) = self.operate(account, Method::POST, program, "stop").await?;
        match response.status() {
            StatusCode::NOT_FOUND => Err(self.no_execution(program)),
            status if status.is_success() => Ok(()),
            _ => Err(status_error(&url, response).await),
        }
    }

    /// Sends an owner's operation on a program, signed by a key that the account vouches for
    /// (`spec: crn-api.md §3.2`).
    async fn operate(
        &self,
        account: &Account,
        method: Method,
        program: &ItemHash,
        operation: &str,
    ) -> Result<(String, Response)> {
        let path = format!("/control/machine/{program}/{operation}");
        let signed = SessionKey::new(account, self.domain())?.sign(method.as_str(), &path)?;
        let url = format!("{}{path}", self.base_url());
        let response = self
            .http
            .request(method, &url)
            .header("X-SignedPubKey", signed.public_key.to_string())
            .header("X-SignedOperation", signed.operation.to_string())
            .timeout(Duration::from_secs(60))
            .send()
            .await
            .map_err(|error| Error::unreachable(&url, error.without_url()))?;
        Ok((url, response))
    }

    fn no_execution(&self, program: &ItemHash) -> Error {
        Error::NotFound { what: format!("an execution of {program}"), node: self.base_url().to_owned() }
    }

    /// The lines so far and then those to come. The account must own the program.
    ///
    /// Nodes that stream no logs are asked again every second.
    pub async fn follow_logs(&self, account: &Account, program: &ItemHash) -> Result<LogStream> {
        let path = format!("/control/machine/{program}/stream_logs");
        let http = format!("{}{path}", self.base_url());
        let signed = SessionKey::new(account, self.domain())?.sign("GET", &path)?;
        let mut socket = match open_socket(&websocket_url(&http)?).await {
            Err(Error::Status { status: 404, .. }) => {
                let pending = VecDeque::from(self.logs(account, program).await?);
                let polling = Polling {
                    node: self.clone(),
                    account: account.clone(),
                    program: program.clone(),
                    seen: pending.len(),
                    pending,
                };
                return Ok(LogStream { url: http, source: LogSource::Polling(Box::new(polling)) });
            }
            other => other?,
        };
        let hello = json!({
            "auth": { "X-SignedPubKey": signed.public_key, "X-SignedOperation": signed.operation }
        });
        socket
            .send(Frame::text(hello.to_string()))
            .await
            .map_err(|error| Error::unreachable(&http, error))?;
        Ok(LogStream { url: http, source: LogSource::Socket(Box::new(socket)) })
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Lines of a program as they come.
#[derive(Debug)]
pub struct LogStream {
    url: String,
    source: LogSource,
}

#[derive(Debug)]
enum LogSource {
    Socket(Box<Socket>),
    Polling(Box<Polling>),
}

/// Reads the whole log again and again.
#[derive(Debug)]
struct Polling {
    node: ComputeNode,
    account: Account,
    program: ItemHash,
    /// Lines of the log that were taken over.
    seen: usize,
    pending: VecDeque<LogLine>,
}

impl Polling {
    async fn next(&mut self) -> Result<LogLine> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Ok(line);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let lines = self.node.logs(&self.account, &self.program).await?;
            // A log that became shorter was begun anew.
            let seen = if lines.len() < self.seen { 0 } else { self.seen };
            self.seen = lines.len();
            self.pending.extend(lines.into_iter().skip(seen));
        }
    }
}

impl LogStream {
    /// The next line; `None` when the node ends the stream.
    pub async fn next(&mut self) -> Result<Option<LogLine>> {
        match &mut self.source {
            LogSource::Socket(socket) => next_of_socket(&self.url, socket).await,
            LogSource::Polling(polling) => polling.next().await.map(Some),
        }
    }
}

async fn next_of_socket(url: &str, socket: &mut Socket) -> Result<Option<LogLine>> {
    #[derive(Deserialize)]
    struct FrameBody {
        status: Option<String>,
        reason: Option<String>,
        #[serde(rename = "type")]
        stream: Option<String>,
        message: Option<String>,
    }
    /// Clients are expected to ping this often (`spec: crn-api.md §7.2`).
    const PING: Duration = Duration::from_secs(30);
    loop {
        let frame = match timeout(PING, socket.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(Error::unreachable(url, error)),
            Ok(None) => return Ok(None),
            Err(_) => {
                let ping = socket.send(Frame::Ping(Bytes::new())).await;
                ping.map_err(|error| Error::unreachable(url, error))?;
                continue;
            }
        };
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Close(_) => return Ok(None),
            _ => continue,
        };
        let body: FrameBody = serde_json::from_str(text.as_str())
            .map_err(|error| Error::answer(url, "a line of a log", error))?;
        match (body.status.as_deref(), body.stream, body.message) {
            (Some("failed"), _, _) => {
                return Err(Error::Status {
                    url: url.to_owned(),
                    status: 403,
                    body: body.reason.unwrap_or_default(),
                });
            }
            (_, Some(stream), Some(message)) => return Ok(Some(LogLine { stream, message, time: None })),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_signed_for_the_name_of_the_node() {
        let domain = |url: &str| {
            let base = parse_base(url).unwrap();
            ComputeNode { http: reqwest::Client::new(), base }.domain().to_owned()
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        assert_eq!(domain("https://crn.example.org:4020"), "crn.example.org");
        assert_eq!(domain("http://127.0.0.1:4020"), "localhost");
        assert_eq!(domain("http://[::1]:4020"), "localhost");
    }

    #[test]
    fn a_machine_that_is_started_is_not_up() {
        let execution = |document| serde_json::from_value::<Execution>(document).unwrap();
        assert!(!execution(json!({"running": true, "status": {"started_at": null}})).is_up());
        assert!(execution(json!({"running": true, "status": {"started_at": "t"}})).is_up());
        assert!(execution(json!({"running": true})).is_up());
        assert!(!execution(json!({"vm_type": "microvm"})).is_up());
    }
}

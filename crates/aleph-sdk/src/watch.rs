use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use aleph_types::{ItemHash, Timestamp};
use futures_util::StreamExt;
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::builder::now;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::query::MessageFilter;
use crate::retry::{RetryPolicy, random_byte};
use crate::served::ServedMessage;

/// Nodes ping every 30 s (`spec: ccn-api.md §13`); a socket that is silent for longer is dead.
const SILENCE: Duration = Duration::from_secs(75);

/// Time for a connection to be made.
const CONNECT: Duration = Duration::from_secs(15);

/// Hashes remembered to drop what comes twice.
const REMEMBERED: usize = 4096;

/// After a break, messages since this long before it are asked for again.
const OVERLAP_MICROS: i64 = 60 * 1_000_000;

/// Most messages that a node sends as history (`spec: ccn-api.md §13.1`).
pub const LONGEST_HISTORY: u32 = 199;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What happens while messages are watched.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// A message, each hash once; first those of the history, oldest first.
    Message(Box<ServedMessage>),
    /// The connection broke and will be made anew; what is missed meanwhile is asked for then.
    Lost {
        /// Why, for people.
        reason: String,
    },
    /// The connection stands again.
    Restored,
}

/// A stream of messages as a node processes them, over breaks of the connection.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    filter: MessageFilter,
    history: u32,
    socket: Option<Socket>,
    alive_at: Timestamp,
    failures: u32,
    recent: Recent,
}

#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<ItemHash>,
    known: HashSet<ItemHash>,
}

impl Recent {
    /// Whether the hash is new; remembers it.
    fn insert(&mut self, hash: &ItemHash) -> bool {
        if !self.known.insert(hash.clone()) {
            return false;
        }
        self.order.push_back(hash.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

impl Client {
    /// Watches the messages that match `filter`, after the latest `history` of them (at most
    /// [`LONGEST_HISTORY`]).
    ///
    /// # Errors
    /// When the first connection can't be made. Later breaks are events, not errors.
    pub async fn watch(&self, filter: MessageFilter, history: u32) -> Result<Watch> {
        let mut watch = Watch {
            client: self.clone(),
            filter,
            history: history.min(LONGEST_HISTORY),
            socket: None,
            alive_at: now()?,
            failures: 0,
            recent: Recent::default(),
        };
        watch.socket = Some(watch.connect(false).await?);
        Ok(watch)
    }
}

impl Watch {
    async fn connect(&self, again: bool) -> Result<Socket> {
        let mut query = self.filter.to_query();
        let history = if again {
            if self.filter.start.is_none() {
                let since = self.alive_at.plus_micros(-OVERLAP_MICROS);
                query.push(("startDate", format!("{}", since.as_secs_f64())));
            }
            LONGEST_HISTORY
        } else {
            self.history
        };
        query.push(("history", history.to_string()));
        let mut url = websocket_url(&self.client.url("/api/ws0/messages"))?;
        url.query_pairs_mut().extend_pairs(query);
        open_socket(&url).await
    }

    /// The next event. Waits as long as it takes; may be dropped at any await and called again.
    pub async fn next(&mut self) -> Result<WatchEvent> {
        const PATIENCE: RetryPolicy = RetryPolicy {
            attempts: u32::MAX,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        };
        loop {
            let Some(socket) = self.socket.as_mut() else {
                let pause = PATIENCE.pause_after(self.failures.max(1), None, random_byte());
                sleep(pause.unwrap_or(PATIENCE.longest_pause)).await;
                match self.connect(true).await {
                    Ok(socket) => {
                        self.socket = Some(socket);
                        self.failures = 0;
                        return Ok(WatchEvent::Restored);
                    }
                    Err(error) => {
                        self.failures = self.failures.saturating_add(1);
                        tracing::debug!(%error, failures = self.failures, "no connection yet");
                        continue;
                    }
                }
            };
            let reason = match timeout(SILENCE, socket.next()).await {
                Ok(Some(Ok(Frame::Text(text)))) => {
                    self.alive_at = now()?;
                    match serde_json::from_str::<ServedMessage>(text.as_str()) {
                        Ok(message) if self.recent.insert(&message.item_hash) => {
                            return Ok(WatchEvent::Message(Box::new(message)));
                        }
                        Ok(_) => {}
                        Err(error) => tracing::warn!(%error, "a frame that is no message"),
                    }
                    continue;
                }
                Ok(Some(Ok(Frame::Close(frame)))) => match frame {
                    Some(frame) if !frame.reason.is_empty() => frame.reason.as_str().to_owned(),
                    _ => "the node closed the connection".to_owned(),
                },
                Ok(Some(Ok(_))) => {
                    self.alive_at = now()?;
                    continue;
                }
                Ok(Some(Err(error))) => error.to_string(),
                Ok(None) => "the connection ended".to_owned(),
                Err(_) => "the node went silent".to_owned(),
            };
            self.socket = None;
            self.failures = 1;
            return Ok(WatchEvent::Lost { reason });
        }
    }
}

/// The WebSocket form of an HTTP URL.
pub(crate) fn websocket_url(http: &str) -> Result<Url> {
    let mut url = Url::parse(http).map_err(|error| Error::input(format!("{http}: {error}")))?;
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| Error::input(format!("{http} has no WebSocket form")))?;
    Ok(url)
}

/// Opens a socket; a refusal by HTTP keeps its status and text.
pub(crate) async fn open_socket(url: &Url) -> Result<Socket> {
    let mut shown = url.clone();
    shown.set_query(None);
    let shown = shown.to_string();
    match timeout(CONNECT, connect_async(url.as_str())).await {
        Ok(Ok((socket, _response))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(Error::Status {
                url: shown,
                status: response.status().as_u16(),
                body: String::from_utf8_lossy(body).chars().take(600).collect(),
            })
        }
        Ok(Err(error)) => Err(Error::unreachable(shown, error)),
        Err(_) => Err(Error::TimedOut { what: format!("{shown} did not answer"), after: CONNECT }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_hashes_is_bounded() {
        let mut recent = Recent::default();
        let hash = |number: usize| ItemHash::sha256(&number.to_le_bytes());
        for number in 0..REMEMBERED + 10 {
            assert!(recent.insert(&hash(number)));
            assert!(!recent.insert(&hash(number)));
        }
        assert_eq!(recent.known.len(), REMEMBERED);
        assert!(recent.insert(&hash(0)));
    }

    #[test]
    fn sockets_follow_the_scheme() {
        assert_eq!(websocket_url("http://a:1/x").unwrap().as_str(), "ws://a:1/x");
        assert_eq!(websocket_url("https://a/x").unwrap().as_str(), "wss://a/x");
    }
}

//! Server-sent events: the same messages and numbers as the WebSockets, for clients that only read.
//!
//! Each event of a message carries its place in this node's order of processing. A client that comes back
//! with `Last-Event-ID` goes on after that place: what it missed is read from the database, then it hears
//! what comes. The same happens to a client that reads more slowly than messages come. One that reads
//! nothing at all loses its connection (`aleph_http`).

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aleph_store::StoreError;
use aleph_store::queries::{MessageFilter, MessageQuery, SortOrder, Start, StoredMessage};
use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::conditional::momentary;
use super::errors::ApiError;
use super::limits::{Client, StreamPlace};
use super::live::{Live, Place};
use super::message_filter::MessageRequest;
use super::message_json::{ContentFormat, push_stored};
use super::openapi::params::MessageFilterParams;
use super::websocket::{MESSAGE_SOCKETS, STATUS_SOCKETS, read_request};

/// Where a client says what it had last.
const LAST_EVENT_ID: &str = "last-event-id";

/// Proxies must not collect events.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// A comment shows proxies and clients that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long clients should wait before they come back.
const COME_BACK: Duration = Duration::from_secs(3);

/// Messages that are read from the database at once.
const PIECE: usize = 200;

/// Characters of the database's name that stand in event ids: enough to tell two nodes apart.
const NAME: usize = 12;

/// Messages as they are processed, after some of the past ones, as server-sent events.
///
/// The id of an event is its place in this node's order; with `Last-Event-ID` the stream goes on after it.
/// An id of another node can't be gone on from: the stream then starts as a new one, with an event `gap`.
#[utoipa::path(
    get,
    path = "/api/v1/messages/stream",
    tag = "streams",
    operation_id = "streams_messages",
    params(
        MessageFilterParams,
        ("history" = Option<i64>, Query, description = "Past messages first, oldest of them first; 10 by default", minimum = 0, maximum = 199),
        ("Last-Event-ID" = Option<String>, Header, description = "The last event that the client has"),
    ),
    responses(
        (status = 200, description = "Events whose data is a message", body = String, content_type = "text/event-stream"),
    ),
)]
pub(super) async fn messages(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    client: Option<Extension<Client>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (request, history) = read_request(query.as_deref())?;
    let counted = api.limits.stream(client.map(|Extension(client)| client))?;
    let place = api.message_sockets.take(MESSAGE_SOCKETS).ok_or_else(|| {
        api.node.metrics.ws_messages_rejected.increment();
        full()
    })?;
    let asked = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    let stream = MessageStream::start(&api, request, history, asked, Held::new(&api, place, counted)).await?;
    Ok(events(futures_util::stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok(event), stream))
    })))
}

fn full() -> ApiError {
    let text = "503: Too many connections: this node serves no more streams now";
    ApiError::text(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(30)
}

fn events(stream: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    let answer = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    momentary(([UNBUFFERED], answer).into_response())
}

/// What a stream holds while it is open.
struct Held {
    api: Arc<Api>,
    _place: Place,
    _counted: Option<StreamPlace>,
}

impl Held {
    fn new(api: &Arc<Api>, place: Place, counted: Option<StreamPlace>) -> Self {
        api.node.metrics.event_streams.increment();
        Self { api: Arc::clone(api), _place: place, _counted: counted }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.api.node.metrics.event_streams.decrement();
    }
}

/// Where the next event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// From the database: the client lacks what was processed before.
    Log,
    /// As messages are processed.
    Live,
    /// There is no next one.
    Ended,
}

struct MessageStream {
    held: Held,
    filter: MessageFilter,
    format: ContentFormat,
    /// Stands in front of every id.
    database: String,
    live: Receiver<Live>,
    source: Source,
    /// What the client has, or does not want, of this node's order.
    position: i64,
    /// Messages of the history that came after `position`.
    sent: HashSet<i64>,
    ready: VecDeque<Event>,
}

impl MessageStream {
    async fn start(
        api: &Arc<Api>,
        request: MessageRequest,
        history: u64,
        asked: Option<&str>,
        held: Held,
    ) -> Result<Self, ApiError> {
        // Listening starts before anything is read: nothing falls between.
        let live = api.live.subscribe(&api.node.pipeline);
        let store = &api.node.store;
        let mut database = store.meta("database").await?.unwrap_or_default();
        database.retain(|sign| sign.is_ascii_alphanumeric());
        database.truncate(NAME);
        let last = api.totals.last(store).await?;
        let mut stream = Self {
            held,
            filter: request.filter,
            format: request.format,
            database,
            live,
            source: Source::Live,
            position: last,
            sent: HashSet::new(),
            ready: VecDeque::from([Event::default().retry(COME_BACK)]),
        };
        match asked.map(|id| stream.place_of(id)) {
            // A place that was not given yet is of a database that was lost.
            Some(Some(place)) if place <= last => {
                stream.position = place;
                stream.source = Source::Log;
                return Ok(stream);
            }
            Some(_) => stream.ready.push_back(Event::default().event("gap").data(
                "the id is of another node or of another database: messages may lie between; read them at \
                 /api/v0/messages.json",
            )),
            None => {}
        }
        if history > 0 {
            let query = MessageQuery {
                filter: stream.filter.clone(),
                order: request.order,
                start: Start::Offset(0),
                limit: history,
            };
            for stored in store.list_messages(query).await?.iter().rev() {
                let data = written(stored, stream.format);
                stream.ready.push_back(Event::default().data(one_line(&data)));
                stream.sent.extend(i64::try_from(stored.seq));
            }
        }
        // The history is in the order of time; its place in the order of processing is its end.
        stream.ready.push_back(Event::default().id(stream.id(last)));
        Ok(stream)
    }

    fn id(&self, place: i64) -> String {
        format!("{}-{place}", self.database)
    }

    /// The place in an id, if the id is of this database.
    fn place_of(&self, id: &str) -> Option<i64> {
        let (database, place) = id.rsplit_once('-')?;
        (database == self.database).then(|| place.parse().ok()).flatten().filter(|place| *place >= 0)
    }

    async fn next(&mut self) -> Option<Event> {
        let stopping = self.held.api.node.stopping.clone();
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match self.source {
                Source::Ended => return None,
                Source::Log => {
                    if let Err(error) = self.read_on().await {
                        tracing::error!(%error, "messages of a stream can't be read");
                        self.source = Source::Ended;
                        let text = "this node can't read its messages now: come back later";
                        return Some(Event::default().event("error").data(text));
                    }
                }
                Source::Live => {
                    let next = tokio::select! {
                        () = stopping.cancelled() => return None,
                        next = self.live.recv() => next,
                    };
                    self.take(next);
                }
            }
        }
    }

    fn take(&mut self, next: Result<Live, RecvError>) {
        match next {
            Ok(Live::Message(message)) if message.seq() <= self.position => {}
            Ok(Live::Message(message)) => {
                let Some(message_written) = message.written() else {
                    self.source = Source::Log;
                    return;
                };
                self.position = message.seq();
                let sent = !self.sent.is_empty() && self.sent.remove(&message.seq());
                if !sent && message_written.matches(&self.filter) {
                    self.held.api.node.metrics.ws_frames.increment();
                    let id = self.id(self.position);
                    let frame = message_written.frame(self.format);
                    self.ready.push_back(Event::default().id(id).data(one_line(&frame)));
                }
            }
            // It reads too slowly for the feed: the database has what it missed.
            Ok(Live::Gap) | Err(RecvError::Lagged(_)) => self.source = Source::Log,
            Err(RecvError::Closed) => self.source = Source::Ended,
        }
    }

    /// Reads the next piece of the log.
    async fn read_on(&mut self) -> Result<(), StoreError> {
        let store = &self.held.api.node.store;
        let entries = store.log_after(self.position, PIECE).await?;
        let Some(last) = entries.last().map(|entry| entry.seq) else {
            self.source = Source::Live;
            return Ok(());
        };
        let mut filter = self.filter.clone();
        let hashes = entries.into_iter().map(|entry| entry.item_hash);
        filter.hashes = Some(match &self.filter.hashes {
            None => hashes.collect(),
            Some(wanted) => hashes.filter(|hash| wanted.contains(hash)).collect(),
        });
        let query = MessageQuery {
            filter,
            order: SortOrder::Ascending,
            start: Start::Offset(0),
            limit: PIECE as u64,
        };
        let mut found = store.list_messages(query).await?;
        found.sort_by_key(|stored| stored.seq);
        for stored in &found {
            let place = i64::try_from(stored.seq).unwrap_or(i64::MAX);
            if self.sent.remove(&place) {
                continue;
            }
            let data = written(stored, self.format);
            self.ready.push_back(Event::default().id(self.id(place)).data(one_line(&data)));
        }
        self.position = last;
        Ok(())
    }
}

/// Readers of events take a carriage return for the end of a line. In JSON a raw one stands between tokens
/// only, where any other space will do.
fn one_line(json: &str) -> Cow<'_, str> {
    if json.contains('\r') { json.replace('\r', " ").into() } else { json.into() }
}

fn written(stored: &StoredMessage, format: ContentFormat) -> String {
    let mut text = Vec::with_capacity(1024);
    push_stored(&mut text, stored, format);
    // JSON is UTF-8 whatever it holds.
    String::from_utf8(text).unwrap_or_default()
}

/// The node's numbers now, then at each change, as server-sent events.
#[utoipa::path(
    get,
    path = "/api/v1/status/stream",
    tag = "streams",
    operation_id = "streams_status",
    responses(
        (status = 200, description = "Events whose data is an object as of /metrics.json", body = String, content_type = "text/event-stream"),
    ),
)]
pub(super) async fn status(
    State(api): State<Arc<Api>>,
    client: Option<Extension<Client>>,
) -> Result<Response, ApiError> {
    let counted = api.limits.stream(client.map(|Extension(client)| client))?;
    let place = api.status_sockets.take(STATUS_SOCKETS).ok_or_else(|| {
        api.node.metrics.ws_status_rejected.increment();
        full()
    })?;
    let mut status = api.status.subscribe(&api);
    // The value as it is now, then each change.
    status.mark_changed();
    let held = Held::new(&api, place, counted);
    Ok(events(futures_util::stream::unfold((held, status), |(held, mut status)| async move {
        let stopping = held.api.node.stopping.clone();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return None,
                changed = status.changed() => changed.ok()?,
            }
            let frame = status.borrow_and_update().clone();
            if !frame.is_empty() {
                return Some((Ok(Event::default().data(frame.as_str())), (held, status)));
            }
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_ends_where_readers_would_not_put_it_together_again() {
        assert_eq!(one_line("{\"a\":\r\n1}"), "{\"a\": \n1}");
        assert!(matches!(one_line("{}"), Cow::Borrowed(_)));
    }
}

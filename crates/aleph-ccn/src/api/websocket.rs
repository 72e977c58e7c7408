//! Sockets of messages and of the node's status (`spec: ccn-api.md §13`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aleph_store::queries::{MessageFilter, MessageQuery, Start};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Api;
use super::errors::ApiError;
use super::limits::Client;
use super::live::{Live, Place, frame_of};
use super::message_filter::MessageRequest;
use super::message_json::{ContentFormat, push_stored};
use super::openapi::params::MessageFilterParams;
use super::params::Params;

/// Sockets of each kind at once.
pub(super) const MESSAGE_SOCKETS: usize = 10_000;
pub(super) const STATUS_SOCKETS: usize = 1_000;

/// Pause between pings, and how long their answer may take.
const HEARTBEAT: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(15);

/// A frame that a client doesn't take in this time ends its socket.
const SEND_WITHIN: Duration = Duration::from_secs(15);

/// How long the end of a socket is waited for, and by one that reads too slowly: what is on its way to it
/// lies before the reason.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
const SLOW_CLOSE_WITHIN: Duration = Duration::from_secs(60);

/// What clients say is ignored; more than this at once ends the socket.
const CLIENT_FRAME: usize = 64 * 1024;

/// Clients say little: thousands of sockets need small buffers.
const READ_BUFFER: usize = 4 * 1024;

/// Messages of the history at most, and by default.
const HISTORY_MOST: u64 = 199;
const HISTORY: u64 = 10;

/// Why a socket ended.
enum End {
    /// The client went away, or the node ends.
    Closed,
    /// With a reason for the client.
    With(u16, &'static str),
}

/// The connection is broken.
impl From<axum::Error> for End {
    fn from(_: axum::Error) -> Self {
        End::Closed
    }
}

const TOO_SLOW: End =
    End::With(close_code::POLICY, "reader too slow, messages were lost: reconnect with history");
const NO_PONG: End = End::With(close_code::POLICY, "no answer to pings");
const STOPPING: End = End::With(close_code::AWAY, "node is stopping");

/// What a subscriber of messages asks for, and how many of the past ones.
pub(super) fn read_request(query: Option<&str>) -> Result<(MessageRequest, u64), ApiError> {
    let mut params = Params::read(query);
    let mut request = MessageRequest::read(&mut params);
    let history = params.bounded_integer(&["history"], HISTORY, 0, HISTORY_MOST);
    params.finish()?;
    if request.gone.is_some() {
        // Gone messages never come: the subscriber hears nothing, as there.
        request.filter.statuses.processed = false;
    }
    Ok((request, history))
}

fn upgraded(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<WebSocketUpgrade, ApiError> {
    let upgrade = upgrade.map_err(|error| {
        ApiError::text(StatusCode::BAD_REQUEST, format!("400: this is a WebSocket: {error}"))
    })?;
    Ok(upgrade
        .max_message_size(CLIENT_FRAME)
        .max_frame_size(CLIENT_FRAME)
        .write_buffer_size(0)
        .read_buffer_size(READ_BUFFER))
}

/// WebSocket: messages as they are processed, after some of the past ones. Who reads too slowly is closed with code 1008.
#[utoipa::path(
    get,
    path = "/api/ws0/messages",
    tag = "streams",
    operation_id = "websocket_messages",
    params(MessageFilterParams, ("history" = Option<i64>, Query, description = "Past messages first, oldest of them first; 10 by default", minimum = 0, maximum = 199)),
    responses(
        (status = 101, description = "The connection is a WebSocket now: each text frame is a message"),
    ),
)]
pub(super) async fn messages(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    client: Option<Extension<Client>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgraded(upgrade)?;
    let (mut request, history) = read_request(query.as_deref())?;
    if request.format == ContentFormat::Headers {
        request.format = ContentFormat::None;
    }
    let counted = api.limits.stream(client.map(|Extension(client)| client))?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _counted = counted;
        let place = api.message_sockets.take(MESSAGE_SOCKETS);
        let mut socket = Socket::new(socket);
        let end = match place {
            None => {
                api.node.metrics.ws_messages_rejected.increment();
                End::With(close_code::AGAIN, "Too many connections")
            }
            Some(place) => {
                api.node.metrics.ws_messages.increment();
                let end = serve_messages(&api, &mut socket, request, history, place).await;
                api.node.metrics.ws_messages.decrement();
                match end {
                    Ok(()) => End::Closed,
                    Err(end) => end,
                }
            }
        };
        if let End::With(code, _) = end
            && code == close_code::POLICY
        {
            api.node.metrics.ws_dropped.increment();
        }
        socket.close(end, &api.node.stopping).await;
    }))
}

async fn serve_messages(
    api: &Api,
    socket: &mut Socket,
    request: MessageRequest,
    history: u64,
    _place: Place,
) -> Result<(), End> {
    // Listening starts before the history is read: nothing falls between, and what is in both is sent once.
    let mut live = api.live.subscribe(&api.node.pipeline);
    let mut sent = HashSet::new();
    if history > 0 {
        send_history(api, socket, &request, history, &mut sent).await?;
    }
    let MessageRequest { filter, format, .. } = request;
    let mut heartbeat = Heartbeat::new();
    loop {
        tokio::select! {
            () = api.node.stopping.cancelled() => return Err(STOPPING),
            tick = heartbeat.next() => tick.ping(socket).await?,
            said = socket.said() => heartbeat.heard(said?),
            next = live.recv() => {
                let Some(frame) = next_frame(next, &filter, format, &mut sent)? else { continue };
                api.node.metrics.ws_frames.increment();
                socket.send(Message::Text(frame)).await?;
            }
        }
    }
}

/// The frame of the next message, if the client wants it and doesn't have it.
fn next_frame(
    next: Result<Live, RecvError>,
    filter: &MessageFilter,
    format: ContentFormat,
    sent: &mut HashSet<i64>,
) -> Result<Option<Utf8Bytes>, End> {
    match next {
        Ok(Live::Message(message)) => {
            let written = message.written().ok_or(TOO_SLOW)?;
            let wanted = written.matches(filter) && (sent.is_empty() || !sent.remove(&message.seq()));
            Ok(wanted.then(|| written.frame(format)))
        }
        Ok(Live::Gap) | Err(RecvError::Lagged(_)) => Err(TOO_SLOW),
        Err(RecvError::Closed) => Err(STOPPING),
    }
}

/// The newest messages, oldest first, or what the request's order makes of that.
async fn send_history(
    api: &Api,
    socket: &mut Socket,
    request: &MessageRequest,
    history: u64,
    sent: &mut HashSet<i64>,
) -> Result<(), End> {
    let query = MessageQuery {
        filter: request.filter.clone(),
        order: request.order,
        start: Start::Offset(0),
        limit: history,
    };
    let found = api.node.store.list_messages(query).await.map_err(|error| {
        tracing::error!(error = %error, "history of a socket can't be read");
        End::With(close_code::ERROR, "this node can't read its messages now")
    })?;
    for stored in found.iter().rev() {
        let mut text = Vec::with_capacity(1024);
        push_stored(&mut text, stored, request.format);
        socket.send(Message::Text(frame_of(text))).await?;
        sent.extend(i64::try_from(stored.seq));
    }
    Ok(())
}

/// WebSocket: the node's numbers now, then at each change.
#[utoipa::path(
    get,
    path = "/api/ws0/status",
    tag = "streams",
    operation_id = "websocket_status",
    responses(
        (status = 101, description = "The connection is a WebSocket now: each text frame is an object as of /metrics.json"),
    ),
)]
pub(super) async fn status(
    State(api): State<Arc<Api>>,
    client: Option<Extension<Client>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgraded(upgrade)?;
    let counted = api.limits.stream(client.map(|Extension(client)| client))?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _counted = counted;
        let mut socket = Socket::new(socket);
        let end = match api.status_sockets.take(STATUS_SOCKETS) {
            None => {
                api.node.metrics.ws_status_rejected.increment();
                End::With(close_code::AGAIN, "Too many connections")
            }
            Some(place) => {
                api.node.metrics.ws_status.increment();
                let end = serve_status(&api, &mut socket, place).await;
                api.node.metrics.ws_status.decrement();
                match end {
                    Ok(()) => End::Closed,
                    Err(end) => end,
                }
            }
        };
        socket.close(end, &api.node.stopping).await;
    }))
}

async fn serve_status(api: &Arc<Api>, socket: &mut Socket, _place: Place) -> Result<(), End> {
    let mut status: watch::Receiver<Utf8Bytes> = api.status.subscribe(api);
    let mut heartbeat = Heartbeat::new();
    // The value as it is now, then each change.
    status.mark_changed();
    loop {
        tokio::select! {
            () = api.node.stopping.cancelled() => return Err(STOPPING),
            tick = heartbeat.next() => tick.ping(socket).await?,
            said = socket.said() => heartbeat.heard(said?),
            changed = status.changed() => {
                if changed.is_err() {
                    return Err(STOPPING);
                }
                let frame = status.borrow_and_update().clone();
                if !frame.is_empty() {
                    socket.send(Message::Text(frame)).await?;
                }
            }
        }
    }
}

/// A socket whose writes end in time.
struct Socket {
    inner: WebSocket,
}

/// What a client said: nothing of it matters but that it lives.
struct Said;

impl Socket {
    fn new(inner: WebSocket) -> Self {
        Self { inner }
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match tokio::time::timeout(SEND_WITHIN, self.inner.send(message)).await {
            Ok(sent) => Ok(sent?),
            Err(_elapsed) => Err(TOO_SLOW),
        }
    }

    async fn said(&mut self) -> Result<Said, End> {
        match self.inner.recv().await {
            Some(Ok(Message::Close(_))) | None => Err(End::Closed),
            Some(Ok(_)) => Ok(Said),
            Some(Err(error)) => Err(error.into()),
        }
    }

    async fn close(mut self, end: End, stopping: &CancellationToken) {
        let frame = match end {
            End::Closed => CloseFrame { code: close_code::NORMAL, reason: Utf8Bytes::default() },
            End::With(code, reason) => CloseFrame { code, reason: Utf8Bytes::from_static(reason) },
        };
        let patience = if frame.code == close_code::POLICY { SLOW_CLOSE_WITHIN } else { CLOSE_WITHIN };
        let closing = async {
            if self.inner.send(Message::Close(Some(frame))).await.is_ok() {
                // The client's own close ends the exchange.
                while let Some(Ok(_)) = self.inner.recv().await {}
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(patience, closing) => {}
            () = async {
                stopping.cancelled().await;
                tokio::time::sleep(CLOSE_WITHIN).await;
            } => {}
        }
    }
}

/// Pings, and the time by which something must have been heard.
struct Heartbeat {
    ticks: tokio::time::Interval,
    heard: Instant,
}

/// It is time for a ping.
struct Tick {
    answered: bool,
}

impl Heartbeat {
    fn new() -> Self {
        let mut ticks = tokio::time::interval_at(Instant::now() + HEARTBEAT, PONG_WITHIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, heard: Instant::now() }
    }

    fn heard(&mut self, _: Said) {
        self.heard = Instant::now();
    }

    async fn next(&mut self) -> Tick {
        self.ticks.tick().await;
        Tick { answered: self.heard.elapsed() < HEARTBEAT + PONG_WITHIN }
    }
}

impl Tick {
    async fn ping(self, socket: &mut Socket) -> Result<(), End> {
        if !self.answered {
            return Err(NO_PONG);
        }
        socket.send(Message::Ping(bytes::Bytes::new())).await
    }
}

/// The status that all sockets watch; one poll serves them all.
#[derive(Debug, Default)]
pub(super) struct StatusFeed {
    sender: parking_lot::Mutex<Option<Arc<watch::Sender<Utf8Bytes>>>>,
}

/// Pause between polls.
const POLL: Duration = Duration::from_secs(10);

impl StatusFeed {
    pub(super) fn subscribe(&self, api: &Arc<Api>) -> watch::Receiver<Utf8Bytes> {
        let mut sender = self.sender.lock();
        if let Some(running) = sender.as_ref() {
            return running.subscribe();
        }
        let (new, receiver) = watch::channel(Utf8Bytes::default());
        let new = Arc::new(new);
        *sender = Some(Arc::clone(&new));
        tokio::spawn(poll_status(Arc::clone(api), new));
        receiver
    }
}

/// Polls while somebody watches.
async fn poll_status(api: Arc<Api>, status: Arc<watch::Sender<Utf8Bytes>>) {
    loop {
        match super::metrics::status_frame(&api).await {
            Ok(frame) => {
                status.send_if_modified(|shown| {
                    let changed = *shown != frame;
                    *shown = frame;
                    changed
                });
            }
            Err(error) => tracing::warn!(?error, "status can't be read"),
        }
        tokio::select! {
            () = api.node.stopping.cancelled() => return,
            () = tokio::time::sleep(POLL) => {}
        }
        let mut current = api.status.sender.lock();
        if status.receiver_count() == 0 {
            *current = None;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::live::tests::live_message;
    use super::*;

    #[test]
    fn a_socket_that_fell_behind_is_told_so() {
        let next =
            |next| next_frame(next, &MessageFilter::default(), ContentFormat::Full, &mut HashSet::new());
        let message = Arc::new(live_message("x"));
        assert!(matches!(next(Ok(Live::Message(Arc::clone(&message)))), Ok(Some(_))));
        for lost in [Ok(Live::Gap), Err(RecvError::Lagged(3))] {
            let Err(End::With(code, reason)) = next(lost) else { panic!("not ended") };
            assert_eq!(code, close_code::POLICY);
            assert!(reason.contains("too slow"));
        }
    }

    #[test]
    fn what_the_history_held_is_not_sent_again() {
        let message = Arc::new(live_message("x"));
        let mut sent = HashSet::from([message.seq(), 5]);
        let mut next = || {
            let live = Ok(Live::Message(Arc::clone(&message)));
            next_frame(live, &MessageFilter::default(), ContentFormat::Full, &mut sent)
        };
        assert!(matches!(next(), Ok(None)));
        assert!(matches!(next(), Ok(Some(_))));
    }
}

//! The host's side of the guest channel: streams over frames, every byte from the guest checked.
//!
//! A stream is one end of an in-memory pipe; two tasks carry its bytes. A guest that breaks the
//! protocol, or sends more than it was given credit for, ends the channel with an error.

mod pipe;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aleph_guest::protocol::{
    Decoder, Frame, FromGuest, Kind, MAX_DATA, MAX_GUEST_STREAMS, MAX_HOST_STREAMS, ProtocolError,
    StreamTarget, ToGuest, WINDOW, decode_json, encode_control,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Shared;
pub(crate) use pipe::Pipe;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Frames that wait for the guest; senders wait beyond it.
const OUT_QUEUE: usize = 64;
/// Bytes in the pipe between a stream's user and its tasks.
const PIPE: usize = 64 * 1024;
/// How long the guest may take to end a stream whose user is gone, before it is reset.
const LINGER: Duration = Duration::from_millis(200);

/// Resolves when the user of a stream is gone.
type Dropped = Shared<oneshot::Receiver<()>>;

/// What comes from the guest besides bytes of streams.
#[derive(Debug)]
pub(crate) enum Event {
    /// a message
    Message(FromGuest),
    /// output of the application: 1 = standard output, 2 = standard error
    Log(u8, Bytes),
    /// the guest wants a connection
    Opened { target: StreamTarget, stream: GuestStream },
    /// the channel is over
    Closed(Result<(), ProtocolError>),
}

/// One connection through the channel.
#[derive(Debug)]
pub(crate) struct GuestStream {
    id: u32,
    pipe: Pipe,
    mux: Mux,
}

impl GuestStream {
    /// The bytes. Dropping it closes the connection.
    pub(crate) fn into_pipe(self) -> Pipe {
        self.pipe
    }

    /// Tells the guest that the connection is made.
    pub(crate) async fn accept(&self) {
        self.mux.send(Kind::Credit, self.id, &0u32.to_le_bytes()).await;
    }

    /// Refuses the connection.
    pub(crate) async fn refuse(self, reason: &str) {
        let end = reason.floor_char_boundary(200);
        self.mux.forget(self.id);
        self.mux.send(Kind::Reset, self.id, &reason.as_bytes()[..end]).await;
    }
}

/// Sends to the guest. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Mux {
    out: mpsc::Sender<Vec<u8>>,
    table: Arc<Mutex<HashMap<u32, Entry>>>,
    next: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Entry {
    /// towards the pipe; `None` is the guest's end of the stream
    inbound: mpsc::UnboundedSender<Option<Bytes>>,
    /// bytes that the guest may still send: bounds what `inbound` holds
    window: u32,
    /// bytes that we may still send
    credit: Arc<Semaphore>,
    guest_finished: bool,
}

impl Mux {
    /// Starts the tasks of a channel.
    pub(crate) fn start<C>(channel: C) -> (Self, mpsc::Receiver<Event>)
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(channel);
        let (out, frames) = mpsc::channel(OUT_QUEUE);
        let (events, receiver) = mpsc::channel(OUT_QUEUE);
        let mux = Self { out, table: Arc::default(), next: Arc::new(AtomicU32::new(1)) };
        tokio::spawn(write_frames(writer, frames));
        tokio::spawn(read_frames(reader, mux.clone(), events));
        (mux, receiver)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, id: u32) {
        self.table().remove(&id);
    }

    async fn send(&self, kind: Kind, stream: u32, payload: &[u8]) -> bool {
        let mut bytes = Vec::new();
        Frame { kind, stream, payload }.encode(&mut bytes);
        self.out.send(bytes).await.is_ok()
    }

    /// Says something to the guest.
    pub(crate) async fn say(&self, message: &ToGuest) -> Result<(), ProtocolError> {
        let mut bytes = Vec::new();
        encode_control(message, &mut bytes)?;
        self.out.send(bytes).await.map_err(|_| ProtocolError::Unexpected("end of the channel".to_owned()))
    }

    /// Opens a stream to `target`; `None` when there are too many or the channel is over.
    pub(crate) async fn open(&self, target: &StreamTarget) -> Option<Pipe> {
        let payload = serde_json::to_vec(target).ok()?;
        let id = {
            let table = self.table();
            if table.keys().filter(|id| *id % 2 == 1).count() >= MAX_HOST_STREAMS {
                return None;
            }
            loop {
                let id = self.next.fetch_add(2, Ordering::Relaxed);
                if !table.contains_key(&id) {
                    break id;
                }
            }
        };
        let stream = self.insert(id);
        if !self.send(Kind::Open, id, &payload).await {
            return None;
        }
        Some(stream)
    }

    /// Makes the tasks of a stream and its user's end.
    fn insert(&self, id: u32) -> Pipe {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (pipe, dropped) = Pipe::new(ours);
        let (inbound, chunks) = mpsc::unbounded_channel();
        let credit = Arc::new(Semaphore::new(WINDOW as usize));
        let entry = Entry { inbound, window: WINDOW, credit: credit.clone(), guest_finished: false };
        self.table().insert(id, entry);
        let (reader, writer) = tokio::io::split(theirs);
        let mux = self.clone();
        tokio::spawn(async move {
            let dropped = dropped.shared();
            let pumps = async {
                tokio::join!(
                    mux.pump_out(id, reader, credit, dropped.clone()),
                    mux.pump_in(id, writer, chunks)
                )
            };
            let in_order = tokio::select! {
                in_order = pumps => in_order == (true, true),
                () = mux.abandoned(id, dropped.clone()) => false,
            };
            // what was reset or refused already is not in the table any more
            let known = mux.table().remove(&id).is_some();
            if known && !in_order {
                mux.send(Kind::Reset, id, b"closed").await;
            }
        });
        pipe
    }

    /// Waits until the user of a stream is gone and the guest has had its time to end it.
    async fn abandoned(&self, id: u32, dropped: Dropped) {
        let _ = dropped.await;
        tokio::time::sleep(LINGER).await;
        if self.table().get(&id).is_some_and(|entry| entry.guest_finished) {
            // only bytes towards the guest are left: they take as long as they take
            std::future::pending::<()>().await;
        }
    }

    /// User to guest; true when the stream ended in order. The end of a user that is gone is not told
    /// as the end of its bytes: many servers stop listening for a reset after that.
    async fn pump_out(
        &self,
        id: u32,
        mut from: ReadHalf<DuplexStream>,
        credit: Arc<Semaphore>,
        dropped: Dropped,
    ) -> bool {
        let mut bytes = vec![0; MAX_DATA];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            // count is at most MAX_DATA
            let Ok(permit) = credit.acquire_many(count as u32).await else { return false };
            permit.forget();
            if !self.send(Kind::Data, id, &bytes[..count]).await {
                return false;
            }
        }
        dropped.now_or_never().is_none() && self.send(Kind::Finish, id, &[]).await
    }

    /// Guest to user; true when the stream ended in order.
    async fn pump_in(
        &self,
        id: u32,
        mut to: WriteHalf<DuplexStream>,
        mut chunks: mpsc::UnboundedReceiver<Option<Bytes>>,
    ) -> bool {
        let mut handed_on = 0;
        while let Some(Some(chunk)) = chunks.recv().await {
            if to.write_all(&chunk).await.is_err() {
                // nobody reads any more: take the rest of the guest's bytes off its hands
                self.close_credit(id);
                return false;
            }
            handed_on += chunk.len() as u32;
            if handed_on >= WINDOW / 4 {
                if let Some(entry) = self.table().get_mut(&id) {
                    entry.window += handed_on;
                }
                self.send(Kind::Credit, id, &handed_on.to_le_bytes()).await;
                handed_on = 0;
            }
        }
        let finished = self.table().get(&id).is_some_and(|entry| entry.guest_finished);
        let _ = to.shutdown().await;
        if !finished {
            self.close_credit(id);
        }
        finished
    }

    fn close_credit(&self, id: u32) {
        if let Some(entry) = self.table().get(&id) {
            entry.credit.close();
        }
    }

    /// Handles a frame of a stream; gives a stream that the guest opened.
    fn take(&self, frame: Frame<'_>) -> Result<Option<(StreamTarget, GuestStream)>, ProtocolError> {
        let id = frame.stream;
        if frame.kind == Kind::Open {
            let refused = |reason| ProtocolError::Open { stream: id, reason };
            let target: StreamTarget = decode_json(frame)?;
            if id % 2 == 1 || target == StreamTarget::App {
                return Err(refused("that is for the host to open"));
            }
            let table = self.table();
            if table.contains_key(&id) {
                return Err(refused("it is open"));
            }
            // streams that we are done with may not have been forgotten yet
            if table.keys().filter(|id| *id % 2 == 0).count() >= 2 * MAX_GUEST_STREAMS {
                return Err(refused("there are too many"));
            }
            drop(table);
            let pipe = self.insert(id);
            return Ok(Some((target, GuestStream { id, pipe, mux: self.clone() })));
        }
        let mut table = self.table();
        // a stream that we have forgotten may still be talked about by the guest
        let Some(entry) = table.get_mut(&id) else { return Ok(None) };
        match frame.kind {
            Kind::Data => {
                let length = frame.payload.len() as u32;
                if entry.guest_finished {
                    return Err(ProtocolError::Unexpected(format!("bytes after the end of stream {id}")));
                }
                entry.window =
                    entry.window.checked_sub(length).ok_or(ProtocolError::Window { stream: id })?;
                let _ = entry.inbound.send(Some(Bytes::copy_from_slice(frame.payload)));
            }
            Kind::Finish => {
                entry.guest_finished = true;
                let _ = entry.inbound.send(None);
            }
            Kind::Reset => {
                entry.credit.close();
                table.remove(&id);
            }
            Kind::Credit => {
                let amount = frame.credit().unwrap_or(0) as usize;
                if amount + entry.credit.available_permits() > WINDOW as usize {
                    return Err(ProtocolError::Window { stream: id });
                }
                entry.credit.add_permits(amount);
            }
            Kind::Control | Kind::Log | Kind::Open => {}
        }
        Ok(None)
    }
}

async fn write_frames<C: AsyncWrite>(mut channel: WriteHalf<C>, mut frames: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut bytes) = frames.recv().await {
        while bytes.len() < PIPE
            && let Ok(more) = frames.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        if channel.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read_frames<C: AsyncRead>(mut channel: ReadHalf<C>, mux: Mux, events: mpsc::Sender<Event>) {
    let mut decoder = Decoder::new();
    let mut bytes = vec![0; 64 * 1024];
    let result = loop {
        match channel.read(&mut bytes).await {
            Ok(0) | Err(_) => break Ok(()),
            Ok(count) => decoder.push(&bytes[..count]),
        }
        if let Err(error) = take_frames(&mut decoder, &mux, &events).await {
            break Err(error);
        }
    };
    for (_, entry) in mux.table().drain() {
        entry.credit.close();
    }
    let _ = events.send(Event::Closed(result)).await;
}

async fn take_frames(
    decoder: &mut Decoder,
    mux: &Mux,
    events: &mpsc::Sender<Event>,
) -> Result<(), ProtocolError> {
    loop {
        let event = match decoder.next_frame()? {
            None => return Ok(()),
            Some(frame) => match frame.kind {
                Kind::Control => Event::Message(decode_json(frame)?),
                Kind::Log => match frame.payload.split_first() {
                    Some((&source @ (1 | 2), text)) => Event::Log(source, Bytes::copy_from_slice(text)),
                    _ => return Err(ProtocolError::Unexpected("log without a source".to_owned())),
                },
                _ => match mux.take(frame)? {
                    Some((target, stream)) => Event::Opened { target, stream },
                    None => continue,
                },
            },
        };
        // the receiver takes events as fast as it can; a slow one slows the guest, as it should
        let _ = events.send(event).await;
    }
}

#[cfg(test)]
mod tests;

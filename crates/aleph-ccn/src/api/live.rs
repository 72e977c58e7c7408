//! Messages as they are processed, for the sockets: written once, however many listen.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use aleph_store::queries::MessageFilter;
use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::message_json::{ContentFormat, push_message};
use crate::{Origin, Pipeline, ProcessedMessage};

/// Messages that a socket may lag behind before it is dropped: several of the pipeline's largest batches.
const BEHIND: usize = 16 * 1024;

/// Bytes of the messages that sockets lag behind, for all sockets together: messages are shared.
const BEHIND_BYTES: usize = 64 * 1024 * 1024;

/// A message on its way to the sockets.
#[derive(Debug)]
pub(super) struct LiveMessage {
    seq: i64,
    /// Taken away when it gets old before every socket has it.
    written: Mutex<Option<Arc<Written>>>,
}

/// A message with its written forms.
#[derive(Debug)]
pub(super) struct Written {
    processed: Arc<ProcessedMessage>,
    full: OnceLock<Utf8Bytes>,
    headers: OnceLock<Utf8Bytes>,
    none: OnceLock<Utf8Bytes>,
}

impl LiveMessage {
    fn new(processed: Arc<ProcessedMessage>) -> Self {
        let seq = processed.seq;
        let (full, headers, none) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { seq, written: Mutex::new(Some(Arc::new(Written { processed, full, headers, none }))) }
    }

    /// Its place in the order of processing.
    pub(super) fn seq(&self) -> i64 {
        self.seq
    }

    /// The message itself; `None` for a socket that comes too late.
    pub(super) fn written(&self) -> Option<Arc<Written>> {
        self.written.lock().clone()
    }
}

impl Written {
    pub(super) fn matches(&self, filter: &MessageFilter) -> bool {
        filter.matches(&self.processed.message, &self.processed.content)
    }

    /// The frame to send; written by the first socket that wants it.
    pub(super) fn frame(&self, format: ContentFormat) -> Utf8Bytes {
        let written = match format {
            ContentFormat::Full => &self.full,
            ContentFormat::Headers => &self.headers,
            ContentFormat::None => &self.none,
        };
        let write = || {
            let mut text = Vec::with_capacity(self.processed.document.len() * 2 + 512);
            push_message(&mut text, &self.processed.message, &self.processed.document, None, format, &[]);
            frame_of(text)
        };
        written.get_or_init(write).clone()
    }
}

/// A text frame of what was written as JSON.
pub(super) fn frame_of(json: Vec<u8>) -> Utf8Bytes {
    Utf8Bytes::try_from(bytes::Bytes::from(json)).unwrap_or_default()
}

/// What a socket receives.
#[derive(Debug, Clone)]
pub(super) enum Live {
    /// A message.
    Message(Arc<LiveMessage>),
    /// Messages were lost on the way here: nobody can go on as if nothing had happened.
    Gap,
}

/// Passes the pipeline's feed on to the sockets, from the first socket on.
#[derive(Debug, Default)]
pub(super) struct LiveFeed {
    sender: OnceLock<broadcast::Sender<Live>>,
}

impl LiveFeed {
    /// Everything from now on.
    pub(super) fn subscribe(&self, pipeline: &Pipeline) -> broadcast::Receiver<Live> {
        let start = || {
            let (sender, _) = broadcast::channel(BEHIND);
            let (feed, weak) = (pipeline.subscribe(), sender.downgrade());
            tokio::spawn(pass_on(feed, weak));
            sender
        };
        self.sender.get_or_init(start).subscribe()
    }
}

/// Ends with the pipeline, or when nobody can subscribe any more.
async fn pass_on(mut feed: broadcast::Receiver<Arc<ProcessedMessage>>, sockets: broadcast::WeakSender<Live>) {
    let mut recent = Recent::default();
    loop {
        let next = match feed.recv().await {
            // As in the reference, what a chain brings is not shown live.
            Ok(processed) if matches!(processed.origin, Origin::Chain | Origin::Contract) => continue,
            Ok(processed) => {
                // The document, the envelope's copy of it, and a frame with both.
                let size = processed.document.len() * 4 + 2048;
                let message = Arc::new(LiveMessage::new(processed));
                recent.push(&message, size);
                Live::Message(message)
            }
            Err(RecvError::Lagged(lost)) => {
                tracing::warn!(lost, "sockets could not keep up with the pipeline");
                Live::Gap
            }
            Err(RecvError::Closed) => return,
        };
        let Some(sockets) = sockets.upgrade() else { return };
        // No subscriber is no failure.
        let _ = sockets.send(next);
    }
}

/// The messages that may still be on their way, oldest first, and their bytes.
#[derive(Debug, Default)]
struct Recent {
    messages: VecDeque<(Weak<LiveMessage>, usize)>,
    bytes: usize,
}

impl Recent {
    fn push(&mut self, message: &Arc<LiveMessage>, size: usize) {
        self.messages.push_back((Arc::downgrade(message), size));
        self.bytes += size;
        while self.bytes > BEHIND_BYTES || self.messages.len() > BEHIND {
            let Some((old, size)) = self.messages.pop_front() else { return };
            self.bytes -= size;
            if let Some(old) = old.upgrade() {
                old.written.lock().take();
            }
        }
    }
}

/// Counts the sockets of one kind; the place is free again when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: Arc<()>,
}

/// A place that a socket holds.
#[derive(Debug)]
pub(super) struct Place(#[allow(dead_code, reason = "held for its drop")] Weak<()>);

impl Places {
    /// A place, if fewer than `most` are taken.
    pub(super) fn take(&self, most: usize) -> Option<Place> {
        let place = Arc::downgrade(&self.taken);
        // The new one is counted already.
        (Arc::weak_count(&self.taken) <= most).then_some(Place(place))
    }

    pub(super) fn taken(&self) -> usize {
        Arc::weak_count(&self.taken)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aleph_types::content::Content;
    use aleph_types::{ItemHash, ParsedMessage, Timestamp};
    use serde_json::json;

    use super::*;
    use crate::Origin;

    pub(in crate::api) fn live_message(text: &str) -> LiveMessage {
        let document = json!({ "address": "0xA", "time": 1, "type": "note", "content": text }).to_string();
        let envelope = json!({
            "chain": "ETH", "sender": "0xA", "signature": "0x1", "type": "POST", "time": 1,
            "item_content": document, "item_hash": ItemHash::sha256(document.as_bytes()).as_str(),
        });
        let ParsedMessage { message, content } = ParsedMessage::from_value(&envelope).unwrap();
        let Some(content @ Content::Post(_)) = content else { panic!("no post") };
        LiveMessage::new(Arc::new(ProcessedMessage {
            seq: 1,
            message,
            content,
            document: document.into(),
            reception_time: Timestamp::EPOCH,
            origin: Origin::Http,
        }))
    }

    #[test]
    fn places_are_given_back() {
        let places = Places::default();
        let first = places.take(2);
        let _second = places.take(2).unwrap();
        assert!(places.take(2).is_none());
        assert_eq!(places.taken(), 2);
        drop(first);
        assert!(places.take(2).is_some());
    }

    #[test]
    fn what_waits_for_slow_sockets_is_bounded_in_bytes() {
        let mut recent = Recent::default();
        let messages: Vec<_> = (0..3).map(|number| Arc::new(live_message(&number.to_string()))).collect();
        for message in &messages {
            recent.push(message, BEHIND_BYTES / 2);
        }
        assert!(messages[0].written().is_none());
        assert!(messages[1].written().is_some() && messages[2].written().is_some());
    }
}

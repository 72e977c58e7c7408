//! Messages as they are processed, for the sockets: written once, however many listen.

use std::sync::{Arc, OnceLock, Weak};

use aleph_store::queries::MessageFilter;
use axum::extract::ws::Utf8Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::message_json::{ContentFormat, push_message};
use crate::{Pipeline, ProcessedMessage};

/// Messages that a socket may lag behind before it is dropped. They are shared: the bound holds for all
/// sockets together.
const BEHIND: usize = 1024;

/// A message with its written forms.
#[derive(Debug)]
pub(super) struct LiveMessage {
    processed: Arc<ProcessedMessage>,
    full: OnceLock<Utf8Bytes>,
    headers: OnceLock<Utf8Bytes>,
    none: OnceLock<Utf8Bytes>,
}

impl LiveMessage {
    /// Its place in the order of processing.
    pub(super) fn seq(&self) -> i64 {
        self.processed.seq
    }

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
            push_message(&mut text, &self.processed.message, &self.processed.document, None, format);
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
    loop {
        let next = match feed.recv().await {
            Ok(processed) => Live::Message(Arc::new(LiveMessage {
                processed,
                full: OnceLock::new(),
                headers: OnceLock::new(),
                none: OnceLock::new(),
            })),
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
mod tests {
    use super::*;

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
}

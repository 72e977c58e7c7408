//! Reads a peer that sends too much more slowly, and nobody else.
//!
//! A connection whose handler is not polled takes nothing more from its stream; the muxer's window
//! fills, then the peer's socket: it waits, at its own cost.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use libp2p::swarm::handler::{
    ConnectionEvent, FullyNegotiatedInbound, InboundUpgradeSend, OutboundUpgradeSend,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use tokio::time::Sleep;

/// Until when a peer is not read; shared by its connections and the behaviour.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    /// Milliseconds after `start`.
    until: AtomicU64,
}

impl Pace {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), until: AtomicU64::new(0) })
    }

    /// Reads nothing for so long from now on.
    pub(crate) fn pause(&self, pause: Duration) {
        let until = self.start.elapsed() + pause;
        self.until.fetch_max(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn left(&self) -> Option<Duration> {
        Duration::from_millis(self.until.load(Ordering::Relaxed)).checked_sub(self.start.elapsed())
    }
}

/// What a paced handler tells.
#[derive(Debug)]
pub(crate) enum Paced<E> {
    /// What the handler inside tells.
    Inner(E),
    /// The peer opened its stream for the so-many-th time: what it wrote to the one before could not
    /// be read, or it closed it.
    Reopened(usize),
}

/// A handler that keeps a [`Pace`].
pub(crate) struct PacedHandler<H> {
    inner: H,
    pace: Arc<Pace>,
    resting: Option<Pin<Box<Sleep>>>,
    streams: usize,
    /// Of those, the ones that were told.
    told: usize,
}

impl<H> PacedHandler<H> {
    pub(crate) fn new(inner: H, pace: Arc<Pace>) -> Self {
        Self { inner, pace, resting: None, streams: 0, told: 1 }
    }
}

impl<H> ConnectionHandler for PacedHandler<H>
where
    H: ConnectionHandler,
{
    type FromBehaviour = H::FromBehaviour;
    type ToBehaviour = Paced<H::ToBehaviour>;
    type InboundProtocol = H::InboundProtocol;
    type OutboundProtocol = H::OutboundProtocol;
    type InboundOpenInfo = H::InboundOpenInfo;
    type OutboundOpenInfo = H::OutboundOpenInfo;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol, Self::InboundOpenInfo> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        if self.streams > self.told {
            self.told += 1;
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Paced::Reopened(self.told)));
        }
        loop {
            if let Some(resting) = &mut self.resting {
                ready!(resting.as_mut().poll(cx));
                self.resting = None;
            }
            match self.pace.left() {
                Some(left) if !left.is_zero() => self.resting = Some(Box::pin(tokio::time::sleep(left))),
                _ => break,
            }
        }
        self.inner.poll(cx).map(|event| event.map_custom(Paced::Inner))
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::ToBehaviour>> {
        self.inner.poll_close(cx).map(|event| event.map(Paced::Inner))
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        self.inner.on_behaviour_event(event);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        if is_inbound(&event) {
            self.streams += 1;
        }
        self.inner.on_connection_event(event);
    }
}

fn is_inbound<IP: InboundUpgradeSend, OP: OutboundUpgradeSend, IOI, OOI>(
    event: &ConnectionEvent<'_, IP, OP, IOI, OOI>,
) -> bool {
    matches!(event, ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_as_long_as_the_longest_pause() {
        let pace = Pace::new();
        assert!(pace.left().is_none_or(|left| left.is_zero()));
        pace.pause(Duration::from_secs(60));
        pace.pause(Duration::from_secs(1));
        assert!(pace.left().unwrap() > Duration::from_secs(50));
    }
}

//! Whom to ask, and how: over libp2p where a node is connected that way, else over HTTP.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aleph_p2p::{AskError, HttpPeer, NetworkHandle, PeerId, Trust};
use parking_lot::Mutex;

use super::CatchUpError;
use crate::intake::exchange::{ANSWER_MAX, WANTED_PAGE};
use crate::peers::HttpPeers;

/// A peer that does not answer in this time is left for the next round.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// What all questions to a peer may wait for, one after the other, without anything useful in between.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// Elements that are asked for at once at first; a node that answers fast is asked for more at once.
const PAGE_FIRST: usize = 128;
const PAGE_LEAST: usize = 16;

/// A page that came sooner than this was a small one, and one that came later a large one: what is asked of a
/// slow node can be asked of no other meanwhile.
const PAGE_SOON: Duration = Duration::from_millis(500);
const PAGE_LATE: Duration = Duration::from_millis(1500);

/// Strangers over libp2p that are asked in a round.
const STRANGERS: usize = 4;

/// A node that is asked what it has.
#[derive(Debug)]
pub(super) struct Source {
    /// Its base URL, or `/p2p/…` if none is known: for people. It changes when the node tells its URL.
    pub(super) name: String,
    /// What is remembered of it stands under this, which stays: `/p2p/…`, or its base URL if it is asked
    /// there.
    pub(super) key: String,
    /// Who it is, as far as that is known.
    pub(super) peer: Option<PeerId>,
    /// Whether the operator named it.
    pub(super) trusted: bool,
    /// Since when it is connected over libp2p.
    pub(super) connected: Option<SystemTime>,
    network: Option<NetworkHandle>,
    url: Option<String>,
    client: reqwest::Client,
    over_http: AtomicBool,
    waited: Mutex<Duration>,
    /// When it was useful last, or is asked since.
    useful: Mutex<Instant>,
    page: AtomicUsize,
}

impl Source {
    /// Of a stranger that is not connected.
    pub(super) fn new(
        name: String,
        peer: Option<PeerId>,
        url: Option<String>,
        over_http: bool,
        client: reqwest::Client,
    ) -> Self {
        Self {
            key: match peer {
                Some(peer) if !over_http => format!("/p2p/{peer}"),
                _ => name.clone(),
            },
            name,
            peer,
            trusted: false,
            connected: None,
            network: None,
            url,
            client,
            over_http: AtomicBool::new(over_http),
            waited: Mutex::new(Duration::ZERO),
            useful: Mutex::new(Instant::now()),
            page: AtomicUsize::new(PAGE_FIRST),
        }
    }

    /// `libp2p` or `http`.
    pub(super) fn via(&self) -> &'static str {
        if self.over_http.load(Ordering::Relaxed) { "http" } else { "libp2p" }
    }

    /// Something useful came: patience begins anew.
    pub(super) fn was_useful(&self) {
        *self.waited.lock() = Duration::ZERO;
        *self.useful.lock() = Instant::now();
    }

    /// How long nothing useful has come.
    pub(super) fn idle(&self) -> Duration {
        self.useful.lock().elapsed()
    }

    /// How many elements to ask for at once.
    pub(super) fn page(&self) -> usize {
        self.page.load(Ordering::Relaxed)
    }

    /// A page of so many elements took that long, or held much text.
    pub(super) fn took(&self, elements: usize, time: Duration, is_long: bool) {
        let page = self.page();
        let next = if is_long || time > PAGE_LATE {
            (page / 2).max(PAGE_LEAST)
        } else if time < PAGE_SOON && elements >= page {
            (page * 2).min(WANTED_PAGE)
        } else {
            page
        };
        self.page.store(next, Ordering::Relaxed);
    }

    /// Sends a question and reads a bounded answer.
    pub(super) async fn ask(&self, question: Vec<u8>) -> Result<Vec<u8>, CatchUpError> {
        let started = Instant::now();
        let answer = self.ask_either(question).await;
        let mut waited = self.waited.lock();
        *waited += started.elapsed();
        if *waited > PATIENCE {
            return Err(CatchUpError::Dull);
        }
        answer
    }

    async fn ask_either(&self, question: Vec<u8>) -> Result<Vec<u8>, CatchUpError> {
        if !self.over_http.load(Ordering::Relaxed)
            && let (Some(network), Some(peer)) = (&self.network, self.peer)
        {
            let answer = network.ask(peer, &question, ANSWER_MAX).await;
            match (answer, &self.url) {
                (Err(AskError::Unsupported | AskError::NotConnected), Some(_)) => {
                    self.over_http.store(true, Ordering::Relaxed);
                }
                (Err(AskError::Unsupported), None) => return Err(CatchUpError::Foreign),
                (answer, _) => return Ok(answer?),
            }
        }
        match &self.url {
            Some(url) => {
                let exchange = post(&self.client, url, question);
                tokio::time::timeout(REQUEST_LIMIT, exchange).await.map_err(|_| CatchUpError::Slow)?
            }
            None => Err(CatchUpError::Foreign),
        }
    }

    /// Counts against the peer what it did, where it is known who that is.
    pub(super) fn blame(&self) {
        if let (Some(network), Some(peer)) = (&self.network, self.peer) {
            network.blame(peer, aleph_p2p::Offence::BadAnswer);
        }
    }
}

async fn post(client: &reqwest::Client, url: &str, question: Vec<u8>) -> Result<Vec<u8>, CatchUpError> {
    let mut response = client.post(format!("{url}/api/v1/sync/exchange")).body(question).send().await?;
    match response.status().as_u16() {
        200..=299 => {}
        404 | 405 => return Err(CatchUpError::Foreign),
        status => return Err(CatchUpError::Status(status)),
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(CatchUpError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The URL that a peer announced. Anybody can announce that of a node which the operator trusts: it stands for
/// that node then, which is asked there.
fn url_of(
    peer: PeerId,
    trust: Trust,
    announced: &[HttpPeer],
    is_configured: impl Fn(&str) -> bool,
) -> Option<String> {
    let url = &announced.iter().find(|http| http.peer == Some(peer))?.url;
    (trust == Trust::Configured || !is_configured(url)).then(|| url.clone())
}

/// Everybody who may be asked now, each node once: those first that came, or came back, last; the others in
/// random order.
pub(super) fn sources(
    peers: &HttpPeers,
    network: Option<&NetworkHandle>,
    client: &reqwest::Client,
) -> Vec<Source> {
    let announced = network.map(NetworkHandle::http_peers).unwrap_or_default();
    let since: HashMap<PeerId, SystemTime> = network
        .map(|network| network.peers().into_iter().map(|info| (info.peer, info.since)).collect())
        .unwrap_or_default();
    let source = |name: String, peer: Option<PeerId>, trusted, url: Option<String>, over_http: bool| {
        let mut source = Source::new(name, peer, url, over_http, client.clone());
        source.trusted = trusted;
        source.connected = peer.and_then(|peer| since.get(&peer).copied());
        source.network = network.cloned();
        source
    };
    let mut strangers = 0;
    let mut sources = Vec::new();
    let mut reached = Vec::new();
    for (peer, trust) in network.map(NetworkHandle::askable_peers).unwrap_or_default() {
        let url = url_of(peer, trust, &announced, |url| peers.is_configured(url));
        if trust == Trust::Stranger && url.is_none() {
            strangers += 1;
            if strangers > STRANGERS {
                continue;
            }
        }
        let trusted = trust == Trust::Configured;
        reached.extend(url.clone());
        let name = url.clone().unwrap_or_else(|| format!("/p2p/{peer}"));
        sources.push(source(name, Some(peer), trusted, url, false));
    }
    for url in peers.urls().into_iter().filter(|url| !reached.contains(url)) {
        let peer = announced.iter().find(|http| http.url == url).and_then(|http| http.peer);
        sources.push(source(url.clone(), peer, peers.is_configured(&url), Some(url), true));
    }
    let order = std::hash::RandomState::new();
    sources.sort_by_key(|source| {
        let chance = std::hash::BuildHasher::hash_one(&order, &source.name);
        (std::cmp::Reverse(source.connected), chance)
    });
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_becomes_a_node_of_the_operator_by_announcing_its_url() {
        let (trusted, stranger) = (PeerId::random(), PeerId::random());
        let said = |peer, url: &str| HttpPeer { peer: Some(peer), url: url.to_owned() };
        let announced = [said(trusted, "http://ours"), said(stranger, "http://ours")];
        let is_configured = |url: &str| url == "http://ours";
        let of = |peer, trust, announced: &[HttpPeer]| url_of(peer, trust, announced, is_configured);
        assert_eq!(of(trusted, Trust::Configured, &announced).as_deref(), Some("http://ours"));
        for trust in [Trust::Stranger, Trust::Listed] {
            assert_eq!(of(stranger, trust, &announced), None);
        }
        let own = [said(stranger, "http://its-own")];
        assert_eq!(of(stranger, Trust::Stranger, &own).as_deref(), Some("http://its-own"));
    }
}

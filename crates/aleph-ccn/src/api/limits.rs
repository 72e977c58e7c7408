//! How often one client may ask, and who a client is.
//!
//! A client is an IPv4 address or an IPv6 network of 64 bits, for that is what one customer gets. Behind a
//! proxy that the operator trusts it is the address that the proxy names. Clients on this machine are not
//! limited unless the operator wants it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};

use super::Api;
use super::errors::ApiError;
use crate::config::{ApiConfig, LimitsConfig};

/// Clients that are remembered at once, for each kind of request.
const CLIENTS: usize = 65_536;

/// Where proxies write for whom they ask.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client(IpAddr);

impl Client {
    /// One customer: an IPv4 address, or 64 bits of an IPv6 address.
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let mut parts = address.segments();
                parts[4..].fill(0);
                Self(IpAddr::V6(parts.into()))
            }
        }
    }

    /// The address or network, as text.
    pub(super) fn name(self) -> String {
        self.0.to_string()
    }
}

type Limiter = RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>;

/// One kind of request.
struct Bucket {
    quota: Quota,
    per_second: u32,
    limiter: RwLock<Limiter>,
}

impl Bucket {
    fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self { quota, per_second, limiter: RwLock::new(RateLimiter::hashmap(quota)) }
    }

    /// How long the client has to wait, if it asked too often.
    fn take(&self, client: Client) -> Result<(), Duration> {
        self.make_room();
        let limiter = self.limiter.read();
        limiter.check_key(&client.0).map_err(|refused| refused.wait_time_from(DefaultClock::default().now()))
    }

    /// Keeps the table bounded: who has been quiet is forgotten first. When that is not enough, thousands
    /// of networks ask at once, and everybody starts anew.
    fn make_room(&self) {
        if self.limiter.read().len() < CLIENTS {
            return;
        }
        let mut limiter = self.limiter.write();
        limiter.retain_recent();
        if limiter.len() >= CLIENTS / 2 {
            tracing::warn!("requests come from very many networks: their limits start anew");
            *limiter = RateLimiter::hashmap(self.quota);
        }
        limiter.shrink_to_fit();
    }
}

/// The limits of all clients.
pub(super) struct Limits {
    settings: LimitsConfig,
    trusted: Vec<IpNet>,
    reads: Bucket,
    writes: Bucket,
    streams: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Somebody on this machine asks for others and is not trusted: the limits do nothing.
    blind: AtomicBool,
}

impl Limits {
    pub(super) fn new(config: &ApiConfig) -> Self {
        let settings = config.limits.clone();
        Self {
            reads: Bucket::new(settings.reads_per_second, settings.reads_burst),
            writes: Bucket::new(settings.writes_per_second, settings.writes_burst),
            settings,
            trusted: config.trusted_proxies.clone(),
            streams: Arc::default(),
            blind: AtomicBool::new(false),
        }
    }

    /// Whether a proxy on this machine passes requests on without being trusted.
    pub(super) fn is_blind(&self) -> bool {
        self.blind.load(Ordering::Relaxed)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// For whom a request is: the peer, or whom trusted proxies name. The last name that no trusted proxy
    /// wrote is not believed.
    fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = peer.to_canonical();
        let mut named = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect::<Vec<_>>();
        while self.trusts(address) {
            let Some(name) = named.pop() else { break };
            let name = name.trim();
            // Some proxies add the port.
            let parsed = name.parse().or_else(|_| name.parse::<SocketAddr>().map(|socket| socket.ip()));
            let Ok(before) = parsed else { break };
            address = IpAddr::to_canonical(&before);
        }
        address
    }

    /// Who asks, if that client is limited at all.
    pub(super) fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<Client> {
        let peer = peer?.ip();
        let address = self.address(peer, headers);
        if address.is_loopback() && headers.contains_key(FORWARDED_FOR) && !self.trusts(peer.to_canonical()) {
            self.blind.store(true, Ordering::Relaxed);
        }
        let limited = self.settings.enabled && (self.settings.loopback || !address.is_loopback());
        limited.then(|| Client::of(address))
    }

    fn check(&self, client: Client, method: &Method) -> Result<(), ApiError> {
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let bucket = if reads { &self.reads } else { &self.writes };
        bucket.take(client).map_err(|wait| too_many(bucket.per_second, wait))
    }

    /// A place for one more stream of the client, until it is dropped.
    ///
    /// # Errors
    /// When the client has all its streams open.
    pub(super) fn stream(&self, client: Option<Client>) -> Result<Option<StreamPlace>, ApiError> {
        let Some(Client(address)) = client else { return Ok(None) };
        let mut streams = self.streams.lock();
        let open = streams.get(&address).copied().unwrap_or_default();
        if open >= self.settings.streams {
            let text = format!(
                "429: {open} streams are open to this address already; close some, or ask the operator to raise \
                 'api.limits.streams'"
            );
            return Err(ApiError::text(StatusCode::TOO_MANY_REQUESTS, text));
        }
        streams.insert(address, open + 1);
        Ok(Some(StreamPlace { address, streams: Arc::clone(&self.streams) }))
    }
}

/// A stream that counts for its client.
#[derive(Debug)]
pub(super) struct StreamPlace {
    address: IpAddr,
    streams: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut streams = self.streams.lock();
        if let Some(open) = streams.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                streams.remove(&self.address);
            }
        }
    }
}

fn too_many(per_second: u32, wait: Duration) -> ApiError {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    ApiError::text(
        StatusCode::TOO_MANY_REQUESTS,
        format!(
            "429: too many requests: this node answers {per_second} of this kind a second to one address; come \
             back in {seconds} s"
        ),
    )
    .retry_after(seconds)
}

/// The peer of a request, where the server knows it.
pub(super) fn peer(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

/// Refuses who asks too often; handlers find the client in the request's extensions.
pub(super) async fn limit(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let Some(client) = api.limits.client(peer(&request), request.headers()) else {
        return next.run(request).await;
    };
    if let Err(refusal) = api.limits.check(client, request.method()) {
        api.node.metrics.http_limited.increment();
        return refusal.into_response();
    }
    request.extensions_mut().insert(client);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn limits(change: impl FnOnce(&mut ApiConfig)) -> Limits {
        let mut config = ApiConfig::default();
        change(&mut config);
        Limits::new(&config)
    }

    fn from(peer: &str, forwarded: &[&str]) -> (Option<SocketAddr>, HeaderMap) {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        (Some(SocketAddr::new(peer.parse().unwrap(), 1)), headers)
    }

    fn client(limits: &Limits, peer: &str, forwarded: &[&str]) -> Option<String> {
        let (peer, headers) = from(peer, forwarded);
        limits.client(peer, &headers).map(Client::name)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let limits = limits(|config| {
            config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()];
        });
        let client = |peer, forwarded: &[&str]| client(&limits, peer, forwarded).unwrap();
        assert_eq!(client("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(client("10.1.1.1", &["203.0.113.9"]), "203.0.113.9");
        // A client may write what it wants in front: only what trusted proxies added counts.
        assert_eq!(client("10.1.1.1", &["192.0.2.66, 203.0.113.9, 10.2.2.2"]), "203.0.113.9");
        assert_eq!(client("10.1.1.1", &["192.0.2.66", "203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client("10.1.1.1", &["nonsense"]), "10.1.1.1");
        assert_eq!(client("::ffff:10.1.1.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("127.0.0.1", &["2001:db8:1:2:3:4:5:6"]), "2001:db8:1:2::");
        assert!(!limits.is_blind());
    }

    #[test]
    fn this_machine_is_not_limited_and_says_when_that_hides_others() {
        let limits = limits(|_| ());
        assert_eq!(client(&limits, "127.0.0.1", &[]), None);
        assert_eq!(client(&limits, "::1", &[]), None);
        assert!(!limits.is_blind());
        assert_eq!(client(&limits, "127.0.0.1", &["203.0.113.9"]), None);
        assert!(limits.is_blind());
    }

    #[test]
    fn a_client_is_refused_until_time_has_passed() {
        let bucket = Bucket::new(1, 3);
        let client = Client::of("203.0.113.9".parse().unwrap());
        for _ in 0..3 {
            assert!(bucket.take(client).is_ok());
        }
        let wait = bucket.take(client).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(bucket.take(Client::of("203.0.113.10".parse().unwrap())).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let bucket = Bucket::new(1, 1);
        for number in 0..u32::try_from(CLIENTS).unwrap() + 10 {
            let _ = bucket.take(Client::of(IpAddr::V4(number.into())));
        }
        assert!(bucket.limiter.read().len() <= CLIENTS);
    }

    #[test]
    fn streams_are_counted_and_given_back() {
        let limits = limits(|config| config.limits.streams = 2);
        let client = Some(Client::of("203.0.113.9".parse().unwrap()));
        let first = limits.stream(client).unwrap();
        let _second = limits.stream(client).unwrap();
        assert!(limits.stream(client).is_err());
        drop(first);
        assert!(limits.stream(client).is_ok());
        assert!(limits.stream(None).unwrap().is_none());
        drop(_second);
        assert!(limits.streams.lock().is_empty());
    }
}

//! The ways out of a guest: connections that it asks for and we make, after a check.
//!
//! A guest has no network card. It reaches one API (the plan's) and, when the plan allows it, public
//! addresses. Names are resolved here, once, and the addresses that come out are checked: a name
//! that leads to the host, to its network or to a cloud's metadata service is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aleph_guest::protocol::StreamTarget;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::mux::GuestStream;
use crate::plan::NetworkPolicy;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// The plan's network policy, at work.
#[derive(Debug, Clone)]
pub(crate) struct Egress {
    policy: Arc<NetworkPolicy>,
    places: Arc<Semaphore>,
}

impl Egress {
    pub(crate) fn new(policy: NetworkPolicy, connections: u32) -> Self {
        Self { policy: Arc::new(policy), places: Arc::new(Semaphore::new(connections as usize)) }
    }

    /// Serves one connection of the guest to its end.
    pub(crate) async fn serve(self, target: StreamTarget, stream: GuestStream) {
        let Ok(_place) = self.places.try_acquire() else {
            stream.refuse("too many connections at once").await;
            return;
        };
        match self.connect(&target).await {
            Ok(mut socket) => {
                let _ = socket.set_nodelay(true);
                stream.accept().await;
                let mut pipe = stream.into_pipe();
                let _ = tokio::io::copy_bidirectional(&mut pipe, &mut socket).await;
            }
            Err(reason) => {
                tracing::debug!(?target, reason, "connection of the guest refused");
                stream.refuse(&reason).await;
            }
        }
    }

    async fn connect(&self, target: &StreamTarget) -> Result<TcpStream, String> {
        let addresses: Vec<SocketAddr> = match target {
            StreamTarget::Api => {
                let api = self.policy.api.as_ref().ok_or("this program may not call the API")?;
                resolve(&api.host, api.port).await?
            }
            StreamTarget::Internet { host, port } => {
                if !self.policy.internet {
                    return Err("this program has no internet".to_owned());
                }
                let found = resolve(host, *port).await?;
                let public: Vec<_> = found.into_iter().filter(|address| is_public(address.ip())).collect();
                if public.is_empty() {
                    return Err(format!("{host} is not a public address"));
                }
                public
            }
            StreamTarget::App => return Err("not a way out".to_owned()),
        };
        match tokio::time::timeout(CONNECT, TcpStream::connect(addresses.as_slice())).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(error)) => Err(format!("connection failed: {error}")),
            Err(_) => Err(format!("connection took longer than {} s", CONNECT.as_secs())),
        }
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match tokio::time::timeout(CONNECT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(format!("{host} can't be resolved: {error}")),
        Err(_) => Err(format!("{host} can't be resolved in {} s", CONNECT.as_secs())),
    }
}

/// True for addresses of the public internet only. Everything with another purpose (IANA's special
/// registries) is not public, also when it is wrapped in an IPv6 form.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || (a == 100 && b & 0xc0 == 64) // shared by carriers
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && b & 0xfe == 18) // benchmarks
        || a >= 224) // multicast and reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4() {
        // mapped and compatible forms
        return address.to_ipv4_mapped().is_some() && is_public_v4(v4);
    }
    let words = address.segments();
    match words[0] {
        0x2002 => false,                                            // 6to4 hides an IPv4 address
        0x2001 if words[1] < 0x0200 || words[1] == 0x0db8 => false, // Teredo, special uses, documentation
        0x3fff if words[1] < 0x1000 => false,                       // documentation
        first => (0x2000..0x4000).contains(&first),                 // the only global unicast range in use
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for public in
            ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "172.32.0.1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "127.0.0.1",
            "127.9.9.9",
            "10.0.2.2",
            "10.0.0.1",
            "172.16.4.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "64:ff9b::7f00:1",
            "100::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}

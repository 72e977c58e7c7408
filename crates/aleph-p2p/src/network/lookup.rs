//! Host names in peer addresses.

use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::time::timeout;

/// Name lookups that take longer have failed.
const LOOKUP: Duration = Duration::from_secs(5);

/// Which addresses of a name are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

/// The host name, port and family of a `/dns…/tcp/…` address.
pub(crate) fn name_of(address: &Multiaddr) -> Option<(String, u16, Family)> {
    let mut parts = address.iter();
    let (name, family) = match parts.next()? {
        Protocol::Dns(name) => (name.into_owned(), Family::Any),
        Protocol::Dns4(name) => (name.into_owned(), Family::V4),
        Protocol::Dns6(name) => (name.into_owned(), Family::V6),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((name, port, family)),
        _ => None,
    }
}

/// The addresses of a name, from the system's resolver (hosts file included).
pub(crate) async fn look_up(host: &str, port: u16, family: Family) -> std::io::Result<Vec<Multiaddr>> {
    let found = timeout(LOOKUP, tokio::net::lookup_host((host, port)))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(found
        .filter(|address| match family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        })
        .map(|address| Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port())))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_addresses() {
        let name = |text: &str| name_of(&text.parse().unwrap());
        assert_eq!(
            name("/dns/api2.aleph.im/tcp/4025"),
            Some(("api2.aleph.im".to_owned(), 4025, Family::Any))
        );
        assert_eq!(name("/dns6/x/tcp/1").unwrap().2, Family::V6);
        assert_eq!(name("/ip4/127.0.0.1/tcp/1"), None);
    }
}

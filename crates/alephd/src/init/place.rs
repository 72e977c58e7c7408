//! Where a new node is: its folder, its ports, and the address under which others reach it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

/// Name of the configuration in a node's folder; `alephd ccn` finds it there.
pub(crate) const CONFIG_FILE: &str = "config.toml";
/// A node of the network that is up answers within this time.
const REACH: Duration = Duration::from_secs(3);
/// Hosts are not longer (RFC 1035), and a join string holds at most 255 bytes of a URL.
const HOST_MAX: usize = 200;

/// Where the node is
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Folder of the node: configuration, keys, database, files
    #[arg(long, value_name = "DIR", default_value = "alephd-data")]
    pub(crate) data_dir: PathBuf,
    /// How other machines reach this one: an IP address or a host name [default: the address of this
    /// machine's way to the internet]
    #[arg(long, value_name = "HOST")]
    pub(crate) address: Option<Host>,
    /// Port of the HTTP API
    #[arg(long, value_name = "PORT", default_value_t = 4024, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) http_port: u16,
    /// Port of gossip
    #[arg(long, value_name = "PORT", default_value_t = 4025, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) p2p_port: u16,
}

/// An IP address or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(String),
}

/// A text that names no host.
#[derive(Debug, thiserror::Error)]
#[error("it is neither an IP address nor a host name: write 203.0.113.7 or node.example.org, without port")]
pub(crate) struct InvalidHost;

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return if ip.is_unspecified() { Err(InvalidHost) } else { Ok(Self::Ip(ip)) };
        }
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let digits_only = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let is_name = text.len() <= HOST_MAX && !digits_only && text.split('.').all(label);
        if is_name { Ok(Self::Name(text.to_ascii_lowercase())) } else { Err(InvalidHost) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Host {
    fn multiaddress(&self, port: u16) -> String {
        let kind = match self {
            Self::Ip(IpAddr::V4(_)) => "ip4",
            Self::Ip(IpAddr::V6(_)) => "ip6",
            Self::Name(_) => "dns",
        };
        format!("/{kind}/{self}/tcp/{port}")
    }

    fn url(&self, port: u16) -> String {
        match self {
            Self::Ip(IpAddr::V6(ip)) => format!("http://[{ip}]:{port}"),
            other => format!("http://{other}:{port}"),
        }
    }

    /// On which addresses of the machine a node of this address listens.
    fn listen(&self) -> IpAddr {
        match self {
            Self::Ip(ip) if ip.is_loopback() => *ip,
            Self::Ip(IpAddr::V6(_)) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }

    /// What the operator should know of it, if anything.
    pub(crate) fn remark(&self) -> Option<String> {
        match self {
            Self::Ip(ip) if ip.is_loopback() => {
                Some("only this machine reaches a loopback address; others need --address".to_owned())
            }
            Self::Ip(IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => Some(format!(
                "only machines of the same local network reach {ip}; others need --address and open ports"
            )),
            _ => None,
        }
    }
}

/// The addresses of a node in all forms that are needed.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) host: Host,
    pub(crate) data_dir: PathBuf,
    /// Base URL as others reach it.
    pub(crate) url: String,
    /// Multiaddress as others reach it, without identity.
    pub(crate) multiaddress: String,
    pub(crate) listen_http: SocketAddr,
    pub(crate) listen_p2p: String,
}

impl Place {
    /// Makes the folder and finds out the address.
    ///
    /// # Errors
    /// When the folder can't be made, is a node's already, or no address is found.
    pub(crate) fn prepare(&self) -> Result<Site> {
        anyhow::ensure!(
            self.http_port != self.p2p_port,
            "--http-port and --p2p-port are both {}: give one of them another number",
            self.http_port
        );
        let host = match &self.address {
            Some(host) => host.clone(),
            None => detect().context(
                "this machine has no way to the internet to tell its address by: give --address \
                 (127.0.0.1 to try things out on this machine alone)",
            )?,
        };
        std::fs::create_dir_all(&self.data_dir)
            .with_context(|| format!("can't make the folder {}", self.data_dir.display()))?;
        let data_dir = self
            .data_dir
            .canonicalize()
            .with_context(|| format!("can't find the folder {}", self.data_dir.display()))?;
        let config = data_dir.join(CONFIG_FILE);
        if config.try_exists().with_context(|| format!("can't look for {}", config.display()))? {
            anyhow::bail!(
                "{} is there: this folder is a node already. `alephd init --show --data-dir {}` prints its join \
                 string; for another node choose another --data-dir",
                config.display(),
                self.data_dir.display()
            );
        }
        let listen = host.listen();
        Ok(Site {
            url: host.url(self.http_port),
            multiaddress: host.multiaddress(self.p2p_port),
            listen_http: SocketAddr::new(listen, self.http_port),
            listen_p2p: Host::Ip(listen).multiaddress(self.p2p_port),
            host,
            data_dir,
        })
    }
}

/// The address that this machine would send from. Nothing is sent.
fn detect() -> Option<Host> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // an address for documentation: any public one would do
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(Host::Ip(ip))
}

/// Whether something listens where a base URL points to; in words why not.
pub(crate) fn reach(url: &str) -> Result<(), String> {
    let url = reqwest::Url::parse(url).map_err(|error| error.to_string())?;
    let host = url.host_str().ok_or("no host")?.trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().ok_or("no port")?;
    let addresses = (host.as_str(), port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut last = "its name has no address".to_owned();
    // a name may have many addresses; three tell enough
    for address in addresses.take(3) {
        match TcpStream::connect_timeout(&address, REACH) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

/// Reads the configuration of the node in `folder`, if there is one.
pub(crate) fn config_in(folder: &Path) -> Option<PathBuf> {
    let path = folder.join(CONFIG_FILE);
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_and_names() {
        let host = |text: &str| text.parse::<Host>().expect(text);
        assert_eq!(host("203.0.113.7").multiaddress(4025), "/ip4/203.0.113.7/tcp/4025");
        assert_eq!(host("2001:db8::1").multiaddress(1), "/ip6/2001:db8::1/tcp/1");
        assert_eq!(host("2001:db8::1").url(4024), "http://[2001:db8::1]:4024");
        assert_eq!(host("Node.example.org").multiaddress(1), "/dns/node.example.org/tcp/1");
        assert_eq!(host("node").url(80), "http://node:80");
        for text in ["", "0.0.0.0", "1.2.3", "1.2.3.4:5", "http://a", "a..b", "-a", "a b", "a\n", "ü.org"] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
        assert!("a.".repeat(150).trim_end_matches('.').parse::<Host>().is_err());
    }

    #[test]
    fn a_node_of_a_loopback_address_listens_there_only() {
        assert_eq!(Host::Ip(Ipv4Addr::LOCALHOST.into()).listen().to_string(), "127.0.0.1");
        assert_eq!(Host::Name("a".into()).listen().to_string(), "0.0.0.0");
        assert!(Host::Ip(Ipv4Addr::LOCALHOST.into()).remark().is_some());
        assert!(Host::Ip(Ipv4Addr::new(10, 0, 0, 1).into()).remark().is_some());
        assert!(Host::Ip(Ipv4Addr::new(203, 0, 113, 7).into()).remark().is_none());
    }

    #[test]
    fn a_closed_port_is_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        assert_eq!(reach(&url), Ok(()));
        drop(listener);
        assert!(reach(&url).is_err());
    }
}

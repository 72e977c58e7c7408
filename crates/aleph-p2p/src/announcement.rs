//! What nodes say about themselves on the ALIVE topic (`spec: p2p.md §3.2`).

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::decode_payload;
use crate::defaults::ALIVE_MAX;

/// Which service of a node an announcement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeerType {
    /// The libp2p address of the node: a multiaddress.
    #[serde(rename = "P2P")]
    P2p,
    /// The base URL of the HTTP API.
    #[serde(rename = "HTTP")]
    Http,
    /// The multiaddress of the node's IPFS daemon.
    #[serde(rename = "IPFS")]
    Ipfs,
}

/// One announcement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Announcement {
    /// Where the service is; its form depends on the type.
    pub address: String,
    /// Which service.
    pub peer_type: PeerType,
    /// The version of the node's software, when told.
    #[serde(default)]
    pub version: Option<String>,
}

/// The same, as it is written: keys in order, and one that changes, so that the duplicate caches
/// of the network let each announcement through.
#[derive(Serialize)]
struct Outgoing<'a> {
    address: &'a str,
    interests: Option<()>,
    nonce: u64,
    peer_type: PeerType,
    version: Option<&'a str>,
}

impl Announcement {
    /// Reads a payload; `None` when it is no announcement that can be used.
    pub fn parse(data: &[u8]) -> Option<Self> {
        if data.len() > ALIVE_MAX {
            return None;
        }
        decode_payload(data)
            .filter_map(|text| serde_json::from_str::<Self>(&text).ok())
            .find(Announcement::is_usable)
    }

    fn is_usable(&self) -> bool {
        match self.peer_type {
            PeerType::P2p | PeerType::Ipfs => self.multiaddr().is_some(),
            PeerType::Http => {
                let rest =
                    self.address.strip_prefix("http://").or_else(|| self.address.strip_prefix("https://"));
                rest.is_some_and(|rest| {
                    !rest.is_empty() && self.address.chars().all(|c| c.is_ascii_graphic())
                })
            }
        }
    }

    /// The address of a P2P or IPFS announcement.
    pub fn multiaddr(&self) -> Option<Multiaddr> {
        self.address.parse().ok()
    }

    /// The payload, made unique by `nonce`.
    pub(crate) fn render(&self, nonce: u64) -> Vec<u8> {
        let outgoing = Outgoing {
            address: &self.address,
            interests: None,
            nonce,
            peer_type: self.peer_type,
            version: self.version.as_deref(),
        };
        // Strings and numbers always serialise; an empty payload is refused by publishing.
        serde_json::to_vec(&outgoing).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_of_the_reference_parse() {
        let text = r#"{"address":"/ip4/1.2.3.4/tcp/4025/p2p/QmZkurbY2G2hWay59yiTgQNaQxHSNzKZFt2jbnwJhQcKgV","interests":null,"peer_type":"P2P","version":"v0.9.0"}"#;
        let parsed = Announcement::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.peer_type, PeerType::P2p);
        assert_eq!(parsed.version.as_deref(), Some("v0.9.0"));
        let encoded = text.replace('{', "%7B");
        assert_eq!(Announcement::parse(encoded.as_bytes()), Some(parsed));
    }

    #[test]
    fn what_is_written_is_read_and_never_the_same_twice() {
        let said = Announcement {
            address: "http://127.0.0.1:4024".to_owned(),
            peer_type: PeerType::Http,
            version: Some("alephd 1".to_owned()),
        };
        assert_eq!(Announcement::parse(&said.render(1)), Some(said.clone()));
        assert_ne!(said.render(1), said.render(2));
        assert!(String::from_utf8(said.render(1)).unwrap().starts_with(r#"{"address":"http"#));
    }

    #[test]
    fn nonsense_is_no_announcement() {
        let long = format!(r#"{{"address":"http://{}","peer_type":"HTTP"}}"#, "a".repeat(ALIVE_MAX));
        for text in [
            "",
            "[]",
            r#"{"address":"ftp://x","peer_type":"HTTP"}"#,
            r#"{"address":"http://a b","peer_type":"HTTP"}"#,
            r#"{"address":1,"peer_type":"HTTP"}"#,
            r#"{"address":"x","peer_type":"P2P"}"#,
            r#"{"address":"http://x","peer_type":"FTP"}"#,
            &long,
        ] {
            assert_eq!(Announcement::parse(text.as_bytes()), None, "{text:.60}");
        }
    }
}

//! The head of a request to the guest's own HTTP proxy: where it wants to go.
//!
//! The client is the application beside us, in the same machine; what is allowed is decided by
//! the host. This only reads names.

/// Most bytes of a request's head.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// What a client of the proxy asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// the head isn't complete
    Incomplete,
    /// `CONNECT host:port`; the rest of the bytes follow the head
    Tunnel { host: String, port: u16, rest: Vec<u8> },
    /// `GET http://host/path`; `head` is the same for the server itself, and what follows it
    Forward { host: String, port: u16, head: Vec<u8> },
    /// not a request to a proxy
    Invalid,
}

/// Reads the head of a request.
pub(crate) fn read_wish(bytes: &[u8]) -> Wish {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Wish::Invalid } else { Wish::Incomplete };
    };
    let (head, rest) = (&bytes[..end], &bytes[end + 4..]);
    let Ok(text) = std::str::from_utf8(head) else { return Wish::Invalid };
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Wish::Invalid;
    };
    if method == "CONNECT" {
        return match split_authority(target, None) {
            Some((host, port)) => Wish::Tunnel { host, port, rest: rest.to_vec() },
            None => Wish::Invalid,
        };
    }
    let Some(target) = target.strip_prefix("http://") else { return Wish::Invalid };
    let at = target.find(['/', '?']).unwrap_or(target.len());
    let (authority, path) = target.split_at(at);
    let Some((host, port)) = split_authority(authority, Some(80)) else { return Wish::Invalid };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut out = format!("{method} {slash}{path} {version}\r\n");
    for line in lines {
        let name = line.split(':').next().unwrap_or_default();
        // one request a connection: the next may want to go elsewhere
        if !["proxy-connection", "proxy-authorization", "connection"]
            .iter()
            .any(|n| name.eq_ignore_ascii_case(n))
        {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out.push_str("Connection: close\r\n\r\n");
    let mut head = out.into_bytes();
    head.extend_from_slice(rest);
    Wish::Forward { host, port, head }
}

fn split_authority(text: &str, default: Option<u16>) -> Option<(String, u16)> {
    if text.contains('@') {
        return None;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => default?,
    };
    (!host.is_empty() && host.len() <= 253).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_names_its_host_and_port() {
        let wish = read_wish(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\nxyz");
        assert_eq!(wish, Wish::Tunnel { host: "example.org".into(), port: 443, rest: b"xyz".to_vec() });
        let wish = read_wish(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n");
        assert_eq!(wish, Wish::Tunnel { host: "2001:db8::1".into(), port: 443, rest: Vec::new() });
    }

    #[test]
    fn a_forwarded_request_is_rewritten_for_the_server() {
        let wish = read_wish(
            b"GET http://a.b:81/c?d HTTP/1.1\r\nHost: a.b\r\nProxy-Connection: keep-alive\r\n\r\nbody",
        );
        let Wish::Forward { host, port, head } = wish else { panic!("{wish:?}") };
        assert_eq!((host.as_str(), port), ("a.b", 81));
        assert_eq!(head, b"GET /c?d HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\n\r\nbody");
        let Wish::Forward { head, port: 80, .. } = read_wish(b"GET http://a.b HTTP/1.1\r\n\r\n") else {
            panic!()
        };
        assert!(head.starts_with(b"GET / HTTP/1.1\r\n"));
    }

    #[test]
    fn nonsense_is_refused_and_long_heads_too() {
        for bad in
            ["GET / HTTP/1.1", "CONNECT a HTTP/1.1", "CONNECT :1 HTTP/1.1", "GET ftp://a/ HTTP/1.1", "X", ""]
        {
            assert_eq!(read_wish(format!("{bad}\r\n\r\n").as_bytes()), Wish::Invalid, "{bad}");
        }
        assert_eq!(read_wish(b"GET"), Wish::Incomplete);
        assert_eq!(read_wish(&vec![b'a'; MAX_HEAD + 1]), Wish::Invalid);
    }
}

//! Programs by host name: `<base32 of the hash>.<domain>` (`spec: crn-api.md §9`).

use aleph_types::ItemHash;
use data_encoding::BASE32_NOPAD;

/// The label of a program: lower-case base32 without padding, 52 characters; `None` for CIDs, which
/// have no such name.
pub fn label_of(hash: &ItemHash) -> Option<String> {
    let bytes = hex::decode(hash.as_str()).ok()?;
    Some(BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
}

/// The program that a `Host` header names by its first label, if it does.
pub fn program_of_host(host: &str) -> Option<ItemHash> {
    let label = without_port(host).split('.').next()?;
    // 32 bytes are 52 characters; anything else decodes to something that is no hash.
    if label.len() != 52 {
        return None;
    }
    let bytes = BASE32_NOPAD.decode(label.to_ascii_uppercase().as_bytes()).ok()?;
    Some(ItemHash::from_digest(bytes.try_into().ok()?))
}

/// A host without its port; IPv6 literals keep their brackets.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => {
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example() {
        let hash: ItemHash =
            "8920215b2e961a4d4c59a8ceb2803af53f91530ff53d6704273ab4d380bc6446".parse().unwrap();
        let label = "reqccwzosyne2tczvdhlfab26u7zcuyp6u6wobbhhk2nhaf4mrda";
        assert_eq!(label_of(&hash).unwrap(), label);
        for host in [format!("{label}.aleph.sh"), format!("{label}.localhost:4020"), label.to_uppercase()] {
            assert_eq!(program_of_host(&host), Some(hash.clone()), "{host}");
        }
        for host in
            ["", "localhost", "127.0.0.1:4020", "crn.example.org", &label[1..], &format!("{label}a.x")]
        {
            assert_eq!(program_of_host(host), None, "{host}");
        }
    }

    #[test]
    fn ports_are_cut() {
        assert_eq!(without_port("a.b:80"), "a.b");
        assert_eq!(without_port("a.b"), "a.b");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}

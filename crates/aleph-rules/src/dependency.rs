use std::fmt;

use aleph_types::{Address, ItemHash};

/// Something that a message can wait for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// The content of a message that is not inline.
    Content(ItemHash),
    /// The file that a STORE names.
    File(ItemHash),
    /// Another message, processed.
    Message(ItemHash),
    /// A file tag (`spec: messages.md §15`).
    Tag(String),
    /// An aggregate with at least one element.
    Aggregate(Address, String),
}

impl Dependency {
    /// The hash to fetch from other nodes, if that can satisfy this dependency.
    pub fn fetchable(&self) -> Option<&ItemHash> {
        match self {
            Dependency::Content(hash) | Dependency::File(hash) => Some(hash),
            _ => None,
        }
    }

    /// The inverse of the `Display` form.
    pub fn from_key(key: &str) -> Option<Self> {
        let (kind, rest) = key.split_once(':')?;
        match kind {
            "content" => ItemHash::recognise(rest).ok().map(Self::Content),
            "file" => ItemHash::recognise(rest).ok().map(Self::File),
            "message" => ItemHash::recognise(rest).ok().map(Self::Message),
            "tag" => Some(Self::Tag(rest.to_owned())),
            "aggregate" => {
                let (owner, key) = rest.split_once('/')?;
                Some(Self::Aggregate(Address::from(owner), key.to_owned()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Dependency {
    /// A key: `message:<hash>`, `tag:<tag>`…
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dependency::Content(hash) => write!(f, "content:{hash}"),
            Dependency::File(hash) => write!(f, "file:{hash}"),
            Dependency::Message(hash) => write!(f, "message:{hash}"),
            Dependency::Tag(tag) => write!(f, "tag:{tag}"),
            Dependency::Aggregate(owner, key) => write!(f, "aggregate:{owner}/{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        let hash = ItemHash::sha256(b"x");
        for dependency in [
            Dependency::Content(hash.clone()),
            Dependency::File(hash.clone()),
            Dependency::Message(hash),
            Dependency::Tag("0xA/my file:1".into()),
            Dependency::Aggregate("0xA".into(), "k/e:y".into()),
        ] {
            assert_eq!(Dependency::from_key(&dependency.to_string()), Some(dependency));
        }
    }
}

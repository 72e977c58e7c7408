//! The join string: everything that a second machine needs to take part in a private network, in one
//! word that can be copied by hand.
//!
//! `alephnet1` and base58 of: a byte of flags, 8 random bytes of the network, then with a length byte
//! before each its name, its owner's address, a bootstrap peer's multiaddress (binary, with its
//! identity) and the base URL of that peer's API; at last 4 bytes of SHA-256 over all of it, the prefix
//! included. There is one spelling of every invitation. It holds no secret.

use std::fmt;
use std::str::FromStr;

use aleph_p2p::{ConfiguredPeer, Multiaddr};
use sha2::{Digest as _, Sha256};

const FAMILY: &str = "alephnet";
const VERSION: &str = "1";
/// Most characters that are looked at; the longest valid string has fewer.
const LONGEST: usize = 1_200;
/// Most letters of a network's name.
pub(crate) const NAME_MAX: usize = 32;
const CHECK_BYTES: usize = 4;
/// In the flags: files and machines must be paid for.
const CHARGE: u8 = 1;

/// What makes two nodes members of one network that reach one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invitation {
    pub(crate) network: NetworkName,
    /// Publishes the node list, balances, credits, metrics and prices.
    pub(crate) owner: String,
    /// Whether files and machines must be paid for.
    pub(crate) charge: bool,
    /// Dialled first; names its identity.
    pub(crate) peer: ConfiguredPeer,
    /// Base URL of its API.
    pub(crate) http: String,
}

/// A name for people, and 8 random bytes that keep networks of one name apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkName {
    pub(crate) name: String,
    pub(crate) id: [u8; 8],
}

/// Why a text is no join string.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum InvitationError {
    #[error(
        "this is no join string: it begins with `{FAMILY}{VERSION}`; `alephd init --show` prints it on a \
         machine of the network"
    )]
    NotOne,
    #[error("this join string was made by a newer alephd: update this one, then join")]
    Newer,
    #[error("this join string is longer than any can be: copy it again, without what stands around it")]
    TooLong,
    #[error("`{0}` can't stand in a join string: copy it again (0, O, I and l never occur)")]
    Character(char),
    #[error("some characters of this join string are lost, changed or added: copy it again")]
    Damaged,
    #[error(
        "this join string is not right ({0}), though it was copied well: have a new one made by `alephd init --show`"
    )]
    Content(&'static str),
}

/// A name that can't be one of a network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no name of a network: 1 to {NAME_MAX} of a-z, 0-9 and -")]
pub(crate) struct InvalidName(String);

impl NetworkName {
    /// # Errors
    /// When the name has other characters than letters, digits and hyphens, or too many.
    pub(crate) fn new(name: &str, id: [u8; 8]) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(allowed) {
            return Err(InvalidName(name.chars().take(NAME_MAX).collect()));
        }
        Ok(Self { name: name.to_owned(), id })
    }

    /// The topic of messages: no other network has it.
    pub(crate) fn topic(&self) -> String {
        format!("ALEPH-{}-{}", self.name, hex::encode(self.id))
    }

    /// The topic of announcements.
    pub(crate) fn alive_topic(&self) -> String {
        format!("ALIVE-{}-{}", self.name, hex::encode(self.id))
    }

    /// The name behind a topic of messages.
    pub(crate) fn of_topic(topic: &str) -> Option<Self> {
        let (name, id) = topic.strip_prefix("ALEPH-")?.rsplit_once('-')?;
        let mut bytes = [0; 8];
        hex::decode_to_slice(id, &mut bytes).ok()?;
        Self::new(name, bytes).ok().filter(|read| read.topic() == topic)
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![if self.charge { CHARGE } else { 0 }];
        bytes.extend(self.network.id);
        let peer = self.peer.address.to_vec();
        for field in [self.network.name.as_bytes(), self.owner.as_bytes(), &peer, self.http.as_bytes()] {
            bytes.push(u8::try_from(field.len()).map_err(|_| fmt::Error)?);
            bytes.extend(field);
        }
        bytes.extend(check(&bytes));
        write!(f, "{FAMILY}{VERSION}{}", bs58::encode(bytes).into_string())
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        if text.len() > LONGEST {
            return Err(InvitationError::TooLong);
        }
        // a terminal breaks long lines, and mail does
        let text: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        let rest = text.strip_prefix(FAMILY).ok_or(InvitationError::NotOne)?;
        let Some(coded) = rest.strip_prefix(VERSION) else {
            let newer = rest.starts_with(|version: char| ('2'..='9').contains(&version));
            return Err(if newer { InvitationError::Newer } else { InvitationError::NotOne });
        };
        let bytes = bs58::decode(coded).into_vec().map_err(|error| match error {
            bs58::decode::Error::InvalidCharacter { character, .. } => InvitationError::Character(character),
            bs58::decode::Error::NonAsciiCharacter { index } => InvitationError::Character(
                coded.get(index..).and_then(|rest| rest.chars().next()).unwrap_or('?'),
            ),
            _ => InvitationError::Damaged,
        })?;
        let (content, sum) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(InvitationError::Damaged)?;
        if check(content) != *sum {
            return Err(InvitationError::Damaged);
        }
        let invitation = Self::read(content)?;
        // one spelling only: whatever was read is what is written
        if invitation.to_string() != text {
            return Err(InvitationError::Content("another spelling"));
        }
        Ok(invitation)
    }
}

impl Invitation {
    fn read(content: &[u8]) -> Result<Self, InvitationError> {
        let wrong = InvitationError::Content;
        let (&[flags], rest) = content.split_first_chunk::<1>().ok_or(wrong("it is too short"))?;
        if flags & !CHARGE != 0 {
            return Err(wrong("an unknown flag"));
        }
        let (id, mut rest) = rest.split_first_chunk::<8>().ok_or(wrong("it is too short"))?;
        let mut field = || -> Result<&[u8], InvitationError> {
            let (&length, behind) = rest.split_first().ok_or(wrong("it is too short"))?;
            let (field, behind) = behind.split_at_checked(length.into()).ok_or(wrong("it is too short"))?;
            rest = behind;
            Ok(field)
        };
        let text = |field| str::from_utf8(field).map_err(|_| wrong("a text is none"));
        let network = NetworkName::new(text(field()?)?, *id).map_err(|_| wrong("the network's name"))?;
        let owner = text(field()?)?.to_owned();
        if !is_address(&owner) {
            return Err(wrong("the owner's address"));
        }
        let peer = Multiaddr::try_from(field()?.to_vec()).map_err(|_| wrong("the peer's address"))?;
        let peer: ConfiguredPeer = peer.to_string().parse().map_err(|_| wrong("the peer's address"))?;
        if peer.peer_id().is_none() {
            return Err(wrong("a peer without identity"));
        }
        let http = text(field()?)?.to_owned();
        if !is_base_url(&http) {
            return Err(wrong("the URL of the API"));
        }
        if !rest.is_empty() {
            return Err(wrong("something follows"));
        }
        Ok(Self { network, owner, charge: flags & CHARGE != 0, peer, http })
    }
}

fn check(content: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = Sha256::new().chain_update(FAMILY).chain_update(VERSION).chain_update(content).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// An address of Ethereum, as the owner's key has.
fn is_address(text: &str) -> bool {
    text.strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// `http://host:port`, nothing behind it and nothing that would break a line of a configuration.
fn is_base_url(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.is_some_and(|host| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        !host.is_empty() && host.bytes().all(allowed) && reqwest::Url::parse(text).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "/ip4/203.0.113.7/tcp/4025/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf";

    fn invitation() -> Invitation {
        Invitation {
            network: NetworkName::new("harbour", [1, 2, 3, 4, 5, 6, 7, 250]).expect("a name"),
            owner: "0xa1B3bb7d2332383D96b7796B908fB7f7F3c2Be10".to_owned(),
            charge: true,
            peer: PEER.parse().expect("a peer"),
            http: "http://203.0.113.7:4024".to_owned(),
        }
    }

    /// A string with the right checksum, whatever it says.
    fn sealed(content: &[u8]) -> String {
        let bytes = [content, &check(content)].concat();
        format!("{FAMILY}{VERSION}{}", bs58::encode(bytes).into_string())
    }

    fn content(text: &str) -> Vec<u8> {
        let bytes = bs58::decode(&text[FAMILY.len() + 1..]).into_vec().expect("base58");
        bytes[..bytes.len() - CHECK_BYTES].to_vec()
    }

    #[test]
    fn it_is_read_as_it_was_written_whatever_broke_its_lines() {
        for charge in [true, false] {
            let made = Invitation { charge, ..invitation() };
            let text = made.to_string();
            assert!(text.len() < 240, "{} characters: {text}", text.len());
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "one word: {text}");
            assert_eq!(text.parse(), Ok(made.clone()));
            let (one, two) = text.split_at(70);
            assert_eq!(format!("  {one}\r\n\t{two} \n").parse(), Ok(made));
        }
        for peer in [
            "/ip6/2001:db8::7/tcp/4025/p2p/12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf",
            "/dns/node.example.org/tcp/4025/p2p/QmZkurbY2G2hWay59yiTgQNaQxHSNzKZFt2jbnwJhQcKgV",
        ] {
            let made = Invitation { peer: peer.parse().expect("a peer"), ..invitation() };
            assert_eq!(made.to_string().parse(), Ok(made));
        }
    }

    #[test]
    fn every_slip_of_one_character_is_noticed() {
        let text = invitation().to_string();
        for place in 0..text.len() {
            let mut lost = text.clone();
            lost.remove(place);
            assert!(lost.parse::<Invitation>().is_err(), "without character {place}");
            for other in ['1', 'z', 'Q', '0', 'é'] {
                let mut slipped: Vec<char> = text.chars().collect();
                if slipped[place] != other {
                    slipped[place] = other;
                    let slipped: String = slipped.into_iter().collect();
                    assert!(slipped.parse::<Invitation>().is_err(), "{place}: {other}");
                }
            }
        }
        let behind = text.len() - 20;
        let cut = text[..behind].parse::<Invitation>().expect_err("cut");
        assert!(cut.to_string().contains("copy it again"), "{cut}");
    }

    #[test]
    fn what_is_no_join_string_is_told_with_a_next_step() {
        let error = |text: &str| text.parse::<Invitation>().expect_err(text);
        for text in ["", "hello", "alephnet", "alephnet0abc", "http://203.0.113.7:4024"] {
            assert_eq!(error(text), InvitationError::NotOne, "{text}");
        }
        assert_eq!(error("alephnet2abc"), InvitationError::Newer);
        assert_eq!(error("alephnet1"), InvitationError::Damaged);
        assert_eq!(error("alephnet1ab0c"), InvitationError::Character('0'));
        assert_eq!(error(&"alephnet1".repeat(200)), InvitationError::TooLong);
    }

    #[test]
    fn a_right_checksum_does_not_make_nonsense_right() {
        let whole = content(&invitation().to_string());
        assert_eq!(sealed(&whole).parse(), Ok(invitation()), "the test seals as the code does");
        for length in 0..whole.len() {
            assert!(sealed(&whole[..length]).parse::<Invitation>().is_err(), "{length} bytes of it");
        }
        let mut flag = whole.clone();
        flag[0] = 2;
        assert_eq!(sealed(&flag).parse::<Invitation>(), Err(InvitationError::Content("an unknown flag")));
        let more = [whole.as_slice(), b"x"].concat();
        assert_eq!(sealed(&more).parse::<Invitation>(), Err(InvitationError::Content("something follows")));
        let with = |change: fn(&mut Invitation)| {
            let mut wrong = invitation();
            change(&mut wrong);
            wrong.to_string().parse::<Invitation>()
        };
        assert!(with(|wrong| wrong.owner = "0xhello".into()).is_err());
        assert!(with(|wrong| wrong.network.name = "a\nb".into()).is_err());
        assert!(with(|wrong| wrong.http = "http://a\"\n[x]".into()).is_err());
        assert!(with(|wrong| wrong.http = "ftp://a".into()).is_err());
        assert!(with(|wrong| wrong.peer = "/ip4/1.2.3.4/tcp/1".parse().expect("a peer")).is_err());
    }

    #[test]
    fn a_network_is_found_again_by_its_topic() {
        let network = NetworkName::new("a-b-1", [0xab; 8]).expect("a name");
        assert_eq!(network.topic(), "ALEPH-a-b-1-abababababababab");
        assert_eq!(NetworkName::of_topic(&network.topic()), Some(network));
        for other in ["ALEPH-TEST", "ALEPH-a-ABABABABABABABAB", "ALEPH--abababababababab", "x"] {
            assert_eq!(NetworkName::of_topic(other), None, "{other}");
        }
        for name in ["", "A", "a b", "ä", &"a".repeat(NAME_MAX + 1)] {
            assert!(NetworkName::new(name, [0; 8]).is_err(), "{name}");
        }
    }
}

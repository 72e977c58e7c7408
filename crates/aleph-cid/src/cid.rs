use std::fmt;
use std::str::FromStr;

use aleph_types::{HashKind, ItemHash};
use cid::multibase::Base;
use cid::multihash::Multihash;
use sha2::{Digest, Sha256};

/// Longest text that [`Cid::parse`] looks at, in bytes.
pub const MAX_CID_TEXT: usize = 192;

/// Most bytes of a block that a CID may carry inside itself (identity hash): what `ipfs add --inline`
/// puts there.
pub const MAX_INLINE: usize = 32;

/// Room for the longest digest that is known: a `Cid` is copied a lot.
type Inner = cid::CidGeneric<MAX_INLINE>;

const SHA2_256: u64 = 0x12;
const IDENTITY: u64 = 0x00;

/// The bases that a version 1 text may use. Others exist; nobody on the network writes them.
const BASES: &[Base] = &[
    Base::Base16Lower,
    Base::Base16Upper,
    Base::Base32Lower,
    Base::Base32Upper,
    Base::Base36Lower,
    Base::Base36Upper,
    Base::Base58Btc,
    Base::Base64Url,
];

/// What the bytes of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Plain bytes.
    Raw,
    /// Protobuf nodes with named links: what UnixFS is made of.
    DagPb,
    /// CBOR with links.
    DagCbor,
    /// JSON with links.
    DagJson,
    /// Anything else: its blocks can be kept and verified, but not followed.
    Other(u64),
}

impl Codec {
    fn from_code(code: u64) -> Self {
        match code {
            0x55 => Self::Raw,
            0x70 => Self::DagPb,
            0x71 => Self::DagCbor,
            0x0129 => Self::DagJson,
            other => Self::Other(other),
        }
    }

    /// The number that the multicodec table gives it.
    pub fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagPb => 0x70,
            Self::DagCbor => 0x71,
            Self::DagJson => 0x0129,
            Self::Other(code) => code,
        }
    }
}

/// The form in which a CID is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// `Qm…`: dag-pb and SHA-256 only.
    V0,
    /// Says its codec and hash: `bafy…`, `bafk…`.
    V1,
}

/// Why a text or bytes are no CID that this node works with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// Longer than any CID of a supported hash.
    #[error("a CID text has at most {MAX_CID_TEXT} bytes, this one has {0}")]
    TooLong(usize),
    /// Not decodable, or a form that does not encode back to itself.
    #[error("'{0}' is no CID: Qm… or a lower-case bafy…/bafk… text is needed")]
    Malformed(String),
    /// Bytes that hold no CID, or more than one.
    #[error("malformed CID bytes: {0}")]
    MalformedBytes(&'static str),
    /// A hash function other than SHA-256 and identity.
    #[error("hash function 0x{0:x} is not supported: only sha2-256 (0x12) and short identity CIDs are")]
    UnsupportedHash(u64),
    /// Version 0 exists for dag-pb with SHA-256 only.
    #[error("{0} has no version 0 form: only dag-pb with sha2-256 has one")]
    NoVersion0(Cid),
    /// The network names files by SHA-256, `Qm…` or `bafy…` only.
    #[error("{0} is no item hash: the network knows Qm… and bafy… (59 characters) only")]
    NotItemHash(Cid),
    /// A storage hash where a CID is needed.
    #[error("{0} is a storage hash (sha256), not a CID")]
    StorageHash(ItemHash),
}

/// The identity of a block and of everything that it links to.
///
/// Two hash functions are known: SHA-256, and *identity* (the block stands inside the CID, at most
/// [`MAX_INLINE`] bytes; see [`Cid::inline_block`]). Everything else is refused when it is parsed,
/// so whatever a `Cid` names can be verified.
///
/// ```
/// use aleph_cid::Cid;
///
/// let cid = Cid::parse("QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH").unwrap();
/// let same = cid.to_v1();
/// assert_eq!(same.to_string(), "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y");
/// assert_eq!(same.to_v0().unwrap(), cid);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(Inner);

impl Cid {
    /// The version 0 CID of a dag-pb block.
    pub fn v0(block: &[u8]) -> Self {
        Self::of(Version::V0, Codec::DagPb, block)
    }

    /// The version 1 CID of a block.
    pub fn v1(codec: Codec, block: &[u8]) -> Self {
        Self::of(Version::V1, codec, block)
    }

    /// The CID of plain bytes whose SHA-256 is known.
    pub fn raw(digest: [u8; 32]) -> Self {
        Self::from_digest(Version::V1, Codec::Raw, digest)
    }

    pub(crate) fn of(version: Version, codec: Codec, block: &[u8]) -> Self {
        Self::from_digest(version, codec, Sha256::digest(block).into())
    }

    /// The version 1 CID of a codec's code.
    pub(crate) fn of_code(code: u64, digest: [u8; 32]) -> Self {
        Self::from_digest(Version::V1, Codec::from_code(code), digest)
    }

    /// The CID of a block whose SHA-256 is known. Version 0 is for dag-pb only: other codecs get version 1.
    pub fn from_digest(version: Version, codec: Codec, digest: [u8; 32]) -> Self {
        let hash = Multihash::wrap(SHA2_256, &digest).unwrap_or_default();
        match (version, codec) {
            (Version::V0, Codec::DagPb) => match Inner::new_v0(hash) {
                Ok(cid) => Self(cid),
                // A 32-byte SHA-256 always has a version 0.
                Err(_) => Self(Inner::new_v1(codec.code(), hash)),
            },
            _ => Self(Inner::new_v1(codec.code(), hash)),
        }
    }

    /// Reads a CID in its text form: version 0 (`Qm…`), or version 1 in base 16, 32, 36, 58 or 64url.
    ///
    /// Only texts that print back to themselves in their base are CIDs: no white space, path, mixed
    /// case or loose trailing bits.
    ///
    /// # Errors
    ///
    /// What is no CID, or one of another hash function.
    pub fn parse(text: &str) -> Result<Self, CidError> {
        if text.len() > MAX_CID_TEXT {
            return Err(CidError::TooLong(text.len()));
        }
        let malformed = || CidError::Malformed(text.to_owned());
        if cid::Version::is_v0_str(text) {
            let bytes = Base::Base58Btc.decode(text).map_err(|_| malformed())?;
            let cid = Self::from_bytes(&bytes)?;
            return if cid.version() == Version::V0 && cid.to_string() == text {
                Ok(cid)
            } else {
                Err(malformed())
            };
        }
        let prefix = text.chars().next().ok_or_else(malformed)?;
        let base = BASES.iter().find(|base| base.code() == prefix).ok_or_else(malformed)?;
        let bytes = base.decode(&text[prefix.len_utf8()..]).map_err(|_| malformed())?;
        let cid = Self::from_bytes(&bytes)?;
        // Version 0 has no base but its own.
        let same = cid.version() == Version::V1 && base.encode(&bytes) == text[prefix.len_utf8()..];
        if same { Ok(cid) } else { Err(malformed()) }
    }

    /// Reads a CID in its binary form; `bytes` hold nothing else.
    ///
    /// # Errors
    ///
    /// What is no CID, or one of another hash function.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        let (cid, taken) = Self::read(bytes)?;
        if taken == bytes.len() { Ok(cid) } else { Err(CidError::MalformedBytes("bytes follow the CID")) }
    }

    /// Reads the CID at the start of `bytes`, and says how many bytes it takes.
    ///
    /// # Errors
    ///
    /// What is no CID, or one of another hash function.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), CidError> {
        let mut rest = bytes;
        let cid = Inner::read_bytes(&mut rest).map_err(|_| match hash_function(bytes) {
            Some(code) if code != SHA2_256 && code != IDENTITY => CidError::UnsupportedHash(code),
            _ => CidError::MalformedBytes("not a version, a codec and a hash"),
        })?;
        let taken = bytes.len() - rest.len();
        match (cid.hash().code(), cid.hash().size()) {
            (SHA2_256, 32) | (IDENTITY, _) => {}
            (SHA2_256, _) => return Err(CidError::MalformedBytes("a sha2-256 has 32 bytes")),
            (code, _) => return Err(CidError::UnsupportedHash(code)),
        }
        // Numbers have one form only, so that a block has one name only.
        // The length alone would pass numbers whose last byte has bits beyond 64.
        if cid.to_bytes() != bytes[..taken] {
            return Err(CidError::MalformedBytes("a number is not in its shortest form"));
        }
        Ok((Self(cid), taken))
    }

    /// The binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// Length of the binary form, in bytes.
    pub fn encoded_len(&self) -> usize {
        self.0.encoded_len()
    }

    /// The form in which it is written.
    pub fn version(&self) -> Version {
        match self.0.version() {
            cid::Version::V0 => Version::V0,
            cid::Version::V1 => Version::V1,
        }
    }

    /// What its block is.
    pub fn codec(&self) -> Codec {
        Codec::from_code(self.0.codec())
    }

    /// The SHA-256 of its block; none for an identity CID.
    pub fn digest(&self) -> Option<[u8; 32]> {
        if self.0.hash().code() != SHA2_256 {
            return None;
        }
        self.0.hash().digest().try_into().ok()
    }

    /// The storage hash of its block: a store of files by SHA-256 can keep blocks under it. None for
    /// an identity CID, whose block is never stored.
    pub fn block_hash(&self) -> Option<ItemHash> {
        self.digest().map(ItemHash::from_digest)
    }

    /// The block itself, if it stands inside the CID: such a block is never stored or asked for.
    pub fn inline_block(&self) -> Option<&[u8]> {
        (self.0.hash().code() == IDENTITY).then(|| self.0.hash().digest())
    }

    /// Whether `block` is what this CID names.
    pub fn matches(&self, block: &[u8]) -> bool {
        match self.inline_block() {
            Some(inline) => inline == block,
            None => self.0.hash().digest() == Sha256::digest(block).as_slice(),
        }
    }

    /// The same block in version 1.
    #[must_use]
    pub fn to_v1(&self) -> Self {
        Self(Inner::new_v1(self.0.codec(), *self.0.hash()))
    }

    /// The same block in version 0.
    ///
    /// # Errors
    ///
    /// Only dag-pb blocks named by SHA-256 have one.
    pub fn to_v0(&self) -> Result<Self, CidError> {
        match (self.codec(), self.digest()) {
            (Codec::DagPb, Some(digest)) => Ok(Self::from_digest(Version::V0, Codec::DagPb, digest)),
            _ => Err(CidError::NoVersion0(*self)),
        }
    }

    /// Whether both name the same bytes read in the same way, whatever their versions.
    pub fn is_same_block(&self, other: &Self) -> bool {
        self.0.codec() == other.0.codec() && self.0.hash() == other.0.hash()
    }

    /// The name that the network's messages know this CID by (`spec: messages.md §3`).
    ///
    /// # Errors
    ///
    /// The network refuses `bafk…` (a small raw file of version 1) and everything else that is not
    /// `Qm…` or a `bafy…` of 59 characters.
    pub fn to_item_hash(&self) -> Result<ItemHash, CidError> {
        match ItemHash::parse(&self.to_string()) {
            Ok(hash) if hash.kind() == HashKind::Ipfs => Ok(hash),
            _ => Err(CidError::NotItemHash(*self)),
        }
    }
}

/// The code of the hash function of CID bytes that could not be read whole.
fn hash_function(bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes;
    let mut code = 0;
    for _ in 0..3 {
        let (value, taken) = crate::varint::read(rest).ok()?;
        code = value;
        rest = &rest[taken..];
    }
    (bytes.first() == Some(&1)).then_some(code)
}

impl fmt::Display for Cid {
    /// The canonical text: base58btc for version 0, base32 for version 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        Self::parse(text)
    }
}

impl TryFrom<&ItemHash> for Cid {
    type Error = CidError;

    /// Item hashes are recognised by their shape only: some that look like CIDs are none.
    fn try_from(hash: &ItemHash) -> Result<Self, CidError> {
        match hash.kind() {
            HashKind::Ipfs => Self::parse(hash.as_str()),
            HashKind::Storage => Err(CidError::StorageHash(hash.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_FILE: &str = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH";
    const EMPTY_RAW: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    fn printed(cid: &Cid, base: Base) -> String {
        cid::multibase::encode(base, cid.to_bytes())
    }

    #[test]
    fn known_texts_come_back() {
        for text in [EMPTY_FILE, EMPTY_RAW, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"] {
            assert_eq!(Cid::parse(text).unwrap().to_string(), text);
        }
        let raw = Cid::parse(EMPTY_RAW).unwrap();
        assert_eq!((raw.version(), raw.codec()), (Version::V1, Codec::Raw));
        assert!(raw.matches(b"") && !raw.matches(b"x"));
        assert_eq!(raw, Cid::raw(raw.digest().unwrap()));
        assert_eq!(raw.block_hash(), Some(ItemHash::sha256(b"")));
    }

    /// Found by fuzzing: ten bytes, of which the last one has bits that fall off.
    #[test]
    fn numbers_beyond_64_bits_are_no_second_name() {
        let with = |last: u8| {
            let mut bytes = vec![1, 0xff, 0xfb];
            bytes.extend([0xff; 7]);
            bytes.extend([last, 0, 1, 7]);
            bytes
        };
        assert!(Cid::from_bytes(&with(1)).is_ok());
        assert!(Cid::from_bytes(&with(0x55)).is_err());
    }

    #[test]
    fn every_base_leads_to_one_cid() {
        let cid = Cid::parse(EMPTY_RAW).unwrap();
        for base in BASES {
            let text = printed(&cid, *base);
            assert_eq!(Cid::parse(&text).unwrap(), cid, "{text}");
        }
        assert!(Cid::parse(&printed(&cid, Base::Base8)).is_err(), "a base that nobody writes");
    }

    #[test]
    fn only_canonical_texts_are_cids() {
        let lower = EMPTY_RAW.to_owned();
        let mixed = format!("{}{}", &lower[..10], lower[10..].to_uppercase());
        let loose = format!("{}v", &lower[..lower.len() - 1]);
        let multibase0 = format!("z{EMPTY_FILE}");
        let padded = format!("{lower} ");
        let path = format!("/ipfs/{lower}");
        for text in ["", "Q", "b", "bafy", &mixed, &loose, &multibase0, &padded, &path, "é", "QmQm"] {
            assert!(Cid::parse(text).is_err(), "{text}");
        }
        let wrong_letter = EMPTY_FILE.replace('K', "0");
        assert!(Cid::parse(&wrong_letter).is_err());
        assert_eq!(Cid::parse(&"b".repeat(1000)), Err(CidError::TooLong(1000)));
    }

    #[test]
    fn other_hash_functions_are_named() {
        // blake3-256 of version 1 raw
        let mut bytes = vec![1, 0x55, 0x1e, 32];
        bytes.extend([7; 32]);
        assert_eq!(Cid::from_bytes(&bytes), Err(CidError::UnsupportedHash(0x1e)));
        // a hash too long for any buffer
        assert_eq!(Cid::from_bytes(&[1, 0x55, 0x13, 0x7f]), Err(CidError::UnsupportedHash(0x13)));
        // sha2-256 cut to 20 bytes
        let mut short = vec![1, 0x55, 0x12, 20];
        short.extend([7; 20]);
        assert!(matches!(Cid::from_bytes(&short), Err(CidError::MalformedBytes(_))));
    }

    #[test]
    fn bytes_hold_one_cid_in_its_shortest_form() {
        let cid = Cid::parse(EMPTY_RAW).unwrap();
        let mut bytes = cid.to_bytes();
        assert_eq!(Cid::from_bytes(&bytes), Ok(cid));
        bytes.push(0);
        assert!(Cid::from_bytes(&bytes).is_err());
        assert_eq!(Cid::read(&bytes), Ok((cid, 36)));
        // version 1 in two bytes
        let mut long = vec![0x81, 0x00];
        long.extend(&cid.to_bytes()[1..]);
        assert!(Cid::from_bytes(&long).is_err());
        for cut in 0..36 {
            assert!(Cid::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn identity_carries_its_block() {
        let mut bytes = vec![1, 0x55, 0, 5];
        bytes.extend(b"hello");
        let cid = Cid::from_bytes(&bytes).unwrap();
        assert_eq!(cid.inline_block(), Some(&b"hello"[..]));
        assert!(cid.matches(b"hello") && !cid.matches(b"hellO"));
        assert_eq!(Cid::parse(&cid.to_string()), Ok(cid));
        assert_eq!(cid.digest(), None);
        let mut long = vec![1, 0x55, 0, 33];
        long.extend([0; 33]);
        assert!(Cid::from_bytes(&long).is_err());
    }

    #[test]
    fn item_hashes_and_cids() {
        let hash = ItemHash::parse(EMPTY_FILE).unwrap();
        let cid = Cid::try_from(&hash).unwrap();
        assert_eq!(cid.to_item_hash().unwrap(), hash);
        assert!(cid.to_v1().to_item_hash().is_ok());
        let raw = Cid::parse(EMPTY_RAW).unwrap();
        assert_eq!(raw.to_item_hash(), Err(CidError::NotItemHash(raw)));
        assert_eq!(raw.to_v0(), Err(CidError::NoVersion0(raw)));
        let storage = ItemHash::sha256(b"");
        assert_eq!(Cid::try_from(&storage), Err(CidError::StorageHash(storage)));
        // the right shape, and no CID
        let shape = ItemHash::parse(&format!("Qm{}", "1".repeat(42))).unwrap();
        assert!(Cid::try_from(&shape).is_err());
    }
}

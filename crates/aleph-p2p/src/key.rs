use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use libp2p::PeerId;
use libp2p::identity::Keypair;
use rsa::pkcs8::EncodePrivateKey as _;

/// The kind of a node's key (`spec: p2p.md §2.1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyType {
    /// RSA-2048, as every reference node has. A signature takes about a millisecond, which bounds
    /// publishing at some thousand messages a second and core; making a key takes up to a few
    /// seconds.
    Rsa,
    /// Ed25519, thirty times cheaper to sign with; reference nodes accept it. For new nodes.
    #[default]
    Ed25519,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        })
    }
}

impl FromStr for KeyType {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        match text {
            "rsa" => Ok(Self::Rsa),
            "ed25519" => Ok(Self::Ed25519),
            other => Err(KeyError::UnknownType(other.chars().take(40).collect())),
        }
    }
}

/// Why a node key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No such kind of key.
    #[error("unknown key type '{0}': use rsa or ed25519")]
    UnknownType(String),
    /// The file can't be read.
    #[error("can't read the node key '{}'", path.display())]
    Read {
        /// The key file.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// The file can't be written.
    #[error("can't write the node key '{}'", path.display())]
    Write {
        /// The key file.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// The bytes are no key that is spoken here.
    #[error(
        "the node key is not PKCS#8 DER of an RSA (2048 to 8192 bits) or Ed25519 key ({0}): \
             convert it, for example with 'openssl pkcs8 -topk8 -nocrypt -outform DER'"
    )]
    Malformed(String),
    /// A new key could not be made.
    #[error("can't make a node key: {0}")]
    Generate(String),
}

/// The key that a node is known by, and its form on disk: PKCS#8 DER for both kinds, so that the
/// `node-secret.pkcs8.der` of an existing node keeps its peer id.
#[derive(Clone)]
pub struct NodeKey {
    pair: Keypair,
    der: Vec<u8>,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").field("peer_id", &self.peer_id()).finish_non_exhaustive()
    }
}

/// PKCS#8 of an Ed25519 seed up to the 32 bytes of the seed (RFC 8410 §7), version 1 and 2.
const ED25519_V1: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const ED25519_V2: [u8; 16] = [0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

impl NodeKey {
    /// A new key. RSA takes up to a few seconds; never do it on an async thread.
    pub fn generate(kind: KeyType) -> Result<Self, KeyError> {
        match kind {
            KeyType::Rsa => {
                let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048)
                    .map_err(|error| KeyError::Generate(error.to_string()))?;
                let der = key.to_pkcs8_der().map_err(|error| KeyError::Generate(error.to_string()))?;
                Self::from_pkcs8_der(der.as_bytes())
            }
            KeyType::Ed25519 => {
                let mut seed = [0; 32];
                rsa::rand_core::RngCore::try_fill_bytes(&mut rsa::rand_core::OsRng, &mut seed)
                    .map_err(|error| KeyError::Generate(error.to_string()))?;
                let mut der = ED25519_V1.to_vec();
                der.extend_from_slice(&seed);
                Self::from_pkcs8_der(&der)
            }
        }
    }

    /// The key of a PKCS#8 DER document.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, KeyError> {
        let seed = match der.split_at_checked(16) {
            Some((head, rest)) if head == ED25519_V1 || head == ED25519_V2 => rest.get(..32),
            _ => None,
        };
        let pair = match seed {
            Some(seed) => Keypair::ed25519_from_bytes(seed.to_vec()),
            // The decoder wipes what it is given.
            None => Keypair::rsa_from_pkcs8(&mut der.to_vec()),
        };
        let pair = pair.map_err(|error| KeyError::Malformed(error.to_string()))?;
        Ok(Self { pair, der: der.to_owned() })
    }

    /// The key in the file `path`.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let der = fs::read(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
        warn_if_readable_by_others(path);
        Self::from_pkcs8_der(&der)
    }

    /// The key in the file `path`; a new one of `kind` when there is no such file.
    ///
    /// An existing key is used whatever its kind. A new file is readable by its owner only, and is
    /// there completely or not at all.
    pub fn load_or_generate(path: &Path, kind: KeyType) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let key = Self::generate(kind)?;
        match key.save_new(path) {
            Ok(()) => Ok(key),
            // Another process was faster: there can be only one key.
            Err(KeyError::Write { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Self::load(path)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the key to `path`, readable by its owner only; fails when the file exists.
    pub fn save_new(&self, path: &Path) -> Result<(), KeyError> {
        let write = || -> io::Result<()> {
            let folder = match path.parent() {
                Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
                Some(folder) => folder,
                None => Path::new("."),
            };
            fs::create_dir_all(folder)?;
            let mut file = tempfile::Builder::new().prefix(".node-key-").tempfile_in(folder)?;
            file.write_all(&self.der)?;
            file.as_file().sync_all()?;
            file.persist_noclobber(path).map_err(|error| error.error)?;
            fs::File::open(folder)?.sync_all()
        };
        write().map_err(|source| KeyError::Write { path: path.to_owned(), source })
    }

    /// The PKCS#8 DER document of this key: a secret.
    pub fn to_pkcs8_der(&self) -> &[u8] {
        &self.der
    }

    /// The identity that peers know this node by.
    pub fn peer_id(&self) -> PeerId {
        self.pair.public().to_peer_id()
    }

    /// The kind of this key.
    pub fn key_type(&self) -> KeyType {
        match self.pair.key_type() {
            libp2p::identity::KeyType::Ed25519 => KeyType::Ed25519,
            _ => KeyType::Rsa,
        }
    }

    /// Signs bytes: the signature, and the public key for [`signer_of`]. `None` if the key can't sign.
    pub fn sign(&self, message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        Signer(self.pair.clone()).sign(message)
    }

    pub(crate) fn into_pair(self) -> Keypair {
        self.pair
    }
}

/// Signs in a node's name, once the network has its key.
pub(crate) struct Signer(Keypair);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    pub(crate) fn new(pair: Keypair) -> Self {
        Self(pair)
    }

    /// The signature, and the key that it is checked with, as libp2p encodes it.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let signature = self.0.sign(message).ok()?;
        Some((signature, self.0.public().encode_protobuf()))
    }
}

/// Who signed `message`: the identity of `public_key` (as libp2p encodes it), if the signature is right.
pub fn signer_of(message: &[u8], signature: &[u8], public_key: &[u8]) -> Option<PeerId> {
    let key = libp2p::identity::PublicKey::try_decode_protobuf(public_key).ok()?;
    key.verify(message, signature).then(|| key.to_peer_id())
}

fn warn_if_readable_by_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "the node key is readable by others: chmod 600");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_identity_through_its_file() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [KeyType::Rsa, KeyType::Ed25519] {
            let path = folder.path().join(kind.to_string()).join("node-secret.pkcs8.der");
            let made = NodeKey::load_or_generate(&path, kind).unwrap();
            let loaded = NodeKey::load_or_generate(&path, KeyType::Ed25519).unwrap();
            assert_eq!(made.peer_id(), loaded.peer_id());
            assert_eq!(loaded.key_type(), kind);
            let text = loaded.peer_id().to_string();
            assert!(text.starts_with(if kind == KeyType::Rsa { "Qm" } else { "12D3KooW" }), "{text}");
            assert!(made.save_new(&path).is_err());
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn other_files_are_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for content in [&b""[..], b"-----BEGIN PRIVATE KEY-----", &ED25519_V1] {
            fs::write(&path, content).unwrap();
            let error = NodeKey::load_or_generate(&path, KeyType::Ed25519).unwrap_err();
            assert!(error.to_string().contains("openssl pkcs8"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        assert!("RSA".parse::<KeyType>().is_err());
    }
}

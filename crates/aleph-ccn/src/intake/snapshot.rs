//! The set of a node as it was at a moment, in chunks that can be fetched and checked each on its own
//! (`docs/adr/0019-snapshots.md`).
//!
//! A snapshot copies nothing: its manifest names where each chunk of the set begins, how many elements it
//! has, and a hash over them. The node remembers which elements came later, and leaves them out when it
//! hands a chunk on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aleph_p2p::PeerId;
use aleph_types::Timestamp;
use negentropy::{Id, Item};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Elements of a chunk.
pub(crate) const CHUNK: usize = 1024;

/// Snapshots that are remembered: the newest, and those that others may be fetching still.
pub(crate) const SNAPSHOTS: usize = 3;

/// A snapshot is told for this long.
const FRESH: Duration = Duration::from_secs(600);

/// Who began to fetch one has this long.
const KEPT: Duration = Duration::from_secs(4 * 3600);

/// Chunks of the largest snapshot that is read: 134 million elements.
const CHUNKS_MAX: usize = 1 << 17;

/// What a manifest's signature is over begins with this, so that it can't be anything else that the node
/// signs.
const PURPOSE: &[u8] = b"alephd snapshot 1\n";

/// Why a manifest is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("it can't be read: {0}")]
    Form(String),
    #[error("it is of version {0}, not 1")]
    Version(u32),
    #[error("its signature is bad")]
    Signature,
    #[error("it is signed by {0}")]
    Signer(PeerId),
    #[error("its chunks are not in order, empty, too long or too many")]
    Chunks,
    #[error("its chunks hold {chunks} messages, not {messages}")]
    Sum { chunks: u64, messages: u64 },
}

/// What a node says it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// 1.
    pub(crate) version: u32,
    /// When, in microseconds since the epoch.
    pub(crate) time: i64,
    /// Elements of all chunks.
    pub(crate) messages: u64,
    /// The node's digest over its state at about that time (`docs/adr/0010-state-digest.md`), in hex.
    pub(crate) digest: String,
    /// In the order of the set.
    pub(crate) chunks: Vec<Chunk>,
}

/// A part of the set: from one element to before the first one of the next chunk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// The first element's place: its time in microseconds, shifted so that times before 1970 come first.
    pub(crate) place: u64,
    /// The first element's hash, in hex.
    #[serde(with = "hex::serde")]
    pub(crate) id: [u8; 32],
    /// Elements.
    pub(crate) count: u32,
    /// See [`hash_of`], in hex.
    #[serde(with = "hex::serde")]
    pub(crate) hash: [u8; 32],
}

impl Chunk {
    /// The chunk of these elements.
    pub(crate) fn of(items: &[Item]) -> Self {
        let first = items.first().copied().unwrap_or_default();
        Self {
            place: first.timestamp,
            id: first.id.to_bytes(),
            count: u32::try_from(items.len()).unwrap_or(u32::MAX),
            hash: hash_of(items.iter().map(|item| item.id.to_bytes()).collect()),
        }
    }

    /// The element that it begins with.
    pub(crate) fn first(&self) -> Item {
        Item::with_timestamp_and_id(self.place, Id::from_byte_array(self.id))
    }
}

/// SHA-256 over the elements' hashes, each once, in their own order: whoever has the messages can compute
/// it, whatever their times.
pub(crate) fn hash_of(mut ids: Vec<[u8; 32]>) -> [u8; 32] {
    ids.sort_unstable();
    ids.dedup();
    let mut hasher = Sha256::new();
    for id in &ids {
        hasher.update(id);
    }
    hasher.finalize().into()
}

/// A manifest on its way: the text that was signed, and who did.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    /// A [`Manifest`] as JSON.
    manifest: String,
    #[serde(with = "hex::serde")]
    signature: Vec<u8>,
    /// As libp2p encodes it.
    #[serde(with = "hex::serde")]
    public_key: Vec<u8>,
}

/// What a snapshot is asked for by: the SHA-256 of its manifest's text.
pub(crate) type SnapshotId = [u8; 32];

/// Writes and signs a manifest. `None` if the key can't sign.
pub(crate) fn tell(
    manifest: &Manifest,
    sign: impl FnOnce(&[u8]) -> Option<(Vec<u8>, Vec<u8>)>,
) -> Option<(SnapshotId, Vec<u8>)> {
    let manifest = serde_json::to_string(manifest).ok()?;
    let (signature, public_key) = sign(&[PURPOSE, manifest.as_bytes()].concat())?;
    let id = Sha256::digest(manifest.as_bytes()).into();
    Some((id, serde_json::to_vec(&Told { manifest, signature, public_key }).ok()?))
}

/// A manifest that was checked.
#[derive(Debug)]
pub(crate) struct Believed {
    pub(crate) id: SnapshotId,
    pub(crate) manifest: Manifest,
    pub(crate) signer: PeerId,
}

/// Reads and checks a manifest; `from` must have signed it, where the caller knows whom it asked.
pub(crate) fn believe(told: &[u8], from: Option<PeerId>) -> Result<Believed, ManifestError> {
    let form = |error: &dyn std::fmt::Display| ManifestError::Form(error.to_string());
    let Told { manifest: text, signature, public_key } =
        serde_json::from_slice(told).map_err(|error| form(&error))?;
    let signed = [PURPOSE, text.as_bytes()].concat();
    let signer = aleph_p2p::signer_of(&signed, &signature, &public_key).ok_or(ManifestError::Signature)?;
    if from.is_some_and(|from| from != signer) {
        return Err(ManifestError::Signer(signer));
    }
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| form(&error))?;
    if manifest.version != 1 {
        return Err(ManifestError::Version(manifest.version));
    }
    let chunks = &manifest.chunks;
    let sound = |chunk: &Chunk| (1..=CHUNK as u32).contains(&chunk.count);
    if chunks.len() > CHUNKS_MAX
        || !chunks.iter().all(sound)
        || !chunks.windows(2).all(|pair| pair[0].first() < pair[1].first())
    {
        return Err(ManifestError::Chunks);
    }
    let sum = chunks.iter().map(|chunk| u64::from(chunk.count)).sum();
    if sum != manifest.messages {
        return Err(ManifestError::Sum { chunks: sum, messages: manifest.messages });
    }
    Ok(Believed { id: Sha256::digest(text.as_bytes()).into(), manifest, signer })
}

/// A snapshot that this node told.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) id: SnapshotId,
    /// What is answered to who asks for the manifest.
    pub(crate) told: Arc<Vec<u8>>,
    /// Where its chunks begin.
    pub(crate) firsts: Vec<Item>,
    /// Elements that came later.
    pub(crate) added: HashSet<Item>,
    made: Instant,
}

impl Pinned {
    pub(crate) fn new(id: SnapshotId, told: Vec<u8>, manifest: &Manifest) -> Self {
        let firsts = manifest.chunks.iter().map(Chunk::first).collect();
        Self { id, told: Arc::new(told), firsts, added: HashSet::new(), made: Instant::now() }
    }

    /// Whether it is told to who asks now, with so many elements in the set.
    pub(crate) fn is_fresh(&self, elements: usize) -> bool {
        self.made.elapsed() < FRESH && self.added.len() <= elements / 20
    }

    /// Whether it is kept for who fetches it still.
    pub(crate) fn is_worth_its_memory(&self, elements: usize) -> bool {
        self.made.elapsed() < KEPT && self.added.len() <= elements / 4
    }
}

/// The manifest of a set as it is now.
pub(crate) fn manifest_of(chunks: Vec<Chunk>, digest: String, now: Timestamp) -> Manifest {
    let messages = chunks.iter().map(|chunk| u64::from(chunk.count)).sum();
    Manifest { version: 1, time: now.as_micros(), messages, digest, chunks }
}

#[cfg(test)]
mod tests {
    use aleph_p2p::{KeyType, NodeKey};

    use super::*;

    fn items(count: u64) -> Vec<Item> {
        let id = |number: u64| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            Id::from_byte_array(id)
        };
        (0..count).map(|number| Item::with_timestamp_and_id(number / 3, id(number))).collect()
    }

    fn manifest(count: u64) -> Manifest {
        let mut items = items(count);
        items.sort_unstable();
        let chunks = items.chunks(CHUNK).map(Chunk::of).collect();
        manifest_of(chunks, "dd".to_owned(), Timestamp::from_micros(5))
    }

    fn signed(manifest: &Manifest, key: &NodeKey) -> Vec<u8> {
        tell(manifest, |text| key.sign(text)).unwrap().1
    }

    #[test]
    fn a_manifest_is_believed_as_it_was_signed_and_not_otherwise() {
        let (key, other) =
            (NodeKey::generate(KeyType::Ed25519).unwrap(), NodeKey::generate(KeyType::Ed25519).unwrap());
        let whole = manifest(5000);
        let (id, told) = tell(&whole, |text| key.sign(text)).unwrap();
        for from in [None, Some(key.peer_id())] {
            let believed = believe(&told, from).unwrap();
            assert_eq!((believed.id, &believed.manifest, believed.signer), (id, &whole, key.peer_id()));
        }
        assert!(matches!(believe(&told, Some(other.peer_id())), Err(ManifestError::Signer(_))));
        // One character of the text, or of the signature.
        for at in [told.len() / 2, 30, told.len() - 10] {
            let mut changed = told.clone();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert!(believe(&changed, None).is_err(), "{at}");
        }
        assert!(believe(&told[..told.len() / 2], None).is_err());
        assert!(matches!(believe(b"{}", None), Err(ManifestError::Form(_))));
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused_whoever_signs_it() {
        let key = NodeKey::generate(KeyType::Ed25519).unwrap();
        let change = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = manifest(5000);
            change(&mut manifest);
            believe(&signed(&manifest, &key), None).unwrap_err()
        };
        assert!(matches!(change(&|manifest| manifest.version = 2), ManifestError::Version(2)));
        assert!(matches!(change(&|manifest| manifest.messages += 1), ManifestError::Sum { .. }));
        assert!(matches!(change(&|manifest| manifest.chunks.swap(0, 1)), ManifestError::Chunks));
        assert!(matches!(change(&|manifest| manifest.chunks[0].count = 1 << 20), ManifestError::Chunks));
        assert!(matches!(change(&|manifest| manifest.chunks[2].count = 0), ManifestError::Chunks));
    }

    #[test]
    fn the_hash_of_a_chunk_does_not_depend_on_the_order_of_its_elements() {
        let ids: Vec<[u8; 32]> = items(10).iter().map(|item| item.id.to_bytes()).collect();
        let turned: Vec<[u8; 32]> = ids.iter().rev().chain(&ids[..2]).copied().collect();
        assert_eq!(hash_of(ids.clone()), hash_of(turned));
        assert_ne!(hash_of(ids.clone()), hash_of(ids[1..].to_vec()));
    }
}

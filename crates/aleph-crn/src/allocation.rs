//! What schedulers want here: each signer's complete desired state, kept on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use aleph_types::ItemHash;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::execution::record::write_atomically;

/// One signer's desired state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Desired {
    /// Kept running.
    #[serde(default)]
    pub(crate) persistent_vms: BTreeSet<ItemHash>,
    /// Prepared here, run on demand.
    #[serde(default)]
    pub(crate) on_demand_vms: BTreeSet<ItemHash>,
}

impl Desired {
    fn contains(&self, hash: &ItemHash) -> bool {
        self.persistent_vms.contains(hash) || self.on_demand_vms.contains(hash)
    }
}

/// Every signer's desired state.
#[derive(Debug)]
pub(crate) struct Allocations {
    path: PathBuf,
    desired: Mutex<BTreeMap<String, Desired>>,
    /// One allocation at a time (`spec: crn-api.md §6.1`).
    pub(crate) turn: tokio::sync::Mutex<()>,
}

/// What an allocation changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Change {
    /// Wanted by this signer before, by nobody now.
    pub(crate) dropped: BTreeSet<ItemHash>,
}

impl Allocations {
    /// Reads what an earlier process kept. A damaged file is an error: it says which VMs must stay.
    pub(crate) fn load(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join("allocations.json");
        let unreadable = |reason: String| Error::Allocations { path: path.clone(), reason };
        let desired = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        Ok(Self { path, desired: Mutex::new(desired), turn: tokio::sync::Mutex::new(()) })
    }

    /// Replaces the desired state of `signer`, on disk first.
    pub(crate) async fn replace(&self, signer: &str, wanted: Desired) -> io::Result<Change> {
        let (next, change) = replaced(&self.desired.lock(), signer, wanted);
        let (path, bytes) = (self.path.clone(), serde_json::to_vec_pretty(&next)?);
        tokio::task::spawn_blocking(move || write_atomically(&path, &bytes))
            .await
            .map_err(io::Error::other)??;
        *self.desired.lock() = next;
        Ok(change)
    }

    /// Takes a program that is no more out of every state.
    pub(crate) async fn forget(&self, hash: &ItemHash) -> io::Result<()> {
        let _turn = self.turn.lock().await;
        let next = {
            let mut next = self.desired.lock().clone();
            for desired in next.values_mut() {
                desired.persistent_vms.remove(hash);
                desired.on_demand_vms.remove(hash);
            }
            next
        };
        if next == *self.desired.lock() {
            return Ok(());
        }
        let (path, bytes) = (self.path.clone(), serde_json::to_vec_pretty(&next)?);
        tokio::task::spawn_blocking(move || write_atomically(&path, &bytes))
            .await
            .map_err(io::Error::other)??;
        *self.desired.lock() = next;
        Ok(())
    }

    /// Every program that somebody wants here, and whether it is kept running.
    pub(crate) fn all(&self) -> BTreeMap<ItemHash, bool> {
        let mut all = BTreeMap::new();
        for desired in self.desired.lock().values() {
            for hash in &desired.on_demand_vms {
                all.entry(hash.clone()).or_insert(false);
            }
            for hash in &desired.persistent_vms {
                all.insert(hash.clone(), true);
            }
        }
        all
    }

    /// Who wants `hash` here.
    pub(crate) fn signers_of(&self, hash: &ItemHash) -> Vec<String> {
        let desired = self.desired.lock();
        desired.iter().filter(|(_, wanted)| wanted.contains(hash)).map(|(signer, _)| signer.clone()).collect()
    }
}

/// The states after `signer` changed its mind; pure.
fn replaced(
    desired: &BTreeMap<String, Desired>,
    signer: &str,
    wanted: Desired,
) -> (BTreeMap<String, Desired>, Change) {
    let mut next = desired.clone();
    let old = next.insert(signer.to_owned(), wanted).unwrap_or_default();
    let before = old.persistent_vms.into_iter().chain(old.on_demand_vms);
    let dropped = before.filter(|hash| !next.values().any(|desired| desired.contains(hash))).collect();
    (next, Change { dropped })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> ItemHash {
        ItemHash::sha256(&[n])
    }

    fn desired(persistent: &[u8], on_demand: &[u8]) -> Desired {
        Desired {
            persistent_vms: persistent.iter().map(|n| hash(*n)).collect(),
            on_demand_vms: on_demand.iter().map(|n| hash(*n)).collect(),
        }
    }

    #[test]
    fn a_signer_only_drops_what_nobody_else_wants() {
        let (states, change) = replaced(&BTreeMap::new(), "a", desired(&[1], &[2, 3]));
        assert!(change.dropped.is_empty());
        let (states, change) = replaced(&states, "b", desired(&[], &[3]));
        assert!(change.dropped.is_empty());
        let (states, change) = replaced(&states, "a", desired(&[2], &[]));
        assert_eq!(change.dropped, BTreeSet::from([hash(1)]), "2 changed its kind, 3 is b's too");
        let (_, change) = replaced(&states, "c", desired(&[], &[]));
        assert!(change.dropped.is_empty(), "an unknown signer drops nothing");
    }

    #[tokio::test]
    async fn states_survive() {
        let folder = tempfile::tempdir().unwrap();
        let allocations = Allocations::load(folder.path()).unwrap();
        allocations.replace("a", desired(&[1], &[2])).await.unwrap();
        let again = Allocations::load(folder.path()).unwrap();
        assert_eq!(again.all(), BTreeMap::from([(hash(1), true), (hash(2), false)]));
        assert_eq!(again.signers_of(&hash(2)), ["a"]);
        again.forget(&hash(1)).await.unwrap();
        assert_eq!(Allocations::load(folder.path()).unwrap().all().len(), 1);
        std::fs::write(folder.path().join("allocations.json"), "{").unwrap();
        assert!(matches!(Allocations::load(folder.path()), Err(Error::Allocations { .. })));
    }
}

//! How much of this host is promised to VMs (`spec: crn-vm.md §9`).

use std::collections::HashMap;
use std::sync::Arc;

use aleph_types::ItemHash;
use parking_lot::Mutex;

use crate::config::Limits;
use crate::defaults::{PROGRAM_MEMORY_MIB, START_ID_INDEX};

/// What all VMs together may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) memory_mib: u64,
    pub(crate) vcpus: u64,
    pub(crate) vms: usize,
}

impl Capacity {
    /// The capacity of a host with `memory_total` bytes and `cores`.
    pub(crate) fn of(limits: &Limits, memory_total: u64, cores: u64) -> Self {
        let beyond_host = (memory_total >> 20).saturating_sub(limits.host_memory_reserved_mib);
        Self {
            memory_mib: limits.program_memory_mib.unwrap_or(PROGRAM_MEMORY_MIB.min(beyond_host)),
            vcpus: cores.saturating_mul(limits.vcpu_overcommit),
            vms: limits.max_vms,
        }
    }
}

/// What one VM takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) memory_mib: u64,
    pub(crate) vcpus: u64,
}

/// The accounts.
#[derive(Debug)]
pub(crate) struct Admission {
    capacity: Capacity,
    taken: Mutex<HashMap<ItemHash, (u32, Share)>>,
}

/// A VM's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    hash: ItemHash,
    /// The VM's number on this node.
    pub(crate) vm_id: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.taken.lock().remove(&self.hash);
    }
}

impl Admission {
    pub(crate) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, taken: Mutex::new(HashMap::new()) })
    }

    /// Takes a place, or says what there is too little of.
    pub(crate) fn admit(self: &Arc<Self>, hash: &ItemHash, share: Share) -> Result<Place, String> {
        let mut taken = self.taken.lock();
        let used = total(&taken);
        let Capacity { memory_mib, vcpus, vms } = self.capacity;
        let short = |what: &str, asked: u64, used: u64, most: u64| {
            Err(format!(
                "It asks for {asked} {what}; {used} of {most} are taken. Repeat the request when programs have become \
                 idle, or raise the node's limits."
            ))
        };
        if taken.len() >= vms {
            return short("VM", 1, taken.len() as u64, vms as u64);
        }
        if used.memory_mib + share.memory_mib > memory_mib {
            return short("MiB of memory", share.memory_mib, used.memory_mib, memory_mib);
        }
        if used.vcpus + share.vcpus > vcpus {
            return short("virtual processors", share.vcpus, used.vcpus, vcpus);
        }
        Ok(self.seat(&mut taken, hash, share))
    }

    /// Takes a place for a VM that runs already, whatever the capacity.
    pub(crate) fn adopt(self: &Arc<Self>, hash: &ItemHash, share: Share) -> Place {
        self.seat(&mut self.taken.lock(), hash, share)
    }

    fn seat(
        self: &Arc<Self>,
        taken: &mut HashMap<ItemHash, (u32, Share)>,
        hash: &ItemHash,
        share: Share,
    ) -> Place {
        let vm_id = (START_ID_INDEX..)
            .find(|id| !taken.values().any(|(other, _)| other == id))
            .expect("fewer VMs than numbers");
        taken.insert(hash.clone(), (vm_id, share));
        Place { admission: Arc::clone(self), hash: hash.clone(), vm_id }
    }

    /// What is promised now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> Share {
        total(&self.taken.lock())
    }
}

fn total(taken: &HashMap<ItemHash, (u32, Share)>) -> Share {
    taken.values().fold(Share::default(), |sum, (_, share)| Share {
        memory_mib: sum.memory_mib + share.memory_mib,
        vcpus: sum.vcpus + share.vcpus,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_and_given_back() {
        let admission = Admission::new(Capacity { memory_mib: 256, vcpus: 2, vms: 2 });
        let hash = |n: u8| ItemHash::sha256(&[n]);
        let share = Share { memory_mib: 128, vcpus: 1 };
        let first = admission.admit(&hash(1), share).unwrap();
        assert_eq!(first.vm_id, 4);
        let second = admission.admit(&hash(2), share).unwrap();
        assert_eq!(second.vm_id, 5);
        assert!(admission.admit(&hash(3), share).unwrap_err().contains("2 of 2"));
        drop(first);
        let big = Share { memory_mib: 129, vcpus: 1 };
        assert!(admission.admit(&hash(3), big).unwrap_err().contains("129 MiB of memory; 128 of 256"));
        assert_eq!(admission.admit(&hash(3), share).unwrap().vm_id, 4, "numbers are used again");
        let adopted = admission.adopt(&hash(9), Share { memory_mib: 9999, vcpus: 1 });
        assert_eq!(admission.used().memory_mib, 128 + 9999);
        drop(adopted);
    }

    #[test]
    fn a_small_host_has_what_is_left() {
        let limits = Limits::default();
        assert_eq!(Capacity::of(&limits, 4 << 30, 2), Capacity { memory_mib: 2048, vcpus: 8, vms: 256 });
        assert_eq!(Capacity::of(&limits, 64 << 30, 2).memory_mib, 8192);
        assert_eq!(Capacity::of(&limits, 1 << 30, 2).memory_mib, 0);
    }
}

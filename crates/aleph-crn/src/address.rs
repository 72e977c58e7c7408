//! Addresses that others compute for our VMs (`spec: crn-vm.md §7.1`).
//!
//! Clients and scoring derive the static IPv6 address of a VM from its hash, so the derivation is part of
//! the wire even where, as with user-mode networking, nothing listens on it.

use std::net::{Ipv4Addr, Ipv6Addr};

use aleph_types::ItemHash;

/// The group that tells kinds of VM apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VmKind {
    /// On-demand program.
    Program = 1,
    /// Persistent program.
    PersistentProgram = 2,
}

impl VmKind {
    /// The word in the lists of executions.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            VmKind::Program => "microvm",
            VmKind::PersistentProgram => "persistent_program",
        }
    }
}

/// The first four groups of the guests' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ipv6Pool([u16; 4]);

impl Ipv6Pool {
    /// Parses a /64 or /56 network.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        if !matches!(prefix, "64" | "56") {
            return None;
        }
        let segments = address.parse::<Ipv6Addr>().ok()?.segments();
        Some(Self([segments[0], segments[1], segments[2], segments[3]]))
    }

    /// The /124 of a VM: its first address is the host's, the next the guest's.
    pub(crate) fn network_of(self, kind: VmKind, hash: &ItemHash) -> Option<Ipv6Addr> {
        let text = hash.as_str();
        let group = |range| u16::from_str_radix(text.get(range)?, 16).ok();
        let [a, b, c, d] = self.0;
        let last = group(8..11)?.checked_shl(4)?;
        Some(Ipv6Addr::new(a, b, c, d, kind as u16, group(0..4)?, group(4..8)?, last))
    }
}

/// The guest's address in a /124.
pub(crate) fn guest_of(network: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(network) | 1)
}

/// The `vm_id`-th /24 of 172.16.0.0/12; `None` beyond its 4096 networks.
pub(crate) fn ipv4_network_of(vm_id: u32) -> Option<Ipv4Addr> {
    (vm_id < 4096).then(|| Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 0)) + (vm_id << 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_examples() {
        let pool = Ipv6Pool::parse("1111:2222:3333:4444::/64").unwrap();
        let hash: ItemHash =
            "8920215b2e961a4d4c59a8ceb2803af53f91530ff53d6704273ab4d380bc6446".parse().unwrap();
        let network = pool.network_of(VmKind::Program, &hash).unwrap();
        assert_eq!(network.to_string(), "1111:2222:3333:4444:1:8920:215b:2e90");
        assert_eq!(guest_of(network).to_string(), "1111:2222:3333:4444:1:8920:215b:2e91");
        assert_eq!(ipv4_network_of(4).unwrap().to_string(), "172.16.4.0");
        assert_eq!(ipv4_network_of(300).unwrap().to_string(), "172.17.44.0");
        assert_eq!(ipv4_network_of(4096), None);
        assert_eq!(Ipv6Pool::parse("fc00::/48"), None);
    }
}

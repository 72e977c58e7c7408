use super::super::reader::Object;
use super::TrustedExecution;

words! {
    /// Which program runs the machine.
    Hypervisor {
        /// QEMU.
        Qemu = "qemu",
        /// Firecracker.
        Firecracker = "firecracker",
    }
}

/// What a function may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FunctionEnvironment {
    /// The same inputs give the same outputs.
    pub reproducible: bool,
    /// Reaches the internet.
    pub internet: bool,
    /// Reaches the network's API.
    pub aleph_api: bool,
    /// Shares a cache with other machines of the same kind.
    pub shared_cache: bool,
}

impl FunctionEnvironment {
    pub(in crate::content) fn read(object: &mut Object) -> Option<Self> {
        let reproducible = object.defaulted_flag("reproducible", false);
        let internet = object.defaulted_flag("internet", false);
        let aleph_api = object.defaulted_flag("aleph_api", false);
        let shared_cache = object.defaulted_flag("shared_cache", false);
        Some(Self {
            reproducible: reproducible?,
            internet: internet?,
            aleph_api: aleph_api?,
            shared_cache: shared_cache?,
        })
    }
}

/// What an instance may use, and how it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceEnvironment {
    /// The flags that functions have too.
    pub function: FunctionEnvironment,
    /// `None` leaves it to the compute node.
    pub hypervisor: Option<Hypervisor>,
    /// Confidential computing; present and empty counts as present.
    pub trusted_execution: Option<TrustedExecution>,
}

impl InstanceEnvironment {
    pub(in crate::content) fn read(object: &mut Object) -> Option<Self> {
        let function = FunctionEnvironment::read(object);
        let hypervisor = object.optional_word("hypervisor", "hypervisor");
        let trusted_execution = object.optional_child("trusted_execution").and_then(|mut child| {
            // An empty object slips through in the reference too.
            if child.len() > 0 && hypervisor != Some(Hypervisor::Qemu) {
                child.issue("value_error", "", "trusted execution is only supported for QEMU");
            }
            let trusted = TrustedExecution::read(&mut child);
            object.absorb(child, trusted)
        });
        Some(Self { function: function?, hypervisor, trusted_execution })
    }
}

use super::executable::{
    ExecutableBase, Hypervisor, InstanceEnvironment, ParentVolume, PaymentType, Persistence, Requirements,
};
use super::reader::Object;
use crate::{FormatError, ItemHash};

/// Largest root disk, MiB: 2048 × 10⁹ bytes, rounded up.
const DISK_MIB: i128 = 1_953_125;

/// The root disk of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootfsVolume {
    /// The image it starts from.
    pub parent: ParentVolume,
    /// Where it is kept.
    pub persistence: Persistence,
    /// Size, MiB, 1 to 1,953,125.
    pub size_mib: u32,
}

impl RootfsVolume {
    fn read(object: &mut Object) -> Option<Self> {
        let parent = object.required_child("parent").and_then(|mut child| {
            let parent = ParentVolume::read(&mut child);
            object.absorb(child, parent)
        });
        let persistence = object.required_word("persistence", "persistence");
        let size_mib = object.required_strict_integer("size_mib", 1, DISK_MIB);
        // Without effect, but the schema names it.
        object.optional_strings("forgotten_by", usize::MAX, usize::MAX);
        Some(Self { parent: parent?, persistence: persistence?, size_mib: size_mib? })
    }
}

/// An INSTANCE: a virtual machine that keeps running (`spec: messages.md §20`).
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceContent {
    /// What every machine has.
    pub base: ExecutableBase,
    /// What it may use, and how it is run.
    pub environment: InstanceEnvironment,
    /// Its root disk.
    pub rootfs: RootfsVolume,
}

impl InstanceContent {
    /// Every file that must be on the network: (hash, use latest version); the parent of the root disk,
    /// immutable volumes, parents of persistent volumes (`spec: messages.md §22`).
    pub fn references(&self) -> impl Iterator<Item = (&ItemHash, bool)> {
        std::iter::once((&self.rootfs.parent.reference, self.rootfs.parent.use_latest))
            .chain(self.base.volume_references())
    }

    /// Whether the machine is protected from its host.
    pub fn is_confidential(&self) -> bool {
        self.environment.trusted_execution.is_some()
    }

    pub(super) fn read(mut object: Object) -> Result<Self, FormatError> {
        let base = ExecutableBase::read(&mut object);
        let environment = object.required_child("environment").and_then(|mut child| {
            let environment = InstanceEnvironment::read(&mut child);
            object.absorb(child, environment)
        });
        let rootfs = object.required_child("rootfs").and_then(|mut child| {
            let rootfs = RootfsVolume::read(&mut child);
            object.absorb(child, rootfs)
        });
        object.refuse_extra();
        let instance = match (base, environment, rootfs) {
            (Some(base), Some(environment), Some(rootfs)) if object.is_clean() => {
                let instance = Self { base, environment, rootfs };
                instance.check(&mut object);
                Some(instance)
            }
            _ => None,
        };
        object.finish(|| instance)
    }

    /// The rules that concern several fields.
    fn check(&self, object: &mut Object) {
        let payment = self.base.payment_type();
        let measured = self.environment.trusted_execution.as_ref().and_then(|trusted| trusted.platform());
        if let Some(platform) = measured
            && payment != PaymentType::Credit
        {
            object.issue("value_error", "", format!("{platform} instances must be paid by credit"));
        }
        // The reference skips what follows when no requirements were sent.
        if let Some(requirements) = &self.base.requirements {
            self.check_requirements(object, payment, requirements);
        }
    }

    fn check_requirements(&self, object: &mut Object, payment: PaymentType, requirements: &Requirements) {
        let node = requirements.node.as_ref();
        let has_node = node.is_some_and(|node| node.node_hash.is_some());
        if payment == PaymentType::Superfluid && !has_node {
            object.issue("value_error", "", "Node hash assignment is needed for PAYG payments");
        }
        if !requirements.gpu.is_empty() {
            if !has_node && payment != PaymentType::Credit {
                object.issue("value_error", "", "Node hash assignment is needed for GPU support");
            }
            if self.environment.hypervisor != Some(Hypervisor::Qemu) {
                object.issue("value_error", "", "GPU option is only supported for QEmu hypervisor");
            }
            if self.environment.trusted_execution.as_ref().is_some_and(|trusted| trusted.gpu.is_some()) {
                object.issue(
                    "value_error",
                    "",
                    "requirements.gpu and trusted_execution.gpu exclude each other",
                );
            }
        }
        if node.is_some_and(|node| node.terms_and_conditions.is_some()) {
            if !has_node {
                object.issue("value_error", "", "Terms and conditions need a node hash");
            }
            let paid = matches!(payment, PaymentType::Superfluid | PaymentType::Credit);
            if !paid && !self.is_confidential() {
                object.issue(
                    "value_error",
                    "",
                    "Terms and conditions need PAYG or credit payments, or a confidential instance",
                );
            }
        }
    }
}

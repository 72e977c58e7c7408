use super::super::reader::Object;
use super::regex_syntax;
use crate::ItemHash;

const REGEX_CHARS: usize = 256;

words! {
    /// Instruction set.
    Architecture {
        /// AMD64.
        X86_64 = "x86_64",
        /// AArch64.
        Arm64 = "arm64",
    }
}

words! {
    /// PCI class of a GPU.
    GpuClass {
        /// VGA compatible controller.
        Vga = "0300",
        /// 3D controller.
        Compute3d = "0302",
    }
}

/// Where a machine may run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requirements {
    /// Processor.
    pub cpu: Option<CpuRequirements>,
    /// Node.
    pub node: Option<NodeRequirements>,
    /// Devices to pass through.
    pub gpu: Vec<GpuRequirement>,
}

/// The processor that a machine needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuRequirements {
    /// Instruction set.
    pub architecture: Option<Architecture>,
    /// As the processor names it, such as `AuthenticAMD`.
    pub vendor: Option<String>,
    /// Such as `sev_snp`.
    pub features: Vec<String>,
}

/// The node that a machine needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeRequirements {
    /// Address of the node's owner.
    pub owner: Option<String>,
    /// Pattern of the node's URL, in Python's dialect.
    pub address_regex: Option<String>,
    /// The one compute node.
    pub node_hash: Option<ItemHash>,
    /// File with the terms that the owner agreed to.
    pub terms_and_conditions: Option<ItemHash>,
}

/// A GPU to pass through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuRequirement {
    /// Such as `NVIDIA`.
    pub vendor: String,
    /// Name for people.
    pub device_name: String,
    /// PCI class.
    pub device_class: GpuClass,
    /// PCI vendor and device, `10de:2204`.
    pub device_id: String,
}

impl Requirements {
    pub(super) fn read(object: &mut Object) -> Option<Self> {
        let cpu = object.optional_child("cpu").and_then(|mut child| {
            let cpu = CpuRequirements::read(&mut child);
            object.absorb(child, cpu)
        });
        let node = object.optional_child("node").and_then(|mut child| {
            let node = NodeRequirements::read(&mut child);
            object.absorb(child, Some(node))
        });
        let gpu = object.optional_children("gpu", usize::MAX, GpuRequirement::read);
        object.refuse_extra();
        Some(Self { cpu, node, gpu: gpu.unwrap_or_default() })
    }
}

impl CpuRequirements {
    fn read(object: &mut Object) -> Option<Self> {
        let architecture = object.optional_word("architecture", "architecture");
        let vendor = object.optional_string("vendor");
        let features = object.optional_strings("features", usize::MAX, usize::MAX);
        object.refuse_extra();
        Some(Self { architecture, vendor, features: features.unwrap_or_default() })
    }
}

impl NodeRequirements {
    fn read(object: &mut Object) -> Self {
        let owner = object.optional_string("owner");
        let address_regex = object.optional_short_string("address_regex", REGEX_CHARS);
        if let Some(Err(error)) = address_regex.as_deref().map(regex_syntax::check) {
            object.issue("value_error", "address_regex", format!("not a regular expression: {error}"));
        }
        let node_hash = object.optional_hash("node_hash");
        let terms_and_conditions = object.optional_hash("terms_and_conditions");
        object.refuse_extra();
        Self { owner, address_regex, node_hash, terms_and_conditions }
    }
}

impl GpuRequirement {
    fn read(object: &mut Object) -> Option<Self> {
        let vendor = object.required_string("vendor");
        let device_name = object.required_string("device_name");
        let device_class = object.required_word("device_class", "class of GPU");
        let device_id = object.required_string("device_id");
        object.refuse_extra();
        Some(Self {
            vendor: vendor?,
            device_name: device_name?,
            device_class: device_class?,
            device_id: device_id?,
        })
    }
}

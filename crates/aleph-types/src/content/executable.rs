//! What PROGRAM, INSTANCE and V-PROGRAM share (`spec: messages.md §18`).

mod environment;
mod regex_syntax;
mod requirements;
mod trusted_execution;
mod volume;

pub use environment::{FunctionEnvironment, Hypervisor, InstanceEnvironment};
pub use requirements::{
    Architecture, CpuRequirements, GpuClass, GpuRequirement, NodeRequirements, Requirements,
};
pub use trusted_execution::{
    GpuArchitecture, Measurement, Registers, TrustedExecution, TrustedExecutionGpu, TrustedExecutionMode,
    TrustedPlatform,
};
pub use volume::{ParentVolume, Persistence, Volume, VolumeKind};

pub(super) use trusted_execution::{
    SNP_MEASUREMENTS, SNP_POLICY_DEFAULT, read_confidential_gpu, read_measurement, snp_policy_is_valid,
};

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::reader::{Object, check_metadata_tags, is_longer};
use crate::{Address, Chain, ItemHash, Timestamp};

const METADATA_KEYS: usize = 256;
const METADATA_KEY_CHARS: usize = 64;
const METADATA_VALUE_CHARS: usize = 512;
const AUTHORIZED_KEYS: usize = 256;
const AUTHORIZED_KEY_CHARS: usize = 8192;
const VARIABLES: usize = 256;
const VARIABLE_KEY_CHARS: usize = 128;
const VARIABLE_VALUE_CHARS: usize = 4096;
const VOLUMES: usize = 256;
const REPLACES_CHARS: usize = 128;
/// Ten years of 365 days.
const SECONDS: i128 = 315_360_000;
/// Most virtual processors of a machine.
const VCPUS: i128 = 256;
/// Most memory of a machine, MiB.
const MEMORY_MIB: i128 = 1_048_576;

words! {
    /// How a resource is paid for.
    PaymentType {
        /// Tokens kept on the owner's account.
        Hold = "hold",
        /// Tokens streamed as you go.
        Superfluid = "superfluid",
        /// Credits bought before.
        Credit = "credit",
    }
}

words! {
    /// Transport of a published port.
    PortProtocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
}

/// How a machine is paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Hold, stream or credit.
    pub payment_type: PaymentType,
    /// Chain of the tokens.
    pub chain: Option<Chain>,
    /// Who receives a stream.
    pub receiver: Option<Address>,
}

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// Virtual processors, 1 to 256.
    pub vcpus: u32,
    /// Memory in MiB, 1 to 1,048,576.
    pub memory_mib: u32,
    /// Most seconds that a function may run.
    pub seconds: u32,
    /// Ports that the network forwards.
    pub published_ports: Vec<PublishedPort>,
}

/// A port of the machine that the network forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// Number inside the machine.
    pub port: u16,
    /// Transport.
    pub protocol: PortProtocol,
}

/// The fields that every kind of machine has.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutableBase {
    /// Owner, who pays.
    pub address: Address,
    /// When the author wrote it; orders the versions.
    pub time: Timestamp,
    /// Whether later messages may replace this one.
    pub allow_amend: bool,
    /// Free labels: texts, numbers, flags, nulls, and `tags`.
    pub metadata: Option<Map<String, Value>>,
    /// SSH keys, unchecked.
    pub authorized_keys: Vec<String>,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Processors, memory, time, ports.
    pub resources: Resources,
    /// Absent means hold.
    pub payment: Option<Payment>,
    /// Where the machine may run.
    pub requirements: Option<Requirements>,
    /// Disks besides the code or root file system.
    pub volumes: Vec<Volume>,
    /// The machine that this one is a new version of; the format is not checked.
    pub replaces: Option<String>,
}

impl ExecutableBase {
    /// How the machine is paid for: hold when nothing is said.
    pub fn payment_type(&self) -> PaymentType {
        self.payment.as_ref().map_or(PaymentType::Hold, |payment| payment.payment_type)
    }

    /// The compute node that the owner demands, if any.
    pub fn demanded_node(&self) -> Option<&ItemHash> {
        self.requirements.as_ref()?.node.as_ref()?.node_hash.as_ref()
    }

    /// The GPUs that the owner demands.
    pub fn demanded_gpus(&self) -> &[GpuRequirement] {
        self.requirements.as_ref().map_or(&[], |requirements| &requirements.gpu)
    }

    /// The files that the volumes need: (hash, use latest version).
    pub(super) fn volume_references(&self) -> impl Iterator<Item = (&ItemHash, bool)> {
        self.volumes.iter().filter_map(Volume::reference)
    }

    /// Takes the shared keys; `volumes` may have been taken before by who has volumes of another kind.
    pub(super) fn read(object: &mut Object) -> Option<Self> {
        let address = object.address();
        let time = object.time();
        let allow_amend = object.required_flag("allow_amend");
        let metadata = read_metadata(object);
        let authorized_keys =
            object.optional_strings("authorized_keys", AUTHORIZED_KEYS, AUTHORIZED_KEY_CHARS);
        let variables = read_variables(object);
        let resources = object.required_child("resources").and_then(|mut child| {
            let resources = Resources::read(&mut child);
            object.absorb(child, resources)
        });
        let payment = object.optional_child("payment").and_then(|mut child| {
            let payment = Payment::read(&mut child);
            object.absorb(child, payment)
        });
        let requirements = object.optional_child("requirements").and_then(|mut child| {
            let requirements = Requirements::read(&mut child);
            object.absorb(child, requirements)
        });
        let volumes = object.defaulted_children("volumes", VOLUMES, Volume::read);
        let replaces = object.optional_short_string("replaces", REPLACES_CHARS);
        Some(Self {
            address: address?,
            time: time?,
            allow_amend: allow_amend?,
            metadata,
            authorized_keys: authorized_keys.unwrap_or_default(),
            variables: variables?,
            resources: resources?,
            payment,
            requirements,
            volumes: volumes?,
            replaces,
        })
    }
}

impl Payment {
    fn read(object: &mut Object) -> Option<Self> {
        let payment_type = object.required_word("type", "payment type");
        let chain = object.optional_word("chain", "chain");
        let receiver = object.optional_string("receiver").map(Address::from);
        Some(Self { payment_type: payment_type?, chain, receiver })
    }
}

impl Resources {
    fn read(object: &mut Object) -> Option<Self> {
        let vcpus = object.defaulted_integer("vcpus", 1, VCPUS, 1);
        let memory_mib = object.defaulted_integer("memory", 1, MEMORY_MIB, 128);
        let seconds = object.defaulted_integer("seconds", 1, SECONDS, 1);
        // The schema sets no limit; a content of 200,000 characters holds fewer.
        let published_ports = object.optional_children("published_ports", usize::MAX, |child| {
            let port = child.required_integer("port", 1, 65_535);
            let protocol = match child.has("protocol") {
                true => child.required_word("protocol", "protocol"),
                false => Some(PortProtocol::Tcp),
            };
            Some(PublishedPort { port: port?, protocol: protocol? })
        });
        Some(Self {
            vcpus: vcpus?,
            memory_mib: memory_mib?,
            seconds: seconds?,
            published_ports: published_ports.unwrap_or_default(),
        })
    }
}

fn read_metadata(object: &mut Object) -> Option<Map<String, Value>> {
    let metadata = object.optional_object("metadata")?;
    if metadata.len() > METADATA_KEYS {
        object.issue("too_long", "metadata", format!("at most {METADATA_KEYS} keys"));
        return None;
    }
    for (key, value) in &metadata {
        if is_longer(key, METADATA_KEY_CHARS) {
            object.issue(
                "value_error",
                "metadata",
                format!("a key has at most {METADATA_KEY_CHARS} characters"),
            );
            continue;
        }
        match value {
            tags if key == "tags" => check_metadata_tags(object, tags),
            Value::String(text) if is_longer(text, METADATA_VALUE_CHARS) => object.issue(
                "value_error",
                "metadata",
                format!("'{key}' has more than {METADATA_VALUE_CHARS} characters"),
            ),
            Value::Array(_) | Value::Object(_) => object.issue(
                "value_error",
                "metadata",
                format!("'{key}' must be a string, a number, true, false or null"),
            ),
            _ => {}
        }
    }
    Some(metadata)
}

fn read_variables(object: &mut Object) -> Option<BTreeMap<String, String>> {
    let Some(sent) = object.optional_object("variables") else {
        return Some(BTreeMap::new());
    };
    if sent.len() > VARIABLES {
        object.issue("too_long", "variables", format!("at most {VARIABLES} variables"));
        return None;
    }
    let mut variables = BTreeMap::new();
    for (key, value) in sent {
        let Value::String(text) = value else {
            object.issue("string_type", "variables", format!("'{}' must be a string", shown(&key)));
            continue;
        };
        if is_longer(&key, VARIABLE_KEY_CHARS) {
            object.issue(
                "string_too_long",
                "variables",
                format!("a name has at most {VARIABLE_KEY_CHARS} characters"),
            );
        } else if is_longer(&text, VARIABLE_VALUE_CHARS) {
            object.issue(
                "string_too_long",
                "variables",
                format!("'{key}' has more than {VARIABLE_VALUE_CHARS} characters"),
            );
        } else {
            variables.insert(key, text);
        }
    }
    Some(variables)
}

fn shown(key: &str) -> String {
    key.chars().take(VARIABLE_KEY_CHARS).collect()
}

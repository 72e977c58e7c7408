use std::collections::BTreeMap;

use aleph_types::ItemHash;
use aleph_types::content::Encoding;
use serde_json::{Map, Value, json};

use crate::builder::PaymentMethod;

/// A volume of a program (`spec: messages.md §18`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSpec {
    /// A read-only disk image that is stored on the network.
    Immutable {
        /// The STORE message of the image.
        reference: ItemHash,
        /// Whether later versions of the image replace it.
        use_latest: bool,
        /// Where it appears.
        mount: String,
    },
    /// Scratch space of one execution.
    Ephemeral {
        /// 1 to 1000 MiB.
        size_mib: u32,
        /// Where it appears.
        mount: String,
    },
    /// A disk that outlives executions, on the host that runs the program.
    Persistent {
        /// Its name among the program's volumes.
        name: Option<String>,
        /// MiB.
        size_mib: u32,
        /// Where it appears.
        mount: String,
    },
}

impl VolumeSpec {
    /// With every defaulted field explicit (`spec: messages.md §27`).
    fn to_json(&self) -> Value {
        match self {
            Self::Immutable { reference, use_latest, mount } => {
                json!({ "mount": mount, "ref": reference, "use_latest": use_latest })
            }
            Self::Ephemeral { size_mib, mount } => {
                json!({ "mount": mount, "ephemeral": true, "size_mib": size_mib })
            }
            Self::Persistent { name, size_mib, mount } => {
                let mut volume = Map::new();
                volume.insert("mount".into(), mount.as_str().into());
                volume.insert("persistence".into(), "host".into());
                if let Some(name) = name {
                    volume.insert("name".into(), name.as_str().into());
                }
                volume.insert("size_mib".into(), (*size_mib).into());
                Value::Object(volume)
            }
        }
    }
}

/// What a program needs besides its code. The defaults suit a small web service.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgramSpec {
    /// `module:app` of an ASGI application, or the name of an executable file.
    pub entrypoint: String,
    /// How the code was packed.
    pub encoding: Encoding,
    /// The STORE message of the runtime's image.
    pub runtime: ItemHash,
    /// A word about the runtime for people; may be empty.
    pub runtime_comment: String,
    /// MiB of memory.
    pub memory_mib: u32,
    /// Virtual processors.
    pub vcpus: u32,
    /// Most seconds that one request may take.
    pub timeout_secs: u32,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Whether the program may open connections to the internet.
    pub internet: bool,
    /// Whether the program reaches a core node's API.
    pub aleph_api: bool,
    /// Whether it runs all the time instead of on demand.
    pub persistent: bool,
    /// Disks.
    pub volumes: Vec<VolumeSpec>,
    /// Name for people, kept in the metadata.
    pub name: Option<String>,
    /// Whether new versions of the code may replace this one.
    pub updatable: bool,
    /// Who pays how.
    pub payment: PaymentMethod,
}

impl ProgramSpec {
    /// A program with one processor, 256 MiB and 30 s a request.
    pub fn new(entrypoint: impl Into<String>, encoding: Encoding, runtime: ItemHash) -> Self {
        Self {
            entrypoint: entrypoint.into(),
            encoding,
            runtime,
            runtime_comment: String::new(),
            memory_mib: 256,
            vcpus: 1,
            timeout_secs: 30,
            variables: BTreeMap::new(),
            internet: false,
            aleph_api: true,
            persistent: false,
            volumes: Vec::new(),
            name: None,
            updatable: false,
            payment: PaymentMethod::default(),
        }
    }

    /// The PROGRAM content without `address` and `time`, for code stored by the message `code`.
    ///
    /// Official clients refuse a program whose text does not spell every defaulted field
    /// (`spec: messages.md §27`), so all are written; what would be null is left out.
    pub(crate) fn content(&self, code: &ItemHash) -> Value {
        let mut content = Map::new();
        content.insert("allow_amend".into(), self.updatable.into());
        if let Some(name) = &self.name {
            content.insert("metadata".into(), json!({ "name": name }));
        }
        content.insert("authorized_keys".into(), json!([]));
        if !self.variables.is_empty() {
            content.insert("variables".into(), json!(self.variables));
        }
        content.insert(
            "environment".into(),
            json!({
                "reproducible": false,
                "internet": self.internet,
                "aleph_api": self.aleph_api,
                "shared_cache": false,
            }),
        );
        content.insert(
            "resources".into(),
            json!({ "vcpus": self.vcpus, "memory": self.memory_mib, "seconds": self.timeout_secs }),
        );
        content.insert("payment".into(), self.payment.to_json());
        content
            .insert("volumes".into(), Value::Array(self.volumes.iter().map(VolumeSpec::to_json).collect()));
        content.insert("type".into(), "vm-function".into());
        content.insert(
            "code".into(),
            json!({
                "encoding": self.encoding.as_str(),
                "entrypoint": self.entrypoint,
                "ref": code,
                "use_latest": self.updatable,
            }),
        );
        content.insert(
            "runtime".into(),
            json!({ "ref": self.runtime, "use_latest": true, "comment": self.runtime_comment }),
        );
        content.insert("on".into(), json!({ "http": true, "persistent": self.persistent }));
        Value::Object(content)
    }
}

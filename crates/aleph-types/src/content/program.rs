use serde_json::{Map, Value};

use super::executable::{ExecutableBase, FunctionEnvironment, InstanceEnvironment};
use super::reader::Object;
use crate::{FormatError, ItemHash};

/// Most keys of a message filter.
const FILTER_KEYS: usize = 32;

words! {
    /// How the files of a program are packed.
    Encoding {
        /// One file as it is.
        Plain = "plain",
        /// ZIP archive.
        Zip = "zip",
        /// SquashFS image.
        Squashfs = "squashfs",
    }
}

words! {
    /// How a program is spoken to.
    Interface {
        /// A Python ASGI application.
        Asgi = "asgi",
        /// An executable that listens on HTTP.
        Binary = "binary",
    }
}

/// The code of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeContent {
    /// How the code is packed.
    pub encoding: Encoding,
    /// `module:application`, or the executable's path.
    pub entrypoint: String,
    /// STORE message of the code.
    pub reference: ItemHash,
    /// As declared; see [`CodeContent::interface`].
    pub declared_interface: Option<Interface>,
    /// Arguments of an executable.
    pub args: Vec<String>,
    /// Whether the newest version of the file is meant.
    pub use_latest: bool,
}

impl CodeContent {
    /// How to speak to the program: as declared, else ASGI if the entry point has a colon.
    pub fn interface(&self) -> Interface {
        self.declared_interface.unwrap_or(match self.entrypoint.contains(':') {
            true => Interface::Asgi,
            false => Interface::Binary,
        })
    }

    fn read(object: &mut Object) -> Option<Self> {
        let encoding = object.required_word("encoding", "encoding");
        let entrypoint = object.required_string("entrypoint");
        let reference = object.required_hash("ref");
        let declared_interface = object.optional_word("interface", "interface");
        let args = object.optional_strings("args", usize::MAX, usize::MAX);
        let use_latest = object.defaulted_flag("use_latest", false);
        Some(Self {
            encoding: encoding?,
            entrypoint: entrypoint?,
            reference: reference?,
            declared_interface,
            args: args.unwrap_or_default(),
            use_latest: use_latest?,
        })
    }
}

/// The root file system that a program runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeContent {
    /// STORE message of the image.
    pub reference: ItemHash,
    /// Whether the newest version of the file is meant.
    pub use_latest: bool,
    /// Free text.
    pub comment: String,
}

impl RuntimeContent {
    fn read(object: &mut Object) -> Option<Self> {
        let reference = object.required_hash("ref");
        let use_latest = object.defaulted_flag("use_latest", true);
        let comment = object.required_string("comment");
        Some(Self { reference: reference?, use_latest: use_latest?, comment: comment? })
    }
}

/// Read-only data of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataContent {
    /// How the data is packed.
    pub encoding: Encoding,
    /// Where it is mounted.
    pub mount: String,
    /// STORE message of the data.
    pub reference: ItemHash,
    /// Whether the newest version of the file is meant.
    pub use_latest: bool,
}

impl DataContent {
    fn read(object: &mut Object) -> Option<Self> {
        let encoding = object.required_word("encoding", "encoding");
        let mount = object.required_string("mount");
        let reference = object.required_hash("ref");
        let use_latest = object.optional_flag("use_latest").unwrap_or(false);
        Some(Self { encoding: encoding?, mount: mount?, reference: reference?, use_latest })
    }
}

/// A folder whose contents are saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportContent {
    /// How the folder is packed.
    pub encoding: Encoding,
    /// Which folder.
    pub mount: String,
}

impl ExportContent {
    fn read(object: &mut Object) -> Option<Self> {
        let encoding = object.required_word("encoding", "encoding");
        let mount = object.required_string("mount");
        Some(Self { encoding: encoding?, mount: mount? })
    }
}

/// What starts a program.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionTriggers {
    /// Answers HTTP requests.
    pub http: bool,
    /// Kept running; `None` means no.
    pub persistent: Option<bool>,
    /// Filters of messages that start the program; `None` differs from an empty list.
    pub message: Option<Vec<Map<String, Value>>>,
}

impl FunctionTriggers {
    /// Whether the program runs without a request.
    pub fn is_persistent(&self) -> bool {
        self.persistent == Some(true)
    }

    fn read(object: &mut Object) -> Option<Self> {
        let http = object.required_flag("http");
        let persistent = object.optional_flag("persistent");
        let message = object.optional_children("message", usize::MAX, |filter| {
            if filter.len() > FILTER_KEYS {
                filter.issue("too_long", "", format!("at most {FILTER_KEYS} keys"));
            }
            Some(filter.take_all())
        });
        object.refuse_extra();
        Some(Self { http: http?, persistent, message })
    }
}

/// The environment of a program: programs may also be sent with that of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramEnvironment {
    /// The usual one.
    Function(FunctionEnvironment),
    /// One with a hypervisor or with trusted execution.
    Instance(Box<InstanceEnvironment>),
}

impl ProgramEnvironment {
    /// The flags that both forms have.
    pub fn flags(&self) -> FunctionEnvironment {
        match self {
            ProgramEnvironment::Function(function) => *function,
            ProgramEnvironment::Instance(instance) => instance.function,
        }
    }

    /// The instance form is tried where its keys are; where it does not fit, the function form drops them.
    fn read(object: &mut Object) -> Option<Self> {
        if object.has("hypervisor") || object.has("trusted_execution") {
            let mut attempt = object.duplicate();
            let instance = InstanceEnvironment::read(&mut attempt);
            if attempt.is_clean()
                && let Some(instance) = instance
            {
                return Some(Self::Instance(Box::new(instance)));
            }
        }
        FunctionEnvironment::read(object).map(Self::Function)
    }
}

/// A PROGRAM: a function that the network runs on demand (`spec: messages.md §19`).
#[derive(Debug, Clone, PartialEq)]
pub struct ProgramContent {
    /// What every machine has.
    pub base: ExecutableBase,
    /// The code.
    pub code: CodeContent,
    /// The root file system.
    pub runtime: RuntimeContent,
    /// Read-only data.
    pub data: Option<DataContent>,
    /// Saved folder.
    pub export: Option<ExportContent>,
    /// What starts it.
    pub on: FunctionTriggers,
    /// What it may use.
    pub environment: ProgramEnvironment,
}

impl ProgramContent {
    /// Every file that must be on the network: (hash, use latest version); code, runtime, data,
    /// immutable volumes, parents of persistent volumes (`spec: messages.md §22`).
    pub fn references(&self) -> impl Iterator<Item = (&ItemHash, bool)> {
        [(&self.code.reference, self.code.use_latest), (&self.runtime.reference, self.runtime.use_latest)]
            .into_iter()
            .chain(self.data.iter().map(|data| (&data.reference, data.use_latest)))
            .chain(self.base.volume_references())
    }

    pub(super) fn read(mut object: Object) -> Result<Self, FormatError> {
        object.literal("type", "vm-function");
        let base = ExecutableBase::read(&mut object);
        let code = object.required_child("code").and_then(|mut child| {
            let code = CodeContent::read(&mut child);
            object.absorb(child, code)
        });
        let runtime = object.required_child("runtime").and_then(|mut child| {
            let runtime = RuntimeContent::read(&mut child);
            object.absorb(child, runtime)
        });
        let data = object.optional_child("data").and_then(|mut child| {
            let data = DataContent::read(&mut child);
            object.absorb(child, data)
        });
        let export = object.optional_child("export").and_then(|mut child| {
            let export = ExportContent::read(&mut child);
            object.absorb(child, export)
        });
        let on = object.required_child("on").and_then(|mut child| {
            let on = FunctionTriggers::read(&mut child);
            object.absorb(child, on)
        });
        let environment = object.required_child("environment").and_then(|mut child| {
            let environment = ProgramEnvironment::read(&mut child);
            object.absorb(child, environment)
        });
        object.refuse_extra();
        object.finish(|| {
            Some(Self {
                base: base?,
                code: code?,
                runtime: runtime?,
                data,
                export,
                on: on?,
                environment: environment?,
            })
        })
    }
}

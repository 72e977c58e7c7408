use aleph_types::content::{Content, ExecutableBase, PaymentType, StoreContent, VolumeKind};
use aleph_types::{Address, ItemHash};

use super::CostType;
use crate::Decimal;

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

/// What the node knows of files. All answers belong to one instant.
pub trait FileSizes {
    /// Why an answer can't be had.
    type Error;

    /// Bytes of the file behind a reference: with `use_latest` the file that the tag of that name points
    /// to, else the one that the STORE message of that hash pins.
    fn size_behind(&mut self, reference: &ItemHash, use_latest: bool) -> Result<Option<u64>, Self::Error>;

    /// Bytes of a stored file by its own hash.
    fn size_of_file(&mut self, file: &ItemHash) -> Result<Option<u64>, Self::Error>;
}

/// A size as it became known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// Chosen by the owner, MiB.
    Mib(u64),
    /// Of a file, bytes.
    Bytes(u64),
    /// Guessed by who asks for an estimate, MiB.
    Estimated(f64),
}

impl Size {
    /// MiB as a binary double: the network divides bytes so.
    pub fn mib(self) -> f64 {
        match self {
            Self::Mib(size) => size as f64,
            Self::Bytes(size) => size as f64 / MIB,
            Self::Estimated(size) => size,
        }
    }

    /// MiB as the exact value of [`Size::mib`].
    pub(super) fn exact(self) -> Decimal {
        match self {
            Self::Mib(size) => Decimal::from(size),
            Self::Bytes(_) | Self::Estimated(_) => {
                Decimal::from_f64(self.mib()).unwrap_or_else(|_| Decimal::zero())
            }
        }
    }
}

/// A disk or file of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// What its line says.
    pub cost_type: CostType,
    /// Name of its line.
    pub name: String,
    /// What it starts from.
    pub reference: Option<String>,
    /// How large it is.
    pub size: Size,
    /// The size that the network's API shows beside the line, MiB: of files, that of what the named STORE
    /// message pins, whatever is charged.
    pub shown_mib: Option<f64>,
}

/// What decides the product of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineKind {
    /// A PROGRAM.
    Program {
        /// Kept running.
        persistent: bool,
        /// Reaches the internet.
        internet: bool,
    },
    /// An INSTANCE.
    Instance {
        /// Protected from its host.
        confidential: bool,
        /// PCI ids of the demanded graphics cards.
        gpus: Vec<String>,
    },
    /// A V-PROGRAM.
    VProgram,
}

/// A machine, with the sizes of its disks.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// What decides the product.
    pub kind: MachineKind,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory, MiB.
    pub memory_mib: u32,
    /// Disks and files in the order of their lines.
    pub volumes: Vec<Volume>,
}

/// What is priced.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkloadKind {
    /// PROGRAM, INSTANCE or V-PROGRAM.
    Machine(Machine),
    /// STORE.
    File {
        /// `None` while it is unknown.
        size: Option<Size>,
        /// The size that the API shows: that of the file which the message pins.
        shown_mib: Option<f64>,
    },
}

/// A message that allocates resources, with every fact that its price depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The message.
    pub message: ItemHash,
    /// Who pays: `content.address`.
    pub owner: Address,
    /// How.
    pub payment: PaymentType,
    /// What.
    pub kind: WorkloadKind,
    /// Files that the node does not know: they cost nothing, without an error.
    pub unknown_files: Vec<String>,
}

/// Sizes that somebody asks an estimate for, MiB; 0 counts as absent (`spec: payments.md §5.3`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimates {
    /// Of a program's code.
    pub code: Option<u64>,
    /// Of a program's runtime.
    pub runtime: Option<u64>,
    /// Of a program's data.
    pub data: Option<u64>,
    /// Of the volumes, by their place.
    pub volumes: Vec<Option<u64>>,
    /// Of a STORE's file.
    pub file: Option<f64>,
}

struct Collector<'a, F> {
    facts: &'a mut F,
    volumes: Vec<Volume>,
    unknown: Vec<String>,
}

impl<F: FileSizes> Collector<'_, F> {
    fn sized(&mut self, cost_type: CostType, name: String, reference: Option<String>, size: Size) {
        self.volumes.push(Volume { cost_type, name, reference, size, shown_mib: Some(size.mib()) });
    }

    fn file(
        &mut self,
        cost_type: CostType,
        name: String,
        (reference, use_latest): (&ItemHash, bool),
        estimate: Option<u64>,
    ) -> Result<(), F::Error> {
        let text = reference.as_str().to_owned();
        if let Some(size) = estimate.filter(|&size| size > 0) {
            self.sized(cost_type, name, Some(text), Size::Mib(size));
            return Ok(());
        }
        match self.facts.size_behind(reference, use_latest)? {
            Some(bytes) => {
                let size = Size::Bytes(bytes);
                let pinned = if use_latest { self.facts.size_behind(reference, false)? } else { Some(bytes) };
                let shown_mib = pinned.map(|bytes| Size::Bytes(bytes).mib());
                self.volumes.push(Volume { cost_type, name, reference: Some(text), size, shown_mib });
            }
            None => self.unknown.push(text),
        }
        Ok(())
    }

    fn volumes(&mut self, base: &ExecutableBase, estimates: &Estimates) -> Result<(), F::Error> {
        for (place, volume) in base.volumes.iter().enumerate() {
            let cost_type = match volume.kind {
                VolumeKind::Immutable { .. } => CostType::VolumeImmutable,
                VolumeKind::Ephemeral { .. } | VolumeKind::Persistent { .. } => CostType::VolumePersistent,
            };
            let name = match volume.mount.as_deref().filter(|mount| !mount.is_empty()) {
                Some(mount) => format!("#{place}:{mount}"),
                // What the reference's language prints for its own enum.
                None => format!("#{place}:CostType.{cost_type}"),
            };
            match &volume.kind {
                VolumeKind::Immutable { reference, use_latest } => {
                    let estimate = estimates.volumes.get(place).copied().flatten();
                    self.file(cost_type, name, (reference, *use_latest), estimate)?;
                }
                VolumeKind::Ephemeral { size_mib } | VolumeKind::Persistent { size_mib, .. } => {
                    self.sized(cost_type, name, None, Size::Mib(u64::from(*size_mib)));
                }
            }
        }
        Ok(())
    }
}

fn named(cost_type: CostType) -> (CostType, String) {
    (cost_type, cost_type.as_str().to_owned())
}

impl Workload {
    /// What `content` allocates; `None` for message types that allocate nothing.
    ///
    /// Errors are those of the facts' source.
    pub fn of<F: FileSizes>(
        message: &ItemHash,
        content: &Content,
        estimates: &Estimates,
        facts: &mut F,
    ) -> Result<Option<Self>, F::Error> {
        let mut collector = Collector { facts, volumes: Vec::new(), unknown: Vec::new() };
        let (base, kind) = match content {
            Content::Store(store) => {
                let (size, shown_mib) = match estimates.file.filter(|&size| size != 0.0) {
                    Some(size) => (Some(Size::Estimated(size)), Some(size)),
                    None => {
                        let size = collector.facts.size_of_file(&store.item_hash)?.map(Size::Bytes);
                        let pinned = collector.facts.size_behind(message, false)?;
                        (size, pinned.map(|bytes| Size::Bytes(bytes).mib()))
                    }
                };
                return Ok(Some(Self {
                    message: message.clone(),
                    owner: store.address.clone(),
                    payment: store.payment.as_ref().map_or(PaymentType::Hold, |payment| payment.payment_type),
                    kind: WorkloadKind::File { size, shown_mib },
                    unknown_files: Vec::new(),
                }));
            }
            Content::Program(program) => {
                let (cost_type, name) = named(CostType::ProgramCode);
                let code = (&program.code.reference, program.code.use_latest);
                collector.file(cost_type, name, code, estimates.code)?;
                let (cost_type, name) = named(CostType::ProgramRuntime);
                let runtime = (&program.runtime.reference, program.runtime.use_latest);
                collector.file(cost_type, name, runtime, estimates.runtime)?;
                if let Some(data) = &program.data {
                    let (cost_type, name) = named(CostType::ProgramData);
                    collector.file(cost_type, name, (&data.reference, data.use_latest), estimates.data)?;
                }
                let persistent = program.on.is_persistent();
                let internet = program.environment.flags().internet;
                (&program.base, MachineKind::Program { persistent, internet })
            }
            Content::Instance(instance) => {
                let (cost_type, name) = named(CostType::InstanceRootfs);
                let reference = Some(instance.rootfs.parent.reference.as_str().to_owned());
                let size = Size::Mib(u64::from(instance.rootfs.size_mib));
                collector.sized(cost_type, name, reference, size);
                let gpus = instance.base.demanded_gpus().iter().map(|gpu| gpu.device_id.clone()).collect();
                (&instance.base, MachineKind::Instance { confidential: instance.is_confidential(), gpus })
            }
            Content::VProgram(program) => (&program.base, MachineKind::VProgram),
            Content::Post(_) | Content::Aggregate(_) | Content::Forget(_) => return Ok(None),
        };
        collector.volumes(base, estimates)?;
        Ok(Some(Self {
            message: message.clone(),
            owner: base.address.clone(),
            payment: base.payment_type(),
            kind: WorkloadKind::Machine(Machine {
                kind,
                vcpus: base.resources.vcpus,
                memory_mib: base.resources.memory_mib,
                volumes: collector.volumes,
            }),
            unknown_files: collector.unknown,
        }))
    }

    /// A STORE before its file is here, priced for the check that precedes fetching
    /// (`spec: payments.md §9`): whole MiB of what IPFS says; nothing for other files or unknown sizes.
    pub fn before_fetch(message: ItemHash, store: &StoreContent, ipfs_bytes: Option<u64>) -> Self {
        let mib = ipfs_bytes.map(|bytes| bytes >> 20).filter(|&mib| mib > 0);
        Self {
            message,
            owner: store.address.clone(),
            payment: store.payment.as_ref().map_or(PaymentType::Hold, |payment| payment.payment_type),
            kind: WorkloadKind::File { size: mib.map(Size::Mib), shown_mib: None },
            unknown_files: Vec::new(),
        }
    }

    /// A STORE of which only this is left: for the price of a forgotten or removed file.
    pub fn of_file(message: ItemHash, owner: Address, payment: PaymentType, bytes: u64) -> Self {
        let size = Size::Bytes(bytes);
        let kind = WorkloadKind::File { size: Some(size), shown_mib: Some(size.mib()) };
        Self { message, owner, payment, kind, unknown_files: Vec::new() }
    }
}

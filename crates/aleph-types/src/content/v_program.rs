use super::executable::{
    ExecutableBase, Measurement, PaymentType, SNP_MEASUREMENTS, SNP_POLICY_DEFAULT, TrustedExecutionGpu,
    TrustedPlatform, read_confidential_gpu, read_measurement, snp_policy_is_valid,
};
use super::reader::Object;
use crate::{FormatError, ItemHash};

const COMMENT_CHARS: usize = 1024;
const VOLUMES: usize = 8;
const ROOT_HASH_HEX: usize = 64;

/// The measured stack that a V-PROGRAM boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VProgramRuntime {
    /// STORE message of the runtime's manifest.
    pub reference: ItemHash,
    /// Free text.
    pub comment: String,
}

/// A disk image that is verified block by block while it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VProgramWorkload {
    /// STORE message of the image.
    pub reference: ItemHash,
    /// STORE message of its hash tree.
    pub hash_tree: ItemHash,
    /// Root of the tree, 64 hexadecimal digits.
    pub root_hash: String,
}

/// A further verified image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VProgramVolume {
    /// The image.
    pub image: VProgramWorkload,
    /// Free text.
    pub comment: String,
}

/// What an attestation must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    /// AMD SEV-SNP.
    SevSnp {
        /// Guest policy; bit 17 is set.
        policy: u64,
        /// 1 to 16 accepted boots.
        measurements: Vec<Measurement>,
    },
    /// Intel TDX.
    Tdx {
        /// The accepted boot.
        measurement: Measurement,
    },
}

/// A V-PROGRAM: a confidential machine with a measured stack (`spec: messages.md §21`).
///
/// `base.volumes`, `base.variables` and `base.authorized_keys` are empty, `base.replaces` is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct VProgramContent {
    /// What every machine has.
    pub base: ExecutableBase,
    /// Whether it reaches the internet.
    pub internet: bool,
    /// The measured stack.
    pub runtime: VProgramRuntime,
    /// What it runs.
    pub workload: VProgramWorkload,
    /// What an attestation must show.
    pub verification: Verification,
    /// Further images; their order counts.
    pub volumes: Vec<VProgramVolume>,
    /// Confidential GPU; SNP only.
    pub gpu: Option<TrustedExecutionGpu>,
}

impl VProgramContent {
    /// Every file that the message names: runtime, workload and its hash tree, volumes and theirs.
    pub fn references(&self) -> impl Iterator<Item = &ItemHash> {
        std::iter::once(&self.runtime.reference).chain(
            std::iter::once(&self.workload)
                .chain(self.volumes.iter().map(|volume| &volume.image))
                .flat_map(|image| [&image.reference, &image.hash_tree]),
        )
    }

    pub(super) fn read(object: Object) -> Result<Self, FormatError> {
        let mut object = object.strict();
        let volumes = object.defaulted_children("volumes", VOLUMES, |child| {
            let image = VProgramWorkload::read(child);
            let comment = child.defaulted_short_string("comment", COMMENT_CHARS);
            child.refuse_extra();
            Some(VProgramVolume { image: image?, comment: comment? })
        });
        if !object.has("payment") {
            object.issue("missing", "payment", "Field required");
        }
        let base = ExecutableBase::read(&mut object);
        let internet = object.required_child("environment").and_then(|mut child| {
            let internet = child.defaulted_flag("internet", false);
            child.refuse_extra();
            object.absorb(child, internet)
        });
        let runtime = object.required_child("runtime").and_then(|mut child| {
            let reference = child.required_hash("ref");
            let comment = child.defaulted_short_string("comment", COMMENT_CHARS);
            child.refuse_extra();
            let runtime = reference.zip(comment);
            object.absorb(child, runtime.map(|(reference, comment)| VProgramRuntime { reference, comment }))
        });
        let workload = object.required_child("workload").and_then(|mut child| {
            let workload = VProgramWorkload::read(&mut child);
            child.refuse_extra();
            object.absorb(child, workload)
        });
        let verification = object.required_child("verification").and_then(|mut child| {
            let verification = Verification::read(&mut child);
            object.absorb(child, verification)
        });
        let gpu = object.optional_child("gpu").and_then(|mut child| {
            let gpu = read_confidential_gpu(&mut child);
            object.absorb(child, gpu)
        });
        object.refuse_extra();
        if let Some(base) = base.as_ref().filter(|_| object.is_clean()) {
            check_base(&mut object, base);
        }
        if gpu.is_some() && matches!(verification, Some(Verification::Tdx { .. })) {
            object.issue("value_error", "", "gpu is only for the backend sev_snp");
        }
        object.finish(|| {
            Some(Self {
                base: base?,
                internet: internet?,
                runtime: runtime?,
                workload: workload?,
                verification: verification?,
                volumes: volumes?,
                gpu,
            })
        })
    }
}

/// What other machines may have and this one may not.
fn check_base(object: &mut Object, base: &ExecutableBase) {
    let refused = [
        (base.payment_type() != PaymentType::Credit, "a V-PROGRAM must be paid by credit"),
        (base.allow_amend, "allow_amend must be false"),
        (base.replaces.is_some(), "replaces is not supported"),
        (!base.variables.is_empty(), "variables are not supported: they would not be measured"),
        (!base.authorized_keys.is_empty(), "authorized_keys are not supported"),
        (!base.demanded_gpus().is_empty(), "requirements.gpu is not supported, use gpu"),
    ];
    for (_, msg) in refused.into_iter().filter(|(refused, _)| *refused) {
        object.issue("value_error", "", msg);
    }
}

impl VProgramWorkload {
    fn read(object: &mut Object) -> Option<Self> {
        let reference = object.required_hash("ref");
        let hash_tree = object.required_hash("hash_tree");
        let root_hash = object.required_hex("roothash", ROOT_HASH_HEX);
        Some(Self { reference: reference?, hash_tree: hash_tree?, root_hash: root_hash? })
    }
}

impl Verification {
    /// The platform that attests.
    pub fn platform(&self) -> TrustedPlatform {
        match self {
            Verification::SevSnp { .. } => TrustedPlatform::SevSnp,
            Verification::Tdx { .. } => TrustedPlatform::Tdx,
        }
    }

    /// The accepted boots.
    pub fn measurements(&self) -> &[Measurement] {
        match self {
            Verification::SevSnp { measurements, .. } => measurements,
            Verification::Tdx { measurement } => std::slice::from_ref(measurement),
        }
    }

    fn read(object: &mut Object) -> Option<Self> {
        let backend = object.required_word::<TrustedPlatform>("backend", "backend")?;
        let policy = match backend {
            TrustedPlatform::SevSnp => {
                object.defaulted_integer("policy", 0, i128::from(u64::MAX), SNP_POLICY_DEFAULT)
            }
            TrustedPlatform::Tdx => None,
        };
        if policy.is_some_and(|policy| !snp_policy_is_valid(policy)) {
            object.issue("value_error", "policy", "must be a 64-bit policy with bit 17 set, such as 196608");
        }
        let most = match backend {
            TrustedPlatform::SevSnp => SNP_MEASUREMENTS,
            TrustedPlatform::Tdx => 1,
        };
        let measurements = object.required_children("measurements", most, read_measurement);
        object.refuse_extra();
        let measurements = measurements?;
        if measurements.is_empty() {
            object.issue("too_short", "measurements", "at least one is required");
        }
        if measurements.iter().any(|measurement| measurement.platform() != backend) {
            object.issue("value_error", "measurements", format!("must all be of the platform {backend}"));
        }
        match backend {
            TrustedPlatform::SevSnp => Some(Self::SevSnp { policy: policy?, measurements }),
            TrustedPlatform::Tdx => Some(Self::Tdx { measurement: measurements.into_iter().next()? }),
        }
    }
}

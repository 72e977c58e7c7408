//! Confidential computing: SEV, SEV-SNP and TDX (`spec: messages.md §18`).

use super::super::reader::Object;
use crate::ItemHash;

/// Digits of a 384-bit measurement.
const REGISTER_HEX: usize = 96;
const VCPU_TYPE_CHARS: usize = 64;
const GPU_MODELS: usize = 16;
const GPU_COUNT: i128 = 8;
/// Most measurements of an SNP guest.
pub(in crate::content) const SNP_MEASUREMENTS: usize = 16;
/// The bit that every SNP policy has set.
const SNP_POLICY_RESERVED: u64 = 1 << 17;
/// The usual SNP policy: reserved bit and SMT allowed.
pub(in crate::content) const SNP_POLICY_DEFAULT: u64 = 0x30000;
const LEGACY_POLICY_DEFAULT: i128 = 1;

words! {
    /// Which technology protects the machine.
    TrustedExecutionMode {
        /// AMD SEV and SEV-ES.
        Sev = "sev",
        /// AMD SEV-SNP.
        SevSnp = "sev_snp",
        /// Intel TDX.
        Tdx = "tdx",
    }
}

words! {
    /// A platform whose boot is measured.
    TrustedPlatform {
        /// AMD SEV-SNP.
        SevSnp = "sev_snp",
        /// Intel TDX.
        Tdx = "tdx",
    }
}

/// The values that an attestation report must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registers {
    /// AMD SEV-SNP; 96 hexadecimal digits.
    SevSnp {
        /// Measurement of the launched memory.
        launch: String,
    },
    /// Intel TDX; 96 hexadecimal digits each.
    Tdx {
        /// Measurement of the trust domain.
        mrtd: String,
        /// First run-time register.
        rtmr1: String,
        /// Second run-time register.
        rtmr2: String,
        /// Identity of the configuration.
        mrconfigid: String,
    },
}

/// One accepted boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// What must be reported; also tells the platform.
    pub registers: Registers,
    /// Processor model that the measurement is for.
    pub vcpu_type: Option<String>,
}

impl Measurement {
    /// The platform that reports these registers.
    pub fn platform(&self) -> TrustedPlatform {
        match self.registers {
            Registers::SevSnp { .. } => TrustedPlatform::SevSnp,
            Registers::Tdx { .. } => TrustedPlatform::Tdx,
        }
    }
}

/// A GPU inside the protected machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedExecutionGpu {
    /// Generation: `hopper` or `blackwell`.
    pub arch: GpuArchitecture,
    /// Devices, 1 to 8.
    pub count: u8,
    /// Accepted PCI ids, `10de:2331`; `None` accepts any.
    pub models: Option<Vec<String>>,
}

words! {
    /// Generations of GPUs with confidential computing.
    GpuArchitecture {
        /// H100 and relatives.
        Hopper = "hopper",
        /// B200 and relatives.
        Blackwell = "blackwell",
    }
}

/// How a machine is protected from its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedExecution {
    /// `None` is the legacy form of SEV.
    pub mode: Option<TrustedExecutionMode>,
    /// Firmware file; SEV only.
    pub firmware: Option<ItemHash>,
    /// Bits of the platform's guest policy.
    pub policy: i128,
    /// Runtime file; SNP and TDX only.
    pub runtime: Option<ItemHash>,
    /// Accepted boots; SNP and TDX only.
    pub measurements: Vec<Measurement>,
    /// Port of the attestation service; `None` is 8443.
    pub attestation_port: Option<u16>,
    /// Confidential GPU; SNP only.
    pub gpu: Option<TrustedExecutionGpu>,
}

impl TrustedExecution {
    /// The measured platform, if the mode has one.
    pub fn platform(&self) -> Option<TrustedPlatform> {
        match self.mode? {
            TrustedExecutionMode::Sev => None,
            TrustedExecutionMode::SevSnp => Some(TrustedPlatform::SevSnp),
            TrustedExecutionMode::Tdx => Some(TrustedPlatform::Tdx),
        }
    }

    pub(super) fn read(object: &mut Object) -> Option<Self> {
        let mode = object.optional_word::<TrustedExecutionMode>("mode", "mode");
        let firmware = object.optional_hash("firmware");
        let policy = object.defaulted_integer(
            "policy",
            i128::from(i64::MIN),
            i128::from(u64::MAX),
            LEGACY_POLICY_DEFAULT,
        );
        let runtime = object.optional_hash("runtime");
        let measurements = object.optional_children("measurements", SNP_MEASUREMENTS, read_measurement);
        let attestation_port = object.optional_bounded_integer("attestation_port", 1, 65_535);
        let gpu = object.optional_child("gpu").and_then(|mut child| {
            let gpu = read_confidential_gpu(&mut child);
            object.absorb(child, gpu)
        });
        object.refuse_extra();
        if !object.is_clean() {
            return None;
        }
        let sends_measurements = measurements.is_some();
        let trusted = Self {
            mode,
            firmware,
            policy: policy?,
            runtime,
            measurements: measurements.unwrap_or_default(),
            attestation_port,
            gpu,
        };
        match trusted.platform() {
            None => trusted.check_legacy(object, sends_measurements),
            Some(platform) => trusted.check_measured(object, platform),
        }
        Some(trusted)
    }

    /// An empty list of measurements is refused here as well.
    fn check_legacy(&self, object: &mut Object, sends_measurements: bool) {
        let present = [
            ("runtime", self.runtime.is_some()),
            ("measurements", sends_measurements),
            ("attestation_port", self.attestation_port.is_some()),
            ("gpu", self.gpu.is_some()),
        ];
        for (key, _) in present.into_iter().filter(|(_, present)| *present) {
            object.issue("value_error", key, "only for the modes sev_snp and tdx");
        }
    }

    fn check_measured(&self, object: &mut Object, platform: TrustedPlatform) {
        if self.firmware.is_some() {
            object.issue("value_error", "firmware", format!("not for the mode {platform}"));
        }
        if self.runtime.is_none() {
            object.issue("missing", "runtime", format!("required in the mode {platform}"));
        }
        if self.measurements.iter().any(|measurement| measurement.platform() != platform) {
            object.issue("value_error", "measurements", format!("must all be of the platform {platform}"));
        }
        match platform {
            TrustedPlatform::SevSnp => {
                if !u64::try_from(self.policy).is_ok_and(snp_policy_is_valid) {
                    object.issue(
                        "value_error",
                        "policy",
                        "must be a 64-bit policy with bit 17 set, such as 196608",
                    );
                }
                if self.measurements.is_empty() {
                    object.issue("value_error", "measurements", "at least one is required");
                }
            }
            TrustedPlatform::Tdx => {
                if self.policy != LEGACY_POLICY_DEFAULT {
                    object.issue("value_error", "policy", "not for the mode tdx");
                }
                if self.measurements.len() != 1 {
                    object.issue("value_error", "measurements", "exactly one is required");
                }
                if self.gpu.is_some() {
                    object.issue("value_error", "gpu", "only for the mode sev_snp");
                }
            }
        }
    }
}

pub(in crate::content) fn snp_policy_is_valid(policy: u64) -> bool {
    policy & SNP_POLICY_RESERVED != 0
}

pub(in crate::content) fn read_measurement(object: &mut Object) -> Option<Measurement> {
    let platform = object.required_word::<TrustedPlatform>("platform", "platform");
    let registers = object.required_child("registers").and_then(|mut child| {
        let registers = match platform {
            Some(TrustedPlatform::SevSnp) => {
                child.required_hex("launch", REGISTER_HEX).map(|launch| Registers::SevSnp { launch })
            }
            Some(TrustedPlatform::Tdx) => read_tdx_registers(&mut child),
            None => return None,
        };
        child.refuse_extra();
        object.absorb(child, registers)
    });
    let vcpu_type = object.optional_short_string("vcpu_type", VCPU_TYPE_CHARS);
    object.refuse_extra();
    Some(Measurement { registers: registers?, vcpu_type })
}

fn read_tdx_registers(object: &mut Object) -> Option<Registers> {
    let mrtd = object.required_hex("mrtd", REGISTER_HEX);
    let rtmr1 = object.required_hex("rtmr1", REGISTER_HEX);
    let rtmr2 = object.required_hex("rtmr2", REGISTER_HEX);
    let mrconfigid = object.required_hex("mrconfigid", REGISTER_HEX);
    Some(Registers::Tdx { mrtd: mrtd?, rtmr1: rtmr1?, rtmr2: rtmr2?, mrconfigid: mrconfigid? })
}

pub(in crate::content) fn read_confidential_gpu(object: &mut Object) -> Option<TrustedExecutionGpu> {
    object.literal("vendor", "nvidia");
    let arch = object.required_word("arch", "GPU architecture");
    let count = object.required_strict_integer("count", 1, GPU_COUNT);
    object.literal("mode", "cc");
    let models = object.optional_strings("models", GPU_MODELS, usize::MAX);
    if let Some(models) = &models {
        let distinct = models.iter().enumerate().all(|(index, model)| !models[..index].contains(model));
        if models.is_empty() || !distinct || !models.iter().all(|model| is_pci_id(model)) {
            object.issue("value_error", "models", "must be 1 to 16 distinct ids such as '10de:2331'");
        }
    }
    object.refuse_extra();
    Some(TrustedExecutionGpu { arch: arch?, count: count?, models })
}

fn is_pci_id(text: &str) -> bool {
    text.len() == 9
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 => byte == b':',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

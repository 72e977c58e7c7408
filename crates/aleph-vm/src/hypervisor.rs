//! The seam to hypervisors: how a planned machine becomes a process, and what this host can do.

pub(crate) mod qemu;
pub(crate) mod qmp;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::VmError;
use crate::plan::{Acceleration, HypervisorSettings};

/// How long a kernel may take to boot with KVM. It takes less than two seconds where KVM works.
const KVM_DEADLINE: Duration = Duration::from_secs(8);

/// What this host can do, found once and told to operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// version line of QEMU
    pub qemu: String,
    /// whether a kernel really boots with KVM here
    pub kvm: bool,
    /// why it doesn't
    pub kvm_note: Option<String>,
}

impl Capabilities {
    /// What to write into a plan, so that its supervisor needn't look again.
    pub fn acceleration(&self) -> Acceleration {
        if self.kvm { Acceleration::Kvm } else { Acceleration::Tcg }
    }
}

/// Looks for QEMU, and tries KVM by booting `kernel` with it under a deadline of eight seconds: a
/// device file `/dev/kvm` says little, there are hosts where it is there and every machine hangs.
///
/// The answer about KVM is kept in `cache` (a folder) until the host restarts or its QEMU changes.
pub async fn probe(
    settings: &HypervisorSettings,
    kernel: &Path,
    cache: &Path,
) -> Result<Capabilities, VmError> {
    let qemu = version(settings).await?;
    if !Path::new("/dev/kvm").exists() {
        return Ok(Capabilities { qemu, kvm: false, kvm_note: Some("there is no /dev/kvm".to_owned()) });
    }
    let key = format!("{} {}", boot_id(), qemu);
    let file = cache.join("kvm-probe.json");
    if let Some((known, capabilities)) =
        fs::read(&file).ok().and_then(|text| serde_json::from_slice::<(String, Capabilities)>(&text).ok())
        && known == key
    {
        return Ok(capabilities);
    }
    let kvm_note = boots_with_kvm(settings, kernel).await.err();
    let capabilities = Capabilities { qemu, kvm: kvm_note.is_none(), kvm_note };
    if let Ok(text) = serde_json::to_vec(&(&key, &capabilities)) {
        let _ = fs::create_dir_all(cache);
        // only a shortcut: without it the next one looks again
        let _ = fs::write(&file, text);
    }
    Ok(capabilities)
}

/// Changes with each start of the host.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

async fn version(settings: &HypervisorSettings) -> Result<String, VmError> {
    let output = tokio::process::Command::new(&settings.qemu)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| qemu::not_started(settings, error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The kernel finds no root file system, panics and restarts, and QEMU ends: so it was alive.
async fn boots_with_kvm(settings: &HypervisorSettings, kernel: &Path) -> Result<(), String> {
    let mut child = tokio::process::Command::new(&settings.qemu)
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35"])
        .args(["-accel", "kvm", "-cpu", "host", "-m", "128M", "-append", "quiet panic=-1 reboot=t"])
        .arg("-kernel")
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(KVM_DEADLINE, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("QEMU ended with {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => {
            let _ = child.kill().await;
            Err(format!("a kernel did not boot within {} s", KVM_DEADLINE.as_secs()))
        }
    }
}

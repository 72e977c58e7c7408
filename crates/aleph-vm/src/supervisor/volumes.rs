//! Files on the host that a machine needs: looked at before the start, made where they may be.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::error::VmError;
use crate::plan::{VmPlan, VolumeSource};
use crate::template::{Identity, identity};

/// Looks at every file that is only read; gives their identities in a fixed order.
pub(crate) fn check_images(plan: &VmPlan) -> Result<Vec<Identity>, VmError> {
    let mut files = vec![
        ("kernel", &plan.boot.kernel),
        ("initramfs", &plan.boot.initramfs),
        ("runtime", &plan.runtime),
        ("code", &plan.code.path),
    ];
    files.extend(plan.data.iter().map(|path| ("data", path)));
    for volume in &plan.volumes {
        if let VolumeSource::Immutable { path } = &volume.source {
            files.push(("volume", path));
        }
    }
    files.into_iter().map(|(what, path)| check(what, path)).collect()
}

fn check(what: &'static str, path: &Path) -> Result<Identity, VmError> {
    let bad = |reason: String| VmError::Image { what, path: path.to_owned(), reason };
    let about = fs::metadata(path).map_err(|e| bad(e.to_string()))?;
    if !about.is_file() {
        return Err(bad("it is not a file".to_owned()));
    }
    if about.len() == 0 {
        return Err(bad("it is empty".to_owned()));
    }
    if matches!(what, "runtime" | "volume") {
        check_squashfs(path, about.len()).map_err(bad)?;
    }
    identity(path).map_err(|e| bad(e.to_string()))
}

/// The superblock of squashfs 4: its magic, its version, and a size that the file has.
fn check_squashfs(path: &Path, length: u64) -> Result<(), String> {
    use std::os::unix::fs::FileExt;
    let mut block = [0; 96];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut block, 0));
    if read.is_err() || !block.starts_with(b"hsqs") || block[28..30] != [4, 0] {
        return Err("it is not a squashfs image".to_owned());
    }
    let used = u64::from_le_bytes(block[40..48].try_into().unwrap_or_default());
    if used > length {
        return Err(format!("it is cut: {length} bytes of {used}"));
    }
    Ok(())
}

/// Makes the files of writable volumes where they are missing.
pub(crate) async fn make(plan: &VmPlan, folder: &Path) -> Result<(), VmError> {
    for (index, volume) in plan.volumes.iter().enumerate() {
        match &volume.source {
            VolumeSource::Immutable { .. } => {}
            VolumeSource::Ephemeral { size_mib } => {
                let path = folder.join(format!("vol{index}.ext4"));
                let _ = fs::remove_file(&path);
                make_ext4(&path, *size_mib, false).await?;
            }
            VolumeSource::Persistent { path, size_mib } => {
                if !path.exists() {
                    make_ext4(path, *size_mib, true).await?;
                }
            }
        }
    }
    Ok(())
}

/// Makes an ext4 file system beside `path` and renames it, so that a half-made one is never used.
async fn make_ext4(path: &Path, size_mib: u32, reserve: bool) -> Result<(), VmError> {
    let failed = || VmError::io(format!("make the volume {}", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed())?;
    }
    let partial = path.with_extension("part");
    let outcome = async {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&partial)
            .map_err(failed())?;
        let bytes = u64::from(size_mib) << 20;
        file.set_len(bytes).map_err(failed())?;
        if reserve {
            // a promise kept: the guest never meets a full host in the middle of a write
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)
                .map_err(|error| failed()(error.into()))?;
        }
        let output = tokio::process::Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"])
            .arg(&partial)
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    VmError::NoTool { program: "mkfs.ext4", package: "e2fsprogs" }
                }
                _ => failed()(error),
            })?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(failed()(std::io::Error::other(text)));
        }
        fs::rename(&partial, path).map_err(failed())
    }
    .await;
    if outcome.is_err() {
        let _ = fs::remove_file(&partial);
    }
    outcome
}

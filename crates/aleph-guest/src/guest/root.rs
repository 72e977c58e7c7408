//! File systems: the runtime under a writable layer, volumes, code and data.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aleph_guest::protocol::{Archive, DiskMount, FileSystem, SetupStep};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};

use super::{SetupError, devices, zip};

/// Mounts the runtime (squashfs) read-only under a layer of memory and makes it `/`.
pub(crate) fn enter(serial: &str) -> Result<(), SetupError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| SetupError::new(SetupStep::Root, what, error);
    let disk = devices::disk(serial).map_err(|e| failed("runtime", &e))?;
    for folder in ["/lower", "/layer", "/root"] {
        fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
    }
    mount(&disk, "/lower", "squashfs", MountFlags::RDONLY, None)
        .map_err(|e| failed("the runtime is not a squashfs image", &e))?;
    mount("layer", "/layer", "tmpfs", MountFlags::empty(), Some(c"size=75%,mode=755"))
        .map_err(|e| failed("writable layer", &e))?;
    for folder in ["/layer/upper", "/layer/work"] {
        fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
    }
    let options = c"lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work";
    mount("root", "/root", "overlay", MountFlags::empty(), Some(options))
        .map_err(|e| failed("overlay", &e))?;
    for folder in ["dev", "proc", "sys", "tmp", "run", "opt/code", "data", "etc"] {
        fs::create_dir_all(Path::new("/root").join(folder)).map_err(|e| failed(folder, &e))?;
    }
    for folder in ["dev", "proc", "sys"] {
        mount_move(format!("/{folder}"), format!("/root/{folder}")).map_err(|e| failed(folder, &e))?;
    }
    // what the first file system held is memory that nobody needs any more
    let _ = fs::remove_dir_all("/modules");
    let _ = fs::remove_file("/init");
    std::env::set_current_dir("/root").map_err(|e| failed("enter the runtime", &e))?;
    mount_move(".", "/").map_err(|e| failed("move the runtime to /", &e))?;
    rustix::process::chroot(".").map_err(|e| failed("chroot", &e))?;
    std::env::set_current_dir("/").map_err(|e| failed("enter the runtime", &e))?;
    for (kind, at, options) in [
        ("tmpfs", "/run", Some(c"mode=755")),
        ("tmpfs", "/dev/shm", Some(c"mode=1777")),
        ("devpts", "/dev/pts", Some(c"gid=5,mode=620,ptmxmode=666")),
    ] {
        let _ = fs::create_dir_all(at);
        mount(kind, at, kind, MountFlags::NOSUID, options).map_err(|e| failed(at, &e))?;
    }
    let _ = fs::set_permissions("/tmp", Permissions::from_mode(0o1777));
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        let _ = std::os::unix::fs::symlink(target, link);
    }
    Ok(())
}

/// `/etc/hostname`, `/etc/hosts` and an empty `resolv.conf`. A runtime without them still works.
pub(crate) fn write_names(hostname: &str) {
    let _ = fs::write("/etc/hostname", format!("{hostname}\n"));
    let _ = fs::write("/etc/hosts", format!("127.0.0.1 localhost {hostname}\n::1 localhost\n"));
}

/// Mounts one volume.
pub(crate) fn mount_volume(volume: &DiskMount) -> Result<(), SetupError> {
    let failed = |error: &dyn std::fmt::Display| {
        SetupError::new(
            SetupStep::Volume,
            format_args!("volume {} at {}", volume.serial, volume.mount),
            error,
        )
    };
    let disk = devices::disk(&volume.serial).map_err(|e| failed(&e))?;
    fs::create_dir_all(&volume.mount).map_err(|e| failed(&e))?;
    let (kind, flags) = match volume.file_system {
        FileSystem::Squashfs => ("squashfs", MountFlags::RDONLY),
        FileSystem::Ext4 => ("ext4", MountFlags::empty()),
    };
    mount(&disk, &volume.mount, kind, flags | MountFlags::NODEV, None).map_err(|e| match volume.file_system {
        FileSystem::Squashfs => failed(&format_args!("not a squashfs image ({e})")),
        FileSystem::Ext4 => failed(&format_args!("not an ext4 file system ({e})")),
    })
}

/// Unpacks the code or the data from its disk.
pub(crate) fn unpack(archive: &Archive) -> Result<(), SetupError> {
    let failed = |error: io::Error| SetupError::new(SetupStep::Archive, &archive.path, error);
    let disk = devices::disk(&archive.serial).map_err(failed)?;
    let file = File::open(disk).map_err(failed)?;
    let path = Path::new(&archive.path);
    if archive.zip {
        fs::create_dir_all(path).map_err(failed)?;
        return zip::unpack(&file, archive.length, path).map_err(failed);
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut out =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(path).map_err(failed)?;
    let copied = io::copy(&mut file.take(archive.length), &mut out).map_err(failed)?;
    if copied != archive.length {
        return Err(failed(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the disk is shorter than the file",
        )));
    }
    Ok(())
}

/// Writes everything out and unmounts what can be; the rest becomes read-only.
pub(crate) fn unmount_volumes() {
    rustix::fs::sync();
    let Ok(table) = fs::read_to_string("/proc/mounts") else { return };
    let ext4 = table.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, at, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "ext4").then(|| at.replace("\\040", " "))
    });
    for at in ext4 {
        let Ok(path) = CString::new(at) else { continue };
        if unmount(path.as_c_str(), UnmountFlags::empty()).is_err() {
            let _ = rustix::mount::mount_remount(path.as_c_str(), MountFlags::RDONLY, c"");
        }
    }
}

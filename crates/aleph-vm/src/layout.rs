//! From a plan to a machine: disks, what the guest is told, QEMU's arguments. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aleph_guest::protocol::{AppCommand, Archive, Configuration, DiskMount, FileSystem};
use serde_json::json;

use crate::plan::{CodeEncoding, VmKind, VmPlan, VolumeSource};

/// Port of the guest's 127.0.0.1 on which the application listens.
pub(crate) const APP_PORT: u16 = 8080;
/// Port of the guest's 127.0.0.1 that leads to the node's API.
pub(crate) const API_PORT: u16 = 4024;
/// Port of the guest's 127.0.0.1 that is an HTTP proxy to the internet.
pub(crate) const PROXY_PORT: u16 = 3128;
/// `SIGUSR1`: our ASGI server draws new randomness on it.
const RESUME_SIGNAL: i32 = 10;

/// A disk of the machine, named by its serial number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) serial: String,
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
}

/// What differs from start to start.
#[derive(Debug, Clone)]
pub(crate) struct Circumstances {
    /// milliseconds since 1970
    pub(crate) time_ms: u64,
    /// hexadecimal
    pub(crate) entropy: String,
    /// bytes of the code's file
    pub(crate) code_length: u64,
    /// bytes of the data's file
    pub(crate) data_length: u64,
    /// whether the machine is to be saved when it is ready
    pub(crate) quiesce: bool,
}

/// The machine's disks, in order.
pub(crate) fn disks(plan: &VmPlan, ephemeral_dir: &Path) -> Vec<Disk> {
    let disk = |serial: &str, path: &Path, read_only| Disk {
        serial: serial.to_owned(),
        path: path.to_owned(),
        read_only,
    };
    let mut disks = vec![disk("root", &plan.runtime, true), disk("code", &plan.code.path, true)];
    if let Some(data) = &plan.data {
        disks.push(disk("data", data, true));
    }
    for (index, volume) in plan.volumes.iter().enumerate() {
        let serial = format!("vol{index}");
        disks.push(match &volume.source {
            VolumeSource::Immutable { path } => disk(&serial, path, true),
            VolumeSource::Persistent { path, .. } => disk(&serial, path, false),
            VolumeSource::Ephemeral { .. } => {
                disk(&serial, &ephemeral_dir.join(format!("{serial}.ext4")), false)
            }
        });
    }
    disks
}

/// What the guest is told.
pub(crate) fn configuration(plan: &VmPlan, now: &Circumstances) -> Configuration {
    let mut mounts = Vec::new();
    let mut archives = Vec::new();
    match (plan.code.encoding, &plan.kind) {
        (CodeEncoding::Squashfs, _) => mounts.push(DiskMount {
            serial: "code".to_owned(),
            mount: "/opt/code".to_owned(),
            file_system: FileSystem::Squashfs,
        }),
        (CodeEncoding::Zip, _) => {
            archives.push(archive("code", now.code_length, true, "/opt/code".to_owned()))
        }
        (CodeEncoding::Plain, kind) => {
            archives.push(archive("code", now.code_length, false, plain_path(kind)));
        }
    }
    if plan.data.is_some() {
        archives.push(archive("data", now.data_length, true, "/data".to_owned()));
    }
    for (index, volume) in plan.volumes.iter().enumerate() {
        let file_system = match volume.source {
            VolumeSource::Immutable { .. } => FileSystem::Squashfs,
            VolumeSource::Ephemeral { .. } | VolumeSource::Persistent { .. } => FileSystem::Ext4,
        };
        mounts.push(DiskMount { serial: format!("vol{index}"), mount: volume.mount.clone(), file_system });
    }
    Configuration {
        root: "root".to_owned(),
        mounts,
        archives,
        app: app(plan),
        hostname: plan.guest_hostname(),
        time_ms: now.time_ms,
        entropy: now.entropy.clone(),
        ready_ms: plan.limits.ready_ms,
        api_port: plan.network.api.is_some().then_some(API_PORT),
        proxy_port: plan.network.internet.then_some(PROXY_PORT),
        quiesce: now.quiesce,
    }
}

fn archive(serial: &str, length: u64, zip: bool, path: String) -> Archive {
    Archive { serial: serial.to_owned(), length, zip, path }
}

/// Where a single file of code belongs: the entrypoint's module, or the command.
fn plain_path(kind: &VmKind) -> String {
    match kind {
        VmKind::Asgi { entrypoint } => {
            let module = entrypoint.split(':').next().unwrap_or_default();
            format!("/opt/code/{}.py", module.replace('.', "/"))
        }
        VmKind::Executable { command, .. } => match command.strip_prefix('/') {
            Some(_) => command.clone(),
            None => format!("/opt/code/{command}"),
        },
    }
}

fn app(plan: &VmPlan) -> AppCommand {
    let mut environment: BTreeMap<String, String> = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("PORT", "8080"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    if plan.network.api.is_some() {
        let url = format!("http://127.0.0.1:{API_PORT}");
        set("ALEPH_API_URL", url.clone());
        set("ALEPH_API_HOST", url);
    }
    if plan.network.internet {
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            set(name, format!("http://127.0.0.1:{PROXY_PORT}"));
        }
        for name in ["NO_PROXY", "no_proxy"] {
            set(name, "localhost,127.0.0.1,::1".to_owned());
        }
    }
    let (argv, resume_signal) = match &plan.kind {
        VmKind::Asgi { entrypoint } => {
            set("PYTHONUNBUFFERED", "1".to_owned());
            set("PYTHONPATH", "/opt/packages:/opt/code".to_owned());
            let words = ["/usr/bin/python3", "-c", "import aleph_asgi; aleph_asgi.main()", entrypoint];
            (words.map(str::to_owned).to_vec(), Some(RESUME_SIGNAL))
        }
        VmKind::Executable { command, args } => {
            (std::iter::once(command.clone()).chain(args.iter().cloned()).collect(), None)
        }
    };
    environment.extend(plan.environment.clone());
    AppCommand { argv, directory: "/opt/code".to_owned(), environment, port: APP_PORT, resume_signal }
}

/// The machine's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Memory {
    /// anonymous
    Plain,
    /// a file that holds every write: the machine will be saved
    SharedFile(PathBuf),
    /// a file whose pages are copied when written: a clone of a saved machine
    PrivateFile(PathBuf),
}

/// What `qemu` needs besides the plan.
#[derive(Debug, Clone)]
pub(crate) struct Launch<'a> {
    pub(crate) plan: &'a VmPlan,
    pub(crate) disks: &'a [Disk],
    pub(crate) kvm: bool,
    pub(crate) memory: &'a Memory,
    /// unprivileged user and group to become; set only when the supervisor is root
    pub(crate) run_as: Option<(u32, u32)>,
}

/// QEMU's arguments (without the program). Sockets have relative names: QEMU runs in the VM's
/// folder, whose path may be longer than a socket's name can be.
pub(crate) fn qemu_arguments(launch: &Launch<'_>) -> Vec<String> {
    let plan = launch.plan;
    let mut args = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(|&word| word.to_owned()));
    add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    add(&["-name", &format!("aleph-{},debug-threads=off", plan.id)]);
    add(&["-accel", if launch.kvm { "kvm" } else { "tcg,thread=multi" }]);
    if launch.kvm {
        add(&["-cpu", "host,migratable=on"]);
    }
    // setuid must stay possible for -runas; no-new-privs and an unprivileged user make it harmless
    let privileges = if launch.run_as.is_some() { "allow" } else { "deny" };
    add(&[
        "-sandbox",
        &format!("on,obsolete=deny,elevateprivileges={privileges},spawn=deny,resourcecontrol=deny"),
    ]);
    if let Some((user, group)) = launch.run_as {
        add(&["-runas", &format!("{user}:{group}")]);
    }
    add(&["-m", &format!("{}M", plan.memory_mib), "-smp", &plan.vcpus.to_string()]);
    let backend = |path: &Path, share: bool| {
        let size = u64::from(plan.memory_mib) << 20;
        json!({"qom-type": "memory-backend-file", "id": "ram", "size": size, "mem-path": path, "share": share})
    };
    match launch.memory {
        Memory::Plain => add(&["-machine", "q35"]),
        Memory::SharedFile(path) => {
            add(&["-machine", "q35,memory-backend=ram", "-object", &backend(path, true).to_string()]);
        }
        Memory::PrivateFile(path) => {
            add(&["-machine", "q35,memory-backend=ram", "-object", &backend(path, false).to_string()]);
            add(&["-incoming", "defer"]);
        }
    }
    add(&["-kernel", &plan.boot.kernel.to_string_lossy(), "-initrd", &plan.boot.initramfs.to_string_lossy()]);
    add(&["-append", "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t random.trust_cpu=on"]);
    add(&["-chardev", "socket,id=qmp,path=qmp.sock", "-mon", "chardev=qmp,mode=control"]);
    add(&["-chardev", "socket,id=console,path=console.sock", "-serial", "chardev:console"]);
    add(&["-device", r#"{"driver":"virtio-serial-pci","id":"serial","max_ports":2}"#]);
    add(&["-chardev", "socket,id=guest,path=guest.sock"]);
    let port =
        json!({"driver": "virtserialport", "chardev": "guest", "name": aleph_guest::protocol::PORT_NAME});
    add(&["-device", &port.to_string()]);
    for disk in launch.disks {
        // JSON, so that a comma in a path is just a comma
        let node = json!({
            "driver": "raw", "node-name": disk.serial, "read-only": disk.read_only,
            "file": {"driver": "file", "filename": disk.path, "read-only": disk.read_only},
        });
        // a full host disk becomes an error in the guest instead of a machine that stands still
        let device = json!({
            "driver": "virtio-blk-pci", "drive": disk.serial, "serial": disk.serial,
            "werror": "report", "rerror": "report",
        });
        add(&["-blockdev", &node.to_string(), "-device", &device.to_string()]);
    }
    args
}

#[cfg(test)]
mod tests;

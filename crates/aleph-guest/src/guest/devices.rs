//! Kernel modules, device files, the channel's port, the loopback interface.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aleph_guest::protocol::{PORT_NAME, SetupStep};
use rustix::mount::{MountFlags, mount};

use super::SetupError;

/// How long a disk or the channel's port may take to appear.
const DEVICE_DEADLINE: Duration = Duration::from_secs(20);

fn failed(what: impl std::fmt::Display, error: impl std::fmt::Display) -> SetupError {
    SetupError::new(SetupStep::Devices, what, error)
}

/// `/dev`, `/proc` and `/sys` of the first file system.
pub(crate) fn early_mounts() -> Result<(), SetupError> {
    for (kind, at) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys")] {
        let _ = fs::create_dir_all(at);
        mount(kind, at, kind, MountFlags::NOSUID, None).map_err(|e| failed(format_args!("mount {at}"), e))?;
    }
    Ok(())
}

/// Inserts the modules that `/modules/order` names, in its order.
pub(crate) fn load_modules() -> Result<(), SetupError> {
    let order = match fs::read_to_string("/modules/order") {
        Ok(order) => order,
        // a kernel with everything built in
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("/modules/order", error)),
    };
    for name in order.lines().filter(|line| !line.is_empty()) {
        let path = Path::new("/modules").join(name);
        let file = File::open(&path).map_err(|e| failed(path.display(), e))?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(format_args!("module {name}"), error)),
        }
    }
    Ok(())
}

fn wait_for(what: &str, find: impl Fn() -> Option<PathBuf>) -> io::Result<PathBuf> {
    let start = Instant::now();
    loop {
        if let Some(path) = find().filter(|path| path.exists()) {
            return Ok(path);
        }
        if start.elapsed() > DEVICE_DEADLINE {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no {what} after {DEVICE_DEADLINE:?}"),
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn find_by(class: &str, attribute: &str, value: &str) -> Option<PathBuf> {
    fs::read_dir(class).ok()?.flatten().find_map(|entry| {
        let text = fs::read_to_string(entry.path().join(attribute)).ok()?;
        (text.trim_end() == value).then(|| Path::new("/dev").join(entry.file_name()))
    })
}

/// Opens the channel's port, not blocking.
pub(crate) fn channel() -> Result<File, SetupError> {
    let path = wait_for("channel port", || find_by("/sys/class/virtio-ports", "name", PORT_NAME))
        .map_err(|e| failed("virtio-serial", e))?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default())
        .open(&path)
        .map_err(|e| failed(path.display(), e))
}

/// The device file of the disk with the serial number `serial`.
pub(crate) fn disk(serial: &str) -> io::Result<PathBuf> {
    wait_for(&format!("disk {serial:?}"), || find_by("/sys/block", "serial", serial))
}

/// Brings `lo` up: one netlink message, since there may be no `ip` program in the runtime.
pub(crate) fn loopback_up() -> io::Result<()> {
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SendFlags, SocketType, send, socket};

    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST: u16 = 1;
    const IFF_UP: u32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend_from_slice(&32u32.to_ne_bytes()); // length of header and body
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence, port
    message.extend_from_slice(&[0; 4]); // family, padding, device type
    message.extend_from_slice(&1i32.to_ne_bytes()); // lo is always the first interface
    message.extend_from_slice(&IFF_UP.to_ne_bytes()); // flags
    message.extend_from_slice(&IFF_UP.to_ne_bytes()); // which of them to change
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?; // protocol 0 is NETLINK_ROUTE
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    send(&socket, &message, SendFlags::empty())?;
    Ok(())
}

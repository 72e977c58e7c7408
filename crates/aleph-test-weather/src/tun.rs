//! TUN devices: network devices whose other end is a file.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use crate::WeatherError;

/// The file behind all of them.
pub(crate) const CLONE: &str = "/dev/net/tun";
/// Longest name of a device, with its final zero.
const NAME_MAX: usize = 16;
/// Bare IP packets, nothing before them (`linux/if_tun.h`).
const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);

/// `struct ifreq` as `TUNSETIFF` reads it.
#[repr(C)]
struct Request {
    name: [u8; NAME_MAX],
    flags: u16,
    rest: [u8; 22],
}

/// Makes a device of this name in the namespace of this process. It lives as long as the file is open,
/// in whatever namespace it is put later. Reading never waits.
pub(crate) fn open(name: &str) -> Result<File, WeatherError> {
    let failed = || WeatherError::system(format!("can't make the network device {name}"));
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(CLONE)
        .map_err(failed())?;
    let mut request = Request { name: [0; NAME_MAX], flags: IFF_TUN | IFF_NO_PI, rest: [0; 22] };
    if name.len() >= NAME_MAX {
        return Err(failed()(std::io::ErrorKind::InvalidInput.into()));
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    set(file.as_fd(), request).map_err(|error| failed()(error.into()))?;
    Ok(file)
}

#[expect(unsafe_code, reason = "an ioctl that rustix has no name for")]
fn set(file: std::os::fd::BorrowedFd<'_>, request: Request) -> rustix::io::Result<()> {
    // SAFETY: the kernel reads and writes one `struct ifreq` of 40 bytes, which `Request` is, and keeps
    // no pointer to it.
    unsafe { ioctl(file, Setter::<TUNSETIFF, Request>::new(request)) }
}

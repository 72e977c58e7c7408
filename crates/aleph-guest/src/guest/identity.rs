//! What makes this machine itself: host name, clock, randomness. Applied at boot and again in
//! every clone of a saved machine, before anything is served.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;

use rustix::time::{ClockId, Timespec, clock_settime};

/// Sets the host name and the clock and reseeds the kernel's random numbers with `entropy` (hex).
pub(crate) fn apply(hostname: &str, time_ms: u64, entropy: &str) -> io::Result<()> {
    rustix::system::sethostname(hostname.as_bytes())?;
    let time = Timespec {
        tv_sec: i64::try_from(time_ms / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(time_ms % 1000 * 1_000_000).unwrap_or(0),
    };
    clock_settime(ClockId::Realtime, time)?;
    reseed(&decode_hex(entropy)?)
}

fn decode_hex(text: &str) -> io::Result<Vec<u8>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "entropy is not hexadecimal");
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(invalid());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| invalid()))
        .collect()
}

/// Bytes of entropy that one call to the kernel carries.
const ENTROPY_BYTES: usize = 64;

/// `struct rand_pool_info` of linux/random.h with a buffer of fixed size.
#[repr(C)]
struct Entropy {
    bits: i32,
    bytes: i32,
    buffer: [u8; ENTROPY_BYTES],
}

fn reseed(bytes: &[u8]) -> io::Result<()> {
    let random = OpenOptions::new().write(true).open("/dev/urandom")?;
    for part in bytes.chunks(ENTROPY_BYTES) {
        let length = i32::try_from(part.len()).unwrap_or(0);
        let mut entropy = Entropy { bits: length * 8, bytes: length, buffer: [0; ENTROPY_BYTES] };
        entropy.buffer[..part.len()].copy_from_slice(part);
        credit(random.as_fd(), entropy)?;
    }
    match reseed_now(random.as_fd()) {
        // the generator was never seeded before: the next reader seeds it with what was just given
        Ok(()) | Err(rustix::io::Errno::NODATA) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `RNDADDENTROPY`: the host's random bytes count, so that nothing waits for noise at boot.
#[expect(unsafe_code, reason = "an ioctl that rustix has no name for")]
fn credit(random: std::os::fd::BorrowedFd<'_>, entropy: Entropy) -> rustix::io::Result<()> {
    const RNDADDENTROPY: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<[i32; 2]>(b'R', 3);
    // SAFETY: the kernel reads `bits`, `bytes` and that many bytes of `buffer`, which is as long
    unsafe { rustix::ioctl::ioctl(random, rustix::ioctl::Setter::<RNDADDENTROPY, Entropy>::new(entropy)) }
}

/// `RNDRESEEDCRNG`: what was added to the pool counts from now on, not in a minute. Two clones of
/// one machine would draw the same numbers until then.
#[expect(unsafe_code, reason = "an ioctl that rustix has no name for")]
fn reseed_now(random: std::os::fd::BorrowedFd<'_>) -> rustix::io::Result<()> {
    const RNDRESEEDCRNG: rustix::ioctl::Opcode = rustix::ioctl::opcode::none(b'R', 7);
    // SAFETY: the opcode takes no argument and returns nothing (linux/random.h)
    unsafe { rustix::ioctl::ioctl(random, rustix::ioctl::NoArg::<RNDRESEEDCRNG>::new()) }
}

//! Unpacks a zip archive: the central directory, stored and deflated members, nothing else.
//!
//! Names are checked, so that nothing is written outside the folder; sizes are bounded by the
//! file system that they are written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// Most members of one archive.
const MAX_MEMBERS: usize = 65_535;
/// Most bytes of the central directory.
const MAX_DIRECTORY: u64 = 64 << 20;

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a usable zip archive: {}", reason.into()))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

struct Member {
    path: PathBuf,
    folder: bool,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
    mode: u32,
}

/// Unpacks the first `length` bytes of `file` into `folder`.
pub(crate) fn unpack(file: &File, length: u64, folder: &Path) -> io::Result<()> {
    for member in directory(file, length)? {
        let path = folder.join(&member.path);
        if member.folder {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        extract(file, length, &member, &path)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", member.path.display())))?;
    }
    Ok(())
}

fn directory(file: &File, length: u64) -> io::Result<Vec<Member>> {
    // the end record: 22 bytes and a comment of at most 65535
    let tail_length = length.min(22 + 65_535);
    let mut tail = vec![0; usize::try_from(tail_length).map_err(|_| invalid("too long"))?];
    file.read_exact_at(&mut tail, length - tail_length)?;
    let end = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|&at| tail[at..].starts_with(b"PK\x05\x06"))
        .ok_or_else(|| invalid("it has no directory"))?;
    let end = &tail[end..];
    let (count, size, offset) = (u16_at(end, 10), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16)));
    if u32_at(end, 16) == u32::MAX || size > MAX_DIRECTORY || offset + size > length {
        return Err(invalid("its directory lies outside of it (zip64 is not supported)"));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| invalid("too long"))?];
    file.read_exact_at(&mut bytes, offset)?;
    let mut rest = bytes.as_slice();
    let mut members = Vec::new();
    while members.len() < usize::from(count).min(MAX_MEMBERS) {
        if rest.len() < 46 || !rest.starts_with(b"PK\x01\x02") {
            return Err(invalid("its directory is cut"));
        }
        let (name, extra, comment) = (u16_at(rest, 28), u16_at(rest, 30), u16_at(rest, 32));
        let end = 46 + usize::from(name) + usize::from(extra) + usize::from(comment);
        let name = rest.get(46..46 + usize::from(name)).ok_or_else(|| invalid("its directory is cut"))?;
        let name = String::from_utf8_lossy(name).replace('\\', "/");
        if u16_at(rest, 8) & 1 != 0 {
            return Err(invalid(format!("{name} is encrypted")));
        }
        members.push(Member {
            path: safe_path(&name)?,
            folder: name.ends_with('/'),
            method: u16_at(rest, 10),
            crc: u32_at(rest, 16),
            packed: u64::from(u32_at(rest, 20)),
            size: u64::from(u32_at(rest, 24)),
            offset: u64::from(u32_at(rest, 42)),
            mode: u32_at(rest, 38) >> 16,
        });
        rest = rest.get(end..).ok_or_else(|| invalid("its directory is cut"))?;
    }
    Ok(members)
}

fn safe_path(name: &str) -> io::Result<PathBuf> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if name.is_empty() || name.contains('\0') || !plain {
        return Err(invalid(format!("member {name:?} would be written elsewhere")));
    }
    Ok(path.to_owned())
}

fn extract(file: &File, length: u64, member: &Member, path: &Path) -> io::Result<()> {
    let mut header = [0; 30];
    file.read_exact_at(&mut header, member.offset)?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(invalid("it is not where the directory says"));
    }
    let start = member.offset + 30 + u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
    if start + member.packed > length {
        return Err(invalid("it is cut"));
    }
    let mut packed = Part { file, at: start, left: member.packed };
    if member.mode & 0o170_000 == 0o120_000 {
        let mut target = String::new();
        let read = match member.method {
            0 => packed.read_to_string(&mut target),
            _ => return Err(invalid("a packed symbolic link")),
        };
        read?;
        return std::os::unix::fs::symlink(target, path);
    }
    let mode = if member.mode & 0o777 == 0 { 0o644 } else { member.mode & 0o777 | 0o400 };
    let out = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    let mut out =
        Checked { out: BufWriter::with_capacity(64 << 10, out), crc: !0, written: 0, limit: member.size };
    match member.method {
        0 => {
            io::copy(&mut packed, &mut out)?;
        }
        8 => inflate_into(&mut packed, &mut out)?,
        method => return Err(invalid(format!("it is packed by method {method}; use deflate"))),
    }
    out.flush()?;
    if out.written != member.size || !out.crc != member.crc {
        return Err(invalid("its checksum is wrong"));
    }
    Ok(())
}

fn inflate_into(packed: &mut impl Read, out: &mut impl Write) -> io::Result<()> {
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let mut input = vec![0; 32 << 10];
    let mut output = vec![0; 64 << 10];
    let (mut from, mut to) = (0, 0);
    loop {
        if from == to {
            (from, to) = (0, packed.read(&mut input)?);
        }
        let result = inflate(&mut state, &input[from..to], &mut output, MZFlush::None);
        from += result.bytes_consumed;
        out.write_all(&output[..result.bytes_written])?;
        match result.status {
            Ok(MZStatus::StreamEnd) => return Ok(()),
            Ok(_) => {}
            Err(MZError::Buf) if from == to && result.bytes_written > 0 => {}
            Err(error) => return Err(invalid(format!("it is corrupt ({error:?})"))),
        }
        if to == 0 && result.bytes_written == 0 {
            return Err(invalid("it is cut"));
        }
    }
}

/// A part of a file, without moving its position.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.file.read_at(&mut into[..most], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Counts and sums what is written; more than announced is an error, so a bomb ends early.
struct Checked<W> {
    out: W,
    crc: u32,
    written: u64,
    limit: u64,
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        if self.written > self.limit {
            return Err(invalid("it is longer than it says"));
        }
        self.out.write_all(bytes)?;
        for &byte in bytes {
            self.crc = CRC[usize::from(self.crc as u8 ^ byte)] ^ (self.crc >> 8);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests;

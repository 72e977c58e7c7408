//! Heads of tar archives (POSIX.1-2001): the same tree gives the same bytes, so times are zero.

use bytes::{BufMut as _, BytesMut};

const BLOCK: usize = 512;

/// Zeros at the end of an archive.
pub(super) const END: usize = 2 * BLOCK;

/// Longest name and target that stand in a head themselves.
const SHORT: usize = 100;

/// Largest number of eleven octal digits.
const OCTAL: u64 = 0o777_7777_7777;

/// What a head is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    /// A file of so many bytes, which follow.
    File(u64),
    Directory,
    /// A link to a path.
    Symlink(&'a str),
}

/// Zeros after a file's bytes.
pub(super) fn padding(size: u64) -> usize {
    // Below a block.
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// Appends the head of an entry.
pub(super) fn head(path: &str, entry: Entry<'_>, out: &mut BytesMut) {
    let (kind, size, mode, target) = match entry {
        Entry::File(size) => (b'0', size, 0o644, ""),
        Entry::Directory => (b'5', 0, 0o755, ""),
        Entry::Symlink(target) => (b'2', 0, 0o777, target),
    };
    let path = match entry {
        Entry::Directory => format!("{path}/"),
        _ => path.to_owned(),
    };
    // What does not fit goes into a record before.
    let mut records = Vec::new();
    if path.len() > SHORT {
        record("path", &path, &mut records);
    }
    if target.len() > SHORT {
        record("linkpath", target, &mut records);
    }
    if size > OCTAL {
        record("size", &size.to_string(), &mut records);
    }
    if !records.is_empty() {
        plain("pax", b'x', records.len() as u64, 0o644, "", out);
        out.put_slice(&records);
        out.put_bytes(0, padding(records.len() as u64));
    }
    plain(&path, kind, size.min(OCTAL), mode, target, out);
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn record(key: &str, value: &str, out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend(format!("{length} {key}={value}\n").bytes());
}

fn plain(path: &str, kind: u8, size: u64, mode: u32, target: &str, out: &mut BytesMut) {
    let mut head = [0u8; BLOCK];
    let mut put = |at: usize, room: usize, bytes: &[u8]| {
        let len = bytes.len().min(room);
        head[at..at + len].copy_from_slice(&bytes[..len]);
    };
    put(0, SHORT, path.as_bytes());
    put(100, 8, format!("{mode:07o}").as_bytes());
    put(108, 8, b"0000000");
    put(116, 8, b"0000000");
    put(124, 12, format!("{size:011o}").as_bytes());
    put(136, 12, b"00000000000");
    put(148, 8, b"        ");
    put(156, 1, &[kind]);
    put(157, SHORT, target.as_bytes());
    put(257, 8, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.put_slice(&head);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_whole_blocks_and_long_names_stand_before_them() {
        let mut out = BytesMut::new();
        head("a", Entry::File(5), &mut out);
        assert_eq!(out.len(), BLOCK);
        assert_eq!((&out[0..2], &out[124..136], out[156]), (&b"a\0"[..], &b"00000000005\0"[..], b'0'));
        let long = "x".repeat(300);
        let mut out = BytesMut::new();
        head(&long, Entry::Symlink(&long), &mut out);
        assert_eq!(out.len() % BLOCK, 0);
        assert!(out[BLOCK..].starts_with(format!("310 path={long}\n").as_bytes()));
        assert_eq!([padding(0), padding(1), padding(512), padding(513)], [0, 511, 0, 511]);
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 80, 89, 90, 91, 980, 989, 990, 991] {
            let mut out = Vec::new();
            record("path", &"x".repeat(length), &mut out);
            let text = String::from_utf8(out).unwrap();
            let (said, _) = text.split_once(' ').unwrap();
            assert_eq!(said.parse::<usize>().unwrap(), text.len());
        }
    }
}

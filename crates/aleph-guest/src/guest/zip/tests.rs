use std::os::unix::fs::PermissionsExt;

use super::*;

/// A zip archive of stored members, made by hand.
fn archive(members: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes, mode) in members {
        let mut sum = Checked { out: io::sink(), crc: !0, written: 0, limit: u64::MAX };
        sum.write_all(bytes).unwrap();
        let mut about = Vec::new();
        about.extend_from_slice(&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        about.extend_from_slice(&(!sum.crc).to_le_bytes());
        about.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        about.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        about.extend_from_slice(&(name.len() as u16).to_le_bytes());
        about.extend_from_slice(&[0, 0]);
        directory.extend_from_slice(b"PK\x01\x02\x14\x03");
        directory.extend_from_slice(&about);
        directory.extend_from_slice(&[0; 6]);
        directory.extend_from_slice(&(mode << 16).to_le_bytes());
        directory.extend_from_slice(&(out.len() as u32).to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&about);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(bytes);
    }
    let at = out.len() as u32;
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&(members.len() as u16).to_le_bytes());
    out.extend_from_slice(&(members.len() as u16).to_le_bytes());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

fn unpack_bytes(bytes: &[u8]) -> io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    // a disk is longer than the file on it
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(512), 0);
    fs::write(&path, padded).unwrap();
    unpack(&File::open(path).unwrap(), bytes.len() as u64, &folder.path().join("out"))?;
    Ok(folder)
}

#[test]
fn members_and_folders_are_written_with_their_modes() {
    let bytes = archive(&[("a/", b"", 0o755), ("a/b.py", b"print(1)", 0o644), ("run", b"#!/bin/sh", 0o755)]);
    let folder = unpack_bytes(&bytes).unwrap();
    let out = folder.path().join("out");
    assert_eq!(fs::read(out.join("a/b.py")).unwrap(), b"print(1)");
    assert_eq!(fs::metadata(out.join("run")).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn deflated_members_are_inflated() {
    // the archive of one deflated member "x" with a thousand "a", made with `zip`-compatible deflate
    let text = vec![b'a'; 1000];
    let packed = miniz_oxide::deflate::compress_to_vec(&text, 6);
    let mut out = Vec::new();
    inflate_into(&mut packed.as_slice(), &mut out).unwrap();
    assert_eq!(out, text);
    assert!(inflate_into(&mut &packed[..packed.len() - 2], &mut Vec::new()).is_err());
}

#[test]
fn nothing_is_written_outside_the_folder() {
    for name in ["../evil", "/etc/passwd", "a/../../evil", ""] {
        assert!(unpack_bytes(&archive(&[(name, b"x", 0o644)])).is_err(), "{name:?}");
    }
}

#[test]
fn corrupt_archives_are_errors() {
    let good = archive(&[("a", b"hello", 0o644)]);
    assert!(unpack_bytes(b"").is_err());
    assert!(unpack_bytes(b"not a zip at all, but long enough to look").is_err());
    assert!(unpack_bytes(&good[..good.len() - 30]).is_err());
    let mut flipped = good;
    flipped[32] ^= 1;
    assert!(unpack_bytes(&flipped).is_err());
}

//! CIDs that Kubo's own tests expect of `ipfs add` (`test/cli/cid_profiles_test.go`, `add_test.go`,
//! `test/sharness/t0040-add-and-cat.sh`), with the input that those tests make: a ChaCha20 stream
//! whose key is the SHA-256 of a word.

use aleph_cid::{Built, DirectoryBuilder, Discard, FileBuilder, FileCheck, Layout, TreeBuilder, cid_of};
use sha2::{Digest, Sha256};

const MIB: usize = 1 << 20;

/// A ChaCha20 key stream with a zero nonce.
struct Stream {
    state: [u32; 16],
    block: [u8; 64],
    used: usize,
}

impl Stream {
    fn of(seed: &str) -> Self {
        let mut state = [0; 16];
        state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
        for (word, bytes) in state[4..12].iter_mut().zip(Sha256::digest(seed).chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.try_into().unwrap());
        }
        Self { state, block: [0; 64], used: 64 }
    }

    fn fill(&mut self, out: &mut [u8]) {
        for part in out.chunks_mut(64) {
            let mut rest = part;
            while !rest.is_empty() {
                if self.used == 64 {
                    self.next_block();
                }
                let count = rest.len().min(64 - self.used);
                rest[..count].copy_from_slice(&self.block[self.used..self.used + count]);
                self.used += count;
                rest = &mut rest[count..];
            }
        }
    }

    fn next_block(&mut self) {
        let mut x = self.state;
        for _ in 0..10 {
            for [a, b, c, d] in [
                [0, 4, 8, 12],
                [1, 5, 9, 13],
                [2, 6, 10, 14],
                [3, 7, 11, 15],
                [0, 5, 10, 15],
                [1, 6, 11, 12],
                [2, 7, 8, 13],
                [3, 4, 9, 14],
            ] {
                for (low, high) in [(16, 12), (8, 7)] {
                    x[a] = x[a].wrapping_add(x[b]);
                    x[d] = (x[d] ^ x[a]).rotate_left(low);
                    x[c] = x[c].wrapping_add(x[d]);
                    x[b] = (x[b] ^ x[c]).rotate_left(high);
                }
            }
        }
        for (index, (word, start)) in x.iter().zip(&self.state).enumerate() {
            self.block[index * 4..index * 4 + 4].copy_from_slice(&word.wrapping_add(*start).to_le_bytes());
        }
        self.state[12] += 1;
        self.used = 0;
    }
}

/// Feeds one stream to builders of files of several sizes, and compares their CIDs.
fn check_files(layout: Layout, seed: &str, expected: &[(usize, &str)]) {
    let mut stream = Stream::of(seed);
    let mut builders: Vec<_> = expected.iter().map(|_| FileBuilder::new(layout)).collect();
    let mut piece = vec![0; 50_000];
    let mut done = 0;
    let largest = expected.iter().map(|(size, _)| *size).max().unwrap();
    while done < largest {
        stream.fill(&mut piece);
        for (builder, (size, _)) in builders.iter_mut().zip(expected) {
            builder.update(&piece[..size.saturating_sub(done).min(piece.len())], &mut Discard).unwrap();
        }
        done += piece.len();
    }
    for (builder, (size, cid)) in builders.into_iter().zip(expected) {
        let built = builder.finish(&mut Discard).unwrap();
        assert_eq!((built.size, built.cid.to_string().as_str()), (*size as u64, *cid), "{seed}");
    }
}

#[test]
fn small_files() {
    let wrapped = Layout::KUBO_V1.with_raw_leaves(false);
    for (layout, text, cid) in [
        (Layout::KUBO_V0, "hello world", "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"),
        (Layout::KUBO_V1, "hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
        (wrapped, "hello world", "bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa"),
        (
            Layout::UNIXFS_V1_2025,
            "hello world",
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
        ),
        (Layout::KUBO_V0, "Hello Worlds!\n", "QmVr26fY1tKyspEJBniVhqxQeEjhF78XerGiqWAwraVLQH"),
        (Layout::KUBO_V0, "Helloo Worlds!\n", "Qmf35k66MZNW2GijohUmXQEWKZU4cCGTCwK6idfnt152wJ"),
        (Layout::KUBO_V0, "Hello Jupiter!\n", "QmUnvPcBctVTAcJpigv6KMqDvmDewksPWrNVoy1E1WP5fh"),
        (Layout::KUBO_V0, "Hello Neptune!\nHello Pluton!", "QmZDhWpi8NvKrekaYYhxKCdNVGWsFFe1CREnAjP1QbPaB3"),
    ] {
        assert_eq!(cid_of(layout, text.as_bytes()).to_string(), cid, "{text}");
    }
}

#[test]
fn files_at_their_thresholds() {
    check_files(
        Layout::KUBO_V0,
        "chunk-v0-seed",
        &[
            (262_144, "QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE"),
            (262_145, "QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ"),
        ],
    );
    check_files(
        Layout::KUBO_V0,
        "v0-seed",
        &[
            (174 * 262_144, "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2"),
            (174 * 262_144 + 1, "QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW"),
        ],
    );
    check_files(
        Layout::UNIXFS_V1_2025,
        "chunk-v1-seed",
        &[
            (MIB, "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta"),
            (MIB + 1, "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64"),
        ],
    );
}

#[test]
#[ignore = "hashes 2.3 GiB: run it in a release build"]
fn large_files_at_their_thresholds() {
    let wide = Layout::KUBO_V0.with_max_links(1024).unwrap();
    check_files(wide, "hello world", &[(256 * MIB, "QmbBftNHWmjSWKLC49dMVrfnY8pjrJYntiAXirFJ7oJrNk")]);
    check_files(
        Layout::UNIXFS_V1_2025,
        "v1-2025-seed",
        &[
            (1024 * MIB, "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm"),
            (1024 * MIB + 1, "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe"),
        ],
    );
}

fn built(layout: Layout, text: &str) -> Built {
    let mut builder = FileBuilder::new(layout);
    builder.update(text.as_bytes(), &mut Discard).unwrap();
    builder.finish(&mut Discard).unwrap()
}

/// Files of one letter, with names out of a stream; the last one may be longer.
fn directory(layout: Layout, files: usize, name: usize, last: usize, seed: &str) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    let mut stream = Stream::of(seed);
    let entry = built(layout, "x");
    let mut directory = DirectoryBuilder::new(layout);
    for index in 0..files {
        let mut bytes = vec![0; if index + 1 == files { last } else { name }];
        stream.fill(&mut bytes);
        let name: String =
            bytes.iter().map(|byte| ALPHABET[usize::from(*byte) % ALPHABET.len()] as char).collect();
        directory.insert(&name, &entry).unwrap();
    }
    directory.finish(&mut Discard).unwrap().cid.to_string()
}

#[test]
fn directories_at_the_threshold_of_sharding() {
    let v0 = |files, name| directory(Layout::KUBO_V0, files, name, name, "hamt-unixfs-v0-2015");
    assert_eq!(v0(4096, 30), "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN", "exactly 256 KiB of links");
    assert_eq!(v0(4033, 31), "QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP", "one byte more");
    let v1 = |last| directory(Layout::UNIXFS_V1_2025, 4766, 11, last, "hamt-unixfs-v1-2025");
    assert_eq!(
        v1(21),
        "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4",
        "exactly 256 KiB of block"
    );
    assert_eq!(v1(22), "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu", "one byte more");
}

#[test]
fn directories_of_the_command_line_tests() {
    for (layout, planets) in [
        (Layout::KUBO_V0, "QmWSgS32xQEcXMeqd3YPJLrNBLSdsfYCep2U7CFkyrjXwY"),
        (Layout::KUBO_V0.with_raw_leaves(true), "QmfWfQfKCY5Ukv9peBbxM5vqWM9BzmqUSXvdCgjT2wsiBT"),
        (Layout::KUBO_V1, "bafybeih7e5dmkyk25up5vxug4q3hrg2fxbzf23dfrac2fns5h7z4aa7ioi"),
        (
            Layout::KUBO_V1.with_raw_leaves(false),
            "bafybeif5tuep5ap2d7zyhbktucey75aoacxufgt6i3v4gebmixyipnyp7y",
        ),
    ] {
        let mut tree = TreeBuilder::new(layout, 10);
        tree.insert("mars.txt", &built(layout, "Hello Mars!\n")).unwrap();
        tree.insert("venus.txt", &built(layout, "Hello Venus!\n")).unwrap();
        assert_eq!(tree.finish(&mut Discard).unwrap().cid.to_string(), planets);
    }
    let mut tree = TreeBuilder::new(Layout::KUBO_V0, 10);
    for (path, text) in [
        ("jupiter/europa.txt", "Hello Europa!\n"),
        ("saturn/titan.txt", "Hello Titan!\n"),
        ("mercury.txt", "hey you are no moon!\n"),
    ] {
        tree.insert(path, &built(Layout::KUBO_V0, text)).unwrap();
    }
    let moons = tree.finish(&mut Discard).unwrap().cid;
    assert_eq!(moons.to_string(), "QmbGoaQZm8kjYfCiN1aBsgwhqfUBGDYTrDb91Mz7Dvq81B");
}

#[test]
fn plain_bytes_are_checked_against_what_kubo_made() {
    let mut stream = Stream::of("chunk-v1-seed");
    let mut bytes = vec![0; MIB + 1];
    stream.fill(&mut bytes);
    let cid = "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64".parse().unwrap();
    let mut check = FileCheck::new(cid);
    check.update(&bytes);
    assert_eq!(check.finish().map(|built| built.size), Some(MIB as u64 + 1));
}

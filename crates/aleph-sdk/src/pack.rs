use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use aleph_types::content::Encoding;
use tempfile::NamedTempFile;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::error::{Error, Result};

/// Reference compute nodes hand archives up to this size to the guest and refuse larger ones that are not
/// squashfs (`spec: crn-api.md §8`).
pub const LARGEST_INLINE_CODE: u64 = 10_000_000;

/// Never packed: histories, caches and local environments.
const LEFT_OUT: [&str; 7] = [".git", ".hg", ".venv", "venv", "__pycache__", "node_modules", ".DS_Store"];

/// Most files in one folder of code; more is a mistake, such as the home folder.
const MOST_FILES: usize = 20_000;

/// Code that is ready for the network. A file that was made for it is deleted on drop.
#[derive(Debug)]
pub struct PackedCode {
    /// How it is packed.
    pub encoding: Encoding,
    /// Bytes.
    pub size: u64,
    /// Files inside; 1 when it was taken as it is.
    pub files: usize,
    /// What to call when the caller names no entrypoint.
    pub default_entrypoint: Option<String>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Given(PathBuf),
    Made(NamedTempFile),
}

impl PackedCode {
    /// Where the bytes are.
    pub fn path(&self) -> &Path {
        match &self.source {
            Source::Given(path) => path,
            Source::Made(file) => file.path(),
        }
    }
}

/// Packs the code at `path`; `wanted` overrides the choice of form.
///
/// A folder becomes a zip archive, or squashfs when asked for; a `.py` file becomes a zip with that file;
/// `.zip` and `.squashfs` files and any other file are taken as they are. The same files give the same
/// bytes: times, owners and order are fixed, so that code that didn't change keeps its hash.
///
/// Blocks; run it where blocking is allowed.
pub fn pack(path: &Path, wanted: Option<Encoding>) -> Result<PackedCode> {
    let metadata = fs::metadata(path).map_err(|error| Error::file("read", path, error))?;
    if metadata.is_dir() {
        return match wanted {
            None | Some(Encoding::Zip) => zip_folder(path),
            Some(Encoding::Squashfs) => squash_folder(path),
            Some(Encoding::Plain) => {
                Err(Error::input(format!("{} is a folder; pack it as zip or squashfs", path.display())))
            }
        };
    }
    let extension = path.extension().and_then(|text| text.to_str()).unwrap_or_default();
    let by_name = match extension {
        "zip" => Encoding::Zip,
        "squashfs" | "sqsh" => Encoding::Squashfs,
        "py" if wanted.is_none() || wanted == Some(Encoding::Zip) => return zip_module(path),
        _ => Encoding::Plain,
    };
    let encoding = wanted.unwrap_or(by_name);
    let default_entrypoint = match encoding {
        Encoding::Plain => path.file_name().and_then(|name| name.to_str()).map(str::to_owned),
        _ => None,
    };
    Ok(PackedCode {
        encoding,
        size: metadata.len(),
        files: 1,
        default_entrypoint,
        source: Source::Given(path.to_owned()),
    })
}

/// One file of a folder: where it is and what it is called in the archive.
struct Entry {
    path: PathBuf,
    name: String,
    executable: bool,
}

fn zip_folder(folder: &Path) -> Result<PackedCode> {
    let mut entries = Vec::new();
    collect(folder, folder, &mut entries)?;
    if entries.is_empty() {
        return Err(Error::input(format!("{} holds no file to deploy", folder.display())));
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    let default_entrypoint = ["main", "app"]
        .into_iter()
        .find(|module| has(&format!("{module}.py")) || has(&format!("{module}/__init__.py")))
        .map(|module| format!("{module}:app"));
    zip_entries(&entries, default_entrypoint)
}

fn zip_module(path: &Path) -> Result<PackedCode> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| Error::input(format!("{} has no name in UTF-8", path.display())))?;
    let default_entrypoint = name.strip_suffix(".py").map(|module| format!("{module}:app"));
    let entry = Entry { path: path.to_owned(), name: name.to_owned(), executable: false };
    zip_entries(&[entry], default_entrypoint)
}

/// Walks a folder. Links are followed to files inside the folder only: a link must not carry a stranger's
/// files to a public network.
fn collect(root: &Path, folder: &Path, entries: &mut Vec<Entry>) -> Result<()> {
    let listing = fs::read_dir(folder).map_err(|error| Error::file("read", folder, error))?;
    for item in listing {
        let item = item.map_err(|error| Error::file("read", folder, error))?;
        let path = item.path();
        let name = item.file_name();
        let Some(name) = name.to_str() else {
            return Err(Error::input(format!("{} has no name in UTF-8", path.display())));
        };
        if LEFT_OUT.contains(&name) || name.ends_with(".pyc") {
            continue;
        }
        let kind = item.file_type().map_err(|error| Error::file("read", &path, error))?;
        if kind.is_dir() {
            collect(root, &path, entries)?;
            continue;
        }
        if kind.is_symlink() {
            let within = |base: &Path| -> io::Result<bool> {
                let target = fs::canonicalize(&path)?;
                Ok(target.is_file() && target.starts_with(fs::canonicalize(base)?))
            };
            if !within(root).map_err(|error| Error::file("follow", &path, error))? {
                return Err(Error::input(format!(
                    "{} links to something outside the folder; copy it in or remove the link",
                    path.display()
                )));
            }
        } else if !kind.is_file() {
            continue;
        }
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let Some(name) = relative.to_str() else {
            return Err(Error::input(format!("{} has no name in UTF-8", path.display())));
        };
        let metadata = fs::metadata(&path).map_err(|error| Error::file("read", &path, error))?;
        entries.push(Entry {
            name: name.replace(std::path::MAIN_SEPARATOR, "/"),
            executable: is_executable(&metadata),
            path,
        });
        if entries.len() > MOST_FILES {
            return Err(Error::input(format!(
                "{} holds more than {MOST_FILES} files; deploy a folder of code only",
                root.display()
            )));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_metadata: &fs::Metadata) -> bool {
    false
}

fn zip_entries(entries: &[Entry], default_entrypoint: Option<String>) -> Result<PackedCode> {
    let made = NamedTempFile::with_prefix("aleph-code-")
        .map_err(|error| Error::file("create", "a temporary file", error))?;
    let failed = |error: io::Error| Error::file("write", made.path(), error);
    let mut archive = ZipWriter::new(BufWriter::new(made.as_file()));
    for entry in entries {
        let mut options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(if entry.executable { 0o755 } else { 0o644 });
        // The first time that the format knows: content alone decides the archive's hash.
        options = options.last_modified_time(zip::DateTime::default());
        archive.start_file(entry.name.as_str(), options).map_err(|error| failed(error.into()))?;
        let mut file = File::open(&entry.path).map_err(|error| Error::file("read", &entry.path, error))?;
        copy(&mut file, &mut archive, &entry.path, made.path())?;
    }
    archive
        .finish()
        .map_err(|error| failed(error.into()))?
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    let size = made.as_file().metadata().map_err(failed)?.len();
    Ok(PackedCode {
        encoding: Encoding::Zip,
        size,
        files: entries.len(),
        default_entrypoint,
        source: Source::Made(made),
    })
}

/// Like [`io::copy`], but says which side failed.
fn copy(from: &mut impl Read, to: &mut impl Write, from_path: &Path, to_path: &Path) -> Result<()> {
    let mut buffer = vec![0u8; 128 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                to.write_all(&buffer[..read]).map_err(|error| Error::file("write", to_path, error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::file("read", from_path, error)),
        }
    }
}

fn squash_folder(folder: &Path) -> Result<PackedCode> {
    let mut entries = Vec::new();
    collect(folder, folder, &mut entries)?;
    let made = NamedTempFile::with_prefix("aleph-code-")
        .map_err(|error| Error::file("create", "a temporary file", error))?;
    let output = Command::new("mksquashfs")
        .arg(folder)
        .arg(made.path())
        .args(["-noappend", "-quiet", "-no-progress", "-no-xattrs", "-all-root"])
        .args(["-all-time", "0", "-mkfs-time", "0", "-comp", "gzip"])
        .args(["-wildcards", "-e"])
        .args(LEFT_OUT.iter().map(|name| format!("... {name}")))
        .arg("... *.pyc")
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::input("mksquashfs is not installed; install squashfs-tools, or pack the code as zip")
            }
            _ => Error::file("run", "mksquashfs", error),
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Error::input(format!(
            "mksquashfs could not pack {}: {}",
            folder.display(),
            text.trim().lines().last().unwrap_or("no reason given")
        )));
    }
    let size = fs::metadata(made.path()).map_err(|error| Error::file("read", made.path(), error))?.len();
    Ok(PackedCode {
        encoding: Encoding::Squashfs,
        size,
        files: entries.len(),
        default_entrypoint: folder.join("main.py").is_file().then(|| "main:app".to_owned()),
        source: Source::Made(made),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(packed: &PackedCode) -> Vec<String> {
        let archive = zip::ZipArchive::new(File::open(packed.path()).unwrap()).unwrap();
        archive.file_names().map(|name| name.unwrap().into_owned()).collect()
    }

    #[test]
    fn a_folder_becomes_the_same_zip_every_time() {
        let files = [("main.py", "app = 1"), ("lib/a.py", "x"), (".git/HEAD", "y"), ("b.pyc", "z")];
        let one = folder(&files);
        std::thread::sleep(std::time::Duration::from_millis(10));
        let other = folder(&files);
        let first = pack(one.path(), None).unwrap();
        let second = pack(other.path(), None).unwrap();
        assert_eq!(fs::read(first.path()).unwrap(), fs::read(second.path()).unwrap());
        assert_eq!(names(&first), ["lib/a.py", "main.py"]);
        assert_eq!(first.files, 2);
        assert_eq!(first.default_entrypoint.as_deref(), Some("main:app"));
        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn files_are_taken_by_their_kind() {
        let all = folder(&[("web.py", "app = 1"), ("server", "ELF"), ("x.squashfs", "hsqs")]);
        let module = pack(&all.path().join("web.py"), None).unwrap();
        assert_eq!((module.encoding, module.default_entrypoint.as_deref()), (Encoding::Zip, Some("web:app")));
        let plain = pack(&all.path().join("server"), None).unwrap();
        assert_eq!((plain.encoding, plain.default_entrypoint.as_deref()), (Encoding::Plain, Some("server")));
        assert_eq!(plain.path(), all.path().join("server"));
        assert_eq!(pack(&all.path().join("x.squashfs"), None).unwrap().encoding, Encoding::Squashfs);
    }

    #[test]
    fn what_can_not_be_packed_is_said() {
        let empty = tempfile::tempdir().unwrap();
        assert!(pack(empty.path(), None).unwrap_err().to_string().contains("holds no file"));
        assert!(pack(&empty.path().join("none"), None).unwrap_err().to_string().starts_with("can't read"));
        assert!(pack(empty.path(), Some(Encoding::Plain)).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_refused() {
        let secret = folder(&[("key", "secret")]);
        let code = folder(&[("main.py", "")]);
        std::os::unix::fs::symlink("main.py", code.path().join("alias.py")).unwrap();
        assert_eq!(names(&pack(code.path(), None).unwrap()), ["alias.py", "main.py"]);
        std::os::unix::fs::symlink(secret.path().join("key"), code.path().join("key")).unwrap();
        assert!(pack(code.path(), None).unwrap_err().to_string().contains("outside the folder"));
    }
}

//! A fresh cluster, made once and copied for each server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::ServerError;
use crate::account::Account;
use crate::binaries::{Binaries, finish};

/// To be raised when what [`make`] does changes: older copies are left alone.
const FORM: u32 = 1;
/// The one user of a test's server.
pub(crate) const USER: &str = "aleph";
/// Its password over TCP; the socket asks for none.
pub(crate) const PASSWORD: &str = "a-password-of-tests";

/// Copies a fresh cluster to `data`, which is made, belongs to `account`, and is closed to others.
pub(crate) fn lay_out(binaries: &Binaries, account: &Account, data: &Path) -> Result<(), ServerError> {
    let name = format!("postgres-{}-{FORM}", binaries.version()?);
    let kept = cache().join(name);
    if !kept.join("PG_VERSION").is_file() {
        make(binaries, account, &kept)?;
    }
    copy(&kept, data, account)
}

/// What survives between runs; the same place as that of `cargo xtask`.
fn cache() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("ALEPHD_CACHE")
        .or_else(|| Some(named("HOME")?.join(".cache/alephd")))
        .unwrap_or_else(|| std::env::temp_dir().join("alephd-cache"))
}

/// Makes the cluster that is copied from then on. Many processes may do so at once: each makes its
/// own, and the first to name it wins.
fn make(binaries: &Binaries, account: &Account, kept: &Path) -> Result<(), ServerError> {
    let folder = tempfile::Builder::new().prefix("aleph-initdb-").tempdir();
    let folder = folder.map_err(ServerError::files("could not make a folder in", std::env::temp_dir()))?;
    account.own(folder.path())?;
    let password = folder.path().join("password");
    fs::write(&password, PASSWORD).map_err(ServerError::files("could not write", &password))?;
    account.own(&password)?;
    let made = folder.path().join("data");
    let mut initdb = binaries.command("initdb", account);
    initdb.current_dir(folder.path()).arg("--pgdata").arg(&made).arg("--pwfile").arg(&password).args([
        "--username",
        USER,
        "--encoding=UTF8",
        "--locale=C",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--no-sync",
        "--no-instructions",
    ]);
    finish("initdb", &mut initdb)?;

    let parent = kept.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(ServerError::files("could not make", parent))?;
    let unnamed = tempfile::Builder::new().prefix("postgres-unfinished-").tempdir_in(parent);
    let unnamed = unnamed.map_err(ServerError::files("could not make a folder in", parent))?;
    let whole = unnamed.path().join("data");
    copy(&made, &whole, &Account::caller())?;
    match fs::rename(&whole, kept) {
        Ok(()) => Ok(()),
        // somebody else was faster
        Err(_) if kept.join("PG_VERSION").is_file() => Ok(()),
        Err(error) => Err(ServerError::files("could not name", kept)(error)),
    }
}

/// Copies a folder with all below it; the copies belong to `account` and are closed to others.
fn copy(from: &Path, to: &Path, account: &Account) -> Result<(), ServerError> {
    let mut folders = vec![(from.to_path_buf(), to.to_path_buf())];
    while let Some((from, to)) = folders.pop() {
        fs::create_dir(&to).map_err(ServerError::files("could not make", &to))?;
        close(&to, 0o700).map_err(ServerError::files("could not close", &to))?;
        account.own(&to)?;
        let entries = fs::read_dir(&from).map_err(ServerError::files("could not read", &from))?;
        for entry in entries {
            let entry = entry.map_err(ServerError::files("could not read", &from))?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let kind = entry.file_type().map_err(ServerError::files("could not read", &source))?;
            if kind.is_dir() {
                folders.push((source, target));
            } else {
                fs::copy(&source, &target).map_err(ServerError::files("could not copy", &source))?;
                account.own(&target)?;
            }
        }
    }
    Ok(())
}

fn close(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

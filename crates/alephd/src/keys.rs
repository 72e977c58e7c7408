//! Secret keys in files: 64 hexadecimal digits. The official clients' form, 32 raw bytes, is read too.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aleph_sdk::Account;
use aleph_types::Chain;
use anyhow::{Context, Result, bail};
use clap::Subcommand;

/// Keys of accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a new key and write it to a file
    Generate {
        /// The file; it must not exist yet
        path: PathBuf,
    },
    /// Show the address of a key
    Show {
        path: PathBuf,
        /// Show the secret key too
        #[arg(long)]
        secret: bool,
    },
}

impl KeysCommand {
    /// # Errors
    /// When a file is there that should not be, or the other way round, or holds no key.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Generate { path } => {
                let account = generate(&path)?;
                println!("{}", account.address());
            }
            Self::Show { path, secret } => {
                let account = load(&path)?;
                println!("{}", account.address());
                if secret {
                    println!("0x{}", account.secret_hex());
                }
            }
        }
        Ok(())
    }
}

/// Reads a key file.
///
/// # Errors
/// When it can't be read or holds no key.
pub(crate) fn load(path: &Path) -> Result<Account> {
    let bytes = std::fs::read(path).with_context(|| format!("can't read the key {}", path.display()))?;
    let account = match <&[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(secret) => Account::from_secret(Chain::Eth, secret),
        Err(_) => match std::str::from_utf8(&bytes) {
            Ok(text) => Account::from_hex(Chain::Eth, text),
            Err(_) => bail!("{} holds no key: neither 32 bytes nor 64 hexadecimal digits", path.display()),
        },
    };
    account.with_context(|| format!("{} holds no key", path.display()))
}

/// Makes a key and writes it, readable by its owner alone.
///
/// # Errors
/// When the file exists, or can't be written.
pub(crate) fn generate(path: &Path) -> Result<Account> {
    let account = Account::generate()?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("can't write a new key to {}", path.display()))?;
    writeln!(file, "{}", account.secret_hex())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("can't write {}", path.display()))?;
    Ok(account)
}

/// Reads a key file, or makes it.
///
/// # Errors
/// As of [`load`] and [`generate`].
pub(crate) fn load_or_generate(path: &Path) -> Result<Account> {
    if path.exists() { load(path) } else { generate(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_once_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/a.key");
        let made = load_or_generate(&path).expect("made");
        assert_eq!(std::fs::read(&path).expect("read").len(), 65);
        assert_eq!(load_or_generate(&path).expect("read").address(), made.address());
        assert!(generate(&path).is_err(), "a key is never overwritten");
        let text = folder.path().join("b.key");
        std::fs::write(&text, format!("0x{}\n", made.secret_hex())).expect("written");
        assert_eq!(load(&text).expect("read").address(), made.address());
        std::fs::write(&text, hex::decode(made.secret_hex()).expect("digits")).expect("written");
        assert_eq!(load(&text).expect("read").address(), made.address());
        std::fs::write(&text, "none").expect("written");
        assert!(load(&text).expect_err("no key").to_string().contains("holds no key"));
    }
}

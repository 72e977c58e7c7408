//! The user's folder: configuration, accounts and keys.
//!
//! ```text
//! $ALEPH_HOME, else $XDG_CONFIG_HOME/aleph, else ~/.config/aleph    0700
//!   config.toml          node, channel                              0600
//!   accounts.toml        names, chains, addresses, kinds            0600
//!   keys/NAME.key        secret of an account of kind "plain"       0600, hexadecimal
//!   keystores/NAME.json  reserved for accounts of kind "keystore"
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aleph_sdk::Account;
use aleph_types::{Address, Chain};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, CliResult};

/// What `config.toml` holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// URL of the core node that commands talk to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// Label of published messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<String>,
}

impl Config {
    /// The keys of the file.
    pub(crate) const KEYS: [&str; 2] = ["node", "channel"];

    /// The value under `key`.
    pub(crate) fn slot(&mut self, key: &str) -> CliResult<&mut Option<String>> {
        match key {
            "node" => Ok(&mut self.node),
            "channel" => Ok(&mut self.channel),
            _ => Err(CliError::usage(format!("there is no setting '{key}'"))
                .hint(format!("settings are: {}", Self::KEYS.join(", ")))),
        }
    }
}

/// How an account's secret is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// In a file that only its user can read.
    Plain,
    /// In a file locked by a password; read by later versions.
    Keystore,
}

/// One line of `accounts.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) chain: Chain,
    pub(crate) address: Address,
    pub(crate) kind: Kind,
}

/// What `accounts.toml` holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accounts {
    /// The account that signs unless another is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<String>,
    #[serde(default)]
    pub(crate) accounts: Vec<Entry>,
}

impl Accounts {
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.accounts.iter().find(|entry| entry.name == name)
    }
}

/// The user's folder. Made when something is written.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Finds the folder; nothing is made.
    pub(crate) fn find() -> CliResult<Self> {
        let of = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        let root = of("ALEPH_HOME")
            .or_else(|| of("XDG_CONFIG_HOME").map(|folder| folder.join("aleph")))
            .or_else(|| of("HOME").map(|folder| folder.join(".config").join("aleph")));
        root.map(|root| Self { root }).ok_or_else(|| {
            CliError::usage("no folder for keys and settings").hint("set ALEPH_HOME to a folder of yours")
        })
    }

    #[cfg(test)]
    fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    fn accounts_path(&self) -> PathBuf {
        self.root.join("accounts.toml")
    }

    pub(crate) fn key_path(&self, name: &str) -> PathBuf {
        self.root.join("keys").join(format!("{name}.key"))
    }

    pub(crate) fn config(&self) -> CliResult<Config> {
        read_toml(&self.config_path())
    }

    pub(crate) fn save_config(&self, config: &Config) -> CliResult {
        write_toml(&self.config_path(), config)
    }

    pub(crate) fn accounts(&self) -> CliResult<Accounts> {
        read_toml(&self.accounts_path())
    }

    /// Keeps a new account. The first one becomes the default; `make_default` makes this one so.
    pub(crate) fn add(&self, name: &str, account: &Account, make_default: bool) -> CliResult<bool> {
        check_name(name)?;
        let mut accounts = self.accounts()?;
        if accounts.find(name).is_some() {
            return Err(CliError::usage(format!("there is an account '{name}' already"))
                .hint("choose another name; `aleph account list` shows those in use"));
        }
        // A key file without an entry is a key that somebody may need: never overwritten.
        write_private(&self.key_path(name), &format!("{}\n", account.secret_hex()), Overwrite::No)?;
        accounts.accounts.push(Entry {
            name: name.to_owned(),
            chain: account.chain(),
            address: account.address().clone(),
            kind: Kind::Plain,
        });
        let is_default = make_default || accounts.default.is_none();
        if is_default {
            accounts.default = Some(name.to_owned());
        }
        write_toml(&self.accounts_path(), &accounts)?;
        Ok(is_default)
    }

    /// Makes an account the default.
    pub(crate) fn set_default(&self, name: &str) -> CliResult<Entry> {
        let mut accounts = self.accounts()?;
        let entry = accounts.find(name).cloned().ok_or_else(|| no_account(name, &accounts))?;
        accounts.default = Some(name.to_owned());
        write_toml(&self.accounts_path(), &accounts)?;
        Ok(entry)
    }

    /// Opens an account's key.
    pub(crate) fn unlock(&self, entry: &Entry) -> CliResult<Account> {
        if entry.kind == Kind::Keystore {
            return Err(CliError::failure(format!("the key of '{}' is in a keystore", entry.name))
                .hint("this version reads plain keys only; import the key under another name"));
        }
        let path = self.key_path(&entry.name);
        let text = fs::read_to_string(&path).map_err(|error| CliError::file("read", &path, &error))?;
        let account = Account::from_hex(entry.chain, &text)?;
        if !account.address().is_same_as(&entry.address) {
            return Err(CliError::failure(format!(
                "{} holds the key of {}, not of {}",
                path.display(),
                account.address(),
                entry.address
            ))
            .hint("put the right key back, or import it under another name"));
        }
        Ok(account)
    }
}

/// Nobody is called so.
pub(crate) fn no_account(name: &str, accounts: &Accounts) -> CliError {
    let error = CliError::not_found(format!("there is no account '{name}'"));
    if accounts.accounts.is_empty() {
        return error.hint(format!("make one: `aleph account create {name}`"));
    }
    let names: Vec<&str> = accounts.accounts.iter().map(|entry| entry.name.as_str()).collect();
    error.hint(format!("accounts are: {}", names.join(", ")))
}

/// Names become file names.
fn check_name(name: &str) -> CliResult {
    let fine = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if fine {
        return Ok(());
    }
    Err(CliError::usage(format!("'{name}' can't be the name of an account"))
        .hint("use up to 64 letters, digits, '-', '_' and '.'"))
}

fn read_toml<T: Default + for<'de> Deserialize<'de>>(path: &Path) -> CliResult<T> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            CliError::failure(format!("{} can't be understood", path.display()))
                .cause(error.to_string().trim().to_owned())
                .hint("correct the file, or move it away and start anew")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(CliError::file("read", path, &error)),
    }
}

fn write_toml(path: &Path, value: &impl Serialize) -> CliResult {
    let text = toml::to_string(value)
        .map_err(|error| CliError::failure("can't write TOML").cause(error.to_string()))?;
    write_private(path, &text, Overwrite::Yes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overwrite {
    Yes,
    No,
}

/// Writes a file that only its user can read: whole or not at all.
fn write_private(path: &Path, text: &str, overwrite: Overwrite) -> CliResult {
    let failed = |error: &io::Error| CliError::file("write", path, error);
    let folder = path.parent().unwrap_or(Path::new("."));
    make_private_folder(folder).map_err(|error| CliError::file("create", folder, &error))?;
    // Temporary files of this crate are readable by their owner only.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    file.as_file().sync_all().map_err(|error| failed(&error))?;
    match overwrite {
        Overwrite::Yes => file.persist(path).map(|_| ()),
        Overwrite::No => file.persist_noclobber(path).map(|_| ()),
    }
    .map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => {
            CliError::usage(format!("{} exists already and is not overwritten", path.display()))
                .hint("it may hold a key; choose another name or move it away")
        }
        _ => failed(&error.error),
    })
}

#[cfg(unix)]
fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_kept_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("home"));
        let account = Account::generate().unwrap();
        assert!(home.add("main", &account, false).unwrap());
        assert!(!home.add("other", &Account::generate().unwrap(), false).unwrap());
        assert!(home.add("main", &account, false).is_err());

        let entry = home.accounts().unwrap().find("main").unwrap().clone();
        assert_eq!(home.unlock(&entry).unwrap().address(), account.address());
        home.set_default("other").unwrap();
        assert_eq!(home.accounts().unwrap().default.as_deref(), Some("other"));
        assert!(home.set_default("nobody").is_err());

        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&home.key_path("main")), 0o600);
            assert_eq!(mode(&home.accounts_path()), 0o600);
            assert_eq!(mode(&home.root), 0o700);
        }

        fs::write(home.key_path("lost"), "x").unwrap();
        assert!(home.add("lost", &account, false).is_err());
        fs::write(home.key_path("main"), Account::generate().unwrap().secret_hex()).unwrap();
        assert!(home.unlock(&entry).unwrap_err().to_string().contains("not of"));
    }

    #[test]
    fn names_can_not_leave_the_folder() {
        for bad in ["", "../x", "a/b", ".hidden", "-x", "ä"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        check_name("my-key_2.old").unwrap();
    }

    #[test]
    fn unknown_settings_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path());
        assert_eq!(home.config().unwrap(), Config::default());
        fs::write(home.config_path(), "nod = 'x'").unwrap();
        assert!(home.config().is_err());
        assert!(Config::default().slot("nod").is_err());
    }
}

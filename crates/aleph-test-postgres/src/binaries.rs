//! The programs of PostgreSQL on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ServerError;
use crate::account::Account;

/// Names a folder with `initdb`, `postgres` and `psql`.
const FOLDER: &str = "ALEPH_POSTGRES_BIN";
/// Where Debian and Ubuntu have them; 15 is what alephd is promised to work with.
const DEBIAN: [u32; 4] = [15, 16, 17, 18];
const NEEDED: [&str; 3] = ["initdb", "postgres", "psql"];

/// A folder with the programs.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    pub(crate) fn find() -> Result<Self, ServerError> {
        let candidates = match std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()) {
            // who names a folder wants that one, and no other in its place
            Some(folder) => vec![PathBuf::from(folder)],
            None => default_folders(),
        };
        if let Some(folder) = candidates.iter().find(|folder| is_complete(folder)) {
            return Ok(Self { folder: folder.clone() });
        }
        let looked: Vec<String> = candidates.iter().map(|folder| folder.display().to_string()).collect();
        Err(ServerError::NotInstalled { looked: looked.join(", ") })
    }

    /// A command that runs `program` as `account`, untouched by the caller's own settings.
    pub(crate) fn command(&self, program: &str, account: &Account) -> Command {
        let mut command = Command::new(self.folder.join(program));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PG") || name.starts_with("LC_") || name == "LANG" {
                command.env_remove(&*name);
            }
        }
        command.env("LC_ALL", "C").stdin(Stdio::null());
        account.apply(&mut command);
        command
    }

    /// Text that tells this build from others: clusters of one do not fit another.
    pub(crate) fn version(&self) -> Result<String, ServerError> {
        let output = Command::new(self.folder.join("postgres")).arg("--version").output();
        let output = output.map_err(|source| ServerError::Run { program: "postgres", source })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // "postgres (PostgreSQL) 15.18 (Debian …)"
        let number = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        number.map(str::to_owned).ok_or(ServerError::Refused { program: "postgres", said: text })
    }
}

/// Runs to the end; what it printed if it succeeded.
pub(crate) fn finish(program: &'static str, command: &mut Command) -> Result<String, ServerError> {
    let output = command.output().map_err(|source| ServerError::Run { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    Err(ServerError::Refused { program, said: said.join(" ").trim().to_owned() })
}

fn default_folders() -> Vec<PathBuf> {
    let debian = DEBIAN.map(|release| PathBuf::from(format!("/usr/lib/postgresql/{release}/bin")));
    // a link in PATH leads to the folder of its siblings
    let path = std::env::var_os("PATH").unwrap_or_default();
    let linked = std::env::split_paths(&path).filter_map(|folder| {
        let target = folder.join("postgres").canonicalize().ok()?;
        Some(target.parent()?.to_path_buf())
    });
    debian.into_iter().chain(linked).collect()
}

fn is_complete(folder: &Path) -> bool {
    NEEDED.iter().all(|program| folder.join(program).is_file())
}

//! Who runs the server: never root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::ServerError;

/// The ids to drop to; none where the test itself is run by an ordinary user.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    ids: Option<(u32, u32)>,
}

impl Account {
    pub(crate) fn choose() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self { ids: None };
        }
        let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let ids = ["postgres", "nobody"].iter().find_map(|name| ids_of(&known, name));
        // what `nobody` is everywhere
        Self { ids: Some(ids.unwrap_or((65_534, 65_534))) }
    }

    /// Whoever runs the test.
    pub(crate) fn caller() -> Self {
        Self { ids: None }
    }

    pub(crate) fn apply(&self, command: &mut Command) {
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
    }

    /// Gives a file or a folder (itself, not what is in it) to the account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), ServerError> {
        match self.ids {
            Some((user, group)) => std::os::unix::fs::lchown(path, Some(user), Some(group))
                .map_err(ServerError::files("could not hand over", path)),
            None => Ok(()),
        }
    }
}

/// `name:password:uid:gid:…`, a user a line.
fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let user = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    (user != 0).then_some((user, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody2:x:7:8:::\nnobody:x:65534:65533:::\n";
        assert_eq!(ids_of(passwd, "nobody"), Some((65_534, 65_533)));
        assert_eq!(ids_of(passwd, "postgres"), None);
        assert_eq!(ids_of(passwd, "root"), None, "never root");
    }
}

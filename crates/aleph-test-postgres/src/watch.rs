//! Ends the server of a test that was killed.

use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::ServerError;

/// `$1` is the server's folder. `read` comes back when the pipe's other end is gone, which is when
/// the test is: then an immediate shutdown (QUIT), and the folder goes. The check of the working
/// folder keeps it from a stranger who got the number of a server that ended long ago.
const SCRIPT: &str = r#"
read -r _
read -r pid < "$1/data/postmaster.pid" && [ "/proc/$pid/cwd" -ef "$1/data" ] && kill -QUIT "$pid"
n=0
while [ "$n" -lt 100 ] && [ "/proc/$pid/cwd" -ef "$1/data" ]; do n=$((n + 1)); sleep 0.1; done
rm -rf "$1"
"#;

/// A process that waits for the test's end.
#[derive(Debug)]
pub(crate) struct Watch {
    child: Child,
    /// Closed by the system when the test ends, however it ends.
    _alive: Option<ChildStdin>,
}

impl Watch {
    pub(crate) fn over(folder: &Path) -> Result<Self, ServerError> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // what kills the test's group, as Ctrl-C does, leaves it to clean up
            .process_group(0);
        let mut child = command.spawn().map_err(|source| ServerError::Run { program: "sh", source })?;
        let alive = child.stdin.take();
        Ok(Self { child, _alive: alive })
    }

    /// The test cleans up itself.
    pub(crate) fn dismiss(&mut self) {
        // it may have ended already: nothing is lost then
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}

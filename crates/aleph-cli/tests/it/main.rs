//! The command line as its users call it: the built binary, its output and its exit codes.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod network;
mod offline;
mod reference;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a run left behind.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("stdout is no JSON ({error}): {}\nstderr: {}", self.stdout, self.stderr)
        })
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// The binary in a home and a folder of its own: nothing of the machine's user is read or written.
fn aleph(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aleph"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ALEPH_") {
            command.env_remove(name);
        }
    }
    command.env("ALEPH_HOME", home).env("NO_COLOR", "1").current_dir(home).stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> Ran {
    aleph(home).args(arguments).output().expect("the binary runs").into()
}

//! Running other programs: what they print is shown as it comes, and kept where it must be read.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::places;

/// A program to run, in the clone's root, with no standard input.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    name: String,
}

/// `cargo …` with the target folder of [`places::target`].
pub(crate) fn cargo<I, S>(args: I) -> Program
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut program = Program::new(cargo).args(args);
    program.command.env("CARGO_TARGET_DIR", places::target());
    // the package that runs xtask must not leak into what it builds
    for (key, _) in std::env::vars_os() {
        let is_cargo_package = key.to_string_lossy().starts_with("CARGO_PKG_");
        if is_cargo_package || key == "CARGO_MANIFEST_DIR" || key == "CARGO_MANIFEST_PATH" {
            program.command.env_remove(key);
        }
    }
    program
}

impl Program {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.current_dir(places::root()).stdin(Stdio::null());
        Self { command, name: program.as_ref().to_string_lossy().into_owned() }
    }

    pub(crate) fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Lets the program read the terminal (a password for sudo).
    pub(crate) fn with_input(mut self) -> Self {
        self.command.stdin(Stdio::inherit());
        self
    }

    /// Runs it; its output goes to ours.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.line();
        let status = self.command.status().with_context(|| format!("could not start `{}`", self.name))?;
        if !status.success() {
            bail!("`{line}` ended with {status}");
        }
        Ok(())
    }

    /// Runs it silently and gives its standard output.
    pub(crate) fn read(mut self) -> Result<String> {
        let line = self.line();
        self.command.stderr(Stdio::piped());
        let output = self.command.output().with_context(|| format!("could not start `{}`", self.name))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{line}` ended with {}: {}", output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it, shows both its outputs as they come, and gives them back with its success.
    pub(crate) fn watch(mut self) -> Result<Watched> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().with_context(|| format!("could not start `{}`", self.name))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let errors = std::thread::spawn(move || copy_lines(stderr, |line| eprintln!("{line}")));
        let mut text = copy_lines(stdout, |line| println!("{line}"));
        text.push_str(&errors.join().unwrap_or_default());
        let status = child.wait()?;
        Ok(Watched { success: status.success(), text })
    }

    fn line(&self) -> String {
        let mut line = Path::new(&self.name)
            .file_name()
            .map_or_else(|| self.name.clone(), |name| name.to_string_lossy().into_owned());
        for arg in self.command.get_args() {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }
}

/// What a watched program left.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) success: bool,
    /// Standard output, then standard error, without colours.
    pub(crate) text: String,
}

fn copy_lines(from: impl Read, show: impl Fn(&str)) -> String {
    let mut kept = String::new();
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        show(text);
        kept.push_str(&without_colours(text));
        kept.push('\n');
        line.clear();
    }
    kept
}

/// Drops terminal escapes (`ESC [ … letter`).
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\x1b' {
            plain.push(c);
            continue;
        }
        for escaped in chars.by_ref() {
            if escaped.is_ascii_alphabetic() {
                break;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_dropped() {
        assert_eq!(without_colours("\x1b[1;32mSummary\x1b[0m [1 s]"), "Summary [1 s]");
    }

    #[test]
    fn a_failing_program_is_named() {
        let error = Program::new("sh").args(["-c", "exit 3"]).run().expect_err("it fails");
        assert!(error.to_string().contains("sh -c exit 3"), "{error}");
    }
}

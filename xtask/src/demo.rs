//! `cargo xtask demo`: from a fresh machine to a program that answers, in one command.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process::{Program, cargo};
use crate::screen::{Mark, Screen, human};
use crate::{places, setup};

/// What is built for the demo.
const PACKAGES: [&str; 3] = ["alephd", "aleph-cli", "aleph-demo"];

/// `--exit`: a throw-away network that ends with the demo, on any free ports.
pub(crate) fn run(screen: &Screen, args: &[String]) -> Result<ExitCode> {
    let exit = match args {
        [] => false,
        [option] if option == "--exit" => true,
        _ => bail!("`cargo xtask demo` has one option, --exit"),
    };
    setup::run(screen, setup::Purpose::Demo)?;

    screen.heading("build");
    screen.note("the first time this takes some minutes");
    let started = Instant::now();
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    cargo(["build", "--release", "--locked"].into_iter().chain(packages)).run()?;
    let binaries = places::target().join("release");
    screen.line(Mark::Good, "binaries", &format!("{} in {}", human(started.elapsed()), binaries.display()));

    screen.heading("images of the micro-VMs");
    let started = Instant::now();
    Program::new(places::root().join("runtimes/build")).env("CARGO_TARGET_DIR", places::target()).run()?;
    screen.line(Mark::Good, "kernel and runtimes", &human(started.elapsed()));

    screen.heading("a private network: 3 core nodes, 2 compute nodes");
    let mut devnet = Command::new(binaries.join("alephd"));
    devnet.current_dir(places::root()).args(["--log", "error", "devnet"]);
    if exit {
        devnet.args(["--ephemeral", "--base-port", "0"]);
    } else {
        devnet.arg("--stay");
    }
    devnet.arg("--").arg(binaries.join("aleph-demo"));
    if exit {
        devnet.arg("--exit");
    }
    // the network takes this process's place: Ctrl-C reaches it, and its code is ours
    Err(devnet.exec()).context("could not start the network")
}

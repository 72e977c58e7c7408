//! `aleph`, the command line of Aleph Cloud.
//!
//! One file a command under `commands/`: its arguments and its function. Everything that speaks to the
//! network is in `aleph-sdk`; here is what people see. Results go to stdout as text, or as JSON with
//! `--json`; notes and progress go to stderr. [`error`] says how failures read and which exit code they have.

mod arguments;
mod cli;
mod commands;
mod context;
mod devnet;
mod error;
mod home;
mod output;
mod progress;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Output;

fn main() -> ExitCode {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    show_logs();
    let as_json = cli.global.json;
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            error.print(as_json, &mut io::stderr().lock(), Output::colour_on_stderr());
            if error.broken_pipe { ExitCode::SUCCESS } else { ExitCode::from(error.exit as u8) }
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::failure("can't start").cause(error.to_string()))?;
    let context = Context::new(cli.global)?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = commands::run(cli.command, &context) => outcome,
            // 128 + SIGINT, as shells expect.
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(130)),
        }
    });
    // A blocking read of a terminal or a pipe must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// `ALEPH_LOG=debug` shows what the library does.
fn show_logs() {
    let filter = EnvFilter::try_from_env("ALEPH_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}

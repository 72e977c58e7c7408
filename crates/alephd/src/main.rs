//! `alephd`: Aleph Cloud in one binary.
//!
//! Each subcommand is a file; what a node does is in `aleph-ccn` and `aleph-crn`. This crate reads
//! the configuration, starts logging, installs the TLS provider, and ends the process in order.

mod ccn;
mod config;
mod crn;
mod devnet;
mod init;
mod inspect;
mod keys;
mod log;
mod settings;
mod shutdown;
mod store;
mod supervise;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Aleph Cloud in one binary: core node, compute node, private network
#[derive(Debug, Parser)]
#[command(name = "alephd", version, arg_required_else_help = true, propagate_version = true)]
struct Cli {
    /// What to log: a level, or `target=level,…`
    #[arg(long, global = true, env = "ALEPHD_LOG", value_name = "LEVELS", default_value = "info")]
    log: String,
    /// How to log
    #[arg(long, global = true, env = "ALEPHD_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = log::Format::Text)]
    log_format: log::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ccn(ccn::CcnArgs),
    Crn(crn::CrnArgs),
    Devnet(devnet::DevnetArgs),
    Init(init::InitArgs),
    Join(init::JoinArgs),
    Inspect(inspect::InspectArgs),
    /// Make and show keys of accounts
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Databases of nodes
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Check configurations
    #[command(subcommand)]
    Config(config::ConfigCommand),
    #[command(hide = true)]
    SuperviseVm(supervise::SuperviseArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("alephd: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    // a supervisor begins with nothing of ours: no threads, no log, no TLS
    if !matches!(cli.command, Command::SuperviseVm(_)) {
        aleph_ccn::few_arenas();
        log::start(&cli.log, cli.log_format)?;
        rustls::crypto::ring::default_provider()
            .install_default()
            .map_err(|_| anyhow::anyhow!("a TLS provider was installed twice"))?;
    }
    match cli.command {
        Command::Keys(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Inspect(args) => block_on(inspect::run(args)).map(|()| ExitCode::SUCCESS),
        Command::Config(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::Store(command) => command.run().map(|()| ExitCode::SUCCESS),
        Command::SuperviseVm(args) => supervise::run(args).map(|()| ExitCode::SUCCESS),
        Command::Init(args) => run_node(init::init(args)?),
        Command::Join(args) => run_node(init::join(args)?),
        Command::Ccn(args) => block_on(async {
            let stop = shutdown::on_signals()?;
            ccn::run(args, stop).await.map(|()| ExitCode::SUCCESS)
        }),
        Command::Crn(args) => block_on(async {
            let stop = shutdown::on_signals()?;
            crn::run(args, stop).await.map(|()| ExitCode::SUCCESS)
        }),
        Command::Devnet(args) => block_on(async {
            let stop = shutdown::on_signals()?;
            devnet::run(args, stop).await
        }),
    }
}

/// Runs the node that was set up, if that was asked for.
fn run_node(config: Option<std::path::PathBuf>) -> Result<ExitCode> {
    let Some(config) = config else { return Ok(ExitCode::SUCCESS) };
    block_on(async {
        let stop = shutdown::on_signals()?;
        ccn::run(ccn::CcnArgs::of_file(config), stop).await.map(|()| ExitCode::SUCCESS)
    })
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the async runtime")?;
    runtime.block_on(work)
}

/// An error and its causes on one line; a cause that the text before it tells already is left out.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

//! The commands, one file each.

pub(crate) mod account;
pub(crate) mod aggregate;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod file;
pub(crate) mod message;
pub(crate) mod node;
pub(crate) mod post;
pub(crate) mod pricing;
pub(crate) mod program;
mod publication;
pub(crate) mod reference;

use std::process::ExitCode;

use crate::cli::Command;
use crate::context::Context;
use crate::error::CliResult;

/// Runs a command. Most end with success or an error; a call of a program has a code of its own.
pub(crate) async fn run(command: Command, context: &Context) -> CliResult<ExitCode> {
    match command {
        Command::Account(command) => account::run(command, context).await?,
        Command::File(command) => file::run(command, context).await?,
        Command::Post(command) => post::run(command, context).await?,
        Command::Aggregate(command) => aggregate::run(command, context).await?,
        Command::Program(command) => return program::run(command, context).await,
        Command::Pricing(command) => pricing::run(command, context).await?,
        Command::Message(command) => message::run(command, context).await?,
        Command::Node(command) => node::run(command, context).await?,
        Command::Config(command) => config::run(command, context)?,
        Command::Completions(arguments) => completions::run(&arguments, context)?,
        Command::Reference(arguments) => reference::run(&arguments, context)?,
    }
    Ok(ExitCode::SUCCESS)
}

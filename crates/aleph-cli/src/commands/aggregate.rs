mod get;
mod list;
mod set;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliResult;

/// Commands about aggregates.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Set(set::Arguments),
    Get(get::Arguments),
    List(list::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> CliResult {
    match command {
        Command::Set(arguments) => set::run(&arguments, context).await,
        Command::Get(arguments) => get::run(&arguments, context).await,
        Command::List(arguments) => list::run(&arguments, context).await,
    }
}

mod download;
mod list;
mod upload;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliResult;

/// Commands about files.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Upload(upload::Arguments),
    Download(download::Arguments),
    List(list::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> CliResult {
    match command {
        Command::Upload(arguments) => upload::run(&arguments, context).await,
        Command::Download(arguments) => download::run(&arguments, context).await,
        Command::List(arguments) => list::run(&arguments, context).await,
    }
}

mod status;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliResult;

/// Commands about nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Status(status::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> CliResult {
    match command {
        Command::Status(arguments) => status::run(&arguments, context).await,
    }
}

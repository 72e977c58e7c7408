mod explain;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliResult;

/// Commands about prices.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Explain(explain::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> CliResult {
    match command {
        Command::Explain(arguments) => explain::run(&arguments, context).await,
    }
}

mod amend;
mod create;
mod list;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliResult;

/// Commands about posts.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::Arguments),
    List(Box<list::Arguments>),
    Amend(amend::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> CliResult {
    match command {
        Command::Create(arguments) => create::run(&arguments, context).await,
        Command::List(arguments) => list::run(&arguments, context).await,
        Command::Amend(arguments) => amend::run(&arguments, context).await,
    }
}

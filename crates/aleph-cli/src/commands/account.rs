mod create;
mod import;
mod list;
mod select;
mod show;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliResult;

/// Commands about accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::Arguments),
    Import(import::Arguments),
    List(list::Arguments),
    Show(show::Arguments),
    Use(select::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> CliResult {
    match command {
        Command::Create(arguments) => create::run(&arguments, context),
        Command::Import(arguments) => import::run(&arguments, context),
        Command::List(_) => list::run(context),
        Command::Show(arguments) => show::run(&arguments, context).await,
        Command::Use(arguments) => select::run(&arguments, context),
    }
}

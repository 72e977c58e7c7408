mod set;
mod show;
mod unset;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliResult;

/// Commands about settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Show(show::Arguments),
    Set(set::Arguments),
    Unset(unset::Arguments),
}

pub(crate) fn run(command: Command, context: &Context) -> CliResult {
    match command {
        Command::Show(_) => show::run(context),
        Command::Set(arguments) => set::run(&arguments, context),
        Command::Unset(arguments) => unset::run(&arguments, context),
    }
}

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::context::Context;
use crate::error::CliResult;

/// Print a script that completes commands in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph completions bash > ~/.local/share/bash-completion/completions/aleph
  aleph completions zsh > ~/.zfunc/_aleph
  aleph completions fish > ~/.config/fish/completions/aleph.fish")]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> CliResult {
    // Written to memory first: the generator panics when a pipe closes.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "aleph", &mut script);
    context.out.bytes(&script)
}

//! The shape of the command line.

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    account, aggregate, completions, config, file, message, node, post, pricing, program, reference,
};

/// Exit codes, shown below the help.
const AFTER: &str = "\
First steps:
  aleph account create me
  aleph post create --type note '{\"body\": \"hello\"}'
  aleph program deploy ./my-app

Exit codes:
  0  done
  1  the network refused it, or something broke
  2  the command was used wrongly
  3  a node could not be reached or did not answer in time
  4  what was asked for does not exist";

/// The command line of Aleph Cloud: messages, files and programs on a peer-to-peer cloud
#[derive(Debug, Parser)]
#[command(name = "aleph", version, propagate_version = true, after_help = AFTER)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Core node to talk to [default: the setting `node`, else a devnet that runs here]
    #[arg(long, global = true, value_name = "URL", env = "ALEPH_NODE", hide_env_values = true)]
    pub(crate) node: Option<String>,
    /// Account that signs, or whose data is shown [default: see `aleph account use`]
    #[arg(long, global = true, value_name = "NAME", env = "ALEPH_ACCOUNT", hide_env_values = true)]
    pub(crate) account: Option<String>,
    /// Secret key that signs, in hexadecimal, instead of an account
    #[arg(
        long,
        global = true,
        value_name = "HEX",
        env = "ALEPH_PRIVATE_KEY",
        hide_env_values = true,
        hide = true
    )]
    pub(crate) private_key: Option<String>,
    /// Write JSON to stdout, and errors as JSON to stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Don't ask for confirmation
    #[arg(long, short, global = true)]
    pub(crate) yes: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keys and the accounts they sign for
    #[command(subcommand)]
    Account(account::Command),
    /// Files kept by the network
    #[command(subcommand)]
    File(file::Command),
    /// Documents, one a message
    #[command(subcommand)]
    Post(post::Command),
    /// Documents by key, merged from messages
    #[command(subcommand)]
    Aggregate(aggregate::Command),
    /// Programs that run on demand in micro-VMs
    #[command(subcommand)]
    Program(program::Command),
    /// What files and machines cost
    #[command(subcommand)]
    Pricing(pricing::Command),
    /// Messages of any type
    #[command(subcommand)]
    Message(message::Command),
    /// Core nodes
    #[command(subcommand)]
    Node(node::Command),
    /// Settings of this command line
    #[command(subcommand)]
    Config(config::Command),
    /// Print a script that completes commands in a shell
    Completions(completions::Arguments),
    /// Print this reference as Markdown
    #[command(hide = true)]
    Reference(reference::Arguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
                let path = format!("{path} {}", sub.get_name());
                if sub.has_subcommands() {
                    check(sub, &path);
                    continue;
                }
                let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(after.starts_with("Examples:"), "`{path}` has no examples");
                assert!(after.contains(&path), "the examples of `{path}` do not call it");
            }
        }
        check(&Cli::command(), "aleph");
    }
}

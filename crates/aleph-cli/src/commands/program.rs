mod call;
mod delete;
mod deploy;
mod list;
mod logs;
mod show;
mod stages;

use std::process::ExitCode;

use aleph_sdk::{Client, ComputeNode};
use aleph_types::{ItemHash, MessageStatus};
use clap::Subcommand;

use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Commands about programs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Deploy(Box<deploy::Arguments>),
    List(list::Arguments),
    Show(show::Arguments),
    Call(call::Arguments),
    Logs(logs::Arguments),
    Delete(delete::Arguments),
}

pub(crate) async fn run(command: Command, context: &Context) -> CliResult<ExitCode> {
    match command {
        Command::Deploy(arguments) => deploy::run(&arguments, context).await?,
        Command::List(arguments) => list::run(&arguments, context).await?,
        Command::Show(arguments) => show::run(&arguments, context).await?,
        Command::Call(arguments) => return call::run(&arguments, context).await,
        Command::Logs(arguments) => logs::run(&arguments, context).await?,
        Command::Delete(arguments) => delete::run(&arguments, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The compute node that runs a program: the one given, else the one that the network chose.
async fn compute_node(client: &Client, program: &ItemHash, given: Option<&str>) -> CliResult<ComputeNode> {
    if let Some(url) = given {
        return Ok(ComputeNode::new(url)?);
    }
    let Some(placement) = client.placement(program).await? else {
        // Unknown, gone, or on a node that serves no placements.
        let state = client.message(program).await?;
        if !matches!(state.status, MessageStatus::Processed | MessageStatus::Removing) {
            return Err(CliError::not_found(format!("program {program} is {}", state.status))
                .hint(format!("`aleph message get {program}` tells more")));
        }
        return Err(CliError::not_found(format!("{} does not tell where programs run", client.base_url()))
            .hint("name the compute node with --on URL"));
    };
    match &placement.allocation {
        Some(allocation) => Ok(ComputeNode::new(&allocation.url)?),
        None => {
            let error = CliError::not_found(format!("no compute node runs program {program}"));
            let error = match placement.obstacle() {
                Some(obstacle) => error.cause(obstacle),
                None => error,
            };
            Err(error.hint(format!("`aleph program show {program}` tells where it stands")))
        }
    }
}

//! `alephd supervise-vm`: the process that owns one micro-VM. The compute node starts it; it
//! outlives the compute node. Nobody calls it by hand.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

/// Own one micro-VM
#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    /// What to run
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
}

/// Returns when the machine has ended. It makes its own runtime and keeps its own log.
///
/// # Errors
/// When the machine can't be run.
pub(crate) fn run(args: SuperviseArgs) -> Result<()> {
    aleph_vm::supervisor::run(&args.spec)?;
    Ok(())
}

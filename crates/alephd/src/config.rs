//! `alephd config`: whether a configuration can be used, and what it amounts to.

use anyhow::Result;
use clap::Subcommand;

use crate::ccn::CcnArgs;
use crate::crn::CrnArgs;

/// Configurations of nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration and show every value that a node would use: file < environment < flags
    #[command(subcommand)]
    Check(Component),
}

/// Whose configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Component {
    /// Of a core node
    Ccn(CcnArgs),
    /// Of a compute node
    Crn(CrnArgs),
}

impl ConfigCommand {
    /// # Errors
    /// When the configuration can't be used; the error names the key.
    pub(crate) fn run(self) -> Result<()> {
        let Self::Check(component) = self;
        let values = match component {
            Component::Ccn(args) => args.check()?,
            Component::Crn(args) => args.check()?,
        };
        print!("{values}");
        Ok(())
    }
}

//! `alephd crn`: a compute node.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::settings::Sources;
use crate::shutdown;

/// Run a compute node
#[derive(Debug, Args)]
pub(crate) struct CrnArgs {
    /// The configuration, TOML; every key can be set by ALEPHD_CRN__<KEY>
    #[arg(long, short, value_name = "FILE", env = "ALEPHD_CRN_CONFIG")]
    config: Option<PathBuf>,
    /// Where state is kept (state_dir)
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where HTTP is served (listen)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    stop_at_end_of_input: bool,
}

impl CrnArgs {
    fn config(&self) -> Result<aleph_crn::Config> {
        let state_dir = self.state_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        let config: aleph_crn::Config = Sources::new("CRN", self.config.as_deref())
            .flag("state_dir", state_dir)
            .flag("listen", self.listen.map(|address| address.to_string()))
            .load()?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as all its sources make it, as TOML.
    ///
    /// # Errors
    /// When it can't be used.
    pub(crate) fn check(&self) -> Result<String> {
        toml::to_string_pretty(&self.config()?).context("the configuration can't be shown")
    }
}

/// Runs the node until `stop` is cancelled.
///
/// # Errors
/// When the configuration can't be used, or the node can't start or go on.
pub(crate) async fn run(args: CrnArgs, stop: CancellationToken) -> Result<()> {
    let config = args.config()?;
    if args.stop_at_end_of_input {
        shutdown::on_end_of_input(&stop);
    }
    aleph_crn::run(config, stop).await?;
    Ok(())
}

//! `alephd ccn`: a core channel node.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::settings::Sources;
use crate::{init, shutdown};

/// Run a core node
#[derive(Debug, Args)]
pub(crate) struct CcnArgs {
    /// The configuration, TOML [default: config.toml in the data folder, if there is one]; every key has a
    /// default and can be set by ALEPHD_CCN__<TABLE>__<KEY>
    #[arg(long, short, value_name = "FILE", env = "ALEPHD_CCN_CONFIG")]
    config: Option<PathBuf>,
    /// Where data is kept (storage.data_dir)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The database, unless it is in the data folder: postgres://user:password@host:port/name
    /// (storage.database); better by its variable, ALEPHD_CCN__STORAGE__DATABASE, which others can't see
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where the API is served (http.listen)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    stop_at_end_of_input: bool,
}

impl CcnArgs {
    /// A node of this configuration, without flags.
    pub(crate) fn of_file(config: PathBuf) -> Self {
        Self {
            config: Some(config),
            data_dir: None,
            database: None,
            listen: None,
            stop_at_end_of_input: false,
        }
    }

    /// The configuration that is named, or the one that `alephd init` left in the data folder.
    fn file(&self) -> Option<PathBuf> {
        let default = || aleph_ccn::Config::default().storage.data_dir;
        self.config.clone().or_else(|| init::config_in(&self.data_dir.clone().unwrap_or_else(default)))
    }

    fn config(&self) -> Result<aleph_ccn::Config> {
        let data_dir = self.data_dir.as_ref().map(|dir| dir.to_string_lossy().into_owned());
        let file = self.file();
        let config = Sources::new("CCN", file.as_deref())
            .flag("storage.data_dir", data_dir)
            .flag("storage.database", self.database.clone())
            .flag("http.listen", self.listen.map(|address| address.to_string()))
            .load()?;
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
pub(crate) async fn run(args: CcnArgs, stop: CancellationToken) -> Result<()> {
    let config = args.config()?;
    if args.stop_at_end_of_input {
        shutdown::on_end_of_input(&stop);
    }
    aleph_ccn::run(config, stop).await?;
    Ok(())
}

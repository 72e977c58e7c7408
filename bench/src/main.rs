//! Load scenarios behind the figures of `SPECIFICATION.md`.
//!
//! Every scenario prints the machine, its figures, and ratios to a floor measured in the same run: on a
//! noisy machine the ratios hold where single figures don't. Build with `--release`.

mod aggregates;
mod balances;
mod catch_up;
mod corpus;
mod files;
mod http;
mod ingest;
mod lists;
mod machine;
mod report;
mod serve;
mod subscribers;
mod weather;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Load scenarios of alephd
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Bulk messages through the whole pipeline to durable commits
    Ingest(ingest::Options),
    /// One aggregate key with many elements: what one more costs, and one less
    Aggregates {
        /// Elements that the key has
        #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
        elements: Vec<usize>,
        /// Print one JSON document instead
        #[arg(long)]
        json: bool,
    },
    /// Many accounts with balances: the hourly job over them, and what is taken in meanwhile
    Balances(balances::Options),
    /// An empty node that gets everything from another, and is killed on the way
    CatchUp(catch_up::Options),
    /// `POST /api/v0/messages` from many clients beside the node
    Http {
        /// How many signed messages of about 1 KB
        #[arg(long, default_value_t = 40_000)]
        messages: usize,
        /// Connections, each with one request under way
        #[arg(long, default_value_t = 16)]
        clients: usize,
        /// Ask for the final fate (`sync: true`)
        #[arg(long)]
        sync: bool,
    },
    /// Every list of the API, with its filters, orders and both kinds of pages
    Lists(lists::Options),
    /// Start time and memory of an idle core node
    Idle {
        /// Gossip on, as on a server
        #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
        p2p: bool,
    },
    /// WebSockets with filters, each of which gets every message that it asked for once
    Subscribers {
        /// How many
        #[arg(long, default_value_t = 1000)]
        subscribers: usize,
        /// Messages that are published
        #[arg(long, default_value_t = 10_000)]
        messages: usize,
        /// Subscribers beside them that read nothing
        #[arg(long, default_value_t = 5)]
        silent: usize,
    },
    /// A large file up and down, by SHA-256 and by CID, and what memory the node takes for it
    Files {
        /// MiB of the file
        #[arg(long, default_value_t = 1024)]
        mib: u64,
    },
    /// Five core nodes in network namespaces with delay and loss: propagation, a cut, kills (needs root)
    Weather(weather::Options),
    /// A core node in the foreground, for the other scenarios
    #[command(hide = true)]
    Serve {
        /// Its data folder
        #[arg(long)]
        data_dir: PathBuf,
        /// Gossip on
        #[arg(long)]
        p2p: bool,
        /// A peer to dial
        #[arg(long)]
        peer: Option<String>,
        /// The base URL of another node
        #[arg(long)]
        http_peer: Option<String>,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    aleph_ccn::few_arenas();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed twice"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // A node ends in its own way.
        let is_node = matches!(cli.scenario, Scenario::Serve { .. });
        tokio::select! {
            result = run(cli.scenario) => result,
            // The processes and folders of what ran end with it.
            signal = stop_signal(), if !is_node => bail!("ended by {}", signal?),
        }
    })
}

async fn run(scenario: Scenario) -> Result<()> {
    match scenario {
        Scenario::Ingest(options) => ingest::run(options).await,
        Scenario::Aggregates { elements, json } => aggregates::run(elements, json).await,
        Scenario::Balances(options) => balances::run(options).await,
        Scenario::CatchUp(options) => catch_up::run(options).await,
        Scenario::Http { messages, clients, sync } => http::run(messages, clients, sync).await,
        Scenario::Lists(options) => lists::run(options).await,
        Scenario::Idle { p2p } => serve::idle(p2p).await,
        Scenario::Subscribers { subscribers, messages, silent } => {
            subscribers::run(subscribers, messages, silent).await
        }
        Scenario::Files { mib } => files::run(mib).await,
        Scenario::Weather(options) => weather::run(options).await,
        Scenario::Serve { data_dir, p2p, peer, http_peer } => {
            let mut config = serve::config(data_dir, p2p);
            config.p2p.peers.extend(peer);
            config.network.http_peers.extend(http_peer);
            serve::serve(config).await
        }
    }
}

/// Waits for Ctrl-C or the signal to end.
async fn stop_signal() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "SIGINT").map_err(Into::into),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}

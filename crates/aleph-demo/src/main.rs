//! What `cargo xtask demo` shows: a message and a program on their whole way through a private
//! network that runs already (`alephd devnet`), each station with its time.
//!
//! Nothing here is staged: the message is signed by the devnet's key as any client would, the
//! guestbook is deployed by the client library, and the compute node's agent is killed with -9.

mod machine;
mod narrator;
mod network;
mod restart;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use narrator::Narrator;
use network::Network;

/// Tell the way of a message and a program through a running private network
#[derive(Debug, Parser)]
#[command(name = "aleph-demo", version)]
struct Args {
    /// The description that `alephd devnet` keeps in its state folder
    #[arg(long, value_name = "FILE", env = "ALEPH_DEVNET", default_value = ".alephd/devnet/devnet.json")]
    devnet: PathBuf,
    /// The program to deploy
    #[arg(long, value_name = "DIR", default_value = "examples/guestbook")]
    guestbook: PathBuf,
    /// Print no list of URLs at the end: the network ends with the demo
    #[arg(long)]
    exit: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args = Args::parse();
    let narrator = Narrator::detect();
    match tell(&args, &narrator).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            narrator.failed(&error);
            ExitCode::FAILURE
        }
    }
}

async fn tell(args: &Args, narrator: &Narrator) -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed twice"))?;
    let network = Network::read(&args.devnet)?;
    way::of_a_message(narrator, &network).await.context("the message did not get through")?;
    let Some(runtime) = network.runtime("python3") else {
        let why = network.no_runtimes.as_deref().unwrap_or("the network publishes no runtime python3");
        anyhow::bail!("no program can run here: {why}");
    };
    let program = way::of_a_program(narrator, &network, &args.guestbook, runtime)
        .await
        .context("the guestbook did not get through")?;
    way::of_a_visitor(narrator, &network, &program)
        .await
        .context("the visitor's entry did not get through")?;
    restart::under_a_running_machine(narrator, &network, &args.devnet, &program)
        .await
        .context("the restart did not go well")?;
    way::of_a_second_start(narrator, &network, &program).await.context("the second start did not go well")?;
    if !args.exit {
        narrator.heading("look around");
        narrator.fact("the guestbook", &program.url);
        for node in &network.core_nodes {
            narrator.fact(&format!("core node {}", node.name), &node.url);
        }
        for node in &network.compute_nodes {
            narrator.fact(&format!("compute node {}", node.name), &node.url);
        }
        narrator.fact(
            "the program's message",
            &format!("{}/api/v0/messages/{}", network.core_nodes[0].url, program.hash),
        );
    }
    Ok(())
}

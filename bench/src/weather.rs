//! Five core nodes in network namespaces, with delay and loss between them: how fast messages reach all,
//! and how the network gets over a cut and over kills.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use aleph_test_weather::{Conditions, Load, Options as TownOptions, Town, possible};
use anyhow::{Context, Result, bail};
use clap::Args;

use crate::machine;

/// Core nodes in bad weather
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The program of the nodes [default: `alephd` beside this one]
    #[arg(long, value_name = "FILE")]
    alephd: Option<PathBuf>,
    /// Messages a second that clients publish, spread over the nodes
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Minutes of kills with -9; the cut lasts a fifth of it
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seconds without trouble
    #[arg(long, default_value_t = 60)]
    calm: u64,
    /// Milliseconds that a packet is under way between two nodes, at least
    #[arg(long, default_value_t = 20)]
    delay_from: u64,
    /// … and at most; each pair of nodes has its own
    #[arg(long, default_value_t = 100)]
    delay_to: u64,
    /// Percent of packets that are lost
    #[arg(long, default_value_t = 1.0)]
    loss: f64,
    /// What delays, losses and kills follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the nodes write to their logs
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log: String,
    /// Where the nodes' folders are made and kept, with their logs
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',', default_value = "calm,cut,kills")]
    only: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Calm,
    Cut,
    Kills,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    if let Err(missing) = possible() {
        bail!("weather can't be made on this machine: {missing}");
    }
    let alephd = match options.alephd {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("alephd"),
    };
    let alephd = alephd.canonicalize().with_context(|| {
        format!(
            "{} is not there: build it (`cargo build --release -p alephd`), or name it with --alephd",
            alephd.display()
        )
    })?;
    let conditions = Conditions {
        delay: (Duration::from_millis(options.delay_from), Duration::from_millis(options.delay_to)),
        loss: options.loss / 100.0,
        seed: options.seed,
    };
    println!("machine      {}", machine::describe());
    println!(
        "weather      5 nodes, {} to {} ms one way, {} % loss, {} messages/s, seed {}",
        options.delay_from, options.delay_to, options.loss, options.rate, options.seed
    );
    let begun = Instant::now();
    let mut town = Town::start(
        &alephd,
        TownOptions { nodes: 5, conditions, log_level: options.log, folder: options.keep },
    )
    .await?;
    println!("met          all nodes have all others after {:.1} s", begun.elapsed().as_secs_f64());
    let load = |seconds: f64| Load { per_second: options.rate, seconds: seconds.max(1.0) as u64 };
    let cpu = |town: &Town| town.processes().into_iter().map(machine::cpu_seconds).sum::<f64>();
    if options.only.contains(&Part::Calm) {
        let (before, begun) = (cpu(&town), Instant::now());
        let calm = town.calm(load(options.calm as f64)).await?;
        println!("calm         {calm}");
        println!(
            "cpu          {:.2} ms of processor a message, all five nodes; {:.0} % of one core",
            (cpu(&town) - before) * 1e3 / calm.messages.max(1) as f64,
            (cpu(&town) - before) * 100.0 / begun.elapsed().as_secs_f64()
        );
    }
    if options.only.contains(&Part::Cut) {
        let seconds = options.minutes * 12.0;
        let recovery = town.cut(&[0, 0, 1, 1, 1], load(seconds)).await?;
        println!("cut          2+3 for {seconds:.0} s under load: {recovery}");
    }
    if options.only.contains(&Part::Kills) {
        let recovery = town.kills(load(options.minutes * 60.0)).await?;
        println!("kills        for {:.1} min under load: {recovery}", options.minutes);
    }
    let (passed, lost, cut) = town.sky().packets();
    println!("packets      {passed} brought, {lost} lost, {cut} stopped by the cut");
    Ok(())
}

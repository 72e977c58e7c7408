//! Set-up, demo, tests and checks of this repository: `cargo xtask help`.
//!
//! Everything that a person or a CI machine does with the project goes through here, so that both
//! do the same. Nothing important lives in a shell script.

mod checks;
mod demo;
mod layers;
mod places;
mod process;
mod screen;
mod setup;
mod suite;

use std::process::ExitCode;

use anyhow::{Result, bail};
use screen::Screen;

const HELP: &str = "\
alephd: tasks of this repository

USAGE
    cargo xtask <task> [options]

TASKS
    help        this page
    demo        a private network, a message and a program on their whole way
    setup       check, and install where missing, what the other tasks need
    test        every check and every test, as CI runs them
    layers      check which crate may depend on which
    lint        formatting, clippy, layers, supply chain
    fmt         format the sources

OPTIONS
    demo --exit           end when the story is told, with a code
    test --only <step>    run one step (the summary lists the names)
    test --skip <step>    leave a step out; may be repeated

ENVIRONMENT
    ALEPHD_CACHE       where builds, tools and images are kept between runs
                       [default: ~/.cache/alephd]
    CARGO_TARGET_DIR   where cargo builds [default: $ALEPHD_CACHE/target]
    CI=true            never ask; use nextest's `ci` profile
    NO_COLOR           no colours
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let screen = Screen::detect();
    match run(&screen, &args) {
        Ok(code) => code,
        Err(error) => {
            screen.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(screen: &Screen, args: &[String]) -> Result<ExitCode> {
    let task = args.first().map(String::as_str).unwrap_or("help");
    let rest = args.get(1..).unwrap_or_default();
    match task {
        "help" | "--help" | "-h" => {
            screen.text(HELP);
            Ok(ExitCode::SUCCESS)
        }
        "setup" => {
            no_options(task, rest)?;
            setup::run(screen, setup::Purpose::Everything)?;
            Ok(ExitCode::SUCCESS)
        }
        "demo" => demo::run(screen, rest),
        "test" => suite::run(screen, suite::Selection::parse(rest)?),
        "lint" => {
            no_options(task, rest)?;
            suite::run(screen, suite::Selection::only(&["format", "clippy", "layers", "supply chain"]))
        }
        "layers" => {
            no_options(task, rest)?;
            let report = layers::check()?;
            screen.text(&report.table());
            Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        "fmt" => {
            no_options(task, rest)?;
            process::cargo(["fmt", "--all"]).run()?;
            Ok(ExitCode::SUCCESS)
        }
        other => bail!("there is no task `{other}`; `cargo xtask help` lists them"),
    }
}

fn no_options(task: &str, rest: &[String]) -> Result<()> {
    match rest.first() {
        None => Ok(()),
        Some(option) => bail!("`cargo xtask {task}` takes no option `{option}`"),
    }
}

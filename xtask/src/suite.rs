//! `cargo xtask test`: every check and every test, each with a heading and its time.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::checks::Counts;
use crate::process::{Program, cargo};
use crate::screen::{Mark, Screen, human};
use crate::{layers, places, setup};

/// One step: its name, and what runs it.
struct Step {
    name: &'static str,
    run: fn(&Screen) -> Result<Counts>,
}

/// In the order of their price: what fails cheaply fails first.
const STEPS: &[Step] = &[
    Step { name: "format", run: format },
    Step { name: "layers", run: layering },
    Step { name: "supply chain", run: supply_chain },
    Step { name: "clippy", run: clippy },
    Step { name: "build", run: build },
    Step { name: "runtimes", run: runtimes },
    Step { name: "tests", run: tests },
    Step { name: "doctests", run: doctests },
    Step { name: "guestbook", run: guestbook },
    Step { name: "conformance", run: conformance },
    Step { name: "demo", run: story },
];

/// Which steps to run.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    only: Vec<String>,
    skip: Vec<String>,
}

impl Selection {
    pub(crate) fn only(names: &[&str]) -> Self {
        Self { only: names.iter().map(|name| (*name).to_owned()).collect(), skip: Vec::new() }
    }

    /// `--only NAME`, `--skip NAME`, each any number of times.
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut selection = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let list = match arg.as_str() {
                "--only" => &mut selection.only,
                "--skip" => &mut selection.skip,
                other => bail!("`cargo xtask test` has no option `{other}`; it has --only and --skip"),
            };
            let known = || STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
            match args.next() {
                Some(name) if STEPS.iter().any(|step| step.name == name) => list.push(name.clone()),
                Some(name) => bail!("there is no step `{name}`; there are: {}", known()),
                None => bail!("{arg} wants a step: {}", known()),
            }
        }
        Ok(selection)
    }

    fn takes(&self, name: &str) -> bool {
        let wanted = self.only.is_empty() || self.only.iter().any(|only| only == name);
        wanted && !self.skip.iter().any(|skip| skip == name)
    }
}

struct Outcome {
    name: &'static str,
    counts: Counts,
    elapsed: Duration,
    error: Option<anyhow::Error>,
}

/// Runs the selected steps. A failing step does not keep the others from running.
///
/// # Errors
/// Only when the machine cannot be set up.
pub(crate) fn run(screen: &Screen, selection: Selection) -> Result<ExitCode> {
    let begun = Instant::now();
    setup::run(screen, setup::Purpose::Everything)?;
    let mut outcomes = Vec::new();
    for step in STEPS.iter().filter(|step| selection.takes(step.name)) {
        screen.heading(step.name);
        let started = Instant::now();
        let (counts, error) = match (step.run)(screen) {
            Ok(counts) => (counts, None),
            Err(error) => (Counts::single(false), Some(error)),
        };
        if let Some(error) = &error {
            screen.error(error);
        }
        outcomes.push(Outcome { name: step.name, counts, elapsed: started.elapsed(), error });
    }
    Ok(summary(screen, &outcomes, begun.elapsed()))
}

fn summary(screen: &Screen, outcomes: &[Outcome], elapsed: Duration) -> ExitCode {
    screen.heading("summary");
    let mut total = Counts::default();
    for outcome in outcomes {
        total.add(outcome.counts);
        let good = outcome.counts.failed == 0;
        let mut remark = format!("{:>12}", human(outcome.elapsed));
        if outcome.counts.passed + outcome.counts.failed > 1 {
            remark
                .push_str(&format!("   {} passed, {} failed", outcome.counts.passed, outcome.counts.failed));
        }
        if let Some(error) = &outcome.error {
            remark.push_str(&format!("   {error}"));
        }
        screen.line(if good { Mark::Good } else { Mark::Bad }, outcome.name, &remark);
    }
    screen.text(&format!("\n{} passed, {} failed in {}\n", total.passed, total.failed, human(elapsed)));
    if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn single(done: Result<()>) -> Result<Counts> {
    done.map(|()| Counts::single(true))
}

fn format(_: &Screen) -> Result<Counts> {
    single(cargo(["fmt", "--all", "--check"]).run())
}

fn layering(screen: &Screen) -> Result<Counts> {
    let report = layers::check()?;
    screen.text(&report.table());
    if !report.is_clean() {
        bail!("a crate depends on what its layer may not");
    }
    Ok(Counts::single(true))
}

fn supply_chain(_: &Screen) -> Result<Counts> {
    // `advisories` wants a git clone of its database, which not every machine can fetch
    single(
        cargo(["deny", "--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
            .run(),
    )
}

fn clippy(_: &Screen) -> Result<Counts> {
    single(
        cargo(["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"])
            .run(),
    )
}

fn build(_: &Screen) -> Result<Counts> {
    // the tests start the binaries, so they are there before them
    single(cargo(["build", "--workspace", "--locked", "--bins"]).run())
}

fn runtimes(screen: &Screen) -> Result<Counts> {
    let entry = places::root().join("runtimes/build");
    if !entry.is_file() {
        screen.line(Mark::Skipped, "runtimes", "there is no runtimes/build yet");
        return Ok(Counts::default());
    }
    single(Program::new(entry).run())
}

fn tests(screen: &Screen) -> Result<Counts> {
    let profile = if places::is_ci() { "ci" } else { "default" };
    let colour = if screen.is_coloured() { "always" } else { "never" };
    let watched =
        cargo(["nextest", "run", "--workspace", "--locked", "--profile", profile, "--color", colour])
            .watch()?;
    counted(&watched.text, watched.success)
}

fn doctests(_: &Screen) -> Result<Counts> {
    let watched = cargo(["test", "--doc", "--workspace", "--locked", "--quiet"]).watch()?;
    counted(&watched.text, watched.success)
}

fn guestbook(_: &Screen) -> Result<Counts> {
    let folder = places::root().join("examples/guestbook");
    let watched = Program::new("python3").args(["-m", "unittest", "-q"]).within(&folder).watch()?;
    Ok(Counts::single(watched.success))
}

fn conformance(_: &Screen) -> Result<Counts> {
    let watched = Program::new(places::root().join("conformance/run"))
        .args(["--alephd".as_ref(), places::target().join("debug/alephd").as_os_str()])
        .env("CARGO_TARGET_DIR", places::target())
        .env("ALEPHD_CACHE", places::cache())
        .watch()?;
    counted(&watched.text, watched.success)
}

/// The demo's story against a throw-away network, with the binaries that were built for the tests:
/// a message, a program in a machine, and a compute node killed under it.
fn story(_: &Screen) -> Result<Counts> {
    let binaries = places::target().join("debug");
    let network = ["--log", "error", "devnet", "--ephemeral", "--base-port", "0", "--"];
    single(
        Program::new(binaries.join("alephd"))
            .args(network)
            .args([binaries.join("aleph-demo")])
            .args(["--exit"])
            .run(),
    )
}

/// The counts that were printed; a run that failed without a failing case counts as one.
fn counted(printed: &str, success: bool) -> Result<Counts> {
    let mut counts = Counts::read(printed).unwrap_or(Counts::single(success));
    if !success && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_selected_by_name() {
        let args = |list: &[&str]| list.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let only = Selection::parse(&args(&["--only", "format"])).expect("it is a step");
        assert!(only.takes("format") && !only.takes("tests"));
        let skip = Selection::parse(&args(&["--skip", "supply chain"])).expect("it is a step");
        assert!(skip.takes("tests") && !skip.takes("supply chain"));
        let error = Selection::parse(&args(&["--only", "tets"])).expect_err("it is none").to_string();
        assert!(error.contains("tests"), "{error}");
    }

    #[test]
    fn a_silent_failure_counts() {
        assert_eq!(counted("", false).expect("counted"), Counts { passed: 0, failed: 1 });
        let printed = "Summary [ 1s] 3 tests run: 3 passed, 0 skipped";
        assert_eq!(counted(printed, false).expect("counted"), Counts { passed: 3, failed: 1 });
    }
}

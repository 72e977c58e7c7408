//! What the process says of itself, on standard error.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// for people
    Text,
    /// one JSON object a line
    Json,
}

/// Starts logging. `directives` is a level or `target=level,…`.
///
/// # Errors
/// When the directives can't be read, or logging was started before.
pub(crate) fn start(directives: &str, format: Format) -> Result<()> {
    let filter = EnvFilter::try_new(directives)
        .with_context(|| format!("`{directives}` is no log filter; try `info` or `info,aleph_ccn=debug`"))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_span_events(FmtSpan::NONE)
        // it would say on standard error that standard error can't be written, and panic: a log on a full
        // disk must not end the node
        .log_internal_errors(false);
    let started = match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging was started twice: {error}"))
}

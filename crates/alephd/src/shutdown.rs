//! When to stop: a signal, or the end of the parent that holds our standard input.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// An orderly end that takes longer than this is ended by force.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// A token that is cancelled at the first Ctrl-C or SIGTERM; the second one ends the process at once.
///
/// # Errors
/// When the process may not handle signals.
pub(crate) fn on_signals() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("can't handle SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't handle SIGTERM")?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        let first = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal = first, "stopping; again to stop at once");
        cancelled.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = tokio::time::sleep(GRACE) => tracing::error!("an orderly end took too long"),
        }
        std::process::exit(130);
    });
    Ok(token)
}

/// Cancels when standard input ends: the parent holds the other end of that pipe, so it ends with
/// the parent, however the parent ends.
pub(crate) fn on_end_of_input(token: &CancellationToken) {
    let cancelled = token.clone();
    // a thread of its own: a read that never ends must not keep the runtime from ending
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut ignored = [0u8; 64];
        while input.read(&mut ignored).is_ok_and(|count| count > 0) {}
        tracing::info!("standard input ended; stopping");
        cancelled.cancel();
        std::thread::sleep(GRACE);
        std::process::exit(130);
    });
}

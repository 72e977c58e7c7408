//! Bars and spinners on stderr, where somebody watches it.

use std::time::Duration;

use aleph_sdk::{Phase, Progress, ProgressListener};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// A bar for a transfer; invisible where nobody watches.
#[derive(Debug, Clone)]
pub(crate) struct TransferBar {
    bar: ProgressBar,
}

impl TransferBar {
    pub(crate) fn new(out: &Output, what: &str) -> Self {
        let bar = visible(out);
        bar.set_style(style("{spinner} {msg} {bar:28} {bytes}/{total_bytes} {bytes_per_sec} {eta}"));
        bar.set_message(what.to_owned());
        Self { bar }
    }

    /// What a transfer is told to call.
    pub(crate) fn listener(&self) -> ProgressListener {
        let bar = self.bar.clone();
        ProgressListener::new(move |progress| show(&bar, progress))
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A line that says what is being waited for; invisible where nobody watches.
#[derive(Debug, Clone)]
pub(crate) struct Spinner {
    bar: ProgressBar,
}

impl Spinner {
    pub(crate) fn new(out: &Output) -> Self {
        let bar = visible(out);
        bar.set_style(style("  {spinner} {msg} {elapsed}"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    pub(crate) fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Shows a transfer in the same line.
    pub(crate) fn listener(&self, what: &'static str) -> ProgressListener {
        let bar = self.bar.clone();
        ProgressListener::new(move |progress: Progress| {
            let percent = match progress.total {
                Some(total) if total > 0 => progress.done * 100 / total,
                _ => 100,
            };
            let size = crate::output::size(progress.done);
            bar.set_message(match progress.phase {
                Phase::Hashing => format!("{what}: reading {size}"),
                Phase::Sending | Phase::Receiving => format!("{what}: {size}, {percent} %"),
            });
        })
    }

    /// Runs `print` with the line out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn visible(out: &Output) -> ProgressBar {
    if out.lively && !out.json {
        ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(12))
    } else {
        ProgressBar::hidden()
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a bad one only costs the looks.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn show(bar: &ProgressBar, progress: Progress) {
    if let Some(total) = progress.total {
        bar.set_length(total);
    }
    bar.set_prefix(match progress.phase {
        Phase::Hashing => "hashing",
        Phase::Sending => "sending",
        Phase::Receiving => "receiving",
    });
    bar.set_position(progress.done);
}

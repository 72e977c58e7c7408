//! How the demo looks: aligned stations with times, coloured on a terminal only.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Prints stations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Narrator {
    terminal: bool,
    colour: bool,
}

impl Narrator {
    pub(crate) fn detect() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { terminal, colour: terminal && std::env::var_os("NO_COLOR").is_none() }
    }

    /// A new part of the story.
    pub(crate) fn heading(&self, text: &str) {
        self.write(&format!("\n{}\n\n", self.paint("1;36", &format!("━━ {text}"))));
    }

    /// A sentence in between.
    pub(crate) fn remark(&self, text: &str) {
        self.write(&format!("   {}\n", self.paint("2", text)));
    }

    /// A station that is being waited for; on a terminal its line is replaced by [`Self::reached`].
    pub(crate) fn waiting(&self, station: &str, why: &str) {
        if self.terminal {
            self.write(&format!("\r\x1b[K   {}", self.paint("2", &format!("… {station:<18} {why}"))));
        }
    }

    /// A station that was reached: what was learnt there, and when.
    pub(crate) fn reached(&self, station: &str, what: &str, time: Duration) {
        self.line(&self.paint("32", "✓"), station, what, &human(time));
    }

    /// A station that was left out.
    pub(crate) fn skipped(&self, station: &str, why: &str) {
        self.line(&self.paint("33", "–"), station, why, "");
    }

    /// Something to know, without a time.
    pub(crate) fn fact(&self, name: &str, value: &str) {
        self.write(&format!("   {name:<24} {value}\n"));
    }

    pub(crate) fn failed(&self, error: &anyhow::Error) {
        self.write(&format!("{}\n {} {error}\n", self.erase(), self.paint("1;31", "✗")));
        for cause in error.chain().skip(1) {
            self.write(&format!("   {} {cause}\n", self.paint("2", "because:")));
        }
    }

    fn line(&self, mark: &str, station: &str, what: &str, time: &str) {
        let padding = " ".repeat(52usize.saturating_sub(what.chars().count()));
        let station = format!("{station:<18}");
        self.write(&format!(
            "{} {mark} {station} {what}{padding} {}\n",
            self.erase(),
            self.paint("1", &format!("{time:>9}"))
        ));
    }

    fn erase(&self) -> &'static str {
        if self.terminal { "\r\x1b[K" } else { "" }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) {
        // a closed pipe is no reason to fail
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    }
}

/// `0.31 ms`, `42 ms`, `6.21 s`.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 0.001 => format!("{:.2} ms", s * 1000.0),
        s if s < 0.01 => format!("{:.1} ms", s * 1000.0),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 100.0 => format!("{s:.2} s"),
        s => format!("{s:.0} s"),
    }
}

/// The first letters of a hash, as people read them.
pub(crate) fn short(hash: &str) -> String {
    hash.get(..12).map_or_else(|| hash.to_owned(), |start| format!("{start}…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        assert_eq!(human(Duration::from_micros(312)), "0.31 ms");
        assert_eq!(human(Duration::from_micros(3_120)), "3.1 ms");
        assert_eq!(human(Duration::from_millis(42)), "42 ms");
        assert_eq!(human(Duration::from_millis(6_213)), "6.21 s");
    }
}

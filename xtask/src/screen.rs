//! What a person sees: headings, aligned lines, times; colour only on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Prints for people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    colour: bool,
}

/// How a line came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Bad,
    Skipped,
}

impl Screen {
    pub(crate) fn detect() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour }
    }

    pub(crate) fn is_coloured(&self) -> bool {
        self.colour
    }

    /// A big heading, with an empty line before it.
    pub(crate) fn heading(&self, text: &str) {
        self.text(&format!("\n{}\n", self.paint("1;36", &format!("━━ {text}"))));
    }

    /// A quiet line of explanation.
    pub(crate) fn note(&self, text: &str) {
        self.text(&format!("   {}\n", self.paint("2", text)));
    }

    /// A line with a mark, a name and a remark, aligned.
    pub(crate) fn line(&self, mark: Mark, name: &str, remark: &str) {
        let sign = match mark {
            Mark::Good => self.paint("32", "✓"),
            Mark::Bad => self.paint("1;31", "✗"),
            Mark::Skipped => self.paint("2", "–"),
        };
        let padding = " ".repeat(28usize.saturating_sub(name.chars().count()));
        self.text(&format!(" {sign} {name}{padding} {}\n", self.paint("2", remark)));
    }

    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.text(&format!("\n{} {error}\n", self.paint("1;31", "✗")));
        for cause in error.chain().skip(1) {
            self.text(&format!("  {} {cause}\n", self.paint("2", "because:")));
        }
    }

    pub(crate) fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn text(&self, text: &str) {
        // a closed pipe (`| head`) is no reason to fail
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
    }
}

/// `0.42 s`, `12.3 s`, `3 min 07 s`.
pub(crate) fn human(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 60.0 => format!("{s:.1} s"),
        s => format!("{} min {:02} s", s as u64 / 60, s as u64 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(human(Duration::from_millis(42)), "42 ms");
        assert_eq!(human(Duration::from_millis(4_200)), "4.20 s");
        assert_eq!(human(Duration::from_secs(42)), "42.0 s");
        assert_eq!(human(Duration::from_secs(187)), "3 min 07 s");
    }
}

//! Where results go: people's text or machines' JSON on stdout, notes and progress on stderr.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::error::{CliError, CliResult};

/// How this run talks.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Machines read stdout.
    pub(crate) json: bool,
    /// Somebody watches stderr.
    pub(crate) lively: bool,
    /// Escape sequences are welcome on stdout.
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some();
        Self {
            json,
            lively: io::stderr().is_terminal(),
            colour: !plain && !json && io::stdout().is_terminal(),
        }
    }

    /// Whether escape sequences are welcome on stderr.
    pub(crate) fn colour_on_stderr() -> bool {
        std::env::var_os("NO_COLOR").is_none() && io::stderr().is_terminal()
    }

    /// One line of text.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> CliResult {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", text.as_ref())?;
        stdout.flush()?;
        Ok(())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> CliResult {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()?;
        Ok(())
    }

    /// A JSON document, indented.
    pub(crate) fn document(&self, value: &impl Serialize) -> CliResult {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CliError::failure("can't write JSON").cause(error.to_string()))?;
        self.line(text)
    }

    /// A JSON document on one line, for streams.
    pub(crate) fn json_line(&self, value: &Value) -> CliResult {
        self.line(value.to_string())
    }

    /// A note for people, on stderr.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{}", text.as_ref());
        }
    }

    /// Text in bold, on a terminal.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.painted("1", text)
    }

    /// Less important text.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.painted("2", text)
    }

    /// Text of success.
    pub(crate) fn good(&self, text: &str) -> String {
        self.painted("32", text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A table without frames.
    pub(crate) fn table(&self, heads: &[&str], rows: Vec<Vec<String>>) -> CliResult {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(heads.iter().map(|head| {
            let cell = Cell::new(head.to_uppercase());
            if self.colour { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let text = table.to_string();
        for line in text.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Names and values below each other.
    pub(crate) fn pairs(&self, pairs: &[(&str, String)]) -> CliResult {
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in pairs {
            self.line(format!("{}{}  {value}", self.dim(name), " ".repeat(width - name.chars().count())))?;
        }
        Ok(())
    }
}

/// Bytes as people count them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// The beginning and the end of a long text such as an address.
pub(crate) fn short(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= 16 {
        return text.to_owned();
    }
    let start: String = chars[..8].iter().collect();
    let end: String = chars[chars.len() - 6..].iter().collect();
    format!("{start}…{end}")
}

/// The start of a text, on one line.
pub(crate) fn clipped(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= most {
        return line;
    }
    let start: String = line.chars().take(most.saturating_sub(1)).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_texts_are_for_people() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(100 * 1024 * 1024), "100.0 MiB");
        assert_eq!(short("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"), "0xf39Fd6…b92266");
        assert_eq!(short("short"), "short");
        assert_eq!(clipped("a\nbc", 3), "a b…".chars().take(2).collect::<String>() + "…");
    }
}

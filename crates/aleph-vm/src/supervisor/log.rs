//! A VM's log: the newest lines in memory, the same on disk, both bounded.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::status::{LogLine, LogPage, LogSource};

/// Longest line that is kept whole; longer ones are cut into several.
const MAX_LINE: usize = 8 * 1024;
/// Most lines of one page.
pub(crate) const MAX_PAGE: usize = 1000;
/// Most bytes of text of one page.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// File of the newest lines, and of those before.
const FILES: [&str; 2] = ["log.jsonl", "log.1.jsonl"];

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The log of one VM. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    lines: VecDeque<LogLine>,
    held: u64,
    next: u64,
    /// pieces without a line end yet, by source
    partial: [Vec<u8>; 4],
    dir: PathBuf,
    file: Option<File>,
    written: u64,
    max_bytes: u64,
}

fn index(source: LogSource) -> usize {
    match source {
        LogSource::Stdout => 0,
        LogSource::Stderr => 1,
        LogSource::Console => 2,
        LogSource::Supervisor => 3,
    }
}

impl Log {
    /// A new log in `dir`, of at most `max_bytes` in memory and about as many on disk.
    pub(crate) fn new(dir: &Path, max_bytes: u64) -> Self {
        let inner = Inner {
            lines: VecDeque::new(),
            held: 0,
            next: 0,
            partial: Default::default(),
            dir: dir.to_owned(),
            file: None,
            written: 0,
            max_bytes: max_bytes.max(64 * 1024),
        };
        Self { inner: Arc::new(Mutex::new(inner)), newest: watch::Sender::new(0) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes as they come; lines are made of them.
    pub(crate) fn bytes(&self, source: LogSource, bytes: &[u8]) {
        let next = {
            let mut inner = self.lock();
            let mut partial = std::mem::take(&mut inner.partial[index(source)]);
            for &byte in bytes {
                if byte == b'\n' {
                    inner.line(source, &partial);
                    partial.clear();
                } else {
                    partial.push(byte);
                    if partial.len() >= MAX_LINE {
                        inner.line(source, &partial);
                        partial.clear();
                    }
                }
            }
            inner.partial[index(source)] = partial;
            inner.next
        };
        self.newest.send_replace(next);
    }

    /// Adds a line.
    pub(crate) fn line(&self, source: LogSource, text: &str) {
        let next = {
            let mut inner = self.lock();
            inner.line(source, text.as_bytes());
            inner.next
        };
        self.newest.send_replace(next);
    }

    /// Ends what has no line end yet.
    pub(crate) fn finish(&self) {
        let mut inner = self.lock();
        for source in [LogSource::Stdout, LogSource::Stderr, LogSource::Console] {
            let partial = std::mem::take(&mut inner.partial[index(source)]);
            if !partial.is_empty() {
                inner.line(source, &partial);
            }
        }
    }

    /// Lines from `from` on.
    pub(crate) fn page(&self, from: u64, limit: usize) -> LogPage {
        let inner = self.lock();
        page(inner.lines.iter(), from, limit, inner.next)
    }

    /// Waits until there is a line at or after `from`.
    pub(crate) async fn wait(&self, from: u64) {
        let mut newest = self.newest.subscribe();
        // the sender lives as long as we do
        let _ = newest.wait_for(|&next| next > from).await;
    }

    /// The last lines of some sources as text, for an error.
    pub(crate) fn tail(&self, sources: &[LogSource], count: usize) -> String {
        let inner = self.lock();
        let mut lines: Vec<_> = inner
            .lines
            .iter()
            .rev()
            .filter(|l| sources.contains(&l.source))
            .take(count)
            .map(|l| l.text.as_str())
            .collect();
        lines.reverse();
        lines.join("\n")
    }
}

fn page<'a>(lines: impl Iterator<Item = &'a LogLine>, from: u64, limit: usize, end: u64) -> LogPage {
    let mut bytes = 0;
    let fits = |line: &&LogLine| {
        bytes += line.text.len();
        bytes <= MAX_PAGE_BYTES
    };
    let lines: Vec<_> =
        lines.filter(|l| l.seq >= from).take(limit.min(MAX_PAGE)).take_while(fits).cloned().collect();
    let next = lines.last().map_or(end.max(from), |l| l.seq + 1);
    LogPage { lines, next }
}

impl Inner {
    fn line(&mut self, source: LogSource, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches('\r');
        if text.is_empty() && source == LogSource::Console {
            return;
        }
        let line = LogLine { seq: self.next, time_ms: now_ms(), source, text: text.to_owned() };
        self.next += 1;
        self.write(&line);
        self.held += line.text.len() as u64 + 64;
        self.lines.push_back(line);
        while self.held > self.max_bytes
            && let Some(old) = self.lines.pop_front()
        {
            self.held -= old.text.len() as u64 + 64;
        }
    }

    /// A log that can't be written is no reason to end a VM: the lines stay in memory.
    fn write(&mut self, line: &LogLine) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        if self.written + text.len() as u64 > self.max_bytes / 2 {
            self.file = None;
            let _ = std::fs::rename(self.dir.join(FILES[0]), self.dir.join(FILES[1]));
        }
        if self.file.is_none() {
            self.written = 0;
            let path = self.dir.join(FILES[0]);
            self.file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).ok();
        }
        if let Some(file) = &mut self.file
            && file.write_all(&text).is_ok()
        {
            self.written += text.len() as u64;
        }
    }
}

/// Reads the log of a VM that has ended.
pub(crate) fn read_files(dir: &Path, from: u64, limit: usize) -> LogPage {
    let mut lines = Vec::new();
    for name in [FILES[1], FILES[0]] {
        let Ok(file) = File::open(dir.join(name)) else { continue };
        for text in BufReader::new(file).lines().map_while(Result::ok) {
            if let Ok(line) = serde_json::from_str::<LogLine>(&text) {
                lines.push(line);
            }
        }
    }
    let end = lines.last().map_or(0, |l| l.seq + 1);
    page(lines.iter(), from, limit, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_bounded_and_found_again_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path(), 64 * 1024);
        log.bytes(LogSource::Stdout, b"hel");
        log.bytes(LogSource::Stderr, b"oops\r\n");
        log.bytes(LogSource::Stdout, b"lo\nx");
        log.finish();
        let texts: Vec<_> = log.page(0, 10).lines.into_iter().map(|l| l.text).collect();
        assert_eq!(texts, ["oops", "hello", "x"]);
        assert_eq!(read_files(dir.path(), 1, 1).lines[0].text, "hello");
        for number in 0..5000 {
            log.line(LogSource::Stdout, &format!("line {number} {}", "x".repeat(50)));
        }
        log.bytes(LogSource::Stdout, &vec![b'y'; 3 * MAX_LINE]);
        let size: u64 = FILES.iter().map(|f| std::fs::metadata(dir.path().join(f)).unwrap().len()).sum();
        assert!(size <= 64 * 1024, "{size}");
        let page = log.page(0, 100_000);
        assert!(page.lines.len() <= MAX_PAGE && page.lines[0].seq > 3);
        assert_eq!(page.lines.last().unwrap().text.len(), MAX_LINE);
        assert_eq!(log.page(1 << 40, 10), LogPage { lines: Vec::new(), next: 1 << 40 });
    }
}

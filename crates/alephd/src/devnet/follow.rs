//! Showing what the nodes log as they log it.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::sync::CancellationToken;

/// How often a log is looked at.
const PAUSE: Duration = Duration::from_millis(200);
/// A line is cut off after so many bytes.
const LONGEST_LINE: usize = 4096;

/// Prints what is appended to a log, each line with the node's name, until `stop`.
pub(crate) async fn print(name: String, path: PathBuf, stop: CancellationToken) {
    let mut at = tokio::fs::metadata(&path).await.map_or(0, |metadata| metadata.len());
    let mut rest = Vec::new();
    while !stop.is_cancelled() {
        if let Ok(read) = read_from(&path, &mut at, &mut rest).await
            && read > 0
        {
            for line in complete_lines(&mut rest) {
                eprintln!("{name:<5} {line}");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read_from(path: &PathBuf, at: &mut u64, into: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    if length < *at {
        *at = 0; // it was begun anew
    }
    file.seek(SeekFrom::Start(*at)).await?;
    let read = file.take(1 << 20).read_to_end(into).await?;
    *at += read as u64;
    Ok(read)
}

/// Takes the complete lines out of `rest`.
fn complete_lines(rest: &mut Vec<u8>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = rest.drain(..=end).collect();
        lines.push(String::from_utf8_lossy(&line[..end.min(LONGEST_LINE)]).into_owned());
    }
    if rest.len() > LONGEST_LINE {
        lines.push(String::from_utf8_lossy(&std::mem::take(rest)[..LONGEST_LINE]).into_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_when_they_are_complete() {
        let mut rest = b"one\ntwo\nthr".to_vec();
        assert_eq!(complete_lines(&mut rest), ["one", "two"]);
        rest.extend_from_slice(b"ee\n");
        assert_eq!(complete_lines(&mut rest), ["three"]);
        assert!(rest.is_empty());
    }
}

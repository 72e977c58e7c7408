//! What a node lacks that others have, how fast it gets it, and why not faster.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use aleph_sdk::Client;
use anyhow::{Context, Result};
use serde_json::Value;

use super::{get, line, list, shown};

/// How often a terminal shows it anew.
const EVERY: Duration = Duration::from_secs(1);

/// Characters of a bar.
const BAR: usize = 30;

/// Asks and prints: again and again in a terminal, else once.
pub(super) async fn run(node: &str, once: bool, as_json: bool) -> Result<()> {
    let base = Client::new(node)?.base_url().to_owned();
    let url = format!("{base}/api/v1/node/sync");
    let ask = || async { get(&url).await?.with_context(|| format!("{base} is no alephd core node")) };
    let mut answer = ask().await?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    let live = !once && io::stdout().is_terminal();
    loop {
        let text = words(&answer);
        let mut out = io::stdout().lock();
        if live {
            // Home, each line over the old one, and away with what is left of that.
            let lines = text.replace('\n', "\x1b[K\n");
            write!(out, "\x1b[H{lines}\n(every second; Ctrl-C ends it)\x1b[K\x1b[J")?;
        } else {
            write!(out, "{text}")?;
        }
        out.flush()?;
        drop(out);
        if !live {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
        // A node that restarts is waited for.
        match ask().await {
            Ok(new) => answer = new,
            Err(error) => answer["status"] = format!("does not answer: {error}").into(),
        }
    }
}

/// The answer in words and bars.
fn words(answer: &Value) -> String {
    let mut out = String::new();
    line(&mut out, "status", &answer["status"]);
    line(&mut out, "blocked", &answer["blocked"]);
    line(&mut out, "messages", &answer["messages"]);
    line(&mut out, "waiting", &answer["pending_messages"]);
    line(&mut out, "caught up", &answer["caught_up"]);
    for text in list(&answer["words"]) {
        writeln!(out, "{}", shown(text)).ok();
    }
    for peer in list(&answer["peers"]) {
        writeln!(out, "\n  {}", shown(&peer["url"])).ok();
        writeln!(out, "    {}", shown(&peer["words"])).ok();
        let number = |key: &str| peer[key].as_u64().unwrap_or(0);
        if number("wanted") == 0 {
            continue;
        }
        let bar = bar(number("verified"), number("wanted"));
        let via = peer["via"].as_str().map(|via| format!(" over {via}")).unwrap_or_default();
        writeln!(out, "    {bar} {} of {}{via}", number("verified"), number("wanted")).ok();
        writeln!(
            out,
            "    known {}, fetched {}, verified {}, stored {}, waiting {}, refused {}",
            number("known"),
            number("fetched"),
            number("verified"),
            number("stored"),
            number("waiting"),
            number("refused")
        )
        .ok();
        if let Some(rate) = peer["rate"].as_f64() {
            let left = peer["seconds_left"].as_f64().map(|seconds| format!(", {} left", time(seconds)));
            writeln!(out, "    {rate:.0} a second{}", left.unwrap_or_default()).ok();
        }
    }
    out
}

fn bar(done: u64, of: u64) -> String {
    let share = if of == 0 { 1.0 } else { (done as f64 / of as f64).clamp(0.0, 1.0) };
    let full = (share * BAR as f64) as usize;
    format!("[{}{}] {:3.0} %", "#".repeat(full), "·".repeat(BAR - full), (share * 100.0).floor())
}

fn time(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_is_told_in_numbers_and_a_bar() {
        let text = words(&json!({
            "status": "catching up", "blocked": null, "messages": 500, "pending_messages": 0, "caught_up": 500,
            "words": ["Catching up: 1 nodes have more than is here."],
            "peers": [{
                "url": "http://a", "via": "libp2p", "words": "450 of 1000 messages that it has more are stored",
                "known": 1100, "wanted": 1000, "fetched": 600, "verified": 500, "stored": 450, "waiting": 40,
                "refused": 10, "rate": 125.0, "seconds_left": 64.0,
            }],
        }));
        assert!(text.contains("[###############···············]  50 % 500 of 1000 over libp2p"), "{text}");
        assert!(text.contains("125 a second, 1 min 4 s left"), "{text}");
        assert!(!text.contains("blocked"), "{text}");
    }

    #[test]
    fn what_blocks_is_told_and_a_peer_without_need_needs_no_bar() {
        let text = words(&json!({
            "status": "in sync", "blocked": "disk full", "words": [],
            "peers": [{ "url": "/p2p/x", "words": "everything that it had accepted is here", "wanted": 0 }],
        }));
        assert!(text.contains("blocked        disk full") && text.contains("/p2p/x"), "{text}");
        assert!(!text.contains('['), "{text}");
        assert_eq!((time(7.9), time(3725.0)), ("7 s".to_owned(), "1 h 2 min".to_owned()));
        assert!(bar(5, 0).contains("100 %") && bar(0, 3).contains("[···"));
    }
}

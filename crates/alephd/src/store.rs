//! `alephd store`: databases of nodes, while no node runs on them.

use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aleph_store::{Conversion, ConvertEvent, Location};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

/// Time between two lines of progress for programs.
const LINE_EVERY: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  Move a node to PostgreSQL, then start it there:
    createdb -E UTF8 -T template0 node
    alephd store convert --from ./data --to postgres://alephd:secret@127.0.0.1/node
    ALEPHD_CCN__STORAGE__DATABASE=postgres://alephd:secret@127.0.0.1/node alephd ccn --data-dir ./data
  And back, into a new file:
    alephd store convert --from postgres://alephd:secret@127.0.0.1/node --to ./back/node.sqlite3

The node must be stopped. The source is never changed; the target must be empty. A conversion that was
interrupted goes on when the same command is run again. Files by hash and keys stay in the data folder.";

/// Databases of nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Copy a node's database into another one, from SQLite to PostgreSQL or back, and check the copy
    #[command(after_long_help = EXAMPLES)]
    Convert(ConvertArgs),
}

/// What is converted.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The database to copy: a node's data folder, a file of SQLite, or postgres://user:password@host/name
    #[arg(long, value_name = "PATH_OR_URL", env = "ALEPHD_CONVERT_FROM", hide_env_values = true)]
    from: String,
    /// Where to: an empty database; a file is made
    #[arg(long, value_name = "PATH_OR_URL", env = "ALEPHD_CONVERT_TO", hide_env_values = true)]
    to: String,
    /// Print every event as one JSON object a line
    #[arg(long)]
    json: bool,
}

impl StoreCommand {
    /// # Errors
    /// What [`aleph_store::convert`] refuses, and a node that runs on one of the databases.
    pub(crate) fn run(self) -> Result<()> {
        let Self::Convert(args) = self;
        let (from, to) = (location("--from", &args.from)?, location("--to", &args.to)?);
        // a server knows itself who writes; a file is guarded by the lock of its node's folder
        let _locks = [lock_folder(&from, false)?, lock_folder(&to, true)?];
        let mut progress = Progress::new(args.json);
        let done = aleph_store::convert(&from, &to, &mut |event| progress.tell(event));
        progress.end();
        report(&done?, &from, &to, args.json)
    }
}

fn location(flag: &str, text: &str) -> Result<Location> {
    let location: Location = text.parse().with_context(|| format!("{flag} can't be read"))?;
    Ok(match location {
        Location::Sqlite(path) if path.is_dir() => Location::Sqlite(path.join("node.sqlite3")),
        location => location,
    })
}

fn lock_folder(location: &Location, make: bool) -> Result<Option<std::fs::File>> {
    let Location::Sqlite(path) = location else { return Ok(None) };
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    if make {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("can't make the folder {}", folder.display()))?;
    } else if !folder.is_dir() {
        // there is no database either; who reads it says so
        return Ok(None);
    }
    Ok(Some(aleph_ccn::lock_data_dir(&folder)?))
}

/// A bar for people, lines for programs.
struct Progress {
    bar: Option<ProgressBar>,
    told: Option<(Instant, String)>,
}

impl Progress {
    fn new(json: bool) -> Self {
        let bar = (!json).then(|| {
            let visible = std::io::stderr().is_terminal();
            let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
            let bar = ProgressBar::with_draw_target(None, target);
            let style = "{msg:18} {bar:28} {human_pos}/{human_len} rows, {per_sec}, {eta} left";
            // a fixed text
            bar.set_style(ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar()));
            bar
        });
        Self { bar, told: None }
    }

    fn tell(&mut self, event: ConvertEvent) {
        match &self.bar {
            Some(bar) => show(bar, &event),
            None => self.print(&event),
        }
    }

    fn print(&mut self, event: &ConvertEvent) {
        let line = match event {
            ConvertEvent::Begun { rows, done } => json!({ "event": "begun", "rows": rows, "done": done }),
            ConvertEvent::Copied { table, rows } => {
                let now = Instant::now();
                if let Some((at, of)) = &self.told
                    && of == table
                    && now.duration_since(*at) < LINE_EVERY
                {
                    return;
                }
                self.told = Some((now, table.clone()));
                json!({ "event": "copied", "table": table, "rows": rows })
            }
            ConvertEvent::Checking => json!({ "event": "checking" }),
            _ => return,
        };
        print_line(&line);
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, event: &ConvertEvent) {
    match event {
        ConvertEvent::Begun { rows, done } => {
            bar.set_length(*rows);
            bar.set_position(*done);
            bar.reset_eta();
        }
        ConvertEvent::Copied { table, rows } => {
            bar.set_message(table.clone());
            bar.set_position(*rows);
        }
        ConvertEvent::Checking => bar.set_message("checking"),
        _ => {}
    }
}

/// A reader that is gone misses nothing that matters: the conversion goes on.
fn print_line(line: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

fn report(done: &Conversion, from: &Location, to: &Location, json: bool) -> Result<()> {
    let rows: u64 = done.tables.iter().map(|(_, rows)| rows).sum();
    if json {
        let tables: serde_json::Map<_, _> =
            done.tables.iter().map(|(table, rows)| (table.clone(), (*rows).into())).collect();
        let digest = &done.digest.digest;
        print_line(&json!({ "event": "done", "rows": rows, "tables": tables, "digest": digest }));
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    for (table, rows) in &done.tables {
        writeln!(out, "{table:24} {rows:>12} rows, the same on both sides")?;
    }
    writeln!(out, "state digest, computed anew on both sides: {}", done.digest.digest)?;
    writeln!(out, "{from} is now in {to}: {rows} rows; set 'storage.database' to it and start the node")?;
    Ok(())
}

//! How a deployment looks while it happens.

use std::time::Duration;

use aleph_sdk::{DeployEvent, DeployStage, ProgressListener, StageFacts};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliResult;
use crate::output::{Output, size};
use crate::progress::Spinner;

/// Shows the stations: a line each on stdout, the current one with its clock on stderr.
pub(super) struct Stages<'a> {
    out: &'a Output,
    spinner: Spinner,
}

impl<'a> Stages<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { out: &context.out, spinner: Spinner::new(&context.out) }
    }

    /// Told about the upload.
    pub(super) fn listener(&self) -> ProgressListener {
        self.spinner.listener("uploading code")
    }

    pub(super) fn clear(&self) {
        self.spinner.clear();
    }

    pub(super) fn show(&self, event: &DeployEvent) -> CliResult {
        if self.out.json {
            return self.out.json_line(&as_json(event));
        }
        let (label, detail) = match &event.facts {
            StageFacts::Begun => {
                self.spinner.say(waiting_for(event.stage));
                return Ok(());
            }
            StageFacts::Waiting(why) => {
                self.spinner.say(format!("{}: {why}", waiting_for(event.stage)));
                // Without somebody watching, a long wait must still explain itself.
                if !self.out.lively {
                    self.out.note(format!("waiting: {why}"));
                }
                return Ok(());
            }
            StageFacts::Skipped(why) => (skipped(event.stage), why.clone()),
            StageFacts::Packed { encoding, size: bytes, files } => {
                let files = if *files == 1 { "1 file".to_owned() } else { format!("{files} files") };
                ("packed", format!("{files}, {encoding}, {}", size(*bytes)))
            }
            StageFacts::Uploaded(stored) => ("uploaded code", stored.file_hash.to_string()),
            StageFacts::Signed { program } => ("signed", program.to_string()),
            StageFacts::Accepted { node } => ("accepted by", node.clone()),
            StageFacts::Stored { node } => ("stored on", node.clone()),
            StageFacts::Seen { node } => ("seen on", node.clone()),
            StageFacts::Assigned { node, url } => ("assigned to", named(node, url.as_deref())),
            StageFacts::Allocated { node, url } => ("allocated on", named(node, Some(url))),
            StageFacts::Booted => ("micro-VM up", String::new()),
            StageFacts::Answered { status, .. } => ("first answer", format!("HTTP {status}")),
        };
        let mark = match event.facts {
            StageFacts::Skipped(_) => self.out.dim("-"),
            _ => self.out.good("✓"),
        };
        let line = format!(
            "{mark} {label:<14}{} {}",
            self.out.dim(&format!("{:>9} {:>9}", seconds(event.elapsed), seconds(event.since_start))),
            detail
        );
        self.spinner.aside(|| self.out.line(line.trim_end()))
    }
}

fn named(name: &str, url: Option<&str>) -> String {
    match url {
        Some(url) if url != name => format!("{name} ({url})"),
        _ => name.to_owned(),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

/// What is being done at a station.
fn waiting_for(stage: DeployStage) -> &'static str {
    match stage {
        DeployStage::Pack => "packing the code",
        DeployStage::Upload => "uploading code",
        DeployStage::Sign => "signing",
        DeployStage::Accept | DeployStage::Store => "publishing",
        DeployStage::Spread => "waiting for the other core nodes",
        DeployStage::Assign => "waiting for a responsible core node",
        DeployStage::Allocate => "waiting for a compute node",
        DeployStage::Boot => "booting the micro-VM",
        DeployStage::Answer => "waiting for the first answer",
    }
}

fn skipped(stage: DeployStage) -> &'static str {
    match stage {
        DeployStage::Spread => "seen on",
        DeployStage::Assign => "assigned to",
        DeployStage::Allocate => "allocated on",
        other => other.as_str(),
    }
}

fn as_json(event: &DeployEvent) -> Value {
    let (state, facts) = match &event.facts {
        StageFacts::Begun => ("begun", json!({})),
        StageFacts::Waiting(why) => ("waiting", json!({ "reason": why })),
        StageFacts::Skipped(why) => ("skipped", json!({ "reason": why })),
        StageFacts::Packed { encoding, size, files } => {
            ("done", json!({ "encoding": encoding, "size": size, "files": files }))
        }
        StageFacts::Uploaded(stored) => (
            "done",
            json!({ "item_hash": stored.message, "file_hash": stored.file_hash, "size": stored.size }),
        ),
        StageFacts::Signed { program } => ("done", json!({ "item_hash": program })),
        StageFacts::Accepted { node } | StageFacts::Stored { node } | StageFacts::Seen { node } => {
            ("done", json!({ "node": node }))
        }
        StageFacts::Assigned { node, url } => ("done", json!({ "node": node, "url": url })),
        StageFacts::Allocated { node, url } => ("done", json!({ "node": node, "url": url })),
        StageFacts::Booted => ("done", json!({})),
        StageFacts::Answered { url, status } => ("done", json!({ "url": url, "status": status })),
    };
    let mut line = json!({
        "event": "stage",
        "stage": event.stage.as_str(),
        "state": state,
        "stage_ms": event.elapsed.as_secs_f64() * 1000.0,
        "elapsed_ms": event.since_start.as_secs_f64() * 1000.0,
    });
    if let (Value::Object(line), Value::Object(facts)) = (&mut line, facts) {
        line.extend(facts);
    }
    line
}

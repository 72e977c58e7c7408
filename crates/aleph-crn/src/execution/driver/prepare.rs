//! Message, references, files, plan: everything before a VM.

use std::path::PathBuf;
use std::sync::Arc;

use aleph_types::ItemHash;
use aleph_vm::VmPlan;
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use crate::defaults::{FETCH_PAUSE, FETCH_ROUNDS};
use crate::execution::handle::Command;
use crate::execution::plan::{Need, Part, needs, plan};
use crate::execution::record::{FetchedFile, Record};
use crate::failure::Failure;
use crate::network::files::{FileError, LocalFile};
use crate::network::messages::{Program, StoredFile};
use crate::node::Node;

/// Everything that a launch needs.
#[derive(Debug)]
pub(crate) struct Preparation {
    pub(crate) program: Arc<Program>,
    pub(crate) files: Vec<FetchedFile>,
    pub(crate) plan: VmPlan,
}

/// Prepares `hash` in the background and reports to `commands`.
pub(super) fn spawn(
    node: &Arc<Node>,
    hash: &ItemHash,
    known: Option<Arc<Program>>,
    attempt: u64,
    commands: mpsc::UnboundedSender<Command>,
) {
    let (node, hash) = (Arc::clone(node), hash.clone());
    node.clone().tasks.spawn(async move {
        let work = prepare(&node, &hash, known, attempt, &commands);
        let result = tokio::select! {
            result = work => result,
            () = node.shutdown.cancelled() => return,
        };
        let _ = commands.send(Command::Prepared { attempt, result: Box::new(result) });
    });
}

async fn prepare(
    node: &Arc<Node>,
    hash: &ItemHash,
    known: Option<Arc<Program>>,
    attempt: u64,
    commands: &mpsc::UnboundedSender<Command>,
) -> Result<Preparation, Failure> {
    let record = Record::load(&node.programs_dir(), hash);
    let program = match known {
        Some(program) => program,
        None => Arc::new(message(node, hash, record.as_ref()).await?),
    };
    let _ = commands.send(Command::Resolved { attempt });

    let needed = needs(&program, &node.config.limits);
    let files = try_join_all(needed.iter().map(|need| fetch(node, need, record.as_ref())));
    let (files, boot) = tokio::try_join!(files, node.boot_images())?;

    let host = node.host_rules(boot).await;
    let path_of = |part: Part| -> Option<PathBuf> {
        let index = needed.iter().position(|need| need.what == part)?;
        files.get(index).map(|(_, file)| file.path.clone())
    };
    let plan = plan(&program, path_of, &host)?;
    let files: Vec<FetchedFile> = needed
        .iter()
        .zip(files)
        .map(|(need, (stored, file))| FetchedFile {
            what: need.what.as_str().to_owned(),
            stored,
            size: file.size,
            fetched: file.fetched,
        })
        .collect();
    if files.iter().any(|file| file.fetched > 0) {
        let node = Arc::clone(node);
        node.clone().tasks.spawn(async move { node.sweep_files().await });
    }
    save(node, hash, Record { document: program.document.clone(), files: files.clone() }).await;
    Ok(Preparation { program, files, plan })
}

/// The message from the core nodes; while none answers, the one that was kept.
async fn message(node: &Node, hash: &ItemHash, record: Option<&Record>) -> Result<Program, Failure> {
    match node.messages.program(hash).await {
        Err(failure @ Failure::CoreNodesUnreachable(_)) => record
            .and_then(|record| Program::from_document(hash, record.document.clone()))
            .inspect(|_| tracing::warn!(%hash, "no core node answers; using the kept message"))
            .ok_or(failure),
        other => other,
    }
}

/// One file: which it is, then its bytes. What no core node has yet may still be spreading.
async fn fetch(
    node: &Node,
    need: &Need,
    record: Option<&Record>,
) -> Result<(StoredFile, LocalFile), Failure> {
    let mut pause = FETCH_PAUSE;
    for _ in 1..FETCH_ROUNDS {
        match fetch_once(node, need, record).await {
            Err(failure @ (Failure::FileUnavailable { .. } | Failure::CoreNodesUnreachable(_))) => {
                tracing::debug!(reference = %need.reference, %failure, "file not here yet");
            }
            other => return other,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    fetch_once(node, need, record).await
}

async fn fetch_once(
    node: &Node,
    need: &Need,
    record: Option<&Record>,
) -> Result<(StoredFile, LocalFile), Failure> {
    let asked = node.messages.file_of(need.what.as_str(), &need.reference, need.use_latest).await;
    let stored = match asked {
        // While no core node answers, what was understood before counts.
        Err(failure @ Failure::CoreNodesUnreachable(_)) => record
            .and_then(|record| {
                record.files.iter().find(|file| {
                    file.stored.reference == need.reference && file.stored.use_latest == need.use_latest
                })
            })
            .map(|file| file.stored.clone())
            .ok_or(failure)?,
        other => other?,
    };
    let file = node.files.get(&stored.file, need.most).await.map_err(|error| failure_of(need, error))?;
    Ok((stored, file))
}

fn failure_of(need: &Need, error: FileError) -> Failure {
    let what = need.what.as_str();
    let reference = need.reference.to_string();
    match error {
        FileError::TooLarge { size, most } => {
            Failure::FileTooLarge { label: need.what.label(), inline: need.inline, size, most }
        }
        FileError::Corrupt(cause) => Failure::FileCorrupt { what, reference, cause },
        FileError::Unreachable(cause) => Failure::CoreNodesUnreachable(cause),
        FileError::DiskFull(cause) => Failure::NoCapacity(format!("Its {what} does not fit: {cause}")),
        FileError::Local(cause) => Failure::Initialisation(format!("{what} {reference}: {cause}")),
        other => Failure::FileUnavailable { what, reference, cause: other.to_string() },
    }
}

/// A record that can't be written costs a fetch later, nothing else.
async fn save(node: &Node, hash: &ItemHash, record: Record) {
    let (folder, of) = (node.programs_dir(), hash.clone());
    let saved = tokio::task::spawn_blocking(move || record.save(&folder, &of)).await;
    if let Ok(Err(error)) = saved {
        tracing::warn!(%hash, %error, "the record of a program can't be written");
    }
}

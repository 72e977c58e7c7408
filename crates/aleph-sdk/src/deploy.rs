mod way;

use std::path::PathBuf;
use std::time::Duration;

use aleph_types::content::Encoding;
use aleph_types::{Address, ItemHash, MessageStatus};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::account::Account;
use crate::builder::MessageBuilder;
use crate::client::Client;
use crate::compute::{ComputeNode, Execution, ProgramRequest};
use crate::error::{Error, Result};
use crate::files::{Stored, Upload};
use crate::pack::{PackedCode, pack};
use crate::placement::Placement;
use crate::program::ProgramSpec;
use crate::transfer::ProgressListener;

use way::Way;
pub use way::{DeployEvent, DeployStage, StageFacts};

/// What to deploy.
#[derive(Debug, Clone)]
pub struct DeployRequest {
    /// A folder or a file; see [`pack`].
    pub code: PathBuf,
    /// Form of the code, if not the one that fits.
    pub encoding: Option<Encoding>,
    /// Everything else; `encoding` is set by what was packed, an empty `entrypoint` by what was found.
    pub spec: ProgramSpec,
    /// Free label of both messages.
    pub channel: Option<String>,
    /// Who owns program and code; the account itself unless set.
    pub owner: Option<Address>,
    /// Other core nodes that are asked whether they have the program.
    pub witnesses: Vec<Client>,
    /// Whether to wait for the first answer, or only for the message to be stored.
    pub wait_for_answer: bool,
    /// Longest wait for each station after the message is stored.
    pub patience: Duration,
    /// Told about the upload's progress.
    pub progress: ProgressListener,
}

impl DeployRequest {
    /// The code at `path` as `spec` says, waiting up to two minutes a station for its first answer.
    pub fn new(code: impl Into<PathBuf>, spec: ProgramSpec) -> Self {
        Self {
            code: code.into(),
            encoding: None,
            spec,
            channel: None,
            owner: None,
            witnesses: Vec::new(),
            wait_for_answer: true,
            patience: Duration::from_secs(120),
            progress: ProgressListener::silent(),
        }
    }
}

/// A program on the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// The PROGRAM message.
    pub program: ItemHash,
    /// The code.
    pub code: Stored,
    /// The entrypoint that was used.
    pub entrypoint: String,
    /// Where it answers; `None` when that was not waited for or the network does not tell.
    pub url: Option<String>,
    /// From the beginning to the last station.
    pub took: Duration,
}

/// Takes a program from a folder to its first answer and tells `listener` about every station.
///
/// # Errors
/// [`Error::Rejected`] when the network refuses one of the two messages; [`Error::TimedOut`] when a station
/// is not reached in time — what was published stays published and may still get there.
pub async fn deploy(
    client: &Client,
    account: &Account,
    request: DeployRequest,
    listener: &mut (dyn FnMut(DeployEvent) + Send),
) -> Result<Deployed> {
    let mut way = Way::new(listener);

    way.begin(DeployStage::Pack);
    let packed = pack_elsewhere(request.code.clone(), request.encoding).await?;
    let mut spec = request.spec.clone();
    spec.encoding = packed.encoding;
    if spec.entrypoint.is_empty() {
        spec.entrypoint = packed.default_entrypoint.clone().ok_or_else(|| {
            Error::input(format!(
                "{} has no main.py or app.py; name the entrypoint, as in 'module:app' or the name of a file",
                request.code.display()
            ))
        })?;
    }
    way.tell(
        DeployStage::Pack,
        StageFacts::Packed { encoding: packed.encoding, size: packed.size, files: packed.files },
    );

    way.begin(DeployStage::Upload);
    let upload = Upload::file(packed.path())
        .channel(request.channel.clone())
        .on_behalf_of(request.owner.clone())
        .payment(spec.payment)
        .progress(request.progress.clone());
    let code = client.upload(account, upload).await?;
    if code.status != MessageStatus::Processed {
        way.tell(
            DeployStage::Upload,
            StageFacts::Waiting("the node has the code but not applied it yet".into()),
        );
        client.wait_processed(&code.message, request.patience).await?;
    }
    drop(packed);
    way.tell(DeployStage::Upload, StageFacts::Uploaded(code.clone()));

    way.begin(DeployStage::Sign);
    let builder = MessageBuilder::program(&spec, &code.message)
        .maybe_channel(request.channel.as_deref())
        .maybe_on_behalf_of(request.owner.as_ref());
    let message = client.sign(account, builder).await?;
    let program = message.item_hash.clone();
    way.tell(DeployStage::Sign, StageFacts::Signed { program: program.clone() });

    way.begin(DeployStage::Accept);
    way.begin(DeployStage::Store);
    let outcome = client.publish_message(&message, true).await?;
    let node = client.base_url().to_owned();
    way.tell(DeployStage::Accept, StageFacts::Accepted { node: node.clone() });
    if outcome.status != MessageStatus::Processed {
        client.wait_processed(&program, request.patience).await?;
    }
    way.tell(DeployStage::Store, StageFacts::Stored { node });

    let compute = follow(client, &request, &program, &mut way).await?;
    let url = match compute {
        Some(compute) => Some(first_answer(&compute, &program, request.patience, &mut way).await?),
        None => None,
    };
    let took = way.start.elapsed();
    Ok(Deployed { program, code, entrypoint: spec.entrypoint, url, took })
}

async fn pack_elsewhere(path: PathBuf, encoding: Option<Encoding>) -> Result<PackedCode> {
    tokio::task::spawn_blocking(move || pack(&path, encoding))
        .await
        .map_err(|error| Error::Broken { what: "packing the code", source: error.into() })?
}

/// What the tasks that follow a program report.
enum Sighting {
    Seen(String),
    Placed(Result<Option<Box<Placement>>>),
}

/// Waits until every witness has the program and a compute node is chosen, in whatever order.
async fn follow(
    client: &Client,
    request: &DeployRequest,
    program: &ItemHash,
    way: &mut Way<'_>,
) -> Result<Option<ComputeNode>> {
    let started = Instant::now();
    let deadline = started + request.patience;
    let grace = Duration::from_secs(2).min(request.patience / 4);
    let (sender, mut sightings) = mpsc::channel(16);
    // Aborted when this function is left.
    let mut tasks = JoinSet::new();
    let mut unseen = request.witnesses.len();
    if unseen > 0 {
        way.begin(DeployStage::Spread);
    }
    for witness in request.witnesses.clone() {
        let sender = sender.clone();
        let program = program.clone();
        tasks.spawn(async move {
            let mut pause = Duration::from_millis(5);
            while !matches!(witness.message_status(&program).await, Ok(Some(MessageStatus::Processed))) {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(250));
            }
            let _ = sender.send(Sighting::Seen(witness.base_url().to_owned())).await;
        });
    }
    let mut placing = request.wait_for_answer;
    if placing {
        way.begin(DeployStage::Assign);
        way.begin(DeployStage::Allocate);
        let client = client.clone();
        let program = program.clone();
        tasks.spawn(async move {
            let mut pause = Duration::from_millis(10);
            loop {
                let answer = client.placement(&program).await.map(|found| found.map(Box::new));
                let settled = match &answer {
                    Ok(Some(placement)) => placement.allocation.is_some(),
                    Ok(None) | Err(_) => false,
                };
                if sender.send(Sighting::Placed(answer)).await.is_err() || settled {
                    return;
                }
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(500));
            }
        });
    }

    let mut assigned = false;
    let mut absent = 0;
    // Why it still takes, for the error; and what of it was shown.
    let (mut told, mut shown): (Option<String>, Option<String>) = (None, None);
    let mut chosen = None;
    while unseen > 0 || placing {
        let Ok(Some(sighting)) = timeout_at(deadline, sightings.recv()).await else {
            if !placing {
                // The program runs; a silent witness is worth a word, not a failure.
                way.tell(
                    DeployStage::Spread,
                    StageFacts::Skipped(format!("{unseen} core node(s) did not show it in time")),
                );
                return Ok(chosen);
            }
            let why = told.map(|why| format!(": {why}")).unwrap_or_default();
            return Err(Error::TimedOut {
                what: format!("no compute node took program {program}{why};"),
                after: request.patience,
            });
        };
        match sighting {
            Sighting::Seen(node) => {
                unseen -= 1;
                way.tell(DeployStage::Spread, StageFacts::Seen { node });
            }
            Sighting::Placed(Ok(Some(placement))) => {
                if let (Some(node), false) = (&placement.responsible, assigned) {
                    assigned = true;
                    let name = if node.name.is_empty() { &node.hash } else { &node.name };
                    way.tell(
                        DeployStage::Assign,
                        StageFacts::Assigned { node: name.clone(), url: node.url.clone() },
                    );
                }
                if let Some(allocation) = &placement.allocation {
                    placing = false;
                    let node = allocation
                        .name
                        .clone()
                        .or_else(|| allocation.crn_hash.clone())
                        .unwrap_or_else(|| allocation.url.clone());
                    way.tell(
                        DeployStage::Allocate,
                        StageFacts::Allocated { node, url: allocation.url.clone() },
                    );
                    chosen = Some(ComputeNode::new(&allocation.url)?);
                } else if let Some(obstacle) = placement.obstacle() {
                    // For a moment it is only that news travels.
                    if started.elapsed() > grace && shown.as_deref() != Some(obstacle.as_str()) {
                        way.tell(DeployStage::Allocate, StageFacts::Waiting(obstacle.clone()));
                        shown = Some(obstacle.clone());
                    }
                    told = Some(obstacle);
                }
            }
            Sighting::Placed(Ok(None)) => {
                // The program is processed here: what is unknown is the route.
                absent += 1;
                if absent >= 3 {
                    placing = false;
                    let why = format!("{} does not tell where programs run", client.base_url());
                    way.tell(DeployStage::Assign, StageFacts::Skipped(why.clone()));
                    way.tell(DeployStage::Allocate, StageFacts::Skipped(why));
                }
            }
            Sighting::Placed(Err(error)) => {
                told = Some(error.to_string());
            }
        }
    }
    Ok(chosen)
}

/// Boots the program by its first request and waits for its answer.
async fn first_answer(
    compute: &ComputeNode,
    program: &ItemHash,
    patience: Duration,
    way: &mut Way<'_>,
) -> Result<String> {
    let started = Instant::now();
    way.begin(DeployStage::Boot);
    way.begin(DeployStage::Answer);
    let mut booted = false;
    let mut told: Option<String> = None;
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let mut request = ProgramRequest::get("/");
        request.timeout = left.max(Duration::from_secs(1));
        let answer = {
            let calling = compute.call(program, request);
            let up = until_up(compute, program);
            tokio::pin!(calling, up);
            loop {
                tokio::select! {
                    answer = &mut calling => break answer,
                    () = &mut up, if !booted => {
                        booted = true;
                        way.tell(DeployStage::Boot, StageFacts::Booted);
                    }
                }
            }
        };
        let error = match answer {
            // Older nodes set no header; below 500 it can only be the program.
            Ok(answer) if answer.from_program || answer.status.as_u16() < 400 => {
                if !booted {
                    way.tell(DeployStage::Boot, StageFacts::Booted);
                }
                let url = compute.program_url(program);
                let status = answer.status.as_u16();
                way.tell(DeployStage::Answer, StageFacts::Answered { url: url.clone(), status });
                return Ok(url);
            }
            // The allocation may be younger than the compute node's knowledge of it.
            Ok(answer) if matches!(answer.status.as_u16(), 404 | 429 | 503) => answer.into_error().await,
            Ok(answer) => return Err(answer.into_error().await),
            Err(error) => error,
        };
        if started.elapsed() >= patience {
            return Err(error);
        }
        let reason = error.to_string();
        if told.as_deref() != Some(reason.as_str()) {
            way.tell(DeployStage::Boot, StageFacts::Waiting(reason.clone()));
            told = Some(reason);
        }
        sleep(Duration::from_millis(300)).await;
    }
}

/// Ends when the node lists the program as running.
async fn until_up(compute: &ComputeNode, program: &ItemHash) {
    let mut pause = Duration::from_millis(50);
    loop {
        if let Ok(executions) = compute.executions().await
            && executions.get(program.as_str()).is_some_and(Execution::is_up)
        {
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(400));
    }
}

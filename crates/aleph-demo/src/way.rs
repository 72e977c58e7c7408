//! The ways: of a message, of a program, and of what a visitor writes into it.

use std::path::Path;
use std::time::{Duration, Instant};

use aleph_sdk::{
    Account, Client, ComputeNode, DeployEvent, DeployRequest, DeployStage, MessageBuilder, ProgramSpec,
    StageFacts, deploy,
};
use aleph_types::content::Encoding;
use aleph_types::{ItemHash, MessageStatus};
use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use crate::machine::Machine;
use crate::narrator::{Narrator, short};
use crate::network::Network;

/// A message is on every core node within this time, or something is wrong.
const SPREAD: Duration = Duration::from_secs(30);
/// A station of a deployment: the first boot under software emulation takes seconds, a cold cache more.
const STATION: Duration = Duration::from_secs(180);
/// One answer of the program.
const ANSWER: Duration = Duration::from_secs(60);
/// Requests of which the fastest is told as the warm answer.
const WARM: usize = 10;

/// A deployed program.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) hash: ItemHash,
    /// where it answers, with a slash at the end
    pub(crate) url: String,
}

/// A note is signed, accepted by the first core node and seen on the others.
pub(crate) async fn of_a_message(narrator: &Narrator, network: &Network) -> Result<()> {
    narrator.heading("a message");
    let clients = network.clients()?;
    let account = network.account("alice")?;
    let (first_name, first) = &clients[0];

    let started = Instant::now();
    let note = MessageBuilder::post("note", serde_json::json!({"text": "hello, network"})).channel("demo");
    let message = note.build(&account)?.sign(&account)?;
    let hash = message.item_hash.clone();
    narrator.reached(
        "signed",
        &format!("POST {} by {}", short(hash.as_str()), short(account.address().as_str())),
        started.elapsed(),
    );

    // the others are asked from the beginning: they may know before the first one has answered
    let published = Instant::now();
    let mut sightings = JoinSet::new();
    for (name, client) in clients.iter().skip(1).cloned() {
        let hash = hash.clone();
        sightings.spawn(async move { seen(&client, &hash, published).await.map(|after| (name, after)) });
    }
    let outcome = first.publish_message(&message, true).await?;
    if outcome.status != MessageStatus::Processed {
        first.wait_processed(&hash, SPREAD).await?;
    }
    narrator.reached("accepted", &format!("by {first_name}: checked, stored, on disk"), published.elapsed());
    while let Some(sighting) = sightings.join_next().await {
        let (name, after) = sighting.context("a watcher broke off")??;
        narrator.reached("seen", &format!("on {name}"), after);
    }
    Ok(())
}

/// When `client`'s node has processed the message, counted from `since`.
async fn seen(client: &Client, hash: &ItemHash, since: Instant) -> Result<Duration> {
    loop {
        if client.message_status(hash).await? == Some(MessageStatus::Processed) {
            return Ok(since.elapsed());
        }
        if since.elapsed() > SPREAD {
            bail!("{} has not got message {hash} after {} s", client.base_url(), SPREAD.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The guestbook goes from its folder to its first answer.
pub(crate) async fn of_a_program(
    narrator: &Narrator,
    network: &Network,
    folder: &Path,
    runtime: ItemHash,
) -> Result<Program> {
    narrator.heading("a program: the guestbook");
    let mut clients = network.clients()?.into_iter().map(|(_, client)| client);
    let client = clients.next().context("the network has no core node")?;
    let account = network.account("alice")?;
    // the guestbook signs its entries with a key of its own; variables of programs are public
    let own_key = Account::generate()?;
    let mut spec = ProgramSpec::new("main:app", Encoding::Zip, runtime);
    spec.name = Some("guestbook".to_owned());
    spec.variables.insert("GUESTBOOK_KEY".to_owned(), own_key.secret_hex());
    spec.variables.insert("GUESTBOOK_TITLE".to_owned(), "The devnet's guestbook".to_owned());
    let mut request = DeployRequest::new(folder, spec);
    request.channel = Some("demo".to_owned());
    request.witnesses = clients.collect();
    request.patience = STATION;
    let mut listener = |event: DeployEvent| station(narrator, network, &event);
    let deployed = deploy(&client, &account, request, &mut listener).await?;
    let url = deployed.url.context("the network does not tell where the program answers")?;
    let program = Program { hash: deployed.program, url: format!("{}/", url.trim_end_matches('/')) };

    let mut fastest = Duration::MAX;
    for _ in 0..WARM {
        let started = Instant::now();
        get(&format!("{}health", program.url)).await?;
        fastest = fastest.min(started.elapsed());
    }
    narrator.reached("warm answer", &format!("the fastest of {WARM}"), fastest);
    Ok(program)
}

fn station(narrator: &Narrator, network: &Network, event: &DeployEvent) {
    let name = match event.stage {
        DeployStage::Pack => "packed",
        DeployStage::Upload => "code stored",
        DeployStage::Sign => "signed",
        DeployStage::Accept => "accepted",
        DeployStage::Store => "processed",
        DeployStage::Spread => "seen",
        DeployStage::Assign => "assigned to",
        DeployStage::Allocate => "allocated on",
        DeployStage::Boot => "VM up",
        DeployStage::Answer => "first answer",
    };
    let what = match &event.facts {
        StageFacts::Begun => return narrator.waiting(name, ""),
        StageFacts::Waiting(why) => return narrator.waiting(name, why),
        StageFacts::Skipped(why) => return narrator.skipped(name, why),
        StageFacts::Packed { encoding, size, files } => {
            format!("{files} files, {:.1} KiB of {}", *size as f64 / 1024.0, encoding.as_str())
        }
        StageFacts::Uploaded(stored) => format!("STORE {}", short(stored.message.as_str())),
        StageFacts::Signed { program } => format!("PROGRAM {}", short(program.as_str())),
        StageFacts::Accepted { node } | StageFacts::Stored { node } => {
            format!("by {}", network.name_of(node))
        }
        StageFacts::Seen { node } => format!("on {}", network.name_of(node)),
        StageFacts::Assigned { node, .. } => format!("core node {node}"),
        StageFacts::Allocated { node, .. } => format!("compute node {node}"),
        StageFacts::Booted => "the guest says that it is ready".to_owned(),
        StageFacts::Answered { status, .. } => format!("HTTP {status}"),
    };
    narrator.reached(name, &what, event.elapsed);
}

/// A visitor signs; the entry is a message of the network before the answer comes.
pub(crate) async fn of_a_visitor(narrator: &Narrator, network: &Network, program: &Program) -> Result<()> {
    narrator.heading("a visitor signs the guestbook");
    let text = "Hello from a visitor. This travelled out of a micro-VM.";
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let started = Instant::now();
    let answer = http
        .post(&program.url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("name=Ada&text={}", text.replace(' ', "+").replace(',', "%2C")))
        .timeout(ANSWER)
        .send()
        .await?;
    let status = answer.status();
    let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(hash) = location.strip_prefix("?signed=").map(str::to_owned) else {
        let said = answer.text().await.unwrap_or_default();
        bail!("the guestbook answered {status}: {}", said.chars().take(300).collect::<String>());
    };
    narrator.reached("signed", &format!("inside the VM: POST {}", short(&hash)), started.elapsed());

    let hash: ItemHash = hash.parse().context("the guestbook names a hash that is none")?;
    for (name, client) in network.clients()? {
        let after = seen(&client, &hash, started).await?;
        narrator.reached("seen", &format!("on {name}"), after);
    }
    let started = Instant::now();
    let page = get(&program.url).await?;
    if !page.contains("travelled out of a micro-VM") {
        bail!("the guestbook's page does not show the entry");
    }
    narrator.reached("read again", "the page shows the entry", started.elapsed());
    Ok(())
}

/// The machine is stopped by its owner, and the next request starts it again: from a template, where
/// one could be made of the first start.
pub(crate) async fn of_a_second_start(
    narrator: &Narrator,
    network: &Network,
    program: &Program,
) -> Result<()> {
    narrator.heading("the VM is stopped by its owner, and starts again");
    let node = network.compute_nodes.iter().find(|node| program.url.starts_with(&node.url));
    let node = node.with_context(|| format!("no compute node of the network serves {}", program.url))?;
    let started = Instant::now();
    ComputeNode::new(&node.url)?.stop(&network.account("alice")?, &program.hash).await?;
    narrator.reached("stopped", &format!("on {}", node.name), started.elapsed());
    narrator.waiting("first answer", "");
    let started = Instant::now();
    get(&format!("{}health", program.url)).await?;
    let took = started.elapsed();
    let machine = Machine::ask(&node.url, &program.hash).await?;
    let what = match (machine.mode.as_deref(), machine.template_note) {
        (Some("template"), _) => "from a template of the first start".to_owned(),
        (_, Some(note)) => format!("cold: {note}"),
        (_, None) => "cold".to_owned(),
    };
    narrator.reached("first answer", &what, took);
    Ok(())
}

/// GET, as text; any answer but a success is an error with its beginning.
pub(crate) async fn get(url: &str) -> Result<String> {
    let answer = reqwest::Client::new().get(url).timeout(ANSWER).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("{url} answered {status}: {}", text.chars().take(300).collect::<String>());
    }
    Ok(text)
}

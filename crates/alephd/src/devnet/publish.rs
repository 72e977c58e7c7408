//! The runtimes of `runtimes/build`, put on the network as anybody would put a file there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use aleph_sdk::{Client, MessageBuilder, PaymentMethod};
use aleph_types::{ItemHash, Message, MessageStatus, Timestamp};
use aleph_vm::RuntimeManifest;
use anyhow::{Context, Result};

use super::plan::Plan;
use super::report::Runtime;

/// A core node takes in a runtime image within this time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Signed messages of the runtimes.
///
/// They are dated with the network's first start, so every start signs the same messages, and the
/// genesis file can name them before they are published.
#[derive(Debug)]
pub(crate) struct Runtimes {
    each: Vec<Signed>,
}

#[derive(Debug)]
struct Signed {
    name: String,
    path: PathBuf,
    file: ItemHash,
    size: u64,
    message: Message,
}

impl Runtimes {
    /// # Errors
    /// When the manifest names no hashes.
    pub(crate) fn sign(plan: &Plan, manifest: &RuntimeManifest) -> Result<Self> {
        let time = Timestamp::from_secs_f64(plan.times.created).context("the network's time is none")?;
        let account = &plan.publisher.account;
        let mut each = Vec::with_capacity(manifest.runtimes.len());
        for (name, image) in &manifest.runtimes {
            let file: ItemHash = image
                .sha256
                .parse()
                .with_context(|| format!("the manifest's hash of {name} is none; run runtimes/build"))?;
            let message = MessageBuilder::store(&file, None, None, PaymentMethod::Credit)
                .channel("FOUNDATION")
                .at(time)
                .build(account)?
                .sign(account)?;
            each.push(Signed {
                name: name.clone(),
                path: image.path.clone(),
                file,
                size: image.size,
                message,
            });
        }
        Ok(Self { each })
    }

    /// Name and message of each.
    pub(crate) fn names(&self) -> Vec<(String, String)> {
        self.each
            .iter()
            .map(|runtime| (runtime.name.clone(), runtime.message.item_hash.to_string()))
            .collect()
    }

    /// Uploads what the network does not have yet.
    ///
    /// # Errors
    /// When a core node refuses a file, or does not answer.
    pub(crate) async fn publish(self, plan: &Plan) -> Result<BTreeMap<String, Runtime>> {
        let clients = plan.core.iter().map(|node| Client::new(&node.url())).collect::<Result<Vec<_>, _>>()?;
        let client = clients.first().context("the network has no core node")?;
        let mut published = BTreeMap::new();
        for runtime in self.each {
            let hash = runtime.message.item_hash.clone();
            let known = client.message_status(&hash).await?;
            if known != Some(MessageStatus::Processed) {
                tracing::info!(runtime = runtime.name, bytes = runtime.size, "publishing");
                upload(client, &runtime)
                    .await
                    .with_context(|| format!("can't publish the runtime {}", runtime.name))?;
            }
            // a compute node asks any core node
            for client in &clients {
                client.wait_processed(&hash, PATIENCE).await?;
            }
            published.insert(runtime.name, Runtime { message: hash, file: runtime.file, size: runtime.size });
        }
        Ok(published)
    }
}

/// The file first, then its message, which then finds it there.
async fn upload(client: &Client, runtime: &Signed) -> Result<()> {
    let bytes = tokio::fs::read(&runtime.path)
        .await
        .with_context(|| format!("can't read {}", runtime.path.display()))?;
    let stored = client.add_bytes(bytes.into()).await?;
    if stored != runtime.file {
        anyhow::bail!(
            "{} is not the file that its manifest names (its hash is {stored}); run runtimes/build",
            runtime.path.display()
        );
    }
    client.publish_message(&runtime.message, true).await?;
    Ok(())
}

use std::path::PathBuf;
use std::time::Duration;

use aleph_sdk::{
    Client, DeployRequest, LARGEST_INLINE_CODE, ProgramSpec, Runtimes, SETTINGS_ADDRESS, StageFacts,
    VolumeSpec, deploy,
};
use aleph_types::content::Encoding;
use aleph_types::{Address, ItemHash};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::stages::Stages;
use crate::arguments::{Payment, Publish, pair};
use crate::context::Context;
use crate::error::{CliError, CliResult};

/// Form of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Archive; up to 10 MB
    Zip,
    /// Disk image; any size, needs mksquashfs
    Squashfs,
    /// One file as it is
    Plain,
}

impl From<Form> for Encoding {
    fn from(form: Form) -> Self {
        match form {
            Form::Zip => Encoding::Zip,
            Form::Squashfs => Encoding::Squashfs,
            Form::Plain => Encoding::Plain,
        }
    }
}

/// Take a program from a folder to its first answer
///
/// The code is packed, stored and published; a core node becomes responsible for it and chooses a compute
/// node, which boots it in a micro-VM. Each station is shown with its times; with --json each is a line, and
/// the last line is the result.
///
/// A folder with main.py that defines `app` (ASGI) needs no option. A single executable file that listens on
/// port 8080 is deployed with --runtime executable.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  aleph program deploy ./my-app
  aleph program deploy ./my-app --entrypoint web:app --memory 512 --env MODE=production
  aleph program deploy ./server --runtime executable --name server
  aleph program deploy ./my-app --json | jq -r 'select(.event == \"deployed\").url'")]
pub(crate) struct Arguments {
    /// Folder, archive or file with the code
    path: PathBuf,
    /// `module:app` of an ASGI application, or the name of an executable [default: main:app if there is one]
    #[arg(long, value_name = "ENTRY")]
    entrypoint: Option<String>,
    /// Runtime: a name that the network offers, or the hash of its STORE message [default: python3, or
    /// executable for a plain file]
    #[arg(long, value_name = "NAME|HASH")]
    runtime: Option<String>,
    /// Name for people
    #[arg(long)]
    name: Option<String>,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    memory: u32,
    /// Virtual processors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    vcpus: u32,
    /// Most seconds that one request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=315_360_000))]
    timeout: u32,
    /// Environment variable; may be given several times
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    variables: Vec<(String, String)>,
    /// Let the program open connections to the internet
    #[arg(long)]
    internet: bool,
    /// Keep it running instead of starting it on demand
    #[arg(long)]
    persistent: bool,
    /// Let later versions of the code replace this one
    #[arg(long)]
    updatable: bool,
    /// Disk: `ref=HASH,mount=/data`, `size=100,mount=/data[,name=N]` (MiB, outlives executions), or
    /// `ephemeral,size=100,mount=/tmp`
    #[arg(long = "volume", value_name = "SPEC", value_parser = volume)]
    volumes: Vec<VolumeSpec>,
    /// How the code is packed [default: what fits]
    #[arg(long, value_enum)]
    encoding: Option<Form>,
    /// How to pay
    #[arg(long, value_enum, default_value_t = Payment::Credit)]
    payment: Payment,
    /// End when the message is stored, don't wait for the first answer
    #[arg(long)]
    no_wait: bool,
    /// Longest wait in seconds for each later station
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    patience: u64,
    #[command(flatten)]
    publish: Publish,
}

/// Reads the value of `--volume`.
fn volume(text: &str) -> Result<VolumeSpec, String> {
    let (mut reference, mut mount, mut size, mut name) = (None, None, None, None);
    let (mut ephemeral, mut use_latest) = (false, true);
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("ref", hash)) => {
                reference = Some(ItemHash::parse(hash).map_err(|error| error.to_string())?)
            }
            Some(("mount", path)) if path.starts_with('/') => mount = Some(path.to_owned()),
            Some(("mount", _)) => return Err("mount must be an absolute path".to_owned()),
            Some(("size" | "size_mib", mib)) => {
                let mib: u32 = mib.parse().map_err(|_| "size is a number of MiB".to_owned())?;
                size = Some(mib);
            }
            Some(("name", word)) => name = Some(word.to_owned()),
            Some(("latest" | "use_latest", flag)) => {
                use_latest = flag.parse().map_err(|_| "latest is true or false".to_owned())?;
            }
            None if part == "ephemeral" => ephemeral = true,
            _ => {
                return Err(format!(
                    "'{part}' is not part of a volume: use ref=, size=, mount=, name= or ephemeral"
                ));
            }
        }
    }
    let mount = mount.ok_or("a volume needs mount=/path")?;
    match (reference, size) {
        (Some(reference), None) if !ephemeral => Ok(VolumeSpec::Immutable { reference, use_latest, mount }),
        (None, Some(size_mib)) if ephemeral => Ok(VolumeSpec::Ephemeral { size_mib, mount }),
        (None, Some(size_mib)) => Ok(VolumeSpec::Persistent { name, size_mib, mount }),
        (Some(_), _) => Err("a stored volume has no size and is not ephemeral".to_owned()),
        (None, None) => Err("a volume needs ref=HASH or size=MIB".to_owned()),
    }
}

/// The runtime to use when none is named: by what the code looks like.
fn usual_runtime(arguments: &Arguments) -> &'static str {
    let plain_file = arguments.path.is_file()
        && !["py", "zip", "squashfs", "sqsh"]
            .contains(&arguments.path.extension().and_then(|text| text.to_str()).unwrap_or_default());
    let no_module = arguments.entrypoint.as_deref().is_some_and(|entry| !entry.contains(':'));
    if plain_file || no_module { "executable" } else { "python3" }
}

pub(super) async fn run(arguments: &Arguments, context: &Context) -> CliResult {
    let account = context.account()?;
    let client = context.client()?;
    let devnet = context.devnet_in_use();
    let runtime_name = arguments.runtime.as_deref().unwrap_or_else(|| usual_runtime(arguments));
    let known = devnet.map_or_else(Runtimes::new, |devnet| devnet.runtimes());
    let runtime = client.resolve_runtime(runtime_name, &known, &Address::from(SETTINGS_ADDRESS)).await?;

    let mut spec = ProgramSpec::new(arguments.entrypoint.clone().unwrap_or_default(), Encoding::Zip, runtime);
    if ItemHash::parse(runtime_name).is_err() {
        spec.runtime_comment = runtime_name.to_owned();
    }
    spec.memory_mib = arguments.memory;
    spec.vcpus = arguments.vcpus;
    spec.timeout_secs = arguments.timeout;
    spec.variables = arguments.variables.iter().cloned().collect();
    spec.internet = arguments.internet;
    spec.persistent = arguments.persistent;
    spec.updatable = arguments.updatable;
    spec.volumes = arguments.volumes.clone();
    spec.name = arguments.name.clone();
    spec.payment = arguments.payment.into();

    let stages = Stages::new(context);
    let mut request = DeployRequest::new(&arguments.path, spec);
    request.encoding = arguments.encoding.map(Encoding::from);
    request.channel = arguments.publish.channel(context);
    request.owner = arguments.publish.owner();
    request.witnesses = witnesses(context, &client)?;
    request.wait_for_answer = !arguments.no_wait;
    request.patience = Duration::from_secs(arguments.patience);
    request.progress = stages.listener();

    let mut broken: CliResult = Ok(());
    let mut program: Option<ItemHash> = None;
    let mut first_status = None;
    let outcome = deploy(&client, &account, request, &mut |event| {
        match &event.facts {
            StageFacts::Packed { encoding: Encoding::Zip, size, .. } if *size > LARGEST_INLINE_CODE => {
                context.out.note(
                    "warning: compute nodes of the public network refuse archives above 10 MB; pack it with --encoding squashfs",
                );
            }
            StageFacts::Signed { program: hash } => program = Some(hash.clone()),
            StageFacts::Answered { status, .. } => first_status = Some(*status),
            _ => {}
        }
        if broken.is_ok() {
            broken = stages.show(&event);
        }
    })
    .await;
    stages.clear();
    broken?;
    let done = match outcome {
        Ok(done) => done,
        Err(error) => {
            let error = CliError::from(error);
            return Err(match program {
                Some(program) => error
                    .hint(format!("`aleph program show {program}` tells where the program stands"))
                    .hint(format!("`aleph program logs {program}` shows what it wrote, once it ran")),
                None => error,
            });
        }
    };

    let out = &context.out;
    if out.json {
        return out.json_line(&json!({
            "event": "deployed",
            "item_hash": done.program,
            "code": {"item_hash": done.code.message, "file_hash": done.code.file_hash, "size": done.code.size},
            "entrypoint": done.entrypoint,
            "url": done.url,
            "elapsed_ms": done.took.as_secs_f64() * 1000.0,
        }));
    }
    out.line("")?;
    let mut pairs = vec![("program", out.bold(done.program.as_str()))];
    match &done.url {
        Some(url) => pairs.push(("url", out.bold(url))),
        None => pairs.push(("call", format!("aleph program call {}", done.program))),
    }
    out.pairs(&pairs)?;
    if first_status.is_some_and(|status| status >= 500) {
        out.note(format!(
            "the program runs, but answered with an error; `aleph program logs {}` shows what it wrote",
            done.program
        ));
    }
    Ok(())
}

/// Other core nodes that must show the program before it counts as spread: those of the devnet.
fn witnesses(context: &Context, client: &Client) -> CliResult<Vec<Client>> {
    let Some(devnet) = context.devnet_in_use() else { return Ok(Vec::new()) };
    let mut others = Vec::new();
    for node in devnet.core_nodes() {
        let other = client.at(&node.url)?;
        if other.base_url() != client.base_url() {
            others.push(other);
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read() {
        let hash = ItemHash::sha256(b"v");
        assert_eq!(
            volume(&format!("ref={hash},mount=/opt/data")).unwrap(),
            VolumeSpec::Immutable { reference: hash.clone(), use_latest: true, mount: "/opt/data".into() }
        );
        assert_eq!(
            volume("size=100,mount=/data,name=db").unwrap(),
            VolumeSpec::Persistent { name: Some("db".into()), size_mib: 100, mount: "/data".into() }
        );
        assert_eq!(
            volume("ephemeral,size=10,mount=/tmp").unwrap(),
            VolumeSpec::Ephemeral { size_mib: 10, mount: "/tmp".into() }
        );
        for bad in ["", "mount=/x", "size=1", "size=1,mount=x", "ref=zz,mount=/x", "size=1,mount=/x,odd=1"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
        assert!(volume(&format!("ref={hash},size=1,mount=/x")).is_err());
    }
}

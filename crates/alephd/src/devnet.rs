//! `alephd devnet`: a complete private network on this machine.
//!
//! Three core nodes and two compute nodes, each a process of this same binary on loopback, with
//! keys, funded accounts, a node list that links them, and the runtimes published like any user's
//! file. The state is kept in a folder, so that a second start resumes; `--ephemeral` throws it
//! away. However this process ends, its nodes end with it: each holds the reading end of a pipe
//! whose writing end is here.

mod child;
mod follow;
mod genesis;
mod nodes;
mod plan;
mod ports;
mod publish;
mod report;

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aleph_vm::RuntimeManifest;
use anyhow::{Context, Result, bail};
use clap::Args;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use child::{Node, State};
use plan::Plan;
use ports::Ports;
use report::Description;

/// Core nodes of the network.
const CORE_NODES: usize = 3;
/// Compute nodes of the network.
const COMPUTE_NODES: usize = 2;
/// A node that does not answer after so long has failed to start.
const READY: Duration = Duration::from_secs(60);

/// Core nodes on one machine find each other within this time.
const CONNECTED: Duration = Duration::from_secs(5);

/// Run a private network on this machine
#[derive(Debug, Args)]
pub(crate) struct DevnetArgs {
    /// Where keys, messages and files are kept; a second start resumes from there
    #[arg(long, value_name = "DIR", default_value = ".alephd/devnet", conflicts_with = "ephemeral")]
    state: PathBuf,
    /// Keep nothing: a temporary folder, removed at the end
    #[arg(long)]
    ephemeral: bool,
    /// HTTP port of the first core node; the others follow. 0 takes any free ports
    #[arg(long, value_name = "PORT", default_value_t = ports::DEFAULT_BASE)]
    base_port: u16,
    /// Do without programs: no runtimes are published, no machine is started
    #[arg(long)]
    no_vm: bool,
    /// The runtimes to publish [default: where runtimes/build puts them]
    #[arg(long, value_name = "MANIFEST", conflicts_with = "no_vm")]
    runtimes: Option<PathBuf>,
    /// Print one line of JSON when the network answers, instead of a page
    #[arg(long)]
    json: bool,
    /// Show what the nodes log, each line with its node's name
    #[arg(long, short)]
    verbose: bool,
    /// What the nodes log, as for --log
    #[arg(long, value_name = "LEVELS", default_value = "info")]
    node_log: String,
    /// Stay after COMMAND has ended, until Ctrl-C
    #[arg(long, requires = "command")]
    stay: bool,
    /// Run this when the network answers, and end with its code. The variable ALEPH_DEVNET names
    /// the file that describes the network
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the network until `stop` is cancelled or the given command ends; with the code to end with.
///
/// # Errors
/// When a port is taken, the state is in use or damaged, or a node does not start; the error says
/// what to do.
pub(crate) async fn run(args: DevnetArgs, stop: CancellationToken) -> Result<ExitCode> {
    let temporary = if args.ephemeral {
        Some(tempfile::Builder::new().prefix("alephd-devnet-").tempdir()?)
    } else {
        None
    };
    let root = temporary.as_ref().map_or(args.state.as_path(), tempfile::TempDir::path);
    std::fs::create_dir_all(root)
        .with_context(|| format!("can't make the state folder {}", root.display()))?;
    let root = root.canonicalize().with_context(|| format!("can't find {}", root.display()))?;
    let _lock = lock(&root)?;

    let ports = Ports::claim(args.base_port)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let plan = Plan::prepare(&root, &ports, now.as_secs_f64())?;
    let (manifest, no_runtimes) = find_runtimes(&args);
    let store_messages = manifest.as_ref().map(|found| publish::Runtimes::sign(&plan, found)).transpose()?;
    nodes::write_files(&plan, manifest.as_ref(), store_messages.as_ref(), now.as_secs_f64())?;

    let mut description = Description::new(&plan);
    description.no_runtimes = no_runtimes;
    let network = Network::start(&args, &plan)?;
    if args.verbose {
        network.show_logs(&stop);
    }
    let outcome = tokio::select! {
        outcome = network.serve(&args, &plan, store_messages, description) => outcome,
        () = stop.cancelled() => Ok(ExitCode::SUCCESS),
    };
    network.stop().await;
    nodes::stop_machines(&plan).await;
    if !args.json && args.command.is_empty() {
        println!("stopped");
    }
    drop(temporary);
    outcome
}

/// Runs a command that knows the network by `ALEPH_DEVNET`; with its code.
async fn run_command(command: &[OsString], description: &Path) -> Result<u8> {
    let (program, args) = command.split_first().context("no command")?;
    let status = tokio::process::Command::new(program)
        .args(args)
        .env("ALEPH_DEVNET", description)
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("can't start {}", program.to_string_lossy()))?;
    // a command that was ended by a signal has no code
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Waits until the core nodes know each other, so that the first message goes to all at once. They
/// work without, too: this is not worth an error.
async fn wait_connected(plan: &Plan, http: &reqwest::Client) {
    #[derive(serde::Deserialize)]
    struct Health {
        peers: Option<usize>,
    }
    let everybody = async {
        for node in &plan.core {
            let url = format!("{}/api/v1/node/health", node.url());
            loop {
                if let Ok(answer) = http.get(&url).send().await
                    && let Ok(health) = answer.json::<Health>().await
                    && health.peers.is_none_or(|peers| peers >= CORE_NODES - 1)
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
    };
    if tokio::time::timeout(CONNECTED, everybody).await.is_err() {
        tracing::warn!("the core nodes are not all connected yet; messages arrive by catching up");
    }
}

/// Two networks in one folder would destroy each other's state.
fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("can't write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "another devnet runs on {}; stop it, or choose another folder with --state (or --ephemeral)",
            root.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("can't lock {}", path.display()))
        }
    }
}

/// The runtimes, or why there are none.
fn find_runtimes(args: &DevnetArgs) -> (Option<RuntimeManifest>, Option<String>) {
    if args.no_vm {
        return (None, Some("started with --no-vm".to_owned()));
    }
    let path = args.runtimes.clone().unwrap_or_else(RuntimeManifest::default_path);
    match RuntimeManifest::load(&path) {
        Ok(manifest) => (Some(manifest), None),
        Err(error) => (None, Some(format!("{error}. Programs will not run"))),
    }
}

/// The network's processes.
struct Network {
    /// Core nodes; they end last.
    core: Group,
    compute: Group,
}

/// Nodes that start and stop together.
struct Group {
    nodes: Vec<Node>,
    states: Vec<watch::Receiver<State>>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

impl Group {
    fn start(nodes: Vec<Node>) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut states = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let (sender, receiver) = watch::channel(State::Starting);
            tasks.spawn(node.clone().keep_running(stop.clone(), sender));
            states.push(receiver);
        }
        Self { nodes, states, tasks: tokio::sync::Mutex::new(tasks), stop }
    }

    async fn stop(&self) {
        self.stop.cancel();
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }
}

impl Network {
    fn start(args: &DevnetArgs, plan: &Plan) -> Result<Self> {
        let program = std::env::current_exe().context("this program's own file can't be found")?;
        let node = |name: &str, folder: &Path, kind: &str| Node {
            name: name.to_owned(),
            program: program.clone(),
            args: vec![
                "--log".to_owned(),
                args.node_log.clone(),
                kind.to_owned(),
                "--config".to_owned(),
                folder.join(nodes::CONFIG_FILE).display().to_string(),
                "--stop-at-end-of-input".to_owned(),
            ],
            folder: folder.to_owned(),
            pause: child::PAUSE,
        };
        let core = plan.core.iter().map(|core| node(&core.name, &core.folder, "ccn")).collect();
        let compute =
            plan.compute.iter().map(|compute| node(&compute.name, &compute.folder, "crn")).collect();
        Ok(Self { core: Group::start(core), compute: Group::start(compute) })
    }

    fn groups(&self) -> [&Group; 2] {
        [&self.core, &self.compute]
    }

    fn show_logs(&self, stop: &CancellationToken) {
        for node in self.groups().into_iter().flat_map(|group| &group.nodes) {
            tokio::spawn(follow::print(node.name.clone(), node.log_path(), stop.clone()));
        }
    }

    /// Waits until every node answers, publishes, tells, and then keeps the description true.
    async fn serve(
        &self,
        args: &DevnetArgs,
        plan: &Plan,
        runtimes: Option<publish::Runtimes>,
        mut description: Description,
    ) -> Result<ExitCode> {
        let mut states: Vec<(String, watch::Receiver<State>)> = self
            .groups()
            .into_iter()
            .flat_map(|group| {
                group.nodes.iter().map(|node| node.name.clone()).zip(group.states.iter().cloned())
            })
            .collect();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        self.wait_ready(plan, &http).await?;
        wait_connected(plan, &http).await;
        if let Some(runtimes) = runtimes {
            description.runtimes = runtimes.publish(plan).await?;
        }
        let path = plan.root.join("devnet.json");
        self.note_pids(&mut description);
        description.write(&path)?;
        if !args.command.is_empty() {
            let command = run_command(&args.command, &path);
            tokio::select! {
                code = command => match code? {
                    0 if args.stay => println!("\nCtrl-C stops everything"),
                    code => return Ok(ExitCode::from(code)),
                },
                error = self.keep_description(&mut states, &mut description, &path) => return Err(error),
            }
        } else if args.json {
            println!("{}", serde_json::to_string(&description)?);
        } else {
            print!("{}", description.page());
            println!("\nready; Ctrl-C stops everything");
        }
        Err(self.keep_description(&mut states, &mut description, &path).await)
    }

    /// Writes the description anew whenever a node was started again. Returns when one was given up.
    async fn keep_description(
        &self,
        states: &mut [(String, watch::Receiver<State>)],
        description: &mut Description,
        path: &Path,
    ) -> anyhow::Error {
        loop {
            let changes = states.iter_mut().map(|(_, state)| Box::pin(state.changed()));
            if select_all(changes).await.0.is_err() {
                return anyhow::anyhow!("a node is no longer watched");
            }
            for (name, state) in &*states {
                if let State::GivenUp(why) = &*state.borrow() {
                    return anyhow::anyhow!("{name} can't be kept running: {why}");
                }
            }
            self.note_pids(description);
            if let Err(error) = description.write(path) {
                return error;
            }
        }
    }

    async fn wait_ready(&self, plan: &Plan, http: &reqwest::Client) -> Result<()> {
        let core = plan.core.iter().map(|node| format!("{}/api/v0/version", node.url()));
        let compute = plan.compute.iter().map(|node| format!("{}/status/config", node.url()));
        let deadline = tokio::time::Instant::now() + READY;
        for (group, urls) in self.groups().into_iter().zip([core.collect::<Vec<_>>(), compute.collect()]) {
            for ((node, state), url) in group.nodes.iter().zip(&group.states).zip(urls) {
                while !http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    if let State::GivenUp(why) = &*state.borrow() {
                        bail!("{} can't be started: {why}", node.name);
                    }
                    if tokio::time::Instant::now() > deadline {
                        bail!(
                            "{} does not answer at {url} after {} s; its log {} ends with:\n{}",
                            node.name,
                            READY.as_secs(),
                            node.log_path().display(),
                            child::last_lines(&node.log_path(), 8)
                        );
                    }
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
            }
        }
        Ok(())
    }

    fn note_pids(&self, description: &mut Description) {
        for group in self.groups() {
            for (node, state) in group.nodes.iter().zip(&group.states) {
                let pid = match &*state.borrow() {
                    State::Running(pid) => Some(*pid),
                    _ => None,
                };
                description.set_pid(&node.name, pid);
            }
        }
    }

    /// Compute nodes first: they stop their machines while the core nodes still answer.
    async fn stop(&self) {
        self.compute.stop().await;
        self.core.stop().await;
    }
}

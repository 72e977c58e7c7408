//! Everything that the parts of a compute node share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aleph_blobs::BlobStore;
use aleph_types::ItemHash;
use aleph_vm::{
    Acceleration, ApiUpstream, BootImages, EndedVm, HypervisorSettings, LogPage, RuntimeManifest, Supervisor,
    SupervisorCommand, TemplateStore, VmId, hypervisor,
};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::admission::{Admission, Capacity, Place, Share};
use crate::allocation::Allocations;
use crate::auth::replay::ReplayGuard;
use crate::config::{Config, HypervisorChoice, ImageSource};
use crate::defaults::{
    ENDED_LOG_LINES, LOG_STREAMS, MAX_ENDED, MAX_EVICTIONS, MAX_STARTS, RECORD_AGE, STOP_TIMEOUT,
    TEMPLATE_BYTES,
};
use crate::execution::handle::Command;
use crate::execution::machine::{Event, State};
use crate::execution::plan::HostRules;
use crate::execution::record::Record;
use crate::executions::Executions;
use crate::failure::Failure;
use crate::host::HostFacts;
use crate::http::guest::GuestClient;
use crate::network::core_nodes::CoreNodes;
use crate::network::files::Files;
use crate::network::messages::Messages;
use crate::network::signers::Signers;

/// A compute node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) core_nodes: Arc<CoreNodes>,
    pub(crate) messages: Arc<Messages>,
    pub(crate) files: Arc<Files>,
    pub(crate) signers: Signers,
    pub(crate) replay: ReplayGuard,
    pub(crate) admission: Arc<Admission>,
    pub(crate) executions: Executions,
    pub(crate) allocations: Allocations,
    /// VMs that start at once.
    pub(crate) starts: Semaphore,
    /// Requests inside programs at once.
    pub(crate) requests: Arc<Semaphore>,
    /// Logs that are followed at once.
    pub(crate) log_streams: Arc<Semaphore>,
    pub(crate) guests: GuestClient,
    pub(crate) supervisor_command: SupervisorCommand,
    boot: OnceCell<BootImages>,
    /// What `hypervisor = "auto"` means on this host.
    acceleration: OnceCell<Acceleration>,
    /// Folders of VMs that ended while no process of this node watched.
    ended: Mutex<HashMap<VmId, EndedVm>>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
    draining: AtomicBool,
    sweeping: tokio::sync::Mutex<()>,
}

impl Node {
    /// Opens the folders and prepares everything that needs no network.
    pub(crate) fn open(config: Config, shutdown: CancellationToken) -> Result<Arc<Self>, Error> {
        config.check()?;
        let folder = |path: PathBuf| match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(Error::Folder { path, source }),
        };
        for name in ["vms", "programs", "volumes"] {
            folder(config.state_dir.join(name))?;
        }
        let cache = folder(config.cache_dir())?;
        let store = BlobStore::open(cache.join("files"))?;
        let core_nodes = Arc::new(CoreNodes::new(&config.core_nodes).map_err(Error::HttpClient)?);
        let stall = Duration::from_secs(config.limits.download_stall_seconds);
        let files = Arc::new(Files::new(store, Arc::clone(&core_nodes), stall));
        let messages = Arc::new(Messages::new(Arc::clone(&core_nodes), Arc::clone(&files)));
        let host = HostFacts::read(&config.state_dir);
        let capacity = Capacity::of(&config.limits, host.memory_total, host.cores);
        tracing::info!(
            memory_mib = capacity.memory_mib,
            vcpus = capacity.vcpus,
            vms = capacity.vms,
            "capacity for programs"
        );
        if capacity.memory_mib == 0 {
            tracing::warn!(
                "no memory is left for programs: lower limits.host_memory_reserved_mib or set limits.program_memory_mib"
            );
        }
        let supervisor_command = match config.vm.supervisor_command.split_first() {
            Some((program, args)) => SupervisorCommand { program: program.into(), args: args.to_vec() },
            None => SupervisorCommand::current_exe(&["supervise-vm"])?,
        };
        Ok(Arc::new(Self {
            signers: Signers::new(&config, Arc::clone(&messages)),
            allocations: Allocations::load(&config.state_dir)?,
            executions: Executions::new(config.limits.max_executions),
            requests: Arc::new(Semaphore::new(config.limits.max_requests)),
            replay: ReplayGuard::default(),
            admission: Admission::new(capacity),
            starts: Semaphore::new(MAX_STARTS),
            log_streams: Arc::new(Semaphore::new(LOG_STREAMS)),
            guests: GuestClient::default(),
            boot: OnceCell::new(),
            acceleration: OnceCell::new(),
            ended: Mutex::default(),
            tasks: TaskTracker::new(),
            draining: AtomicBool::new(false),
            sweeping: tokio::sync::Mutex::new(()),
            config,
            core_nodes,
            messages,
            files,
            supervisor_command,
            shutdown,
        }))
    }

    /// Where the folders of VMs are.
    pub(crate) fn vms_dir(&self) -> PathBuf {
        self.config.state_dir.join("vms")
    }

    /// Where the records of programs are.
    pub(crate) fn programs_dir(&self) -> PathBuf {
        self.config.state_dir.join("programs")
    }

    /// Whether the node stops and takes no more requests for programs.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// No more requests for programs.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What this host adds to the plan of every program.
    pub(crate) async fn host_rules(&self, boot: BootImages) -> HostRules {
        let acceleration = self.acceleration(&boot).await;
        HostRules {
            boot,
            hypervisor: HypervisorSettings { acceleration, ..HypervisorSettings::default() },
            templates: self.uses_templates().then(|| TemplateStore {
                dir: self.config.cache_dir().join("templates"),
                max_bytes: TEMPLATE_BYTES,
            }),
            volumes_dir: self.config.state_dir.join("volumes"),
            api: self.api_upstream(),
            init_timeout: Duration::from_secs(self.config.limits.init_timeout_seconds),
        }
    }

    /// Which processors VMs get. Finding out whether KVM works may take eight seconds, once.
    async fn acceleration(&self, boot: &BootImages) -> Acceleration {
        match self.config.vm.hypervisor {
            HypervisorChoice::Kvm => return Acceleration::Kvm,
            HypervisorChoice::Tcg => return Acceleration::Tcg,
            HypervisorChoice::Auto => {}
        }
        let found = self.acceleration.get_or_try_init(|| async {
            // Kept beside the images of `runtimes/build`, where the nodes of this machine share it.
            let shared = RuntimeManifest::cache_dir();
            let cache = if boot.kernel.starts_with(&shared) { shared } else { self.vms_dir() };
            let capabilities =
                hypervisor::probe(&HypervisorSettings::default(), &boot.kernel, &cache).await?;
            let note = capabilities.kvm_note.as_deref().unwrap_or("kvm works");
            tracing::info!(qemu = capabilities.qemu, kvm = capabilities.kvm, note, "hypervisor");
            Ok::<_, aleph_vm::VmError>(capabilities.acceleration())
        });
        match found.await {
            Ok(acceleration) => *acceleration,
            Err(error) => {
                // The supervisor says it again to whoever asks for a program.
                tracing::error!(%error, "no vm can be started on this host");
                Acceleration::Auto
            }
        }
    }

    /// Looks at images and hypervisor before the first request needs them, and tidies up.
    pub(crate) async fn get_ready(self: &Arc<Self>) {
        let node = Arc::clone(self);
        let swept = tokio::task::spawn_blocking(move || {
            let allocated = node.allocations.all();
            let keep = |hash: &ItemHash| allocated.contains_key(hash) || node.executions.get(hash).is_some();
            Record::sweep(&node.programs_dir(), RECORD_AGE, keep);
        });
        if let Err(error) = swept.await {
            tracing::warn!(%error, "old records were not swept");
        }
        match self.boot_images().await {
            Ok(boot) => {
                self.acceleration(&boot).await;
            }
            Err(failure) => tracing::error!(%failure, "no vm can be started yet"),
        }
    }

    /// Whether VMs start from templates where that is possible.
    pub(crate) fn uses_templates(&self) -> bool {
        self.config.vm.templates
    }

    /// The core node that guests' calls go to: the first configured one without TLS, because calls are
    /// passed on as they are; a node beside its core node has one. Always the same, so that plans, and
    /// with them templates, stay the same.
    fn api_upstream(&self) -> Option<ApiUpstream> {
        let configured = self.config.core_nodes.iter().filter_map(|url| reqwest::Url::parse(url).ok());
        let url = configured.into_iter().find(|url| url.scheme() == "http")?;
        Some(ApiUpstream { host: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Kernel and initramfs: as configured, else those that `runtimes/build` made.
    pub(crate) async fn boot_images(&self) -> Result<BootImages, Failure> {
        let images = self.boot.get_or_try_init(|| async {
            let vm = &self.config.vm;
            let (Some(kernel), Some(initramfs)) = (&vm.kernel, &vm.initramfs) else {
                let manifest = RuntimeManifest::load(&RuntimeManifest::default_path()).map_err(|error| {
                    Failure::Initialisation(format!(
                        "this node has no guest kernel: {error}; or set vm.kernel and vm.initramfs"
                    ))
                })?;
                return Ok(BootImages { kernel: manifest.kernel.path, initramfs: manifest.initramfs.path });
            };
            Ok(BootImages { kernel: self.image(kernel).await?, initramfs: self.image(initramfs).await? })
        });
        images.await.cloned()
    }

    async fn image(&self, source: &ImageSource) -> Result<PathBuf, Failure> {
        match source {
            ImageSource::File(path) => Ok(path.clone()),
            ImageSource::Store(hash) => {
                let stored = self.messages.file_of("guest image", hash, false).await?;
                let file = self.files.get(&stored.file, self.config.limits.image_bytes).await;
                file.map(|file| file.path).map_err(|error| Failure::FileUnavailable {
                    what: "guest image",
                    reference: hash.to_string(),
                    cause: error.to_string(),
                })
            }
        }
    }

    /// Remembers that a VM has ended; its folder, with its log, stays until the next start.
    pub(crate) fn remember_ended(&self, supervisor: &Supervisor) {
        let id = supervisor.id().clone();
        let ended = EndedVm { id: id.clone(), dir: supervisor.dir().to_owned(), plan: None, last: None };
        self.ended.lock().insert(id, ended);
    }

    /// Removes the folder of the VM `id` if it is known to have ended, so that it can be started again.
    /// The folder of a VM that merely does not answer stays.
    pub(crate) async fn forget_ended(&self, id: &VmId) {
        let ended = self.ended.lock().remove(id);
        if let Some(ended) = ended {
            let forgotten = tokio::task::spawn_blocking(move || Supervisor::forget(&ended)).await;
            if let Ok(Err(error)) = forgotten {
                tracing::warn!(%id, %error, "the folder of an ended vm can't be removed");
            }
        }
    }

    /// Keeps the store of files within its budget.
    pub(crate) async fn sweep_files(&self) {
        let Ok(_only_one) = self.sweeping.try_lock() else { return };
        let needed = self
            .executions
            .all()
            .iter()
            .flat_map(|execution| {
                execution.view().files.iter().map(|file| file.stored.file.clone()).collect::<Vec<_>>()
            })
            .collect();
        let freed = self.files.sweep(self.config.limits.cache_bytes, needed).await;
        if freed > 0 {
            tracing::info!(freed, "old files removed");
        }
    }

    /// Takes a place for a VM. When there is none, and `may_evict`, programs that nobody uses at the moment
    /// make room, the one unused for longest first.
    pub(crate) async fn place_for(
        &self,
        hash: &ItemHash,
        share: Share,
        may_evict: bool,
    ) -> Result<Place, Failure> {
        let mut refusal = String::new();
        for _ in 0..=if may_evict { MAX_EVICTIONS } else { 0 } {
            match self.admission.admit(hash, share) {
                Ok(place) => return Ok(place),
                Err(cause) => refusal = cause,
            }
            let Some(idle) = self.executions.coldest_idle().filter(|_| may_evict) else { break };
            tracing::info!(%hash, stopped = %idle.hash, "making room");
            idle.tell(Command::Event(Event::IdleExpired));
            let ended = idle.wait_until(|view| !view.state.has_vm() || view.state.is_busy());
            if tokio::time::timeout(STOP_TIMEOUT * 2, ended).await.is_err() {
                break;
            }
        }
        Err(Failure::NoCapacity(refusal))
    }

    /// Removes a program that is no more: its VM, its allocation, its volumes.
    pub(crate) async fn remove_program(&self, hash: &ItemHash) {
        if let Err(error) = self.allocations.forget(hash).await {
            tracing::error!(%hash, %error, "the allocation of a removed program can't be taken out");
        }
        if let Some(execution) = self.executions.get(hash) {
            execution.tell(Command::Event(Event::RemoveAsked));
            execution.wait_until(|view| view.state == State::Gone).await;
        }
        if let Err(error) = self.delete_volumes(hash).await {
            tracing::error!(%hash, %error, "the volumes of a removed program can't be deleted");
        }
    }

    /// Deletes the persistent volumes of a program that does not run.
    pub(crate) async fn delete_volumes(&self, hash: &ItemHash) -> std::io::Result<()> {
        match tokio::fs::remove_dir_all(self.config.state_dir.join("volumes").join(hash.as_str())).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The log of a VM that ended while no process of this node watched.
    pub(crate) fn ended_logs(&self, hash: &ItemHash) -> Option<LogPage> {
        let id = VmId::new(hash.as_str()).ok()?;
        self.ended.lock().get(&id).map(|ended| ended.logs(0, ENDED_LOG_LINES))
    }

    /// Keeps the folders of ended VMs for their logs, the newest ones.
    fn keep_ended(&self, mut found: Vec<EndedVm>) {
        found.sort_by_key(|vm| std::cmp::Reverse(vm.last.as_ref().map_or(0, |status| status.started_ms)));
        let mut ended = self.ended.lock();
        for (index, vm) in found.into_iter().enumerate() {
            if index < MAX_ENDED {
                tracing::debug!(id = %vm.id, "a vm ended while the node was away");
                ended.insert(vm.id.clone(), vm);
            } else if let Err(error) = Supervisor::forget(&vm) {
                tracing::warn!(id = %vm.id, %error, "the folder of an ended vm can't be removed");
            }
        }
    }

    /// Finds the VMs that earlier processes of this node started. Nothing is stopped or restarted. Says
    /// how many live, and how many of those did not answer: ask for them again.
    pub(crate) async fn adopt(self: &Arc<Self>) -> Result<(usize, usize), Error> {
        let found = Supervisor::adopt_all(&self.vms_dir()).await?;
        let mut adopted = 0;
        for id in &found.unanswering {
            tracing::warn!(%id, "a vm runs whose supervisor does not answer; leaving it alone, asking again");
        }
        for (supervisor, plan) in found.running {
            let Ok(hash) = ItemHash::parse(supervisor.id().as_str()) else {
                tracing::warn!(id = %supervisor.id(), "a vm of unknown origin runs; leaving it alone");
                continue;
            };
            let status = supervisor.status().await.ok().map(Box::new);
            match self.executions.get_or_start(self, &hash) {
                Ok(execution) => {
                    tracing::info!(%hash, http = %supervisor.http_addr(), "vm taken over");
                    execution.tell(Command::Adopt { supervisor, plan: Box::new(plan), status });
                    adopted += 1;
                }
                Err(failure) => tracing::warn!(%hash, %failure, "a running vm can't be listed"),
            }
        }
        self.keep_ended(found.ended);
        Ok((adopted, found.unanswering.len()))
    }
}

//! The VM's life: from a template or cold, through its service, to its end.

mod live;

use std::path::Path;
use std::time::Duration;

use aleph_guest::protocol::{FromGuest, Resume, ToGuest, VERSION};
use tokio::sync::mpsc;

use super::log::now_ms;
use super::shared::{Shared, StopRequest};
use super::volumes;
use crate::error::VmError;
use crate::hypervisor::{self, qemu};
use crate::layout::{Circumstances, Disk, Memory, configuration, disks};
use crate::plan::Acceleration;
use crate::status::{LogSource, Phase, StartMode};
use crate::template::{self, Found, Making, Slot};
use live::{Live, Step};

/// How long a guest may take to go on after it was cloned.
const RESUME: Duration = Duration::from_secs(15);
/// How long the guest's own end may take after the application's.
const POWER_OFF: Duration = Duration::from_secs(5);
/// Lines of a log that an error carries.
pub(crate) const TAIL: usize = 12;

/// What is found out before the first start.
struct Prepared {
    kvm: bool,
    run_as: Option<(u32, u32)>,
    disks: Vec<Disk>,
    slot: Option<Slot>,
}

/// How a start ended.
enum Started {
    Serving(Live),
    /// a stop came meanwhile
    Stop(Live, StopRequest),
    /// the template didn't work
    NoClone(VmError),
}

/// Runs the VM to its end. `Ok` when it was stopped on purpose.
pub(crate) async fn run(shared: &Shared, mut stops: mpsc::Receiver<StopRequest>) -> Result<(), VmError> {
    let prepared = prepare(shared).await?;
    let (mut live, stop) = match start(shared, &prepared, &mut stops).await? {
        Started::Serving(live) => {
            let mut live = live;
            let stop = serve(shared, &mut live, &mut stops).await;
            (live, stop)
        }
        Started::Stop(live, stop) => (live, Ok(stop)),
        Started::NoClone(error) => return Err(error),
    };
    shared.set_guest(None);
    let outcome = match stop {
        Ok(stop) => {
            end(shared, &mut live, stop).await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    live.kill().await;
    outcome
}

async fn prepare(shared: &Shared) -> Result<Prepared, VmError> {
    let plan = &shared.plan;
    let files = volumes::check_images(plan)?;
    let settings = &plan.hypervisor;
    // the folder of all VMs: what is found there serves the next one too
    let cache = shared.folder.path().parent().unwrap_or_else(|| Path::new("."));
    let kvm = match settings.acceleration {
        Acceleration::Tcg => false,
        Acceleration::Auto => hypervisor::probe(settings, &plan.boot.kernel, cache).await?.kvm,
        Acceleration::Kvm => {
            if !hypervisor::probe(settings, &plan.boot.kernel, cache).await?.kvm {
                return Err(VmError::NoKvm);
            }
            true
        }
    };
    volumes::make(plan, shared.folder.path()).await?;
    let slot = match template::store(plan) {
        Ok(store) => {
            let mut host = vec![hypervisor::boot_id(), kvm.to_string(), env!("CARGO_PKG_VERSION").to_owned()];
            host.push(qemu_identity(&settings.qemu));
            let store = template::of_generation(store, &hypervisor::boot_id());
            Some(Slot::new(&store, template::key(plan, &host, &files)))
        }
        Err(reason) => {
            shared.update(|status| status.template_note = Some(reason.to_string()));
            None
        }
    };
    let acceleration = if kvm { "kvm" } else { "tcg" };
    shared.update(|status| status.acceleration = Some(acceleration.to_owned()));
    Ok(Prepared { kvm, run_as: qemu::run_as(settings), disks: disks(plan, shared.folder.path()), slot })
}

/// Tells one QEMU from another without running it.
fn qemu_identity(program: &Path) -> String {
    let found = if program.components().count() > 1 {
        Some(program.to_owned())
    } else {
        std::env::var_os("PATH").and_then(|paths| {
            std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
        })
    };
    found.and_then(|path| template::identity(&path).ok()).map(|id| format!("{id:?}")).unwrap_or_default()
}

async fn start(
    shared: &Shared,
    prepared: &Prepared,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<Started, VmError> {
    let Some(slot) = &prepared.slot else {
        return cold(shared, prepared, None, stops).await;
    };
    match slot.find() {
        Ok(Found::Ready) => match clone(shared, prepared, slot, StartMode::Template, stops).await? {
            Started::NoClone(error) => {
                note(shared, format!("the template didn't work and was removed: {error}"));
                slot.remove();
                cold(shared, prepared, None, stops).await
            }
            started => Ok(started),
        },
        Ok(Found::Make(making)) => {
            if let Err(error) = making.reserve(u64::from(shared.plan.memory_mib) << 20) {
                note(shared, format!("no room for a template: {error}"));
                drop(making);
                return cold(shared, prepared, None, stops).await;
            }
            match cold(shared, prepared, Some((slot, making)), stops).await? {
                Started::NoClone(error) => {
                    note(shared, format!("the new template didn't work and was removed: {error}"));
                    slot.remove();
                    cold(shared, prepared, None, stops).await
                }
                started => Ok(started),
            }
        }
        Ok(Found::Busy) => {
            note(shared, "another VM makes the template just now".to_owned());
            cold(shared, prepared, None, stops).await
        }
        Err(error) => {
            note(shared, format!("template store: {error}"));
            cold(shared, prepared, None, stops).await
        }
    }
}

fn note(shared: &Shared, text: String) {
    tracing::info!(note = text, "template");
    shared.log.line(LogSource::Supervisor, &text);
    shared.update(|status| status.template_note = Some(text));
}

fn entropy() -> Result<String, VmError> {
    use std::io::Read;
    let mut bytes = [0; 64];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(VmError::io("read entropy"))?;
    Ok(hex::encode(bytes))
}

fn length(path: &Path) -> Result<u64, VmError> {
    Ok(std::fs::metadata(path).map_err(VmError::io(format!("read {}", path.display())))?.len())
}

/// Boots the kernel; with a place for a template the machine is saved when it is ready and goes on
/// as the template's first clone.
async fn cold(
    shared: &Shared,
    prepared: &Prepared,
    making: Option<(&Slot, Making)>,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<Started, VmError> {
    let plan = &shared.plan;
    let memory = match &making {
        Some((_, making)) => Memory::SharedFile(making.ram()),
        None => Memory::Plain,
    };
    shared.update(|status| {
        status.mode = Some(if making.is_some() { StartMode::ColdThenTemplate } else { StartMode::Cold });
    });
    shared.enter(Phase::Booting);
    let mut live = Live::launch(shared, prepared, &memory).await?;
    let boot = Duration::from_millis(plan.limits.boot_ms);
    let seconds = boot.as_secs();

    match live.step(shared, stops, boot).await? {
        Step::Message(FromGuest::Hello { version: VERSION }) => {}
        Step::Message(other) => {
            return Err(VmError::GuestProtocol {
                reason: format!("{other:?} instead of hello, version {VERSION}"),
            });
        }
        Step::Deadline => {
            return Err(VmError::BootDeadline {
                seconds,
                console: shared.log.tail(&[LogSource::Console], TAIL),
            });
        }
        // nothing of the user's runs yet: nobody to ask
        Step::Stop(_) => return Ok(Started::Stop(live, StopRequest { grace: None })),
    }
    shared.enter(Phase::Starting);
    let now = Circumstances {
        time_ms: now_ms(),
        entropy: entropy()?,
        code_length: length(&plan.code.path)?,
        data_length: plan.data.as_deref().map_or(Ok(0), length)?,
        quiesce: making.is_some(),
    };
    live.say(&ToGuest::Configure(Box::new(configuration(plan, &now)))).await?;
    // unpacking is bounded like booting, listening by its own limit, which the guest watches too
    let mut patience = boot;
    loop {
        match live.step(shared, stops, patience).await? {
            Step::Message(FromGuest::Started) => {
                patience = Duration::from_millis(plan.limits.ready_ms) + Duration::from_secs(10);
            }
            Step::Message(FromGuest::Ready) => break,
            Step::Message(FromGuest::SetupFailed { step, reason }) => {
                return Err(VmError::GuestSetup { step: step_name(step), reason });
            }
            Step::Message(FromGuest::NeverListens) | Step::Deadline => return Err(never_listens(shared)),
            Step::Message(FromGuest::AppEnded { code, signal }) => {
                live.drain_logs(shared).await;
                return Err(app_ended(shared, code, signal));
            }
            Step::Message(other) => {
                return Err(VmError::GuestProtocol { reason: format!("{other:?} while starting") });
            }
            Step::Stop(stop) => return Ok(Started::Stop(live, stop)),
        }
    }
    let Some((slot, making)) = making else {
        serving(shared, &live);
        return Ok(Started::Serving(live));
    };
    shared.enter(Phase::Saving);
    match live.step(shared, stops, RESUME).await? {
        Step::Message(FromGuest::Quiesced) => {}
        Step::Stop(stop) => return Ok(Started::Stop(live, stop)),
        Step::Message(FromGuest::AppEnded { code, signal }) => return Err(app_ended(shared, code, signal)),
        Step::Message(other) => {
            return Err(VmError::GuestProtocol { reason: format!("{other:?} instead of quiesced") });
        }
        Step::Deadline => {
            return Err(VmError::Deadline { what: "the guest's quiescence", seconds: RESUME.as_secs() });
        }
    }
    let saved = match making.state() {
        Ok(state) => live.qemu.save(&state).await,
        Err(error) => Err(VmError::io("make the template's state")(error)),
    };
    let saved = match saved {
        Ok(()) => {
            live.kill().await;
            making.keep().map_err(VmError::io("keep a template"))
        }
        Err(error) => {
            note(shared, format!("no template: {error}"));
            live.qemu.go_on().await?;
            return resume(shared, live, stops).await;
        }
    };
    match saved {
        Ok(()) => {
            slot.make_room();
            clone(shared, prepared, slot, StartMode::ColdThenTemplate, stops).await
        }
        Err(error) => Ok(Started::NoClone(error)),
    }
}

/// Starts from a saved machine.
async fn clone(
    shared: &Shared,
    prepared: &Prepared,
    slot: &Slot,
    mode: StartMode,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<Started, VmError> {
    shared.update(|status| status.mode = Some(mode));
    shared.enter(Phase::Booting);
    let state = match slot.state() {
        Ok(state) => state,
        Err(error) => return Ok(Started::NoClone(VmError::io("open the template")(error))),
    };
    let memory = Memory::PrivateFile(slot.ram());
    let mut live = match Live::launch(shared, prepared, &memory).await {
        Ok(live) => live,
        Err(error) => return Ok(Started::NoClone(error)),
    };
    if let Err(error) = live.qemu.load(&state).await {
        live.kill().await;
        return Ok(Started::NoClone(error));
    }
    match resume(shared, live, stops).await {
        Ok(started) => Ok(started),
        Err(error) => Ok(Started::NoClone(error)),
    }
}

/// Makes a clone itself: name, time, randomness.
async fn resume(
    shared: &Shared,
    mut live: Live,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<Started, VmError> {
    let resume = Resume { hostname: shared.plan.guest_hostname(), time_ms: now_ms(), entropy: entropy()? };
    live.say(&ToGuest::Resume(resume)).await?;
    match live.step(shared, stops, RESUME).await? {
        Step::Message(FromGuest::Resumed) => {
            serving(shared, &live);
            Ok(Started::Serving(live))
        }
        Step::Message(other) => {
            Err(VmError::GuestProtocol { reason: format!("{other:?} instead of resumed") })
        }
        Step::Deadline => Err(VmError::Deadline { what: "a clone's first word", seconds: RESUME.as_secs() }),
        Step::Stop(stop) => Ok(Started::Stop(live, stop)),
    }
}

fn serving(shared: &Shared, live: &Live) {
    shared.set_guest(Some(live.mux.clone()));
    shared.enter(Phase::Running);
}

async fn serve(
    shared: &Shared,
    live: &mut Live,
    stops: &mut mpsc::Receiver<StopRequest>,
) -> Result<StopRequest, VmError> {
    loop {
        match live.step(shared, stops, Duration::from_secs(3600)).await? {
            Step::Message(FromGuest::AppEnded { code, signal }) => {
                live.drain_logs(shared).await;
                return Err(app_ended(shared, code, signal));
            }
            Step::Message(other) => tracing::debug!(?other, "message of the guest"),
            Step::Deadline => {}
            Step::Stop(stop) => return Ok(stop),
        }
    }
}

/// Ends the machine: the application, the guest, QEMU; each has its time.
async fn end(shared: &Shared, live: &mut Live, stop: StopRequest) {
    shared.enter(Phase::Stopping);
    let Some(grace) = stop.grace else { return };
    let shutdown = ToGuest::Shutdown { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) };
    if live.say(&shutdown).await.is_err() {
        return;
    }
    let (_keep, mut no_more_stops) = mpsc::channel(1);
    let until = tokio::time::Instant::now() + grace + POWER_OFF;
    loop {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        match live.step(shared, &mut no_more_stops, left).await {
            Ok(Step::Deadline) => {
                tracing::warn!("the guest did not end in time and is ended by force");
                return;
            }
            Ok(Step::Message(FromGuest::Bye)) => {
                // all is written; its power-off is only a moment away
                let _ = tokio::time::timeout(POWER_OFF, live.qemu.ended()).await;
                return;
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn step_name(step: aleph_guest::protocol::SetupStep) -> String {
    use aleph_guest::protocol::SetupStep;
    match step {
        SetupStep::Devices => "its devices",
        SetupStep::Root => "its root file system",
        SetupStep::Volume => "a volume",
        SetupStep::Archive => "the code or the data",
        SetupStep::Application => "the application",
    }
    .to_owned()
}

fn app_log(shared: &Shared) -> String {
    shared.log.finish();
    shared.log.tail(&[LogSource::Stdout, LogSource::Stderr], TAIL)
}

fn never_listens(shared: &Shared) -> VmError {
    VmError::NeverListens { seconds: shared.plan.limits.ready_ms / 1000, log: app_log(shared) }
}

fn app_ended(shared: &Shared, code: Option<i32>, signal: Option<i32>) -> VmError {
    let status = match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "signal 9: killed, perhaps because the memory ran out".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".to_owned(),
    };
    VmError::ApplicationEnded { status, log: app_log(shared) }
}

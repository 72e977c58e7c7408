//! The numbers of a compute node, each with its reason.

use std::time::Duration;

/// What the `Server` header and `/status/config` claim: clients, the scheduler and the network's scoring
/// parse `aleph-vm/<version>` and compare it with the reference's releases, so it names the release whose
/// API this node speaks (`spec: crn-api.md §1`). The node's own version is in `implementation`.
pub const REFERENCE_VERSION: &str = "1.14.0";

/// Port on loopback that the reference listens on (`spec: crn-api.md §1`).
pub const PORT: u16 = 4020;
/// The account that publishes the `corechannel` aggregate of the public network (`spec: nodes.md §6`).
pub const CORECHANNEL_OWNER: &str = "0xa1B3bb7d2332383D96b7796B908fB7f7F3c2Be10";
/// Anything read in one piece: JSON bodies and program requests (`spec: crn-api.md §1`).
pub const REQUEST_BODY: u64 = 1024 * 1024;
/// An answer of a program; the reference buffers at most what one read of its channel returns. Answers
/// are streamed here, so this only stops a program that never ends.
pub const RESPONSE_BODY: u64 = 1024 * 1024 * 1024;
/// How long a VM stays after its last answer (`spec: crn.md §4`, `REUSE_TIMEOUT`).
pub const KEEP_WARM: Duration = Duration::from_secs(3600);
/// Time a guest has to say that it is ready (`INIT_TIMEOUT` is 20 s; software emulation exceeds it under
/// load, `spec: crn.md §8.1` item 5).
pub const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// `resources.seconds` is meant for hardware virtualisation; emulated processors get this many times it.
pub const TCG_SECONDS_FACTOR: u32 = 5;
/// And never less than this: the default of one second would end first requests that import something.
pub const TCG_SECONDS_FLOOR: Duration = Duration::from_secs(10);
/// Silence of a program in the middle of an answer or of a client in the middle of a request.
pub const BODY_STALL: Duration = Duration::from_secs(60);

/// Programs given inline (`plain`, `zip`) and their data (`spec: crn.md §4`, `MAX_PROGRAM_ARCHIVE_SIZE`).
pub const INLINE_CODE_BYTES: u64 = 10_000_000;
/// Code and data given as a disk image.
pub const IMAGE_CODE_BYTES: u64 = 2 << 30;
/// A runtime or an immutable volume.
pub const IMAGE_BYTES: u64 = 8 << 30;
/// The content of a message that is not inline; the network's contents are far smaller.
pub const CONTENT_BYTES: u64 = 4 << 20;

/// Time to connect to a core node.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A small JSON answer of a core node, whole.
pub const JSON_TIMEOUT: Duration = Duration::from_secs(15);
/// Silence in the middle of a file: transfers have no total deadline, only this.
pub const DOWNLOAD_STALL: Duration = Duration::from_secs(30);
/// A second core node is asked when the first has not answered after this.
pub const HEDGE_AFTER: Duration = Duration::from_millis(700);
/// A JSON answer of a core node; a page of messages fits.
pub const JSON_BYTES: u64 = 8 << 20;
/// How long the signers named by the network's aggregates are trusted before they are read again.
pub const SIGNERS_TTL: Duration = Duration::from_secs(60);
/// How long a `security` aggregate is trusted (`spec: crn-api.md §3.2`).
pub const SECURITY_TTL: Duration = Duration::from_secs(120);
/// How long "the latest version of this file" is trusted; the message feed shortens it.
pub const LATEST_TTL: Duration = Duration::from_secs(30);

/// Clock skew of a signed allocation, either way (`spec: crn-api.md §3.4`).
pub const ALLOCATION_SKEW_SECONDS: i64 = 300;
/// Clock skew of a signed operation, either way (`spec: crn-api.md §3.2`).
pub const OPERATION_SKEW: Duration = Duration::from_secs(120);
/// Payload hashes remembered against replay. A signer sends one allocation a minute; beyond this many in
/// ten minutes new ones are refused rather than old ones forgotten.
pub const REPLAY_ENTRIES: usize = 4096;

/// Memory left to the host (`spec: crn-vm.md §9` reserves 2048; small machines lower it).
pub const HOST_MEMORY_RESERVED_MIB: u64 = 2048;
/// Memory for programs (`spec: crn-vm.md §9`).
pub const PROGRAM_MEMORY_MIB: u64 = 8192;
/// Virtual processors per core with hardware virtualisation (`spec: crn-vm.md §9`).
pub const VCPU_OVERCOMMIT: u64 = 4;
/// VMs at once, whatever their size: each is a process with pipes and sockets.
pub const MAX_VMS: usize = 256;
/// Programs known at once (allocated or asked for); a record is about 2 KiB.
pub const MAX_EXECUTIONS: usize = 10_000;
/// Requests that wait for one program to start.
pub const MAX_WAITERS: usize = 256;
/// Requests inside programs at once, on the whole node.
pub const MAX_REQUESTS: usize = 1024;
/// Programs of one allocation.
pub const MAX_ALLOCATION: usize = 2000;
/// Files fetched at once.
pub const MAX_DOWNLOADS: usize = 8;
/// VMs that start at once: a start is a core's whole attention for seconds under emulation.
pub const MAX_STARTS: usize = 4;

/// A program whose start failed is left alone for this long before the next request tries again; doubled
/// each time up to [`RETRY_PAUSE_MOST`].
pub const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// See [`RETRY_PAUSE`].
pub const RETRY_PAUSE_MOST: Duration = Duration::from_secs(30);
/// In-flight requests at shutdown (`spec: crn.md §4`, `DRAIN_TIMEOUT`).
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// First `vm_id` (`spec: crn.md §4`, `START_ID_INDEX`).
pub const START_ID_INDEX: u32 = 4;
/// How long the VM of a fresh template stays for the request that usually follows a deployment.
pub const TEMPLATE_LINGER: Duration = Duration::from_secs(60);
/// Rounds over all core nodes for a file that none has yet: it may still be spreading.
pub const FETCH_ROUNDS: u32 = 4;
/// Pause between those rounds; doubled each time.
pub const FETCH_PAUSE: Duration = Duration::from_millis(500);
/// How long a guest gets to end by itself.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Disk that templates of VMs may take together.
pub const TEMPLATE_BYTES: u64 = 4 << 30;
/// Files of the network that are kept here; beyond it the oldest that no known program needs go.
pub const CACHE_BYTES: u64 = 32 << 30;
/// A file that just came belongs to a preparation that nobody lists yet.
pub const SWEEP_GRACE: Duration = Duration::from_secs(600);
/// Idle VMs that one start may end to make room.
pub const MAX_EVICTIONS: usize = 16;
/// Lines shown of the log of a VM that ended while the node was away.
pub const ENDED_LOG_LINES: usize = 1000;
/// Pauses between questions to supervisors that live but do not answer.
pub const ADOPT_AGAIN: Duration = Duration::from_secs(10);
/// Logs that are followed over WebSockets at once (`spec: crn-api.md §7.2`).
pub const LOG_STREAMS: usize = 20;
/// Folders of ended VMs that a starting node keeps, for their logs of at most a MiB.
pub const MAX_ENDED: usize = 100;
/// Connections of clients at once; more wait in the kernel's queue.
pub const CONNECTIONS: usize = 4096;
/// How long a client may take to send the head of a request.
pub const REQUEST_HEAD: Duration = Duration::from_secs(30);
/// Records of programs that nobody allocated are kept this long after their last start.
pub const RECORD_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

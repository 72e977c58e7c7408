//! What the other tasks need on this machine: checked, and installed where it is missing.
//!
//! Debian and Ubuntu are served. One question is asked before anything is installed; as root or
//! with `CI=true` there is nobody to ask. Nothing beyond package registries is needed.

use std::io::{BufRead, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::places;
use crate::process::{Program, cargo};
use crate::screen::{Mark, Screen};

/// What is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Tests, checks and the demo.
    Everything,
    /// Running only: no tools for tests and checks.
    Demo,
}

/// A need of the system and the Debian package that fills it.
struct Need {
    what: &'static str,
    package: &'static str,
    is_there: fn() -> bool,
}

fn has(command: &str) -> bool {
    places::find_command(command).is_some()
}

fn has_python_environments() -> bool {
    Program::new("python3").args(["-c", "import ensurepip, venv"]).read().is_ok()
}

const NEEDS: &[Need] = &[
    Need { what: "a C compiler", package: "gcc", is_there: || has("cc") },
    Need { what: "the C library's headers", package: "libc6-dev", is_there: has_c_headers },
    Need { what: "micro-VMs", package: "qemu-system-x86", is_there: || has("qemu-system-x86_64") },
    Need { what: "disk images", package: "qemu-utils", is_there: || has("qemu-img") },
    Need { what: "ext4 volumes", package: "e2fsprogs", is_there: || has("mkfs.ext4") },
    Need { what: "squashfs images", package: "squashfs-tools", is_there: || has("mksquashfs") },
    Need { what: "initial RAM disks", package: "cpio", is_there: || has("cpio") },
    Need { what: "compression of images", package: "zstd", is_there: || has("zstd") },
    Need { what: "Python", package: "python3", is_there: || has("python3") },
    Need { what: "Python environments", package: "python3-venv", is_there: has_python_environments },
];

/// What only tests need.
const NEEDS_OF_TESTS: &[Need] =
    &[Need { what: "PostgreSQL servers of tests", package: POSTGRESQL, is_there: has_postgresql }];

/// Debian's package of its release's version: 15 in bookworm.
const POSTGRESQL: &str = "postgresql";

/// The same places as `aleph-test-postgres` looks at.
fn has_postgresql() -> bool {
    std::env::var_os("ALEPH_POSTGRES_BIN").is_some()
        || has("initdb")
        || (15..=18).any(|release| Path::new(&format!("/usr/lib/postgresql/{release}/bin/initdb")).is_file())
}

fn has_c_headers() -> bool {
    Path::new("/usr/include/stdio.h").is_file()
}

/// Checks the machine and installs what is missing.
///
/// # Errors
/// When something is missing and cannot be installed; the error says what to do by hand.
pub(crate) fn run(screen: &Screen, purpose: Purpose) -> Result<()> {
    screen.heading("set-up");
    system_packages(screen, purpose)?;
    if purpose == Purpose::Everything {
        cargo_tool(screen, "cargo-nextest", "0.9.143", "runs the tests")?;
        cargo_tool(screen, "cargo-deny", "0.20.2", "checks licences and sources; a few minutes, once")?;
        s3_server(screen)?;
        official_clients(screen);
        old_peer(screen)?;
    }
    Ok(())
}

fn system_packages(screen: &Screen, purpose: Purpose) -> Result<()> {
    let of_tests = if purpose == Purpose::Everything { NEEDS_OF_TESTS } else { &[] };
    let missing: Vec<&Need> = NEEDS.iter().chain(of_tests).filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        screen.line(Mark::Good, "system packages", "all there");
        return Ok(());
    }
    for need in &missing {
        screen.line(Mark::Skipped, need.package, need.what);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !has("apt-get") {
        bail!(
            "this machine has no apt-get; install by hand what serves as these Debian packages: {}",
            packages.join(" ")
        );
    }
    let root = is_root();
    if !root && !places::is_ci() && !confirmed(screen, &packages)? {
        bail!("nothing was installed; by hand: sudo apt-get install {}", packages.join(" "));
    }
    let serviceless = packages.contains(&POSTGRESQL).then(|| Serviceless::prepare(root));
    install(screen, &packages, root)?;
    drop(serviceless);
    let left: Vec<&str> = missing.iter().filter(|need| !(need.is_there)()).map(|need| need.package).collect();
    if !left.is_empty() {
        bail!("installed, and yet not found: {}; see what apt-get printed above", left.join(" "));
    }
    screen.line(Mark::Good, "system packages", "installed");
    Ok(())
}

fn install(screen: &Screen, packages: &[&str], root: bool) -> Result<()> {
    screen.note("apt-get update");
    apt(root, ["update", "-q"]).run().context("the list of Debian packages could not be read")?;
    let install = ["install", "-y", "-q", "--no-install-recommends"];
    let plain = apt(root, install.iter().chain(packages).copied()).run();
    let Err(refused) = plain else { return Ok(()) };
    // A qemu-utils of a newer release (backports) keeps the release's qemu-system-x86 out: both
    // must be of one version, the newest that there is of the emulator.
    if !packages.contains(&"qemu-system-x86") {
        return Err(refused);
    }
    let version = newest_version("qemu-system-x86")?;
    screen.note(&format!("again, with qemu-utils of the emulator's version {version}"));
    let utils = format!("qemu-utils={version}");
    let wanted = packages.iter().copied().filter(|package| *package != "qemu-utils").chain([utils.as_str()]);
    let install = ["install", "-y", "-q", "--no-install-recommends", "--allow-downgrades"];
    apt(root, install.into_iter().chain(wanted)).run()
}

/// While it lives, an installation of PostgreSQL makes no database and starts no service: tests
/// start servers of their own. Should it fail, a service that nobody uses is no reason to stop.
struct Serviceless {
    root: bool,
}

impl Serviceless {
    /// Read by postgresql-common when it is installed (`man createcluster.conf`).
    const FILE: &str = "/etc/postgresql-common/createcluster.d/alephd-tests.conf";

    fn prepare(root: bool) -> Self {
        let script = r#"mkdir -p "${1%/*}" && echo "create_main_cluster = false" > "$1""#;
        privileged(root, "sh").args(["-c", script, "sh", Self::FILE]).run().ok();
        Self { root }
    }
}

impl Drop for Serviceless {
    fn drop(&mut self) {
        privileged(self.root, "rm").args(["-f", Self::FILE]).run().ok();
    }
}

fn newest_version(package: &str) -> Result<String> {
    // `apt-cache madison`: "name | version | source", newest first
    let listed = Program::new("apt-cache").args(["madison", package]).read()?;
    let version = listed.lines().next().and_then(|line| line.split('|').nth(1)).map(str::trim);
    Ok(version.with_context(|| format!("apt knows no version of {package}"))?.to_owned())
}

fn apt<'a>(root: bool, args: impl IntoIterator<Item = &'a str>) -> Program {
    privileged(root, "apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive")
}

fn privileged(root: bool, program: &str) -> Program {
    if root { Program::new(program) } else { Program::new("sudo").args([program]).with_input() }
}

fn confirmed(screen: &Screen, packages: &[&str]) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("missing, and nobody to ask here: sudo apt-get install {}", packages.join(" "));
    }
    screen.text(&format!("\n   sudo apt-get install {}\n   Install them now? [Y/n] ", packages.join(" ")));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The S3 server of tests, with what it needs, in a Python environment of its own; `aleph-test-s3` looks for it
/// there. One of another version will do.
const S3_SERVER: &str = "moto[server]==5.2.5";

fn s3_server(screen: &Screen) -> Result<()> {
    let folder = places::cache().join("s3-server");
    if std::env::var_os("ALEPH_S3_SERVER").is_some() || folder.join("bin/moto_server").is_file() {
        screen.line(Mark::Good, "s3 server", "there");
        return Ok(());
    }
    screen.line(Mark::Skipped, "s3 server", "installing it: tests of files in an object store");
    Program::new("python3").args(["-m", "venv", "--clear"]).args([&folder]).run()?;
    let install = ["install", "-q", "--disable-pip-version-check", S3_SERVER];
    Program::new(folder.join("bin/pip")).args(install).run()?;
    screen.line(Mark::Good, "s3 server", "installed");
    Ok(())
}

/// The clients of the conformance suite. Without them that suite fails, and says so itself: everything
/// else can be tested.
fn official_clients(screen: &Screen) {
    let prepared = Program::new(places::root().join("conformance/run"))
        .args(["--prepare"])
        .env("ALEPHD_CACHE", places::cache())
        .run();
    match prepared {
        Ok(()) => screen.line(Mark::Good, "official clients", "there"),
        Err(error) => screen.line(Mark::Skipped, "official clients", &format!("{error:#}")),
    }
}

/// The gossip peer on the reference's version of libp2p, for tests alone (`interop/README.md`). Not in
/// cargo's folder of this workspace: nothing of it is shared, and it is built once.
fn old_peer(screen: &Screen) -> Result<()> {
    let target = places::cache().join("interop-target");
    if !target.join("debug/aleph-interop-peer").is_file() {
        screen.line(Mark::Skipped, "interop peer", "building it: an old libp2p; a few minutes, once");
    }
    cargo(["build", "--quiet", "--locked", "--manifest-path"])
        .args([places::root().join("interop/Cargo.toml")])
        .args(["--target-dir"])
        .args([target])
        .run()
        .context("the old peer that tests talk to could not be built (interop/README.md)")?;
    screen.line(Mark::Good, "interop peer", "there");
    Ok(())
}

/// `version` is what is built here; one that is there already will do.
fn cargo_tool(screen: &Screen, name: &str, version: &str, what_for: &str) -> Result<()> {
    if has(name) {
        screen.line(Mark::Good, name, "there");
        return Ok(());
    }
    screen.line(Mark::Skipped, name, &format!("building it: {what_for}"));
    cargo(["install", "--locked", "--version", version, name]).run()?;
    screen.line(Mark::Good, name, "installed");
    Ok(())
}

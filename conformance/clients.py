"""Where the pinned clients live: environments that are made once and kept in $ALEPHD_CACHE.

Each is named by a hash of its pins, so that another pin makes another environment. Only the standard
library is used here; packages come from their registries through pip, npm and cargo.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from network import CannotRun

HERE = Path(__file__).resolve().parent
RUST_CLI_VERSION = "0.22.0"


def cache() -> Path:
    return Path(os.environ.get("ALEPHD_CACHE") or Path.home() / ".cache/alephd")


def python(suite: str) -> Path:
    """An interpreter with the packages of `suite/requirements.txt`."""
    requirements = HERE / suite / "requirements.txt"
    folder = named(f"conformance-{suite}", requirements.read_bytes() + sys.version.encode())
    interpreter = folder / "bin/python"
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    made(folder, [
        [sys.executable, "-m", "venv", str(folder)],
        # the list is complete: what a package wants beyond it is not looked for
        [*pip, "--no-deps", "-r", str(requirements)],
    ])
    return interpreter


def node() -> Path:
    """Node.js, which is a package of Python too."""
    return python("typescript").with_name("node")


def node_modules(source: Path = HERE / "typescript") -> Path:
    """A folder with the `node_modules` that `source` has locked, by default with the TypeScript SDK."""
    bin = node().parent
    lock = (source / "package-lock.json").read_bytes()
    folder = named(f"{source.parent.name}-{source.name}-modules", lock + (source / "package.json").read_bytes())
    if not (folder / ".complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder / name)
        # peers that only browsers need are not asked for, and nothing is run at installation
        quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
        npm = [str(bin / "npm"), "ci", "--legacy-peer-deps", "--ignore-scripts", *quiet]
        made(folder, [npm], keep=True, within=folder)
    return folder


def rust_cli(build: bool) -> Path | None:
    """The program, built when it may be (five minutes on two cores, once)."""
    folder = cache() / f"conformance-aleph-cli-{RUST_CLI_VERSION}"
    program = folder / "bin/aleph"
    if (folder / ".complete").exists() or not build:
        return program if program.exists() else None
    target = folder.with_suffix(".target")
    # what it does is the same, it is only built faster
    profile = {"OPT_LEVEL": "0", "LTO": "off", "CODEGEN_UNITS": "16", "DEBUG": "false"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CARGO_PKG_")}
    environment |= {f"CARGO_PROFILE_RELEASE_{key}": value for key, value in profile.items()}
    environment["CARGO_TARGET_DIR"] = str(target)
    install = ["cargo", "install", "--quiet", "--locked", "--version", RUST_CLI_VERSION]
    made(folder, [[*install, "--root", str(folder), "aleph-cli"]], environment=environment)
    shutil.rmtree(target, ignore_errors=True)
    return program


def named(name: str, pins: bytes) -> Path:
    return cache() / f"{name}-{hashlib.sha256(pins).hexdigest()[:12]}"


def made(
    folder: Path,
    steps: list[list[str]],
    *,
    keep: bool = False,
    within: Path | None = None,
    environment: dict[str, str] | None = None,
) -> None:
    """Makes the folder by these commands, unless that was done; half a folder is made anew."""
    done = folder / ".complete"
    if done.exists():
        return
    print(f"making {folder} (once)", flush=True)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for step in steps:
        # who runs this file reads its standard output
        run = subprocess.run(step, stdin=subprocess.DEVNULL, stdout=sys.__stderr__, cwd=within, env=environment)
        if run.returncode != 0:
            raise CannotRun(f"`{' '.join(step)}` failed; see above")
    done.touch()


if __name__ == "__main__":
    # for other tests: Node.js, and a folder with the modules that the folder named on the command line has locked
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = (node(), node_modules(Path(sys.argv[1]).resolve()))
    except CannotRun as error:
        sys.exit(str(error))
    print(*found, sep="\n")

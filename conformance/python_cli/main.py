"""The official Python command line, unmodified, against one core node: `main.py URL [word …] [-v]`.

Every command that works with a core node alone, as somebody at a terminal would type it. The program is
imported once; each command runs in a fork of its own, which saves seconds of start for each.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = tempfile.mkdtemp(prefix="aleph-conformance-")
# before the program is imported: it reads these then
os.environ |= {
    "ALEPH_API_HOST": (sys.argv[1] if len(sys.argv) > 1 else "").rstrip("/"),
    "ALEPH_CONFIG_HOME": HOME,
    "COLUMNS": "250",
    "PYTHONWARNINGS": "ignore",
    "DEBIAN_NONINTERACTIVE": "noninteractive",
}

import cases  # noqa: E402

KEY = cases.funded_key() or secrets.token_hex(32)
# The configuration is read at import too, so that the first command is one of a process of its own.
CREATED = subprocess.run(
    [Path(sys.executable).with_name("aleph"), "account", "create", "--private-key", KEY, "--private-key-file",
     "conformance", "--chain", "ETH"],
    capture_output=True, text=True, stdin=subprocess.DEVNULL,
)

from accounts import Account, Money, Nodes  # noqa: E402
from command import World  # noqa: E402
from data import Aggregate, Authorizations, Domain, File, Message  # noqa: E402
from machines import Instance, Program  # noqa: E402


def main() -> int:
    world = World(Path(HOME), KEY, CREATED)
    groups = [
        Account, Message, Aggregate, Authorizations, File, Money, Nodes, Domain, Program, Instance,
    ]
    return cases.run([group(world) for group in groups])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print("usage: main.py URL [word …] [-v]", file=sys.stderr)
        sys.exit(2)
    sys.exit(main())

"""The official Rust command line, unmodified, against one core node: `main.py URL [word …] [-v]`.

Every command that works with a core node alone, as somebody at a terminal would type it. The program is the one
that $CONFORMANCE_PROGRAM names. Only the standard library is used here.
"""

from __future__ import annotations

import sys

import cases
from command import World
from data import Accounts, Aggregates, Authorizations, Domains, Files, Messages, Posts, Websites
from machines import Credits, Instances, Nodes, Programs, Waiting

GROUPS = [
    Accounts, Posts, Messages, Aggregates, Authorizations, Files, Websites, Domains, Nodes, Credits, Programs,
    Instances, Waiting,
]


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: main.py URL [word …] [-v]", file=sys.stderr)
        return 2
    world = World(sys.argv[1].rstrip("/"))
    return cases.run([group(world) for group in GROUPS])


if __name__ == "__main__":
    sys.exit(main())

"""The official Python SDK, unmodified, against one core node: `main.py URL [word …] [-v]`.

A key made for this run, or the one of `CONFORMANCE_KEY`, does with the node all that the SDK can do with a
core node alone. The cases stand in the modules beside this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile

# before the SDK is imported: no key file and no configuration of the user's is touched
os.environ["ALEPH_CONFIG_HOME"] = tempfile.mkdtemp(prefix="aleph-conformance-")

import cases  # noqa: E402
from chains import Chains  # noqa: E402
from executables import Executables  # noqa: E402
from files import Files, Ipfs  # noqa: E402
from lists import Lists, Watching  # noqa: E402
from messages import Aggregates, Forgetting, Posts, Refusals  # noqa: E402
from money import Money  # noqa: E402
from permissions import Permissions  # noqa: E402
from world import World  # noqa: E402


GROUPS = [
    Posts, Aggregates, Lists, Watching, Files, Ipfs, Permissions, Money, Executables, Chains, Refusals, Forgetting,
]


def main() -> int:
    loop = asyncio.new_event_loop()
    world = World(sys.argv[1].rstrip("/"))
    loop.run_until_complete(world.__aenter__())
    try:
        return cases.run([group(world) for group in GROUPS], loop)
    finally:
        loop.run_until_complete(world.__aexit__())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print("usage: main.py URL [word …] [-v]", file=sys.stderr)
        sys.exit(2)
    # what the SDK logs of refusals that are wanted here says nothing
    logging.disable(logging.CRITICAL)
    sys.exit(main())

"""Runs commands of the program and keeps what they say."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import cases
from cases import Skip, shorten

COMMAND_SECONDS = 60.0
STRANGER_KEY = "7" * 64


class Said(cases.Said):
    def documents(self) -> list:
        """What was printed: one JSON document after another."""
        decoder, found, text = json.JSONDecoder(), [], self.output.strip()
        while text:
            document, end = decoder.raw_decode(text)
            found.append(document)
            text = text[end:].strip()
        return found

    def json(self):
        documents = self.documents()
        if len(documents) != 1:
            raise AssertionError(f"there are {len(documents)} documents in {shorten(self.all, 600)}")
        return documents[0]


class World:
    """What the cases share."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.program = os.environ["CONFORMANCE_PROGRAM"]
        self.home = Path(tempfile.mkdtemp(prefix="aleph-conformance-"))
        self.is_funded = cases.funded_key() is not None
        self.key = cases.funded_key() or secrets.token_hex(32)
        self.tag = f"conformance-{time.time_ns()}"
        # the program tells it with the first message that it signs
        self.address = ""
        self.post = ""

    def needs_money(self) -> None:
        if not self.is_funded:
            raise Skip("needs an account with ALEPH and credits")

    def write(self, name: str, content: str | bytes) -> str:
        path = self.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def plain(self, *arguments: str, code: int | None = 0, given: str = "", **environment: str) -> Said:
        """Runs a command as it is; it must end with this code, unless it is None."""
        surroundings = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"),
            "NO_COLOR": "1",
        }
        ended = subprocess.run(
            [self.program, *arguments], input=given, capture_output=True, text=True, cwd=self.home,
            timeout=COMMAND_SECONDS, env=surroundings | environment,
        )
        said = Said(ended.returncode, ended.stdout, ended.stderr)
        if code is not None and said.code != code:
            line = " ".join(shorten(argument, 40) for argument in arguments)
            raise AssertionError(f"`aleph {line}` ended with {said.code}: {said.all[-600:]}")
        return said

    def aleph(self, *arguments: str, code: int | None = 0, given: str = "") -> Said:
        """Runs a command that reads, for the node under test, with JSON as its output."""
        return self.plain("--ccn", self.node, "--json", *arguments, code=code, given=given)

    def sign(
        self, *arguments: str, code: int | None = 0, given: str = "", chain: str = "eth", key: str | None = None
    ) -> Said:
        """Runs a command that signs with the key of this run."""
        return self.plain(
            "--ccn", self.node, "--json", *arguments, "--chain", chain, code=code, given=given,
            ALEPH_PRIVATE_KEY=key or self.key,
        )

    def begin(self, *arguments: str) -> subprocess.Popen:
        """As `sign`, without waiting for its end."""
        surroundings = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "NO_COLOR": "1", "ALEPH_PRIVATE_KEY": self.key,
        }
        return subprocess.Popen(
            [self.program, "--ccn", self.node, "--json", *arguments, "--chain", "eth"], env=surroundings, text=True,
            cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )

    def status(self, item_hash: str) -> str:
        with urllib.request.urlopen(f"{self.node}/api/v0/messages/{item_hash}", timeout=20) as answer:
            return json.load(answer)["status"]


class Group:
    def __init__(self, world: World) -> None:
        self.world = world
        self.aleph = world.aleph
        self.sign = world.sign
